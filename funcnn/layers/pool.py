"""Pooling layers make images smaller: one value stands for each window, whatever lies where within it.

They have no parameters. What padding adds at the border is never a value: it is not picked and not averaged. The number
of axes is an argument of ``_pool`` and ``_global_avg_pool``; the constructors below them describe it for series, images
and volumes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from funcnn import checks
from funcnn.aliases import Array, Padding, Padding1d, PerAxis
from funcnn.kernels.pooling import extreme_gradient, extreme_pool, mean_gradient, mean_pool
from funcnn.kernels.windows import FLAT, LINE, SOLID, Axes, Geometry, Window, as_padding
from funcnn.layers.activation import Pull
from funcnn.protocol import Layer, elements_of, layer, stateless
from funcnn.wording import shown

__all__ = [
    "avg_pool1d", "avg_pool2d", "avg_pool3d", "global_avg_pool1d", "global_avg_pool2d", "global_avg_pool3d",
    "max_pool1d", "max_pool2d", "max_pool3d", "min_pool1d", "min_pool2d", "min_pool3d",
]  # fmt: skip

Forward = Callable[[Array, Geometry], tuple[Array, Pull]]


def _extreme(pick: np.ufunc, x: Array, geometry: Geometry) -> tuple[Array, Pull]:
    y = extreme_pool(x, pick, geometry)
    return y, lambda dy: extreme_gradient(x, y, dy, pick, geometry)


def _mean(x: Array, geometry: Geometry) -> tuple[Array, Pull]:
    return mean_pool(x, geometry), lambda dy: mean_gradient(x, dy, geometry)


MAX, MIN = partial(_extreme, np.maximum), partial(_extreme, np.minimum)


def _pool(
    kind: str, axes: Axes, reduce: Forward, size: PerAxis, stride: PerAxis | None, padding: Any, ceil_mode: bool
) -> Layer:
    """Pooling over any number of axes; wherever a window stands, it holds at least one pixel of the image."""
    sizes = checks.sizes(kind, "window", size, axes)
    border = as_padding(kind, padding, axes)
    if not isinstance(border, str) and any(max(p) >= n for p, n in zip(border, sizes, strict=True)):
        raise ValueError(f"{kind}: padding must be smaller than the window {sizes}, got {shown(padding)}")
    steps = sizes if stride is None else checks.sizes(kind, "stride", stride, axes)
    window = Window(sizes, steps, (1,) * len(axes), border, checks.flag(kind, "ceil_mode", ceil_mode))

    def forward(x: Array) -> tuple[Array, Pull]:
        checks.images(kind, x, axes)
        return reduce(x, window.fit(kind, x.shape))

    made = stateless(kind, forward, working_set=elements_of)
    made.apply.picks_the_largest = reduce is MAX  # type: ignore[attr-defined]
    return made


MAX_PIXELS_TO_ADD = 256
"""Pixels up to which a sum in float32 is precise: NumPy adds them one after the other."""


GLOBAL_AVG_POOL = """y[n, c] = the mean of channel c over the whole {whole};  dx = dy / pixels, everywhere.

    It is ready, without arguments: ``fn.{kind}``. The {whole} may be of any size; it comes before the last ``dense``.

    Args:
        x: floats of shape (batch, {axes}, channels).

    Returns:
        A layer without parameters, from (batch, {axes}, channels) to (batch, channels).

    Raises:
        TypeError: from ``apply``, x is no plain array of float32 or float64.
        ValueError: from ``apply``, x has another number of axes, or no pixels.

    Example:
        >>> import funcnn as fn, numpy as np
        >>> y, vjp_fn = fn.{kind}.apply({{}}, np.arange(4.0).reshape({example}))
        >>> y
        array([[1., 2.]])
        >>> vjp_fn(np.ones_like(y))[1].ravel()
        array([0.5, 0.5, 0.5, 0.5])

    Reference:
        Lin, Chen & Yan 2014, "Network in network", arXiv 1312.4400, section 3.2.
    """


def _global_avg_pool(kind: str, axes: Axes, whole: str, names: str) -> Layer:
    """Global average pooling over any number of axes; ``names`` are those of the axes of a whole, an image."""

    def forward(x: Array) -> tuple[Array, Pull]:
        checks.images(kind, x, axes)
        shape, pixels = x.shape, math.prod(x.shape[1:-1])
        if not pixels:
            raise ValueError(f"{kind}: expected an image of at least one pixel, got shape {x.shape}")
        over = tuple(range(1, x.ndim - 1))
        precise = np.float64 if pixels > MAX_PIXELS_TO_ADD else x.dtype.type
        try:
            with np.errstate(over="raise"):
                y = x.mean(over, precise)
        except FloatingPointError:  # the sum overflows, the mean does not
            y = (x / pixels).sum(over, precise)
        y = y.astype(x.dtype, copy=False)
        return y, lambda dy: np.broadcast_to(np.expand_dims(dy / pixels, over), shape)

    example = (1, *[1] * (len(axes) - 1), 2, 2)
    forward.__doc__ = GLOBAL_AVG_POOL.format(kind=kind, whole=whole, axes=names, example=str(example)[1:-1])
    return stateless(kind, forward, working_set=elements_of)


global_avg_pool1d = _global_avg_pool("global_avg_pool1d", LINE, "series", "width")
global_avg_pool2d = _global_avg_pool("global_avg_pool2d", FLAT, "image", "height, width")
global_avg_pool3d = _global_avg_pool("global_avg_pool3d", SOLID, "volume", "depth, height, width")


@layer
def max_pool1d(
    window: PerAxis, stride: PerAxis | None = None, padding: Padding1d = "valid", ceil_mode: bool = False
) -> Layer:
    """y = the largest value of each window, per channel;  dx = dy at the pixel that was picked (the first, if tied).

    NaN wins over every number.

    Args:
        window: its size in pixels.
        stride: pixels from one window to the next; the window's size by default.
        padding: ``"valid"``, ``"same"`` or ``(left, right)``, each smaller than the window.
        ceil_mode: whether a last window that hangs over the edge counts.

    Returns:
        A layer from (batch, width, channels) to (batch, columns, channels).

    Raises:
        TypeError: ``ceil_mode`` is not a bool; or, from ``apply``, the input is no plain array of float32 or float64.
        ValueError: an argument is out of range; without ``ceil_mode``, the window is larger than the series.

    Example:
        >>> y, vjp_fn = max_pool1d(2).apply({}, np.arange(6.0).reshape(1, 6, 1))
        >>> y.ravel()
        array([1., 3., 5.])

    Reference:
        Riesenhuber & Poggio 1999, "Hierarchical models of object recognition in cortex"; Scherer, Müller & Behnke 2010,
        "Evaluation of pooling operations in convolutional architectures for object recognition".
    """
    return _pool("max_pool1d", LINE, MAX, window, stride, padding, ceil_mode)


@layer
def max_pool2d(
    window: PerAxis, stride: PerAxis | None = None, padding: Padding = "valid", ceil_mode: bool = False
) -> Layer:
    """y = the largest value of each window, per channel;  dx = dy at the pixel that was picked (the first, if tied).

    NaN wins over every number.

    Args:
        window: its size in pixels, an int or a pair (height, width).
        stride: pixels from one window to the next; the window's size by default.
        padding: ``"valid"``, ``"same"`` or ``((top, bottom), (left, right))``, each smaller than the window.
        ceil_mode: whether a last window that hangs over the edge counts.

    Returns:
        A layer from (batch, height, width, channels) to (batch, rows, columns, channels).

    Raises:
        TypeError: ``ceil_mode`` is not a bool; or, from ``apply``, the input is no plain array of float32 or float64.
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
    return _pool("max_pool2d", FLAT, MAX, window, stride, padding, ceil_mode)


