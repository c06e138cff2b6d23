"""A patch is what a window sees of an image at one place: unfolding copies all patches, folding adds them up.

The two are the transposes of each other, so each is the backward pass of the other.
"""

import math
from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np

from funcnn.aliases import Array
from funcnn.engine.memory import empty
from funcnn.kernels.padding import pad, unpad
from funcnn.kernels.tuning import TUNING, Tuning
from funcnn.kernels.windows import Geometry

__all__ = ["folded", "unfolded"]

Index: TypeAlias = tuple[Any, ...]


def unfolded(x: Array, geometry: Geometry, tuning: Tuning = TUNING) -> Array:
    """The patch under each window, as a row.

    Args:
        x: (batch, *pixels, channels).
        geometry: the windows on x; the padding is 0.
        tuning: the tuning constants.

    Returns:
        (batch, windows, channels * taps).
    """
    image, patches = pad(x, geometry.padding), empty(_shape(len(x), x.shape[-1], geometry), x.dtype)
    for row, seen in _steps(patches, geometry, tuning):
        patches[row] = image[seen]
    return patches.reshape(len(x), math.prod(geometry.counts), x.shape[-1] * math.prod(geometry.size))


def folded(patches: Array, geometry: Geometry, tuning: Tuning = TUNING) -> Array:
    """The image in which each patch is added at the place of its window; what lies on the padding is dropped.

    Args:
        patches: (batch, windows, channels * taps).
        geometry: the windows on the image.
        tuning: the tuning constants.

    Returns:
        (batch, *pixels, channels).
    """
    batch, channels = len(patches), patches.shape[-1] // math.prod(geometry.size)
    padded = [n + low + high for n, (low, high) in zip(geometry.pixels, geometry.padding, strict=True)]
    image = empty((batch, *padded, channels), patches.dtype)
    image[...] = 0
    patches = patches.reshape(_shape(batch, channels, geometry))
    for row, seen in _steps(patches, geometry, tuning):
        image[seen] += patches[row]
    return unpad(image, geometry.padding)


def _steps(patches: Array, geometry: Geometry, tuning: Tuning) -> Iterator[tuple[Index, Index]]:
    """For each tap its index in the patches and in the image, of as many examples as the cache holds the patches of."""
    step = max(1, len(patches) * tuning.block_bytes // max(patches.nbytes, 1))
    taps = [*zip(np.ndindex(*geometry.size), geometry.taps(), strict=True)]
    for first in range(0, len(patches), step):
        some = slice(first, first + step)
        for tap, seen in taps:
            yield (some, ..., *tap), (some, *seen[1:])


def _shape(batch: int, channels: int, geometry: Geometry) -> tuple[int, ...]:
    """(batch, *counts, channels, *size)."""
    return batch, *geometry.counts, channels, *geometry.size
