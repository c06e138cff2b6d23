"""Metrics of decisions: each example is assigned to one class, which is right or wrong.

Nearly all of them follow from the confusion matrix; they differ in how much the mistakes of rare classes count.
"""

from __future__ import annotations

from typing import Any, NamedTuple, overload

import numpy as np

from funcnn import checks, notebook
from funcnn.aliases import Array
from funcnn.calls import explained
from funcnn.metrics.averages import Average, average_of, check_average
from funcnn.metrics.inputs import examples, labelled_examples, predicted_classes, predicted_labels
from funcnn.wording import shown

__all__ = [
    "accuracy",
    "balanced_accuracy",
    "confusion_matrix",
    "error_rate",
    "f1",
    "matthews_correlation",
    "precision",
    "recall",
    "top_k_accuracy",
]


@explained
def accuracy(y: Array, target: Array, *, threshold: float | None = None, weights: Array | None = None) -> float:
    """The fraction of examples whose highest score is that of their class: mean over i of [argmax_c y_ic = label_i].

    With one score for each example, the predicted class is 1 if the score is above the threshold, and 0 otherwise.

    Args:
        y: scores (logits or probabilities) of shape (n, classes), where the first of equal scores counts; or one score
            for each example, of shape (n,) or (n, 1).
        target: integers of shape (n,), or one-hot of shape (n, classes); for one score zeros and ones of any type, of
            shape (n,) or (n, 1).
        threshold: for one score only. By default the scores must be probabilities, and the threshold is 0.5; for
            logits pass 0.
        weights: how much each example counts, of shape (n,); by default all count the same. One of weight 0 does not,
            whatever its scores and its label are.

    Returns:
        A number from 0 to 1.

    Raises:
        TypeError: labels of shape (n,) are not integers, or scores or weights are not numbers.
        ValueError: the shapes do not fit, there is no example, a label is out of range, a score is NaN, single scores
            are not probabilities and there is no threshold, or weights are negative, not finite or all zero.

    Example:
        >>> accuracy(np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]]), np.array([1, 0, 0]))
        0.6666666666666666
        >>> accuracy(np.array([[2.2], [-1.4], [0.8]]), np.array([[1], [0], [0]]), threshold=0)
        0.6666666666666666

    Reference:
        Bishop, Pattern Recognition and Machine Learning (2006), section 1.5.1: minimising the misclassification rate.
    """
    found = examples("accuracy", y, target, weights)
    right = predicted_classes("accuracy", found.scores, threshold) == found.true
    return float(found.weights[right].sum() / found.weights.sum())


@explained
def error_rate(y: Array, target: Array, *, threshold: float | None = None, weights: Array | None = None) -> float:
    """The fraction of examples whose highest score is not that of their class: 1 - accuracy.

    Args:
        y, target, threshold, weights: as in ``accuracy``.

    Returns:
        A number from 0 to 1.

    Raises:
        TypeError, ValueError: as ``accuracy``.

    Example:
        >>> error_rate(np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]]), np.array([1, 0, 0]))
        0.3333333333333333

    Reference:
        Bishop, Pattern Recognition and Machine Learning (2006), equation 1.78.
    """
    found = examples("error_rate", y, target, weights)
    wrong = predicted_classes("error_rate", found.scores, threshold) != found.true
    return float(found.weights[wrong].sum() / found.weights.sum())


@explained
def balanced_accuracy(
    y: Array, target: Array, *, threshold: float | None = None, weights: Array | None = None
) -> float:
    """The accuracy within each class, averaged over the classes: mean over t of C_tt / Σ_p C_tp.

    Random guessing gets 1 / classes, however rare a class is. Classes without examples are left out of the mean.

    Args:
        y, target, threshold, weights: as in ``accuracy``.

    Returns:
        A number from 0 to 1.

    Raises:
        TypeError, ValueError: as ``accuracy``.

    Example:
        >>> balanced_accuracy(np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]]), np.array([1, 0, 0]))
        0.75

    Reference:
        Brodersen et al., The balanced accuracy and its posterior distribution (2010), section II.
    """
    hits, true, _ = _counts_of_classes("balanced_accuracy", y, target, threshold, weights)
    return float((hits[true > 0] / true[true > 0]).mean())


