"""Upsampling makes an image of more pixels, or of fewer, each computed from the nearest pixels of the old one.

The number of axes is an argument of ``_upsample``, which has the logic; the constructors below it describe it for
series, images and volumes. The arithmetic is in ``kernels/resample``.
"""

from __future__ import annotations

import math
import numbers
import sys
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np

from funcnn import checks
from funcnn.aliases import Array, PerAxis
from funcnn.kernels.resample import Along, resample, resample_gradient
from funcnn.kernels.windows import FLAT, LINE, SOLID, Axes
from funcnn.layers.activation import Pull
from funcnn.protocol import Layer, layer, stateless
from funcnn.wording import shown

__all__ = ["upsample1d", "upsample2d", "upsample3d"]

Factor: TypeAlias = float | Sequence[float] | PerAxis
"""One positive number for all axes, or one for each."""

Mode1d: TypeAlias = Literal["nearest", "linear"]
Mode2d: TypeAlias = Literal["nearest", "linear", "bilinear", "bicubic"]
Mode3d: TypeAlias = Literal["nearest", "linear", "trilinear"]
RULES = {
    1: {"nearest": "nearest", "linear": "linear"},
    2: {"nearest": "nearest", "linear": "linear", "bilinear": "linear", "bicubic": "cubic"},
    3: {"nearest": "nearest", "linear": "linear", "trilinear": "linear"},
}
"""By the number of axes of pixels: the modes, and the rule of each along an axis."""


def _upsample(kind: str, axes: Axes, factor: Any, size: Any, mode: str, align_corners: bool) -> Layer:
    """Resampling over any number of axes; the constructors below describe the arguments."""
    if (factor is None) == (size is None):
        raise ValueError(f"{kind}: expected factor or size, got {'neither' if size is None else 'both'}; give one")
    nothing = (None,) * len(axes)
    factors = nothing if factor is None else _factors(kind, factor, axes)
    sizes = nothing if size is None else checks.sizes(kind, "size", size, axes)
    rules = RULES[len(axes)]
    if not isinstance(mode, str) or mode not in rules:
        raise ValueError(f"{kind}: unknown mode {shown(mode)}, expected one of {[*rules]}")
    rule, align = rules[mode], checks.flag(kind, "align_corners", align_corners)
    if align and rule == "nearest":
        raise ValueError(f"{kind}: align_corners is for the modes {[*rules][1:]}, 'nearest' has none; leave it out")

    def plan(pixels: tuple[int, ...]) -> tuple[Along, ...]:
        return tuple(along(rule, n, m, times, align) for n, m, times in zip(pixels, sizes, factors, strict=True))

    def forward(x: Array) -> tuple[Array, Pull]:
        checks.images(kind, x, axes)
        along = plan(x.shape[1:-1])
        new = tuple(each.size for each in along)
        if min(*new, *x.shape[1:-1]) < 1:
            raise ValueError(
                f"{kind}: expected at least one pixel, got {x.shape[1:-1]} pixels, of which it makes {new}"
            )
        return resample(x, along), lambda dy: resample_gradient(dy, along)

    def working_set(x: Array) -> int:
        new: int = len(x) * math.prod(each.size for each in plan(x.shape[1:-1])) * x.shape[-1]
        return max(int(x.size), new)

    return stateless(kind, forward, working_set=working_set)


def along(rule: str, n: int, size: int | None, factor: float | None, align_corners: bool) -> Along:
    """Resampling n pixels along one axis to a size, or by a factor."""
    new = math.floor(n * (factor or 0)) if size is None else size
    # As in PyTorch, a factor that makes twice as many pixels repeats all of them alike.
    doubled = rule == "nearest" and new == 2 * n
    return Along(rule, n, new, (n, new) if factor is None or doubled else (1, factor), align_corners)


