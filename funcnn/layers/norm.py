"""Batch norm gives each channel mean 0 and variance 1 over the batch, then a learned scale and shift.

It trains on the batch's own statistics, so its vjp looks across the batch: moving one number moves the mean and the
variance that all others are measured by. It predicts on statistics that ``calibrate`` has measured once.
"""

import math
from typing import Any

import numpy as np

from funcnn.aliases import Array, Params, Rng, Shape
from funcnn.layer import Layer, Vjp, check_gradient, check_input, layer, parameter
from funcnn.pieces import Piecework, alone, summed

__all__ = ["batch_norm"]


@layer
def batch_norm(eps: float = 1e-5) -> Layer:
    """y = scale * (x - mean) / sqrt(var + eps) + shift, per channel (the last axis).

    In training (``rng`` given) mean and var are those of the batch, over all axes but the last; going back, with
    u = (x - mean) / sqrt(var + eps) and E the mean over those axes::

        dscale = sum of dy u     dshift = sum of dy     dx = scale / sqrt(var + eps) * (dy - E[dy] - u E[dy u])

    Predicting, mean and var are parameters, measured by ``calibrate``; they begin as NaN, "not measured". Their
    gradient in training is 0, since training does not use them.

    Args:
        eps: added to the variance, ``> 0``, so that a constant channel gives ``shift`` and not 0 / 0.

    Returns:
        A layer from (batch, ..., channels) to the same, with parameters ``scale``, ``shift``, ``mean``, ``var``.

    Raises:
        ValueError: ``eps`` is not positive; or, predicting, nothing has been measured.

    Example:
        >>> model = batch_norm()
        >>> params = model.init((2,), rng=0)
        >>> y, _ = model.apply(params, np.array([[1, 10], [3, 30]], np.float32), rng=0)
        >>> y.round(3)
        array([[-1., -1.],
               [ 1.,  1.]], dtype=float32)

    Reference:
        Ioffe & Szegedy 2015, arXiv 1502.03167, algorithms 1 and 2; Wu & Johnson 2021, arXiv 2105.07576, section 3.
    """
    if not eps >= 1e-12:
        raise ValueError(f"batch_norm: eps must be at least 1e-12, or it vanishes in the variance, got {eps!r}")

    def init(shape: Shape, rng: Rng) -> Params:
        if not shape:
            raise ValueError("batch_norm: expected an example of shape (..., channels), got ()")
        one, unknown = np.ones(shape[-1:], np.float32), np.full(shape[-1:], np.nan, np.float32)
        return {"scale": one, "shift": np.zeros_like(one), "mean": unknown, "var": unknown.copy()}

    def piecework(params: Params, x: Array, rng: Rng | None) -> Piecework[Any]:
        scale, shift, mean, var = (parameter("batch_norm", params, n, (None,)) for n in params_in_order)
        check_input("batch_norm", x, "batch, ..., channels", scale, channels=len(scale))
        training, n = rng is not None, 1
        if training:
            n, mean, var = yield from _statistics(x)
        elif np.isnan(mean).any() or np.isnan(var).any():
            raise ValueError(
                "batch_norm: mean and var have not been measured, so there is nothing to predict with; call "
                "params = fn.calibrate(model, params, x) with some training examples (or pass rng to train)"
            )
        slope = 1 / np.sqrt(var + x.dtype.type(eps))
        gain = scale * slope
        centred = x - mean
        y = centred * gain
        y += shift

        def backward(dy: Array, input_grad: bool) -> Piecework[tuple[Params, Array | None]]:
            check_gradient("batch_norm", dy, y)
            dshift, dscale = dy.sum(tuple(range(dy.ndim - 1))), slope * _products(dy, centred)
            grads = {"scale": dscale, "shift": dshift, "mean": -gain * dshift, "var": -0.5 * slope * gain * dscale}
            if training:
                grads |= {"mean": np.zeros_like(gain), "var": np.zeros_like(gain)}
            if not input_grad:
                return grads, None
            dx = gain * dy
            if training:
                all_dshift, all_dscale = yield summed(np.stack([dshift, dscale]))
                pull = centred * (gain * slope * all_dscale / n)
                pull += gain * all_dshift / n
                dx -= pull
            return grads, dx

        return y, backward

    def apply(params: Params, x: Array, rng: Rng | None = None) -> tuple[Array, Vjp]:
        y, backward = alone(piecework(params, x, rng))
        return y, lambda dy, input_grad=True: alone(backward(dy, input_grad))

    def measure(params: Params, x: Array) -> Params:
        _, mean, var = alone(_statistics(x))
        return {**params, "mean": mean, "var": var}

    params_in_order = ("scale", "shift", "mean", "var")
    return Layer(init, apply, measure=measure, across_batch=True, piecework=piecework)


def _statistics(x: Array) -> Piecework[tuple[int, Array, Array]]:
    """How many numbers a channel has in all pieces, their mean and variance.

    In two passes: the mean of squares minus the squared mean would cancel.
    """
    axes = tuple(range(x.ndim - 1))
    numbers = np.array(math.prod(x.shape[:-1]))
    n = max(int((yield summed(numbers))), 1)
    mean = (yield summed(x.sum(axes))) / n
    centred = x - mean
    return n, mean, (yield summed(_products(centred, centred))) / n


def _products(a: Array, b: Array) -> Array:
    """The sum of a * b per channel."""
    total: Array = (a * b).sum(tuple(range(a.ndim - 1)))
    return total
