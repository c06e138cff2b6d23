"""Windows laid out as matrices that overlap, so that a product can read them though they are not copied out one by one.

An image lies in memory as (h, c, d, w, n), the batch innermost, so that whatever a tap sees is made of long runs. The
taps along depth and width are copied once, each shifted, into a buffer; its rows then need no copy at all::

    buffer (h, kd*kw*c, d_out*w_out*n)     rows r .. r+kh of it are one contiguous matrix of kh*kd*kw*c rows:
      row 0  | tap 0 | tap 1 |     all windows of output row r, ready for one product with the kernel.
      row 1  | tap 0 | tap 1 |  <- the windows of output row 1 begin here, those of row 0 end further down:
      row 2  | tap 0 | tap 1 |     they overlap, as a strided view, and nothing is stored twice.

A buffer holds a part of the output only, so that it stays near the cache.
"""

import math
from collections.abc import Iterator
from functools import lru_cache
from itertools import product
from typing import NamedTuple

import numpy as np

from funcnn.aliases import Array
from funcnn.engine.memory import empty
from funcnn.kernels.tuning import Tuning
from funcnn.kernels.windows import Geometry, Sizes, TapRange, inside

__all__ = ["DEPTH", "HEIGHT", "WIDTH", "Box", "Part", "box_size", "boxes", "strided", "window_parts"]

DEPTH, HEIGHT, WIDTH = range(3)


class Part(NamedTuple):
    """A part of the output and its windows.

    Args:
        rows: of the output.
        columns: of the output, out of depth * width * batch.
        windows: (groups, rows, kh*kd*kw*c, columns).
    """

    rows: slice
    columns: slice
    windows: Array


class Box(NamedTuple):
    """Neighbouring pixels along depth and width: whole planes, or a part of one plane.

    Args:
        front: the first plane.
        planes: how many there are.
        left: the first column.
        columns: how many there are in each plane.
    """

    front: int
    planes: int
    left: int
    columns: int

    def flat(self, width: int, n: int) -> slice:
        """Where it lies among depth * width * n elements, without a gap."""
        first = (self.front * width + self.left) * n
        return slice(first, first + self.planes * self.columns * n)


