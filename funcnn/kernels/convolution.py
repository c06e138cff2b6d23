"""Convolution and its two gradients, for images of one to three axes: each is a product of windows with a matrix.

``buffers`` lays the windows out. The kernel's gradient is a product of the same windows with ``dy``. The input's
gradient is, for stride 1, again a convolution: of ``dy`` with the kernel turned by 180 degrees and its two channel axes
swapped. With a stride, or where x is much larger than dy, ``scatter`` multiplies each pixel of dy once and adds up.

An image of one or two axes is a volume of depth 1, or of depth and height 1, so there is one code for all.
"""

import math
from functools import lru_cache

import numpy as np

from funcnn.aliases import Array
from funcnn.engine.memory import empty
from funcnn.kernels.buffers import window_parts
from funcnn.kernels.epilogue import NO_EPILOGUE, Epilogue, finish
from funcnn.kernels.implementations import accelerated
from funcnn.kernels.layout import as_image, as_volume, batch_first, batch_innermost
from funcnn.kernels.scatter import scattered_gradient
from funcnn.kernels.small_batch import convolve_small_batch
from funcnn.kernels.tuning import TUNING, Tuning
from funcnn.kernels.windows import Geometry

__all__ = ["convolve", "input_gradient", "kernel_gradient"]


@accelerated
def convolve(
    x: Array, w: Array, geometry: Geometry, groups: int = 1, epilogue: Epilogue = NO_EPILOGUE, tuning: Tuning = TUNING
) -> Array:
    """y[n, r, f] = sum over i, c of x[n, r*stride + i*dilation, c] * w[i, c, f], with r and i one number for each axis.

    Args:
        x: (batch, *pixels, channels).
        w: (*size, channels / groups, filters).
        geometry: the windows on x.
        groups: filters of group g see the channels of group g only.
        epilogue: what is done to y, part by part, while that is in the cache.
        tuning: the tuning constants.

    Returns:
        y: (batch, *counts, filters).
    """
    rank = len(geometry.size)
    geometry, kernel = geometry.as_volume(), w[(None,) * (3 - rank)]
    if groups == 1 and len(x) <= tuning.small_batch_max:
        return as_image(convolve_small_batch(as_volume(x), kernel, geometry, epilogue, tuning), rank)
    return batch_first(_convolve(batch_innermost(x), kernel, geometry, groups, epilogue, tuning), rank)


@accelerated
def kernel_gradient(x: Array, dy: Array, geometry: Geometry, groups: int = 1, tuning: Tuning = TUNING) -> Array:
    """dw[i, c, f] = sum over n, r of x[n, r*stride + i*dilation, c] * dy[n, r, f].

    Args:
        x: (batch, *pixels, channels).
        dy: (batch, *counts, filters).
        geometry: as in ``convolve``.
        groups: as in ``convolve``.
        tuning: the tuning constants.

    Returns:
        dw: (*size, channels / groups, filters).
    """
    channels, share, (kd, kh, kw) = x.shape[-1] // groups, dy.shape[-1] // groups, geometry.as_volume().size
    rows = batch_innermost(dy)
    rows = rows.reshape(len(rows), groups, share, rows[0, 0].size).transpose(1, 0, 3, 2)
    dw = np.zeros((groups, kh * kd * kw * channels, share), dy.dtype)
    for part in window_parts(batch_innermost(x), geometry.as_volume(), groups, None, tuning):
        products = empty((*part.windows.shape[:3], share), dy.dtype)
        dw += np.matmul(part.windows, rows[:, part.rows, part.columns], out=products).sum(1)
    dw = dw.reshape(groups, kh, kd, kw, channels, share).transpose(2, 1, 3, 4, 0, 5)
    return dw.reshape(*geometry.size, channels, groups * share)


