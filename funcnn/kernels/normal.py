"""The normal distribution: its density φ and its distribution function Φ, the probability of a number below x.

SciPy's Φ is exact to the last digits also far below 0, where 1 + erf cancels.
"""

import math

import numpy as np

from funcnn.aliases import Array

__all__ = ["density", "distribution"]


def distribution(x: Array) -> Array:
    """Φ(x), the integral of φ from -infinity to x.

    Args:
        x: floats of any shape.

    Returns:
        A new array like ``x``.

    Example:
        >>> distribution(np.array([-np.inf, 0.0, 1.0])).round(4)
        array([0.    , 0.5   , 0.8413])
    """
    from scipy.special import ndtr  # type: ignore[import-untyped]

    found: Array = ndtr(x)
    return found


def density(x: Array) -> Array:
    """φ(x) = e^(-x²/2) / √(2π).

    Args:
        x: floats of any shape, whose squares do not overflow.

    Returns:
        A new array like ``x``.

    Example:
        >>> density(np.array([0.0, 1.0])).round(4)
        array([0.3989, 0.242 ])
    """
    found = x * x
    found *= -0.5
    np.exp(found, out=found)
    found *= 1 / math.sqrt(2 * math.pi)
    return found