def window_parts(image: Array, geometry: Geometry, groups: int, widest: int | None, tuning: Tuning) -> Iterator[Part]:
    """Yield the windows of an image part by part; each part is valid until the next is asked for.

    Args:
        image: the memory (h, c, d, w, n), without gaps.
        geometry: of the windows, on a volume.
        groups: the number of groups into which the channels are cut.
        widest: how many pixels of an output row a part may have at most; None for any number.
        tuning: the tuning constants.
    """
    h, c, depth, width, n = image.shape
    image = image.reshape(h, groups, c // groups, depth, width, n)
    if geometry.is_one_pixel:
        # A window of one pixel is the pixel itself, and all of them at once are the image.
        windows = image.reshape(h, groups, c // groups, depth * width * n).swapaxes(0, 1)
        yield Part(slice(0, h), slice(0, depth * width * n), windows)
        return
    steps = _plan(geometry, groups, c, n, image.itemsize, widest, tuning)
    space = empty((max(math.prod(step.buffer) for step in steps),), image.dtype)
    for step in steps:
        buffer = space[: math.prod(step.buffer)].reshape(step.buffer)
        for part, rows in step.fills:
            _fill(buffer[:, part], image, rows, step.taps)
        by_group, by_row, _, by_channel, *_ = buffer.strides
        strides = by_group, by_row * step.distance, by_channel, image.itemsize
        yield Part(step.rows, step.columns, strided(buffer, step.windows, strides))


def boxes(geometry: Geometry, planes: int, columns: int) -> Iterator[Box]:
    """Cut the depth and width of the output into boxes of at most this size.

    Example:
        >>> place = Geometry((1, 1, 1), (1, 1, 1), (1, 1, 1), (1, 1, 5), (1, 1, 5), ((0, 0),) * 3)
        >>> [tuple(box) for box in boxes(place, 1, 3)]
        [(0, 1, 0, 3), (0, 1, 3, 2)]
    """
    depth, _, width = geometry.counts
    for front, left in product(range(0, depth, planes), range(0, width, columns)):
        yield Box(front, min(planes, depth - front), left, min(columns, width - left))


def box_size(geometry: Geometry, pixels: int) -> tuple[int, int]:
    """The planes and columns of a box of at most ``pixels`` pixels, or of one; boxes are about equal in size.

    Example:
        >>> place = Geometry((1, 1, 1), (1, 1, 1), (1, 1, 1), (2, 1, 5), (2, 1, 5), ((0, 0),) * 3)
        >>> box_size(place, 12), box_size(place, 4)
        ((2, 5), (1, 3))
    """
    columns = _even(geometry.counts[WIDTH], pixels)
    return _even(geometry.counts[DEPTH], pixels // columns), columns


def strided(x: Array, shape: tuple[int, ...], steps: tuple[int, ...]) -> Array:
    """A view of an array without gaps, with steps in bytes; a ValueError if it would end beyond its memory.

    Example:
        >>> strided(np.arange(4), (3, 2), (8, 8)).tolist()
        [[0, 1], [1, 2], [2, 3]]
    """
    return np.ndarray(shape, x.dtype, x, 0, steps)


class _Sharing(NamedTuple):
    """How the windows of neighbouring output rows share the rows of a buffer.

    Args:
        phases: the number of groups of output rows that share rows among themselves. If a dilated kernel sees every
            second row, there are two: the even output rows and the odd ones.
        step: from one window to the next, in buffer rows.
        size: of a window, in buffer rows.
        copied: whether each output row has its own copies of all rows that it sees.
    """

    phases: int
    step: int
    size: int
    copied: bool

    def buffer_rows(self, high: int) -> int:
        """The rows of a buffer that hold the windows of ``high`` output rows."""
        return (high - 1) * self.step + self.size

    def runs(self, count: int, most: int) -> Iterator[tuple[int, int]]:
        """Yield runs of at most ``most`` of the ``count`` output rows: the first row of each, and how many it has."""
        for phase in range(min(self.phases, count)):
            for top in range(phase, count, self.phases * most):
                yield top, min(most, -(-(count - top) // self.phases))

    def fills(self, geometry: Geometry, top: int, high: int) -> Iterator[tuple[slice, TapRange]]:
        """Yield parts of the buffer's rows, and which rows of the image fill them."""
        if self.copied:
            for tap in range(self.size):
                yield slice(tap, high * self.size, self.size), geometry.tap_range(HEIGHT, tap, top, high)
        else:
            need, first = self.buffer_rows(high), top * self.step - geometry.padding[HEIGHT][0]
            yield slice(0, need), inside(first, self.phases, need, geometry.pixels[HEIGHT])


class _Step(NamedTuple):
    """How one part of the output is worked on.

    Args:
        rows: as in ``Part``.
        columns: as in ``Part``.
        buffer: its shape, (groups, rows, taps, channels, planes, columns, n).
        fills: parts of the buffer's rows, and which rows of the image fill them.
        taps: for each tap along depth and width, which windows see a pixel there, and which.
        windows: their shape, (groups, rows, kh*kd*kw*c, columns).
        distance: from the windows of one row to those of the next, in buffer rows.
    """

    rows: slice
    columns: slice
    buffer: Sizes
    fills: list[tuple[slice, TapRange]]
    taps: list[tuple[TapRange, ...]]
    windows: Sizes
    distance: int


@lru_cache(maxsize=256)
def _plan(
    geometry: Geometry, groups: int, channels: int, n: int, itemsize: int, widest: int | None, tuning: Tuning
) -> list[_Step]:
    """How to work through the output, part by part: it depends on sizes only, so every batch has the same plan."""
    sharing = _sharing(geometry)
    most, planes, columns = _part_sizes(channels * n * itemsize, geometry, sharing, widest, tuning)
    return [
        _step(geometry, sharing, (groups, channels // groups, n), box, top, high)
        for box in boxes(geometry, planes, columns)
        for top, high in sharing.runs(geometry.counts[HEIGHT], most)
    ]


def _step(geometry: Geometry, sharing: _Sharing, sizes: tuple[int, int, int], box: Box, top: int, high: int) -> _Step:
    """How ``high`` output rows from ``top`` on are worked on, in one box; the sizes are groups, channels and n."""
    groups, channels, n = sizes
    taps, columns = geometry.size[DEPTH] * geometry.size[WIDTH], box.planes * box.columns * n
    return _Step(
        slice(top, top + (high - 1) * sharing.phases + 1, sharing.phases),
        box.flat(geometry.counts[WIDTH], n),
        (groups, sharing.buffer_rows(high), taps, channels, box.planes, box.columns, n),
        list(sharing.fills(geometry, top, high)),
        list(product(*(_tap_ranges(geometry, axis, box) for axis in (DEPTH, WIDTH)))),
        (groups, high, sharing.size * taps * channels, columns),
        sharing.step,
    )


def _sharing(geometry: Geometry) -> _Sharing:
    """How windows share rows best: not at all where there is a stride and little could be shared."""
    size, stride, dilation = (sizes[HEIGHT] for sizes in (geometry.size, geometry.stride, geometry.dilation))
    if stride > 1 and (dilation > 1 or stride > size):
        return _Sharing(1, size, size, True)
    return _Sharing(dilation if stride == 1 and size > 1 else 1, stride, size, False)


def _part_sizes(
    pixel_bytes: int, geometry: Geometry, sharing: _Sharing, widest: int | None, tuning: Tuning
) -> tuple[int, int, int]:
    """How many output rows, planes and columns to lay out at a time, for a buffer of about ``window_bytes``.

    Rows share what they have in common, columns do not, so a part has at least four times a window's height if it can.
    """
    depth, rows, width = geometry.counts
    bytes_each = max(pixel_bytes * geometry.size[DEPTH] * geometry.size[WIDTH], 1)
    high = min(5 * sharing.size, sharing.buffer_rows(-(-rows // sharing.phases)))
    most = tuning.window_bytes // (bytes_each * high)
    planes, columns = box_size(geometry, min(depth * width if widest is None else widest, most))
    room = (tuning.window_bytes // (bytes_each * planes * columns) - sharing.size) // sharing.step
    return max(1, min(-(-rows // sharing.phases), room)), planes, columns


def _even(count: int, most: int) -> int:
    """How many of ``count`` make a part, where parts are of one size: a narrow last one would be slow."""
    return -(-count // -(-count // max(1, min(count, most))))


def _tap_ranges(geometry: Geometry, axis: int, box: Box) -> list[TapRange]:
    """For each tap along depth or width, which windows of a box see a pixel of the image, and which pixels."""
    first, count = (box.front, box.planes) if axis == DEPTH else (box.left, box.columns)
    return [geometry.tap_range(axis, tap, first, count) for tap in range(geometry.size[axis])]


def _fill(buffer: Array, image: Array, rows: TapRange, taps: list[tuple[TapRange, ...]]) -> None:
    """Copy the pixels of each tap into (groups, rows, taps, c, planes, columns, n), and zeros where there is none."""
    buffer = buffer.swapaxes(0, 1)
    _clear_outside(buffer, 0, rows.windows)
    planes, columns = slice(0, buffer.shape[4]), slice(0, buffer.shape[5])
    for tap, (deep, wide) in enumerate(taps):
        target = buffer[:, :, tap]
        if deep.windows != planes:
            _clear_outside(target, 3, deep.windows)
        if wide.windows != columns:
            _clear_outside(target, 4, wide.windows)
        pixels = image[rows.pixels, :, :, deep.pixels, wide.pixels]
        target[rows.windows, :, :, deep.windows, wide.windows] = pixels


def _clear_outside(buffer: Array, axis: int, places: slice) -> None:
    """Put zeros before and after some places along an axis."""
    along = buffer.swapaxes(0, axis)
    if places.start:
        along[: places.start] = 0
    if places.stop < len(along):
        along[places.stop :] = 0
