"""Shape layers move elements about without changing them; their vjp moves the gradient back where it came from.

Only upsampling repeats values, and so its gradient sums over the copies.
"""

from __future__ import annotations

import math
from functools import reduce
from itertools import product
from typing import Any

import numpy as np

from funcnn import checks
from funcnn.aliases import Array, PerAxis, Shape, Size
from funcnn.engine.memory import empty_like
from funcnn.kernels.windows import FLAT, LINE, SOLID, Axes
from funcnn.layers.activation import Pull
from funcnn.protocol import Layer, elements_of, layer, stateless

__all__ = ["flatten", "reshape", "upsample1d", "upsample2d", "upsample3d"]


def _reshaped(x: Array, shape: Shape) -> tuple[Array, Pull]:
    """y = x with each example in another shape;  dx = dy in the shape of x."""
    return x.reshape(len(x), *shape), lambda dy: dy.reshape(x.shape)


def _flatten(x: Array) -> tuple[Array, Pull]:
    """y = x as (batch, everything else);  dx = dy in the shape of x.

    It stands between the images of a convolution and the vectors of ``dense``.

    Args:
        x: floats of shape (batch, ...).

    Returns:
        A layer without parameters, from (batch, ...) to (batch, elements of one example).

    Raises:
        TypeError: from ``apply``, x is no plain array of float32 or float64.

    Example:
        >>> import funcnn as fn, numpy as np
        >>> y, vjp_fn = fn.flatten.apply({}, np.zeros((5, 4, 4, 3)))
        >>> y.shape, vjp_fn(y)[1].shape
        ((5, 48), (5, 4, 4, 3))
    """
    return _reshaped(x, (math.prod(x.shape[1:]),))


flatten = stateless("flatten", _flatten)


@layer
def reshape(*shape: Size) -> Layer:
    """y = x with each example in another shape;  dx = dy in the shape of x.

    Args:
        *shape: the new shape of one example; one size may be -1, for whatever is left.

    Returns:
        A layer without parameters.

    Raises:
        ValueError: a size is neither ``>= 1`` nor -1, there are several -1, or the sizes do not fit the input.

    Example:
        >>> import numpy as np
        >>> reshape(28, 28, 1).apply({}, np.zeros((5, 784)))[0].shape
        (5, 28, 28, 1)
    """
    try:
        sizes = tuple(checks.size("reshape", "a size", n, -1) for n in shape)
    except ValueError:
        sizes = (0,)
    if 0 in sizes or sizes.count(-1) > 1:
        raise ValueError(f"reshape: expected sizes >= 1, at most one of them -1, got {shape}")
    known = math.prod(n for n in sizes if n != -1)

    def forward(x: Array) -> tuple[Array, Pull]:
        have = math.prod(x.shape[1:])
        if have % known if -1 in sizes else have != known:
            raise ValueError(f"reshape: an example of shape {x.shape[1:]} has {have} elements, no room in {shape}")
        return _reshaped(x, tuple(have // known if n == -1 else n for n in sizes))

    return stateless("reshape", forward)


def _upsample(kind: str, axes: Axes, factor: Any) -> Layer:
    """Nearest-pixel upsampling over any number of axes."""
    factors = checks.sizes(kind, "factor", factor, axes)

    def forward(x: Array) -> tuple[Array, Pull]:
        checks.images(kind, x, axes)
        batch, *pixels, channels = x.shape
        # Slices keep the order of the axes in memory.
        y = empty_like(x, (batch, *[n * copies for n, copies in zip(pixels, factors, strict=True)], channels))
        for starts in product(*map(range, factors)):
            y[(slice(None), *map(slice, starts, y.shape[1:-1], factors))] = x
        return y, pull

    def pull(dy: Array) -> Array:
        for axis, copies in enumerate(factors, 1):
            if copies > 1:
                dy = reduce(np.add, [dy[(slice(None),) * axis + (slice(n, None, copies),)] for n in range(copies)])
        return dy

    return stateless(kind, forward, working_set=lambda x: elements_of(x) * math.prod(factors))


@layer
def upsample1d(factor: PerAxis) -> Layer:
    """y[n, s, c] = x[n, s // f, c], the nearest pixel;  dx = the sum of dy over each block of copies.

    Args:
        factor: copies of each pixel.

    Returns:
        A layer from (batch, width, channels) to (batch, width * f, channels).

    Raises:
        ValueError: a factor is not a whole number ``>= 1``, or the input is not a batch of series.

    Example:
        >>> import numpy as np
        >>> y, vjp_fn = upsample1d(2).apply({}, np.array([1.0, 2.0]).reshape(1, 2, 1))
        >>> y.ravel()
        array([1., 1., 2., 2.])
        >>> vjp_fn(np.ones_like(y))[1].ravel()
        array([2., 2.])
    """
    return _upsample("upsample1d", LINE, factor)


@layer
def upsample2d(factor: PerAxis) -> Layer:
    """y[n, r, s, c] = x[n, r // fh, s // fw, c], the nearest pixel;  dx = the sum of dy over each block of copies.

    Args:
        factor: copies of each pixel, an int or a pair (height, width).

    Returns:
        A layer from (batch, height, width, channels) to (batch, height * fh, width * fw, channels).

    Raises:
        ValueError: a factor is not a whole number ``>= 1``, or the input is not a batch of images.

    Example:
        >>> import numpy as np
        >>> y, vjp_fn = upsample2d((1, 2)).apply({}, np.array([1.0, 2.0]).reshape(1, 1, 2, 1))
        >>> y.ravel()
        array([1., 1., 2., 2.])
        >>> vjp_fn(np.ones_like(y))[1].ravel()
        array([2., 2.])
    """
    return _upsample("upsample2d", FLAT, factor)


@layer
def upsample3d(factor: PerAxis) -> Layer:
    """y[n, q, r, s, c] = x[n, q // fd, r // fh, s // fw, c];  dx = the sum of dy over each block of copies.

    Args:
        factor: copies of each pixel, an int or a triple (depth, height, width).

    Returns:
        A layer from (batch, depth, height, width, channels) to
        (batch, depth * fd, height * fh, width * fw, channels).

    Raises:
        ValueError: a factor is not a whole number ``>= 1``, or the input is not a batch of volumes.

    Example:
        >>> import numpy as np
        >>> y, vjp_fn = upsample3d((1, 1, 2)).apply({}, np.array([1.0, 2.0]).reshape(1, 1, 1, 2, 1))
        >>> y.ravel()
        array([1., 1., 2., 2.])
        >>> vjp_fn(np.ones_like(y))[1].ravel()
        array([2., 2.])
    """
    return _upsample("upsample3d", SOLID, factor)
