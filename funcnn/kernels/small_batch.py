"""Convolution of a few images: a batch of one would make runs of one, so here the channels stay innermost in memory.

The buffer is (n, d_out, w_out, h, kd*kw*c). There too the rows of a window follow each other, and all windows of an
output row are the matrix of a product that BLAS need not copy first. If the kernel is too large for that, all windows
are copied out for a single product.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from funcnn.aliases import Array
from funcnn.engine.memory import empty
from funcnn.kernels.buffers import strided
from funcnn.kernels.epilogue import Epilogue, finish
from funcnn.kernels.padding import pad
from funcnn.kernels.tuning import Tuning
from funcnn.kernels.windows import Geometry, Sizes

__all__ = ["convolve_small_batch"]


def convolve_small_batch(x: Array, w: Array, geometry: Geometry, epilogue: Epilogue, tuning: Tuning) -> Array:
    """As ``convolve`` with one group, on volumes.

    Args:
        x: (batch, depth, height, width, channels).
        w: (kd, kh, kw, channels, filters).
        geometry: the windows on x.
        epilogue: what is done to y.
        tuning: the tuning constants.

    Returns:
        y: (batch, *counts, filters).
    """
    image, filters = np.ascontiguousarray(pad(x, geometry.padding)), w.shape[-1]
    plan = _plan(geometry, image.shape, filters, image.itemsize, tuning)
    buffer = empty(plan.buffer, x.dtype)
    buffer[...] = strided(image, plan.buffer, plan.source)
    windows = strided(buffer, plan.windows, plan.steps)
    matrix = w.transpose(1, 0, 2, 3, 4).reshape(-1, filters)
    y = empty((*plan.windows[:-1], filters), x.dtype)
    np.matmul(windows, matrix, out=y)
    finish(y.reshape(-1, filters, 1), epilogue, tuning)
    return y if plan.overlapping else y.reshape(len(x), *geometry.counts, filters)


class _Plan(NamedTuple):
    """How windows are laid out; steps are in bytes.

    Args:
        overlapping: whether the windows of two output rows overlap in the buffer.
        buffer: its shape.
        source: the steps on the image that fill it.
        windows: the shape of the windows, kh*kd*kw*c in the end.
        steps: the steps on the buffer that give them.
    """

    overlapping: bool
    buffer: Sizes
    source: Sizes
    windows: Sizes
    steps: Sizes


@lru_cache(maxsize=256)
def _plan(geometry: Geometry, image: Sizes, filters: int, itemsize: int, tuning: Tuning) -> _Plan:
    """How the windows of a padded image of this shape are laid out: it depends on sizes only."""
    multiplications = math.prod(geometry.size) * image[4] * filters * geometry.counts[2]
    if geometry.dilation[1] == 1 and multiplications <= tuning.small_product_max:
        return _overlapping(geometry, image, itemsize)
    return _copied(geometry, image, itemsize)


def _overlapping(geometry: Geometry, image: Sizes, itemsize: int) -> _Plan:
    """The buffer (n, d_out, w_out, h, kd*kw*c); the windows of an output row begin ``stride`` rows after the last."""
    (n, _, rows, _, c), (depth, height, width), (kd, kh, kw) = image, geometry.counts, geometry.size
    (window_d, _, window_w), (tap_d, _, tap_w) = _distances(geometry, image, itemsize)
    by_image, _, by_row, _, by_channel = _steps(image, itemsize)
    buffer = n, depth, width, rows, kd, kw, c
    source = by_image, window_d, window_w, by_row, tap_d, tap_w, by_channel
    by_image, by_plane, by_column, by_row, *_ = _steps(buffer, itemsize)
    steps = by_image, by_plane, by_row * geometry.stride[1], by_column, itemsize
    return _Plan(True, buffer, source, (n, depth, height, width, kh * kd * kw * c), steps)


def _copied(geometry: Geometry, image: Sizes, itemsize: int) -> _Plan:
    """The buffer (n, d_out, h_out, w_out, kh*kd*kw*c), in which each window has its own copies."""
    (kd, kh, kw), windows, taps = geometry.size, image[0] * math.prod(geometry.counts), math.prod(geometry.size)
    by_window, (tap_d, tap_h, tap_w) = _distances(geometry, image, itemsize)
    by_image, *_, by_channel = _steps(image, itemsize)
    buffer = image[0], *geometry.counts, kh, kd, kw, image[4]
    source = by_image, *by_window, tap_h, tap_d, tap_w, by_channel
    return _Plan(False, buffer, source, (windows, taps * image[4]), (taps * image[4] * itemsize, itemsize))


def _distances(geometry: Geometry, image: Sizes, itemsize: int) -> tuple[Sizes, Sizes]:
    """The bytes from one window to the next along depth, height and width, and those from one tap to the next."""
    by_pixel = _steps(image, itemsize)[1:4]
    by_window = tuple(step * stride for step, stride in zip(by_pixel, geometry.stride, strict=True))
    return by_window, tuple(step * dilation for step, dilation in zip(by_pixel, geometry.dilation, strict=True))


def _steps(shape: Sizes, itemsize: int) -> Sizes:
    """The bytes from one element to the next along each axis of an array without gaps."""
    return tuple(itemsize * math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
