"""Convolution and pooling as their definitions read: a loop per index, a number at a time, gradients likewise.

Nothing here shares a line or an idea with the kernels, so that a mistake would have to be made twice.
"""

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
from hypothesis import strategies as st

from funcnn.aliases import Array

Pair = tuple[int, int]


def starts(
    pixels: int, size: int, stride: int, dilation: int, padding: Any, ceil_mode: bool = False
) -> tuple[list[int], int]:
    """Where the windows of one axis begin, counted from the first padded pixel, and the padding before the image."""
    reach = (size - 1) * dilation + 1
    if padding == "same":
        begins = [stride * k for k in range(pixels) if stride * k < pixels]
        missing = max(begins[-1] + reach - pixels, 0)
        # The extra pixel is at the end.
        return begins, missing // 2
    low, high = (0, 0) if padding == "valid" else padding
    total, begin, begins = low + pixels + high, 0, []
    while begin + reach <= total:
        begins.append(begin)
        begin += stride
    # PyTorch's rule: one more if those before it leave a pixel uncovered, and if it begins before the image ends.
    if ceil_mode and begin - stride + reach < total and begin < low + pixels:
        begins.append(begin)
    return begins, low


def both_axes(
    shape: tuple[int, ...], size: Pair, stride: Pair, dilation: Pair, padding: Any, ceil_mode: bool = False
) -> tuple[list[list[int]], list[int]]:
    """``starts`` for height and width."""
    each = (padding, padding) if isinstance(padding, str) else padding
    found = [starts(shape[1 + a], size[a], stride[a], dilation[a], each[a], ceil_mode) for a in (0, 1)]
    return [begins for begins, _ in found], [low for _, low in found]


def look(position: int, pixels: int, pad_mode: str) -> int | None:
    """The pixel of the image at a position that may lie on its padding; None for a zero."""
    if 0 <= position < pixels:
        return position
    if pad_mode == "zero":
        return None
    return 0 if position < 0 else pixels - 1


def convolution(
    x: Array, w: Array, dy: Array, begins: list[list[int]], low: list[int], dilation: Pair, groups: int, pad_mode: str
) -> tuple[Array, Array, Array]:
    """``(y, dw, dx)``: each product of a pixel and a weight is met once, and does its three duties on the spot."""
    (batch, height, width, channels), (kh, kw, _, filters) = x.shape, w.shape
    y, dw, dx = np.zeros(dy.shape), np.zeros(w.shape), np.zeros(x.shape)
    per_group = channels // groups
    for n, (r, top), (s, left), f, i, j, c in product(
        range(batch), enumerate(begins[0]), enumerate(begins[1]), range(filters), range(kh), range(kw), range(per_group)
    ):
        p = look(top + i * dilation[0] - low[0], height, pad_mode)
        q = look(left + j * dilation[1] - low[1], width, pad_mode)
        if p is None or q is None:
            continue
        channel = f // (filters // groups) * per_group + c
        y[n, r, s, f] += x[n, p, q, channel] * w[i, j, c, f]
        dw[i, j, c, f] += x[n, p, q, channel] * dy[n, r, s, f]
        dx[n, p, q, channel] += w[i, j, c, f] * dy[n, r, s, f]
    return y, dw, dx


def pooling(kind: str, x: Array, dy: Array, begins: list[list[int]], low: list[int], size: Pair) -> tuple[Array, Array]:
    """``(y, dx)`` of max, min or mean pooling over those pixels of each window that lie on the image."""
    batch, height, width, channels = x.shape
    y, dx = np.zeros(dy.shape), np.zeros(x.shape)
    for n, (r, top), (s, left), c in product(range(batch), enumerate(begins[0]), enumerate(begins[1]), range(channels)):
        cells = list(_cells(top - low[0], left - low[1], size, height, width))
        if kind == "avg":
            y[n, r, s, c] = sum(x[n, p, q, c] for p, q in cells) / len(cells)
            for p, q in cells:
                dx[n, p, q, c] += dy[n, r, s, c] / len(cells)
            continue
        winner = cells[0]
        for p, q in cells[1:]:
            best = x[n, winner[0], winner[1], c]
            if x[n, p, q, c] > best if kind == "max" else x[n, p, q, c] < best:
                winner = (p, q)
        y[n, r, s, c] = x[n, winner[0], winner[1], c]
        dx[n, winner[0], winner[1], c] += dy[n, r, s, c]
    return y, dx


def _cells(top: int, left: int, size: Pair, height: int, width: int) -> Iterator[Pair]:
    """The pixels of the image under one window, row by row."""
    for p, q in product(range(top, top + size[0]), range(left, left + size[1])):
        if 0 <= p < height and 0 <= q < width:
            yield p, q


LAYOUTS = ("C", "Fortran", "batch innermost", "reversed", "every other", "broadcast")


def arranged(array: Array, layout: str) -> Array:
    """The array in another memory order, read-only; "broadcast" repeats one slice, so its values change."""
    if layout == "C":
        array = np.ascontiguousarray(array)
    elif layout == "Fortran":
        array = np.asfortranarray(array)
    elif layout == "batch innermost":
        array = np.moveaxis(np.ascontiguousarray(np.moveaxis(array, 0, -1)), -1, 0)
    elif layout == "reversed":
        backwards = (slice(None, None, -1),) * array.ndim
        array = np.ascontiguousarray(array[backwards])[backwards]
    elif layout == "every other":
        wide = np.repeat(array, 2, axis=-1)
        wide[..., 1::2] = 1e9
        array = wide[..., ::2]
    elif layout == "broadcast":
        array = np.broadcast_to(array[:, :1, :, :1], array.shape)
    array = array.view()
    array.setflags(write=False)
    return array


sizes = st.tuples(st.integers(1, 3), st.integers(1, 3))
layouts = st.sampled_from(LAYOUTS)
images = st.tuples(st.integers(0, 3), st.integers(1, 6), st.integers(1, 6))


def paddings(largest: Pair) -> st.SearchStrategy[Any]:
    """ "valid", "same", or pixels on each side up to ``largest``."""
    sides = st.tuples(*(st.tuples(st.integers(0, n), st.integers(0, n)) for n in largest))
    return st.one_of(st.just("valid"), st.just("same"), sides)
