"""Pooling layers make images smaller: one value stands for each window, whatever lies where within it.

They have no parameters. What padding adds at the border is never a value: it is not picked and, unless that is asked
for, not averaged. The number of axes is an argument of ``pooling``; the constructors below describe it for series,
images and volumes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from funcnn import checks
from funcnn.aliases import Array, Padding, Padding1d, PerAxis
from funcnn.kernels.pooling import extreme_pooling, mean_gradient, mean_pool
from funcnn.kernels.windows import FLAT, LINE, SOLID, Axes, Geometry, Window, as_padding
from funcnn.layers.activation import Pull
from funcnn.protocol import Layer, elements_of, layer, stateless
from funcnn.wording import shown

__all__ = [
    "avg_pool1d", "avg_pool2d", "avg_pool3d", "max_pool1d", "max_pool2d", "max_pool3d", "min_pool1d", "min_pool2d",
    "min_pool3d",
]  # fmt: skip

Forward = Callable[[Array, Geometry], tuple[Array, Pull]]


def pooling(
    kind: str, axes: Axes, reduce: Forward, size: Any, stride: Any, padding: Any, ceil_mode: Any, dilation: Any = 1
) -> Layer:
    """Pooling over any number of axes; wherever a window stands, it holds at least one pixel of the image."""
    sizes, dilations = checks.sizes(kind, "window", size, axes), checks.sizes(kind, "dilation", dilation, axes)
    steps = sizes if stride is None else checks.sizes(kind, "stride", stride, axes)
    border, ceil = as_padding(kind, padding, axes), checks.flag(kind, "ceil_mode", ceil_mode)
    window = Window(sizes, steps, dilations, border, ceil)
    spans = window.effective_size
    if not isinstance(border, str) and any(max(p) >= n for p, n in zip(border, spans, strict=True)):
        raise ValueError(f"{kind}: padding must be smaller than the window {spans}, got {shown(padding)}")

    def forward(x: Array) -> tuple[Array, Pull]:
        checks.images(kind, x, axes)
        geometry = window.fit(kind, x.shape)
        if spans != sizes and geometry.has_empty_window():
            raise ValueError(
                f"{kind}: with dilation {dilations} there is a window {sizes} that holds no pixel of an input of "
                f"{geometry.pixels} pixels; use a smaller dilation or less padding"
            )
        return reduce(x, geometry)

    made = stateless(kind, forward, working_set=elements_of)
    made.apply.picks_the_largest = reduce is MAX  # type: ignore[attr-defined]
    return made


def _extreme(pick: np.ufunc, x: Array, geometry: Geometry) -> tuple[Array, Pull]:
    return extreme_pooling(x, pick, geometry)


MAX, MIN = partial(_extreme, np.maximum), partial(_extreme, np.minimum)


def _avg_pool(kind: str, axes: Axes, size: Any, stride: Any, padding: Any, ceil_mode: Any, count_padding: Any) -> Layer:
    """Average pooling over any number of axes."""
    counts, asked = checks.flag(kind, "count_padding", count_padding), as_padding(kind, padding, axes)
    none = ((0, 0),) * len(axes)

    def mean(x: Array, geometry: Geometry) -> tuple[Array, Pull]:
        counted = none
        if counts:  # what ceil_mode adds after the image never counts
            counted = asked if not isinstance(asked, str) else geometry.padding if asked == "same" else none
        return mean_pool(x, geometry, counted), lambda dy: mean_gradient(x, dy, geometry, counted)

    return pooling(kind, axes, mean, size, stride, padding, ceil_mode)


@layer
def max_pool1d(
    window: PerAxis,
    stride: PerAxis | None = None,
    padding: Padding1d = "valid",
    ceil_mode: bool = False,
    dilation: PerAxis = 1,
) -> Layer:
    """y = the largest value of each window, per channel;  dx = dy at the pixel that was picked (the first, if tied).

    NaN wins over every number.

    Args:
        window: its size in pixels.
        stride: pixels from one window to the next; the window's size by default.
        padding: ``"valid"``, ``"same"`` or ``(left, right)``, each smaller than the window.
        ceil_mode: whether a last window that hangs over the edge counts.
        dilation: pixels from one of the window's pixels to the next.

    Returns:
        A layer from (batch, width, channels) to (batch, columns, channels).

    Raises:
        TypeError: ``ceil_mode`` is not a bool; or, from ``apply``, the input is not a plain array of float32 or
            float64.
        ValueError: an argument is out of range; without ``ceil_mode``, the window is larger than the series.

    Example:
        >>> y, vjp_fn = max_pool1d(2).apply({}, np.arange(6.0).reshape(1, 6, 1))
        >>> y.ravel()
        array([1., 3., 5.])

    Reference:
        Riesenhuber & Poggio 1999, "Hierarchical models of object recognition in cortex"; Scherer, Müller & Behnke 2010,
        "Evaluation of pooling operations in convolutional architectures for object recognition".
    """
    return pooling("max_pool1d", LINE, MAX, window, stride, padding, ceil_mode, dilation)


@layer
def max_pool2d(
    window: PerAxis,
    stride: PerAxis | None = None,
    padding: Padding = "valid",
    ceil_mode: bool = False,
    dilation: PerAxis = 1,
) -> Layer:
    """y = the largest value of each window, per channel;  dx = dy at the pixel that was picked (the first, if tied).

    NaN wins over every number.

    Args:
        window: its size in pixels, an int or a pair (height, width).
        stride: pixels from one window to the next; the window's size by default.
        padding: ``"valid"``, ``"same"`` or ``((top, bottom), (left, right))``, each smaller than the window.
        ceil_mode: whether a last window that hangs over the edge counts.
        dilation: pixels from one of the window's pixels to the next.

    Returns:
        A layer from (batch, height, width, channels) to (batch, rows, columns, channels).

    Raises:
        TypeError: ``ceil_mode`` is not a bool; or, from ``apply``, the input is not a plain array of float32 or
            float64.
        ValueError: an argument is out of range; without ``ceil_mode``, the window is larger than the image.

    Example:
        >>> y, vjp_fn = max_pool2d(2).apply({}, np.arange(16.0).reshape(1, 4, 4, 1))
        >>> y[0, :, :, 0]
        array([[ 5.,  7.],
               [13., 15.]])

    Reference:
        Riesenhuber & Poggio 1999, "Hierarchical models of object recognition in cortex"; Scherer, Müller & Behnke 2010,
        "Evaluation of pooling operations in convolutional architectures for object recognition".
    """
    return pooling("max_pool2d", FLAT, MAX, window, stride, padding, ceil_mode, dilation)


@layer
def max_pool3d(
    window: PerAxis,
    stride: PerAxis | None = None,
    padding: Padding = "valid",
    ceil_mode: bool = False,
    dilation: PerAxis = 1,
) -> Layer:
    """y = the largest value of each window, per channel;  dx = dy at the pixel that was picked (the first, if tied).

    NaN wins over every number.

    Args:
        window: its size in pixels, an int or a triple (depth, height, width).
        stride: pixels from one window to the next; the window's size by default.
        padding: ``"valid"``, ``"same"`` or ``((front, back), (top, bottom), (left, right))``,
            each smaller than the window.
        ceil_mode: whether a last window that hangs over the edge counts.
        dilation: pixels from one of the window's pixels to the next.

    Returns:
        A layer from (batch, depth, height, width, channels) to (batch, planes, rows, columns, channels).

    Raises:
        TypeError: ``ceil_mode`` is not a bool; or, from ``apply``, the input is not a plain array of float32 or
            float64.
        ValueError: an argument is out of range; without ``ceil_mode``, the window is larger than the volume.

    Example:
        >>> y, vjp_fn = max_pool3d(2).apply({}, np.arange(16.0).reshape(1, 4, 2, 2, 1))
        >>> y.ravel()
        array([ 7., 15.])

    Reference:
        Riesenhuber & Poggio 1999, "Hierarchical models of object recognition in cortex"; Scherer, Müller & Behnke 2010,
        "Evaluation of pooling operations in convolutional architectures for object recognition".
    """
    return pooling("max_pool3d", SOLID, MAX, window, stride, padding, ceil_mode, dilation)


@layer
def min_pool1d(
    window: PerAxis,
    stride: PerAxis | None = None,
    padding: Padding1d = "valid",
    ceil_mode: bool = False,
    dilation: PerAxis = 1,
) -> Layer:
    """y = the smallest value of each window, per channel;  dx = dy at the pixel that was picked (the first, if tied).

    NaN wins over every number.

    Args:
        window: its size in pixels.
        stride: pixels from one window to the next; the window's size by default.
        padding: ``"valid"``, ``"same"`` or ``(left, right)``, each smaller than the window.
        ceil_mode: whether a last window that hangs over the edge counts.
        dilation: pixels from one of the window's pixels to the next.

    Returns:
        A layer from (batch, width, channels) to (batch, columns, channels).

    Raises:
        TypeError: ``ceil_mode`` is not a bool; or, from ``apply``, the input is not a plain array of float32 or
            float64.
        ValueError: an argument is out of range; without ``ceil_mode``, the window is larger than the series.

    Example:
        >>> y, vjp_fn = min_pool1d(2).apply({}, np.arange(6.0).reshape(1, 6, 1))
        >>> y.ravel()
        array([0., 2., 4.])

    Reference:
        The mirror image of max pooling, -max(-x): Soille 2003, "Morphological image analysis", chapter 3 (erosion).
    """
    return pooling("min_pool1d", LINE, MIN, window, stride, padding, ceil_mode, dilation)


@layer
def min_pool2d(
    window: PerAxis,
    stride: PerAxis | None = None,
    padding: Padding = "valid",
    ceil_mode: bool = False,
    dilation: PerAxis = 1,
) -> Layer:
    """y = the smallest value of each window, per channel;  dx = dy at the pixel that was picked (the first, if tied).

    NaN wins over every number.

    Args:
        window: its size in pixels, an int or a pair (height, width).
        stride: pixels from one window to the next; the window's size by default.
        padding: ``"valid"``, ``"same"`` or ``((top, bottom), (left, right))``, each smaller than the window.
        ceil_mode: whether a last window that hangs over the edge counts.
        dilation: pixels from one of the window's pixels to the next.

    Returns:
        A layer from (batch, height, width, channels) to (batch, rows, columns, channels).

    Raises:
        TypeError: ``ceil_mode`` is not a bool; or, from ``apply``, the input is not a plain array of float32 or
            float64.
        ValueError: an argument is out of range; without ``ceil_mode``, the window is larger than the image.

    Example:
        >>> y, vjp_fn = min_pool2d(2).apply({}, np.arange(16.0).reshape(1, 4, 4, 1))
        >>> y[0, :, :, 0]
        array([[ 0.,  2.],
               [ 8., 10.]])

    Reference:
        The mirror image of max pooling, -max(-x): Soille 2003, "Morphological image analysis", chapter 3 (erosion).
    """
    return pooling("min_pool2d", FLAT, MIN, window, stride, padding, ceil_mode, dilation)


@layer
def min_pool3d(
    window: PerAxis,
    stride: PerAxis | None = None,
    padding: Padding = "valid",
    ceil_mode: bool = False,
    dilation: PerAxis = 1,
) -> Layer:
    """y = the smallest value of each window, per channel;  dx = dy at the pixel that was picked (the first, if tied).

    NaN wins over every number.

    Args:
        window: its size in pixels, an int or a triple (depth, height, width).
        stride: pixels from one window to the next; the window's size by default.
        padding: ``"valid"``, ``"same"`` or ``((front, back), (top, bottom), (left, right))``,
            each smaller than the window.
        ceil_mode: whether a last window that hangs over the edge counts.
        dilation: pixels from one of the window's pixels to the next.

    Returns:
        A layer from (batch, depth, height, width, channels) to (batch, planes, rows, columns, channels).

    Raises:
        TypeError: ``ceil_mode`` is not a bool; or, from ``apply``, the input is not a plain array of float32 or
            float64.
        ValueError: an argument is out of range; without ``ceil_mode``, the window is larger than the volume.

    Example:
        >>> y, vjp_fn = min_pool3d(2).apply({}, np.arange(16.0).reshape(1, 4, 2, 2, 1))
        >>> y.ravel()
        array([0., 8.])

    Reference:
        The mirror image of max pooling, -max(-x): Soille 2003, "Morphological image analysis", chapter 3 (erosion).
    """
    return pooling("min_pool3d", SOLID, MIN, window, stride, padding, ceil_mode, dilation)


@layer
def avg_pool1d(
    window: PerAxis,
    stride: PerAxis | None = None,
    padding: Padding1d = "valid",
    ceil_mode: bool = False,
    count_padding: bool = False,
) -> Layer:
    """y = the mean of each window's pixels, per channel;  dx = dy / pixels, for each pixel of the window.

    Args:
        window: its size in pixels.
        stride: pixels from one window to the next; the window's size by default.
        padding: ``"valid"``, ``"same"`` or ``(left, right)``, each smaller than the window.
        ceil_mode: whether a last window that hangs over the edge counts.
        count_padding: whether the padding counts as pixels, which are 0: the default of PyTorch,
            ``count_include_pad=True``. ONNX and Keras do not count it. What hangs over the edge never counts.

    Returns:
        A layer from (batch, width, channels) to (batch, columns, channels).

    Raises:
        TypeError: ``ceil_mode`` or ``count_padding`` is not a bool; or, from ``apply``, the input is not a plain array
            of float32 or float64.
        ValueError: an argument is out of range; without ``ceil_mode``, the window is larger than the series.

    Example:
        >>> y, vjp_fn = avg_pool1d(2).apply({}, np.arange(6.0).reshape(1, 6, 1))
        >>> y.ravel()
        array([0.5, 2.5, 4.5])

    Reference:
        LeCun, Bottou, Bengio & Haffner 1998, "Gradient-based learning applied to document recognition", section II.A.
    """
    return _avg_pool("avg_pool1d", LINE, window, stride, padding, ceil_mode, count_padding)


@layer
def avg_pool2d(
    window: PerAxis,
    stride: PerAxis | None = None,
    padding: Padding = "valid",
    ceil_mode: bool = False,
    count_padding: bool = False,
) -> Layer:
    """y = the mean of each window's pixels, per channel;  dx = dy / pixels, for each pixel of the window.

    Args:
        window: its size in pixels, an int or a pair (height, width).
        stride: pixels from one window to the next; the window's size by default.
        padding: ``"valid"``, ``"same"`` or ``((top, bottom), (left, right))``, each smaller than the window.
        ceil_mode: whether a last window that hangs over the edge counts.
        count_padding: whether the padding counts as pixels, which are 0: the default of PyTorch,
            ``count_include_pad=True``. ONNX and Keras do not count it. What hangs over the edge never counts.

    Returns:
        A layer from (batch, height, width, channels) to (batch, rows, columns, channels).

    Raises:
        TypeError: ``ceil_mode`` or ``count_padding`` is not a bool; or, from ``apply``, the input is not a plain array
            of float32 or float64.
        ValueError: an argument is out of range; without ``ceil_mode``, the window is larger than the image.

    Example:
        >>> y, _ = avg_pool2d(3, padding="same").apply({}, np.ones((1, 4, 4, 1)))
        >>> y[0, :, :, 0]
        array([[1., 1.],
               [1., 1.]])

    Reference:
        LeCun, Bottou, Bengio & Haffner 1998, "Gradient-based learning applied to document recognition", section II.A.
    """
    return _avg_pool("avg_pool2d", FLAT, window, stride, padding, ceil_mode, count_padding)


@layer
def avg_pool3d(
    window: PerAxis,
    stride: PerAxis | None = None,
    padding: Padding = "valid",
    ceil_mode: bool = False,
    count_padding: bool = False,
) -> Layer:
    """y = the mean of each window's pixels, per channel;  dx = dy / pixels, for each pixel of the window.

    Args:
        window: its size in pixels, an int or a triple (depth, height, width).
        stride: pixels from one window to the next; the window's size by default.
        padding: ``"valid"``, ``"same"`` or ``((front, back), (top, bottom), (left, right))``,
            each smaller than the window.
        ceil_mode: whether a last window that hangs over the edge counts.
        count_padding: whether the padding counts as pixels, which are 0: the default of PyTorch,
            ``count_include_pad=True``. ONNX and Keras do not count it. What hangs over the edge never counts.

    Returns:
        A layer from (batch, depth, height, width, channels) to (batch, planes, rows, columns, channels).

    Raises:
        TypeError: ``ceil_mode`` or ``count_padding`` is not a bool; or, from ``apply``, the input is not a plain array
            of float32 or float64.
        ValueError: an argument is out of range; without ``ceil_mode``, the window is larger than the volume.

    Example:
        >>> y, vjp_fn = avg_pool3d(2).apply({}, np.arange(16.0).reshape(1, 4, 2, 2, 1))
        >>> y.ravel()
        array([ 3.5, 11.5])

    Reference:
        LeCun, Bottou, Bengio & Haffner 1998, "Gradient-based learning applied to document recognition", section II.A.
    """
    return _avg_pool("avg_pool3d", SOLID, window, stride, padding, ceil_mode, count_padding)
