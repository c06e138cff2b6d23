"""Augmentations that make one example of two: a mixture or a patchwork of the images, and the mean of their targets.

The target of a mixture is a row of probabilities, which the losses of classes take in place of a label.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from funcnn import checks
from funcnn.aliases import Array, Rng, Size
from funcnn.augment.parts import Augmentation, check_images
from funcnn.losses.targets import one_hot_rows
from funcnn.recorded import recorded
from funcnn.rng import generator
from funcnn.wording import what

__all__ = ["cutmix", "mixup"]


@recorded
def mixup(alpha: float = 0.2, classes: Size | None = None) -> Augmentation:
    """x' = s x_i + (1 - s) x_j and t' = s t_i + (1 - s) t_j, with j from a permutation and s from Beta(alpha, alpha).

    Args:
        alpha: how even the mixtures are, ``> 0``; with 1 all s are equally likely.
        classes: the number of classes, if the targets are integer labels; they become rows of probabilities. Other
            targets, floats, rows, zeros and ones, are mixed as they are.

    Returns:
        A function ``augment(batch, rng) -> batch`` of batches ``(x, target)`` and ``(x, target, weights)``, with one s
        for the batch. The weights are mixed too, and a target counts in the mixture by its weight: the loss of an
        example is s w_i loss(t_i) + (1 - s) w_j loss(t_j).

    Raises:
        TypeError: ``alpha`` is not a number; or, once it is called, the batch is not such a tuple, or x is not an array
            of floats.
        ValueError: an argument is out of range; or, once it is called, there are labels and no ``classes``.

    Example:
        >>> x, target = mixup(1.0, classes=3)((np.eye(2), np.array([0, 2])), 1)
        >>> np.allclose(target[:, [0, 2]], x), target.sum(axis=1)
        (True, array([1., 1.], dtype=float32))

    Reference:
        Zhang, Cisse, Dauphin and Lopez-Paz, mixup: beyond empirical risk minimization (2018), equation 2.
    """
    alpha, classes = _options("mixup", alpha, classes)

    def augment(batch: Any, rng: Rng) -> Any:
        x, *rest = _tuple("mixup", batch)
        if not isinstance(x, np.ndarray) or x.dtype.kind != "f":
            got = f"{x.dtype}; use x.astype(np.float32) / 255" if isinstance(x, np.ndarray) else what(x)
            raise TypeError(f"mixup: expected x as an array of floats, got {got}")
        draw = generator(rng)
        fraction, other = x.dtype.type(draw.beta(alpha, alpha)), draw.permutation(len(x))
        mixed = fraction * x + (1 - fraction) * x[other]
        return mixed, *_mixed_targets("mixup", rest, float(fraction), other, classes)

    return augment


@recorded
def cutmix(alpha: float = 1.0, classes: Size | None = None) -> Augmentation:
    """A rectangle of another image in each image, and t' = s t_i + (1 - s) t_j, with s the fraction of its own pixels.

    Args:
        alpha: the fraction of the area outside of the rectangle, before the border cuts it, is drawn from Beta(alpha,
            alpha), ``> 0``.
        classes: the number of classes, if the targets are integer labels, as in ``mixup``.

    Returns:
        A function ``augment(batch, rng) -> batch`` of batches ``(x, target)`` and ``(x, target, weights)``, with one
        rectangle for the batch. Weights are mixed as in ``mixup``.

    Raises:
        TypeError: ``alpha`` is not a number; or, once it is called, the batch is not such a tuple, or x is not an array
            of images.
        ValueError: an argument is out of range; or, once it is called, there are labels and no ``classes``.

    Example:
        >>> x = np.arange(2.0)[:, None, None, None] * np.ones((2, 8, 8, 1))
        >>> mixed, target = cutmix(classes=2)((x, np.array([0, 1])), 3)
        >>> np.allclose(mixed.mean(axis=(1, 2, 3)), target[:, 1])
        True

    Reference:
        Yun et al., CutMix: regularization strategy to train strong classifiers with localizable features (2019),
        equations 1 and 2.
    """
    alpha, classes = _options("cutmix", alpha, classes)

    def augment(batch: Any, rng: Rng) -> Any:
        x, *rest = _tuple("cutmix", batch)
        check_images("cutmix", x)
        draw = generator(rng)
        side, other = np.sqrt(1 - draw.beta(alpha, alpha)), draw.permutation(len(x))
        cut = tuple(_range(int(draw.integers(n)), round(n * side), n) for n in x.shape[1:3])
        mixed = x.copy()
        mixed[:, cut[0], cut[1]] = x[other][:, cut[0], cut[1]]
        fraction = 1 - (cut[0].stop - cut[0].start) * (cut[1].stop - cut[1].start) / (x.shape[1] * x.shape[2])
        return mixed, *_mixed_targets("cutmix", rest, fraction, other, classes)

    return augment


def _options(kind: str, alpha: float, classes: Size | None) -> tuple[float, int | None]:
    """The options of both."""
    alpha = checks.positive(kind, "alpha", alpha, usual="0.2" if kind == "mixup" else "1.0")
    return alpha, None if classes is None else checks.size(kind, "classes", classes)


def _tuple(kind: str, batch: Any) -> tuple[Any, ...]:
    """A batch with targets, perhaps with weights."""
    if not isinstance(batch, tuple) or len(batch) not in (2, 3):
        raise TypeError(f"{kind}: expected a batch (x, target) or (x, target, weights), got {what(batch)}")
    return batch


def _range(centre: int, extent: int, n: int) -> slice:
    """The pixels of a range around a centre, inside of the image."""
    return slice(max(centre - extent // 2, 0), min(centre - extent // 2 + extent, n))


def _mixed_targets(kind: str, rest: list[Any], fraction: float, other: Array, classes: int | None) -> tuple[Array, ...]:
    """The targets of the mixtures, and their weights if there are some."""
    target = _as_floats(kind, rest[0], classes)
    if len(rest) == 1:
        return ((fraction * target + (1 - fraction) * target[other]).astype(target.dtype),)
    w = np.asarray(rest[1], np.result_type(np.float32, rest[1].dtype))
    mixed = fraction * w + (1 - fraction) * w[other]
    # If neither example counts, the fraction is that of the images.
    own = np.divide(fraction * w, mixed, out=np.full_like(mixed, fraction), where=mixed > 0)
    own = own.reshape(own.shape + (1,) * (target.ndim - own.ndim))
    return (own * target + (1 - own) * target[other]).astype(target.dtype), mixed.astype(w.dtype)


def _as_floats(kind: str, target: Any, classes: int | None) -> Array:
    """Targets that can be averaged: labels as one-hot rows."""
    if not isinstance(target, np.ndarray):
        raise TypeError(f"{kind}: expected the target as an array, got {what(target)}")
    if classes is not None and target.dtype.kind in "iu":
        return one_hot_rows(checks.labels(target, classes, kind), classes).astype(np.float32)
    if target.dtype.kind in "iu" and (target.ndim == 1 or target.max(initial=0) > 1):
        raise ValueError(f"{kind}: the targets are labels; give the number of classes, {kind}(classes=10)")
    return target if target.dtype.kind == "f" else target.astype(np.float32)
