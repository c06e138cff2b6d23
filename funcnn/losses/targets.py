"""What all losses share: how a target and weights are read, the mean over the batch, and the weights of rare classes.

A target says what an example should be, and a weight how much that example counts: an example of weight 2 counts as
two, one of weight 0 as none.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import numpy as np

from funcnn import checks
from funcnn.aliases import Array, Number, Shape, Size, Tree
from funcnn.calls import explained
from funcnn.wording import cast

__all__ = [
    "Loss", "binary_target", "check_prediction", "class_target", "class_weights", "clipped_probabilities",
    "from_one_hot", "mean_and_gradient", "normalized_weights", "one_hot_rows", "target_like",
]  # fmt: skip


class Loss(Protocol):
    """The type ``loss(y, target) -> (value, dy)``: a mean over the batch, and its gradient with respect to y."""

    def __call__(self, y: Any, target: Any, /) -> tuple[Number, Tree]:
        """The loss and its gradient."""


Formula: TypeAlias = Callable[[Array, Array, bool], tuple[Array, Array]]

WIDER = {"f": np.float64, "d": np.longdouble}
"""The floats with a larger range; not every machine has such a longdouble."""


@explained
def class_weights(labels: Array, classes: Size) -> Array:
    """w_c = n / (classes n_c), with n_c of n examples in class c: with these weights, every class counts the same.

    Look up the weight of each example by its label, ``class_weights(labels, classes)[labels]``, and pass that to a
    loss or a metric. In training, compute the weights from the labels of the whole training set and look them up in
    each batch: ``lambda y, labels: softmax_cross_entropy(y, labels, weights=per_class[labels])``.

    Args:
        labels: integers of shape (n,), from 0 to classes - 1.
        classes: the number of classes, ``>= 1``.

    Returns:
        float64 of shape (classes,); over all examples the weights have a mean of 1.

    Raises:
        TypeError: the labels are not integers.
        ValueError: they are not of shape (n,), one is out of range, or a class has no example.

    Example:
        >>> labels = np.array([0, 0, 0, 1])
        >>> class_weights(labels, 2)[labels]
        array([0.66666667, 0.66666667, 0.66666667, 2.        ])

    Reference:
        King & Zeng, Logistic regression in rare events data (2001), section 4.2, with equal fractions of all classes.
    """
    classes = checks.size("class_weights", "classes", classes)
    labels = checks.array("class_weights", labels, "labels")
    if labels.ndim != 1:
        advice = "use labels.ravel(), or labels.argmax(1) for one-hot rows"
        if labels.ndim == 2 and labels.shape[1] > 1 and np.isin(labels, (0, 1)).all() and from_one_hot(labels) is None:
            advice = (
                "these rows are multi-hot, with several classes each or none; let yes and no of each label count the "
                "same: part = labels.mean(0); sigmoid_cross_entropy(y, labels, "
                "weights=np.where(labels, 0.5 / part, 0.5 / (1 - part)))"
            )
        raise ValueError(f"class_weights: expected labels of shape (n,), got {labels.shape}; {advice}")
    counts = np.bincount(checks.labels(labels, classes, "class_weights"), minlength=classes)
    if not counts.all():
        raise ValueError(
            f"class_weights: class {counts.argmin()} of {classes} has no example, so no weight makes it count"
        )
    return len(labels) / (classes * counts)


def one_hot_rows(labels: Array, classes: int) -> Array:
    """A row for each label, with True in the column of its class and False elsewhere."""
    rows: Array = labels[..., None] == np.arange(classes)
    return rows


def from_one_hot(rows: Array) -> Array | None:
    """The class of each one-hot row, integers of shape (n,); None if some row of (n, classes) is not one-hot."""
    classes: Array = rows.argmax(-1)
    return classes if (rows == one_hot_rows(classes, rows.shape[-1])).all() else None


def normalized_weights(kind: str, weights: Any, shape: Shape, dtype: np.dtype[Any]) -> Array | None:
    """The factor of each loss in the weighted mean: weights that sum to 1, broadcastable to ``shape``.

    Args:
        kind: the name of the loss, for messages.
        weights: what the caller passed, or None.
        shape: the shape of the losses that the mean is over.
        dtype: the dtype of the result.

    Returns:
        The factors, or None if all losses count the same.
    """
    if weights is None:
        return None
    w = checks.weights(weights, shape, kind)
    w = w / w.max()  # so that no sum overflows
    factors: Array = w / (w.sum() * math.prod(shape[w.ndim :]))
    return factors.astype(dtype).reshape(w.shape + (1,) * (len(shape) - w.ndim))


def mean_and_gradient(formula: Formula, y: Array, target: Array, weights: Array | None) -> tuple[float, Array]:
    """The mean of the losses, and its gradient: the one place that divides by n.

    NumPy reports where finite numbers overflow and where infinities cancel. Then, and beside NaN, all is computed again
    in wider floats, with limits for infinities, and without the losses of weight 0.

    Args:
        formula: ``formula(y, target, careful) -> (losses, gradients)`` of each element or of each row, new arrays, the
            gradients like y; if ``careful``, 0 times infinity is 0, and infinite logits have their limits.
        y: what ``check_prediction`` has let pass.
        target: labels, or numbers in the dtype of y.
        weights: the result of ``normalized_weights``.

    Returns:
        ``(value, dy)``.
    """
    value = math.nan
    try:
        with np.errstate(over="raise", invalid="raise"):
            value, dy = _weighted_mean(*formula(y, target, False), weights)
    except FloatingPointError:
        pass
    if math.isnan(value):
        wide = WIDER[y.dtype.char]
        with np.errstate(all="ignore"):
            t = target.astype(wide) if target.dtype.kind == "f" else target
            losses, gradients = formula(y.astype(wide), t, True)
            if weights is not None:
                losses = np.where(weights > 0, losses, 0)
                gradients = np.where(_over(gradients, losses, weights) > 0, gradients, 0)
            value, dy = _weighted_mean(losses, gradients, weights)
            dy = dy.astype(y.dtype)
    return value, dy if dy.dtype == y.dtype else dy.astype(y.dtype)


def _weighted_mean(losses: Array, gradients: Array, weights: Array | None) -> tuple[float, Array]:
    """The mean of the losses, and the gradients of that in place of their own."""
    if weights is None:
        gradients /= losses.size
        return float(np.add.reduce(losses, axis=None)) / losses.size, gradients
    gradients *= _over(gradients, losses, weights)
    return float((weights * losses).sum()), gradients


def _over(gradients: Array, losses: Array, weights: Array) -> Array:
    """The weights of losses, broadcastable to their gradients, which may have an axis of classes more."""
    return weights.reshape(weights.shape + (1,) * (gradients.ndim - losses.ndim))


def check_prediction(kind: str, y: Array) -> None:
    """Raise an error if y is not a batch of float32 or float64 numbers with at least one example."""
    if type(y) is np.ndarray and y.dtype.char in "fd" and y.ndim and y.size:
        return
    checks.plain(kind, y, "y, the model's output")
    if not isinstance(y, np.ndarray) or y.dtype.kind != "f":
        got, write = type(y).__name__, f"use {cast(y, 'y')}"
        if isinstance(y, np.ndarray):
            got, write = str(y.dtype), "a loss takes (y, target), the predictions first"
        elif isinstance(y, tuple):
            write = "apply returns a pair: y, vjp_fn = model.apply(params, x)"
        raise TypeError(f"{kind}: expected y, the model's output, as an array of floats, got {got}; {write}")
    if y.ndim == 0 or y.size == 0:
        raise ValueError(
            f"{kind}: expected at least one example, got y of shape {y.shape}; a mean needs something to average"
        )
    checks.float_dtype(kind, y.dtype, "y")


def clipped_probabilities(kind: str, logits_form: str, y: Array, weights: Array | None) -> Array:
    """p = clip(y, eps, 1 - eps) with eps that of the dtype, so that log and division stay finite."""
    if _counted((y < 0) | (y > 1), weights).any():
        raise ValueError(
            f"{kind}: expected probabilities in [0, 1], got values from {y.min()} to {y.max()}; "
            f"for logits use {logits_form}"
        )
    eps = float(np.finfo(y.dtype).eps)
    return np.clip(y, eps, 1 - eps).astype(y.dtype, copy=False)


def target_like(kind: str, y: Array, target: Any) -> Array:
    """The target in the dtype of y, of the same shape: broadcasting would compare every output with every target."""
    t = _numbers(kind, target)
    if t.shape != y.shape:
        raise ValueError(
            f"{kind}: expected a target of the shape of y, {y.shape}, got {t.shape}; "
            + (f"use target.reshape{y.shape}" if t.size == y.size else "encode labels as one-hot rows")
        )
    return t.astype(y.dtype, copy=False)


def binary_target(kind: str, y: Array, target: Any, weights: Array | None) -> Array:
    """The target of a binary classification: a probability for each element; any number where the weight is 0."""
    t = target_like(kind, y, target)
    inside = (t >= 0) & (t <= 1)
    if inside.all():
        return t
    if _counted(~inside, weights).any():
        raise ValueError(
            f"{kind}: expected targets in [0, 1], got values from {t.min()} to {t.max()}; use 0 for no and 1 for yes"
        )
    return np.where(inside, t, t.dtype.type(0))


def class_target(kind: str, y: Array, target: Any, weights: Array | None) -> Array:
    """The target of a classification: integer labels, or rows of probabilities; anything where the weight is 0.

    Args:
        kind: the name of the loss, for messages.
        y: floats of shape (batch, ..., classes).
        target: what the caller passed.
        weights: the result of ``normalized_weights``.

    Returns:
        Labels as intp of the shape of y without its last axis; or rows of the shape and the dtype of y.
    """
    if y.ndim < 2:
        raise ValueError(f"{kind}: expected y of axes (batch, ..., classes), got shape {y.shape}")
    t = _numbers(kind, target)
    if t.shape == y.shape:
        return _checked_rows(kind, t.astype(y.dtype, copy=False), weights)
    if t.shape != y.shape[:-1]:
        raise ValueError(
            f"{kind}: for y of shape {y.shape} expected labels of shape {y.shape[:-1]} or rows of shape {y.shape}, "
            f"got {t.shape}" + (f"; use target.reshape{y.shape[:-1]}" if t.size == y.size // y.shape[-1] else "")
        )
    if t.dtype.kind not in "iu":
        raise TypeError(f"{kind}: expected integer labels, got {t.dtype}; use labels.astype(int)")
    labels: Array = t.astype(np.intp, copy=False)
    # A negative number read as unsigned is larger than any label, so one maximum finds both kinds of mistake.
    if np.maximum.reduce(labels.view(np.uintp), axis=None) < y.shape[-1]:
        return labels
    outside = (labels < 0) | (labels >= y.shape[-1])
    if _counted(outside, weights).any():
        raise ValueError(
            f"{kind}: expected labels from 0 to {y.shape[-1] - 1}, got {t.min()} to {t.max()}; "
            "number the classes from 0, and let the model have as many outputs as there are classes"
        )
    return np.where(outside, 0, labels)


def _checked_rows(kind: str, t: Array, weights: Array | None) -> Array:
    """Rows that are distributions, or an error: softmax(y) - t would not be the gradient."""
    with np.errstate(over="ignore", invalid="ignore"):
        sums = t.sum(-1)
    # A thousandth lets rows pass that were rounded in half precision, and catches every real mistake.
    wrong = ~(np.abs(sums - 1) < 1e-3) | (t < 0).any(-1)
    if not wrong.any():
        return t
    if _counted(wrong, weights).any():
        raise ValueError(
            f"{kind}: expected rows of probabilities that sum to 1, got a minimum of {t.min()} "
            f"and sums from {sums.min()} to {sums.max()}; divide each row by its sum, or give integer labels"
        )
    return np.where(wrong[..., None], t.dtype.type(0), t)


def _counted(wrong: Array, weights: Array | None) -> Array:
    """Of elements that are wrong those with a weight, or those in a row with a weight."""
    if weights is None:
        return wrong
    return wrong & (weights.reshape(weights.shape + (1,) * (wrong.ndim - weights.ndim)) > 0)


def _numbers(kind: str, target: Any) -> Array:
    """The target as an array of numbers or booleans."""
    t = checks.array(kind, target, "target")
    if t.dtype.kind not in "fiub":
        raise TypeError(
            f"{kind}: expected a target of numbers, got an array of {t.dtype}; number the classes from 0: "
            f"{checks.NUMBERED}"
        )
    return t