@explained
def top_k_accuracy(y: Array, target: Array, k: int, *, weights: Array | None = None) -> float:
    """The fraction of examples whose class is among those of the k highest scores.

    Args:
        y: scores of shape (n, classes); the first of equal scores counts, so that k = 1 is ``accuracy``.
        target: integers of shape (n,), or one-hot of shape (n, classes).
        k: the number of guesses, from 1 to classes.
        weights: how much each example counts, of shape (n,); by default all count the same.

    Returns:
        A number from 0 to 1.

    Raises:
        TypeError: as ``accuracy``, or k is not an integer.
        ValueError: as ``accuracy``, there is only one score for each example, or k is out of range.

    Example:
        >>> top_k_accuracy(np.array([[0.1, 0.2, 0.7], [0.5, 0.3, 0.2]]), np.array([1, 2]), k=2)
        0.5

    Reference:
        Russakovsky et al. (2015), ImageNet Large Scale Visual Recognition Challenge, section 4.1.
    """
    if isinstance(k, bool) or not isinstance(k, int | np.integer):
        raise TypeError(f"top_k_accuracy: expected k as an integer, got {shown(k)}")
    scores, true, w, _, classes = examples("top_k_accuracy", y, target, weights)
    if scores.ndim == 1:
        raise ValueError(
            "top_k_accuracy: expected scores of shape (n, classes), got one for each example; use accuracy"
        )
    if not 1 <= k <= classes:
        raise ValueError(f"top_k_accuracy: expected k from 1 to the number of classes, {classes}, got {k}")
    score = np.take_along_axis(scores, true[:, None], axis=1)
    ahead = (scores > score) | ((scores == score) & (np.arange(classes) < true[:, None]))
    return float(w[ahead.sum(axis=1) < k].sum() / w.sum())


@explained
def confusion_matrix(
    y: Array,
    target: Array,
    classes: int | None = None,
    *,
    threshold: float | None = None,
    weights: Array | None = None,
    multilabel: bool = False,
) -> Array:
    """C_tp = the number of examples of class t that were predicted as class p.

    Args:
        y, target, threshold, weights: as in ``accuracy``.
        classes: the size of the matrix; by default the number of scores, and 2 for one score. Pass more if the data
            have classes for which the model has no score.
        multilabel: as in ``precision``.

    Returns:
        int64 counts of shape (classes, classes): a row for each true class, a column for each predicted one; with
        weights, float64 sums of them. In a notebook it shows itself as ``plot.confusion_matrix``. With ``multilabel``,
        a matrix of 2 x 2 for each label, (labels, 2, 2): first those without the label, then those with it.

    Raises:
        TypeError, ValueError: as ``accuracy``; ``classes`` is smaller than the number of scores, or is given with
            ``multilabel``.

    Example:
        >>> confusion_matrix(np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]]), np.array([1, 0, 0]))
        array([[1, 1],
               [0, 1]])

    Reference:
        Stehman, Selecting and interpreting measures of thematic classification accuracy (1997), table 1.
    """
    if checks.flag("confusion_matrix", "multilabel", multilabel):
        if classes is not None:
            raise ValueError(f"confusion_matrix: {classes=} is for classes, not for labels; leave it out")
        matrix, exponent = _matrices_of_labels("confusion_matrix", y, target, threshold, weights)
    else:
        matrix, exponent = _matrix_and_exponent("confusion_matrix", y, target, threshold, weights, classes)
    counts = matrix.astype(np.int64) if weights is None else np.ldexp(matrix, exponent)
    return counts if multilabel else notebook.show_as_plot(counts, "confusion.confusion_matrix")


