"""Padding puts pixels around an image, and cropping cuts pixels off its sides: each is the vjp of the other.

Both take an image of any number of axes of pixels, (batch, *pixels, channels).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np

from funcnn import checks
from funcnn.aliases import Array, Size
from funcnn.kernels import padding as kernels
from funcnn.kernels.padding import as_border, border_of
from funcnn.layers.activation import Pull
from funcnn.protocol import Layer, elements_of, layer, stateless
from funcnn.wording import shown

__all__ = ["crop", "pad"]

Widths: TypeAlias = Size | Sequence[Size] | Sequence[Sequence[Size]]
"""Pixels at all sides of an image, or pairs of them for its axes."""

Mode: TypeAlias = Literal["zero", "constant", "reflect", "replicate", "circular"]
MODES = ("zero", "constant", "reflect", "replicate", "circular")


@layer
def pad(widths: Widths, mode: Mode = "zero", value: float = 0.0) -> Layer:
    """y = x with a border around its pixels;  dx = dy without the border, plus the gradients of copies in it.

    A series of pixels a b c d gets at its right end, with a width of 3::

        zero, constant    a b c d | 0 0 0, or the value
        reflect           a b c d | c b a         mirrored at the last pixel, which is not repeated
        replicate         a b c d | d d d         the nearest pixel
        circular          a b c d | a b c         as if the image stood beside itself

    Args:
        widths: pixels, for the axes of pixels only, which are those between the batch and the channels: one number for
            all sides of an image of any number of axes; or before and after each axis, as convolutions take padding,
            ``(left, right)`` for series, ``((top, bottom), (left, right))`` for images,
            ``((front, back), (top, bottom), (left, right))`` for volumes.
        mode: what the border is made of; the default is ``"zero"``. Convolutions pad by themselves, see ``pad_mode``.
        value: the pixels of the border with ``"constant"``, any number.

    Returns:
        A layer without parameters, from (batch, *pixels, channels) to the same with more pixels.

    Raises:
        TypeError: ``value`` is not a number.
        ValueError: a width is not a whole number ``>= 0``, or there are others than one pair for each axis of pixels;
            ``mode`` is unknown; there is a ``value`` with a mode other than ``"constant"``; or, from ``init`` and
            ``apply``, the border is wider than its sources: with ``"circular"`` at most all pixels, with ``"reflect"``
            one less.

    Example:
        >>> y, vjp_fn = pad((0, 2), "reflect").apply({}, np.array([1.0, 2.0, 3.0]).reshape(1, 3, 1))
        >>> y.ravel()
        array([1., 2., 3., 2., 1.])
        >>> vjp_fn(np.ones_like(y))[1].ravel()
        array([2., 2., 1.])
    """
    border = as_border("pad", "widths", widths)
    if not isinstance(mode, str) or mode not in MODES:
        raise ValueError(f"pad: unknown mode {shown(mode)}, expected one of {[*MODES]}")
    number = checks.real("pad", "value", value)
    if number != 0 and mode != "constant":
        raise ValueError(f"pad: value is for mode 'constant', got {shown(value)} with mode {mode!r}")

    def forward(x: Array) -> tuple[Array, Pull]:
        sides = border_of("pad", "widths", border, x.shape)
        if mode in kernels.SOURCES:
            return kernels.extend("pad", x, sides, mode), lambda dy: kernels.extend_gradient(dy, sides, mode)
        with np.errstate(over="ignore"):  # a number that is too large for float32 is infinite there
            filler: Any = x.dtype.type(number)
        return kernels.pad(x, sides, filler), lambda dy: kernels.unpad(dy, sides)

    return stateless("pad", forward, working_set=elements_of)


@layer
def crop(widths: Widths) -> Layer:
    """y = x without some pixels at its sides;  dx = dy with zeros around it.

    Args:
        widths: pixels, for the axes of pixels only, as ``pad`` takes them: one number for all sides, or before and
            after each axis, ``(left, right)``, ``((top, bottom), (left, right))`` and so on.

    Returns:
        A layer without parameters, from (batch, *pixels, channels) to the same with fewer pixels.

    Raises:
        ValueError: a width is not a whole number ``>= 0``, or there are others than one pair for each axis of pixels;
            or, from ``init`` and ``apply``, nothing of the image is left.

    Example:
        >>> y, vjp_fn = crop((0, 2)).apply({}, np.array([1.0, 2.0, 3.0]).reshape(1, 3, 1))
        >>> y.ravel(), vjp_fn(y)[1].ravel()
        (array([1.]), array([1., 0., 0.]))
    """
    border = as_border("crop", "widths", widths)

    def forward(x: Array) -> tuple[Array, Pull]:
        sides = border_of("crop", "widths", border, x.shape)
        pixels = x.shape[1:-1]
        if any(low + high >= n for n, (low, high) in zip(pixels, sides, strict=True)):
            raise ValueError(f"crop: widths {sides} leave nothing of an image of {pixels} pixels; crop less")
        return kernels.unpad(x, sides), lambda dy: kernels.pad(dy, sides)

    return stateless("crop", forward)
