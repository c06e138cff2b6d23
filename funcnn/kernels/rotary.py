"""Places as angles: a wave for each pair of features, from fast to slow, whose angle grows with the place.

Added to the features, sines and cosines of the angles tell a layer where it is. Rotated by the angles instead, the
product of two vectors depends on the distance of their places only.
"""

from functools import lru_cache

import numpy as np

from funcnn.aliases import Array

__all__ = ["rotated", "waves"]


def waves(places: int, width: int, base: float) -> tuple[Array, Array]:
    """cos and sin of place * base^(-2 i / width), for the places from 0 and i = 0, 1, ...

    Args:
        places: how many there are.
        width: the number of features, which come in pairs; an odd one has half of a pair.
        base: the longest wave has about 2 pi times as many places.

    Returns:
        Two arrays (places, pairs) of float64, which must not be written to.

    Example:
        >>> waves(2, 2, 10000.0)[1].round(3)
        array([[0.   ],
               [0.841]])
    """
    # A text that is generated step by step asks for one place more each time, and one table serves many of these.
    cos, sin = _table(1 << max(places - 1, 0).bit_length(), width, base)
    return cos[:places], sin[:places]


@lru_cache(maxsize=32)
def _table(places: int, width: int, base: float) -> tuple[Array, Array]:
    """``waves`` of some places."""
    frequencies = float(base) ** (-np.arange(0, width, 2) / width)
    angles = np.arange(places)[:, None] * frequencies
    found = np.cos(angles), np.sin(angles)
    for table in found:
        table.flags.writeable = False
    return found


def rotated(x: Array, cos: Array, sin: Array) -> Array:
    """(a cos - b sin, b cos + a sin), with a and b the first and the second half of the features of x.

    The vjp is the rotation by the opposite angle, ``rotated(dy, cos, -sin)``.

    Args:
        x: (batch, time, ..., width).
        cos: what multiplies (batch, time, ..., width / 2).
        sin: likewise.

    Returns:
        A new array like ``x``.

    Example:
        >>> rotated(np.array([[[1.0, 2.0]]]), np.zeros(1), np.ones(1))
        array([[[-2.,  1.]]])

    Reference:
        Su et al. 2021, "RoFormer", arXiv 2104.09864, equation 34.
    """
    a, b = np.split(x, 2, -1)
    y: Array = np.concatenate((a * cos - b * sin, b * cos + a * sin), -1)
    return y