@layer
def max_pool3d(
    window: PerAxis, stride: PerAxis | None = None, padding: Padding = "valid", ceil_mode: bool = False
) -> Layer:
    """y = the largest value of each window, per channel;  dx = dy at the pixel that was picked (the first, if tied).

    NaN wins over every number.

    Args:
        window: its size in pixels, an int or a triple (depth, height, width).
        stride: pixels from one window to the next; the window's size by default.
        padding: ``"valid"``, ``"same"`` or ``((front, back), (top, bottom), (left, right))``,
            each smaller than the window.
        ceil_mode: whether a last window that hangs over the edge counts.

    Returns:
        A layer from (batch, depth, height, width, channels) to (batch, planes, rows, columns, channels).

    Raises:
        TypeError: ``ceil_mode`` is not a bool; or, from ``apply``, the input is no plain array of float32 or float64.
        ValueError: an argument is out of range; without ``ceil_mode``, the window is larger than the volume.

    Example:
        >>> y, vjp_fn = max_pool3d(2).apply({}, np.arange(16.0).reshape(1, 4, 2, 2, 1))
        >>> y.ravel()
        array([ 7., 15.])

    Reference:
        Riesenhuber & Poggio 1999, "Hierarchical models of object recognition in cortex"; Scherer, Müller & Behnke 2010,
        "Evaluation of pooling operations in convolutional architectures for object recognition".
    """
    return _pool("max_pool3d", SOLID, MAX, window, stride, padding, ceil_mode)


