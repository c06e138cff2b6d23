"""Batch norm gives each channel mean 0 and variance 1 over the batch, then a learned scale and shift.

It trains on the batch's own statistics, so its vjp looks across the batch: moving one number moves the mean and the
variance that all others are measured by. It predicts on statistics that ``calibrate`` has measured once.
"""

# A vjp_fn is defined at each call of apply; like this its annotations cost nothing there.
from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np

from funcnn.aliases import Array, Params, Rng, Shape
from funcnn.kernels.moments import blocks, centred_moments, each, line, merged, planes, sums_and_products
from funcnn.protocol import Layer, Line, Vjp, check_gradient, check_input, layer, parameter
from funcnn.layers.activation import fuse
from funcnn.engine.memory import empty_like
from funcnn.engine.microbatch import Meeting, Piecework, alone, summed

__all__ = ["batch_norm"]


@layer
def batch_norm(eps: float = 1e-5, activation: Any = None) -> Layer:
    """y = activation(scale * (x - mean) / sqrt(var + eps) + shift), per channel (the last axis).

    In training (``rng`` given) mean and var are those of the batch, over all axes but the last; going back, with
    u = (x - mean) / sqrt(var + eps), E the mean over those axes and dz the gradient before the activation::

        dscale = sum of dz u     dshift = sum of dz     dx = scale / sqrt(var + eps) * (dz - E[dz] - u E[dz u])

    Predicting, mean and var are parameters, measured by ``calibrate``; they begin as NaN, "not measured". Their
    gradient in training is 0, since training does not use them.

    Args:
        eps: added to the variance, ``>= 1e-12``, so that a constant channel gives ``shift`` and not 0 / 0.
        activation: a layer without parameters, or its name, applied at once.

    Returns:
        A layer from (batch, ..., channels) to the same, with parameters ``scale``, ``shift``, ``mean``, ``var``.

    Raises:
        ValueError: ``eps`` is too small, the activation is unknown; or, predicting, nothing has been measured.

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

    activate = fuse("batch_norm", activation)

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
        elif _unmeasured(mean, var):
            raise ValueError(
                "batch_norm: mean and var have not been measured, so there is nothing to predict with; call "
                "params = fn.calibrate(model, params, x) with some training examples (or pass rng to train)"
            )
        slope = 1 / np.sqrt(var + x.dtype.type(eps))
        gain = scale * slope
        z = empty_like(x)
        seen, made = planes(x), planes(z, like=x)
        for block in blocks(seen):
            activate.part(line(seen[block], mean, gain, shift, out=made[block]))
        y, pull = activate.finish(z)

        def backward(dy: Array, input_grad: bool) -> Piecework[tuple[Params, Array | None]]:
            check_gradient("batch_norm", dy, y)
            dz = pull(dy)
            seen, pulled = planes(x), planes(dz, like=x)
            dshift, products = sums_and_products(pulled, seen, mean)
            dscale = slope * products
            grads = {"scale": dscale, "shift": dshift, "mean": -gain * dshift, "var": -0.5 * slope * gain * dscale}
            all_dshift, all_dscale = np.zeros_like(gain), np.zeros_like(gain)
            if training:
                grads |= {"mean": all_dshift, "var": all_dscale}
                all_dshift, all_dscale = (yield summed(np.stack([dshift, dscale]))) / x.dtype.type(n)
            if not input_grad:
                return grads, None
            dx = empty_like(x)
            made = planes(dx, like=x)
            for block in blocks(seen):
                part = line(seen[block], mean, -slope * all_dscale, -all_dshift, out=made[block])
                part += pulled[block]
                part *= each(gain)
            return grads, dx

        return y, backward

    def apply(params: Params, x: Array, rng: Rng | None = None) -> tuple[Array, Vjp]:
        y, backward = alone(piecework(params, x, rng))
        return y, lambda dy, input_grad=True: alone(backward(dy, input_grad))

    def measure(params: Params, x: Array) -> Params:
        _, mean, var = alone(_statistics(x))
        return {**params, "mean": mean, "var": var}

    def as_line(params: Params, earlier: Params) -> Line | None:
        scale, shift, mean, var = values = [np.asarray(params.get(name)) for name in params_in_order]
        w = np.asarray(earlier.get("w"))
        if any(value.shape != w.shape[-1:] or value.dtype != w.dtype for value in values) or _unmeasured(mean, var):
            return None
        gain = scale / np.sqrt(var + w.dtype.type(eps))
        return Line(gain, shift - mean * gain, activate.part)

    params_in_order = ("scale", "shift", "mean", "var")
    return Layer(
        init, apply, measure=measure, across_batch=True, piecework=piecework, line=None if activate.rest else as_line
    )


def _unmeasured(mean: Array, var: Array) -> bool:
    """Whether ``calibrate`` has yet to show the layer its input."""
    return bool(np.isnan(mean).any() or np.isnan(var).any())


def _statistics(x: Array) -> Piecework[tuple[int, Array, Array]]:
    """How many numbers a channel has in all pieces, their mean and variance."""
    n, mean, squares = yield Meeting(centred_moments(planes(x)), lambda parts: [reduce(merged, parts)] * len(parts))
    return max(n, 1), mean.astype(x.dtype), (squares / max(n, 1)).astype(x.dtype)
