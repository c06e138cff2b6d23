"""Resampling computes each pixel of an image of another size from the few pixels of the image that are nearest to it.

It is linear and *separable*: along each axis it is a product with a sparse matrix, whose rows hold the weights of the
nearest pixels, and the backward pass is the product with the transposed matrix. A pixel of weight 0 is not in the
matrix, so that an infinite one makes no NaN elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, reduce
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from funcnn.aliases import Array
from funcnn.engine.memory import empty_like
from funcnn.kernels.windows import Sizes

__all__ = ["RULES", "Along", "resample", "resample_gradient"]


class Along(NamedTuple):
    """Resampling along one axis.

    Args:
        rule: a key of ``RULES``.
        pixels: of the image.
        size: of what is made of it.
        step: the pixels of the image from one new pixel to the next, as (numerator, denominator).
        align_corners: whether the centres of the first and the last pixel stay where they are, whatever the step.
    """

    rule: str
    pixels: int
    size: int
    step: tuple[float, float]
    align_corners: bool = False

    def centres(self) -> Array:
        """Where on the image the centre of each new pixel lies; that of the image's pixel i is at i."""
        s = np.arange(self.size)
        if self.align_corners:
            return s * (self.pixels - 1) / max(self.size - 1, 1)
        return (s + 0.5) * self.step[0] / self.step[1] - 0.5


def _nearest(along: Along) -> tuple[Array, Array]:
    """The pixel in which the lower edge of the new one lies."""
    edges = np.arange(along.size) * along.step[0] / along.step[1]
    return np.floor(edges)[:, None], np.ones((along.size, 1))


def _linear(along: Along) -> tuple[Array, Array]:
    """The straight line between two pixels."""
    centres = np.clip(along.centres(), 0, along.pixels - 1)
    first = np.floor(centres)
    t = centres - first
    return np.stack([first, first + 1], 1), np.stack([1 - t, t], 1)


def _cubic(along: Along) -> tuple[Array, Array]:
    """The cubic convolution of four pixels, Keys 1981, with a = -0.75."""
    a, centres = -0.75, along.centres()
    first = np.floor(centres)
    t = centres - first
    weights = []
    for distance in (1 + t, t, 1 - t, 2 - t):
        near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
        far = ((distance - 5) * distance + 8) * distance * a - 4 * a
        weights.append(np.where(distance <= 1, near, far))
    return first[:, None] + np.arange(-1, 3), np.stack(weights, 1)


RULES: dict[str, Callable[[Along], tuple[Array, Array]]] = {"nearest": _nearest, "linear": _linear, "cubic": _cubic}
"""``rule(along) -> (pixels, weights)``, both (size, taps); beyond its edges an image goes on with its last pixel."""


@lru_cache(maxsize=64)
def _matrix(along: Along, dtype: str, transposed: bool) -> Any:
    """The sparse matrix (size, pixels), or its transpose."""
    from scipy.sparse import csr_array  # type: ignore[import-untyped]

    if transposed:
        return _matrix(along, dtype, False).T.tocsr()
    found, weights = RULES[along.rule](along)
    columns = np.clip(found, 0, along.pixels - 1).astype(np.int32)
    starts = np.arange(0, columns.size + 1, columns.shape[1], dtype=np.int32)
    matrix = csr_array((weights.ravel(), columns.ravel(), starts), shape=(along.size, along.pixels))
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    return matrix.astype(dtype)


def resample(x: Array, axes: Sequence[Along]) -> Array:
    """The image in another size.

    Args:
        x: (batch, *pixels, channels).
        axes: for each axis of pixels how it is resampled.

    Returns:
        An array (batch, *sizes, channels). Where each pixel is only repeated, the memory order of the image stays;
        else the pixels lie outermost.

    Example:
        >>> resample(np.array([0.0, 1.0]).reshape(1, 2, 1), [Along("linear", 2, 4, (1, 2))]).ravel()
        array([0.  , 0.25, 0.75, 1.  ])
    """
    copies = _copies(axes)
    return _product(x, axes, False) if copies is None else _repeat(x, copies)


def resample_gradient(dy: Array, axes: Sequence[Along]) -> Array:
    """The vjp of ``resample``: the gradient of a pixel is the sum over all that it is part of, by their weights.

    Example:
        >>> resample_gradient(np.ones((1, 4, 1)), [Along("linear", 2, 4, (1, 2))]).ravel()
        array([2., 2.])
    """
    copies = _copies(axes)
    return _product(dy, axes, True) if copies is None else _repeat_gradient(dy, copies)


def _product(x: Array, axes: Sequence[Along], transposed: bool) -> Array:
    """The image times the matrices of its axes, or their transposes."""
    for axis in range(len(axes), 0, -1):
        along = axes[axis - 1]
        # As in PyTorch, a factor that leaves the size leaves the pixels too, but for "cubic".
        if along.size != along.pixels or along.rule == "cubic":
            matrix = _matrix(along, x.dtype.char, transposed)
            first = np.moveaxis(x, axis, 0)
            # One product for all lines of the image: their pixels along the axis are the rows of a matrix.
            y = matrix @ np.ascontiguousarray(first, matrix.dtype).reshape(len(first), first.size // len(first))
            x = np.moveaxis(y.reshape(len(y), *first.shape[1:]), 0, axis)
    return x


def _copies(axes: Sequence[Along]) -> Sizes | None:
    """How many times each pixel is repeated along each axis; None if that is not all."""
    copies = [along.step[1] / along.step[0] for along in axes if along.rule == "nearest"]
    return tuple(map(int, copies)) if len(copies) == len(axes) and all(map(float.is_integer, copies)) else None


def _repeat(x: Array, copies: Sizes) -> Array:
    """The image with each pixel repeated, in the memory order of the image."""
    batch, *pixels, channels = x.shape
    y = empty_like(x, (batch, *[n * times for n, times in zip(pixels, copies, strict=True)], channels))
    # Slices keep the order of the axes in memory.
    for starts in product(*map(range, copies)):
        y[(slice(None), *map(slice, starts, y.shape[1:-1], copies))] = x
    return y


def _repeat_gradient(dy: Array, copies: Sizes) -> Array:
    """The vjp of ``_repeat``: the sum over the copies of each pixel."""
    for axis, times in enumerate(copies, 1):
        if times > 1:
            dy = reduce(np.add, [dy[(slice(None),) * axis + (slice(n, None, times),)] for n in range(times)])
    return dy
