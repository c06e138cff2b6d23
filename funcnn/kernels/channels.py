"""Sums and straight lines per channel, block by block, so that each number is fetched from memory once.

An array larger than the cache costs as much to walk over as the arithmetic on it, or more. So everything that is to
be done to a part of it is done while that part is in the cache: a few rows of the axis that lies outermost in memory.
"""

from collections.abc import Iterator

import numpy as np

from funcnn.aliases import Array
from funcnn.kernels.windows import empty_like

__all__ = ["blocks", "centred_moments", "channel_sums", "merged", "scale_and_shift", "sums_and_products"]

BLOCK_BYTES = 256 * 1024
"""How much of one array is worked on at a time; three or four such blocks fit a core's second-level cache."""


def blocks(x: Array) -> Iterator[tuple[slice, ...]]:
    """Indices that cut an array along the axis outermost in memory, into parts of ``BLOCK_BYTES``.

    The channels, the last axis, are never cut: what is done per channel needs all of them in each part.

    Example:
        >>> list(blocks(np.zeros((4, 2))))
        [(slice(0, 4, None),)]
    """
    axis = max(range(x.ndim - 1), key=lambda i: (abs(x.strides[i]) if x.shape[i] > 1 else 0, -i), default=0)
    size = x.shape[axis]
    step = max(1, size * BLOCK_BYTES // max(x.nbytes, 1))
    for first in range(0, size, step):
        yield (*[slice(None)] * axis, slice(first, min(first + step, size)))


def channel_sums(x: Array) -> Array:
    """The sum of x over all axes but the last.

    Example:
        >>> channel_sums(np.ones((2, 3, 4)))
        array([6., 6., 6., 6.])
    """
    total = np.zeros(x.shape[-1], x.dtype)
    for block in blocks(x):
        total += _sum(x[block])
    return total


def sums_and_products(dy: Array, x: Array, mean: Array) -> tuple[Array, Array]:
    """The sum of dy, and that of dy * (x - mean), over all axes but the last, in one walk.

    Example:
        >>> sums_and_products(np.ones((3, 1)), np.full((3, 1), 2.0), np.array([0.5]))
        (array([3.]), array([4.5]))
    """
    sums, products = np.zeros(dy.shape[-1], dy.dtype), np.zeros(dy.shape[-1], dy.dtype)
    for block in blocks(dy):
        part = dy[block]
        sums += _sum(part)
        products += _sum_of_products(part, x[block] - mean)
    return sums, products


def centred_moments(x: Array) -> tuple[int, Array, Array]:
    """How many numbers a channel has, their mean, and the sum of their squared distances from it, in one walk.

    Each block is centred on its own mean, in the cache; means and squares of two parts are then those of both::

        n = n1 + n2     d = mean2 - mean1     mean = mean1 + d n2 / n     squares = squares1 + squares2 + d^2 n1 n2 / n

    Args:
        x: (..., channels).

    Returns:
        ``(n, mean, squares)``, the last two in float64: no precision is lost where there is little of it to lose.

    Example:
        >>> centred_moments(np.array([[1.0], [3.0]]))
        (2, array([2.]), array([2.]))

    Reference:
        Chan, Golub & LeVeque 1983, "Algorithms for computing the sample variance", equation 2.1.
    """
    moments = (0, np.zeros(x.shape[-1]), np.zeros(x.shape[-1]))
    for block in blocks(x):
        part = x[block]
        n = part.size // max(part.shape[-1], 1)
        if n:
            mean = _sum(part) / x.dtype.type(n)
            part = part - mean
            squares = _sum_of_products(part, part).astype(np.float64)
            # The mean was rounded; what is left of it tells by how much.
            rest = _sum(part).astype(np.float64) / n
            moments = merged(moments, (n, mean + rest, squares - n * np.square(rest)))
    return moments


def merged(a: tuple[int, Array, Array], b: tuple[int, Array, Array]) -> tuple[int, Array, Array]:
    """The moments of two parts together."""
    n = a[0] + b[0]
    if not n:
        return a
    apart = b[1] - a[1]
    return n, a[1] + apart * (b[0] / n), a[2] + b[2] + np.square(apart) * (a[0] * b[0] / n)


def scale_and_shift(x: Array, mean: Array, scale: Array, shift: Array, out: Array | None = None) -> Array:
    """(x - mean) * scale + shift, each of them one number for a channel.

    Example:
        >>> scale_and_shift(np.array([[3.0]]), np.array([1.0]), np.array([2.0]), np.array([0.5]))
        array([[4.5]])
    """
    y = np.subtract(x, mean, out=empty_like(x, x.shape) if out is None else out)
    y *= scale
    y += shift
    return y


def _sum(x: Array) -> Array:
    """The sum over all axes but the last; ``einsum`` is several times faster at it than ``sum``."""
    axes = list(range(x.ndim))
    total: Array = np.einsum(x, axes, axes[-1:])
    return total


def _sum_of_products(a: Array, b: Array) -> Array:
    """The sum of a * b over all axes but the last."""
    axes = list(range(a.ndim))
    total: Array = np.einsum(a, axes, b, axes, axes[-1:])
    return total
