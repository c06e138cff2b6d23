"""Adaptive pooling divides each axis into a wanted number of windows, and takes the mean or the maximum of each.

Windows of an axis differ by up to two pixels in length and may overlap by one. The axes are independent, so they are
reduced one after the other, with one operation for each window of an axis. A global pooling has one window.
"""

from functools import lru_cache
from itertools import pairwise
from typing import TypeAlias

import numpy as np

from funcnn.aliases import Array
from funcnn.engine.memory import empty_like
from funcnn.kernels.pooling import extreme_gradient
from funcnn.kernels.windows import Geometry, Sizes

__all__ = ["adaptive_max", "adaptive_max_gradient", "adaptive_mean", "adaptive_mean_gradient", "precise_mean"]

MAX_PIXELS_TO_ADD = 256
"""Pixels up to which a sum in float32 is precise: NumPy adds them one after the other."""

MAX_TAPS = 32
"""Longer windows are few, so that it is faster to look for the largest pixel of each."""

Stages: TypeAlias = list[Array]
"""An image before the first axis is reduced, between the axes, and after the last."""


def precise_mean(x: Array, axis: int) -> Array:
    """The mean over an axis, also of more numbers than float32 can add, and of numbers whose sum overflows.

    Args:
        x: an array of floats.
        axis: the axis, of at least one element.

    Returns:
        The mean, of the dtype of x, without the axis.
    """
    pixels = x.shape[axis]
    precise = np.float64 if pixels > MAX_PIXELS_TO_ADD else x.dtype.type
    try:
        with np.errstate(over="raise", invalid="ignore"):
            y = np.add.reduce(x, axis, precise)
    except FloatingPointError:  # the sum overflows, the mean does not
        return np.add.reduce(x / pixels, axis, precise).astype(x.dtype, copy=False)
    y /= pixels
    return y.astype(x.dtype, copy=False)


def adaptive_mean(x: Array, sizes: Sizes) -> Array:
    """The mean of each window.

    Args:
        x: (batch, *pixels, channels), with at least one pixel.
        sizes: how many windows each axis has.

    Returns:
        (batch, *sizes, channels).
    """
    for axis in reversed(_reduced_axes(x, sizes)):
        y = empty_like(x, _with_size(x, axis, sizes[axis - 1]))
        for window, one in _windows(axis, x.shape[axis], sizes[axis - 1]):
            y[one] = np.expand_dims(precise_mean(x[window], axis), axis)
        x = y
    return x


def adaptive_mean_gradient(dy: Array, pixels: Sizes) -> Array:
    """dx of ``adaptive_mean``: each ``dy`` divided evenly among the pixels of its window.

    Args:
        dy: like the output.
        pixels: of the input.

    Returns:
        dx: like the input.
    """
    for axis in _reduced_axes(dy, pixels):
        dx = empty_like(dy, _with_size(dy, axis, pixels[axis - 1]))
        dx[...] = 0
        for window, one in _windows(axis, pixels[axis - 1], dy.shape[axis]):
            part = dx[window]
            part += dy[one] / part.shape[axis]
        dy = dx
    return dy


def adaptive_max(x: Array, sizes: Sizes) -> Stages:
    """The largest value of each window, the last item; NaN wins over every number.

    Args:
        x: (batch, *pixels, channels), with at least one pixel.
        sizes: how many windows each axis has.

    Returns:
        What ``adaptive_max_gradient`` takes; its last item is the result, (batch, *sizes, channels).
    """
    stages = [x]
    for axis in _reduced_axes(x, sizes):
        x, y = stages[-1], empty_like(x, _with_size(stages[-1], axis, sizes[axis - 1]))
        for window, one in _windows(axis, x.shape[axis], sizes[axis - 1]):
            np.maximum.reduce(x[window], axis, keepdims=True, out=y[one])
        stages.append(y)
    return stages


def adaptive_max_gradient(stages: Stages, dy: Array) -> Array:
    """dx of ``adaptive_max``: each ``dy`` goes to the first pixel of its window that is the largest.

    The axes are reduced from the last to the first, so the first of the rows with the largest value is taken, and in it
    the first of such pixels: that is the first in the order of reading.

    Args:
        stages: what ``adaptive_max`` returned.
        dy: like its last item.

    Returns:
        dx: like the first.
    """
    for x, y in reversed([*pairwise(stages)]):
        axis = next(axis for axis in range(1, x.ndim) if x.shape[axis] != y.shape[axis])
        windows = _windows(axis, x.shape[axis], y.shape[axis])
        longest = max(window[axis].stop - window[axis].start for window, _ in windows)
        dx = empty_like(x)
        dx[...] = 0
        if longest <= MAX_TAPS:
            _add_by_taps(dx, x, y, dy, axis, longest)
        else:
            for window, one in windows:
                winner, part = np.expand_dims(x[window].argmax(axis), axis), dx[window]
                np.put_along_axis(part, winner, np.take_along_axis(part, winner, axis) + dy[one], axis)
        dy = dx
    return dy


def _add_by_taps(dx: Array, x: Array, y: Array, dy: Array, axis: int, longest: int) -> None:
    """Add the gradient of one axis to dx, with windows made equally long, side by side, by repeating their last pixel.

    A pixel that is repeated is not the first of its kind, so the copies get nothing.
    """
    windows = _windows(axis, x.shape[axis], y.shape[axis])
    taps = np.arange(longest)
    pixels = [np.minimum(window[axis].start + taps, window[axis].stop - 1) for window, _ in windows]
    tiles = x.take(np.concatenate(pixels), axis)
    size = tuple(longest if n == axis else 1 for n in range(1, x.ndim - 1))
    counts, ones = y.shape[1:-1], (1,) * len(size)
    geometry = Geometry(size, size, ones, tiles.shape[1:-1], counts, ((0, 0),) * len(size))
    gradient = extreme_gradient(tiles, y, dy, np.maximum, geometry)
    before = (slice(None),) * axis
    for number, (window, _) in enumerate(windows):
        first, part = number * longest, dx[window]
        part += gradient[(*before, slice(first, first + part.shape[axis]))]


def _reduced_axes(x: Array, sizes: Sizes) -> list[int]:
    """The axes whose size changes, from the last to the first."""
    return [axis for axis in range(len(sizes), 0, -1) if x.shape[axis] != sizes[axis - 1]]


def _with_size(x: Array, axis: int, size: int) -> Sizes:
    """The shape of x with another size of one axis."""
    return *x.shape[:axis], size, *x.shape[axis + 1 :]


@lru_cache(maxsize=256)
def _windows(axis: int, pixels: int, size: int) -> list[tuple[tuple[slice, ...], tuple[slice, ...]]]:
    """For each window of an axis the index of its pixels, and that of its place in the result.

    The first pixel is floor(i * pixels / size), and the last is before ceil((i + 1) * pixels / size).
    """
    before = (slice(None),) * axis
    return [
        ((*before, slice(i * pixels // size, -(-(i + 1) * pixels // size))), (*before, slice(i, i + 1)))
        for i in range(size)
    ]
