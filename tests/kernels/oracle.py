"""Convolution and pooling as their definitions read: a loop per index, a number at a time, gradients likewise.

Nothing here shares a line or an idea with the kernels, so that a mistake would have to be made twice. An image has one
to three axes of pixels, and every loop over pixels, windows or taps is one over tuples of as many numbers.
"""

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
from hypothesis import strategies as st

import funcnn as fn
from funcnn.aliases import Array
from funcnn.kernels.tuning import Tuning
from funcnn.kernels.windows import FLAT, LINE, SOLID

Sizes = tuple[int, ...]
Begins = list[list[int]]
AXES = {1: LINE, 2: FLAT, 3: SOLID}

FLOAT, CLOSE = (np.float32, 1e-5) if fn.kernels_report().startswith('kernels "onednn"') else (np.float64, 1e-12)
"""What kernels are compared with the loops in, and how close they must come: oneDNN's compute in float32 only."""


def starts(
    pixels: int, size: int, stride: int, dilation: int, padding: Any, ceil_mode: bool = False
) -> tuple[list[int], int]:
    """Where the windows of one axis begin, counted from the first padded pixel, and the padding before the image."""
    effective = (size - 1) * dilation + 1
    if padding == "same":
        begins = [stride * k for k in range(pixels) if stride * k < pixels]
        missing = max(begins[-1] + effective - pixels, 0)
        # The extra pixel is at the end.
        return begins, missing // 2
    low, high = (0, 0) if padding == "valid" else padding
    total, begin, begins = low + pixels + high, 0, []
    while begin + effective <= total:
        begins.append(begin)
        begin += stride
    # PyTorch's rule: one more if those before it leave a pixel uncovered, and if it begins before the image ends.
    if ceil_mode and begin - stride + effective < total and begin < low + pixels:
        begins.append(begin)
    return begins, low


def all_axes(
    shape: Sizes, size: Sizes, stride: Sizes, dilation: Sizes, padding: Any, ceil_mode: bool = False
) -> tuple[Begins, list[int]]:
    """``starts`` for each axis of the pixels of (batch, *pixels, channels)."""
    each = [padding] * len(size) if isinstance(padding, str) else padding
    found = [
        starts(shape[1 + axis], size[axis], stride[axis], dilation[axis], each[axis], ceil_mode)
        for axis in range(len(size))
    ]
    return [begins for begins, _ in found], [low for _, low in found]


def look(position: int, pixels: int, pad_mode: str) -> int | None:
    """The pixel of the image at a position that may lie on its padding; None for a zero."""
    if 0 <= position < pixels:
        return position
    if pad_mode == "zero":
        return None
    return 0 if position < 0 else pixels - 1


def products(
    pixels: Sizes, size: Sizes, begins: Begins, low: list[int], dilation: Sizes, pad_mode: str
) -> Iterator[tuple[Sizes, Sizes, Sizes]]:
    """Each window, tap and pixel that meet."""
    for window in np.ndindex(*map(len, begins)):
        for tap in np.ndindex(*size):
            pixel = []
            for axis, (w, t) in enumerate(zip(window, tap, strict=True)):
                pixel.append(look(begins[axis][w] + t * dilation[axis] - low[axis], pixels[axis], pad_mode))
            if None not in pixel:
                yield window, tap, tuple(pixel)  # type: ignore[arg-type]


def convolution(
    x: Array, w: Array, dy: Array, begins: Begins, low: list[int], dilation: Sizes, groups: int, pad_mode: str
) -> tuple[Array, Array, Array]:
    """``(y, dw, dx)``: each product of a pixel and a weight is met once, and does its three duties on the spot."""
    (batch, *pixels, channels), (*size, _, filters) = x.shape, w.shape
    y, dw, dx = np.zeros(dy.shape), np.zeros(w.shape), np.zeros(x.shape)
    per_group = channels // groups
    met = list(products(tuple(pixels), tuple(size), begins, low, dilation, pad_mode))
    for n, f, c in product(range(batch), range(filters), range(per_group)):
        channel = f // (filters // groups) * per_group + c
        for window, tap, pixel in met:
            y[(n, *window, f)] += x[(n, *pixel, channel)] * w[(*tap, c, f)]
            dw[(*tap, c, f)] += x[(n, *pixel, channel)] * dy[(n, *window, f)]
            dx[(n, *pixel, channel)] += w[(*tap, c, f)] * dy[(n, *window, f)]
    return y, dw, dx