def _factors(kind: str, value: Any, axes: Axes) -> tuple[float, ...]:
    """A positive number for all axes, or one for each axis; whole ones as ints."""
    several = isinstance(value, tuple | list) or (isinstance(value, np.ndarray) and value.ndim > 0)
    given = [*value] if several else [value] * len(axes)
    real = all(isinstance(n, numbers.Real) and not isinstance(n, bool | np.bool_) for n in given)
    if len(given) != len(axes) or not real or not all(0 < n <= sys.maxsize for n in given):
        many = "pair" if len(axes) == 2 else "tuple"
        raise ValueError(
            f"{kind}: factor must be a whole number >= 1 or a {many} ({', '.join(axes)}), got {shown(value)}; "
            "positive floats will do, too"
        )
    return tuple(int(n) if n == int(n) else float(n) for n in given)


@layer
def upsample1d(
    factor: Factor | None = None,
    size: PerAxis | None = None,
    mode: Mode1d = "nearest",
    align_corners: bool = False,
) -> Layer:
    """y = a series with ``factor`` times as many pixels, or of a given size;  dx = each dy at the pixels it came from.

    With a whole factor f and ``"nearest"``, y[n, s, c] = x[n, s // f, c].
    It is PyTorch's ``interpolate``, and may make fewer pixels, too. Along an axis of n pixels, y has ``size`` of them
    or floor(n * factor). The step between them is n / size pixels of x, or 1 / factor, as it is with PyTorch's
    ``scale_factor`` if ``recompute_scale_factor`` is not set::

        nearest      y[s] = x[floor(s * step)], with n / size also where a factor makes n or 2n pixels
        linear       the straight line between two pixels; the centre of y[s]
                     is at (s + 0.5) * step - 0.5, that of x[i] at i

    With ``align_corners`` the centre is at s * (n - 1) / (size - 1), so that the first and the last pixel keep their
    centres. Beyond its edges x goes on with its last pixel.

    Args:
        factor: how many times as many pixels, positive: a number.
        size: the number of pixels, in place of a factor: an int.
        mode: ``"nearest"``, the default, or ``"linear"``.
        align_corners: as above, not for ``"nearest"``; False by default.

    Returns:
        A layer without parameters, from (batch, width, channels) to the same with other pixels.

    Raises:
        TypeError: ``align_corners`` is not a bool.
        ValueError: both or neither of ``factor`` and ``size`` are given, one of them is out of range, ``mode`` is
            unknown, or ``align_corners`` is True with ``"nearest"``; or, from ``init`` and ``apply``, the input is not
            a batch of series, or it or y has no pixels.

    Example:
        >>> y, vjp_fn = upsample1d(2).apply({}, np.array([1.0, 2.0]).reshape(1, 2, 1))
        >>> y.ravel()
        array([1., 1., 2., 2.])
        >>> vjp_fn(np.ones_like(y))[1].ravel()
        array([2., 2.])
        >>> upsample1d(size=3, mode="linear", align_corners=True).apply({}, y[:, 1:3])[0].ravel()
        array([1. , 1.5, 2. ])
    """
    return _upsample("upsample1d", LINE, factor, size, mode, align_corners)


