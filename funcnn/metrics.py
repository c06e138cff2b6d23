"""Metrics say how good predictions are in numbers that people read; unlike a loss they need no gradient.

Each is a pure function of the model's class scores and the true labels, and answers for the batch it is given.
"""

from typing import Any

import numpy as np

from funcnn.aliases import Array

__all__ = ["accuracy", "confusion_matrix", "error_rate"]


def accuracy(y: Array, labels: Array) -> float:
    """The share of examples whose highest score is that of their class: mean over i of [argmax_c y_ic = label_i].

    Args:
        y: scores, logits or probabilities, of shape (n, classes); of equal scores the first counts.
        labels: integers of shape (n,), or one-hot of shape (n, classes).

    Returns:
        A number from 0 to 1.

    Raises:
        TypeError: labels of shape (n,) are not integers.
        ValueError: the shapes do not fit, the batch is empty, a label is out of range, or a score is NaN.

    Example:
        >>> accuracy(np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]]), np.array([1, 0, 0]))
        0.6666666666666666

    Reference:
        Bishop, Pattern Recognition and Machine Learning (2006), section 1.5.1: minimising the misclassification rate.
    """
    predicted, true = _predicted_and_true(y, labels)
    return float(np.mean(predicted == true))


def error_rate(y: Array, labels: Array) -> float:
    """The share of examples whose highest score is not that of their class: 1 - accuracy.

    Args:
        y: scores, of shape (n, classes).
        labels: integers of shape (n,), or one-hot of shape (n, classes).

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
    predicted, true = _predicted_and_true(y, labels)
    return float(np.mean(predicted != true))


def confusion_matrix(y: Array, labels: Array, classes: int | None = None) -> Array:
    """C_tp = how many examples of class t were taken for class p.

    Args:
        y: scores, of shape (n, scored classes).
        labels: integers of shape (n,), or one-hot of shape (n, classes).
        classes: the size of the matrix; by default the number of scores. More are needed if the data have classes
            for which the model has no score.

    Returns:
        int64 counts of shape (classes, classes): a row for each true class, a column for each predicted one.

    Raises:
        TypeError, ValueError: as ``accuracy``; or ``classes`` is smaller than the number of scores.

    Example:
        >>> confusion_matrix(np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]]), np.array([1, 0, 0]))
        array([[1, 1],
               [0, 1]])

    Reference:
        Stehman, Selecting and interpreting measures of thematic classification accuracy (1997), table 1.
    """
    predicted, true = _predicted_and_true(y, labels, classes)
    size = np.shape(y)[1] if classes is None else classes
    counts = np.bincount(true * size + predicted, minlength=size * size)
    return counts.reshape(size, size).astype(np.int64, copy=False)


def check_labels(labels: Any, classes: int) -> Array:
    """Class labels as int64, or an error if they are not integers in [0, classes)."""
    array: Array = np.asarray(labels)
    if array.dtype.kind not in "iu":
        raise TypeError(f"expected integer labels, got {array.dtype}; use labels.astype(np.int64)")
    outside = array[(array < 0) | (array >= classes)]
    if outside.size:
        raise ValueError(f"expected labels from 0 to {classes - 1}, got {outside.flat[0]}")
    return array.astype(np.int64)


def _predicted_and_true(y: Array, labels: Array, classes: int | None = None) -> tuple[Array, Array]:
    """The predicted and the true class of each example, both int64 of shape (n,)."""
    y, labels = np.asarray(y), np.asarray(labels)
    if y.ndim != 2 or 0 in y.shape:
        raise ValueError(f"expected scores of shape (n, classes), at least one of each, got shape {y.shape}")
    if np.isnan(y).any():
        raise ValueError("the scores contain NaN: they predict no class; has training diverged?")
    size = y.shape[1] if classes is None else classes
    if size < y.shape[1]:
        raise ValueError(f"classes={classes} is less than the {y.shape[1]} scores of each example")
    if labels.shape == (len(y), size):
        labels = _from_one_hot(labels)
    if labels.shape != (len(y),):
        raise ValueError(
            f"expected labels of shape ({len(y)},), or one-hot of shape ({len(y)}, {size}), "
            f"for scores of shape {y.shape}; got shape {labels.shape}"
        )
    return y.argmax(axis=1), check_labels(labels, size)


def _from_one_hot(rows: Array) -> Array:
    """The position of the one in each row; mixtures of classes have no single true class."""
    if not (np.isin(rows, (0, 1)).all() and (np.count_nonzero(rows, axis=1) == 1).all()):
        raise ValueError("expected one-hot labels: a single 1 in each row and 0 elsewhere")
    return np.nonzero(rows)[1]
