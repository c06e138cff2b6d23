"""Metrics of a ranking: do the examples of a class have higher scores than the others, over all thresholds?

They need scores, not decisions: predicted classes, integers that are 0 and 1 only, raise an error. Booleans do not, and
the area under the ROC curve of such decisions is the balanced accuracy. A curve shows what the number sums up.
"""

from __future__ import annotations

from typing import Any, NamedTuple, overload

import numpy as np

from funcnn.aliases import Array
from funcnn.calls import explained
from funcnn.metrics.averages import Average, average_of, check_average
from funcnn.metrics.inputs import check_scores, columns

__all__ = ["average_precision", "precision_recall_curve", "roc_auc", "roc_curve"]


@overload
def roc_auc(
    y: Array, target: Array, average: Average = "macro", *, weights: Array | None = None, multilabel: bool = False
) -> float: ...
@overload
def roc_auc(
    y: Array, target: Array, average: None, *, weights: Array | None = None, multilabel: bool = False
) -> Array: ...
@explained
def roc_auc(
    y: Array,
    target: Array,
    average: Average | None = "macro",
    *,
    weights: Array | None = None,
    multilabel: bool = False,
) -> Any:
    """The area under the ROC curve: P(score of an example of the class > score of another), ties counting one half.

    For several classes, each class is compared with the rest by its own scores, and the areas are averaged.

    Args:
        y: one score for each example, any numbers, of shape (n,) or (n, 1), higher for class 1; or probabilities of
            all classes, of shape (n, classes).
        target: zeros and ones of any type, of shape (n,) or (n, 1); for several classes integers of shape (n,) or
            one-hot rows.
        average: "macro", the mean over the classes; "weighted", their mean weighted by the number of examples of each;
            "micro", one area of the scores of all classes together; None, no average.
        weights: how much each example counts, of shape (n,); by default all count the same.
        multilabel: an example may have any number of labels: y holds a score for each label, any numbers, and
            ``target`` zeros and ones, both of shape (n, labels), and the labels take the place of the classes.

    Returns:
        A number from 0 to 1: 1 for a perfect ranking, 0.5 for random or equal scores; for None float64 of shape
        (classes,), or (1,) for one score, with NaN where there is nothing to compare.

    Raises:
        TypeError: labels of several classes are not integers, or scores or weights are not numbers.
        ValueError: the shapes do not fit, there is no example, a label is out of range, a score is NaN, several
            scores are not probabilities, the scores are predicted classes, integers 0 and 1 only, or weights are
            negative, not finite or all zero; there is no such average; or a class has no example, or has all of them:
            then there is nothing to compare.

    Example:
        >>> roc_auc(np.array([-1.2, 0.3, 0.4, 2.0]), np.array([0, 1, 0, 1]))
        0.75

    Reference:
        Fawcett, An introduction to ROC analysis (2006), section 7; section 9 for several classes.
    """
    return _over_classes("roc_auc", y, target, average, weights, multilabel)


@overload
def average_precision(
    y: Array, target: Array, average: Average = "macro", *, weights: Array | None = None, multilabel: bool = False
) -> float: ...
@overload
def average_precision(
    y: Array, target: Array, average: None, *, weights: Array | None = None, multilabel: bool = False
) -> Array: ...
@explained
def average_precision(
    y: Array,
    target: Array,
    average: Average | None = "macro",
    *,
    weights: Array | None = None,
    multilabel: bool = False,
) -> Any:
    """AP = Σ_k (R_k - R_(k-1)) P_k, with recall R and precision P at each score as the threshold, from the highest.

    It depends most on the highest scores: for a rare class, it is more informative than ``roc_auc``. For several
    classes it is averaged over them, each compared with the rest.

    Args:
        y, target, average, weights, multilabel: as in ``roc_auc``.

    Returns:
        A number from 0 to 1: 1 for a perfect ranking; about the fraction of examples of the class for random scores.
        For None float64 of shape (classes,), or (1,) for one score, with NaN for a class without examples.

    Raises:
        TypeError: as ``roc_auc``.
        ValueError: as ``roc_auc``, but a class may have all examples.

    Example:
        >>> round(average_precision(np.array([-1.2, 0.3, 0.4, 2.0]), np.array([0, 1, 0, 1])), 4)
        0.8333
        >>> y, target = np.array([[2.0, -1.0], [0.5, 0.1], [-3.0, 0.7]]), np.array([[1, 0], [1, 1], [0, 0]])
        >>> average_precision(y, target, average=None, multilabel=True)
        array([1. , 0.5])

    Reference:
        Manning, Raghavan & Schütze, Introduction to Information Retrieval (2008), section 8.4.
    """
    return _over_classes("average_precision", y, target, average, weights, multilabel)


