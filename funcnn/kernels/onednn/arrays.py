"""How arrays lie in memory for oneDNN: C-contiguous, the channels innermost; its logical order has them second.

A reference kernel, hundreds of times slower, waits for every other order. So an array that lies otherwise is copied.
"""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

import funcnn.kernels.onednn.scope as scope
from funcnn.aliases import Array
from funcnn.engine.memory import copied
from funcnn.kernels.onednn.primitives import Handle, descriptor
from funcnn.kernels.windows import Geometry, Sizes

__all__ = ["constant", "contiguous", "image", "low_and_high", "strides_of"]


def contiguous(x: Array) -> Array:
    """x with its last axis innermost in memory and its bytes in our order: a copy if it lies otherwise."""
    if x.flags.c_contiguous and x.dtype.isnative:
        return x
    return copied(x, np.float32)


@lru_cache(maxsize=64)
def constant(value: float, channels: int) -> Array:
    """The same number for each channel, made once."""
    found = np.full(channels, value, np.float32)
    found.flags.writeable = False
    return found


def image(shape: Sizes) -> Handle:
    """The descriptor of a C-contiguous image (batch, *pixels, channels)."""
    return descriptor(_channels_second(shape), _channels_second(strides_of(shape)))


def strides_of(shape: Sizes) -> Sizes:
    """The strides of a C-contiguous array, in elements.

    Example:
        >>> strides_of((2, 3, 4))
        (12, 4, 1)
    """
    strides = [1]
    for size in shape[:0:-1]:
        strides.append(strides[-1] * size)
    return tuple(strides[::-1])


def low_and_high(geometry: Geometry) -> Iterator[Sizes]:
    """The padding before the pixels of each axis, and that behind them."""
    padding = scope.padding_of(geometry)
    assert padding is not None
    return zip(*padding, strict=True)


def _channels_second(sizes: Sizes) -> Sizes:
    """Sizes or strides of (batch, *pixels, channels) as those of (batch, channels, *pixels)."""
    return sizes[0], sizes[-1], *sizes[1:-1]
