"""Losses between predicted and true classes: cross-entropies of logits, of their logarithms, or of probabilities.

Prefer the forms for logits, ``softmax_cross_entropy`` and ``sigmoid_cross_entropy``: they contain the activation and
clip nothing. A focal loss is a cross-entropy in which examples that are predicted well count less.
"""

from __future__ import annotations

import numpy as np

from funcnn import checks
from funcnn.aliases import Array
from funcnn.kernels.selection import times
from funcnn.kernels.softmax import limits, log1p, shifted_exponentials, sigmoid_of
from funcnn.losses.core import ClassLoss, documented
from funcnn.losses.kinds import BINARY, CLASSES, binary_loss, class_loss
from funcnn.losses.targets import one_hot_rows
from funcnn.recorded import recorded

__all__ = [
    "binary_cross_entropy", "categorical_cross_entropy", "focal", "negative_log_likelihood", "sigmoid_cross_entropy",
    "softmax_cross_entropy", "softmax_focal",
]  # fmt: skip


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
    return logistic(y, yes, no, careful)


def logistic(y: Array, yes: Array, no: Array, careful: bool) -> tuple[Array, Array]:
    """yes log(1 + e^-y) + no log(1 + e^y), and its derivative (yes + no) sigmoid(y) - yes."""
    product = times if careful else np.multiply
    e, both = np.exp(-np.abs(y)), yes + no
    losses = product(no, y.clip(0, np.inf)) + product(yes, np.negative(y).clip(0, np.inf))
    losses += both * log1p(e)
    both *= sigmoid_of(y >= 0, e)
    return losses, np.subtract(both, yes, out=both)


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
    # In whatever order y lies in memory: that of images has long runs, which short rows of classes have not.
    shifted, dy, total = shifted_exponentials(limits(y) if careful else y)
    dy /= total  # now it is softmax(y)
    if t.ndim < y.ndim:
        places = [np.arange(n).reshape(-1, *[1] * (t.ndim - 1 - axis)) for axis, n in enumerate(t.shape)]
        at_label = (*places, t)
        true = shifted[at_label]
        dy[at_label] -= 1
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


@class_loss
def negative_log_likelihood(y: Array, t: Array, careful: bool) -> tuple[Array, Array]:
    """value = mean(-Σ t y);  dy = -t / n, with y the logarithms of probabilities, sums over the classes and n rows.

    It equals ``softmax_cross_entropy`` of z for ``y = log_softmax(z)``.

    Args:
        y: logarithms of probabilities, floats of shape (batch, ..., classes).
        target: integer labels of shape (batch, ...), from 0 to classes - 1; or probabilities of the shape of ``y``
            whose rows sum to one, for example one-hot rows.
        {options}

    {returns}

    Example:
        >>> value, dy = negative_log_likelihood(np.log([[0.5, 0.5], [0.2, 0.8]]), np.array([0, 1]))
        >>> round(value, 4), dy
        (0.4581, array([[-0.5,  0. ],
               [ 0. , -0.5]]))

    Reference:
        Bishop (2006), Pattern Recognition and Machine Learning, eq. 4.108.
    """
    if t.ndim == y.ndim:
        # 0 log 0 is 0, but NaN must not be hidden.
        each = np.where(np.isnan(y), y, times(t, y)) if careful else t * y
        return -np.add.reduce(each, axis=-1), -t
    at_label = t.reshape(-1) + np.arange(0, y.size, y.shape[-1])
    dy = np.zeros(y.shape, y.dtype)
    dy.reshape(-1)[at_label] = -1
    return -y.reshape(-1)[at_label].reshape(t.shape), dy


