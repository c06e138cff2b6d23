"""Losses between predicted and true classes: cross-entropies of probabilities, or of logits.

Prefer the forms for logits, ``softmax_cross_entropy`` and ``sigmoid_cross_entropy``: they contain the activation and
clip nothing.
"""

from __future__ import annotations

import numpy as np

from funcnn.aliases import Array
from funcnn.kernels.selection import times
from funcnn.kernels.softmax import limits, shifted_exponentials, sigmoid_of
from funcnn.losses.kinds import binary_loss, class_loss
from funcnn.losses.targets import one_hot_rows

__all__ = ["binary_cross_entropy", "categorical_cross_entropy", "sigmoid_cross_entropy", "softmax_cross_entropy"]


@binary_loss(logits_form="sigmoid_cross_entropy")
def binary_cross_entropy(p: Array, yes: Array, no: Array, careful: bool) -> tuple[Array, Array]:
    """value = mean(-t log p - (1 - t) log(1 - p));  dy = (p - t) / (p (1 - p)) / n, with p = clip(y, eps, 1 - eps).

    The gradient is taken at the clipped probability, so that an output stuck at exactly 0 or 1 still learns. If the
    last layer is a sigmoid, remove it and use ``sigmoid_cross_entropy``, which clips nothing.

    Args:
        y: probabilities in [0, 1], floats of shape (batch, ...); eps is that of their dtype.
        target: numbers in [0, 1] of the shape of ``y``.
        {options}

    {returns}

    Example:
        >>> value, dy = binary_cross_entropy(np.array([[0.5], [0.8]]), [[0], [1]])
        >>> round(value, 4), dy
        (0.4581, array([[ 1.   ],
               [-0.625]]))

    Reference:
        Bishop (2006), Pattern Recognition and Machine Learning, eq. 4.90.
    """
    q = 1 - p
    return -yes * np.log(p) - no * np.log(q), (no * p - yes * q) / (p * q)


@binary_loss
def sigmoid_cross_entropy(y: Array, yes: Array, no: Array, careful: bool) -> tuple[Array, Array]:
    """value = mean(|y| |t - [y >= 0]| + log(1 + exp(-|y|)));  dy = (sigmoid(y) - t) / n.

    It equals ``binary_cross_entropy`` of ``sigmoid(y)``, and does not overflow: no exponent is positive.

    Args:
        y: logits, floats of shape (batch, ...).
        target: numbers in [0, 1] of the shape of ``y``.
        {options}

    {returns}

    Example:
        >>> value, dy = sigmoid_cross_entropy(np.array([[0.0], [1e4]]), [[0], [0]])
        >>> round(value, 4), dy
        (5000.3466, array([[0.25],
               [0.5 ]]))

    Reference:
        Bishop (2006), Pattern Recognition and Machine Learning, eq. 4.90 and 4.91.
    """
    size, positive, both = np.abs(y), y >= 0, yes + no
    e, wrong = np.exp(-size), np.where(positive, no, yes)
    losses = (times(wrong, size) if careful else wrong * size) + both * np.log1p(e)
    return losses, both * sigmoid_of(positive, e) - yes


@class_loss
def softmax_cross_entropy(y: Array, t: Array, careful: bool) -> tuple[Array, Array]:
    """value = mean(log Σ exp(y) - Σ t y);  dy = (softmax(y) - t) / n, with sums over the classes and n rows.

    It equals ``categorical_cross_entropy`` of ``softmax(y)``, and does not overflow: no exponent is positive.

    Args:
        y: logits, floats of shape (batch, ..., classes).
        target: integer labels of shape (batch, ...), from 0 to classes - 1; or probabilities of the shape of ``y``
            whose rows sum to one, for example one-hot rows.
        {options}

    {returns}

    Example:
        >>> value, dy = softmax_cross_entropy(np.zeros((2, 2)), np.array([0, 1]))
        >>> round(value, 4), dy
        (0.6931, array([[-0.25,  0.25],
               [ 0.25, -0.25]]))

    Reference:
        Bishop (2006), Pattern Recognition and Machine Learning, eq. 4.108 and 4.109.
    """
    shifted, dy, total = shifted_exponentials(np.ascontiguousarray(limits(y) if careful else y))
    dy /= total  # now it is softmax(y)
    if t.ndim < y.ndim:
        at_label = t.reshape(-1) + np.arange(0, y.size, y.shape[-1])
        true = shifted.reshape(-1)[at_label].reshape(t.shape)
        dy.reshape(-1)[at_label] -= 1
        return np.log(total[..., 0]) - true, dy
    mass = np.add.reduce(t, axis=-1, keepdims=True)
    true = np.add.reduce(times(t, shifted) if careful else t * shifted, axis=-1)
    dy *= mass
    dy -= t
    return (mass * np.log(total))[..., 0] - true, dy


@class_loss(logits_form="softmax_cross_entropy")
def categorical_cross_entropy(p: Array, t: Array, careful: bool) -> tuple[Array, Array]:
    """value = mean(-Σ t log p);  dy = -t / p / n, with p = clip(y, eps, 1 - eps), sums over the classes and n rows.

    The gradient is taken at the clipped probability, as in ``binary_cross_entropy``. If the last layer is a softmax,
    remove it and use ``softmax_cross_entropy``, which clips nothing.

    Args:
        y: probabilities in [0, 1], floats of shape (batch, ..., classes); eps is that of their dtype.
        target: integer labels of shape (batch, ...), from 0 to classes - 1; or probabilities of the shape of ``y``
            whose rows sum to one, for example one-hot rows.
        {options}

    {returns}

    Example:
        >>> value, dy = categorical_cross_entropy(np.array([[0.5, 0.5], [0.2, 0.8]]), np.array([0, 1]))
        >>> round(value, 4), dy
        (0.4581, array([[-1.   , -0.   ],
               [-0.   , -0.625]]))

    Reference:
        Bishop (2006), Pattern Recognition and Machine Learning, eq. 4.108.
    """
    if t.ndim < p.ndim:
        # The zeros stay in the sum: a NaN of another class must not be hidden.
        t = one_hot_rows(t, p.shape[-1]).astype(p.dtype)
    return -(t * np.log(p)).sum(-1), -t / p