@layer
def min_pool1d(
    window: PerAxis, stride: PerAxis | None = None, padding: Padding1d = "valid", ceil_mode: bool = False
) -> Layer:
    """y = the smallest value of each window, per channel;  dx = dy at the pixel that was picked (the first, if tied).

    NaN wins over every number.

    Args:
        window: its size in pixels.
        stride: pixels from one window to the next; the window's size by default.
        padding: ``"valid"``, ``"same"`` or ``(left, right)``, each smaller than the window.
        ceil_mode: whether a last window that hangs over the edge counts.

    Returns:
        A layer from (batch, width, channels) to (batch, columns, channels).

    Raises:
        TypeError: ``ceil_mode`` is not a bool; or, from ``apply``, the input is no plain array of float32 or float64.
        ValueError: an argument is out of range; without ``ceil_mode``, the window is larger than the series.

    Example:
        >>> y, vjp_fn = min_pool1d(2).apply({}, np.arange(6.0).reshape(1, 6, 1))
        >>> y.ravel()
        array([0., 2., 4.])

    Reference:
        The mirror image of max pooling, -max(-x): Soille 2003, "Morphological image analysis", chapter 3 (erosion).
    """
    return _pool("min_pool1d", LINE, MIN, window, stride, padding, ceil_mode)


@layer
def min_pool2d(
    window: PerAxis, stride: PerAxis | None = None, padding: Padding = "valid", ceil_mode: bool = False
) -> Layer:
    """y = the smallest value of each window, per channel;  dx = dy at the pixel that was picked (the first, if tied).

    NaN wins over every number.

    Args:
        window: its size in pixels, an int or a pair (height, width).
        stride: pixels from one window to the next; the window's size by default.
        padding: ``"valid"``, ``"same"`` or ``((top, bottom), (left, right))``, each smaller than the window.
        ceil_mode: whether a last window that hangs over the edge counts.

    Returns:
        A layer from (batch, height, width, channels) to (batch, rows, columns, channels).

    Raises:
        TypeError: ``ceil_mode`` is not a bool; or, from ``apply``, the input is no plain array of float32 or float64.
        ValueError: an argument is out of range; without ``ceil_mode``, the window is larger than the image.

    Example:
        >>> y, vjp_fn = min_pool2d(2).apply({}, np.arange(16.0).reshape(1, 4, 4, 1))
        >>> y[0, :, :, 0]
        array([[ 0.,  2.],
               [ 8., 10.]])

    Reference:
        The mirror image of max pooling, -max(-x): Soille 2003, "Morphological image analysis", chapter 3 (erosion).
    """
    return _pool("min_pool2d", FLAT, MIN, window, stride, padding, ceil_mode)


@layer
def min_pool3d(
    window: PerAxis, stride: PerAxis | None = None, padding: Padding = "valid", ceil_mode: bool = False
) -> Layer:
    """y = the smallest value of each window, per channel;  dx = dy at the pixel that was picked (the first, if tied).

    NaN wins over every number.

    Args:
        window: its size in pixels, an int or a triple (depth, height, width).
        stride: pixels from one window to the next; the window's size by default.
        padding: ``"valid"``, ``"same"`` or ``((front, back), (top, bottom), (left, right))``,
            each smaller than the window.
        ceil_mode: whether a last window that hangs over the edge counts.

    Returns:
        A layer from (batch, depth, height, width, channels) to (batch, planes, rows, columns, channels).

    Raises:
        TypeError: ``ceil_mode`` is not a bool; or, from ``apply``, the input is no plain array of float32 or float64.
        ValueError: an argument is out of range; without ``ceil_mode``, the window is larger than the volume.

    Example:
        >>> y, vjp_fn = min_pool3d(2).apply({}, np.arange(16.0).reshape(1, 4, 2, 2, 1))
        >>> y.ravel()
        array([0., 8.])

    Reference:
        The mirror image of max pooling, -max(-x): Soille 2003, "Morphological image analysis", chapter 3 (erosion).
    """
    return _pool("min_pool3d", SOLID, MIN, window, stride, padding, ceil_mode)


