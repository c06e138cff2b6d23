"""Unfolding lays the patch under each place of a window out as a row, and folding adds such rows up to an image again.

A convolution is a product of the unfolded image with its kernel. Each of the two layers is the other's vjp. They have
the conventions of PyTorch's ``Unfold`` and ``Fold``, with the channels last.
"""

from __future__ import annotations

import math
from typing import Any

from funcnn import checks
from funcnn.aliases import Array, Padding, Padding1d, PerAxis
from funcnn.kernels.patches import folded, unfolded
from funcnn.kernels.windows import FLAT, LINE, SOLID, Axes, Window, as_padding
from funcnn.layers.activation import Pull
from funcnn.protocol import Layer, elements_of, layer, stateless

__all__ = ["fold", "unfold"]

AXES: dict[int, Axes] = {1: LINE, 2: FLAT, 3: SOLID}


def _rank(value: Any) -> int:
    """The number of axes that an argument is for; one number is for the two of an image."""
    return len(value) if isinstance(value, tuple | list) and len(value) in AXES else 2


def _window(kind: str, axes: Axes, size: Any, stride: Any, padding: Any, dilation: Any) -> Window:
    return Window(
        checks.sizes(kind, "size", size, axes),
        checks.sizes(kind, "stride", stride, axes),
        checks.sizes(kind, "dilation", dilation, axes),
        as_padding(kind, padding, axes),
    )


@layer
def unfold(size: PerAxis, stride: PerAxis = 1, padding: Padding | Padding1d = "valid", dilation: PerAxis = 1) -> Layer:
    """y[n, l] = the patch of x under window l, as a row;  dx = ``fold`` of dy: the patches, added up.

    The windows l are in the order of reading. Element (c * h + i) * w + j of a row is channel c of the pixel in row i
    and column j of a window of h x w, the order of PyTorch's ``Unfold``: the channel is slowest. The padding is 0.

    Args:
        size: of the window in pixels, an int or a pair (height, width); a tuple of one or three numbers is for series
            or volumes.
        stride: pixels from one window to the next.
        padding: ``"valid"``, ``"same"`` or ``((top, bottom), (left, right))``.
        dilation: pixels from one of the window's pixels to the next.

    Returns:
        A layer from (batch, height, width, channels) to (batch, windows, channels * h * w).

    Raises:
        TypeError: from ``apply``, the input is not a plain array of float32 or float64.
        ValueError: an argument is out of range; or, from ``init`` and ``apply``, the input has another number of axes,
            or the window is larger than it.

    Example:
        A convolution is a product with the unfolded image:

        >>> import funcnn as fn, numpy as np
        >>> x, w = np.random.rand(2, 5, 6, 3), np.random.rand(3, 2, 3, 4)
        >>> patches, _ = unfold((3, 2)).apply({}, x)
        >>> patches.shape
        (2, 15, 18)
        >>> y, _ = fn.conv2d(4, (3, 2), bias=False).apply({"w": w}, x)
        >>> np.allclose(patches @ w.transpose(2, 0, 1, 3).reshape(18, 4), y.reshape(2, 15, 4))
        True

    Reference:
        Chellapilla, Puri & Simard 2006, "High performance convolutional neural networks for document processing".
    """
    axes = AXES[_rank(size)]
    window = _window("unfold", axes, size, stride, padding, dilation)

    def forward(x: Array) -> tuple[Array, Pull]:
        checks.images("unfold", x, axes)
        geometry = window.fit("unfold", x.shape)
        return unfolded(x, geometry), lambda dy: folded(dy, geometry)

    return stateless("unfold", forward, working_set=lambda x: elements_of(x) * math.prod(window.size))


@layer
def fold(
    pixels: PerAxis,
    size: PerAxis,
    stride: PerAxis = 1,
    padding: Padding | Padding1d = "valid",
    dilation: PerAxis = 1,
) -> Layer:
    """y = the image in which each row of x is added as a patch at the place of its window;  dx = ``unfold`` of dy.

    Windows and the elements of a row are in the order of ``unfold``. A pixel in several patches becomes their sum, and
    what lies on the padding is dropped.

    Args:
        pixels: of the image, an int or a pair (height, width); a tuple of one or three numbers is for series or
            volumes.
        size: of the window in pixels, an int or a pair, and so on.
        stride: pixels from one window to the next.
        padding: ``"valid"``, ``"same"`` or ``((top, bottom), (left, right))``.
        dilation: pixels from one of the window's pixels to the next.

    Returns:
        A layer from (batch, windows, channels * h * w) to (batch, height, width, channels).

    Raises:
        TypeError: from ``apply``, the input is not a plain array of float32 or float64.
        ValueError: an argument is out of range, or the window is larger than the image; or, from ``init`` and
            ``apply``, the input has another number of windows than the image, or elements that are not whole channels
            of a window.

    Example:
        Each pixel is in as many patches as windows cover it:

        >>> import numpy as np
        >>> y, vjp_fn = fold((2, 3), (1, 2)).apply({}, np.ones((1, 4, 2)))
        >>> y[0, :, :, 0]
        array([[1., 2., 1.],
               [1., 2., 1.]])
        >>> vjp_fn(y)[1][0]
        array([[1., 2.],
               [2., 1.],
               [1., 2.],
               [2., 1.]])

    Reference:
        PyTorch's ``Fold``, known as col2im.
    """
    axes = AXES[max(_rank(pixels), _rank(size), key=lambda rank: abs(rank - 2))]
    image, window = checks.sizes("fold", "pixels", pixels, axes), _window("fold", axes, size, stride, padding, dilation)
    geometry = window.fit("fold", (*image, 1))
    windows, taps = math.prod(geometry.counts), math.prod(window.size)

    def forward(x: Array) -> tuple[Array, Pull]:
        if x.ndim != 3 or x.shape[1] != windows or x.shape[2] % taps or not x.shape[2]:
            raise ValueError(
                f"fold: expected an input of shape (batch, {windows}, channels * {taps}) for an image of {image} "
                f"pixels with windows {window.size}, got shape {x.shape}"
            )
        return folded(x, geometry), lambda dy: unfolded(dy, geometry)

    return stateless("fold", forward, working_set=elements_of)
