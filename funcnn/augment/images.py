"""Augmentations that move or cover the pixels of images, each image of a batch in its own way.

Images are (n, height, width, channels), floats or integers, and keep their dtype; pixels from outside of an image
are 0.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from funcnn import checks
from funcnn.aliases import Array, PerAxis
from funcnn.augment.parts import Augmentation, of_x
from funcnn.recorded import recorded
from funcnn.wording import shown

__all__ = ["crop", "cutout", "flip", "noise", "rotate", "shift"]


@recorded
def flip(direction: Literal["horizontal", "vertical"] = "horizontal", probability: float = 0.5) -> Augmentation:
    """y[i, j] = x[i, width - 1 - j] for some images, chosen at random, and x for the others.

    Args:
        direction: ``"horizontal"`` exchanges left and right, ``"vertical"`` top and bottom.
        probability: the probability that an image is flipped, in [0, 1].

    Returns:
        A function ``augment(batch, rng) -> batch``.

    Raises:
        TypeError: the probability is not a number; or, once it is called, x is not an array of images.
        ValueError: an argument is out of range.

    Example:
        >>> flip(probability=1)(np.array([[[[1], [2]]]]), 0)
        array([[[[2],
                 [1]]]])

    Reference:
        Krizhevsky, Sutskever and Hinton, ImageNet classification with deep convolutional neural networks (2012),
        section 4.1.
    """
    if direction not in ("horizontal", "vertical"):
        raise ValueError(f"flip: direction must be 'horizontal' or 'vertical', got {shown(direction)}")
    probability = checks.probability("flip", "probability", probability)
    axis = 2 if direction == "horizontal" else 1

    def change(x: Array, draw: np.random.Generator) -> Array:
        chosen = draw.random(len(x)) < probability
        return np.where(chosen[:, None, None, None], np.flip(x, axis), x)

    return of_x("flip", change)


@recorded
def crop(padding: PerAxis = 0, size: PerAxis | None = None) -> Augmentation:
    """A part of each image at a random place, after zeros have been added around it.

    Args:
        padding: the number of zeros at each side, ``>= 0``; or (vertical, horizontal). ``crop(4)`` is usual for images
            of 32 x 32.
        size: the height and the width of the part; by default those of the image.

    Returns:
        A function ``augment(batch, rng) -> batch``.

    Raises:
        TypeError: once it is called, x is not an array of images.
        ValueError: an argument is out of range; or, once it is called, the part is larger than the padded image.

    Example:
        >>> crop(size=(1, 2))(np.ones((5, 3, 3, 1)), 0).shape
        (5, 1, 2, 1)

    Reference:
        He, Zhang, Ren and Sun, Deep residual learning for image recognition (2016), section 4.2.
    """
    padded = checks.sizes("crop", "padding", padding, least=0)
    wanted = None if size is None else checks.sizes("crop", "size", size)

    def change(x: Array, draw: np.random.Generator) -> Array:
        return _cropped(x, padded, x.shape[1:3] if wanted is None else wanted, draw)

    return of_x("crop", change)


@recorded
def shift(pixels: PerAxis) -> Augmentation:
    """y[i, j] = x[i + u, j + v] for each image, with u and v whole numbers drawn from [-pixels, pixels].

    Args:
        pixels: the largest shift, ``>= 0``; or (vertical, horizontal).

    Returns:
        A function ``augment(batch, rng) -> batch``.

    Raises:
        TypeError: once it is called, x is not an array of images.
        ValueError: ``pixels`` is not a whole number ``>= 0``, or two of them.

    Example:
        >>> shift((0, 1))(np.array([[[[1], [2], [3]]]]), 3).ravel()
        array([2, 3, 0])

    Reference:
        LeCun, Bottou, Bengio and Haffner, Gradient-based learning applied to document recognition (1998), section
        III-C.
    """
    pixels = checks.sizes("shift", "pixels", pixels, least=0)
    return of_x("shift", lambda x, draw: _cropped(x, pixels, x.shape[1:3], draw))


@recorded
def rotate(degrees: float) -> Augmentation:
    """Each image turned around its centre by an angle drawn from [-degrees, degrees], with bilinear interpolation.

    Args:
        degrees: the largest angle, from 0 to 180.

    Returns:
        A function ``augment(batch, rng) -> batch``.

    Raises:
        TypeError: the angle is not a number; or, once it is called, x is not an array of images.
        ValueError: the angle is out of range.

    Example:
        >>> rotate(10)(np.ones((2, 5, 5, 1), np.float32), 0)[:, 2, 2, 0]
        array([1., 1.], dtype=float32)

    Reference:
        Simard, Steinkraus and Platt, Best practices for convolutional neural networks applied to visual document
        analysis (2003), section 2.
    """
    limit = checks.nonnegative("rotate", "degrees", degrees)
    if limit > 180:
        raise ValueError(f"rotate: degrees must be at most 180, got {shown(degrees)}")

    def change(x: Array, draw: np.random.Generator) -> Array:
        angle = np.deg2rad(draw.uniform(-limit, limit, len(x)))[:, None, None]
        rows, columns = (np.arange(n) - (n - 1) / 2 for n in x.shape[1:3])
        # The place that each pixel comes from is found by the rotation in the other direction.
        down = np.cos(angle) * rows[:, None] + np.sin(angle) * columns + (x.shape[1] - 1) / 2
        right = np.cos(angle) * columns - np.sin(angle) * rows[:, None] + (x.shape[2] - 1) / 2
        return _interpolated(x, down, right)

    return of_x("rotate", change)


@recorded
def cutout(size: PerAxis) -> Augmentation:
    """Zeros in a rectangle of each image, whose centre is any of its pixels, so that the border may cut it.

    Args:
        size: the height and the width of the rectangle, ``>= 1``.

    Returns:
        A function ``augment(batch, rng) -> batch``.

    Raises:
        TypeError: once it is called, x is not an array of images.
        ValueError: ``size`` is not a whole number ``>= 1``, or two of them.

    Example:
        >>> int(cutout(1)(np.ones((1, 4, 4, 1)), 0).sum())
        15

    Reference:
        DeVries and Taylor, Improved regularization of convolutional neural networks with cutout (2017), arXiv
        1708.04552, section 3.
    """
    size = checks.sizes("cutout", "size", size)

    def change(x: Array, draw: np.random.Generator) -> Array:
        covered = [
            _covered(draw.integers(n, size=len(x)), extent, n) for n, extent in zip(x.shape[1:3], size, strict=True)
        ]
        inside = covered[0][:, :, None] & covered[1][:, None, :]
        return np.where(inside[..., None], x.dtype.type(0), x)

    return of_x("cutout", change)


@recorded
def noise(std: float) -> Augmentation:
    """y = x + std * n, with n from a standard normal distribution.

    Args:
        std: the standard deviation, ``>= 0``.

    Returns:
        A function ``augment(batch, rng) -> batch``.

    Raises:
        TypeError: ``std`` is not a number; or, once it is called, x is not an array of images of floats.
        ValueError: ``std`` is negative or not finite.

    Example:
        >>> noise(0.1)(np.zeros((1000, 8, 8, 1)), 0).std().round(3)
        np.float64(0.1)

    Reference:
        Bishop, Training with noise is equivalent to Tikhonov regularization (1995).
    """
    std = checks.nonnegative("noise", "std", std)

    def change(x: Array, draw: np.random.Generator) -> Array:
        dtype = np.float32 if x.dtype == np.float32 else np.float64
        return (x + draw.standard_normal(x.shape, dtype) * dtype(std)).astype(x.dtype, copy=False)

    return of_x("noise", change, "f")


def _cropped(x: Array, padding: tuple[int, ...], size: tuple[int, ...], draw: np.random.Generator) -> Array:
    """A part of each image at a random place."""
    down, right = padding
    padded = np.pad(x, ((0, 0), (down, down), (right, right), (0, 0)))
    room = [have - want for have, want in zip(padded.shape[1:3], size, strict=True)]
    if min(room) < 0:
        raise ValueError(f"crop: expected images of at least {size} with their padding, got {padded.shape[1:3]}")
    top, left = (draw.integers(n + 1, size=len(x)) for n in room)
    rows, columns = top[:, None] + np.arange(size[0]), left[:, None] + np.arange(size[1])
    part: Array = padded[np.arange(len(x))[:, None, None], rows[:, :, None], columns[:, None, :]]
    return part


def _covered(centre: Array, extent: int, n: int) -> Array:
    """Which of n pixels lie in a range of this extent around each centre."""
    first = (centre - extent // 2)[:, None]
    place = np.arange(n)
    covered: Array = (place >= first) & (place < first + extent)
    return covered


def _interpolated(x: Array, down: Array, right: Array) -> Array:
    """The images at places between their pixels, (n, height, width), and 0 outside of them."""
    height, width = x.shape[1:3]
    padded, image = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))), np.arange(len(x))[:, None, None]
    down, right = np.clip(down + 1, 0, height + 1), np.clip(right + 1, 0, width + 1)
    top, left = np.minimum(down.astype(int), height), np.minimum(right.astype(int), width)
    lower, later = (down - top)[..., None], (right - left)[..., None]
    upper_row = padded[image, top, left] * (1 - later) + padded[image, top, left + 1] * later
    lower_row = padded[image, top + 1, left] * (1 - later) + padded[image, top + 1, left + 1] * later
    found: Array = upper_row * (1 - lower) + lower_row * lower
    return found.astype(x.dtype) if x.dtype.kind == "f" else np.rint(found).astype(x.dtype)
