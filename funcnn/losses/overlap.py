"""Losses of overlap: how much of a region that was predicted, and of the true one, lies in both; for segmentation.

Each class of each example has one loss, whatever the size of its region: so a small region counts as much as a large
one, which in a mean over pixels would be lost.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from funcnn import checks
from funcnn.aliases import Array
from funcnn.kernels.products import wide_sum
from funcnn.losses.core import (
    ClassLoss,
    Formula,
    Reduction,
    check_prediction,
    documented,
    factors,
    published,
    read_weights,
    reduced,
)
from funcnn.losses.kinds import REGIONS
from funcnn.losses.targets import (
    between_0_and_1,
    check_probabilities,
    class_target,
    one_hot_rows,
    read_smoothing,
    target_like,
    with_zeros,
)
from funcnn.recorded import recorded

__all__ = ["dice", "tversky"]

SMOOTH = 1e-5
"""What is added to both sides of the fraction, so that two regions without a pixel overlap."""


def _of_regions(formula: Formula, kind: str = "") -> ClassLoss:
    """The loss of ``formula(y, t, careful)``, with y and t of shape (batch, pixels, classes), one for each class."""
    kind = kind or formula.__name__

    def loss(
        y: Array, target: ArrayLike, *, weights: ArrayLike | None = None, class_weights: ArrayLike | None = None,
        ignore_index: int | None = None, label_smoothing: float = 0.0, reduction: Reduction = "mean",
    ) -> tuple[Any, Array]:  # fmt: skip
        check_prediction(kind, y)
        if y.ndim < 3:
            raise ValueError(
                f"{kind}: expected y of axes (batch, pixels, ..., classes), got shape {y.shape}; for one region of "
                "each example use y[..., None]"
            )
        regions = (len(y), y.shape[-1])
        w = read_weights(kind, weights, regions, reduction)
        t, keep = _read(kind, y, target, w, ignore_index, label_smoothing)
        if keep is not None:  # where all pixels are ignored there is no region
            w = with_zeros(keep.reshape(len(y), -1, keep.shape[-1]).max(1), w)
        if class_weights is not None:
            of_classes = checks.class_weights(kind, class_weights, regions[1], y.dtype)
            w = of_classes[None] if w is None else w * of_classes
        each = factors(kind, w, regions, y.dtype, reduction)
        kept = [x if keep is None else np.where(keep, x, 0) for x in (y, t)]
        flat = [x.reshape(regions[0], -1, regions[1]) for x in kept]
        value, dy = reduced(formula, flat[0], (flat[1],), None if each is None else each[:, None], reduction)
        dy = dy.reshape(y.shape)
        return value[:, 0] if reduction == "none" else value, dy if keep is None else np.where(keep, dy, 0)

    return published(loss, formula, kind, REGIONS)  # type: ignore[no-any-return]


def _read(
    kind: str, y: Array, target: Any, w: Array | None, ignore_index: Any, label_smoothing: Any
) -> tuple[Array, Array | None]:
    """The region of each class, numbers in [0, 1] like y; and the pixels that count, or None for all."""
    t, classes, smoothing = checks.array(kind, target, "target"), y.shape[-1], read_smoothing(kind, label_smoothing)
    over = None if w is None else w.reshape(len(w), *(1,) * (y.ndim - 2), w.shape[-1])
    keep = None
    if ignore_index is not None:
        keep = t != checks.size(kind, "ignore_index", ignore_index, None)
    if t.shape == y.shape[:-1] and classes > 1:
        pixels = None if over is None else over.max(-1)
        if keep is not None:
            pixels = keep * 1.0 if pixels is None else keep * pixels
        t = one_hot_rows(class_target(kind, y, t, pixels), classes).astype(y.dtype)
        keep = None if keep is None else keep[..., None]
    else:
        t = target_like(kind, y, t)
    counts = over if keep is None else keep * (1.0 if over is None else over)
    t = between_0_and_1(kind, t, counts, False)
    check_probabilities(kind, "fn.sigmoid or fn.softmax as the last layer", y, counts)
    if smoothing:
        t = (1 - smoothing) * t + smoothing / max(classes, 2)
    return t, keep


def _overlap(y: Array, t: Array, alpha: float, beta: float, smooth: float) -> tuple[Array, Array]:
    """1 - (TP + s) / (TP + alpha FP + beta FN + s), of each class of each example, and its derivative."""
    counts = (y * t, y * (1 - t), (1 - y) * t)
    both, false_yes, false_no = (wide_sum(part, 1, keepdims=True) for part in counts)
    both += smooth
    either = both + alpha * false_yes + beta * false_no
    ratio, either = (both / either).astype(y.dtype), either.astype(y.dtype)
    return 1 - ratio, (ratio * (t + alpha * (1 - t) - beta * t) - t) / either


@_of_regions
def dice(y: Array, t: Array, careful: bool) -> tuple[Array, Array]:
    """value = mean(1 - 2 Σ y t / (Σ y + Σ t)), sums over the pixels, and the mean over n classes of all examples.

    dy = (2 Σ y t / (Σ y + Σ t) - 2 t) / (Σ y + Σ t) / n. It is ``tversky(0.5, 0.5)``, which adds 1e-5 above and below
    the line, so that it is 0 where neither region has a pixel.

    Args:
        y: probabilities in [0, 1], floats of shape (batch, pixels, ..., classes), such as (batch, height, width, 1).
        target: numbers in [0, 1] of the shape of ``y``; or, of several classes, integer labels of shape (batch,
            pixels, ...).
        {options}

    {returns}

    Example:
        >>> y = np.array([[0.5, 0.5, 1.0, 0.0]]).reshape(1, 2, 2, 1)
        >>> value, dy = dice(y, np.array([[1, 0, 1, 0]]).reshape(1, 2, 2, 1))
        >>> round(value, 4), dy.ravel().round(4)
        (0.25, array([-0.3125,  0.1875, -0.3125,  0.1875]))

    Reference:
        Sudre, Li, Vercauteren, Ourselin & Cardoso (2017), Generalised Dice overlap as a deep learning loss function for
        highly unbalanced segmentations, equation 2.
    """
    return _overlap(y, t, 0.5, 0.5, SMOOTH)


@recorded
@documented(REGIONS)
def tversky(alpha: float = 0.5, beta: float = 0.5, smooth: float = SMOOTH) -> ClassLoss:
    """value = mean(1 - (TP + s) / (TP + alpha FP + beta FN + s)), the mean over n classes of all examples.

    TP = Σ y t, FP = Σ y (1 - t) and FN = Σ (1 - y) t are sums over the pixels. With D what stands below the line,
    dy = ((TP + s) (t + alpha (1 - t) - beta t) / D - t) / D / n. A large beta finds more, a large alpha claims less;
    ``tversky(0.5, 0.5)`` is ``dice``, and ``tversky(1, 1)`` is 1 minus the intersection over the union.

    Args:
        alpha: how much a pixel counts that is claimed and false, ``>= 0``.
        beta: how much a pixel counts that is missed, ``>= 0``.
        smooth: s, above 0.

    Returns:
        ``loss(y, target, *, {signature}`` with

        y: probabilities in [0, 1], floats of shape (batch, pixels, ..., classes), such as (batch, height, width, 1).
        target: numbers in [0, 1] of the shape of ``y``; or, of several classes, integer labels of shape (batch,
            pixels, ...).
        {options}

    Raises:
        {raises}

    Example:
        >>> y = np.array([[0.5, 0.5, 1.0, 0.0]]).reshape(1, 2, 2, 1)
        >>> value, dy = tversky(1.0, 1.0)(y, np.array([[1, 0, 1, 0]]).reshape(1, 2, 2, 1))
        >>> round(value, 4), dy.ravel().round(4)
        (0.4, array([-0.4 ,  0.24, -0.4 ,  0.24]))

    Reference:
        Salehi, Erdogmus & Gholipour (2017), Tversky loss function for image segmentation using 3D fully convolutional
        deep networks, equation 4.
    """
    alpha, beta = (checks.nonnegative("tversky", name, x) for name, x in (("alpha", alpha), ("beta", beta)))
    smooth = checks.positive("tversky", "smooth", smooth, usual="1e-5")

    def formula(y: Array, t: Array, careful: bool) -> tuple[Array, Array]:
        return _overlap(y, t, alpha, beta, smooth)

    return _of_regions(formula, "tversky")
