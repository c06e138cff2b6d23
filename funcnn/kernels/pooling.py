"""Pooling summarises each window by its largest, smallest or mean value, with one whole-array operation per tap.

Going back, an extreme's gradient goes to the pixel that won, the first one where several tie, so that the sum of the
gradient is kept; a mean's is shared out evenly. Windows that overlap add what they bring.
"""

from collections.abc import Iterator

import numpy as np

from funcnn.aliases import Array
from funcnn.engine.memory import empty_like
from funcnn.kernels.layout import BLOCK_BYTES
from funcnn.kernels.windows import Padding, Pair, Window, pad

__all__ = ["extreme_gradient", "extreme_pool", "mean_gradient", "mean_pool"]


def extreme_pool(x: Array, pick: np.ufunc, window: Window, counts: Pair, padding: Padding) -> Array:
    """The value of each window that ``np.maximum`` or ``np.minimum`` picks.

    Args:
        x: (batch, height, width, channels).
        pick: ``np.maximum`` or ``np.minimum``.
        window: size and stride.
        counts: rows and columns of the output.
        padding: pixels around ``x`` that are never picked.

    Returns:
        (batch, rows, columns, channels).
    """
    image = pad(x, padding, _never(pick))
    # Rows before columns: whole rows of pixels are long runs in memory, and halve what the columns have to do.
    for axis in (1, 2):
        taps = [image[_along(axis, window, tap, counts)] for tap in range(window.size[axis - 1])]
        image = taps[0] if len(taps) == 1 else pick(taps[0], taps[1])
        for tap in taps[2:]:
            pick(image, tap, out=image)
    return image.copy(order="K") if window.size == (1, 1) else image


def extreme_gradient(x: Array, y: Array, dy: Array, pick: np.ufunc, window: Window, padding: Padding) -> Array:
    """dx of ``extreme_pool``: each ``dy`` goes to the first pixel of its window that equals ``y``.

    Args:
        x: the input.
        y: the output.
        dy: like ``y``.
        pick: as in ``extreme_pool``.
        window: as in ``extreme_pool``.
        padding: as in ``extreme_pool``.

    Returns:
        dx: like ``x``.
    """
    image = pad(x, padding, _never(pick))
    apart = all(step >= size for step, size in zip(window.stride, window.size, strict=True))
    tiled = window.stride == window.size and image.shape[1:3] == _tiles(window, y.shape[1:3])
    dx = empty_like(image, image.shape)
    if not tiled:
        dx[...] = 0
    *others, last = window.taps(y.shape[1:3])
    for rows in _row_blocks(y):
        best = y[rows]
        left_over, seen, won = (empty_like(y, best.shape) for _ in range(3))
        left_over[...] = dy[rows]
        for _, _, tap in others:
            # Arithmetic on short runs and on mixed dtypes is slow, copying either is not.
            seen[...] = image[tap][rows]
            won[...] = seen == best
            won *= left_over
            left_over -= won
            if apart:
                dx[tap][rows] = won
            else:
                dx[tap][rows] += won
        # Somebody has won: what nobody before took is the last one's.
        if apart:
            dx[last[2]][rows] = left_over
        else:
            dx[last[2]][rows] += left_over
    return _unpad(dx, padding)


def mean_pool(x: Array, window: Window, counts: Pair, padding: Padding) -> Array:
    """The mean of each window's pixels, those of the padding not counted.

    Args:
        x: (batch, height, width, channels).
        window: size and stride.
        counts: rows and columns of the output.
        padding: pixels around ``x`` that are not part of any mean.

    Returns:
        (batch, rows, columns, channels).
    """
    image = pad(x, padding)
    total = empty_like(x, (len(x), *counts, x.shape[3]))
    total[...] = 0
    for _, _, index in window.taps(counts):
        total += image[index]
    total /= _pixels(x, window, counts, padding)
    return total


def mean_gradient(x: Array, dy: Array, window: Window, padding: Padding) -> Array:
    """dx of ``mean_pool``: each ``dy`` shared out evenly among the pixels of its window.

    Args:
        x: the input.
        dy: like the output.
        window: as in ``mean_pool``.
        padding: as in ``mean_pool``.

    Returns:
        dx: like ``x``.
    """
    (top, bottom), (left, right) = padding
    n, h, w, c = x.shape
    dx = empty_like(x, (n, h + top + bottom, w + left + right, c))
    dx[...] = 0
    counts = dy.shape[1:3]
    share = empty_like(x, dy.shape)
    np.divide(dy, _pixels(x, window, counts, padding), out=share)
    for _, _, index in window.taps(counts):
        dx[index] += share
    return _unpad(dx, padding)


def _never(pick: np.ufunc) -> float:
    """The value that loses against every other."""
    return -np.inf if pick is np.maximum else np.inf


def _pixels(x: Array, window: Window, counts: Pair, padding: Padding) -> Array:
    """How many pixels of the image, not of the padding, each window holds: (rows, columns, 1)."""
    image = pad(np.ones((1, *x.shape[1:3], 1), x.dtype), padding)
    total = np.zeros((1, *counts, 1), x.dtype)
    for _, _, index in window.taps(counts):
        total += image[index]
    pixels: Array = total[0]
    return pixels


def _unpad(dx: Array, padding: Padding) -> Array:
    """The image without its border."""
    (top, bottom), (left, right) = padding
    return dx[:, top : dx.shape[1] - bottom, left : dx.shape[2] - right]


def _along(axis: int, window: Window, tap: int, counts: Pair) -> tuple[slice, ...]:
    """The pixels that one tap of a window meets along one axis."""
    step, count = window.stride[axis - 1], counts[axis - 1]
    return (*[slice(None)] * axis, slice(tap, tap + step * (count - 1) + 1, step))


def _tiles(window: Window, counts: Pair) -> Pair:
    """The pixels that windows side by side cover without a gap."""
    return window.size[0] * counts[0], window.size[1] * counts[1]


def _row_blocks(y: Array) -> Iterator[tuple[slice, slice]]:
    """Rows of images, as many at a time as the cache holds while three or four arrays of that size are worked on."""
    step = max(1, y.shape[1] * BLOCK_BYTES // max(y.nbytes, 1))
    for first in range(0, y.shape[1], step):
        yield slice(None), slice(first, first + step)