@layer
def avg_pool1d(
    window: PerAxis, stride: PerAxis | None = None, padding: Padding1d = "valid", ceil_mode: bool = False
) -> Layer:
    """y = the mean of each window's pixels, per channel;  dx = dy / pixels, for each pixel of the window.

    Args:
        window: its size in pixels.
        stride: pixels from one window to the next; the window's size by default.
        padding: ``"valid"``, ``"same"`` or ``(left, right)``, each smaller than the window; the pixels
            it adds are not counted.
        ceil_mode: whether a last window that hangs over the edge counts.

    Returns:
        A layer from (batch, width, channels) to (batch, columns, channels).

    Raises:
        TypeError: ``ceil_mode`` is not a bool; or, from ``apply``, the input is no plain array of float32 or float64.
        ValueError: an argument is out of range; without ``ceil_mode``, the window is larger than the series.

    Example:
        >>> y, vjp_fn = avg_pool1d(2).apply({}, np.arange(6.0).reshape(1, 6, 1))
        >>> y.ravel()
        array([0.5, 2.5, 4.5])

    Reference:
        LeCun, Bottou, Bengio & Haffner 1998, "Gradient-based learning applied to document recognition", section II.A.
    """
    return _pool("avg_pool1d", LINE, _mean, window, stride, padding, ceil_mode)


@layer
def avg_pool2d(
    window: PerAxis, stride: PerAxis | None = None, padding: Padding = "valid", ceil_mode: bool = False
) -> Layer:
    """y = the mean of each window's pixels, per channel;  dx = dy / pixels, for each pixel of the window.

    Args:
        window: its size in pixels, an int or a pair (height, width).
        stride: pixels from one window to the next; the window's size by default.
        padding: ``"valid"``, ``"same"`` or ``((top, bottom), (left, right))``, each smaller than the window; the pixels
            it adds are not counted.
        ceil_mode: whether a last window that hangs over the edge counts.

    Returns:
        A layer from (batch, height, width, channels) to (batch, rows, columns, channels).

    Raises:
        TypeError: ``ceil_mode`` is not a bool; or, from ``apply``, the input is no plain array of float32 or float64.
        ValueError: an argument is out of range; without ``ceil_mode``, the window is larger than the image.

    Example:
        >>> y, _ = avg_pool2d(3, padding="same").apply({}, np.ones((1, 4, 4, 1)))
        >>> y[0, :, :, 0]
        array([[1., 1.],
               [1., 1.]])

    Reference:
        LeCun, Bottou, Bengio & Haffner 1998, "Gradient-based learning applied to document recognition", section II.A.
    """
    return _pool("avg_pool2d", FLAT, _mean, window, stride, padding, ceil_mode)


@layer
def avg_pool3d(
    window: PerAxis, stride: PerAxis | None = None, padding: Padding = "valid", ceil_mode: bool = False
) -> Layer:
    """y = the mean of each window's pixels, per channel;  dx = dy / pixels, for each pixel of the window.

    Args:
        window: its size in pixels, an int or a triple (depth, height, width).
        stride: pixels from one window to the next; the window's size by default.
        padding: ``"valid"``, ``"same"`` or ``((front, back), (top, bottom), (left, right))``,
            each smaller than the window; the pixels it adds are not counted.
        ceil_mode: whether a last window that hangs over the edge counts.

    Returns:
        A layer from (batch, depth, height, width, channels) to (batch, planes, rows, columns, channels).

    Raises:
        TypeError: ``ceil_mode`` is not a bool; or, from ``apply``, the input is no plain array of float32 or float64.
        ValueError: an argument is out of range; without ``ceil_mode``, the window is larger than the volume.

    Example:
        >>> y, vjp_fn = avg_pool3d(2).apply({}, np.arange(16.0).reshape(1, 4, 2, 2, 1))
        >>> y.ravel()
        array([ 3.5, 11.5])

    Reference:
        LeCun, Bottou, Bengio & Haffner 1998, "Gradient-based learning applied to document recognition", section II.A.
    """
    return _pool("avg_pool3d", SOLID, _mean, window, stride, padding, ceil_mode)