class RocCurve(NamedTuple):
    """The rates at each threshold, from the highest, above all scores."""

    false_positive_rate: Array
    true_positive_rate: Array
    thresholds: Array


class PrecisionRecallCurve(NamedTuple):
    """The precision and the recall at each threshold, from the lowest; then 1 and 0, for no prediction at all."""

    precision: Array
    recall: Array
    thresholds: Array


@explained
def roc_curve(y: Array, target: Array, *, weights: Array | None = None) -> RocCurve:
    """The true positive rate over the false positive rate, at each score as the threshold.

    Args:
        y: one score for each example, any numbers, of shape (n,) or (n, 1), higher for class 1. Of several classes or
            labels take one: ``roc_curve(y[:, 2], target == 2)``; ``plot.roc_curve`` draws all.
        target: zeros and ones of any type, of shape (n,) or (n, 1).
        weights: how much each example counts, of shape (n,); by default all count the same.

    Returns:
        ``(false_positive_rate, true_positive_rate, thresholds)``, each of shape (points,): from (0, 0), where the
        threshold is infinite, to (1, 1). An example is predicted as class 1 if its score is not below the threshold.

    Raises:
        TypeError: scores, labels or weights are not numbers.
        ValueError: the shapes do not fit, a target is not 0 or 1, a score is NaN, weights are negative, not finite or
            all zero, there are several scores for an example; or all examples are of one class.

    Example:
        >>> curve = roc_curve(np.array([-1.2, 0.3, 0.4, 2.0]), np.array([0, 1, 0, 1]))
        >>> curve.false_positive_rate, curve.true_positive_rate
        (array([0. , 0. , 0.5, 0.5, 1. ]), array([0. , 0.5, 0.5, 1. , 1. ]))

    Reference:
        Fawcett, An introduction to ROC analysis (2006), algorithm 1.
    """
    hits, false_alarms, thresholds = _only_column("roc_curve", y, target, weights)
    _check_defined("roc_curve", hits, false_alarms, "class 1")
    return RocCurve(*roc_points(hits, false_alarms), np.append(np.inf, thresholds))


@explained
def precision_recall_curve(y: Array, target: Array, *, weights: Array | None = None) -> PrecisionRecallCurve:
    """The precision and the recall of class 1, at each score as the threshold.

    Args:
        y, target, weights: as in ``roc_curve``.

    Returns:
        ``(precision, recall, thresholds)``, of shapes (points,), (points,) and (points - 1,), from the lowest threshold
        to the highest, as in scikit-learn. The last point, 1 and 0, belongs to no threshold. An example is predicted as
        class 1 if its score is not below the threshold.

    Raises:
        TypeError: as ``roc_curve``.
        ValueError: as ``roc_curve``, but all examples may be of class 1.

    Example:
        >>> curve = precision_recall_curve(np.array([-1.2, 0.3, 0.4, 2.0]), np.array([0, 1, 0, 1]))
        >>> curve.precision.round(2), curve.recall
        (array([0.5 , 0.67, 0.5 , 1.  , 1.  ]), array([1. , 1. , 0.5, 0.5, 0. ]))

    Reference:
        Manning, Raghavan & Schütze, Introduction to Information Retrieval (2008), section 8.4.
    """
    hits, false_alarms, thresholds = _only_column("precision_recall_curve", y, target, weights)
    _check_defined("precision_recall_curve", hits, false_alarms, "class 1")
    precision, recall = precision_recall_points(hits, false_alarms)
    return PrecisionRecallCurve(precision, recall, thresholds[::-1])


