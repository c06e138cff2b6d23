"""Lp pooling summarises each window by (Σ x^p)^(1/p), between the sum, p = 1, and the maximum, p -> infinity.

Powers of pixels overflow long before the result does, so the pixels of a window are divided by the largest of them.
The gradient is made of ratios of a pixel and the output, and needs no large power either.
"""

from functools import reduce
from itertools import repeat

import numpy as np

from funcnn.aliases import Array
from funcnn.engine.memory import empty_like
from funcnn.kernels.padding import pad, unpad
from funcnn.kernels.pooling import extreme_pool
from funcnn.kernels.selection import multiplied, select
from funcnn.kernels.windows import Geometry

__all__ = ["lp_gradient", "lp_pool"]

MAX_FACTORS = 8
"""The whole power up to which products take its place."""


def lp_pool(x: Array, p: float, geometry: Geometry) -> Array:
    """(Σ x^p)^(1/p) over each window; x^p has the sign of x if p is odd, and is |x|^p otherwise.

    Args:
        x: (batch, *pixels, channels).
        p: any positive number.
        geometry: the windows on x; the padding is 0.

    Returns:
        (batch, *counts, channels); the root has the sign of the sum.
    """
    scale = extreme_pool(np.abs(x), np.maximum, geometry)
    np.minimum(scale, np.finfo(x.dtype).max, out=scale)  # an infinite pixel stays infinite beside it
    scale[scale == 0] = 1
    image, total, ratio = pad(x, geometry.padding), np.zeros_like(scale), empty_like(scale)
    with np.errstate(over="ignore", invalid="ignore"):  # y may be too large, and inf - inf is NaN
        for tap in geometry.taps():
            np.divide(image[tap], scale, out=ratio)
            total += _power(ratio, p)
        root = np.sqrt(total) if p == 2 else np.copysign(np.abs(total) ** (1 / p), total)
        root *= scale
    return root


def lp_gradient(x: Array, y: Array, dy: Array, p: float, geometry: Geometry) -> Array:
    """dx of ``lp_pool``: dy (x / y)^(p - 1), with the sign of x unless p is odd; 0 where y is 0.

    Args:
        x: the input.
        y: the output.
        dy: like ``y``.
        p: as in ``lp_pool``.
        geometry: as in ``lp_pool``.

    Returns:
        dx: like ``x``.
    """
    image = pad(x, geometry.padding)
    dx, ratio = np.zeros_like(image), empty_like(y)
    dy, size = select(dy, y != 0, empty_like(y)), np.where(y == 0, 1, np.abs(y))
    with np.errstate(all="ignore"):  # where a sum of both signs cancels, the gradient may be too large
        for tap in geometry.taps():
            np.divide(image[tap], size, out=ratio)
            if p % 1 == 0:
                factor = _power(ratio, p - 1)  # it is negative if p - 1 is odd and x negative
            else:
                factor = np.copysign(np.abs(ratio) ** (p - 1), ratio)
                if p < 1:  # |x|^p has a cusp at 0, whose slopes cancel
                    factor[ratio == 0] = 0
            dx[tap] += multiplied(dy, [factor])
    return unpad(dx, geometry.padding)


def _power(x: Array, p: float) -> Array:
    """x^p, with the sign of x if p is odd, and |x|^p otherwise; a few products are much faster than a power."""
    if p % 1 == 0 and p <= MAX_FACTORS:
        return reduce(np.multiply, repeat(x, int(p)))
    power: Array = np.abs(x) ** p
    return np.copysign(power, x) if p % 2 == 1 else power
