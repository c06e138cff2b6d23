"""Layers that disturb their input in training, each in its own way, so that the network learns what is robust.

All draw from the key that they get, and all are the identity when predicting. ``dropout`` itself is in ``dropout.py``.
"""

from __future__ import annotations

import math

import numpy as np

from funcnn import checks
from funcnn.aliases import Array, Rng, Shape
from funcnn.engine import shards
from funcnn.kernels.selection import select
from funcnn.layers.dropout import Pull, drawing, dropping
from funcnn.protocol import Layer, layer

__all__ = ["alpha_dropout", "drop_path", "gaussian_dropout", "gaussian_noise", "spatial_dropout"]

SELU_MINIMUM = -1.7580993408473766
"""What selu tends to for very negative inputs, -scale * alpha: alpha dropout sets units to it in place of 0."""


@layer
def spatial_dropout(rate: float) -> Layer:
    """Dropout of whole channels: y = x / (1 - rate) in the channels of an example that are kept, else 0.

    Neighbouring pixels are so alike that dropping single ones would hide little. dx = dy / (1 - rate) in the channels
    that are kept, else 0. Without ``rng``, that is when predicting, y = x. It is PyTorch's ``Dropout1d`` to
    ``Dropout3d`` and Keras's ``SpatialDropout1D`` to ``SpatialDropout3D``.

    Args:
        rate: the probability of *dropping* a channel, in [0, 1).

    Returns:
        A layer without parameters from (batch, ..., channels), with axes between them, to the same.

    Raises:
        TypeError: ``rate`` is not a number.
        ValueError: ``rate`` is outside [0, 1); or, from ``init`` and ``apply``, the input has no
            axes of pixels.

    Example:
        >>> y, _ = spatial_dropout(0.5).apply({}, np.ones((1, 3, 4)), rng=0)
        >>> sorted(set(y.sum(1).ravel().tolist()))
        [0.0, 6.0]

    Reference:
        Tompson et al. 2015, "Efficient object localization using convolutional networks", arXiv 1411.4280, section 3.2.
    """

    def units(shape: Shape) -> Shape:
        if len(shape) < 3:
            raise ValueError(
                f"spatial_dropout: expected an input of axes (batch, ..., channels) with pixels between them, got "
                f"shape {shape}; use dropout"
            )
        return (shape[0], *[1] * (len(shape) - 2), shape[-1])

    return dropping("spatial_dropout", checks.drop_rate("spatial_dropout", rate), units)


@layer
def drop_path(rate: float) -> Layer:
    """Stochastic depth: y = x / (1 - rate) for the examples that are kept, and 0 for the others.

    As the last layer inside ``residual`` it switches the whole branch off, example by example, and only x is left.
    dx = dy / (1 - rate) for the examples that are kept, else 0. Without ``rng``, that is when predicting, y = x.

    Args:
        rate: the probability of *dropping* the branch for an example, in [0, 1).

    Returns:
        A layer without parameters.

    Raises:
        TypeError: ``rate`` is not a number.
        ValueError: ``rate`` is outside [0, 1).

    Example:
        >>> import funcnn as fn
        >>> block = fn.residual(fn.layer_norm(), fn.dense(3), fn.drop_path(0.5))
        >>> x = np.ones((8, 3), np.float32)
        >>> y, _ = block.apply(block.init((3,), rng=0), x, rng=0)
        >>> bool((y == x).all(1).any())
        True

    Reference:
        Huang et al. 2016, "Deep networks with stochastic depth", arXiv 1603.09382, equation 2.
    """
    units = checks.drop_rate("drop_path", rate)
    return dropping("drop_path", units, lambda shape: (*shape[:1], *[1] * (len(shape) - 1)))


