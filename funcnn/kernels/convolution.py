"""Convolution as matrix products over windows that are never copied out one by one.

An image lies in memory as (h, c, w, n), the batch innermost, so that whatever a kernel's tap sees is made of long
runs. The columns of a window are copied once, shifted, into a buffer; its rows then need no copy at all::

    buffer (h, kw*c, w_out*n)      rows r .. r+kh of it are one contiguous matrix of kh*kw*c rows:
      row 0  | tap 0 | tap 1 |     all windows of output row r, ready for one product with the kernel.
      row 1  | tap 0 | tap 1 |  <- the windows of output row 1 begin here, those of row 0 end further down:
      row 2  | tap 0 | tap 1 |     they overlap, as a strided view, and nothing is stored twice.

The kernel's gradient is a product of the same windows with ``dy``. The input's gradient is, for stride 1, again a
convolution: of ``dy`` with the kernel turned by 180 degrees and its two channel axes swapped. With a stride, or where
x is much larger than dy, the tap contributions are multiplied out at once and added where each tap looked.
"""

import math
from collections.abc import Callable, Iterator
from itertools import chain, product
from typing import Any, NamedTuple

import numpy as np

from funcnn.aliases import Array
from funcnn.engine.memory import aligned, empty
from funcnn.kernels.layout import tiled_channels
from funcnn.kernels.windows import Padding, Pair, Window, pad, strided

__all__ = ["Epilogue", "convolve", "input_gradient", "kernel_gradient"]

BLOCK_BYTES = 3 * 1024 * 1024
"""How much of the windows is laid out at a time: too much for a second-level cache rather than short products."""

FEW_IMAGES_MAX = 4
"""Images up to which channels stay innermost in memory, since the batch would make runs that are too short."""

SMALL_PRODUCT_MAX = 1_000_000
"""Multiplications up to which OpenBLAS works on its operands where they are; it copies those of larger products first,
which for few filters takes as long as the product."""

MIN_FILTERS, MIN_COLUMNS = 16, 32
"""In a small product, rows of the kernel's matrix and columns of the windows', or it would be too small to be quick."""

GROWTH_TO_SCATTER, MIN_FILTERS_TO_SCATTER = 1.25, 16
"""Where x has so many times the pixels of dy, a convolution back to x would multiply many zeros; with so many filters
it costs less to multiply each pixel of dy once and add up the tap contributions."""


class Epilogue(NamedTuple):
    """What is done to the output while its rows are in the cache.

    Args:
        bias: (filters,), added; or None.
        in_place: ``in_place(rows)``, an activation that overwrites its argument; or None.
    """

    bias: Array | None = None
    in_place: Callable[[Array], Any] | None = None

    def apply(self, rows: Array) -> None:
        """Do it to some rows, a channel view."""
        if self.bias is not None:
            view, bias = tiled_channels(rows, self.bias)
            view += bias
        if self.in_place is not None:
            self.in_place(rows)


