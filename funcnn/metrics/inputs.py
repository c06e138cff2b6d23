"""What metrics are given: scores for each class or one score for class 1, and the classes that are true.

One score for each example, as a single sigmoid gives it, is an array (n,) or (n, 1); it is (n,) from here on.
"""

from typing import Any

import numpy as np

from funcnn.aliases import Array
from funcnn.losses.targets import check_labels

__all__ = ["check_probabilities", "check_scores", "predicted_classes", "true_classes"]


def check_scores(y: Any) -> Array:
    """Scores of shape (n, classes), or of shape (n,) if there is one for each example."""
    array: Array = np.asarray(y)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"expected scores as numbers, got an array of {array.dtype}")
    if array.ndim not in (1, 2) or 0 in array.shape:
        raise ValueError(
            "expected scores of shape (n, classes), or one score for each example of shape (n,) or (n, 1), "
            f"with at least one example; got shape {array.shape}"
        )
    if np.isnan(array).any():
        raise ValueError("the scores contain NaN: they predict no class; has training diverged?")
    return array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array


def check_probabilities(y: Any) -> Array:
    """The probabilities of all classes, of shape (n, classes); one for each example is that of class 1."""
    p = check_scores(y)
    if p.min() < 0 or p.max() > 1:
        raise ValueError(
            f"expected probabilities in [0, 1], got values from {p.min()} to {p.max()}; "
            "for logits apply fn.softmax first, or fn.sigmoid if there is one for each example"
        )
    if p.ndim == 1:
        p = np.stack([1 - p, p], axis=1)
    sums = p.sum(axis=1)
    # A thousandth lets rows pass that were rounded in half precision, and catches every real mistake.
    if np.abs(sums - 1).max() > 1e-3:
        raise ValueError(f"expected rows of probabilities that sum to 1, got sums from {sums.min()} to {sums.max()}")
    return p


def predicted_classes(y: Array, threshold: float | None) -> Array:
    """The class of the highest score, or 1 where the only score is above the threshold, as int64 of shape (n,)."""
    if y.ndim == 2:
        if threshold is not None:
            raise ValueError(
                f"threshold={threshold} is for one score for each example, but y has {y.shape[1]}, "
                "of which the highest counts"
            )
        highest: Array = y.argmax(axis=1)
        return highest
    if threshold is None and (y.min() < 0 or y.max() > 1):
        raise ValueError(
            "scores of shape (n,) or (n, 1) are taken for probabilities, and for class 1 above 0.5; "
            f"got values from {y.min()} to {y.max()}; for logits give threshold=0"
        )
    above: Array = y > (0.5 if threshold is None else threshold)
    return above.astype(np.int64)


def true_classes(labels: Any, y: Array, classes: int | None = None) -> Array:
    """The true class of each example, as int64 of shape (n,), for scores that were checked."""
    array: Array = np.asarray(labels)
    n = len(y)
    if y.ndim == 1:
        return _zeros_and_ones(array, n)
    size = y.shape[1] if classes is None else classes
    if array.shape == (n, size):
        array = _from_one_hot(array)
    if array.shape != (n,):
        raise ValueError(
            f"expected labels of shape ({n},), or one-hot of shape ({n}, {size}), "
            f"for scores of shape {y.shape}; got shape {array.shape}"
        )
    return check_labels(array, size)


def _zeros_and_ones(target: Array, n: int) -> Array:
    """The targets of a yes-or-no question; their type may be any, since they also go to a loss."""
    if target.shape not in ((n,), (n, 1)):
        raise ValueError(
            f"expected targets of shape ({n},) or ({n}, 1) for one score for each of {n} examples, "
            f"got shape {target.shape}"
        )
    if target.dtype.kind not in "fiub":
        raise TypeError(f"expected targets 0 and 1, got an array of {target.dtype}")
    other = target[~np.isin(target, (0, 1))]
    if other.size:
        raise ValueError(
            f"expected targets 0 and 1 for one score for each example, got {other[0]}; "
            "for more classes let the model have a score for each"
        )
    return target.reshape(n).astype(np.int64)


def _from_one_hot(rows: Array) -> Array:
    """The position of the one in each row; mixtures of classes have no single true class."""
    if not (np.isin(rows, (0, 1)).all() and (np.count_nonzero(rows, axis=1) == 1).all()):
        raise ValueError("expected one-hot labels: a single 1 in each row and 0 elsewhere")
    return np.nonzero(rows)[1]
