"""The arguments of metrics: scores of all classes or one score for class 1, and the true classes.

One score for each example, as the output of a single sigmoid, is an array (n,) or (n, 1); these functions return (n,).
"""

from typing import Any

import numpy as np

from funcnn import checks
from funcnn.aliases import Array
from funcnn.losses.targets import from_one_hot

__all__ = ["check_probabilities", "check_scores", "predicted_classes", "true_classes"]


def check_scores(kind: str, y: Any) -> Array:
    """Scores of shape (n, classes), or of shape (n,) if there is one for each example."""
    array: Array = np.asarray(y)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{kind}: expected scores as numbers, got an array of {array.dtype}")
    if array.ndim not in (1, 2) or 0 in array.shape:
        raise ValueError(
            f"{kind}: expected scores of shape (n, classes), or one score for each example of shape (n,) or (n, 1), "
            f"with at least one example; got shape {array.shape}"
        )
    if np.isnan(array).any():
        raise ValueError(f"{kind}: the scores contain NaN, which predicts no class; has training diverged?")
    return array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array


def check_probabilities(kind: str, p: Array) -> Array:
    """Checked scores as the probabilities of all classes, (n, classes); one for each example is that of class 1."""
    if p.min() < 0 or p.max() > 1:
        raise ValueError(
            f"{kind}: expected probabilities in [0, 1], got values from {p.min()} to {p.max()}; "
            "for logits apply fn.softmax first, or fn.sigmoid if there is one for each example"
        )
    if p.ndim == 1:
        p = np.stack([1 - p, p], axis=1)
    sums = p.sum(axis=1)
    # A thousandth lets rows pass that were rounded in half precision, and catches every real mistake.
    if np.abs(sums - 1).max() > 1e-3:
        raise ValueError(
            f"{kind}: expected rows of probabilities that sum to 1, got sums from {sums.min()} to {sums.max()}"
        )
    return p


def predicted_classes(kind: str, y: Array, threshold: float | None) -> Array:
    """The class of the highest score, or 1 where the only score is above the threshold, as int64 of shape (n,)."""
    if y.ndim == 2:
        if threshold is not None:
            raise ValueError(
                f"{kind}: threshold={threshold} is for one score for each example, but y has {y.shape[1]}, "
                "of which the highest counts"
            )
        highest: Array = y.argmax(axis=1)
        return highest
    if threshold is None and (y.min() < 0 or y.max() > 1):
        raise ValueError(
            f"{kind}: scores of shape (n,) or (n, 1) are taken for probabilities, and for class 1 above 0.5; "
            f"got values from {y.min()} to {y.max()}; for logits give threshold=0"
        )
    above: Array = y > (0.5 if threshold is None else threshold)
    return above.astype(np.int64)


def true_classes(kind: str, labels: Any, y: Array, classes: int | None = None) -> Array:
    """The true class of each example, as int64 of shape (n,), for scores that ``check_scores`` returned."""
    array: Array = np.asarray(labels)
    n = len(y)
    if y.ndim == 1:
        return _zeros_and_ones(kind, array, n)
    size = y.shape[1] if classes is None else classes
    if array.shape == (n, size):
        found = from_one_hot(array) if array.dtype.kind in "fiub" else None
        if found is None:
            raise ValueError(f"{kind}: expected one-hot labels: a single 1 in each row and 0 elsewhere")
        array = found
    if array.shape != (n,):
        raise ValueError(
            f"{kind}: expected labels of shape ({n},), or one-hot of shape ({n}, {size}), "
            f"for scores of shape {y.shape}; got shape {array.shape}"
        )
    return checks.labels(array, size, kind)


def _zeros_and_ones(kind: str, target: Array, n: int) -> Array:
    """The targets of a binary classification; they may be of any numeric type, since a loss may take them too."""
    if target.shape not in ((n,), (n, 1)):
        raise ValueError(
            f"{kind}: expected targets of shape ({n},) or ({n}, 1) for one score for each of {n} examples, "
            f"got shape {target.shape}"
        )
    if target.dtype.kind not in "fiub":
        raise TypeError(f"{kind}: expected targets 0 and 1, got an array of {target.dtype}")
    other = target[~np.isin(target, (0, 1))]
    if other.size:
        raise ValueError(
            f"{kind}: expected targets 0 and 1 for one score for each example, got {other[0]}; "
            "for more classes the model needs one output for each"
        )
    return target.reshape(n).astype(np.int64)
