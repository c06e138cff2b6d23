"""The input's gradient as a scatter: each pixel of ``dy`` times the kernel, added to the pixels that its window saw.

One product of the kernel with a part of dy gives the contributions of all taps at once. Then those of each tap are
added to dx where that tap looked, which is a plain strided slice.
"""

import math
from functools import lru_cache
from itertools import product
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from funcnn.aliases import Array
from funcnn.engine.memory import empty
from funcnn.kernels.buffers import DEPTH, HEIGHT, WIDTH, Box, box_size, boxes
from funcnn.kernels.epilogue import Epilogue, finish
from funcnn.kernels.tuning import Tuning
from funcnn.kernels.windows import Geometry, Sizes

__all__ = ["scattered_gradient"]

Index: TypeAlias = tuple[Any, ...]


def scattered_gradient(
    dy: Array, w: Array, geometry: Geometry, groups: int, epilogue: Epilogue, tuning: Tuning
) -> Array:
    """As ``input_gradient``, on volumes; dy and dx are memory (h, c, d, w, n).

    Args:
        dy: (rows, filters, depth, width, n) without gaps.
        w: (kd, kh, kw, channels / groups, filters).
        geometry: the windows on x.
        groups: as in ``convolve``.
        epilogue: what is done to dx in the end.
        tuning: the tuning constants.

    Returns:
        dx: (height, channels, depth, width, n).
    """
    (rows, filters, *_, n), channels = dy.shape, w.shape[3]
    kernel = np.ascontiguousarray(w.reshape(-1, groups, filters // groups).transpose(1, 0, 2))
    dy = dy.reshape(rows, groups, filters // groups, dy[0, 0].size)
    depth, height, width = geometry.pixels
    dx = empty((height, groups, channels, depth, width, n), dy.dtype)
    covered = _cover_once(geometry)
    if not covered:
        dx[...] = 0
    steps = _plan(geometry, groups, channels, n, dy.itemsize, tuning)
    space = empty((max(math.prod(step.taps) for step in steps),), dy.dtype)
    for step in steps:
        taps, part = space[: math.prod(step.taps)].reshape(step.taps), dy[step.rows, :, :, step.columns]
        np.matmul(kernel, part, out=taps.reshape(len(part), groups, kernel.shape[1], part.shape[3]))
        for pixels, seen in step.places:
            if covered:
                dx[pixels] = taps[seen]
            else:
                dx[pixels] += taps[seen]
    finish(dx.reshape(height, groups * channels, dx[0, 0, 0].size), epilogue, tuning)
    return dx.reshape(height, groups * channels, depth, width, n)


def _cover_once(geometry: Geometry) -> bool:
    """Whether every pixel belongs to exactly one window, so that nothing is added up and nothing stays empty."""
    return (
        geometry.size == geometry.stride
        and max(geometry.dilation) == 1
        and all(
            low == 0 and n == count * size
            for (low, _), n, count, size in zip(
                geometry.padding, geometry.pixels, geometry.counts, geometry.size, strict=True
            )
        )
    )


class _Step(NamedTuple):
    """How one part of dy is worked on.

    Args:
        rows: of dy.
        columns: of dy, out of depth * width * n.
        taps: the shape of the tap contributions, (rows, groups, kd, kh, kw, c, planes, columns, n).
        places: for each tap an index of dx and an index of the contributions that are added there.
    """

    rows: slice
    columns: slice
    taps: Sizes
    places: list[tuple[Index, Index]]


@lru_cache(maxsize=256)
def _plan(geometry: Geometry, groups: int, channels: int, n: int, itemsize: int, tuning: Tuning) -> list[_Step]:
    """How to work through dy, part by part: it depends on sizes only, so every batch has the same plan."""
    bytes_each = max(math.prod(geometry.size) * groups * channels * n * itemsize, 1)
    planes, columns = box_size(geometry, tuning.window_bytes // bytes_each)
    rows = geometry.counts[HEIGHT]
    most = max(1, min(rows, tuning.window_bytes // (bytes_each * planes * columns)))
    return [
        _step(geometry, (groups, channels, n), box, top, min(most, rows - top))
        for top in range(0, rows, most)
        for box in boxes(geometry, planes, columns)
    ]


def _step(geometry: Geometry, sizes: tuple[int, int, int], box: Box, top: int, high: int) -> _Step:
    """How ``high`` rows of dy from ``top`` on are worked on, in one box; the sizes are groups, channels and n."""
    groups, channels, n = sizes
    every = slice(None)
    starts = (box.front, box.planes), (top, high), (box.left, box.columns)
    places = []
    for tap in product(*map(range, geometry.size)):
        deep, tall, wide = (geometry.tap_range(axis, tap[axis], *starts[axis]) for axis in (DEPTH, HEIGHT, WIDTH))
        pixels = tall.pixels, every, every, deep.pixels, wide.pixels
        places.append((pixels, (tall.windows, every, *tap, every, deep.windows, wide.windows)))
    return _Step(
        slice(top, top + high),
        box.flat(geometry.counts[WIDTH], n),
        (high, groups, *geometry.size, channels, box.planes, box.columns, n),
        places,
    )
