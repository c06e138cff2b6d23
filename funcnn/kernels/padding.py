"""Padding surrounds an image with pixels that are not part of it, so that windows can stand over its edge.

It is made of a constant, or of the nearest pixel of the image; then the gradient of a padded pixel belongs to that one.
"""

from functools import lru_cache
from typing import NamedTuple, TypeAlias

import numpy as np

from funcnn.aliases import Array
from funcnn.engine.memory import empty_like
from funcnn.kernels.windows import Geometry, Padding, Sizes

__all__ = ["pad", "pad_edges", "unpad", "unpad_edges"]

Index: TypeAlias = tuple[slice, ...]


def pad(x: Array, padding: Padding, value: float = 0.0) -> Array:
    """An image with a border of ``value``; negative padding cuts pixels off. The memory order stays.

    Args:
        x: (batch, *pixels, channels).
        padding: pixels before and behind, for each axis of pixels.
        value: of the border.

    Returns:
        ``x`` itself without padding, else a new array.

    Example:
        >>> pad(np.ones((1, 2, 1)), ((1, -1),)).ravel()
        array([0., 1.])
    """
    border = _border(x.shape[1:-1], padding)
    if border is None:
        return x
    padded = empty_like(x, (len(x), *border.pixels, x.shape[-1]))
    for edge in border.edges:
        padded[edge] = value
    padded[border.inside] = x[border.kept]
    return padded


class _Border(NamedTuple):
    """How an image is padded.

    Args:
        pixels: of the padded image.
        edges: indices of what is around the image in the padded one.
        inside: the index of the image in the padded one.
        kept: the index of what is not cut off the image.
    """

    pixels: Sizes
    edges: list[Index]
    inside: Index
    kept: Index


@lru_cache(maxsize=256)
def _border(pixels: Sizes, padding: Padding) -> _Border | None:
    """How an image of this size is padded; None without padding. It depends on sizes only."""
    if not any(map(any, padding)):
        return None
    padded = tuple(n + low + high for n, (low, high) in zip(pixels, padding, strict=True))
    inside, kept, edges = [slice(None)], [slice(None)], []
    for axis, (low, high) in enumerate(padding):
        before = (slice(None),) * (axis + 1)
        edges += [(*before, slice(low))] * (low > 0) + [(*before, slice(padded[axis] - high, None))] * (high > 0)
        inside.append(slice(max(low, 0), padded[axis] - max(high, 0)))
        kept.append(slice(max(-low, 0), pixels[axis] - max(-high, 0)))
    return _Border(padded, edges, tuple(inside), tuple(kept))


def unpad(x: Array, padding: Padding) -> Array:
    """The image without its border, which is not negative: a view.

    Example:
        >>> unpad(np.arange(4.0).reshape(1, 4, 1), ((1, 0),)).ravel()
        array([1., 2., 3.])
    """
    return x[(slice(None), *[slice(low, n - high) for n, (low, high) in zip(x.shape[1:-1], padding, strict=True)])]


def pad_edges(x: Array, geometry: Geometry) -> tuple[Array, Geometry]:
    """The image with its edge pixels repeated outwards, and the same windows on this larger image."""
    for axis, (pixels, (low, high)) in enumerate(zip(geometry.pixels, geometry.padding, strict=True), 1):
        if low or high:
            x = x[(slice(None),) * axis + (np.clip(np.arange(-low, pixels + high), 0, pixels - 1),)]
    return x, geometry._replace(pixels=x.shape[1:-1], padding=((0, 0),) * len(geometry.padding))


def unpad_edges(dy: Array, padding: Padding) -> Array:
    """The vjp of ``pad_edges``: what a repeated pixel caused is counted for the pixel itself."""
    for axis, (low, high) in enumerate(padding, 1):
        along = dy.swapaxes(0, axis)
        inner = along[low : len(along) - high].copy()
        inner[0] += along[:low].sum(0)
        inner[-1] += along[len(along) - high :].sum(0)
        dy = inner.swapaxes(0, axis)
    return dy
