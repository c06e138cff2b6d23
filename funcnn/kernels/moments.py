"""Sums and straight lines per channel, block by block, so that each number is fetched from memory once.

An array larger than the cache costs as much to walk over as the arithmetic on it, or more. So everything that is to
be done to a part of it is done while that part is in the cache. An array is seen as its memory lies, as *planes*::

    (outer, channels, inner)      images, whose memory is (h, c, w, n):  (h, c, w * n)      rows (n, c):  (n, c, 1)
"""

import math
from collections.abc import Iterator

import numpy as np

from funcnn.aliases import Array
from funcnn.engine.memory import axes_in_memory, empty

__all__ = [
    "blocks",
    "centred_moments",
    "channel_sums",
    "each",
    "line",
    "merged",
    "planes",
    "sums_and_products",
    "widened",
]

BLOCK_BYTES = 512 * 1024
"""How much of one array is worked on at a time; three or four such blocks are about a second-level cache."""

WIDE = 1024
"""Numbers in a run that is long enough."""

SHORT = 16
"""A product of runs shorter than that is left to ``einsum``, which does not call BLAS for each."""


def planes(x: Array, like: Array | None = None) -> Array:
    """x as (outer, channels, inner): the axes that lie outside the channels in memory, and those inside.

    Args:
        x: (..., channels).
        like: an array of the same shape in whose order the axes are taken; ``x`` itself by default.

    Returns:
        A view, unless axes that come together lie apart in the memory of ``x``; then a copy.

    Example:
        >>> planes(np.zeros((2, 3, 4, 5)).transpose(0, 2, 3, 1)).shape
        (2, 3, 20)
    """
    order = axes_in_memory(x if like is None else like)
    middle = order.index(x.ndim - 1)
    sizes = [x.shape[axis] for axis in order]
    return x.transpose(order).reshape(math.prod(sizes[:middle]), sizes[middle], math.prod(sizes[middle + 1 :]))


def blocks(x: Array) -> Iterator[slice]:
    """Slices that cut planes into parts of ``BLOCK_BYTES``; what is done per channel needs all channels in each part.

    Example:
        >>> list(blocks(np.zeros((4, 2, 1))))
        [slice(0, 4, None)]
    """
    step = max(1, len(x) * BLOCK_BYTES // max(x.nbytes, 1))
    return (slice(first, min(first + step, len(x))) for first in range(0, len(x), step))


def channel_sums(x: Array) -> Array:
    """The sum of x over all axes but the last.

    Example:
        >>> channel_sums(np.ones((2, 3, 4)))
        array([6., 6., 6., 6.])
    """
    x = planes(x)
    total = np.zeros(x.shape[1], x.dtype)
    for block in blocks(x):
        total += _sum(x[block])
    return total


def sums_and_products(dy: Array, x: Array, mean: Array) -> tuple[Array, Array]:
    """The sum of dy, and that of dy * (x - mean), over all planes, in one walk.

    Args:
        dy: planes.
        x: planes.
        mean: one number for a channel.

    Example:
        >>> sums_and_products(np.ones((3, 1, 1)), np.full((3, 1, 1), 2.0), np.array([0.5]))
        (array([3.]), array([4.5]))
    """
    sums, products = np.zeros(dy.shape[1], dy.dtype), np.zeros(dy.shape[1], dy.dtype)
    for block in blocks(dy):
        part = dy[block]
        sums += _sum(part)
        products += _sum_of_products(part, np.subtract(x[block], each(mean), out=empty(part.shape, part.dtype)))
    return sums, products


def centred_moments(x: Array) -> tuple[int, Array, Array]:
    """How many numbers a channel has, their mean, and the sum of their squared distances from it, in one walk.

    Each block is centred on its own mean, in the cache; means and squares of two parts are then those of both::

        n = n1 + n2     d = mean2 - mean1     mean = mean1 + d n2 / n     squares = squares1 + squares2 + d^2 n1 n2 / n

    Args:
        x: planes.

    Returns:
        ``(n, mean, squares)``, the last two in float64: no precision is lost where there is little of it to lose.

    Example:
        >>> centred_moments(np.array([[[1.0]], [[3.0]]]))
        (2, array([2.]), array([2.]))

    Reference:
        Chan, Golub & LeVeque 1983, "Algorithms for computing the sample variance", equation 2.1.
    """
    moments = (0, np.zeros(x.shape[1]), np.zeros(x.shape[1]))
    for block in blocks(x):
        part = x[block]
        n = part.size // max(part.shape[1], 1)
        if n:
            mean = _sum(part) / x.dtype.type(n)
            part = np.subtract(part, each(mean), out=empty(part.shape, part.dtype))
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


def line(x: Array, mean: Array, scale: Array, shift: Array, out: Array) -> Array:
    """(x - mean) * scale + shift for planes, each of them one number for a channel.

    Example:
        >>> x = np.array([[[3.0]]])
        >>> line(x, np.array([1.0]), np.array([2.0]), np.array([0.5]), out=np.empty_like(x))
        array([[[4.5]]])
    """
    wide, mean, scale, shift = widened(x, mean, scale, shift)
    y = np.subtract(wide, mean, out=out.reshape(wide.shape))
    y *= scale
    y += shift
    return out


def widened(x: Array, *numbers: Array) -> tuple[Array, ...]:
    """Planes and, to go with them, one number for a channel each.

    Channels that lie innermost are short runs, so the channels of several pixels are taken side by side.

    Args:
        x: planes.
        *numbers: arrays of one number for a channel.

    Returns:
        A view of ``x``, or ``x`` itself if it has gaps or long runs, and the numbers in the shape that fits it.

    Example:
        >>> x, numbers = widened(np.zeros((4, 2, 1)), np.array([1.0, 2.0]))
        >>> x.shape, numbers.ravel()
        ((1, 8, 1), array([1., 2., 1., 2., 1., 2., 1., 2.]))
    """
    outer, channels, inner = x.shape
    # A power of two: most images have that many pixels, or a few times it.
    times = math.gcd(outer, 1 << max(1, WIDE // max(channels, 1)).bit_length() - 1)
    if inner != 1 or times <= 1 or not x.flags.c_contiguous:
        return x, *map(each, numbers)
    return x.reshape(outer // times, times * channels, 1), *(
        each(n[None].repeat(times, 0).reshape(-1)) for n in numbers
    )


def each(numbers: Array) -> Array:
    """One number for a channel, to go with planes."""
    return numbers[:, None]


def _sum(x: Array) -> Array:
    """The sum over planes; ``einsum`` is several times faster at it than ``sum``."""
    total: Array = np.einsum("oci->c", x)
    return total


def _sum_of_products(a: Array, b: Array) -> Array:
    """The sum of a * b over planes."""
    total: Array = np.einsum("oci,oci->c", a, b) if a.shape[2] < SHORT else np.vecdot(a, b).sum(0)
    return total
