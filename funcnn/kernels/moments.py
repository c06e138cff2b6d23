"""Sums, moments and affine maps per channel, block by block, so that each element is fetched from memory once.

An array larger than the cache costs as much to read as the arithmetic on it, or more. So everything that is to be done
to a part of it is done while that part is in the cache.
"""

from collections.abc import Callable
from functools import reduce
from typing import TypeAlias

import numpy as np

from funcnn.aliases import Array
from funcnn.engine.memory import empty, empty_like
from funcnn.kernels.epilogue import Activation
from funcnn.kernels.implementations import accelerated
from funcnn.kernels.layout import blocks, channel_view, per_channel, tiled_channels
from funcnn.kernels.products import row_sum
from funcnn.kernels.tuning import TUNING, Tuning

__all__ = [
    "activated_map", "are_near", "channel_sums", "joined_moments", "moments", "normalized_gradient",
    "scale_and_shift", "sums_and_products",
]  # fmt: skip

Moments: TypeAlias = tuple[int, Array, Array, bool]
"""How many elements a channel has, their mean, the sum of their squared distances from it, and whether it is *far*:
so large, or so far from 0, that float32 is not enough for it."""

Complete: TypeAlias = Callable[[Array], tuple[Array, Callable[[Array], Array]]]
"""What does the part of an activation that needs the whole array: ``complete(z) -> (y, pull)``, ``pull(dy) -> dz``."""

InputGradient: TypeAlias = Callable[..., Array]
"""``input_gradient(mean_dz, along) -> dx``, as ``activated_map`` says."""

FAR = 32
"""A mean of this many standard deviations is far from 0."""


def channel_sums(x: Array, tuning: Tuning = TUNING) -> Array:
    """The sum of x over all axes but the last.

    Example:
        >>> channel_sums(np.ones((2, 3, 4)))
        array([6., 6., 6., 6.])
    """
    sums = [_sum(block) for (block,) in blocks(channel_view(x), tuning=tuning)]
    return sums[0] if len(sums) == 1 else np.add.reduce(sums)


@accelerated
def moments(x: Array, tuning: Tuning = TUNING) -> Moments:
    """How many elements a channel has, their mean, and the sum of their squared distances from it.

    Each block is centred on its own mean, in the cache. If some channel is far, all are computed in float64.

    Args:
        x: (..., channels).
        tuning: the tuning constants.

    Returns:
        ``(n, mean, squares, far)``; mean and squares in float64 if they were joined of several blocks, or are far.

    Example:
        >>> moments(np.array([[1.0], [3.0]]))
        (2, array([2.]), array([2.]), False)
        >>> moments(np.array([[1000.0], [1002.0]], np.float32))
        (2, array([1001.]), array([2.]), True)
    """
    if not x.size:
        return 0, np.zeros(x.shape[-1], x.dtype), np.zeros(x.shape[-1], x.dtype), False
    with np.errstate(over="ignore", invalid="ignore"):
        views = blocks(channel_view(x), tuning=tuning)
        found = reduce(joined_moments, [_moments(block, tuning) for (block,) in views])
        if x.dtype.char == "d" or are_near(*found):
            return found
    return (*moments(x.astype(np.float64), tuning)[:3], True)


def _moments(x: Array, tuning: Tuning) -> Moments:
    """The moments of one block of a channel view."""
    n = x.size // x.shape[1]
    mean = _sum(x) / n
    centred = _less(x, mean)
    return n, mean, _sum_of_products(centred, centred, tuning), False


def are_near(n: int, mean: Array, squares: Array, _: bool) -> bool:
    """Whether no channel is far: mean² <= FAR² squares / n, and no sum of squares has overflown."""
    limit = FAR * FAR / n
    # Two products and a minimum tell it nearly always; only beside a constant channel is each one compared.
    if squares.dot(squares) < np.inf and mean.dot(mean) <= limit * np.minimum.reduce(squares):
        return True
    return bool(((mean * mean <= squares * limit) & (squares < np.inf)).all())


def joined_moments(a: Moments, b: Moments) -> Moments:
    """The moments of two parts together, in float64, so that no precision is lost where there is little of it.

    With d = mean2 - mean1::

        n = n1 + n2     mean = mean1 + d n2 / n     squares = squares1 + squares2 + d^2 n1 n2 / n

    Example:
        >>> joined_moments((1, np.array([1.0]), np.array([0.0]), False), (1, np.array([3.0]), np.array([0.0]), False))
        (2, array([2.]), array([2.]), False)

    Reference:
        Chan, Golub & LeVeque 1983, "Algorithms for computing the sample variance", equation 2.1.
    """
    if not a[0] or not b[0]:
        return a if a[0] else b
    n = a[0] + b[0]
    d = np.subtract(b[1], a[1], dtype=np.float64)
    return n, a[1] + d * (b[0] / n), a[2] + b[2] + d * d * (a[0] * b[0] / n), a[3] or b[3]