@recorded
@documented(BINARY)
def focal(gamma: float = 2.0, alpha: float | None = 0.25) -> ClassLoss:
    """value = mean(-t alpha (1 - p)^gamma log p - (1 - t) (1 - alpha) p^gamma log(1 - p)), with p = sigmoid(y).

    dy = (t alpha q^gamma (gamma p log p - q) - (1 - t) (1 - alpha) p^gamma (gamma q log q - p)) / n, with q = 1 - p

    ``sigmoid_cross_entropy`` in which the many elements that are predicted well, such as the background of an image,
    count less. This is the binary form; ``softmax_focal`` is that of several classes.

    Args:
        gamma: how much less they count, ``>= 0``; with 0 all count the same.
        alpha: how much yes counts, and no by 1 - alpha, in [0, 1]; with None both count 1.

    Returns:
        ``loss(y, target, *, {signature}`` with

        y: logits, floats of shape (batch, ...).
        target: numbers in [0, 1] of the shape of ``y``.
        {options}

    Raises:
        {raises}

    Example:
        >>> value, dy = focal(gamma=2.0)(np.array([[0.0], [4.0]]), [[1], [1]])
        >>> round(value, 4), dy.round(4)
        (0.0217, array([[-0.0373],
               [-0.    ]]))

    Reference:
        Lin, Goyal, Girshick, He & Dollár (2017), Focal loss for dense object detection, equation 5.
    """
    gamma = checks.nonnegative("focal", "gamma", gamma)
    for_yes = for_no = 1.0
    if alpha is not None:
        for_yes = checks.probability("focal", "alpha", alpha, "; None weighs yes and no alike")
        for_no = 1 - for_yes

    def formula(y: Array, yes: Array, no: Array, careful: bool) -> tuple[Array, Array]:
        product = times if careful else np.multiply
        size, positive = np.abs(y), y >= 0
        e = np.exp(-size)
        p, q = sigmoid_of(positive, e), sigmoid_of(~positive, e)
        less = np.log1p(e)
        more = less + size
        log_p, log_q = -np.where(positive, less, more), -np.where(positive, more, less)
        yes, no = for_yes * yes * q**gamma, for_no * no * p**gamma
        losses = -product(yes, log_p) - product(no, log_q)
        return losses, product(yes, gamma * product(p, log_p) - q) - product(no, gamma * product(q, log_q) - p)

    return binary_loss(formula, "focal")


@recorded
@documented(CLASSES)
def softmax_focal(gamma: float = 2.0) -> ClassLoss:
    """value = mean(-Σ t (1 - p)^gamma log p), with p = softmax(y), sums over the classes and n rows.

    dy = (t u - p Σ t u) / n, with u = (1 - p)^gamma (gamma p log p / (1 - p) - 1)

    ``softmax_cross_entropy`` in which rows that are predicted well count less. The alpha of each class is given as
    ``class_weights``.

    Args:
        gamma: how much less they count, ``>= 0``; with 0 all count the same.

    Returns:
        ``loss(y, target, *, {signature}`` with

        y: logits, floats of shape (batch, ..., classes).
        target: integer labels of shape (batch, ...), from 0 to classes - 1; or probabilities of the shape of ``y``
            whose rows sum to one, for example one-hot rows.
        {options}

    Raises:
        {raises}

    Example:
        >>> value, dy = softmax_focal(gamma=2.0)(np.zeros((1, 2)), np.array([0]))
        >>> round(value, 4), dy.round(4)
        (0.1733, array([[-0.2983,  0.2983]]))

    Reference:
        Lin, Goyal, Girshick, He & Dollár (2017), Focal loss for dense object detection, equation 4 and section 3.
    """
    gamma = checks.nonnegative("softmax_focal", "gamma", gamma)

    def formula(y: Array, t: Array, careful: bool) -> tuple[Array, Array]:
        if t.ndim < y.ndim:
            t = one_hot_rows(t, y.shape[-1]).astype(y.dtype)
        product = times if careful else np.multiply
        log_p, p, total = shifted_exponentials(limits(y) if careful else y)
        p /= total
        log_p -= np.log(total)
        rest = np.abs(np.expm1(log_p))  # 1 - p, which is exact for p near 1
        ratio = log_p / np.where(rest > 0, rest, 1)  # times rest^gamma it vanishes at p = 1
        factor = rest**gamma
        tu = product(t, factor * (gamma * product(p, ratio) - 1))
        losses = -np.add.reduce(product(t, factor * log_p), axis=-1)
        return losses, tu - p * np.add.reduce(tu, axis=-1, keepdims=True)

    return class_loss(formula, "softmax_focal")
