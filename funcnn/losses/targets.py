"""How targets are read: numbers, yes and no, or classes; with weights of classes, labels to ignore, smoothed labels.

A target is the label of each example, or a distribution of labels. A classifying loss is linear in it, Σ_c t_c l_c(y),
the mean loss over that distribution; so what class weights and smoothing change is the target alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from funcnn import checks
from funcnn.aliases import Array, Size
from funcnn.calls import explained
from funcnn.losses.core import Reduction, factors, read_weights

__all__ = [
    "between_0_and_1", "binary_terms", "check_probabilities", "class_target", "class_terms", "class_weights",
    "clipped_probabilities", "counted", "from_one_hot", "one_hot_rows", "read_smoothing", "target_like", "with_zeros",
]  # fmt: skip


@explained
def class_weights(labels: Array, classes: Size) -> Array:
    """w_c = n / (classes n_c), with n_c of n examples in class c: with these weights, every class counts the same.

    Compute them from the labels of the whole training set, and pass them to a loss, in training with
    ``functools.partial(softmax_cross_entropy, class_weights=class_weights(labels, classes))``. To a metric, pass the
    weight of each example, ``class_weights(labels, classes)[labels]``.

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


def class_terms(
    kind: str, y: Array, target: Any, weights: Any, class_weights: Any, ignore_index: Any, label_smoothing: Any,
    reduction: Reduction, over_used: bool = True,
) -> tuple[Array, Array | None, Array | None]:  # fmt: skip
    """The target of a loss of classes, and what the loss of each row is multiplied with.

    A mean is divided by the weights of the true classes, where the target is labels; smoothing does not change those.
    For rows of probabilities it is over the number of rows: both as in PyTorch.

    Args:
        kind: the name of the loss, for messages.
        y: floats of shape (batch, ..., classes).
        target: labels or rows.
        weights, class_weights, ignore_index, label_smoothing, reduction: what the caller passed.
        over_used: whether a mean is divided by the weights of the true classes, and not by the number of rows.

    Returns:
        ``(t, factors, weights)``: labels, or rows that sum to the weight of each row; the result of ``factors``; and
        which rows count, those with a weight above 0, or None for all.
    """
    if y.ndim < 2:
        raise ValueError(f"{kind}: expected y of axes (batch, ..., classes), got shape {y.shape}")
    rows, classes = y.shape[:-1], y.shape[-1]
    w = read_weights(kind, weights, rows, reduction)
    if ignore_index is not None:
        w = _without_ignored(kind, y, target, ignore_index, w)
    t = class_target(kind, y, target, w)
    smoothing = read_smoothing(kind, label_smoothing)
    if class_weights is None and not smoothing:
        return t, factors(kind, w, rows, y.dtype, reduction), w
    labels, used = t.ndim < y.ndim, None
    if class_weights is not None:
        class_weights = checks.class_weights(kind, class_weights, classes, y.dtype)
        if labels:
            used = class_weights[t]
            if not smoothing:  # the weight of the class is one more weight of the row
                if over_used or reduction != "mean":
                    return t, factors(kind, used if w is None else w * used, rows, y.dtype, reduction), w
                each = factors(kind, np.ones((1,) * len(rows)) if w is None else w, rows, y.dtype, reduction)
                return t, (each * used).astype(y.dtype), w
    if labels:
        t = one_hot_rows(t, classes).astype(y.dtype)
    t = (1 - smoothing) * t + smoothing / classes
    if class_weights is not None:
        t *= class_weights.astype(y.dtype)
    return t, factors(kind, w, rows, y.dtype, reduction, used if over_used else None), w


def _without_ignored(kind: str, y: Array, target: Any, ignore_index: Any, w: Array | None) -> Array | None:
    """The weights of rows with 0 for those whose label is ``ignore_index``."""
    ignored = checks.size(kind, "ignore_index", ignore_index, None)
    t = _numbers(kind, target)
    if t.shape == y.shape and t.shape != y.shape[:-1]:
        raise ValueError(
            f"{kind}: ignore_index is for integer labels, but the target has rows of probabilities; give the rows that "
            "do not count a weight of 0"
        )
    if t.shape != y.shape[:-1]:
        return w  # the shape is wrong, which ``class_target`` says
    return with_zeros(t != ignored, w)


def with_zeros(counts: Array, w: Array | None) -> Array:
    """The weights where a target counts, and 0 elsewhere."""
    found: Array = counts.astype(np.float64) if w is None else w * counts
    return found


def read_smoothing(kind: str, label_smoothing: Any) -> float:
    """The part of the target that is spread over all classes, a number in [0, 1]."""
    if type(label_smoothing) is float and label_smoothing == 0:
        return 0.0
    return checks.probability(kind, "label_smoothing", label_smoothing, "; 0.1 is usual")