def pooling(
    kind: str, x: Array, dy: Array, begins: Begins, low: list[int], size: Sizes, dilation: Sizes
) -> tuple[Array, Array]:
    """``(y, dx)`` of max, min, mean or sum pooling over those pixels of each window that lie on the image."""
    batch, *pixels, channels = x.shape
    y, dx = np.zeros(dy.shape), np.zeros(x.shape)
    for n, window, c in product(range(batch), np.ndindex(*map(len, begins)), range(channels)):
        first = [begins[axis][k] - low[axis] for axis, k in enumerate(window)]
        cells = [(n, *cell, c) for cell in _cells(first, size, dilation, pixels)]
        if kind in ("avg", "sum"):
            share = 1 / len(cells) if kind == "avg" else 1
            y[(n, *window, c)] = sum(x[cell] for cell in cells) * share
            for cell in cells:
                dx[cell] += dy[(n, *window, c)] * share
            continue
        winner = cells[0]
        for cell in cells[1:]:
            if _beats(kind, x[cell], x[winner]):
                winner = cell
        y[(n, *window, c)] = x[winner]
        dx[winner] += dy[(n, *window, c)]
    return y, dx


def has_empty_window(begins: Begins, low: list[int], size: Sizes, dilation: Sizes, pixels: Sizes) -> bool:
    """Whether a window holds no pixel of the image."""
    for window in np.ndindex(*map(len, begins)):
        first = [begins[axis][k] - low[axis] for axis, k in enumerate(window)]
        if not any(True for _ in _cells(first, size, dilation, list(pixels))):
            return True
    return False


def _beats(kind: str, challenger: float, best: float) -> bool:
    """Whether a pixel takes the place of the best so far: NaN wins over every number, and the first of several wins."""
    if np.isnan(best) or np.isnan(challenger):
        return not np.isnan(best)
    return challenger > best if kind == "max" else challenger < best


def _cells(first: list[int], size: Sizes, dilation: Sizes, pixels: list[int]) -> Iterator[Sizes]:
    """The pixels of the image under one window, in the order of reading."""
    along = (range(start, start + n * d, d) for start, n, d in zip(first, size, dilation, strict=True))
    for cell in product(*along):
        if all(0 <= place < n for place, n in zip(cell, pixels, strict=True)):
            yield cell


LAYOUTS = ("C", "Fortran", "batch innermost", "kernel", "reversed", "every other", "broadcast")


def arranged(array: Array, layout: str) -> Array:
    """The array in another memory order, read-only; "broadcast" repeats one slice, so its values change."""
    if layout == "C":
        array = np.ascontiguousarray(array)
    elif layout == "Fortran":
        array = np.asfortranarray(array)
    elif layout == "batch innermost":
        array = np.moveaxis(np.ascontiguousarray(np.moveaxis(array, 0, -1)), -1, 0)
    elif layout == "kernel":
        # As convolution leaves it: the last axis but one outermost, the channels, the others, the batch.
        order = [array.ndim - 2, array.ndim - 1, *range(1, array.ndim - 2), 0]
        array = np.ascontiguousarray(array.transpose(order)).transpose(np.argsort(order))
    elif layout == "reversed":
        backwards = (slice(None, None, -1),) * array.ndim
        array = np.ascontiguousarray(array[backwards])[backwards]
    elif layout == "every other":
        wide = np.repeat(array, 2, axis=-1)
        wide[..., 1::2] = 1e9
        array = wide[..., ::2]
    elif layout == "broadcast":
        array = np.broadcast_to(array[:, :1, ..., :1], array.shape)
    array = array.view()
    array.setflags(write=False)
    return array


ranks = st.integers(1, 3)
layouts = st.sampled_from(LAYOUTS)


def sizes(rank: int, largest: int = 3) -> st.SearchStrategy[Sizes]:
    """A whole number for each axis."""
    return st.tuples(*[st.integers(1, largest)] * rank)


def images(rank: int) -> st.SearchStrategy[Sizes]:
    """A batch size and pixels; fewer of them where there are more axes, so that the loops end."""
    return st.tuples(st.integers(0, 3 if rank < 3 else 2), *[st.integers(1, {1: 12, 2: 6, 3: 4}[rank])] * rank)


def paddings(largest: Sizes) -> st.SearchStrategy[Any]:
    """ "valid", "same", or pixels on each side up to ``largest``."""
    sides = st.tuples(*(st.tuples(st.integers(0, n), st.integers(0, n)) for n in largest))
    return st.one_of(st.just("valid"), st.just("same"), sides)


usual = Tuning()
tunings = st.builds(
    Tuning,
    # Parts of one row and one column, of a few, and the whole.
    window_bytes=st.sampled_from([1, 2000, 8000, usual.window_bytes]),
    block_bytes=st.sampled_from([1, 300, usual.block_bytes]),
    # Which path the products take: for few images or for more, cut small or not, scattered or not in the backward pass.
    small_batch_max=st.sampled_from([-1, usual.small_batch_max]),
    small_product_max=st.sampled_from([1, 20, 100, usual.small_product_max]),
    min_filters=st.sampled_from([1, usual.min_filters]),
    min_columns=st.sampled_from([1, usual.min_columns]),
    min_filters_to_scatter=st.sampled_from([1, usual.min_filters_to_scatter]),
    growth_to_scatter=st.sampled_from([0.0, usual.growth_to_scatter]),
    # Whether the channels of several pixels are taken side by side.
    small_array_max=st.sampled_from([0, usual.small_array_max]),
)