def counts_by_threshold(score: Array, positive: Array, w: Array) -> tuple[Array, Array, Array]:
    """The weight of the true and of the false positives at each threshold, from the highest score; the thresholds."""
    order = np.argsort(score, kind="stable")[::-1]
    score, positive, w = score[order], positive[order], w[order]
    last_of_equal = np.append(score[1:] != score[:-1], True)
    thresholds = score[last_of_equal].astype(np.float64)
    return np.cumsum(w * positive)[last_of_equal], np.cumsum(w * ~positive)[last_of_equal], thresholds


def roc_points(hits: Array, false_alarms: Array) -> tuple[Array, Array]:
    """The false and the true positive rate at each threshold, from 0 for none."""
    x, height = np.append(0, false_alarms), np.append(0, hits)
    return x / x[-1], height / height[-1]


def precision_recall_points(hits: Array, false_alarms: Array) -> tuple[Array, Array]:
    """Precision and recall at each threshold, from the lowest, and at last those of no prediction."""
    precision, recall = hits / (hits + false_alarms), hits / hits[-1]
    return np.append(precision[::-1], 1.0), np.append(recall[::-1], 0.0)


def area(kind: str, hits: Array, false_alarms: Array) -> float:
    """The area under the ROC curve, or the mean precision at all thresholds weighted by the recall that each adds."""
    # Counts are divided once, at the end, so that a perfect ranking has exactly 1. Sums of weights are rounded.
    if kind == "roc_auc":
        pairs = np.trapezoid(np.append(0, hits), np.append(0, false_alarms))
        return min(1.0, float(pairs / (hits[-1] * false_alarms[-1])))
    return min(1.0, float(np.diff(hits, prepend=0) @ (hits / (hits + false_alarms)) / hits[-1]))


def undefined(kind: str, hits: Array, false_alarms: Array) -> str:
    """What of its two kinds of examples a class lacks, in words; empty if the metric or curve is defined."""
    if not hits[-1]:
        return "no example"
    return "all examples" if kind.startswith("roc") and not false_alarms[-1] else ""


def _check_defined(kind: str, hits: Array, false_alarms: Array, name: str) -> None:
    """Raise if a class has no examples, or for a ROC curve no others."""
    if lacking := undefined(kind, hits, false_alarms):
        why = "; it compares examples of a class with those of others" if kind.startswith("roc") else ""
        raise ValueError(f"{kind} is undefined: {name} has {lacking}{why}")


def _only_column(kind: str, y: Array, target: Array, weights: Array | None) -> tuple[Array, Array, Array]:
    """The counts of the one score of each example."""
    if np.ndim(y) == 2 and np.shape(y)[1] > 1:
        raise ValueError(
            f"{kind}: expected one score for each example, of shape (n,) or (n, 1), got shape {np.shape(y)}; take one "
            f"class, {kind}(y[:, c], target == c), or draw all with plot.{kind}"
        )
    found, w = columns(kind, y, target, weights, multilabel=False)
    check_scores(kind, found[1][0])
    return counts_by_threshold(*found[1], w)


def _over_classes(kind: str, y: Array, target: Array, average: Any, weights: Array | None, multilabel: bool) -> Any:
    """The metric of each class against all others, or of all together; or the average over the classes."""
    check_average(kind, average)
    found, w = columns(kind, y, target, weights, multilabel)
    if average == "micro":
        # One class after the other.
        scores, positives = (np.concatenate(parts) for parts in zip(*found.values(), strict=True))
        found, w = {-1: (scores, positives)}, np.tile(w, len(found))
    values, sizes = [], []
    for c, (score, positive) in found.items():
        check_scores(kind, score)
        hits, false_alarms, _ = counts_by_threshold(score, positive, w)
        if average is not None:
            name = f"{'label' if multilabel else 'class'} {c}" if c >= 0 else "the whole"
            _check_defined(kind, hits, false_alarms, name)
        values.append(np.nan if undefined(kind, hits, false_alarms) else area(kind, hits, false_alarms))
        sizes.append(hits[-1])
    return average_of(np.array(values), np.array(sizes), average, np.ones(len(values), bool))
