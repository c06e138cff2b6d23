"""Pooling summarises each window by its largest or smallest value, its sum or its mean: one array operation per tap.

In the backward pass an extreme's gradient goes to the pixel that won, the first one where several tie, so that the sum
of the gradient is kept; a sum's goes to every pixel, and a mean's is divided evenly. The gradients of windows that
overlap are added. NaN wins over every number, and padding never wins.
"""

import math
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from funcnn.aliases import Array
from funcnn.engine.memory import axes_in_memory, empty_like
from funcnn.kernels.implementations import accelerated
from funcnn.kernels.padding import pad, unpad
from funcnn.kernels.selection import BITS
from funcnn.kernels.tuning import TUNING, Tuning
from funcnn.kernels.windows import Geometry, Padding, Sizes

__all__ = [
    "extreme_gradient", "extreme_pool", "extreme_pooling", "mean_gradient", "mean_pool", "sum_gradient", "sum_pool",
]  # fmt: skip

Index: TypeAlias = tuple[slice, ...]
Equality: TypeAlias = Callable[[Array, Index, Index], Array]


@accelerated
def extreme_pooling(x: Array, pick: np.ufunc, geometry: Geometry) -> tuple[Array, Callable[[Array], Array]]:
    """``extreme_pool`` and its backward pass, for an implementation that keeps something else than x and y.

    Args:
        x: (batch, *pixels, channels).
        pick: as in ``extreme_pool``.
        geometry: as in ``extreme_pool``.

    Returns:
        ``(y, pull)`` with ``pull(dy) -> dx``.
    """
    y = extreme_pool(x, pick, geometry)
    return y, lambda dy: extreme_gradient(x, y, dy, pick, geometry)


def extreme_pool(x: Array, pick: np.ufunc, geometry: Geometry) -> Array:
    """The value of each window that ``np.maximum`` or ``np.minimum`` picks.

    Args:
        x: (batch, *pixels, channels).
        pick: ``np.maximum`` or ``np.minimum``.
        geometry: the windows on x; pixels of the padding are never picked.

    Returns:
        (batch, *counts, channels).
    """
    return _reduced(pad(x, geometry.padding, _loser(pick)), pick, geometry)


def extreme_gradient(
    x: Array, y: Array, dy: Array, pick: np.ufunc, geometry: Geometry, tuning: Tuning = TUNING
) -> Array:
    """dx of ``extreme_pool``: each ``dy`` goes to the first pixel of its window that equals ``y``.

    Args:
        x: the input.
        y: the output.
        dy: like ``y``.
        pick: as in ``extreme_pool``.
        geometry: as in ``extreme_pool``.
        tuning: the tuning constants.

    Returns:
        dx: like ``x``.
    """
    image, dx = pad(x, geometry.padding, _loser(pick)), _empty_or_zeros(x, geometry)
    for rows in _row_blocks(y, tuning):
        equal = _equality(y[rows], pick, geometry)
        for tap, won in _won(image, dy, equal, geometry, rows):
            _put(dx[tap][rows], won, _cover(geometry).apart)
    return unpad(dx, geometry.padding)


def sum_pool(x: Array, geometry: Geometry) -> Array:
    """The sum of each window's pixels.

    Args:
        x: (batch, *pixels, channels).
        geometry: the windows on x.

    Returns:
        (batch, *counts, channels).
    """
    with np.errstate(over="ignore", invalid="ignore"):  # a sum that is too large is infinite, and inf - inf is NaN
        return _reduced(pad(x, geometry.padding), np.add, geometry)


def sum_gradient(x: Array, dy: Array, geometry: Geometry) -> Array:
    """dx of ``sum_pool``: each pixel gets the ``dy`` of all windows that it is in.

    Args:
        x: the input.
        dy: like the output.
        geometry: as in ``sum_pool``.

    Returns:
        dx: like ``x``.
    """
    dx, apart = _empty_or_zeros(x, geometry), _cover(geometry).apart
    for tap in geometry.taps():
        _put(dx[tap], dy, apart)
    return unpad(dx, geometry.padding)


@accelerated
def mean_pool(x: Array, geometry: Geometry, counted: Padding) -> Array:
    """The mean of each window's pixels.

    Args:
        x: (batch, *pixels, channels).
        geometry: the windows on x.
        counted: how much of the padding counts as pixels, which are 0.

    Returns:
        (batch, *counts, channels).
    """
    pixels, size = _pixels(geometry, counted, x.dtype), math.prod(geometry.size)
    try:
        with np.errstate(over="raise", invalid="ignore"):
            y = _reduced(pad(x, geometry.padding), np.add, geometry)
    except FloatingPointError:  # the sum overflows, the mean does not
        y, pixels = _reduced(pad(x / size, geometry.padding), np.add, geometry), pixels / size
    y /= pixels
    return y


@accelerated
def mean_gradient(x: Array, dy: Array, geometry: Geometry, counted: Padding) -> Array:
    """dx of ``mean_pool``: each ``dy`` divided evenly among the pixels of its window.

    Args:
        x: the input.
        dy: like the output.
        geometry: as in ``mean_pool``.
        counted: as in ``mean_pool``.

    Returns:
        dx: like ``x``.
    """
    each = np.divide(dy, _pixels(geometry, counted, dy.dtype), out=empty_like(x, dy.shape))
    return sum_gradient(x, each, geometry)


