"""A loss is one number that says how wrong a batch of predictions is, together with the direction that makes it worse.

``loss(y, target) -> (value, dy)``: ``value`` is a mean over the batch and ``dy`` its gradient, where backpropagation
starts; minus ``dy`` is the way to better predictions. Weights w make the mean of losses l one of Σ w l / Σ w.
"""

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from funcnn.aliases import Array, Shape
from funcnn.targets import check_weights

__all__ = [
    "Loss",
    "binary_cross_entropy",
    "categorical_cross_entropy",
    "mean_squared_error",
    "sigmoid_cross_entropy",
    "softmax_cross_entropy",
]

Loss: TypeAlias = Callable[[Array, Any], tuple[float, Array]]


def mean_squared_error(y: Array, target: Any, *, weights: Any = None) -> tuple[float, Array]:
    """value = mean((y - t)²);  dy = 2 (y - t) / n, with n the number of elements.

    Args:
        y: predictions, floats of shape (batch, ...).
        target: numbers of exactly that shape.
        weights: how much each example counts, of shape (batch,), or of more of the first axes of ``y``; all the same
            by default.

    Returns:
        ``(value, dy)``: a Python float, the mean over all elements, and an array like ``y``.

    Raises:
        TypeError: ``y`` is no array of floats, or the target or the weights are no numbers.
        ValueError: the shapes differ, the batch is empty, or weights are negative, not finite or all zero.

    Example:
        >>> mean_squared_error(np.array([[1.0], [3.0]]), [[0.0], [1.0]])
        (2.5, array([[1.],
               [2.]]))

    Reference:
        Bishop (2006), Pattern Recognition and Machine Learning, eq. 1.2, there as half of a sum.
    """
    t = _target_like("mean_squared_error", y, target)
    shares = _shares(weights, y.shape, y.dtype)
    error = y - t
    return _mean(error * error, 2 * error, shares)


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


def _shares(weights: Any, shape: Shape, dtype: np.dtype[Any]) -> Array | None:
    """Which share of the mean each loss has, in an array that broadcasts to their shape; None if all are equal."""
    if weights is None:
        return None
    w = check_weights(weights, shape)
    w = w / w.max()  # so that no sum overflows
    shares: Array = w / (w.sum() * math.prod(shape[w.ndim :]))
    return shares.astype(dtype).reshape(w.shape + (1,) * (len(shape) - w.ndim))


def _mean(losses: Array, gradients: Array, shares: Array | None) -> tuple[float, Array]:
    """The mean of the losses of all elements, or of all rows, and its gradient: the one place that divides by n."""
    if shares is None:
        return float(losses.mean()), gradients / losses.size
    per_gradient = shares.reshape(shares.shape + (1,) * (gradients.ndim - losses.ndim))
    return float((shares * losses).sum()), per_gradient * gradients


def _check_prediction(kind: str, y: Array) -> None:
    """Refuse what is not a batch of floats."""
    if not isinstance(y, np.ndarray) or y.dtype.kind != "f":
        got = y.dtype if isinstance(y, np.ndarray) else type(y).__name__
        raise TypeError(f"{kind}: expected y, the model's output, as an array of floats, got {got}")
    if y.ndim == 0 or y.size == 0:
        raise ValueError(
            f"{kind}: expected at least one example, got y of shape {y.shape}; a mean needs something to average"
        )


def _clipped(kind: str, logits_form: str, y: Array) -> Array:
    """Probabilities kept as far from 0 and 1 as their dtype can tell, so that log and division stay finite."""
    _check_prediction(kind, y)
    if (y < 0).any() or (y > 1).any():
        raise ValueError(
            f"{kind}: expected probabilities in [0, 1], got values from {y.min()} to {y.max()}; "
            f"for logits use {logits_form}"
        )
    eps = float(np.finfo(y.dtype).eps)
    return np.clip(y, eps, 1 - eps)


def _target_like(kind: str, y: Array, target: Any) -> Array:
    """The target in the dtype of ``y``, whose shape it must have: broadcasting would compare all with all."""
    _check_prediction(kind, y)
    t = _numbers(kind, target)
    if t.shape != y.shape:
        raise ValueError(
            f"{kind}: expected a target of the shape of y, {y.shape}, got {t.shape}; "
            + (f"use target.reshape{y.shape}" if t.size == y.size else "encode labels as one-hot rows")
        )
    return t.astype(y.dtype, copy=False)


def _binary_target(kind: str, y: Array, target: Any) -> Array:
    """The target of a yes-or-no question: a probability for each element."""
    t = _target_like(kind, y, target)
    if not ((t >= 0) & (t <= 1)).all():
        raise ValueError(
            f"{kind}: expected targets in [0, 1], got values from {t.min()} to {t.max()}; use 0 for no and 1 for yes"
        )
    return t


def _distribution(kind: str, y: Array, target: Any) -> Array:
    """The target of a choice among classes, labels or rows, as rows of probabilities."""
    _check_prediction(kind, y)
    t = _numbers(kind, target)
    if y.ndim < 2:
        raise ValueError(f"{kind}: expected y of axes (batch, ..., classes), got shape {y.shape}")
    if t.shape == y.shape:
        return _check_rows(kind, t.astype(y.dtype, copy=False))
    if t.shape != y.shape[:-1]:
        raise ValueError(
            f"{kind}: for y of shape {y.shape} expected labels of shape {y.shape[:-1]} or rows of shape {y.shape}, "
            f"got {t.shape}" + (f"; use target.reshape{y.shape[:-1]}" if t.size == y.size // y.shape[-1] else "")
        )
    if t.dtype.kind not in "iu":
        raise TypeError(f"{kind}: expected integer labels, got {t.dtype}; use labels.astype(int)")
    classes = y.shape[-1]
    if t.min() < 0 or t.max() >= classes:
        raise ValueError(
            f"{kind}: expected labels from 0 to {classes - 1}, got {t.min()} to {t.max()}; "
            f"number the classes from 0, and let the model have as many outputs as there are classes"
        )
    rows = np.zeros(y.shape, y.dtype)
    np.put_along_axis(rows, t[..., None].astype(np.intp), 1, -1)
    return rows


def _check_rows(kind: str, t: Array) -> Array:
    """Refuse rows that are no distribution: softmax(y) - t would not be the gradient."""
    sums = t.sum(-1)
    # A thousandth lets rows pass that were rounded in half precision, and catches every real mistake.
    if (t < 0).any() or not (np.abs(sums - 1) < 1e-3).all():
        raise ValueError(
            f"{kind}: expected rows of probabilities that sum to 1, got a least value of {t.min()} "
            f"and sums from {sums.min()} to {sums.max()}; divide each row by its sum, or give integer labels"
        )
    return t


def _numbers(kind: str, target: Any) -> Array:
    """The target as an array, if it is one of numbers or truth values."""
    t = np.asarray(target)
    if t.dtype.kind not in "fiub":
        raise TypeError(f"{kind}: expected a target of numbers, got an array of {t.dtype}; number the classes from 0")
    return t
