"""Sum pooling adds up the pixels of each window, and Lp pooling is its generalization (Σ x^p)^(1/p).

With p = 1 that is the sum, with p = 2 the root of the sum of squares, and with p = infinity the largest absolute value.
Padding is 0 and adds nothing.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

from funcnn import checks
from funcnn.aliases import Array, Padding, Padding1d, PerAxis
from funcnn.kernels.lp_pooling import lp_gradient, lp_pool
from funcnn.kernels.pooling import sum_gradient, sum_pool
from funcnn.kernels.selection import select
from funcnn.kernels.windows import FLAT, LINE, SOLID, Axes, Geometry
from funcnn.layers.activation import Pull
from funcnn.layers.pool import MAX, pooling
from funcnn.protocol import Layer, layer

__all__ = ["lp_pool1d", "lp_pool2d", "lp_pool3d", "sum_pool1d", "sum_pool2d", "sum_pool3d"]


def _sum(x: Array, geometry: Geometry) -> tuple[Array, Pull]:
    return sum_pool(x, geometry), lambda dy: sum_gradient(x, dy, geometry)


def _lp(p: float, x: Array, geometry: Geometry) -> tuple[Array, Pull]:
    y = lp_pool(x, p, geometry)
    return y, lambda dy: lp_gradient(x, y, dy, p, geometry)


def _largest(x: Array, geometry: Geometry) -> tuple[Array, Pull]:
    y, pull = MAX(np.abs(x), geometry)

    def signed(dy: Array) -> Array:
        dx = pull(dy)
        return select(np.where(x < 0, -dx, dx), x != 0)

    return y, signed


def _lp_pool(kind: str, axes: Axes, p: Any, size: Any, stride: Any, padding: Any, ceil_mode: Any) -> Layer:
    """Lp pooling over any number of axes."""
    power = checks.real(kind, "p", p)
    if power == math.inf:
        return pooling(kind, axes, _largest, size, stride, padding, ceil_mode)
    checks.positive(kind, "p", power, "2")
    return pooling(kind, axes, _sum if power == 1 else partial(_lp, power), size, stride, padding, ceil_mode)


@layer
def sum_pool1d(
    window: PerAxis, stride: PerAxis | None = None, padding: Padding1d = "valid", ceil_mode: bool = False
) -> Layer:
    """y = the sum of each window's pixels, per channel;  dx = dy, summed over the windows that a pixel is in.

    Args:
        window: its size in pixels.
        stride: pixels from one window to the next; the window's size by default.
        padding: ``"valid"``, ``"same"`` or ``(left, right)``, each smaller than the window.
        ceil_mode: whether a last window that hangs over the edge counts.

    Returns:
        A layer from (batch, width, channels) to (batch, columns, channels).

    Raises:
        TypeError: ``ceil_mode`` is not a bool; or, from ``apply``, the input is not a plain array of float32 or
            float64.
        ValueError: an argument is out of range; without ``ceil_mode``, the window is larger than the series.

    Example:
        >>> import numpy as np
        >>> y, vjp_fn = sum_pool1d(2).apply({}, np.arange(6.0).reshape(1, 6, 1))
        >>> y.ravel()
        array([1., 5., 9.])
    """
    return pooling("sum_pool1d", LINE, _sum, window, stride, padding, ceil_mode)


@layer
def sum_pool2d(
    window: PerAxis, stride: PerAxis | None = None, padding: Padding = "valid", ceil_mode: bool = False
) -> Layer:
    """y = the sum of each window's pixels, per channel;  dx = dy, summed over the windows that a pixel is in.

    Args:
        window: its size in pixels, an int or a pair (height, width).
        stride: pixels from one window to the next; the window's size by default.
        padding: ``"valid"``, ``"same"`` or ``((top, bottom), (left, right))``, each smaller than the window.
        ceil_mode: whether a last window that hangs over the edge counts.

    Returns:
        A layer from (batch, height, width, channels) to (batch, rows, columns, channels).

    Raises:
        TypeError: ``ceil_mode`` is not a bool; or, from ``apply``, the input is not a plain array of float32 or
            float64.
        ValueError: an argument is out of range; without ``ceil_mode``, the window is larger than the image.

    Example:
        >>> import numpy as np
        >>> y, vjp_fn = sum_pool2d(2).apply({}, np.arange(16.0).reshape(1, 4, 4, 1))
        >>> y[0, :, :, 0]
        array([[10., 18.],
               [42., 50.]])
    """
    return pooling("sum_pool2d", FLAT, _sum, window, stride, padding, ceil_mode)


@layer
def sum_pool3d(
    window: PerAxis, stride: PerAxis | None = None, padding: Padding = "valid", ceil_mode: bool = False
) -> Layer:
    """y = the sum of each window's pixels, per channel;  dx = dy, summed over the windows that a pixel is in.

    Args:
        window: its size in pixels, an int or a triple (depth, height, width).
        stride: pixels from one window to the next; the window's size by default.
        padding: ``"valid"``, ``"same"`` or ``((front, back), (top, bottom), (left, right))``,
            each smaller than the window.
        ceil_mode: whether a last window that hangs over the edge counts.

    Returns:
        A layer from (batch, depth, height, width, channels) to (batch, planes, rows, columns, channels).

    Raises:
        TypeError: ``ceil_mode`` is not a bool; or, from ``apply``, the input is not a plain array of float32 or
            float64.
        ValueError: an argument is out of range; without ``ceil_mode``, the window is larger than the volume.

    Example:
        >>> import numpy as np
        >>> y, vjp_fn = sum_pool3d(2).apply({}, np.arange(16.0).reshape(1, 4, 2, 2, 1))
        >>> y.ravel()
        array([28., 92.])
    """
    return pooling("sum_pool3d", SOLID, _sum, window, stride, padding, ceil_mode)


@layer
def lp_pool1d(
    p: float, window: PerAxis, stride: PerAxis | None = None, padding: Padding1d = "valid", ceil_mode: bool = False
) -> Layer:
    """y = (Σ x^p)^(1/p) over each window, per channel;  dx = dy (x / y)^(p - 1), and 0 where y is 0.

    x^p keeps the sign of x if p is odd, as in PyTorch, and the root has the sign of the sum; for every other p it is
    |x|^p. PyTorch gives NaN where an odd p > 1 meets a negative sum or a fractional p a negative pixel, and infinity
    where a power overflows. A window that hangs over the edge holds fewer pixels; PyTorch scales it up to a whole one.

    Args:
        p: the power, a positive number; 1 is the sum, ``math.inf`` the largest |x|.
        window: its size in pixels.
        stride: pixels from one window to the next; the window's size by default.
        padding: ``"valid"``, ``"same"`` or ``(left, right)``, each smaller than the window.
        ceil_mode: whether a last window that hangs over the edge counts.

    Returns:
        A layer from (batch, width, channels) to (batch, columns, channels).

    Raises:
        TypeError: ``p`` is not a number or ``ceil_mode`` not a bool; or, from ``apply``, the input is not a plain array
            of float32 or float64.
        ValueError: an argument is out of range; without ``ceil_mode``, the window is larger than the series.

    Example:
        >>> import numpy as np
        >>> y, vjp_fn = lp_pool1d(2, 2).apply({}, np.array([3.0, 4.0, 0.0, 0.0]).reshape(1, 4, 1))
        >>> y.ravel()
        array([5., 0.])
        >>> vjp_fn(np.ones_like(y))[1].ravel()
        array([0.6, 0.8, 0. , 0. ])

    Reference:
        Sermanet, Chintala & LeCun 2012, "Convolutional neural networks applied to house numbers digit classification",
        arXiv 1204.3968, section 2.2.
    """
    return _lp_pool("lp_pool1d", LINE, p, window, stride, padding, ceil_mode)


@layer
def lp_pool2d(
    p: float, window: PerAxis, stride: PerAxis | None = None, padding: Padding = "valid", ceil_mode: bool = False
) -> Layer:
    """y = (Σ x^p)^(1/p) over each window, per channel;  dx = dy (x / y)^(p - 1), and 0 where y is 0.

    x^p keeps the sign of x if p is odd, as in PyTorch, and the root has the sign of the sum; for every other p it is
    |x|^p. PyTorch gives NaN where an odd p > 1 meets a negative sum or a fractional p a negative pixel, and infinity
    where a power overflows. A window that hangs over the edge holds fewer pixels; PyTorch scales it up to a whole one.

    Args:
        p: the power, a positive number; 1 is the sum, ``math.inf`` the largest |x|.
        window: its size in pixels, an int or a pair (height, width).
        stride: pixels from one window to the next; the window's size by default.
        padding: ``"valid"``, ``"same"`` or ``((top, bottom), (left, right))``, each smaller than the window.
        ceil_mode: whether a last window that hangs over the edge counts.

    Returns:
        A layer from (batch, height, width, channels) to (batch, rows, columns, channels).

    Raises:
        TypeError: ``p`` is not a number or ``ceil_mode`` not a bool; or, from ``apply``, the input is not a plain array
            of float32 or float64.
        ValueError: an argument is out of range; without ``ceil_mode``, the window is larger than the image.

    Example:
        >>> import numpy as np
        >>> y, vjp_fn = lp_pool2d(2, (1, 2)).apply({}, np.array([3.0, 4.0, 0.0, 0.0]).reshape(1, 1, 4, 1))
        >>> y.ravel()
        array([5., 0.])
        >>> vjp_fn(np.ones_like(y))[1].ravel()
        array([0.6, 0.8, 0. , 0. ])

    Reference:
        Sermanet, Chintala & LeCun 2012, "Convolutional neural networks applied to house numbers digit classification",
        arXiv 1204.3968, section 2.2.
    """
    return _lp_pool("lp_pool2d", FLAT, p, window, stride, padding, ceil_mode)


@layer
def lp_pool3d(
    p: float, window: PerAxis, stride: PerAxis | None = None, padding: Padding = "valid", ceil_mode: bool = False
) -> Layer:
    """y = (Σ x^p)^(1/p) over each window, per channel;  dx = dy (x / y)^(p - 1), and 0 where y is 0.

    x^p keeps the sign of x if p is odd, as in PyTorch, and the root has the sign of the sum; for every other p it is
    |x|^p. PyTorch gives NaN where an odd p > 1 meets a negative sum or a fractional p a negative pixel, and infinity
    where a power overflows. A window that hangs over the edge holds fewer pixels; PyTorch scales it up to a whole one.

    Args:
        p: the power, a positive number; 1 is the sum, ``math.inf`` the largest |x|.
        window: its size in pixels, an int or a triple (depth, height, width).
        stride: pixels from one window to the next; the window's size by default.
        padding: ``"valid"``, ``"same"`` or ``((front, back), (top, bottom), (left, right))``,
            each smaller than the window.
        ceil_mode: whether a last window that hangs over the edge counts.

    Returns:
        A layer from (batch, depth, height, width, channels) to (batch, planes, rows, columns, channels).

    Raises:
        TypeError: ``p`` is not a number or ``ceil_mode`` not a bool; or, from ``apply``, the input is not a plain array
            of float32 or float64.
        ValueError: an argument is out of range; without ``ceil_mode``, the window is larger than the volume.

    Example:
        >>> import numpy as np
        >>> y, vjp_fn = lp_pool3d(2, (1, 1, 2)).apply({}, np.array([3.0, 4.0, 0.0, 0.0]).reshape(1, 1, 1, 4, 1))
        >>> y.ravel()
        array([5., 0.])
        >>> vjp_fn(np.ones_like(y))[1].ravel()
        array([0.6, 0.8, 0. , 0. ])

    Reference:
        Sermanet, Chintala & LeCun 2012, "Convolutional neural networks applied to house numbers digit classification",
        arXiv 1204.3968, section 2.2.
    """
    return _lp_pool("lp_pool3d", SOLID, p, window, stride, padding, ceil_mode)
