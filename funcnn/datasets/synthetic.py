"""Small sets made by formula: what a network should find is known, and drawing them is part of the lesson.

Each is a pair ``(x, labels)`` in random order, float32 and int64; the same key gives the same set.
"""

import numpy as np

from funcnn.aliases import Array, Rng
from funcnn.training.batching import Data, check_whole
from funcnn.rng import generator

__all__ = ["circles", "disc", "moons", "shapes"]

SHAPES = {
    "v_line": ((0, 1, 0), (0, 1, 0), (0, 1, 0)),
    "h_line": ((0, 0, 0), (1, 1, 1), (0, 0, 0)),
    "cross": ((0, 1, 0), (1, 1, 1), (0, 1, 0)),
    "diamond": ((0, 1, 0), (1, 0, 1), (0, 1, 0)),
}


def circles(n: int, noise: float = 0.0, rng: Rng = 0) -> Data:
    r"""Two circles about the origin: (cos t, sin t) is class 0, 0.8 (cos t, sin t) is class 1.

    Args:
        n: how many points, ``>= 0``: ``n // 2`` of class 0, evenly spaced, and the rest of class 1.
        noise: the standard deviation of the Gaussian noise on both coordinates, ``>= 0``.
        rng: the key of the noise and of the order.

    Returns:
        ``(x, labels)``: float32 of shape (n, 2), and int64 of shape (n,).

    Raises:
        ValueError: ``n`` is no whole number ``>= 0``, or the noise is negative.

    Example:
        >>> x, labels = circles(6)
        >>> np.hypot(*x.T)[labels == 1]
        array([0.8, 0.8, 0.8], dtype=float32)

    Reference:
        Pedregosa et al., Scikit-learn: machine learning in Python (2011), ``make_circles``.
    """
    outer, inner = (2 * np.pi * np.arange(count) / max(count, 1) for count in _halves(n))
    return _shuffled([_arc(outer), 0.8 * _arc(inner)], noise, rng)


def moons(n: int, noise: float = 0.0, rng: Rng = 0) -> Data:
    r"""Two half circles that reach into each other: (cos t, sin t) is class 0, (1 - cos t, 1/2 - sin t) is class 1.

    Args:
        n: how many points, ``>= 0``: ``n // 2`` of class 0, evenly spaced for t from 0 to pi, and the rest of class 1.
        noise: the standard deviation of the Gaussian noise on both coordinates, ``>= 0``.
        rng: the key of the noise and of the order.

    Returns:
        ``(x, labels)``: float32 of shape (n, 2), and int64 of shape (n,).

    Raises:
        ValueError: ``n`` is no whole number ``>= 0``, or the noise is negative.

    Example:
        >>> x, labels = moons(1000, noise=0.1)
        >>> x.shape, np.bincount(labels)
        ((1000, 2), array([500, 500]))

    Reference:
        Pedregosa et al., Scikit-learn: machine learning in Python (2011), ``make_moons``.
    """
    upper, lower = (np.linspace(0, np.pi, count) for count in _halves(n))
    return _shuffled([_arc(upper), [1, 0.5] - _arc(lower)], noise, rng)


def disc(n: int, rng: Rng = 0) -> Data:
    r"""Points of a square, and whether they lie in the disc about its middle: label = [(i^2 + j^2) / pi < 0.2].

    Args:
        n: how many points, ``>= 0``, uniform in [-1, 1) x [-1, 1). The disc takes 49 % of it, so the classes are
            balanced as far as chance has it.
        rng: the key of the points.

    Returns:
        ``(x, labels)``: float32 of shape (n, 2), and int64 of shape (n,): 1 inside, 0 outside.

    Raises:
        ValueError: ``n`` is no whole number ``>= 0``.

    Example:
        >>> x, labels = disc(1000)
        >>> bool(np.hypot(*x[labels == 1].T).max() < (0.2 * np.pi) ** 0.5)
        True

    Reference:
        Apiquet, Deep learning framework from scratch, part 3: the set that its command line trains on.
    """
    x = generator(rng).uniform(-1, 1, (check_whole("n", n, 0), 2)).astype(np.float32)
    return x, (np.square(x).sum(axis=1) / np.pi < 0.2).astype(np.int64)


def shapes(n: int, noise: float = 0.25, rng: Rng = 0) -> Data:
    r"""Images of 3 x 3 pixels, ink 1 on paper 0: a vertical line, a horizontal line, a cross or a diamond, with noise.

    Args:
        n: how many images, ``>= 0``; the four classes have the same number of them, to within one.
        noise: how far it may move a pixel, ``>= 0``: it is uniform in [-noise, noise).
        rng: the key of the noise and of the order.

    Returns:
        ``(x, labels)``: float32 of shape (n, 3, 3, 1), and int64 of shape (n,): 0 for the vertical line, 1 for the
        horizontal one, 2 for the cross, 3 for the diamond (a cross without its middle).

    Raises:
        ValueError: ``n`` is no whole number ``>= 0``, or the noise is negative.

    Example:
        >>> x, labels = shapes(500, noise=0.0)
        >>> x[labels == 3][0, :, :, 0]
        array([[0., 1., 0.],
               [1., 0., 1.],
               [0., 1., 0.]], dtype=float32)

    Reference:
        Convolutional neural network from scratch (2023): the first set that its network learns.
    """
    draw = generator(rng)
    labels = draw.permutation(np.arange(check_whole("n", n, 0)) % len(SHAPES))
    images = np.array(list(SHAPES.values()), np.float32)[labels, :, :, None]
    return images + draw.uniform(-1, 1, images.shape).astype(np.float32) * _deviation(noise), labels


def _halves(n: int) -> tuple[int, int]:
    """How many examples each of two classes has."""
    return check_whole("n", n, 0) // 2, n - n // 2


def _arc(angle: Array) -> Array:
    """Points of the unit circle."""
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _shuffled(classes: list[Array], noise: float, rng: Rng) -> Data:
    """The points of all classes in random order, with noise."""
    draw = generator(rng)
    labels = np.repeat(np.arange(len(classes)), [len(points) for points in classes])
    x, order = np.concatenate(classes), draw.permutation(len(labels))
    return (x[order] + draw.normal(0, _deviation(noise), x.shape)).astype(np.float32), labels[order]


def _deviation(noise: float) -> float:
    """A strength of noise that is one."""
    if not 0 <= noise < float("inf"):
        raise ValueError(f"noise must be a number >= 0, got {noise!r}")
    return float(noise)