class _Cover(NamedTuple):
    """How windows cover the padded image.

    Args:
        pixels: the size of the padded image.
        apart: whether no two windows overlap.
        tiled: whether each pixel is in exactly one window.
    """

    pixels: Sizes
    apart: bool
    tiled: bool


def _reduced(image: Array, combine: np.ufunc, geometry: Geometry) -> Array:
    """All pixels of each window combined, one axis after the other, in new memory.

    The outermost axis in memory comes first: there a slice is made of the longest runs, and what is left for the next
    axis is smaller by the stride.
    """
    for axis in _pixel_axes(image):
        before = (slice(None),) * axis
        first, *others = [image[(*before, pixels)] for pixels in geometry.along(axis - 1)]
        image = first
        for tap in others:
            image = combine(image, tap, out=None if image is first else image)
    return image.copy(order="K") if max(geometry.size) == 1 else image


def _won(image: Array, dy: Array, equal: Equality, geometry: Geometry, rows: Index) -> Iterator[tuple[Index, Array]]:
    """For each tap its index, and dy in some rows where it is the first that equals the best, else 0."""
    *others, last = geometry.taps()
    remaining, seen, won = (empty_like(image, dy[rows].shape) for _ in range(3))
    remaining[...] = dy[rows]
    # An infinity times 0, or less itself, would be NaN. The bits of a number times 0 or 1 are 0 or the same bits, and
    # the exclusive or of the same bits is 0.
    remaining_bits, won_bits = (array.view(BITS[dy.itemsize]) for array in (remaining, won))
    for tap in others:
        # Arithmetic on short runs and on mixed dtypes is slow, copying either is not.
        seen[...] = image[tap][rows]
        won_bits[...] = equal(seen, tap, rows)
        won_bits *= remaining_bits
        remaining_bits ^= won_bits
        yield tap, won
    # One tap has won in each window: what remains is that of the last.
    yield last, remaining


def _equality(best: Array, pick: np.ufunc, geometry: Geometry) -> Equality:
    """``equal(seen, tap, rows)``: whether the pixels of a tap equal the best of their windows, in these rows."""
    loser = _loser(pick)
    worst = (np.minimum if pick is np.maximum else np.maximum).reduce(best, axis=None, initial=-loser)
    if worst != loser and not np.isnan(worst):
        return lambda seen, tap, rows: seen == best
    # NaN is not equal to itself, and a padding of infinities equals a window of them.
    nan = np.isnan(best)
    on_image = pad(np.ones((1, *geometry.pixels, 1), bool), geometry.padding)
    return lambda seen, tap, rows: ((seen == best) | (nan & np.isnan(seen))) & on_image[tap][rows]


def _loser(pick: np.ufunc) -> float:
    """The value that loses against every other."""
    return -np.inf if pick is np.maximum else np.inf


def _pixels(geometry: Geometry, counted: Padding, dtype: Any) -> Array:
    """How many pixels of the image and of the padding that counts each window holds: (*counts, 1)."""
    total = np.ones(1, dtype)
    for axis, pixels in reversed(list(enumerate(geometry.pixels))):
        low, high = counted[axis]
        first = np.arange(geometry.counts[axis]) * geometry.stride[axis] - geometry.padding[axis][0]
        along = np.minimum(first + geometry.size[axis], pixels + high) - np.maximum(first, -low)
        total = along.astype(dtype).reshape(-1, *(1,) * total.ndim) * total
    return total


@lru_cache(maxsize=256)
def _cover(geometry: Geometry) -> _Cover:
    """How the windows cover the padded image."""
    padded = tuple(n + low + high for n, (low, high) in zip(geometry.pixels, geometry.padding, strict=True))
    tiles = tuple(size * count for size, count in zip(geometry.effective_size, geometry.counts, strict=True))
    apart = all(step >= size for step, size in zip(geometry.stride, geometry.effective_size, strict=True))
    return _Cover(padded, apart, geometry.stride == geometry.size == geometry.effective_size and padded == tiles)


def _empty_or_zeros(x: Array, geometry: Geometry) -> Array:
    """A new array like the padded x: of zeros, or of any content where every pixel will be written to."""
    padded, _, tiled = _cover(geometry)
    dx = empty_like(x, (len(x), *padded, x.shape[-1]))
    if not tiled:
        dx[...] = 0
    return dx


def _put(target: Array, values: Array, apart: bool) -> None:
    """Write the gradients of one tap, or add them where windows overlap."""
    if apart:
        target[...] = values
    else:
        target += values


def _pixel_axes(image: Array) -> list[int]:
    """The axes of pixels from the outermost in memory to the innermost."""
    return [axis for axis in axes_in_memory(image) if 0 < axis < image.ndim - 1]


def _row_blocks(y: Array, tuning: Tuning) -> Iterator[Index]:
    """Rows of images, as many at a time as the cache holds while three or four arrays of that size are worked on."""
    axis = _pixel_axes(y)[0]
    step = max(1, y.shape[axis] * tuning.block_bytes // max(y.nbytes, 1))
    for first in range(0, y.shape[axis], step):
        yield *(slice(None),) * axis, slice(first, first + step)
