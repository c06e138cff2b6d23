"""The arguments of metrics: scores of all classes or one score for class 1, the true classes, and weights.

One score for each example, as the output of a single sigmoid, is an array (n,) or (n, 1); these functions return (n,).
With ``multilabel`` an example may have any number of labels: scores and targets are arrays (n, labels).
An example of weight 0 counts as none, so it is removed before anything is looked at: its scores may be NaN, and its
label any number.
"""

from typing import Any, NamedTuple

import numpy as np

from funcnn import checks
from funcnn.aliases import Array
from funcnn.losses.targets import from_one_hot

__all__ = [
    "Examples", "LabelledExamples", "check_probabilities", "check_scores", "columns", "examples", "labelled_examples",
    "numbers", "predicted_classes", "predicted_labels", "relative_weights",
]  # fmt: skip

NOT_SCORES = "pass the output of the model, logits or probabilities, without argmax and without a threshold"
"""What to do where predicted classes were given."""

ORDER = "; a metric takes (y, target), the predictions first"
"""What to do where the arguments seem to be in the wrong order."""


class Examples(NamedTuple):
    """The examples that count.

    Args:
        scores: (n, classes), or (n,) if there is one score for each example.
        true: the true class of each, int64 of shape (n,).
        weights: how much each counts, float64 of shape (n,), all of them divided by ``2**exponent``.
        exponent: makes the largest weight a number near 1, so that no sum of weights overflows.
        classes: the number of classes.
    """

    scores: Array
    true: Array
    weights: Array
    exponent: int
    classes: int


class LabelledExamples(NamedTuple):
    """The examples that count, of which each may have several labels.

    Args:
        scores: (n, labels).
        true: whether an example has a label, bool of shape (n, labels).
        weights, exponent: as in ``Examples``.
    """

    scores: Array
    true: Array
    weights: Array
    exponent: int


def examples(kind: str, y: Any, target: Any, weights: Any, classes: int | None = None) -> Examples:
    """Read and validate the arguments of a metric of classes.

    Args:
        kind: the name of the metric, for messages.
        y: scores of shape (n, classes); or one for each example, of shape (n,) or (n, 1).
        target: integers of shape (n,) or one-hot rows; for one score zeros and ones, of shape (n,) or (n, 1).
        weights: of shape (n,), or None.
        classes: the number of classes, if there may be more than scores.

    Returns:
        The examples with a weight above 0.
    """
    scores = _scores(kind, y)
    scored = 2 if scores.ndim == 1 else scores.shape[1]
    size = scored if classes is None else checks.size(kind, "classes", classes)
    if size < scored:
        raise ValueError(f"{kind}: classes={classes} is less than the {scored} scores of each example")
    targets = _targets(kind, target, scores, size)
    w, exponent, counts = relative_weights(kind, weights, len(scores))
    scores = _without_nan(kind, scores[counts])
    targets, integers = targets[counts], scores.dtype.kind in "iu"
    true = _zero_or_one(kind, targets, integers) if scores.ndim == 1 else _classes(kind, targets, size)
    return Examples(scores, true, w, exponent, size)


def labelled_examples(kind: str, y: Any, target: Any, weights: Any) -> LabelledExamples:
    """Read and validate the arguments of a metric of labels; scores and targets have the shape (n, labels)."""
    scores, targets = numbers(kind, y, "scores"), checks.array(kind, target, "labels")
    if scores.ndim != 2 or 0 in scores.shape or targets.shape != scores.shape:
        raise ValueError(
            f"{kind}: with multilabel=True, expected scores and targets of one shape (n, labels), with at least one "
            f"example; got {scores.shape} and {targets.shape}"
        )
    w, exponent, counts = relative_weights(kind, weights, len(scores))
    true = _zeros_and_ones(kind, targets[counts], "with multilabel=True: 1 where an example has a label")
    return LabelledExamples(_without_nan(kind, scores[counts]), true == 1, w, exponent)


def columns(
    kind: str, y: Any, target: Any, weights: Any, multilabel: bool, probabilities: bool = False
) -> tuple[dict[int, tuple[Array, Array]], Array]:
    """The scores of each class beside whether an example is of it, by its number; and the weights of the examples.

    Of one score for each example, that is class 1 alone; of several classes, each is compared with all others.

    Args:
        kind, y, target, weights: as in ``examples``.
        multilabel: whether y and target are those of ``labelled_examples``.
        probabilities: whether scores must be probabilities even where any number would do.
    """
    if checks.flag(kind, "multilabel", multilabel):
        labelled = labelled_examples(kind, y, target, weights)
        if probabilities:
            _check_range(kind, labelled.scores)
        pairs = zip(labelled.scores.T, labelled.true.T, strict=True)
        return dict(enumerate(pairs)), labelled.weights
    scores, true, w, *_ = examples(kind, y, target, weights)
    if scores.ndim == 2:
        scores = check_probabilities(kind, scores)
    elif probabilities:
        _check_range(kind, scores)
    by_class = {1: scores} if scores.ndim == 1 else dict(enumerate(scores.T))
    return {c: (score, true == c) for c, score in by_class.items()}, w


def relative_weights(kind: str, weights: Any, n: int) -> tuple[Array, int, Any]:
    """Weights above 0 divided by a power of 2, its exponent, and an index of the examples that have them."""
    w = checks.weights(weights, (n,), kind)
    if weights is None:
        return w, 0, slice(None)
    counts = w > 0
    exponent = int(np.frexp(w.max())[1])
    return np.ldexp(w[counts], -exponent), exponent, counts


