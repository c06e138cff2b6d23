"""A loss is one number that says how wrong a batch of predictions is, together with the direction that makes it worse.

``loss(y, target) -> (value, dy)``: ``value`` is a mean over the batch and ``dy`` its gradient, where backpropagation
starts; minus ``dy`` is the way to better predictions. Weights w make the mean of losses l one of Σ w l / Σ w.
"""

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from funcnn.aliases import Array, Shape
from funcnn.losses.targets import check_weights

__all__ = [
    "Loss",
    "binary_cross_entropy",
    "categorical_cross_entropy",
    "mean_squared_error",
    "sigmoid_cross_entropy",
    "softmax_cross_entropy",
]

Loss: TypeAlias = Callable[[Array, Any], tuple[float, Array]]


def binary_cross_entropy(y: Array, target: Any, *, weights: Any = None) -> tuple[float, Array]:
    """value = mean(-t log p - (1 - t) log(1 - p));  dy = (p - t) / (p (1 - p)) / n, with p = clip(y, eps, 1 - eps).

    The gradient is taken at the clipped probability, so that an output stuck at exactly 0 or 1 still learns. Where
    the outputs come from a sigmoid, leave that out and use ``sigmoid_cross_entropy``: it clips nothing.

    Args:
        y: probabilities in [0, 1], floats of shape (batch, ...); eps is that of their dtype.
        target: numbers in [0, 1] of exactly that shape.
        weights: how much each example counts, of shape (batch,), or of more of the first axes of ``y``; all the same
            by default.

    Returns:
        ``(value, dy)``: a Python float, the mean over all n elements, and an array like ``y``.

    Raises:
        TypeError: ``y`` is no array of floats, or the target or the weights are no numbers.
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
    p = _clipped("binary_cross_entropy", "sigmoid_cross_entropy", y)
    t = _binary_target("binary_cross_entropy", y, target)
    shares = _shares(weights, y.shape, y.dtype)
    return _mean(-t * np.log(p) - (1 - t) * np.log(1 - p), (p - t) / (p * (1 - p)), shares)


def sigmoid_cross_entropy(y: Array, target: Any, *, weights: Any = None) -> tuple[float, Array]:
    """value = mean(max(y, 0) - y t + log(1 + exp(-|y|)));  dy = (sigmoid(y) - t) / n.

    It is ``binary_cross_entropy`` of ``sigmoid(y)``, written so that nothing overflows: each exponent is negative.

    Args:
        y: logits, floats of shape (batch, ...).
        target: numbers in [0, 1] of exactly that shape.
        weights: how much each example counts, of shape (batch,), or of more of the first axes of ``y``; all the same
            by default.

    Returns:
        ``(value, dy)``: a Python float, the mean over all n elements, and an array like ``y``.

    Raises:
        TypeError: ``y`` is no array of floats, or the target or the weights are no numbers.
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
    t = _binary_target("sigmoid_cross_entropy", y, target)
    shares = _shares(weights, y.shape, y.dtype)
    small = np.exp(-np.abs(y))
    sigmoid = np.where(y >= 0, 1, small) / (1 + small)
    return _mean(np.maximum(y, 0) - y * t + np.log1p(small), sigmoid - t, shares)


def softmax_cross_entropy(y: Array, target: Any, *, weights: Any = None) -> tuple[float, Array]:
    """value = mean(log Σ exp(y) - Σ t y);  dy = (softmax(y) - t) / n, with sums over the classes and n rows.

    It is ``categorical_cross_entropy`` of ``softmax(y)``, written so that nothing overflows.

    Args:
        y: logits, floats of shape (batch, ..., classes).
        target: integer labels of shape (batch, ...), from 0 to classes - 1; or probabilities of the shape of ``y``
            whose rows sum to one, one-hot rows for instance.
        weights: how much each example counts, of shape (batch,), or each row, of more of the axes (batch, ...); all
            the same by default. ``class_weights(labels, classes)[labels]`` makes every class count the same.

    Returns:
        ``(value, dy)``: a Python float, the mean over all n rows, and an array like ``y``.

    Raises:
        TypeError: ``y`` is no array of floats, labels are no integers, or weights no numbers.
        ValueError: the shapes do not fit, the batch is empty, a label is out of range, a row of probabilities is no
            distribution, or weights are negative, not finite or all zero.

    Example:
        >>> value, dy = softmax_cross_entropy(np.zeros((2, 2)), np.array([0, 1]))
        >>> round(value, 4), dy
        (0.6931, array([[-0.25,  0.25],
               [ 0.25, -0.25]]))

    Reference:
        Bishop (2006), Pattern Recognition and Machine Learning, eq. 4.108 and 4.109.
    """
    t = _distribution("softmax_cross_entropy", y, target)
    shares = _shares(weights, y.shape[:-1], y.dtype)
    shifted = y - y.max(-1, keepdims=True)
    exponential = np.exp(shifted)
    total = exponential.sum(-1, keepdims=True)
    return _mean(np.log(total[..., 0]) - (t * shifted).sum(-1), exponential / total - t, shares)


def categorical_cross_entropy(y: Array, target: Any, *, weights: Any = None) -> tuple[float, Array]:
    """value = mean(-Σ t log p);  dy = -t / p / n, with p = clip(y, eps, 1 - eps), sums over the classes and n rows.

    The gradient is taken at the clipped probability, as in ``binary_cross_entropy``. Where the outputs come from a
    softmax, leave that out and use ``softmax_cross_entropy``: it clips nothing.

    Args:
        y: probabilities in [0, 1], floats of shape (batch, ..., classes); eps is that of their dtype.
        target: integer labels of shape (batch, ...), from 0 to classes - 1; or probabilities of the shape of ``y``
            whose rows sum to one, one-hot rows for instance.
        weights: how much each example counts, of shape (batch,), or each row, of more of the axes (batch, ...); all
            the same by default. ``class_weights(labels, classes)[labels]`` makes every class count the same.

    Returns:
        ``(value, dy)``: a Python float, the mean over all n rows, and an array like ``y``.

    Raises:
        TypeError: ``y`` is no array of floats, labels are no integers, or weights no numbers.
        ValueError: the shapes do not fit, the batch is empty, a label or a probability is out of range, a row of the
            target is no distribution, or weights are negative, not finite or all zero.

    Example:
        >>> value, dy = categorical_cross_entropy(np.array([[0.5, 0.5], [0.2, 0.8]]), np.array([0, 1]))
        >>> round(value, 4), dy
        (0.4581, array([[-1.   , -0.   ],
               [-0.   , -0.625]]))

    Reference:
        Bishop (2006), Pattern Recognition and Machine Learning, eq. 4.108.
    """
    p = _clipped("categorical_cross_entropy", "softmax_cross_entropy", y)
    t = _distribution("categorical_cross_entropy", y, target)
    shares = _shares(weights, y.shape[:-1], y.dtype)
    return _mean(-(t * np.log(p)).sum(-1), -t / p, shares)