def convolve(
    x: Array,
    w: Array,
    window: Window,
    counts: Pair,
    padding: Padding,
    groups: int,
    epilogue: Epilogue = Epilogue(),  # noqa: B008
) -> Array:
    """y[n, r, s, f] = sum over i, j, c of x[n, r*stride + i*dilation, s*stride + j*dilation, c] * w[i, j, c, f].

    Args:
        x: (batch, height, width, channels).
        w: (kh, kw, channels / groups, filters).
        window: the kernel's size, stride and dilation.
        counts: rows and columns of the output.
        padding: pixels of zeros around ``x``.
        groups: filters of group g see the channels of group g only.
        epilogue: what is done to some rows of y at a time, while they are in the cache.

    Returns:
        y: (batch, rows, columns, filters).
    """
    if len(x) <= FEW_IMAGES_MAX and groups == 1:
        return _convolve_few(x, w, window, counts, padding, epilogue)
    size, filters, width = w[..., 0].size, w.shape[3], counts[1] * len(x)
    # The rows that a dilated kernel meets are dilated too, so its products are short already.
    shares, widest = (1, None) if window.dilation[0] > 1 else _small_products(filters // groups, size, len(x))
    share = filters // groups // shares
    matrices = np.ascontiguousarray(w.reshape(size, groups, shares, 1, share).transpose(1, 2, 3, 4, 0))
    y = empty((counts[0], filters, width), x.dtype)
    parted = y.reshape(counts[0], groups, shares, share, width).transpose(1, 2, 0, 3, 4)
    for rows, columns, windows in _blocks(x, window, counts, padding, groups, widest):
        np.matmul(matrices, windows[:, None], out=parted[:, :, rows, :, columns])
        epilogue.apply(y[rows, :, columns])
    return _batch_first(y.reshape(counts[0], filters, counts[1], len(x)))


def _convolve_few(x: Array, w: Array, window: Window, counts: Pair, padding: Padding, epilogue: Epilogue) -> Array:
    """A batch of one would make runs of one: so the channels stay innermost, and the buffer is (n, w_out, h, kw*c).

    There too the rows of a window follow each other, and all windows of an output row are the matrix of a product that
    BLAS need not copy first. If the kernel is too large for that, all windows are copied out for a single product.
    """
    image = np.ascontiguousarray(pad(x, padding))
    by_image, by_row, by_column, by_channel = image.strides
    (kh, kw), (sh, sw), (dh, dw) = window.size, window.stride, window.dilation
    n, h, _, c = image.shape
    matrix = w.reshape(kh * kw * c, w.shape[3])
    if dh == 1 and matrix.size * counts[1] <= SMALL_PRODUCT_MAX:
        buffer = empty((n, counts[1], h, kw, c), x.dtype)
        buffer[...] = strided(image, buffer.shape, (by_image, by_column * sw, by_row, by_column * dw, by_channel))
        steps = buffer.strides[0], buffer.strides[2] * sh, buffer.strides[1], x.itemsize
        windows, matrix = strided(buffer, (n, *counts, len(matrix)), steps), aligned(matrix)
    else:
        windows = empty((1, 1, n * counts[0] * counts[1], len(matrix)), x.dtype)
        each = by_image, by_row * sh, by_column * sw, by_row * dh, by_column * dw, by_channel
        windows.reshape(n, *counts, kh, kw, c)[...] = strided(image, (n, *counts, kh, kw, c), each)
    y = empty((*windows.shape[:3], w.shape[3]), x.dtype)
    np.matmul(windows, matrix, out=y)
    epilogue.apply(y.reshape(-1, w.shape[3], 1))
    return y.reshape(n, *counts, w.shape[3])


def kernel_gradient(
    x: Array, dy: Array, w_shape: tuple[int, ...], window: Window, padding: Padding, groups: int
) -> Array:
    """dw[i, j, c, f] = sum over n, r, s of x[n, r*stride + i*dilation, s*stride + j*dilation, c] * dy[n, r, s, f].

    Args:
        x: (batch, height, width, channels).
        dy: (batch, rows, columns, filters).
        w_shape: (kh, kw, channels / groups, filters).
        window: as in ``convolve``.
        padding: as in ``convolve``.
        groups: as in ``convolve``.

    Returns:
        dw: of ``w_shape``.
    """
    n, rows, columns, filters = dy.shape
    dy = _batch_last(dy).reshape(rows, groups, filters // groups, columns * n).transpose(1, 0, 3, 2)
    dw = np.zeros((groups, int(np.prod(w_shape[:3])), filters // groups), dy.dtype)
    for block, places, windows in _blocks(x, window, (rows, columns), padding, groups):
        products = empty((*windows.shape[:3], filters // groups), dy.dtype)
        dw += np.matmul(windows, dy[:, block, places], out=products).sum(1)
    return dw.transpose(1, 0, 2).reshape(w_shape)


def input_gradient(
    dy: Array, w: Array, x_shape: tuple[int, ...], window: Window, padding: Padding, groups: int
) -> Array:
    """dx[n, p, q, c] = sum of dy[n, r, s, f] * w[i, j, c, f] over all windows (r, s) and taps (i, j) that meet (p, q).

    Args:
        dy: (batch, rows, columns, filters).
        w: (kh, kw, channels / groups, filters).
        x_shape: (batch, height, width, channels).
        window: as in ``convolve``.
        padding: as in ``convolve``.
        groups: as in ``convolve``.

    Returns:
        dx: of ``x_shape``.
    """
    kh, kw, channels, filters = w.shape
    grows = x_shape[1] * x_shape[2] > GROWTH_TO_SCATTER * dy.shape[1] * dy.shape[2]
    if window.stride != (1, 1) or (grows and filters // groups >= MIN_FILTERS_TO_SCATTER):
        return _scattered_gradient(dy, w, x_shape, window, padding, groups)
    swapped = w[::-1, ::-1].reshape(kh, kw, channels, groups, filters // groups).transpose(0, 1, 4, 3, 2)
    (top, bottom), (left, right) = padding
    tall, wide = window.effective_size[0] - 1, window.effective_size[1] - 1
    full: Padding = ((tall - top, tall - bottom), (wide - left, wide - right))
    rotated = swapped.reshape(kh, kw, filters // groups, groups * channels)
    return convolve(dy, rotated, window, (x_shape[1], x_shape[2]), full, groups)


def _scattered_gradient(
    dy: Array, w: Array, x_shape: tuple[int, ...], window: Window, padding: Padding, groups: int
) -> Array:
    """One product of the kernel with some rows of dy gives all tap contributions, each added where its tap looked."""
    n, h, width, c = x_shape
    (kh, kw), rows, columns = window.size, *dy.shape[1:3]
    dy = _batch_last(dy).reshape(rows, groups, w.shape[3] // groups, columns * n)
    matrix = np.ascontiguousarray(w.reshape(-1, groups, dy.shape[2]).transpose(1, 0, 2))
    dx = empty((h, groups, c // groups, width, n), dy.dtype)
    dx[...] = 0
    high, wide = _fitting(kh * kw * c * n * dy.itemsize, (rows, columns))
    space = empty((high * kh * kw * c * wide * n,), dy.dtype)
    for top, left in product(range(0, rows, high), range(0, columns, wide)):
        part = dy[top : top + high, :, :, left * n : (left + wide) * n]
        shape = len(part), groups, kh * kw * c // groups, part.shape[3]
        taps = np.matmul(matrix, part, out=space[: math.prod(shape)].reshape(shape))
        taps = taps.reshape(len(part), groups, kh, kw, c // groups, min(wide, columns - left), n)
        for i, j in product(range(kh), range(kw)):
            above, below, at_rows = _tap_range(window, padding, (h, width), 0, i, top, len(part))
            before, behind, at_columns = _tap_range(window, padding, (h, width), 1, j, left, taps.shape[5])
            dx[at_rows, :, :, at_columns] += taps[above:below, :, i, j, :, before:behind]
    return _batch_first(dx.reshape(h, c, width, n))


def _blocks(
    x: Array, window: Window, counts: Pair, padding: Padding, groups: int, widest: int | None = None
) -> Iterator[tuple[slice, slice, Array]]:
    """Yield parts of the output: rows, columns * n, and their windows as (groups, rows, kh*kw*c, columns*n)."""
    image = _batch_last(x)
    h, c, wide, n = image.shape
    image = image.reshape(h, groups, c // groups, wide, n)
    if _is_one_pixel(window, padding):
        # A window of one pixel is the pixel itself, and all of them at once are the image.
        yield slice(0, h), slice(0, wide * n), image.reshape(h, groups, c // groups, wide * n).transpose(1, 0, 2, 3)
        return
    (kh, kw), sh, dh = window.size, window.stride[0], window.dilation[0]
    # A dilated kernel sees every dh-th row only: the output rows fall into dh classes, each without dilation.
    classes = dh if sh == 1 else 1
    # With a stride as well, the taps are strided in the buffer too; then each output row gets its own copies.
    strided_taps = dh > 1 and sh > 1 and kh > 1
    rows_each = -(-counts[0] // classes)
    rows, columns = _part_sizes(c * n * x.itemsize, window, (rows_each, counts[1]), strided_taps, widest or counts[1])
    buffer_rows = rows * kh if strided_taps else (rows - 1) * sh + kh
    space = empty((groups, buffer_rows, kw, c // groups, columns, n), x.dtype)
    for left in range(0, counts[1], columns):
        wanted = min(columns, counts[1] - left)
        buffer = space.reshape(-1)[: space.size // columns * wanted].reshape(*space.shape[:4], wanted, n)
        taps = [_tap_range(window, padding, (h, wide), 1, j, left, wanted) for j in range(kw)]
        for top in chain.from_iterable(range(start, counts[0], classes)[::rows] for start in range(classes)):
            high = min(rows, -(-(counts[0] - top) // classes))
            if strided_taps:
                for i in range(kh):
                    _fill(buffer[:, i::kh], image, taps, _tap_range(window, padding, (h, wide), 0, i, top, high), high)
            else:
                need = (high - 1) * sh + kh
                _fill(buffer, image, taps, _inside(top * sh - padding[0][0], classes, need, h), need)
            shape = groups, high, kh * kw * (c // groups), wanted * n
            steps = buffer.strides[0], buffer.strides[1] * (kh if strided_taps else sh), buffer.strides[3], x.itemsize
            yield (
                slice(top, top + (high - 1) * classes + 1, classes),
                slice(left * n, (left + wanted) * n),
                strided(buffer, shape, steps),
            )


def _fill(
    buffer: Array, image: Array, taps: list[tuple[int, int, slice]], rows: tuple[int, int, slice], count: int
) -> None:
    """Copy the pixels of each tap into the first ``count`` rows of a buffer, and zeros where there is no pixel."""
    buffer_rows = buffer[:, :count].swapaxes(0, 1)
    above, below, picked_rows = rows
    if above or below < count:
        buffer_rows[:above] = buffer_rows[below:] = 0
    for j, (left, right, picked) in enumerate(taps):
        if left or right < buffer_rows.shape[4]:
            buffer_rows[:, :, j, :, :left] = buffer_rows[:, :, j, :, right:] = 0
        buffer_rows[above:below, :, j, :, left:right] = image[picked_rows, :, :, picked]


def _small_products(filters: int, size: int, n: int) -> tuple[int, int | None]:
    """In how many shares of the filters, and how many columns at a time, products are small; one and all if never."""
    for shares in (1, 2, 4):
        share, rest = divmod(filters, shares)
        widest = SMALL_PRODUCT_MAX // max(share * size * n, 1)
        if not rest and (shares == 1 or share >= MIN_FILTERS) and widest * n >= MIN_COLUMNS:
            return shares, widest
    return 1, None


def _part_sizes(pixel_bytes: int, window: Window, counts: Pair, strided_taps: bool, widest: int) -> Pair:
    """How many output rows and columns to lay out at a time, for a buffer of about ``BLOCK_BYTES``.

    Rows share what they have in common, columns do not, so a part has at least four times a window's height if it can.
    """
    (kh, kw), (sh, _) = window.size, window.stride
    column_bytes = max(pixel_bytes * kw, 1)
    columns = _even(counts[1], min(widest, BLOCK_BYTES // (column_bytes * 5 * kh)))
    per_row = kh if strided_taps else sh
    return max(1, min(counts[0], (BLOCK_BYTES // (column_bytes * columns) - kh) // per_row)), columns


def _is_one_pixel(window: Window, padding: Padding) -> bool:
    """Whether each window is one pixel, and the windows are the image."""
    return window.size == window.stride == (1, 1) and padding == ((0, 0), (0, 0))


def _fitting(bytes_each: int, counts: Pair) -> Pair:
    """How many rows and columns of so many bytes make a part of ``BLOCK_BYTES``, one at least."""
    columns = _even(counts[1], BLOCK_BYTES // max(bytes_each, 1))
    return max(1, min(counts[0], BLOCK_BYTES // max(bytes_each * columns, 1))), columns


def _even(count: int, most: int) -> int:
    """How many of ``count`` make a part, where parts are of one size: a narrow last one would be slow."""
    return -(-count // -(-count // max(1, min(count, most))))


def _tap_range(
    window: Window, padding: Padding, image: Pair, axis: int, tap: int, first: int, count: int
) -> tuple[int, int, slice]:
    """Which of ``count`` windows from the ``first`` on have a tap on the image along an axis, and on which pixels."""
    start = first * window.stride[axis] + tap * window.dilation[axis] - padding[axis][0]
    return _inside(start, window.stride[axis], count, image[axis])


def _inside(first: int, step: int, count: int, size: int) -> tuple[int, int, slice]:
    """Which of the ``count`` places first, first + step, ... lie in [0, size): from, to, and their slice."""
    lo = min(max(-(first // step), 0), count)
    hi = max(min(-((first - size) // step), count), lo)
    return lo, hi, slice(first + lo * step, first + hi * step, step) if hi > lo else slice(0, 0)


def _batch_last(x: Array) -> Array:
    """(n, h, w, c) laid out in memory as (h, c, w, n)."""
    turned = x.transpose(1, 3, 2, 0)
    if turned.flags.c_contiguous:
        return turned
    laid_out = empty(turned.shape, x.dtype)
    laid_out[...] = turned
    return laid_out


def _batch_first(x: Array) -> Array:
    """The logical (n, h, w, c) of memory laid out as (h, c, w, n)."""
    return x.transpose(3, 0, 2, 1)
