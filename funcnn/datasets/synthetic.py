"""Small data sets of points in the plane, made by formula, on which a model can be seen as a whole.

Each is a pair ``(x, labels)`` in random order, float32 and int64; the same key gives the same set.
"""

from __future__ import annotations

import numpy as np

from funcnn import checks
from funcnn.aliases import Array, Labelled, Rng
from funcnn.calls import explained
from funcnn.rng import generator

__all__ = ["circles", "moons"]

MAX_NOISE = 1e36
"""A hundredth of the largest float32: no normal number is a hundred standard deviations from its mean."""


@explained
def circles(n: int, noise: float = 0.0, rng: Rng = 0) -> Labelled:
    """Two circles around the origin: (cos t, sin t) is class 0, 0.8 (cos t, sin t) is class 1.

    Args:
        n: the number of points, ``>= 0``: ``n // 2`` of class 0, evenly spaced, and the rest of class 1.
        noise: the standard deviation of the Gaussian noise on both coordinates, ``>= 0``.
        rng: the key of the noise and of the order.

    Returns:
        ``(x, labels)``: float32 of shape (n, 2), and int64 of shape (n,).

    Raises:
        TypeError: the noise is not a number, or ``rng`` is not a key.
        ValueError: ``n`` is not a whole number ``>= 0``, or the noise is negative, or too large for float32.

    Example:
        >>> x, labels = circles(6)
        >>> np.hypot(*x.T)[labels == 1]
        array([0.8, 0.8, 0.8], dtype=float32)

    Reference:
        Pedregosa et al., Scikit-learn: machine learning in Python (2011), ``make_circles``.
    """
    outer, inner = (2 * np.pi * np.arange(count) / max(count, 1) for count in _halves("circles", n))
    return _shuffled("circles", [_arc(outer), 0.8 * _arc(inner)], noise, rng)


@explained
def moons(n: int, noise: float = 0.0, rng: Rng = 0) -> Labelled:
    """Two interleaved half circles: (cos t, sin t) is class 0, (1 - cos t, 1/2 - sin t) is class 1.

    Args:
        n: the number of points, ``>= 0``: ``n // 2`` of class 0, evenly spaced for t from 0 to pi, and the rest of
            class 1.
        noise: the standard deviation of the Gaussian noise on both coordinates, ``>= 0``.
        rng: the key of the noise and of the order.

    Returns:
        ``(x, labels)``: float32 of shape (n, 2), and int64 of shape (n,).

    Raises:
        TypeError: the noise is not a number, or ``rng`` is not a key.
        ValueError: ``n`` is not a whole number ``>= 0``, or the noise is negative, or too large for float32.

    Example:
        >>> x, labels = moons(1000, noise=0.1)
        >>> x.shape, np.bincount(labels)
        ((1000, 2), array([500, 500]))

    Reference:
        Pedregosa et al., Scikit-learn: machine learning in Python (2011), ``make_moons``.
    """
    upper, lower = (np.linspace(0, np.pi, count) for count in _halves("moons", n))
    return _shuffled("moons", [_arc(upper), [1, 0.5] - _arc(lower)], noise, rng)


def _halves(kind: str, n: int) -> tuple[int, int]:
    """The numbers of examples of two classes."""
    n = checks.size(kind, "n", n, 0)
    return n // 2, n - n // 2


def _arc(angle: Array) -> Array:
    """Points of the unit circle."""
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _shuffled(kind: str, classes: list[Array], noise: float, rng: Rng) -> Labelled:
    """The points of all classes in random order, with noise."""
    noise, draw = checks.nonnegative(kind, "noise", noise), generator(rng)
    if noise > MAX_NOISE:
        raise ValueError(f"{kind}: noise must be at most {MAX_NOISE}, or float32 would overflow, got {noise}")
    labels = np.repeat(np.arange(len(classes)), [len(points) for points in classes])
    x, order = np.concatenate(classes), draw.permutation(len(labels))
    return (x[order] + draw.normal(0, noise, x.shape)).astype(np.float32), labels[order]
