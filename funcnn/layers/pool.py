"""Pooling layers make images smaller: one number stands for each window, whatever lies where within it.

They have no parameters. What padding adds at the border is never a value: it is not picked and not averaged.
"""

# A vjp_fn is defined at each call of apply; like this its annotations cost nothing there.
from __future__ import annotations

from typing import Any

import numpy as np

from funcnn.aliases import Array, Params, Rng
from funcnn.kernels.pooling import extreme_gradient, extreme_pool, mean_gradient, mean_pool
from funcnn.kernels.windows import Window, as_padding, as_pair
from funcnn.protocol import Layer, Vjp, check_float, check_gradient, layer, no_params

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

    def apply(params: Params, x: Array, rng: Rng | None = None) -> tuple[Array, Vjp]:
        _check_image("avg_pool2d", x)
        counts, border = geometry.fit("avg_pool2d", x.shape)
        y = mean_pool(x, geometry, counts, border)

        def vjp_fn(dy: Array, input_grad: bool = True) -> tuple[Params, Array | None]:
            check_gradient("avg_pool2d", dy, y)
            return {}, mean_gradient(x, dy, geometry, border) if input_grad else None

        return y, vjp_fn

    return Layer(no_params, apply)


def _global_avg_pool2d(params: Params, x: Array, rng: Rng | None = None) -> tuple[Array, Vjp]:
    """y[n, c] = the mean of channel c over the whole image;  dx = dy / (height * width), everywhere.

    Example:
        >>> y, _ = _global_avg_pool2d({}, np.ones((2, 4, 4, 3)))
        >>> y.shape
        (2, 3)

    Reference:
        Lin, Chen & Yan 2014, "Network in network", arXiv 1312.4400, section 3.2.
    """
    _check_image("global_avg_pool2d", x)
    if not x.shape[1] * x.shape[2]:
        raise ValueError(f"global_avg_pool2d: expected an image of at least one pixel, got shape {x.shape}")
    y = x.mean((1, 2))

    def vjp_fn(dy: Array, input_grad: bool = True) -> tuple[Params, Array | None]:
        check_gradient("global_avg_pool2d", dy, y)
        share = dy[:, None, None, :] / (x.shape[1] * x.shape[2])
        return {}, np.broadcast_to(share, x.shape) if input_grad else None

    return y, vjp_fn


global_avg_pool2d = Layer(no_params, _global_avg_pool2d, kind="global_avg_pool2d")
"""y[n, c] = the mean of channel c over the whole image."""


def _extreme_pool(kind: str, pick: np.ufunc, window: Window) -> Layer:
    """Max and min pooling: the same layer, with another comparison."""

    def apply(params: Params, x: Array, rng: Rng | None = None) -> tuple[Array, Vjp]:
        _check_image(kind, x)
        counts, border = window.fit(kind, x.shape)
        y = extreme_pool(x, pick, window, counts, border)

        def vjp_fn(dy: Array, input_grad: bool = True) -> tuple[Params, Array | None]:
            check_gradient(kind, dy, y)
            return {}, extreme_gradient(x, y, dy, pick, window, border) if input_grad else None

        return y, vjp_fn

    return Layer(no_params, apply)


def _window(kind: str, size: Any, stride: Any, padding: Any, ceil_mode: bool) -> Window:
    """The window of a pooling layer, which must see at least one pixel of the image wherever it stands."""
    pair = as_pair(kind, "window", size)
    border = as_padding(kind, padding)
    if not isinstance(border, str) and any(max(p) >= n for p, n in zip(border, pair, strict=True)):
        raise ValueError(f"{kind}: padding must be smaller than the window {pair}, got {padding!r}")
    return Window(pair, as_pair(kind, "stride", pair if stride is None else stride), (1, 1), border, bool(ceil_mode))


def _check_image(kind: str, x: Array) -> None:
    """Refuse what is not a batch of images."""
    check_float(kind, x)
    if x.ndim != 4:
        raise ValueError(f"{kind}: expected an input of axes (batch, height, width, channels), got shape {x.shape}")