def binary_terms(
    kind: str, y: Array, target: Any, weights: Any, class_weights: Any, ignore_index: Any, label_smoothing: Any,
    reduction: Reduction, signed: bool = False,
) -> tuple[Array, Array, Array | None, Array | None]:  # fmt: skip
    """The target of a loss of yes and no, and what the loss of each element is multiplied with.

    Args:
        kind: the name of the loss, for messages.
        y: floats of shape (batch, ...).
        target: numbers in [0, 1] of the shape of ``y``, or 1 for yes and -1 for no.
        weights, class_weights, ignore_index, label_smoothing, reduction: what the caller passed.
        signed: whether -1 means no too.

    Returns:
        ``(yes, no, factors, weights)``: how much of each element is yes and no, arrays like y that add up to 1, or to
        its weight; the result of ``factors``; and which elements count, those with a weight above 0, or None for all.
    """
    w = read_weights(kind, weights, y.shape, reduction)
    t = target_like(kind, y, target)
    if ignore_index is not None:
        w = with_zeros(t != checks.size(kind, "ignore_index", ignore_index, None), w)
    if signed:
        t = np.where(t == -1, t.dtype.type(0), t)
    t = between_0_and_1(kind, t, w, signed)
    smoothing, used = read_smoothing(kind, label_smoothing), None
    yes, no = t, 1 - t
    if smoothing:
        yes, no = ((1 - smoothing) * part + smoothing / 2 for part in (yes, no))
    if class_weights is not None:
        each = checks.class_weights(kind, class_weights, 2, y.dtype, "one for no and one for yes")
        for_no, for_yes = each.tolist()
        used = for_yes * t + for_no * (1 - t)
        yes, no = for_yes * yes, for_no * no
    return yes, no, factors(kind, w, y.shape, y.dtype, reduction, used), w


def clipped_probabilities(kind: str, use: str, y: Array, weights: Array | None) -> Array:
    """p = clip(y, eps, 1 - eps) with eps that of the dtype, so that log and division stay finite."""
    check_probabilities(kind, use, y, weights)
    eps = float(np.finfo(y.dtype).eps)
    return np.clip(y, eps, 1 - eps).astype(y.dtype, copy=False)


def check_probabilities(kind: str, use: str, y: Array, weights: Array | None) -> None:
    """Raise an error if a y that counts is not a probability; ``use`` says what to use for logits."""
    wrong = (y < 0) | (y > 1)
    if np.logical_or.reduce(wrong, axis=None) and counted(wrong, weights).any():
        raise ValueError(
            f"{kind}: expected probabilities in [0, 1], got values from {y.min()} to {y.max()}; for logits use {use}"
        )


def target_like(kind: str, y: Array, target: Any) -> Array:
    """The target in the dtype of y, of the same shape: broadcasting would compare every output with every target."""
    t = _numbers(kind, target)
    if t.shape != y.shape:
        raise ValueError(
            f"{kind}: expected a target of the shape of y, {y.shape}, got {t.shape}; "
            + (f"use target.reshape{y.shape}" if t.size == y.size else "encode labels as one-hot rows")
        )
    return t.astype(y.dtype, copy=False)


def between_0_and_1(kind: str, t: Array, weights: Array | None, signed: bool) -> Array:
    """The target of a binary classification: a probability for each element; any number where the weight is 0."""
    inside = (t >= 0) & (t <= 1)
    if np.logical_and.reduce(inside, axis=None):
        return t
    if counted(~inside, weights).any():
        expected = "targets of -1 or 0 for no and 1 for yes" if signed else "targets in [0, 1]"
        use = "encode the labels so" if signed else "use 0 for no and 1 for yes"
        raise ValueError(f"{kind}: expected {expected}, got values from {t.min()} to {t.max()}; {use}")
    return np.where(inside, t, t.dtype.type(0))


def class_target(kind: str, y: Array, target: Any, weights: Array | None) -> Array:
    """The target of a classification: integer labels, or rows of probabilities; anything where the weight is 0.

    Args:
        kind: the name of the loss, for messages.
        y: floats of shape (batch, ..., classes).
        target: what the caller passed.
        weights: of the rows, or None.

    Returns:
        Labels as intp of the shape of y without its last axis; or rows of the shape and the dtype of y.
    """
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
    if counted(outside, weights).any():
        raise ValueError(
            f"{kind}: expected labels from 0 to {y.shape[-1] - 1}, got {t.min()} to {t.max()}; "
            "number the classes from 0, and let the model have as many outputs as there are classes"
        )
    return np.where(outside, 0, labels)


def _checked_rows(kind: str, t: Array, weights: Array | None) -> Array:
    """Rows that are distributions, or an error: softmax(y) - t would not be the gradient."""
    with np.errstate(over="ignore", invalid="ignore"):
        sums = np.add.reduce(t, axis=-1)
    # A thousandth lets rows pass that were rounded in half precision, and catches every real mistake.
    right = np.abs(sums - 1) < 1e-3
    if np.minimum.reduce(t, axis=None) >= 0 and np.logical_and.reduce(right, axis=None):
        return t
    wrong = ~right | (t < 0).any(-1)
    if counted(wrong, weights).any():
        raise ValueError(
            f"{kind}: expected rows of probabilities that sum to 1, got a minimum of {t.min()} "
            f"and sums from {sums.min()} to {sums.max()}; divide each row by its sum, or give integer labels"
        )
    return np.where(wrong[..., None], t.dtype.type(0), t)


def counted(wrong: Array, weights: Array | None) -> Array:
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