@overload
def precision(
    y: Array,
    target: Array,
    average: Average = "macro",
    *,
    threshold: float | None = None,
    weights: Array | None = None,
    multilabel: bool = False,
) -> float: ...
@overload
def precision(
    y: Array,
    target: Array,
    average: None,
    *,
    threshold: float | None = None,
    weights: Array | None = None,
    multilabel: bool = False,
) -> Array: ...
@explained
def precision(
    y: Array,
    target: Array,
    average: Average | None = "macro",
    *,
    threshold: float | None = None,
    weights: Array | None = None,
    multilabel: bool = False,
) -> Any:
    """The fraction of the examples predicted as a class that are of it: P_c = C_cc / Σ_t C_tc.

    A class that was never predicted has a precision of 0.

    Args:
        y, target, threshold, weights: as in ``accuracy``.
        average: "macro", the mean over the classes that occur as true or as predicted ones; "weighted", their mean
            weighted by the number of examples of each; "micro", over all examples at once, which is the accuracy; None,
            no average. For a binary classification, the precision of class 1 is element ``[1]`` with None.
        multilabel: an example may have any number of labels: y holds a score for each label and ``target`` zeros and
            ones, both of shape (n, labels). A label is predicted where its score is above the threshold, and the
            labels take the place of the classes; "micro" is over all labels at once.

    Returns:
        A number from 0 to 1, NaN if no label occurs; for None float64 of shape (classes,), NaN for classes that do
        not occur.

    Raises:
        TypeError, ValueError: as ``accuracy``; or there is no such average.

    Example:
        >>> y, target = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]]), np.array([1, 0, 0])
        >>> precision(y, target), precision(y, target, average=None)
        (0.75, array([1. , 0.5]))
        >>> precision(y, np.array([[1, 1], [1, 0], [0, 1]]), average=None, multilabel=True)
        array([1., 1.])

    Reference:
        Sokolova & Lapalme, A systematic analysis of performance measures for classification tasks (2009), table 3.
    """
    found = _counts("precision", y, target, average, threshold, weights, multilabel)
    return _averaged(found.hits, found.predicted, found, average)


@overload
def recall(
    y: Array,
    target: Array,
    average: Average = "macro",
    *,
    threshold: float | None = None,
    weights: Array | None = None,
    multilabel: bool = False,
) -> float: ...
@overload
def recall(
    y: Array,
    target: Array,
    average: None,
    *,
    threshold: float | None = None,
    weights: Array | None = None,
    multilabel: bool = False,
) -> Array: ...
@explained
def recall(
    y: Array,
    target: Array,
    average: Average | None = "macro",
    *,
    threshold: float | None = None,
    weights: Array | None = None,
    multilabel: bool = False,
) -> Any:
    """The fraction of the examples of a class that were predicted as it: R_c = C_cc / Σ_p C_cp.

    A class without examples that was predicted for others has a recall of 0. ``balanced_accuracy`` leaves it out.

    Args:
        y, target, threshold, weights: as in ``accuracy``.
        average, multilabel: as in ``precision``.

    Returns:
        A number from 0 to 1, NaN if no label occurs; for None float64 of shape (classes,), NaN for classes that do
        not occur.

    Raises:
        TypeError, ValueError: as ``precision``.

    Example:
        >>> y, target = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]]), np.array([1, 0, 0])
        >>> recall(y, target), recall(y, target, average=None)
        (0.75, array([0.5, 1. ]))

    Reference:
        Sokolova & Lapalme, A systematic analysis of performance measures for classification tasks (2009), table 3.
    """
    found = _counts("recall", y, target, average, threshold, weights, multilabel)
    return _averaged(found.hits, found.true, found, average)


@overload
def f1(
    y: Array,
    target: Array,
    average: Average = "macro",
    *,
    threshold: float | None = None,
    weights: Array | None = None,
    multilabel: bool = False,
) -> float: ...
@overload
def f1(
    y: Array,
    target: Array,
    average: None,
    *,
    threshold: float | None = None,
    weights: Array | None = None,
    multilabel: bool = False,
) -> Array: ...
@explained
def f1(
    y: Array,
    target: Array,
    average: Average | None = "macro",
    *,
    threshold: float | None = None,
    weights: Array | None = None,
    multilabel: bool = False,
) -> Any:
    """The harmonic mean of precision and recall: F_c = 2 C_cc / (Σ_t C_tc + Σ_p C_cp).

    Args:
        y, target, threshold, weights: as in ``accuracy``.
        average, multilabel: as in ``precision``; "macro" is the mean of the classes' F, not the F of mean precision and
            recall.

    Returns:
        A number from 0 to 1, NaN if no label occurs; for None float64 of shape (classes,), NaN for classes that do
        not occur.

    Raises:
        TypeError, ValueError: as ``precision``.

    Example:
        >>> y, target = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]]), np.array([1, 0, 0])
        >>> f1(y, target, average=None)
        array([0.66666667, 0.66666667])

    Reference:
        van Rijsbergen, Information Retrieval (1979), chapter 7, with equal weight on both; Opitz & Burst, Macro F1
        and Macro F1 (2019), on the two ways to average.
    """
    found = _counts("f1", y, target, average, threshold, weights, multilabel)
    return _averaged(2 * found.hits, found.true + found.predicted, found, average)


