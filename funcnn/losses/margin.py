"""Losses of margins: a score that is right by the margin costs nothing, and a wrong one as much as it lacks.

The scores are not probabilities. In the smooth forms, which are logarithms, nothing costs exactly nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from funcnn import checks
from funcnn.aliases import Array
from funcnn.kernels.selection import times
from funcnn.losses.classification import logistic
from funcnn.losses.core import (
    ClassLoss,
    Formula,
    NumberLoss,
    Reduction,
    check_prediction,
    documented,
    factors,
    published,
    read_weights,
    reduced,
)
from funcnn.losses.kinds import CLASSES_OVER_ROWS, LABELS, NUMBERS, binary_loss, class_loss
from funcnn.losses.targets import binary_terms, counted, one_hot_rows
from funcnn.recorded import recorded
from funcnn.wording import shown

__all__ = [
    "categorical_hinge", "hinge", "multi_margin", "multilabel_margin", "multilabel_soft_margin", "soft_margin",
    "squared_hinge",
]  # fmt: skip


@binary_loss(signed=True)
def hinge(y: Array, yes: Array, no: Array, careful: bool) -> tuple[Array, Array]:
    """value = mean(max(0, 1 - t y));  dy = (-t if t y < 1 else 0) / n, with t = 1 for yes and -1 for no.

    Args:
        y: scores, floats of shape (batch, ...); above 0 for yes.
        target: 1 for yes, and -1 or 0 for no, of the shape of ``y``; between 0 and 1 for a probability of yes.
        {options}

    {returns}

    Example:
        >>> hinge(np.array([[0.5], [3.0]]), [[1], [-1]])
        (2.25, array([[-0.5],
               [ 0.5]]))

    Reference:
        Bishop (2006), Pattern Recognition and Machine Learning, eq. 7.44.
    """
    product = times if careful else np.multiply
    below, above = np.maximum(1 - y, 0), np.maximum(1 + y, 0)
    return product(yes, below) + product(no, above), no * (above > 0) - yes * (below > 0)


@binary_loss(signed=True)
def squared_hinge(y: Array, yes: Array, no: Array, careful: bool) -> tuple[Array, Array]:
    """value = mean(max(0, 1 - t y)²);  dy = -2 t max(0, 1 - t y) / n, with t = 1 for yes and -1 for no.

    Args:
        y: scores, floats of shape (batch, ...); above 0 for yes.
        target: 1 for yes, and -1 or 0 for no, of the shape of ``y``; between 0 and 1 for a probability of yes.
        {options}

    {returns}

    Example:
        >>> squared_hinge(np.array([[0.5], [3.0]]), [[1], [-1]])
        (8.125, array([[-0.5],
               [ 4. ]]))

    Reference:
        Lee & Mangasarian (2001), SSVM: a smooth support vector machine for classification, equation 3.
    """
    product = times if careful else np.multiply
    below, above = np.maximum(1 - y, 0), np.maximum(1 + y, 0)
    losses = product(yes, below * below) + product(no, above * above)
    return losses, 2 * (product(no, above) - product(yes, below))


@binary_loss(signed=True)
def soft_margin(y: Array, yes: Array, no: Array, careful: bool) -> tuple[Array, Array]:
    """value = mean(log(1 + exp(-t y)));  dy = -t / (1 + exp(t y)) / n, with t = 1 for yes and -1 for no.

    It is ``sigmoid_cross_entropy`` with -1 for no.

    Args:
        y: scores, floats of shape (batch, ...); above 0 for yes.
        target: 1 for yes, and -1 or 0 for no, of the shape of ``y``; between 0 and 1 for a probability of yes.
        {options}

    {returns}

    Example:
        >>> value, dy = soft_margin(np.array([[0.0], [1e4]]), [[1], [-1]])
        >>> round(value, 4), dy
        (5000.3466, array([[-0.25],
               [ 0.5 ]]))

    Reference:
        Hastie, Tibshirani & Friedman (2009), The Elements of Statistical Learning, equation 10.18.
    """
    return logistic(y, yes, no, careful)


@class_loss
def categorical_hinge(y: Array, t: Array, careful: bool) -> tuple[Array, Array]:
    """value = mean(max(0, 1 + max(0, y_k) - y_c)), with c the label and k the class of the highest other score.

    dy is 1 / n at k, if y_k is above 0, and -1 / n at c, where the loss is above 0. As in Keras, a score below 0 is as
    good as one of 0 for the classes that are not the label.

    Args:
        y: scores, floats of shape (batch, ..., classes).
        target: integer labels of shape (batch, ...), from 0 to classes - 1; or probabilities of the shape of ``y``
            whose rows sum to one, for example one-hot rows.
        {options}

    {returns}

    Example:
        >>> categorical_hinge(np.array([[0.5, 1.0], [-1.0, 3.0]]), np.array([0, 1]))
        (0.75, array([[-0.5,  0.5],
               [ 0. ,  0. ]]))

    Reference:
        Crammer & Singer (2001), On the algorithmic implementation of multiclass kernel-based vector machines, section
        3; the maximum with 0 is that of Keras.
    """
    if t.ndim < y.ndim:
        t = one_hot_rows(t, y.shape[-1]).astype(y.dtype)
    top = y.argmax(-1)
    is_top = one_hot_rows(top, y.shape[-1])
    rest = np.where(is_top, y.dtype.type(-np.inf), y)
    is_second = one_hot_rows(rest.argmax(-1), y.shape[-1])
    highest, second = (np.maximum(x.max(-1, keepdims=True), 0) for x in (y, rest))
    each = np.maximum(1 + np.where(is_top, second, highest) - y, 0)
    costs = t * (each > 0)
    at_top = (costs * ~is_top).sum(-1, keepdims=True) * (highest > 0)
    at_second = (costs * is_top).sum(-1, keepdims=True) * (second > 0)
    losses = np.add.reduce(times(t, each) if careful else t * each, axis=-1)
    return losses, is_top * at_top + is_second * at_second - costs


@recorded
@documented(CLASSES_OVER_ROWS)
def multi_margin(p: int = 1, margin: float = 1.0) -> ClassLoss:
    """value = mean(Σ_k max(0, margin - y_c + y_k)^p / classes), with c the label and k all other classes.

    dy_k = p max(0, margin - y_c + y_k)^(p - 1) / classes / n, and dy_c is minus their sum.

    Args:
        p: 1 or 2, the power.
        margin: by how much the score of the label must be above the others; any number.

    Returns:
        ``loss(y, target, *, {signature}`` with

        y: scores, floats of shape (batch, ..., classes).
        target: integer labels of shape (batch, ...), from 0 to classes - 1; or probabilities of the shape of ``y``
            whose rows sum to one, which takes memory for classes² numbers of each row.
        {options}

    Raises:
        {raises}

    Example:
        >>> multi_margin()(np.array([[0.5, 1.0], [-1.0, 3.0]]), np.array([0, 1]))
        (0.375, array([[-0.25,  0.25],
               [ 0.  ,  0.  ]]))

    Reference:
        Weston & Watkins (1999), Support vector machines for multi-class pattern recognition, section 2; divided by the
        number of classes as in PyTorch.
    """
    if type(p) is bool or not isinstance(p, int | np.integer) or p not in (1, 2):
        raise ValueError(f"multi_margin: p must be 1 or 2, got {shown(p)}")
    margin, power = checks.number("multi_margin", "margin", margin), int(p)

    def formula(y: Array, t: Array, careful: bool) -> tuple[Array, Array]:
        classes, labels = y.shape[-1], t.ndim < y.ndim
        if labels:  # one row of differences for each example
            true, own = np.take_along_axis(y, t[..., None], -1), one_hot_rows(t, classes)
        else:  # one for each class that might be the label
            true, own, y = y[..., None], np.eye(classes, dtype=bool), y[..., None, :]
        lacks = np.where(own, y.dtype.type(0), np.maximum(margin - true + y, 0))
        each = np.add.reduce(lacks**power, axis=-1) / classes
        slopes = (power * lacks ** (power - 1) * (lacks > 0)) / y.dtype.type(classes)
        if labels:
            return each, np.where(own, 0 - np.add.reduce(slopes, axis=-1, keepdims=True), slopes)
        losses = np.add.reduce(times(t, each) if careful else t * each, axis=-1)
        slopes *= t[..., None]
        return losses, np.add.reduce(slopes, axis=-2) - np.add.reduce(slopes, axis=-1)

    return class_loss(formula, "multi_margin", over_used=False)


def _of_labels(formula: Formula) -> ClassLoss:
    """The loss of ``formula(y, yes, no, careful)``, one loss for each row of labels."""
    kind = formula.__name__

    def loss(
        y: Array, target: ArrayLike, *, weights: ArrayLike | None = None, class_weights: ArrayLike | None = None,
        ignore_index: int | None = None, label_smoothing: float = 0.0, reduction: Reduction = "mean",
    ) -> tuple[Any, Array]:  # fmt: skip
        rows = _rows(kind, y)
        w = read_weights(kind, weights, rows, reduction)
        yes, no, _, counts = binary_terms(kind, y, target, weights, None, ignore_index, label_smoothing, reduction)
        if ignore_index is not None and counts is not None:
            y, yes, no = (np.where(counts > 0, part, 0) for part in (y, yes, no))
        if class_weights is not None:
            each = checks.class_weights(kind, class_weights, y.shape[-1], y.dtype, "one for each label")
            each = each.astype(y.dtype)
            yes, no = yes * each, no * each
        return reduced(formula, y, (yes, no), factors(kind, w, rows, y.dtype, reduction), reduction)

    return published(loss, formula, kind, LABELS)  # type: ignore[no-any-return]


def _of_listed_labels(formula: Formula) -> NumberLoss:
    """The loss of ``formula(y, times, careful)``, where times says how often each label is listed in a row."""
    kind = formula.__name__

    def loss(
        y: Array, target: ArrayLike, *, weights: ArrayLike | None = None, reduction: Reduction = "mean"
    ) -> tuple[Any, Array]:
        rows = _rows(kind, y)
        w = read_weights(kind, weights, rows, reduction)
        listed = _listed(kind, y, target, w)
        return reduced(formula, y, (listed,), factors(kind, w, rows, y.dtype, reduction), reduction)

    return published(loss, formula, kind, NUMBERS)  # type: ignore[no-any-return]


def _rows(kind: str, y: Array) -> tuple[int, ...]:
    """The shape of the rows of y, or an error if y is not a batch of rows."""
    check_prediction(kind, y)
    if y.ndim < 2:
        raise ValueError(f"{kind}: expected y of axes (batch, ..., labels), got shape {y.shape}")
    return y.shape[:-1]


def _listed(kind: str, y: Array, target: Any, w: Array | None) -> Array:
    """How often each label stands in its row of the target before the first -1, in the dtype of y."""
    t = checks.array(kind, target, "target")
    if t.dtype.kind not in "iu":
        raise TypeError(
            f"{kind}: expected a target of integers, the labels of each row and then -1, got an array of {t.dtype}; "
            "for yes and no of each label use multilabel_soft_margin"
        )
    if t.shape != y.shape:
        raise ValueError(
            f"{kind}: expected a target of the shape of y, {y.shape}, each row filled with -1, got {t.shape}"
        )
    t = np.where(np.logical_and.accumulate(t >= 0, axis=-1), t, -1) if t.dtype.kind == "i" else t
    outside = t >= y.shape[-1]
    if counted(outside, w).any():
        raise ValueError(f"{kind}: expected labels from 0 to {y.shape[-1] - 1}, and -1 for none, got {t.max()}")
    found = np.zeros((y.size // y.shape[-1], y.shape[-1]), y.dtype)
    row, column = np.nonzero(((t >= 0) & ~outside).reshape(found.shape))
    np.add.at(found, (row, t.reshape(found.shape)[row, column]), 1)
    return found.reshape(y.shape)


@_of_labels
def multilabel_soft_margin(y: Array, yes: Array, no: Array, careful: bool) -> tuple[Array, Array]:
    """value = mean(Σ_c (-t_c log p_c - (1 - t_c) log(1 - p_c)) / labels), p = sigmoid(y);  dy = (p - t) / labels / n.

    The mean is that of ``sigmoid_cross_entropy``, but here n rows have a loss, and not each of their elements.

    Args:
        y: logits, floats of shape (batch, ..., labels).
        target: numbers in [0, 1] of the shape of ``y``: 1 where an example has the label.
        {options}

    {returns}

    Example:
        >>> value, dy = multilabel_soft_margin(np.array([[0.0, 1e4], [0.0, 0.0]]), [[1, 0], [0, 1]], reduction="none")
        >>> value.round(4), dy
        (array([5.0003466e+03, 6.9310000e-01]), array([[-0.25,  0.5 ],
               [ 0.25, -0.25]]))

    Reference:
        PyTorch's ``multilabel_soft_margin_loss``; Bishop (2006), Pattern Recognition and Machine Learning, eq. 4.90.
    """
    losses, dy = logistic(y, yes, no, careful)
    return np.add.reduce(losses, axis=-1) / y.shape[-1], dy / y.dtype.type(y.shape[-1])


@_of_listed_labels
def multilabel_margin(y: Array, listed: Array, careful: bool) -> tuple[Array, Array]:
    """value = mean(Σ_c Σ_k max(0, 1 - y_c + y_k) / labels), with c the labels of a row and k those it has not.

    dy_k counts the c where that is above 0, dy_c the k, with a minus; both over labels n, with n rows.

    Args:
        y: scores, floats of shape (batch, ..., labels).
        target: integers of the shape of ``y``: the labels of each row, then -1; what follows the first -1 is not read.
        {options}

    {returns}

    Example:
        >>> multilabel_margin(np.array([[0.5, 1.0, -1.0]]), np.array([[1, -1, -1]]))
        (0.16666666666666666, array([[ 0.33333333, -0.33333333,  0.        ]]))

    Reference:
        PyTorch's ``multilabel_margin_loss``; Elisseeff & Weston (2001), A kernel method for multi-labelled
        classification, section 3.
    """
    lacks = np.maximum(1 - y[..., :, None] + y[..., None, :], 0)
    pairs = listed[..., :, None] * (listed == 0)[..., None, :]
    losses = np.add.reduce(times(pairs, lacks) if careful else pairs * lacks, axis=(-1, -2)) / y.shape[-1]
    slopes = pairs * (lacks > 0) / y.dtype.type(y.shape[-1])
    return losses, np.add.reduce(slopes, axis=-2) - np.add.reduce(slopes, axis=-1)
