"""Adaptive pooling divides each axis into a wanted number of windows, and takes the mean or the maximum of each.

Windows of an axis differ by one pixel in length and may overlap by one. The axes are independent, so they are reduced
one after the other, with one operation for each window of an axis. A global pooling has one window.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from funcnn.aliases import Array
from funcnn.engine.memory import empty_like
from funcnn.kernels.windows import Sizes

__all__ = ["adaptive_max", "adaptive_max_gradient", "adaptive_mean", "adaptive_mean_gradient"]

MAX_RUN_TO_ADD, MAX_PIXELS_TO_ADD = 256, 4096
"""Pixels of an axis, and of a window, up to which a sum in float32 is precise: NumPy adds them one after the other."""


def adaptive_mean(x: Array, sizes: Sizes) -> Array:
    """The mean of each window, also of more pixels than float32 can add, and of numbers whose sum overflows.

    Args:
        x: (batch, *pixels, channels), with at least one pixel.
        sizes: how many windows each axis has.

    Returns:
        (batch, *sizes, channels).
    """
    lengths = [-(-pixels // size) for pixels, size in zip(x.shape[1:-1], sizes, strict=True)]
    precise = max(lengths) > MAX_RUN_TO_ADD or math.prod(lengths) > MAX_PIXELS_TO_ADD
    y = _reduced(x, sizes, _mean, np.float64 if precise else x.dtype)
    return y.astype(x.dtype, copy=False)


def adaptive_mean_gradient(dy: Array, pixels: Sizes) -> Array:
    """dx of ``adaptive_mean``: each ``dy`` divided evenly among the pixels of its window.

    Args:
        dy: like the output.
        pixels: of the input.

    Returns:
        dx: like the input.
    """
    for axis in reversed(_changed_axes(dy, pixels)):
        dx = empty_like(dy, _with_size(dy, axis, pixels[axis - 1]))
        dx[...] = 0
        for window, one in _windows(axis, pixels[axis - 1], dy.shape[axis]):
            part = dx[window]
            part += dy[one] / part.shape[axis]
        dy = dx
    return dy


def adaptive_max(x: Array, sizes: Sizes) -> Array:
    """The largest value of each window; NaN wins over every number.

    Args:
        x: (batch, *pixels, channels), with at least one pixel.
        sizes: how many windows each axis has.

    Returns:
        (batch, *sizes, channels).
    """
    return _reduced(x, sizes, _largest, x.dtype)


def adaptive_max_gradient(x: Array, y: Array, dy: Array) -> Array:
    """dx of ``adaptive_max``: each ``dy`` goes to the first pixel of its window that equals ``y``.

    Windows are made equally long, by repeating their last pixel, and lie side by side. So all are compared at once. A
    pixel that is repeated is not the first of its kind, so the copies get nothing.

    Args:
        x: the input.
        y: the output.
        dy: like ``y``.

    Returns:
        dx: like ``x``.
    """
    batch, channels, rank = len(x), x.shape[-1], x.ndim - 2
    tiling = _tiling(x.shape[1:-1], y.shape[1:-1])
    image_pixels, windows, tiles = math.prod(x.shape[1:-1]), math.prod(y.shape[1:-1]), len(tiling.pixels)
    tiled = x.reshape(batch, image_pixels, channels)
    if tiles > image_pixels:
        tiled = tiled.take(tiling.pixels, 1)
    tiled = tiled.reshape(batch, *tiling.shape, channels)
    best = np.expand_dims(y, tuple(range(2, 2 * rank + 1, 2)))
    equal = np.equal(tiled, best, order="C")
    if np.isnan(best).any():
        equal |= np.isnan(tiled) & np.isnan(best)
    place, channel = np.divmod(np.flatnonzero(equal), channels)
    image, place = np.divmod(place, tiles)
    won = np.empty(y.size, np.intp)
    # In reverse, so that the first of those that tie is written last.
    by = (image * windows + tiling.windows[place]) * channels + channel
    won[by[::-1]] = ((image * image_pixels + tiling.pixels[place]) * channels + channel)[::-1]
    dx = np.zeros(x.shape, dy.dtype)
    np.add.at(dx.reshape(-1), won, dy.ravel())
    return dx


class _Tiling(NamedTuple):
    """Windows of the same length, side by side, so that none overlap.

    Args:
        shape: (windows, pixels of a window) for each axis.
        pixels: which pixel of the image is at each place.
        windows: which window each place is in.
    """

    shape: Sizes
    pixels: Array
    windows: Array


@lru_cache(maxsize=8)
def _tiling(pixels: Sizes, sizes: Sizes) -> _Tiling:
    """The tiling of an image of this size by that many windows."""
    along = [_equally_long(*lengths) for lengths in zip(pixels, sizes, strict=True)]
    numbers = [np.repeat(np.arange(len(places)), places.shape[1]) for places in along]
    return _Tiling(
        tuple(n for places in along for n in places.shape),
        np.arange(math.prod(pixels)).reshape(pixels)[np.ix_(*(places.ravel() for places in along))].ravel(),
        np.arange(math.prod(sizes)).reshape(sizes)[np.ix_(*numbers)].ravel(),
    )


def _mean(x: Array, axis: int, out: Array) -> None:
    """The mean over an axis, which stays with size 1; computed in the dtype of ``out``."""
    pixels = x.shape[axis]
    try:
        with np.errstate(over="raise", invalid="ignore"):
            np.add.reduce(x, axis, out.dtype, out=out, keepdims=True)
        out /= pixels
    except FloatingPointError:  # the sum overflows, the mean does not
        np.add.reduce(x / pixels, axis, out.dtype, out=out, keepdims=True)


def _largest(x: Array, axis: int, out: Array) -> None:
    """The largest value along an axis, which stays with size 1."""
    np.maximum.reduce(x, axis, out=out, keepdims=True)


def _reduced(x: Array, sizes: Sizes, reduce: Callable[[Array, int, Array], None], dtype: Any) -> Array:
    """Each axis whose size changes, reduced; the first axis first, where a slice is made of the longest runs."""
    dtype = np.dtype(dtype).newbyteorder("=")
    for axis in _changed_axes(x, sizes):
        y = empty_like(x, _with_size(x, axis, sizes[axis - 1]), dtype)
        for window, one in _windows(axis, x.shape[axis], sizes[axis - 1]):
            reduce(x[window], axis, y[one])
        x = y
    return x


def _changed_axes(x: Array, sizes: Sizes) -> list[int]:
    """The axes whose size changes."""
    return [axis for axis, size in enumerate(sizes, 1) if x.shape[axis] != size]


def _with_size(x: Array, axis: int, size: int) -> Sizes:
    """The shape of x with another size of one axis."""
    return *x.shape[:axis], size, *x.shape[axis + 1 :]


@lru_cache(maxsize=256)
def _windows(axis: int, pixels: int, size: int) -> list[tuple[tuple[slice, ...], tuple[slice, ...]]]:
    """For each window of an axis the index of its pixels, and that of its place in the result."""
    before = (slice(None),) * axis
    return [
        ((*before, slice(first, last)), (*before, slice(i, i + 1)))
        for i, (first, last) in enumerate(_bounds(pixels, size))
    ]


def _bounds(pixels: int, size: int) -> list[tuple[int, int]]:
    """Windows begin at floor(i * pixels / size) and end before ceil((i + 1) * pixels / size)."""
    return [(i * pixels // size, -(-(i + 1) * pixels // size)) for i in range(size)]


def _equally_long(pixels: int, size: int) -> Array:
    """The pixels of each window of an axis, its last one repeated to the length of the longest: (size, longest)."""
    first, last = np.array(_bounds(pixels, size)).T[..., None]
    places: Array = np.minimum(first + np.arange((last - first).max()), last - 1)
    return places