@layer
def alpha_dropout(rate: float) -> Layer:
    """Dropout for networks of ``selu``: it keeps mean 0 and variance 1, since what is dropped becomes selu's minimum.

    With the minimum m = -1.758, a = ((1 - rate) (1 + rate m^2))^(-1/2) and a mask that is 1 with probability
    1 - rate::

        y = a (x mask + m (1 - mask)) - a m rate        dx = a dy mask

    Without ``rng``, that is when predicting, y = x.

    Args:
        rate: the probability of *dropping* an element, in [0, 1).

    Returns:
        A layer without parameters.

    Raises:
        TypeError: ``rate`` is not a number.
        ValueError: ``rate`` is outside [0, 1).

    Example:
        >>> y, _ = alpha_dropout(0.5).apply({}, np.random.default_rng(0).standard_normal((1000, 100)), rng=0)
        >>> bool(abs(y.mean()) < 0.01 and abs(y.std() - 1) < 0.01)
        True

    Reference:
        Klambauer et al. 2017, "Self-normalizing neural networks", arXiv 1706.02515, section 2.
    """
    rate = checks.drop_rate("alpha_dropout", rate)
    a = 1 / math.sqrt((1 - rate) * (1 + rate * SELU_MINIMUM**2))
    if_kept, if_dropped = -a * SELU_MINIMUM * rate, a * SELU_MINIMUM * (1 - rate)

    def draw(rng: Rng, x: Array) -> tuple[Array, Pull]:
        kept = shards.uniform(rng, x.shape) >= rate
        factor, *offsets = (x.dtype.type(value) for value in (a, if_kept, if_dropped))
        y = select(x, kept)
        y *= factor
        y += np.where(kept, *offsets)
        return y, lambda dy: select(dy, kept) * factor

    return drawing("alpha_dropout", rate > 0, draw)


@layer
def gaussian_dropout(rate: float) -> Layer:
    """y = x n, with normal random numbers n of mean 1 and the variance of dropout, rate / (1 - rate);  dx = dy n.

    Without ``rng``, that is when predicting, y = x.

    Args:
        rate: that of the ``dropout`` with the same variance, in [0, 1), as in Keras.

    Returns:
        A layer without parameters.

    Raises:
        TypeError: ``rate`` is not a number.
        ValueError: ``rate`` is outside [0, 1).

    Example:
        >>> y, _ = gaussian_dropout(0.2).apply({}, np.ones((1000, 100)), rng=0)
        >>> round(float(y.mean()), 2), round(float(y.std()), 2)
        (1.0, 0.5)

    Reference:
        Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from overfitting", section 10.
    """
    rate = checks.drop_rate("gaussian_dropout", rate)
    std = math.sqrt(rate / (1 - rate))

    def draw(rng: Rng, x: Array) -> tuple[Array, Pull]:
        noise = 1 + _normal(rng, x, std)
        return x * noise, lambda dy: dy * noise

    return drawing("gaussian_dropout", rate > 0, draw)


@layer
def gaussian_noise(stddev: float) -> Layer:
    """y = x + n, with normal random numbers n of mean 0;  dx = dy.

    Without ``rng``, that is when predicting, y = x.

    Args:
        stddev: the standard deviation of n, ``>= 0``, in the unit of x.

    Returns:
        A layer without parameters.

    Raises:
        TypeError: ``stddev`` is not a number.
        ValueError: ``stddev`` is negative or not finite.

    Example:
        >>> y, _ = gaussian_noise(0.1).apply({}, np.ones((1000, 100)), rng=0)
        >>> round(float(y.mean()), 2), round(float(y.std()), 2)
        (1.0, 0.1)

    Reference:
        Bishop 1995, "Training with noise is equivalent to Tikhonov regularization".
    """
    stddev = checks.nonnegative("gaussian_noise", "stddev", stddev)

    def draw(rng: Rng, x: Array) -> tuple[Array, Pull]:
        return x + _normal(rng, x, stddev), lambda dy: dy

    return drawing("gaussian_noise", stddev > 0, draw)


def _normal(rng: Rng, x: Array, std: float) -> Array:
    """Normal random numbers like x; those of float64 are the same as those of float32."""
    noise = shards.normal(rng, x.shape).astype(x.dtype, copy=False)
    noise *= x.dtype.type(std)
    return noise