def numbers(kind: str, value: Any, name: str) -> Array:
    """A plain array of numbers; half precision raises, and so do floats that are wider than float64."""
    array = checks.array(kind, value, name)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{kind}: expected {name} as numbers, got an array of {array.dtype}")
    if array.dtype.kind == "f":
        checks.float_dtype(f"{kind}, {name}", array.dtype)
    return array


def _without_nan(kind: str, scores: Array) -> Array:
    """The scores, or an error if one of them predicts nothing."""
    if np.isnan(scores).any():
        raise ValueError(f"{kind}: the scores contain NaN, which predicts no class; has training diverged?")
    return scores


def _scores(kind: str, y: Any) -> Array:
    """Scores of shape (n, classes), or of shape (n,) if there is one for each example."""
    array = numbers(kind, y, "scores")
    if array.ndim not in (1, 2) or 0 in array.shape:
        raise ValueError(
            f"{kind}: expected scores of shape (n, classes), or one score for each example of shape (n,) or (n, 1), "
            f"with at least one example; got shape {array.shape}"
        )
    return array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array


def _targets(kind: str, target: Any, scores: Array, classes: int) -> Array:
    """Labels as an array of a shape that fits to the scores."""
    array, n = checks.array(kind, target, "labels"), len(scores)
    if scores.ndim == 1:
        if array.shape not in ((n,), (n, 1)):
            raise ValueError(
                f"{kind}: expected targets of shape ({n},) or ({n}, 1) for one score for each of {n} examples, "
                f"got shape {array.shape}" + (ORDER if array.ndim == 2 and scores.dtype.kind in "iub" else "")
            )
    elif array.shape not in ((n,), (n, classes)):
        raise ValueError(
            f"{kind}: expected labels of shape ({n},), or one-hot of shape ({n}, {classes}), "
            f"for scores of shape {scores.shape}; got shape {array.shape}"
            + ("; use labels.reshape(-1)" if array.shape == (n, 1) else "")
        )
    return array


def _classes(kind: str, targets: Array, classes: int) -> Array:
    """The true classes, from integers or from one-hot rows."""
    if targets.ndim == 2:
        found = from_one_hot(targets) if targets.dtype.kind in "fiub" else None
        if found is None:
            raise ValueError(
                f"{kind}: expected one-hot labels: a single 1 in each row and 0 elsewhere; if an example may have "
                "several labels, give multilabel=True to precision, recall, f1, confusion_matrix, roc_auc or "
                "average_precision"
            )
        targets = found
    return checks.labels(targets, classes, kind)


def _zero_or_one(kind: str, targets: Array, integers: bool) -> Array:
    """The targets of a binary classification, as classes of shape (n,); integers as scores may be predicted classes."""
    hint = f"for one {'integer' if integers else 'score'} for each example"
    more = NOT_SCORES if integers else "for more classes the model needs one output for each"
    return _zeros_and_ones(kind, targets, hint, f"; {more}").reshape(len(targets))


def _zeros_and_ones(kind: str, targets: Array, hint: str, more: str = "") -> Array:
    """Targets that are 0 or 1 as int64; they may be of any numeric type, since a loss may take them too."""
    if targets.dtype.kind not in "fiub":
        raise TypeError(f"{kind}: expected targets 0 and 1, got an array of {targets.dtype}")
    other = targets[~np.isin(targets, (0, 1))]
    if other.size:
        raise ValueError(f"{kind}: expected targets 0 and 1 {hint}, got {other[0]}{more}")
    return targets.astype(np.int64)


def _check_range(kind: str, p: Array) -> None:
    """Raise if scores are not probabilities."""
    if p.min() < 0 or p.max() > 1:
        raise ValueError(
            f"{kind}: expected probabilities in [0, 1], got values from {p.min()} to {p.max()}; "
            "for logits apply fn.softmax first, or fn.sigmoid if there is one for each example or label"
        )


def check_scores(kind: str, scores: Array) -> None:
    """Raise if scores are predicted classes, integers that are 0 and 1 only: they rank nothing."""
    if scores.dtype.kind in "iu" and np.isin(scores, (0, 1)).all():
        raise ValueError(f"{kind}: expected scores, got predicted classes, integers 0 and 1 only; {NOT_SCORES}")


def check_probabilities(kind: str, p: Array) -> Array:
    """Checked scores as the probabilities of all classes, floats (n, classes); a single one is that of class 1."""
    p = p if p.dtype.kind == "f" else p.astype(np.float64)
    _check_range(kind, p)
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
    return predicted_labels(kind, y, threshold).astype(np.int64)


def predicted_labels(kind: str, y: Array, threshold: float | None) -> Array:
    """Whether each score of shape (n,) or (n, labels) is above the threshold."""
    if threshold is None and (y.min() < 0 or y.max() > 1):
        shape, what = ("(n,) or (n, 1)", "class 1") if y.ndim == 1 else ("(n, labels)", "a label")
        advice = NOT_SCORES if y.dtype.kind in "iu" else "for logits give threshold=0"
        raise ValueError(
            f"{kind}: scores of shape {shape} are taken for probabilities, and for {what} above 0.5; "
            f"got values from {y.min()} to {y.max()}; {advice}"
        )
    above: Array = y > (0.5 if threshold is None else checks.number(kind, "threshold", threshold))
    return above