@explained
def matthews_correlation(
    y: Array, target: Array, *, threshold: float | None = None, weights: Array | None = None
) -> float:
    """The correlation of predicted and true classes: cov(t, p) / sqrt(cov(t, t) cov(p, p)) over their one-hot rows.

    Args:
        y, target, threshold, weights: as in ``accuracy``.

    Returns:
        A number from -1 to 1: 1 if all are right, 0 for random guessing, and 0 if all true or all predicted classes are
        the same.

    Raises:
        TypeError, ValueError: as ``accuracy``.

    Example:
        >>> matthews_correlation(np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]]), np.array([1, 0, 0]))
        0.5

    Reference:
        Gorodkin, Comparing two K-category assignments by a K-category correlation coefficient (2004), equation 8.
    """
    hits, true, predicted = _counts_of_classes("matthews_correlation", y, target, threshold, weights)
    # Each product uses the sum of its own counts: if only one class occurs, the difference is exactly 0.
    spread = np.sqrt((true @ (true.sum() - true)) * (predicted @ (predicted.sum() - predicted)))
    return float(np.clip((hits.sum() * true.sum() - true @ predicted) / spread, -1, 1)) if spread else 0.0


def _matrix_and_exponent(
    kind: str, y: Array, target: Array, threshold: float | None, weights: Array | None, classes: int | None = None
) -> tuple[Array, int]:
    """The confusion matrix in float64, of weights in units of a power of 2, and the exponent of the unit."""
    scores, true, w, exponent, size = examples(kind, y, target, weights, classes)
    predicted = predicted_classes(kind, scores, threshold)
    return np.bincount(true * size + predicted, w, minlength=size * size).reshape(size, size), exponent


def _matrices_of_labels(
    kind: str, y: Array, target: Array, threshold: float | None, weights: Array | None
) -> tuple[Array, int]:
    """The confusion matrix of each label, (labels, 2, 2), in units of a power of 2, and its exponent."""
    scores, true, w, exponent = labelled_examples(kind, y, target, weights)
    predicted = predicted_labels(kind, scores, threshold)
    cells = [[w @ (t & p) for p in (~predicted, predicted)] for t in (~true, true)]
    return np.moveaxis(np.array(cells), 2, 0), exponent


class Counts(NamedTuple):
    """For each class or label: how many examples are rightly predicted as it, are of it, and are predicted as it."""

    hits: Array
    true: Array
    predicted: Array


def _counts(
    kind: str, y: Array, target: Array, average: Any, threshold: float | None, weights: Array | None, multilabel: bool
) -> Counts:
    """What precision and recall are the quotients of; the average is checked first."""
    check_average(kind, average)
    if checks.flag(kind, "multilabel", multilabel):
        matrices, _ = _matrices_of_labels(kind, y, target, threshold, weights)
        return Counts(matrices[:, 1, 1], matrices[:, 1].sum(axis=1), matrices[:, :, 1].sum(axis=1))
    return _counts_of_classes(kind, y, target, threshold, weights)


def _counts_of_classes(kind: str, y: Array, target: Array, threshold: float | None, weights: Array | None) -> Counts:
    """The same of classes alone, without their matrix, which fills memory where there are thousands of them."""
    scores, true, w, _, size = examples(kind, y, target, weights)
    predicted = predicted_classes(kind, scores, threshold)
    hits = np.bincount(true, w * (predicted == true), minlength=size)
    return Counts(hits, np.bincount(true, w, minlength=size), np.bincount(predicted, w, minlength=size))


def _averaged(hits: Array, out_of: Array, counts: Counts, average: Average | None) -> Any:
    """The quotients hits / out_of of all classes, 0 where both are 0; or their average over the classes that occur."""
    occurs = counts.true + counts.predicted > 0
    if average == "micro":
        hits, out_of, occurs = hits.sum(keepdims=True), out_of.sum(keepdims=True), np.array([occurs.any()])
    quotients = np.divide(hits, out_of, out=np.where(occurs, 0.0, np.nan), where=out_of > 0)
    return average_of(quotients, counts.true, average, occurs)
