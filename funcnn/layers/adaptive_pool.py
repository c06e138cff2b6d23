"""Adaptive pooling makes an image of a wanted size out of one of any size, by the mean or the maximum of each window.

Window i of an axis of n pixels begins at floor(i n / size) and ends before ceil((i + 1) n / size), as in PyTorch: the
windows cover all pixels, and have the same length if ``size`` divides n.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from funcnn import checks
from funcnn.aliases import Array, PerAxisOrNone
from funcnn.kernels.adaptive_pooling import (
    adaptive_max,
    adaptive_max_gradient,
    adaptive_mean,
    adaptive_mean_gradient,
)  # fmt: skip
from funcnn.kernels.windows import FLAT, LINE, SOLID, Axes, Sizes
from funcnn.layers.activation import Pull
from funcnn.protocol import Layer, elements_of, layer, stateless

__all__ = [
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool1d", "adaptive_max_pool2d",
    "adaptive_max_pool3d",
]  # fmt: skip


def _avg(x: Array, sizes: Sizes) -> tuple[Array, Pull]:
    pixels = x.shape[1:-1]
    return adaptive_mean(x, sizes), lambda dy: adaptive_mean_gradient(dy, pixels)


def _max(x: Array, sizes: Sizes) -> tuple[Array, Pull]:
    y = adaptive_max(x, sizes)
    return y, lambda dy: adaptive_max_gradient(x, y, dy)


def _adaptive_pool(kind: str, axes: Axes, reduce: Callable[[Array, Sizes], tuple[Array, Pull]], size: Any) -> Layer:
    """Adaptive pooling over any number of axes."""
    wanted = checks.sizes(kind, "size", size, axes, or_none=True)

    def forward(x: Array) -> tuple[Array, Pull]:
        checks.images(kind, x, axes)
        pixels = x.shape[1:-1]
        if not math.prod(pixels):
            raise ValueError(f"{kind}: expected an image of at least one pixel, got shape {x.shape}")
        return reduce(x, tuple(n if m is None else m for m, n in zip(wanted, pixels, strict=True)))

    made = stateless(kind, forward, working_set=elements_of)
    made.apply.picks_the_largest = reduce is _max  # type: ignore[attr-defined]
    return made


@layer
def adaptive_avg_pool1d(size: PerAxisOrNone) -> Layer:
    """y = the mean of each window's pixels, per channel;  dx = dy / pixels, for each pixel of the window.

    Args:
        size: pixels of the output; None keeps those of the input.

    Returns:
        A layer from (batch, width, channels) to (batch, size, channels).

    Raises:
        TypeError: from ``apply``, the input is not a plain array of float32 or float64.
        ValueError: a size is not a whole number ``>= 1`` or None; or, from ``init`` and ``apply``, the input is not a
            batch of series, or has no pixels.

    Example:
        >>> import numpy as np
        >>> y, vjp_fn = adaptive_avg_pool1d(2).apply({}, np.arange(3.0).reshape(1, 3, 1))
        >>> y.ravel()
        array([0.5, 1.5])

    Reference:
        PyTorch's ``AdaptiveAvgPool1d``; He et al. 2015, "Spatial pyramid pooling in deep convolutional networks",
        arXiv 1406.4729.
    """
    return _adaptive_pool("adaptive_avg_pool1d", LINE, _avg, size)


@layer
def adaptive_avg_pool2d(size: PerAxisOrNone) -> Layer:
    """y = the mean of each window's pixels, per channel;  dx = dy / pixels, for each pixel of the window.

    Args:
        size: pixels of the output, an int or a pair (height, width); None keeps those of the input.

    Returns:
        A layer from (batch, height, width, channels) to (batch, *size, channels).

    Raises:
        TypeError: from ``apply``, the input is not a plain array of float32 or float64.
        ValueError: a size is not a whole number ``>= 1`` or None; or, from ``init`` and ``apply``, the input is not a
            batch of images, or has no pixels.

    Example:
        >>> import numpy as np
        >>> y, vjp_fn = adaptive_avg_pool2d((None, 2)).apply({}, np.arange(6.0).reshape(1, 2, 3, 1))
        >>> y.ravel()
        array([0.5, 1.5, 3.5, 4.5])

    Reference:
        PyTorch's ``AdaptiveAvgPool2d``; He et al. 2015, "Spatial pyramid pooling in deep convolutional networks",
        arXiv 1406.4729.
    """
    return _adaptive_pool("adaptive_avg_pool2d", FLAT, _avg, size)


@layer
def adaptive_avg_pool3d(size: PerAxisOrNone) -> Layer:
    """y = the mean of each window's pixels, per channel;  dx = dy / pixels, for each pixel of the window.

    Args:
        size: pixels of the output, an int or a triple (depth, height, width); None keeps those of the
            input.

    Returns:
        A layer from (batch, depth, height, width, channels) to (batch, *size, channels).

    Raises:
        TypeError: from ``apply``, the input is not a plain array of float32 or float64.
        ValueError: a size is not a whole number ``>= 1`` or None; or, from ``init`` and ``apply``, the input is not a
            batch of volumes, or has no pixels.

    Example:
        >>> import numpy as np
        >>> y, vjp_fn = adaptive_avg_pool3d((1, None, 2)).apply({}, np.arange(6.0).reshape(1, 1, 2, 3, 1))
        >>> y.ravel()
        array([0.5, 1.5, 3.5, 4.5])

    Reference:
        PyTorch's ``AdaptiveAvgPool3d``; He et al. 2015, "Spatial pyramid pooling in deep convolutional networks",
        arXiv 1406.4729.
    """
    return _adaptive_pool("adaptive_avg_pool3d", SOLID, _avg, size)


@layer
def adaptive_max_pool1d(size: PerAxisOrNone) -> Layer:
    """y = the largest value of each window, per channel;  dx = dy at the pixel that was picked (the first, if tied).

    NaN wins over every number.

    Args:
        size: pixels of the output; None keeps those of the input.

    Returns:
        A layer from (batch, width, channels) to (batch, size, channels).

    Raises:
        TypeError: from ``apply``, the input is not a plain array of float32 or float64.
        ValueError: a size is not a whole number ``>= 1`` or None; or, from ``init`` and ``apply``, the input is not a
            batch of series, or has no pixels.

    Example:
        >>> import numpy as np
        >>> y, vjp_fn = adaptive_max_pool1d(2).apply({}, np.arange(3.0).reshape(1, 3, 1))
        >>> y.ravel()
        array([1., 2.])

    Reference:
        PyTorch's ``AdaptiveMaxPool1d``; He et al. 2015, "Spatial pyramid pooling in deep convolutional networks",
        arXiv 1406.4729.
    """
    return _adaptive_pool("adaptive_max_pool1d", LINE, _max, size)


@layer
def adaptive_max_pool2d(size: PerAxisOrNone) -> Layer:
    """y = the largest value of each window, per channel;  dx = dy at the pixel that was picked (the first, if tied).

    NaN wins over every number.

    Args:
        size: pixels of the output, an int or a pair (height, width); None keeps those of the input.

    Returns:
        A layer from (batch, height, width, channels) to (batch, *size, channels).

    Raises:
        TypeError: from ``apply``, the input is not a plain array of float32 or float64.
        ValueError: a size is not a whole number ``>= 1`` or None; or, from ``init`` and ``apply``, the input is not a
            batch of images, or has no pixels.

    Example:
        >>> import numpy as np
        >>> y, vjp_fn = adaptive_max_pool2d((None, 2)).apply({}, np.arange(6.0).reshape(1, 2, 3, 1))
        >>> y.ravel()
        array([1., 2., 4., 5.])

    Reference:
        PyTorch's ``AdaptiveMaxPool2d``; He et al. 2015, "Spatial pyramid pooling in deep convolutional networks",
        arXiv 1406.4729.
    """
    return _adaptive_pool("adaptive_max_pool2d", FLAT, _max, size)


@layer
def adaptive_max_pool3d(size: PerAxisOrNone) -> Layer:
    """y = the largest value of each window, per channel;  dx = dy at the pixel that was picked (the first, if tied).

    NaN wins over every number.

    Args:
        size: pixels of the output, an int or a triple (depth, height, width); None keeps those of the
            input.

    Returns:
        A layer from (batch, depth, height, width, channels) to (batch, *size, channels).

    Raises:
        TypeError: from ``apply``, the input is not a plain array of float32 or float64.
        ValueError: a size is not a whole number ``>= 1`` or None; or, from ``init`` and ``apply``, the input is not a
            batch of volumes, or has no pixels.

    Example:
        >>> import numpy as np
        >>> y, vjp_fn = adaptive_max_pool3d((1, None, 2)).apply({}, np.arange(6.0).reshape(1, 1, 2, 3, 1))
        >>> y.ravel()
        array([1., 2., 4., 5.])

    Reference:
        PyTorch's ``AdaptiveMaxPool3d``; He et al. 2015, "Spatial pyramid pooling in deep convolutional networks",
        arXiv 1406.4729.
    """
    return _adaptive_pool("adaptive_max_pool3d", SOLID, _max, size)
