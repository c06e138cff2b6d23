"""Convolution of a few images: a batch of one would make runs of one, so here the channels stay innermost in memory.

The buffer is (n, d_out, w_out, h, kd*kw*c). There too the rows of a window follow each other, and all windows of an
output row are the matrix of a product that BLAS need not copy first. If the kernel is too large for that, all windows
are copied out for a single product.
"""

import math

import numpy as np

from funcnn.aliases import Array
from funcnn.engine.memory import aligned, empty
from funcnn.kernels.buffers import strided
from funcnn.kernels.epilogue import Epilogue, finish
from funcnn.kernels.padding import pad
from funcnn.kernels.tuning import Tuning
from funcnn.kernels.windows import Geometry

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
    matrix = w.transpose(1, 0, 2, 3, 4).reshape(-1, filters)
    if geometry.dilation[1] == 1 and matrix.size * geometry.counts[2] <= tuning.small_product_max:
        windows, matrix = _overlapping(image, geometry), aligned(matrix)
    else:
        windows = _copied(image, geometry)
    y = empty((*windows.shape[:-1], filters), x.dtype)
    np.matmul(windows, matrix, out=y)
    finish(y.reshape(-1, filters, 1), epilogue, tuning)
    return y if y.ndim == 5 else y.reshape(len(x), *geometry.counts, filters)


def _overlapping(image: Array, geometry: Geometry) -> Array:
    """The windows as (n, d_out, h_out, w_out, kh*kd*kw*c): a view of a buffer in which those of two rows overlap."""
    (kd, kh, kw), (depth, _, width) = geometry.size, geometry.counts
    (by_image, _, by_row, _, by_channel), by_window, by_tap = image.strides, *_steps(image, geometry)
    buffer = empty((len(image), depth, width, image.shape[2], kd, kw, image.shape[4]), image.dtype)
    steps = by_image, by_window[0], by_window[2], by_row, by_tap[0], by_tap[2], by_channel
    buffer[...] = strided(image, buffer.shape, steps)
    by_image, by_plane, by_column, by_row, *_ = buffer.strides
    shape = len(image), *geometry.counts, kh * kd * kw * image.shape[4]
    return strided(buffer, shape, (by_image, by_plane, by_row * geometry.stride[1], by_column, image.itemsize))


def _copied(image: Array, geometry: Geometry) -> Array:
    """The windows as (n * d_out * h_out * w_out, kh*kd*kw*c), each of them copied out."""
    (kd, kh, kw), by_window, by_tap = geometry.size, *_steps(image, geometry)
    shape = len(image), *geometry.counts, kh, kd, kw, image.shape[4]
    steps = image.strides[0], *by_window, by_tap[1], by_tap[0], by_tap[2], image.strides[4]
    windows = empty((math.prod(shape[:4]), math.prod(shape[4:])), image.dtype)
    windows.reshape(shape)[...] = strided(image, shape, steps)
    return windows


def _steps(image: Array, geometry: Geometry) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """The bytes from one window to the next along depth, height and width, and those from one tap to the next."""
    (_, plane, row, column, _), (sd, sh, sw), (dd, dh, dw) = image.strides, geometry.stride, geometry.dilation
    return (plane * sd, row * sh, column * sw), (plane * dd, row * dh, column * dw)