@accelerated
def activated_map(
    x: Array, mean: Array, scale: Array, shift: Array, activation: Activation | None, complete: Complete,
    own_mean: bool = False,
) -> tuple[Array, Callable[[Array, Array], tuple[Array, Array, InputGradient]]]:  # fmt: skip
    """``scale_and_shift`` and its backward pass, in two steps, between which microbatches put their sums together.

    Args:
        x: as in ``scale_and_shift``, like the rest.
        mean: (channels,).
        scale: (channels,).
        shift: (channels,).
        activation: what can be applied to a part of y while that is in the cache.
        complete: ``complete(y) -> (y, gradient)`` does the rest; ``gradient(dy)`` is dz, that before the activation.
        own_mean: whether the mean is that of x, so that it is not finite where x is not.

    Returns:
        ``(y, pull)``, where ``pull(dy, factor) -> (sums, products, input_gradient)``: what ``sums_and_products`` makes
        of dz, and the function that returns ``normalized_gradient(dz, x, mean, factor, mean_dz, along)``, or without
        arguments, where mean and scale do not depend on x, dz * factor.
    """
    y, gradient = complete(scale_and_shift(x, mean, scale, shift, activation))

    def pull(dy: Array, factor: Array) -> tuple[Array, Array, InputGradient]:
        dz = gradient(dy)

        def input_gradient(mean_dz: Array | None = None, along: Array | None = None) -> Array:
            if mean_dz is None or along is None:
                return dz * factor
            return normalized_gradient(dz, x, mean, factor, mean_dz, along)

        return *sums_and_products(dz, x, mean), input_gradient

    return y, pull


def scale_and_shift(
    x: Array, mean: Array, scale: Array, shift: Array, activation: Activation | None = None, tuning: Tuning = TUNING
) -> Array:
    """y = f((x - mean) * scale + shift), per channel.

    Args:
        x: (..., channels).
        mean: (channels,).
        scale: (channels,).
        shift: (channels,).
        activation: f, applied to each block while it is in the cache; None for the identity.
        tuning: the tuning constants.

    Returns:
        y: like ``x``, in its memory order.

    Example:
        >>> scale_and_shift(np.array([[3.0]]), np.array([1.0]), np.array([2.0]), np.array([0.5]))
        array([[4.5]])
    """
    y = empty_like(x)
    for source, out in blocks(channel_view(x), channel_view(y, like=x), tuning=tuning):
        affine(source, mean, scale, shift, out, tuning)
        if activation is not None:
            activation(out)
    return y


def affine(x: Array, mean: Array, scale: Array, shift: Array, out: Array, tuning: Tuning = TUNING) -> None:
    """out = (x - mean) * scale + shift for channel views."""
    view, mean, scale, shift = tiled_channels(x, mean, scale, shift, tuning=tuning)
    y = np.subtract(view, mean, out=out.reshape(view.shape))
    y *= scale
    y += shift


def sums_and_products(dy: Array, x: Array, mean: Array, tuning: Tuning = TUNING) -> tuple[Array, Array]:
    """The sum of dy, and that of dy * (x - mean), over all axes but the last, in one pass.

    Args:
        dy: (..., channels).
        x: like ``dy``.
        mean: (channels,).
        tuning: the tuning constants.

    Example:
        >>> sums_and_products(np.ones((3, 1)), np.full((3, 1), 2.0), np.array([0.5]))
        (array([3.]), array([4.5]))
    """
    views = channel_view(x), channel_view(dy, like=x)
    parts = [(_sum(g), _sum_of_products(g, _less(v, mean), tuning)) for v, g in blocks(*views, tuning=tuning)]
    return parts[0] if len(parts) == 1 else tuple(np.add.reduce(values) for values in zip(*parts, strict=True))


def normalized_gradient(
    dy: Array, x: Array, mean: Array, factor: Array, mean_dy: Array, along: Array, tuning: Tuning = TUNING
) -> Array:
    """dx = factor * (dy - mean_dy - (x - mean) * along), per channel.

    Args:
        dy: (..., channels), the gradient of what a norm makes of x.
        x: like ``dy``.
        mean: (channels,), like all that follow.
        factor: the scale of the norm over the standard deviation.
        mean_dy: the mean of dy.
        along: the mean of dy * u, over the standard deviation, where u is what has mean 0 and variance 1.
        tuning: the tuning constants.

    Returns:
        dx: like ``x``, in its memory order.
    """
    dx = empty_like(x)
    views = channel_view(x), channel_view(dy, like=x), channel_view(dx, like=x)
    factor = per_channel(factor, views[0])
    for source, gradient, out in blocks(*views, tuning=tuning):
        affine(source, mean, along, mean_dy, out, tuning)
        np.subtract(gradient, out, out=out)
        out *= factor
    return dx


def _less(x: Array, mean: Array) -> Array:
    """x - mean, a channel view, in new memory."""
    return np.subtract(x, per_channel(mean, x), out=empty(x.shape, x.dtype))


def _sum(x: Array) -> Array:
    """The sum over a channel view; ``einsum`` is several times faster at it than ``sum``."""
    if x.ndim == 2:
        return row_sum(x)
    total: Array = np.einsum("oci->c", x)
    return total


def _sum_of_products(a: Array, b: Array, tuning: Tuning) -> Array:
    """The sum of a * b over channel views; b is overwritten."""
    if a.ndim == 2:
        return row_sum(np.multiply(a, b, out=b))
    total: Array = np.vecdot(a, b).sum(0) if a.shape[2] >= tuning.min_vecdot_run else np.einsum("oci,oci->c", a, b)
    return total
