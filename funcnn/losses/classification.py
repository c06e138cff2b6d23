"""Losses between predicted and true classes: cross-entropies of probabilities, or of logits.

Prefer the forms for logits, ``softmax_cross_entropy`` and ``sigmoid_cross_entropy``: they contain the activation and
clip nothing. With weights w, the mean of the losses l is Σ w l / Σ w, over the losses with a weight above 0: what
stands beside a weight of 0, a missing target or NaN, counts nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from funcnn.aliases import Array
from funcnn.calls import explained
from funcnn.kernels.selection import times
from funcnn.kernels.softmax import limits, shifted_exponentials, sigmoid
from funcnn.losses.targets import (
    binary_target,
    check_prediction,
    class_target,
    clipped_probabilities,
    mean_and_gradient,
    normalized_weights,
    one_hot_rows,
)

__all__ = ["binary_cross_entropy", "categorical_cross_entropy", "sigmoid_cross_entropy", "softmax_cross_entropy"]


@explained
def binary_cross_entropy(y: Array, target: ArrayLike, *, weights: ArrayLike | None = None) -> tuple[float, Array]:
    """value = mean(-t log p - (1 - t) log(1 - p));  dy = (p - t) / (p (1 - p)) / n, with p = clip(y, eps, 1 - eps).

    The gradient is taken at the clipped probability, so that an output stuck at exactly 0 or 1 still learns. If the
    last layer is a sigmoid, remove it and use ``sigmoid_cross_entropy``, which clips nothing.

    Args:
        y: probabilities in [0, 1], floats of shape (batch, ...); eps is that of their dtype.
        target: numbers in [0, 1] of the shape of ``y``.
        weights: how much each example counts, of shape (batch,), or of the shape of more leading axes of ``y``; by
            default all count the same.

    Returns:
        ``(value, dy)``: a Python float, the mean over all n elements, and an array like ``y``.

    Raises:
        TypeError: ``y`` is not an array of floats, or the target or the weights are not numbers.
        ValueError: the shapes differ, the batch is empty, a number is outside [0, 1], or weights are negative, not
            finite or all zero.

    Example:
        >>> value, dy = binary_cross_entropy(np.array([[0.5], [0.8]]), [[0], [1]])
        >>> round(value, 4), dy
        (0.4581, array([[ 1.   ],
               [-0.625]]))

    Reference:
        Bishop (2006), Pattern Recognition and Machine Learning, eq. 4.90.
    """
    check_prediction("binary_cross_entropy", y)
    w = normalized_weights("binary_cross_entropy", weights, y.shape, y.dtype)
    p = clipped_probabilities("binary_cross_entropy", "sigmoid_cross_entropy", y, w)
    return mean_and_gradient(_binary, p, binary_target("binary_cross_entropy", y, target, w), w)


def _binary(p: Array, t: Array, careful: bool) -> tuple[Array, Array]:
    return -t * np.log(p) - (1 - t) * np.log(1 - p), (p - t) / (p * (1 - p))


@explained
def sigmoid_cross_entropy(y: Array, target: ArrayLike, *, weights: ArrayLike | None = None) -> tuple[float, Array]:
    """value = mean(|y| |t - [y >= 0]| + log(1 + exp(-|y|)));  dy = (sigmoid(y) - t) / n.

    It equals ``binary_cross_entropy`` of ``sigmoid(y)``, and does not overflow: no exponent is positive.

    Args:
        y: logits, floats of shape (batch, ...).
        target: numbers in [0, 1] of the shape of ``y``.
        weights: how much each example counts, of shape (batch,), or of the shape of more leading axes of ``y``; by
            default all count the same.

    Returns:
        ``(value, dy)``: a Python float, the mean over all n elements, and an array like ``y``.

    Raises:
        TypeError: ``y`` is not an array of floats, or the target or the weights are not numbers.
        ValueError: the shapes differ, the batch is empty, a target is outside [0, 1], or weights are negative, not
            finite or all zero.

    Example:
        >>> value, dy = sigmoid_cross_entropy(np.array([[0.0], [1e4]]), [[0], [0]])
        >>> round(value, 4), dy
        (5000.3466, array([[0.25],
               [0.5 ]]))

    Reference:
        Bishop (2006), Pattern Recognition and Machine Learning, eq. 4.90 and 4.91.
    """
    check_prediction("sigmoid_cross_entropy", y)
    w = normalized_weights("sigmoid_cross_entropy", weights, y.shape, y.dtype)
    return mean_and_gradient(_sigmoid, y, binary_target("sigmoid_cross_entropy", y, target, w), w)


def _sigmoid(y: Array, t: Array, careful: bool) -> tuple[Array, Array]:
    size, wrong = np.abs(y), np.abs(t - (y >= 0))
    return (times(wrong, size) if careful else wrong * size) + np.log1p(np.exp(-size)), sigmoid(y) - t


@explained
def softmax_cross_entropy(y: Array, target: ArrayLike, *, weights: ArrayLike | None = None) -> tuple[float, Array]:
    """value = mean(log Σ exp(y) - Σ t y);  dy = (softmax(y) - t) / n, with sums over the classes and n rows.

    It equals ``categorical_cross_entropy`` of ``softmax(y)``, and does not overflow: no exponent is positive.

    Args:
        y: logits, floats of shape (batch, ..., classes).
        target: integer labels of shape (batch, ...), from 0 to classes - 1; or probabilities of the shape of ``y``
            whose rows sum to one, for example one-hot rows.
        weights: how much each example counts, of shape (batch,), or each row, of the shape of more of the axes (batch,
            ...); by default all count the same. ``class_weights(labels, classes)[labels]`` makes every class count the
            same.

    Returns:
        ``(value, dy)``: a Python float, the mean over all n rows, and an array like ``y``.

    Raises:
        TypeError: ``y`` is not an array of floats, labels are not integers, or weights are not numbers.
        ValueError: the shapes do not fit, the batch is empty, a label is out of range, a row of probabilities is
            not a distribution, or weights are negative, not finite or all zero.

    Example:
        >>> value, dy = softmax_cross_entropy(np.zeros((2, 2)), np.array([0, 1]))
        >>> round(value, 4), dy
        (0.6931, array([[-0.25,  0.25],
               [ 0.25, -0.25]]))

    Reference:
        Bishop (2006), Pattern Recognition and Machine Learning, eq. 4.108 and 4.109.
    """
    check_prediction("softmax_cross_entropy", y)
    w = normalized_weights("softmax_cross_entropy", weights, y.shape[:-1], y.dtype)
    return mean_and_gradient(_softmax, y, class_target("softmax_cross_entropy", y, target, w), w)


def _softmax(y: Array, t: Array, careful: bool) -> tuple[Array, Array]:
    shifted, dy, total = shifted_exponentials(np.ascontiguousarray(limits(y) if careful else y))
    dy /= total  # now it is softmax(y)
    if t.ndim == y.ndim:
        true = (times(t, shifted) if careful else t * shifted).sum(-1)
        dy -= t
    else:
        at_label = t.reshape(-1) + np.arange(0, y.size, y.shape[-1])
        true = shifted.reshape(-1)[at_label].reshape(t.shape)
        dy.reshape(-1)[at_label] -= 1
    return np.log(total[..., 0]) - true, dy


@explained
def categorical_cross_entropy(y: Array, target: ArrayLike, *, weights: ArrayLike | None = None) -> tuple[float, Array]:
    """value = mean(-Σ t log p);  dy = -t / p / n, with p = clip(y, eps, 1 - eps), sums over the classes and n rows.

    The gradient is taken at the clipped probability, as in ``binary_cross_entropy``. If the last layer is a softmax,
    remove it and use ``softmax_cross_entropy``, which clips nothing.

    Args:
        y: probabilities in [0, 1], floats of shape (batch, ..., classes); eps is that of their dtype.
        target: integer labels of shape (batch, ...), from 0 to classes - 1; or probabilities of the shape of ``y``
            whose rows sum to one, for example one-hot rows.
        weights: how much each example counts, of shape (batch,), or each row, of the shape of more of the axes (batch,
            ...); by default all count the same. ``class_weights(labels, classes)[labels]`` makes every class count the
            same.

    Returns:
        ``(value, dy)``: a Python float, the mean over all n rows, and an array like ``y``.

    Raises:
        TypeError: ``y`` is not an array of floats, labels are not integers, or weights are not numbers.
        ValueError: the shapes do not fit, the batch is empty, a label or a probability is out of range, a row of the
            target is not a distribution, or weights are negative, not finite or all zero.

    Example:
        >>> value, dy = categorical_cross_entropy(np.array([[0.5, 0.5], [0.2, 0.8]]), np.array([0, 1]))
        >>> round(value, 4), dy
        (0.4581, array([[-1.   , -0.   ],
               [-0.   , -0.625]]))

    Reference:
        Bishop (2006), Pattern Recognition and Machine Learning, eq. 4.108.
    """
    check_prediction("categorical_cross_entropy", y)
    w = normalized_weights("categorical_cross_entropy", weights, y.shape[:-1], y.dtype)
    t = class_target("categorical_cross_entropy", y, target, w)
    p = clipped_probabilities("categorical_cross_entropy", "softmax_cross_entropy", y, w)
    return mean_and_gradient(_categorical, p, t, w)


def _categorical(p: Array, t: Array, careful: bool) -> tuple[Array, Array]:
    if t.ndim < p.ndim:
        # The zeros stay in the sum: a NaN of another class must not be hidden.
        t = one_hot_rows(t, p.shape[-1]).astype(p.dtype)
    return -(t * np.log(p)).sum(-1), -t / p
