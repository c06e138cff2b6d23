"""Padding surrounds an image with pixels that are not part of it, so that windows can stand over its edge.

It is made of a constant, or of pixels of the image: the nearest, the mirrored ones, or those at the opposite edge. Then
the gradient of a pixel of the border belongs to the pixel that it repeats.
"""

from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from funcnn import checks
from funcnn.aliases import Array
from funcnn.engine.memory import empty_like
from funcnn.kernels.windows import Geometry, Padding, Sizes
from funcnn.wording import shown

__all__ = ["SOURCES", "as_border", "border_of", "extend", "extend_gradient", "extend_image", "pad", "unpad"]

Index: TypeAlias = tuple[slice, ...]


def as_border(kind: str, name: str, value: Any) -> int | Padding:
    """Pixels at the sides of an image: one number ``>= 0`` for all of them, or before and after each of its axes.

    Example:
        >>> [as_border("pad", "widths", value) for value in (2, (1, 2), [(1, 0), (0, 2)])]
        [2, ((1, 2),), ((1, 0), (0, 2))]
    """
    try:
        if not isinstance(value, tuple | list):
            return checks.size(kind, name, value, 0)
        sides = value if value and all(isinstance(ends, tuple | list) for ends in value) else [value]
        pairs = [[checks.size(kind, name, n, 0) for n in ends] for ends in sides]
        return tuple((low, high) for low, high in pairs)
    except ValueError:
        expected = "pixels >= 0, one number or for each axis a pair, (left, right) or ((top, bottom), (left, right))"
        raise ValueError(f"{kind}: {name} must be {expected}, got {shown(value)}") from None


def border_of(kind: str, name: str, border: int | Padding, shape: tuple[int, ...]) -> Padding:
    """The pixels before and after each axis of an image of this shape, (batch, *pixels, channels)."""
    rank = len(shape) - 2
    if rank < 1:
        raise ValueError(f"{kind}: expected an input of axes (batch, *pixels, channels), got shape {shape}")
    if isinstance(border, int):
        return ((border, border),) * rank
    if len(border) != rank:
        raise ValueError(
            f"{kind}: {name} {border} are for {len(border)} axes of pixels, an input of shape {shape} has {rank}; "
            "the batch and the channels have none"
        )
    return border


def pad(x: Array, padding: Padding, value: float = 0.0) -> Array:
    """An image with a border of ``value``; negative padding cuts pixels off. The memory order stays.

    Args:
        x: (batch, *pixels, channels).
        padding: pixels before and after, for each axis of pixels.
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


class _Copy(NamedTuple):
    """Pixels of a border, and the pixels of the same padded image that they repeat; one repeats along its axis."""

    border: Index
    source: Index


def extend(kind: str, x: Array, padding: Padding, mode: str) -> Array:
    """An image with a border of its own pixels, whose memory order stays.

    Args:
        kind: the layer's kind, for the message.
        x: (batch, *pixels, channels).
        padding: pixels before and after, for each axis of pixels, not negative.
        mode: a key of ``SOURCES``.

    Returns:
        ``x`` itself without padding, else a new array.

    Raises:
        ValueError: the border is wider than its sources.

    Example:
        >>> extend("pad", np.array([1.0, 2.0, 3.0]).reshape(1, 3, 1), ((2, 1),), "reflect").ravel()
        array([3., 2., 1., 2., 3., 2.])
    """
    border = _border(x.shape[1:-1], padding)
    if border is None:
        return x
    copies = _copies(kind, x.shape[1:-1], padding, mode)
    padded = empty_like(x, (len(x), *border.pixels, x.shape[-1]))
    padded[border.inside] = x
    for copy in copies:  # the corners of an axis hold anything until the last axis has filled them
        padded[copy.border] = padded[copy.source]
    return padded


def extend_gradient(dy: Array, padding: Padding, mode: str) -> Array:
    """The vjp of ``extend``: the gradient of a pixel of the border is that of the pixel that it repeats.

    Example:
        >>> extend_gradient(np.array([1.0, 2.0, 4.0]).reshape(1, 3, 1), ((0, 1),), "replicate").ravel()
        array([1., 6.])
    """
    if not any(map(any, padding)):
        return dy
    pixels = tuple(n - low - high for n, (low, high) in zip(dy.shape[1:-1], padding, strict=True))
    total = empty_like(dy)
    np.copyto(total, dy)
    for border, source in reversed(_copies("", pixels, padding, mode)):
        sources = total[source]
        axis = len(border) - 1
        sources += total[border].sum(axis, keepdims=True) if sources.shape[axis] == 1 else total[border]
    return unpad(total, padding)


def extend_image(kind: str, x: Array, geometry: Geometry, mode: str) -> tuple[Array, Geometry]:
    """The image with its border, and the same windows on this larger image; with "zero" both stay as they are."""
    if mode == "zero":
        return x, geometry
    x = extend(kind, x, geometry.padding, mode)
    return x, geometry._replace(pixels=x.shape[1:-1], padding=((0, 0),) * len(geometry.padding))


def _nearest(n: int, low: int, high: int) -> tuple[slice, slice]:
    return slice(low, low + 1), slice(low + n - 1, low + n)


def _mirrored(n: int, low: int, high: int) -> tuple[slice, slice]:
    last = low + n - 2 - high
    return slice(2 * low, low, -1), slice(low + n - 2, None if last < 0 else last, -1)


def _wrapped(n: int, low: int, high: int) -> tuple[slice, slice]:
    return slice(n, n + low), slice(low, low + high)


SOURCES = {"replicate": _nearest, "edge": _nearest, "reflect": _mirrored, "circular": _wrapped}
"""By mode: along an axis of n pixels, where in the padded image the sources of the lower and the upper border are."""

WIDEST = {"reflect": -1, "circular": 0}
"""How much wider than the image a border may be; one that repeats the nearest pixel may have any width."""


@lru_cache(maxsize=256)
def _copies(kind: str, pixels: Sizes, padding: Padding, mode: str) -> list[_Copy]:
    """What to copy, axis by axis, for an image of this size."""
    found = []
    for axis, (n, (low, high)) in enumerate(zip(pixels, padding, strict=True)):
        most = n + WIDEST[mode] if mode in WIDEST else max(low, high)
        if max(low, high) > most or n < 1:
            raise ValueError(
                f"{kind}: padding {padding} with mode {mode!r} is wider than an image of {pixels} pixels allows, "
                f"at most {most} on axis {axis + 1}; pad less, or with another mode"
            )
        before = (slice(None),) * (axis + 1)
        ends = slice(low), slice(low + n, low + n + high)
        for width, end, source in zip((low, high), ends, SOURCES[mode](n, low, high), strict=True):
            if width:
                found.append(_Copy((*before, end), (*before, source)))
    return found