@layer
def upsample2d(
    factor: Factor | None = None,
    size: PerAxis | None = None,
    mode: Mode2d = "nearest",
    align_corners: bool = False,
) -> Layer:
    """y = an image with ``factor`` times as many pixels, or of a given size;  dx = each dy at the pixels it came from.

    With a whole factor f and ``"nearest"``, y[n, r, s, c] = x[n, r // fh, s // fw, c].
    It is PyTorch's ``interpolate``, and may make fewer pixels, too. Along an axis of n pixels, y has ``size`` of them
    or floor(n * factor). The step between them is n / size pixels of x, or 1 / factor, as it is with PyTorch's
    ``scale_factor`` if ``recompute_scale_factor`` is not set::

        nearest      y[s] = x[floor(s * step)], with n / size also where a factor makes n or 2n pixels
        bilinear     along each axis, the straight line between two pixels; the centre of y[s]
                     is at (s + 0.5) * step - 0.5, that of x[i] at i
        bicubic      likewise, the cubic of four pixels, with a = -0.75

    With ``align_corners`` the centre is at s * (n - 1) / (size - 1), so that the first and the last pixel keep their
    centres. Beyond its edges x goes on with its last pixel.

    Args:
        factor: how many times as many pixels, positive: a number or a pair (height, width).
        size: the number of pixels, in place of a factor: an int or a pair (height, width).
        mode: ``"nearest"``, the default, ``"bilinear"``, also called ``"linear"``, or ``"bicubic"``.
        align_corners: as above, not for ``"nearest"``; False by default.

    Returns:
        A layer without parameters, from (batch, height, width, channels) to the same with other pixels.

    Raises:
        TypeError: ``align_corners`` is not a bool.
        ValueError: both or neither of ``factor`` and ``size`` are given, one of them is out of range, ``mode`` is
            unknown, or ``align_corners`` is True with ``"nearest"``; or, from ``init`` and ``apply``, the input is not
            a batch of images, or it or y has no pixels.

    Example:
        >>> y, vjp_fn = upsample2d((1, 2)).apply({}, np.array([1.0, 2.0]).reshape(1, 1, 2, 1))
        >>> y.ravel()
        array([1., 1., 2., 2.])
        >>> vjp_fn(np.ones_like(y))[1].ravel()
        array([2., 2.])
        >>> upsample2d(size=(1, 3), mode="bilinear", align_corners=True).apply({}, y[:, :, 1:3])[0].ravel()
        array([1. , 1.5, 2. ])

    Reference:
        Keys 1981, "Cubic convolution interpolation for digital image processing", equation 4.
    """
    return _upsample("upsample2d", FLAT, factor, size, mode, align_corners)


@layer
def upsample3d(
    factor: Factor | None = None,
    size: PerAxis | None = None,
    mode: Mode3d = "nearest",
    align_corners: bool = False,
) -> Layer:
    """y = a volume with ``factor`` times as many pixels, or of a given size;  dx = each dy at the pixels it came from.

    With a whole factor f and ``"nearest"``, y[n, q, r, s, c] = x[n, q // fd, r // fh, s // fw, c].
    It is PyTorch's ``interpolate``, and may make fewer pixels, too. Along an axis of n pixels, y has ``size`` of them
    or floor(n * factor). The step between them is n / size pixels of x, or 1 / factor, as it is with PyTorch's
    ``scale_factor`` if ``recompute_scale_factor`` is not set::

        nearest      y[s] = x[floor(s * step)], with n / size also where a factor makes n or 2n pixels
        trilinear    along each axis, the straight line between two pixels; the centre of y[s]
                     is at (s + 0.5) * step - 0.5, that of x[i] at i

    With ``align_corners`` the centre is at s * (n - 1) / (size - 1), so that the first and the last pixel keep their
    centres. Beyond its edges x goes on with its last pixel.

    Args:
        factor: how many times as many pixels, positive: a number or a triple (depth, height, width).
        size: the number of pixels, in place of a factor: an int or a triple (depth, height, width).
        mode: ``"nearest"``, the default, or ``"trilinear"``, also called ``"linear"``.
        align_corners: as above, not for ``"nearest"``; False by default.

    Returns:
        A layer without parameters, from (batch, depth, height, width, channels) to the same with other pixels.

    Raises:
        TypeError: ``align_corners`` is not a bool.
        ValueError: both or neither of ``factor`` and ``size`` are given, one of them is out of range, ``mode`` is
            unknown, or ``align_corners`` is True with ``"nearest"``; or, from ``init`` and ``apply``, the input is not
            a batch of volumes, or it or y has no pixels.

    Example:
        >>> y, vjp_fn = upsample3d((1, 1, 2)).apply({}, np.array([1.0, 2.0]).reshape(1, 1, 1, 2, 1))
        >>> y.ravel()
        array([1., 1., 2., 2.])
        >>> vjp_fn(np.ones_like(y))[1].ravel()
        array([2., 2.])
        >>> upsample3d(size=(1, 1, 3), mode="trilinear", align_corners=True).apply({}, y[:, :, :, 1:3])[0].ravel()
        array([1. , 1.5, 2. ])
    """
    return _upsample("upsample3d", SOLID, factor, size, mode, align_corners)


for constructor in (upsample1d, upsample2d, upsample3d):
    constructor.one_of = ("factor", "size")  # type: ignore[attr-defined]
