"""Global pooling makes one vector of an image of any size: the mean or the maximum of each channel over all pixels.

It stands between convolutions and the last ``dense``, in place of ``flatten``, and needs no size of the image.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from funcnn import checks
from funcnn.aliases import Array
from funcnn.kernels.adaptive_pooling import adaptive_max, adaptive_max_gradient, adaptive_mean
from funcnn.kernels.windows import FLAT, LINE, SOLID, Axes
from funcnn.layers.activation import Pull
from funcnn.protocol import Layer, elements_of, stateless

__all__ = [
    "global_avg_pool1d", "global_avg_pool2d", "global_avg_pool3d", "global_max_pool1d", "global_max_pool2d",
    "global_max_pool3d",
]  # fmt: skip

AVG = """y[n, c] = the mean of channel c over the whole {whole};  dx = dy / pixels, everywhere.

    It is ready, without arguments: ``fn.{kind}``. The {whole} may be of any size; it comes before the last ``dense``.

    Args:
        x: floats of shape (batch, {axes}, channels).

    Returns:
        A layer without parameters, from (batch, {axes}, channels) to (batch, channels).

    Raises:
        TypeError: from ``apply``, x is not a plain array of float32 or float64.
        ValueError: from ``init`` and ``apply``, x has another number of axes, or no pixels.

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

MAX = """y[n, c] = the largest value of channel c over the whole {whole};  dx = dy at the first pixel that has it.

    It is ready, without arguments: ``fn.{kind}``. The {whole} may be of any size. NaN wins over every number.

    Args:
        x: floats of shape (batch, {axes}, channels).

    Returns:
        A layer without parameters, from (batch, {axes}, channels) to (batch, channels).

    Raises:
        TypeError: from ``apply``, x is not a plain array of float32 or float64.
        ValueError: from ``init`` and ``apply``, x has another number of axes, or no pixels.

    Example:
        >>> import funcnn as fn, numpy as np
        >>> y, vjp_fn = fn.{kind}.apply({{}}, np.arange(4.0).reshape({example}))
        >>> y
        array([[2., 3.]])
        >>> vjp_fn(np.ones_like(y))[1].ravel()
        array([0., 0., 1., 1.])

    Reference:
        Oquab, Bottou, Laptev & Sivic 2015, "Is object localization for free?", section 3.2.
    """


def _avg(x: Array) -> tuple[Array, Pull]:
    shape, over, pixels = x.shape, tuple(range(1, x.ndim - 1)), math.prod(x.shape[1:-1])
    y = adaptive_mean(x, (1,) * len(over)).reshape(len(x), x.shape[-1])
    return y, lambda dy: np.broadcast_to(np.expand_dims(dy / pixels, over), shape)


def _max(x: Array) -> tuple[Array, Pull]:
    y = adaptive_max(x, (1,) * (x.ndim - 2))
    return y.reshape(len(x), x.shape[-1]), lambda dy: adaptive_max_gradient(x, y, dy.reshape(y.shape))


def _global_pool(kind: str, text: str, reduce: Callable[[Array], tuple[Array, Pull]], axes: Axes, whole: str) -> Layer:
    """Global pooling over any number of axes of a whole, an image."""

    def forward(x: Array) -> tuple[Array, Pull]:
        checks.images(kind, x, axes)
        if not math.prod(x.shape[1:-1]):
            raise ValueError(f"{kind}: expected an image of at least one pixel, got shape {x.shape}")
        return reduce(x)

    example = (1, *[1] * (len(axes) - 1), 2, 2)
    forward.__doc__ = text.format(kind=kind, whole=whole, axes=", ".join(axes), example=str(example)[1:-1])
    made = stateless(kind, forward, working_set=elements_of)
    made.apply.picks_the_largest = reduce is _max  # type: ignore[attr-defined]
    return made


global_avg_pool1d = _global_pool("global_avg_pool1d", AVG, _avg, LINE, "series")
global_avg_pool2d = _global_pool("global_avg_pool2d", AVG, _avg, FLAT, "image")
global_avg_pool3d = _global_pool("global_avg_pool3d", AVG, _avg, SOLID, "volume")
global_max_pool1d = _global_pool("global_max_pool1d", MAX, _max, LINE, "series")
global_max_pool2d = _global_pool("global_max_pool2d", MAX, _max, FLAT, "image")
global_max_pool3d = _global_pool("global_max_pool3d", MAX, _max, SOLID, "volume")
