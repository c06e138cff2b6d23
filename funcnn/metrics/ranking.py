"""Metrics of a ranking: do the examples of a class have higher scores than the others, over all thresholds?

They need scores, not decisions: of hard decisions, the area under the ROC curve is the balanced accuracy.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from funcnn.aliases import Array
from funcnn.metrics.inputs import check_probabilities, examples

__all__ = ["average_precision", "roc_auc"]


def roc_auc(y: Array, labels: Array, *, weights: Array | None = None) -> float:
    """The area under the ROC curve: P(score of an example of the class > score of another), ties counting one half.

    For several classes, each class is compared with the rest by its own scores, and the areas are averaged.

    Args:
        y: one score for each example, any numbers, of shape (n,) or (n, 1), higher for class 1; or probabilities of
            all classes, of shape (n, classes).
        labels: zeros and ones of any type, of shape (n,) or (n, 1); for several classes integers of shape (n,) or
            one-hot rows.
        weights: how much each example counts, of shape (n,); by default all count the same.

    Returns:
        A number from 0 to 1: 1 for a perfect ranking, 0.5 for random or equal scores.

    Raises:
        TypeError: labels of several classes are not integers, or scores or weights are not numbers.
        ValueError: the shapes do not fit, there is no example, a label is out of range, a score is NaN, several
            scores are not probabilities, or weights are negative, not finite or all zero; or a class has no example,
            or has all of them: then there is nothing to compare.

    Example:
        >>> roc_auc(np.array([-1.2, 0.3, 0.4, 2.0]), np.array([0, 1, 0, 1]))
        0.75

    Reference:
        Fawcett, An introduction to ROC analysis (2006), section 7; section 9 for several classes.
    """
    return _one_vs_rest("roc_auc", _area, y, labels, weights)


def average_precision(y: Array, labels: Array, *, weights: Array | None = None) -> float:
    """AP = Σ_k (R_k - R_(k-1)) P_k, with recall R and precision P at each score as the threshold, from the highest.

    It depends most on the highest scores: for a rare class, it is more informative than ``roc_auc``. For several
    classes it is averaged over them, each compared with the rest.

    Args:
        y, labels, weights: as in ``roc_auc``.

    Returns:
        A number from 0 to 1: 1 for a perfect ranking; about the fraction of examples of the class for random scores.

    Raises:
        TypeError: as ``roc_auc``.
        ValueError: as ``roc_auc``, but a class may have all examples.

    Example:
        >>> round(average_precision(np.array([-1.2, 0.3, 0.4, 2.0]), np.array([0, 1, 0, 1])), 4)
        0.8333

    Reference:
        Manning, Raghavan & Schütze, Introduction to Information Retrieval (2008), section 8.4.
    """
    return _one_vs_rest("average_precision", _mean_precision, y, labels, weights)


def _one_vs_rest(
    kind: str, metric: Callable[[Array, Array, str], float], y: Array, labels: Array, weights: Array | None
) -> float:
    """The metric of the only score; or its mean over the classes, each compared with all others."""
    scores, true, w, *_ = examples(kind, y, labels, weights)
    if scores.ndim == 2:
        scores = check_probabilities(kind, scores)
    columns = {1: scores} if scores.ndim == 1 else dict(enumerate(scores.T))
    return float(np.mean([metric(*_counts(score, true == c, w), f"class {c}") for c, score in columns.items()]))


def _counts(score: Array, positive: Array, w: Array) -> tuple[Array, Array]:
    """The weight of the true and of the false positives at each threshold, from the highest score to the lowest."""
    order = np.argsort(score, kind="stable")[::-1]
    score, positive, w = score[order], positive[order], w[order]
    last_of_equal = np.append(score[1:] != score[:-1], True)
    return np.cumsum(w * positive)[last_of_equal], np.cumsum(w * ~positive)[last_of_equal]


def _area(hits: Array, false_alarms: Array, name: str) -> float:
    """The area under the curve of the true positive rate over the false positive rate, which starts at 0."""
    if not hits[-1] or not false_alarms[-1]:
        raise ValueError(
            f"roc_auc is undefined: {name} has {'no example' if not hits[-1] else 'all examples'}; "
            "it compares examples of a class with those of others"
        )
    x, height = np.append(0, false_alarms), np.append(0, hits)
    return float(np.trapezoid(height / height[-1], x / x[-1]))


def _mean_precision(hits: Array, false_alarms: Array, name: str) -> float:
    """The mean of the precision at all thresholds, weighted by the recall that each adds."""
    if not hits[-1]:
        raise ValueError(f"average_precision is undefined: {name} has no example")
    found = np.diff(hits, prepend=0)
    taken = hits + false_alarms
    # Above every example with a weight there are no predictions: precision is undefined there, and recall is 0.
    return float(found[found > 0] @ (hits[found > 0] / taken[found > 0]) / hits[-1])