@accelerated
def input_gradient(
    dy: Array, w: Array, geometry: Geometry, groups: int = 1, epilogue: Epilogue = NO_EPILOGUE, tuning: Tuning = TUNING
) -> Array:
    """dx[n, p, c] = sum of dy[n, r, f] * w[i, c, f] over all windows r and taps i that meet the pixel p.

    Args:
        dy: (batch, *counts, filters).
        w: (*size, channels / groups, filters).
        geometry: as in ``convolve``.
        groups: as in ``convolve``.
        epilogue: what is done to dx; a transposed convolution has one.
        tuning: the tuning constants.

    Returns:
        dx: (batch, *pixels, channels).
    """
    if _scatters(geometry, w.shape[-1] // groups, tuning):
        volume, kernel = geometry.as_volume(), w[(None,) * (3 - len(geometry.size))]
        dx = scattered_gradient(batch_innermost(dy), kernel, volume, groups, epilogue, tuning)
        return batch_first(dx, len(geometry.size))
    return convolve(dy, _rotated(w, groups), _full(geometry), groups, epilogue, tuning)


def _convolve(x: Array, w: Array, geometry: Geometry, groups: int, epilogue: Epilogue, tuning: Tuning) -> Array:
    """The product of the kernel with the windows, part by part; x and y are memory (h, c, d, w, n)."""
    depth, rows, width = geometry.counts
    filters, n = w.shape[-1], x.shape[-1]
    shares, widest = _small_products(filters // groups, w[..., 0].size, n, geometry, tuning)
    matrices = _matrices(w, groups, shares)
    y = empty((rows, filters, depth * width * n), x.dtype)
    by_share = y.reshape(rows, groups, shares, matrices.shape[3], y.shape[2]).transpose(1, 2, 0, 3, 4)
    for part in window_parts(x, geometry, groups, widest, tuning):
        np.matmul(matrices, part.windows[:, None], out=by_share[:, :, part.rows, :, part.columns])
        finish(y[part.rows, :, part.columns], epilogue, tuning)
    return y.reshape(rows, filters, depth, width, n)


def _matrices(w: Array, groups: int, shares: int) -> Array:
    """The kernel as matrices (groups, shares, 1, filters, kh*kd*kw*c), to be multiplied with windows from the left."""
    rows = w.transpose(1, 0, 2, 3, 4).reshape(w[..., 0].size, groups, shares, 1, w.shape[4] // (groups * shares))
    return np.ascontiguousarray(rows.transpose(1, 2, 3, 4, 0))


def _small_products(filters: int, size: int, n: int, geometry: Geometry, tuning: Tuning) -> tuple[int, int | None]:
    """In how many shares of the filters, and how many pixels at a time, products are small; one and all if never."""
    if geometry.dilation[1] > 1 or geometry.counts[1] == 1:
        # The rows that a dilated kernel meets are dilated too, so its products are short already. A single output row
        # gives a single product a part, and several parts would cost more.
        return 1, None
    for shares in (1, 2, 4):
        share, rest = divmod(filters, shares)
        widest = tuning.small_product_max // max(share * size * n, 1)
        if not rest and (shares == 1 or share >= tuning.min_filters) and widest * n >= tuning.min_columns:
            return shares, widest
    return 1, None


def _rotated(w: Array, groups: int) -> Array:
    """The kernel of the convolution back: turned by 180 degrees, filters and channels swapped within each group."""
    *size, channels, filters = w.shape
    turned = w[(slice(None, None, -1),) * len(size)].reshape(*size, channels, groups, filters // groups)
    return turned.swapaxes(-3, -1).reshape(*size, filters // groups, groups * channels)


@lru_cache(maxsize=256)
def _scatters(geometry: Geometry, filters: int, tuning: Tuning) -> bool:
    """Whether to scatter the input's gradient: another convolution is impossible, or would multiply many zeros."""
    growth = math.prod(geometry.pixels) / math.prod(geometry.counts)
    many_zeros = growth > tuning.growth_to_scatter and filters >= tuning.min_filters_to_scatter
    return many_zeros or max(geometry.stride) > 1


@lru_cache(maxsize=256)
def _full(geometry: Geometry) -> Geometry:
    """The windows on dy of the convolution that computes dx: one for each pixel of x."""
    spans = (d * (k - 1) for k, d in zip(geometry.size, geometry.dilation, strict=True))
    padding = tuple((span - low, span - high) for span, (low, high) in zip(spans, geometry.padding, strict=True))
    return geometry._replace(pixels=geometry.counts, counts=geometry.pixels, padding=padding)
