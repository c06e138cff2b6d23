"""Pooling layers make images smaller: one value stands for each window, whatever lies where within it.

They have no parameters. What padding adds at the border is never a value: it is not picked and not averaged.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from funcnn import checks
from funcnn.aliases import Array
from funcnn.kernels.pooling import extreme_gradient, extreme_pool, mean_gradient, mean_pool
from funcnn.kernels.windows import Window, as_padding
from funcnn.layers.activation import Pull
from funcnn.protocol import Layer, layer, stateless

__all__ = ["avg_pool2d", "global_avg_pool2d", "max_pool2d", "min_pool2d"]


@layer
def max_pool2d(window: Any, stride: Any = None, padding: Any = "valid", ceil_mode: bool = False) -> Layer:
    """y = the largest value of each window, per channel;  dx = dy at the pixel that was picked (the first, if tied).

    Args:
        window: its size in pixels, an int or a pair (height, width).
        stride: pixels from one window to the next; the window's size by default.
        padding: ``"valid"``, ``"same"`` or ``((top, bottom), (left, right))``, each smaller than the window.
        ceil_mode: whether a last window that hangs over the edge counts.

    Returns:
        A layer from (batch, height, width, channels) to (batch, rows, columns, channels).

    Raises:
        ValueError: an argument is out of range; the window is larger than the image.

    Example:
        >>> y, vjp_fn = max_pool2d(2).apply({}, np.arange(16.0).reshape(1, 4, 4, 1))
        >>> y[0, :, :, 0]
        array([[ 5.,  7.],
               [13., 15.]])
    """
    return _extreme_pool("max_pool2d", np.maximum, _window("max_pool2d", window, stride, padding, ceil_mode))


@layer
def min_pool2d(window: Any, stride: Any = None, padding: Any = "valid", ceil_mode: bool = False) -> Layer:
    """y = the smallest value of each window, per channel;  dx = dy at the pixel that was picked (the first, if tied).

    The arguments are those of ``max_pool2d``.

    Args:
        window: its size in pixels, an int or a pair (height, width).
        stride: pixels from one window to the next; the window's size by default.
        padding: ``"valid"``, ``"same"`` or ``((top, bottom), (left, right))``, each smaller than the window.
        ceil_mode: whether a last window that hangs over the edge counts.

    Returns:
        A layer from (batch, height, width, channels) to (batch, rows, columns, channels).

    Raises:
        ValueError: an argument is out of range; the window is larger than the image.

    Example:
        >>> y, vjp_fn = min_pool2d(2).apply({}, np.arange(16.0).reshape(1, 4, 4, 1))
        >>> y[0, :, :, 0]
        array([[ 0.,  2.],
               [ 8., 10.]])
    """
    return _extreme_pool("min_pool2d", np.minimum, _window("min_pool2d", window, stride, padding, ceil_mode))


@layer
def avg_pool2d(window: Any, stride: Any = None, padding: Any = "valid", ceil_mode: bool = False) -> Layer:
    """y = the mean of each window's pixels, per channel;  dx = dy / pixels, for each pixel of the window.

    Args:
        window: its size in pixels, an int or a pair (height, width).
        stride: pixels from one window to the next; the window's size by default.
        padding: ``"valid"``, ``"same"`` or ``((top, bottom), (left, right))``, each smaller than the window; the
            pixels it adds are not counted.
        ceil_mode: whether a last window that hangs over the edge counts.

    Returns:
        A layer from (batch, height, width, channels) to (batch, rows, columns, channels).

    Raises:
        ValueError: an argument is out of range; the window is larger than the image.

    Example:
        >>> y, _ = avg_pool2d(3, padding="same").apply({}, np.ones((1, 4, 4, 1)))
        >>> y[0, :, :, 0]
        array([[1., 1.],
               [1., 1.]])
    """
    geometry = _window("avg_pool2d", window, stride, padding, ceil_mode)

    def forward(x: Array) -> tuple[Array, Pull]:
        checks.images("avg_pool2d", x)
        counts, border = geometry.fit("avg_pool2d", x.shape)
        return mean_pool(x, geometry, counts, border), lambda dy: mean_gradient(x, dy, geometry, border)

    return stateless("avg_pool2d", forward)


def _global_avg_pool2d(x: Array) -> tuple[Array, Pull]:
    """y[n, c] = the mean of channel c over the whole image;  dx = dy / (height * width), everywhere.

    Example:
        >>> y, _ = _global_avg_pool2d(np.ones((2, 4, 4, 3)))
        >>> y.shape
        (2, 3)

    Reference:
        Lin, Chen & Yan 2014, "Network in network", arXiv 1312.4400, section 3.2.
    """
    checks.images("global_avg_pool2d", x)
    pixels = x.shape[1] * x.shape[2]
    if not pixels:
        raise ValueError(f"global_avg_pool2d: expected an image of at least one pixel, got shape {x.shape}")
    return x.mean((1, 2)), lambda dy: np.broadcast_to(dy[:, None, None, :] / pixels, x.shape)


global_avg_pool2d = stateless("global_avg_pool2d", _global_avg_pool2d)
"""y[n, c] = the mean of channel c over the whole image."""


def _extreme_pool(kind: str, pick: np.ufunc, window: Window) -> Layer:
    """Max and min pooling: the same layer, with another comparison."""

    def forward(x: Array) -> tuple[Array, Pull]:
        checks.images(kind, x)
        counts, border = window.fit(kind, x.shape)
        y = extreme_pool(x, pick, window, counts, border)
        return y, lambda dy: extreme_gradient(x, y, dy, pick, window, border)

    return stateless(kind, forward)


def _window(kind: str, size: Any, stride: Any, padding: Any, ceil_mode: bool) -> Window:
    """The window of a pooling layer, which must hold at least one pixel of the image wherever it stands."""
    pair = checks.pair(kind, "window", size)
    border = as_padding(kind, padding)
    if not isinstance(border, str) and any(max(p) >= n for p, n in zip(border, pair, strict=True)):
        raise ValueError(f"{kind}: padding must be smaller than the window {pair}, got {padding!r}")
    step = pair if stride is None else checks.pair(kind, "stride", stride)
    return Window(pair, step, (1, 1), border, bool(ceil_mode))
