"""Batch norm gives each channel mean 0 and variance 1 over the batch, then a learned scale and shift.

It trains on the batch's own statistics, so its vjp looks across the batch: moving one element moves the mean and the
variance that all others are measured by. It predicts on statistics that ``calibrate`` has measured once, and is then
the affine map ``scale_and_shift``.
"""

# A vjp_fn is defined at each call of apply; like this its annotations cost nothing there.
from __future__ import annotations

from functools import reduce

import numpy as np

from funcnn import checks, contract
from funcnn.aliases import Array, Key, Params, Rng, Shape
from funcnn.engine.microbatch import AllReduce, Backward, Coroutine, all_sum, microbatched, run_one
from funcnn.kernels.moments import Moments, activated_map, joined_moments, moments
from funcnn.layers.activation import Activation, fuse
from funcnn.protocol import Layer, Vjp, elements_of, layer, per_example, per_position
from funcnn.rng import check_rng

__all__ = ["batch_norm", "scale_and_shift"]

AXES = "batch, ..., channels"


@layer
def batch_norm(eps: float = 1e-5, activation: Activation = None) -> Layer:
    """y = activation(scale * (x - mean) / sqrt(var + eps) + shift), per channel (the last axis).

    In training (``rng`` given) mean and var are those of the batch, over all axes but the last. In the backward pass,
    with u = (x - mean) / sqrt(var + eps), E the mean over those axes and dz the gradient before the activation::

        dscale = sum of dz u     dshift = sum of dz     dx = scale / sqrt(var + eps) * (dz - E[dz] - u E[dz u])

    When predicting, mean and var are parameters, measured by ``calibrate``; they start as NaN, "not measured". Their
    gradient in training is 0, since training does not use them.

    Args:
        eps: added to the variance, ``>= 1e-12``, so that a constant channel gives ``shift`` and not 0 / 0.
        activation: a layer without parameters, or its name, applied at once.

    Returns:
        A layer from (batch, ..., channels) to the same, with parameters ``scale``, ``shift``, ``mean``, ``var``.

    Raises:
        TypeError: ``eps`` is not a number, or the activation is not one.
        ValueError: ``eps`` is too small, the activation is unknown; or, predicting, nothing has been measured, or a
            variance is negative.

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
    eps = checks.eps("batch_norm", eps)
    activate = fuse("batch_norm", activation)
    read = contract.parameters("batch_norm", AXES, scale=(None,), shift=(None,), mean=(None,), var=(None,))

    def init(shape: Shape, rng: Rng) -> Params:
        one = np.ones(checks.channels("batch_norm", shape), np.float32)
        return {"scale": one, "shift": 0 * one, "mean": np.nan * one, "var": np.nan * one}

    def forward(params: Params, x: Array, key: Key | None, keep: bool) -> Coroutine[tuple[Array, Backward]]:
        scale, shift, mean, var = read(params, x)
        training, n, far = key is not None, 1, False
        if training:
            n, mean, var, far = yield from _statistics(x)
        else:
            _check_measured(mean, var)
        inverse_std, factor = 1 / np.sqrt(var + eps), scale
        if far:  # a float32 x - mean would be rounding errors; u, made in float64, takes the place of x
            native = x.dtype.type
            x, factor = ((x - mean) * inverse_std).astype(native), (scale * inverse_std).astype(native)
            mean, inverse_std = np.zeros_like(scale), np.ones_like(scale)
        own_mean = training and not far
        y, pull = activated_map(
            x, mean, scale * inverse_std, shift, activate.in_place, activate.complete, own_mean=own_mean
        )

        def backward(dy: Array, input_grad: bool) -> Coroutine[tuple[Params, Array | None]]:
            dshift, products, input_gradient = pull(dy, factor * inverse_std)
            dscale, means = inverse_std * products, tuple[Array, ...]()
            dmean = dvar = np.zeros(scale.shape, scale.dtype)
            if training:
                sum_dz, sum_dzu = yield all_sum((dshift, dscale))
                means = sum_dz / n, inverse_std * (sum_dzu / n)
            else:
                dmean, dvar = -scale * inverse_std * dshift, -0.5 * scale * inverse_std * inverse_std * dscale
            grads = {"scale": dscale, "shift": dshift, "mean": dmean, "var": dvar}
            return grads, input_gradient(*means) if input_grad else None

        return y, backward

    def measured(params: Params, x: Array) -> Coroutine[Params]:
        checks.float_array("batch_norm", x)
        _, mean, var, _ = yield from _statistics(x)
        if not (np.isfinite(mean).all() and np.isfinite(var).all()):
            raise ValueError("batch_norm: its input has NaN or infinite numbers; debug_nonfinite tells where from")
        if (var > np.finfo(x.dtype).max).any():
            raise ValueError(
                f"batch_norm: the variance of its input, up to {var.max():.3g}, is too large for {x.dtype.name}; "
                "scale the input"
            )
        dtype = x.dtype.type  # in native byte order
        return {**params, "mean": mean.astype(dtype, copy=False), "var": var.astype(dtype, copy=False)}

    def measure(params: Params, x: Array) -> Params:
        return run_one(measured(params, x))

    measure.forward = measured  # type: ignore[attr-defined]  # calibrate measures one batch after the other
    apply = per_position(microbatched(forward, "batch_norm", elements_of), activate.per_position)
    return Layer(init, apply, measure=measure)


def _check_measured(mean: Array, var: Array) -> None:
    """Raise if there is nothing to predict with: statistics that are NaN, or a negative variance."""
    if np.isnan(mean).any() or np.isnan(var).any():
        raise ValueError(
            "batch_norm: mean and var have not been measured, so there is nothing to predict with; call "
            "params = fn.calibrate(model, params, x) with some training examples (or pass rng to train); a frozen "
            "layer is calibrated before it is frozen"
        )
    if (var < 0).any():
        raise contract.OtherParameters(f"batch_norm: a variance is not negative, got {var.min()} in var")


def _statistics(x: Array) -> Coroutine[tuple[int, Array, Array, bool]]:
    """How many elements a channel has in all microbatches, their mean and variance, and whether float64 took them."""
    n, mean, squares, far = yield AllReduce(moments(x), _joined)
    n, dtype = max(n, 1), x.dtype.type  # in native byte order
    var = squares / n
    if not far:
        mean, var = mean.astype(dtype, copy=False), var.astype(dtype, copy=False)
    return n, mean, var, far


def _joined(parts: list[Moments]) -> list[Moments]:
    """The moments of all microbatches, for each of them."""
    return [reduce(joined_moments, parts)] * len(parts)


@layer
def scale_and_shift(activation: Activation = None) -> Layer:
    """y = activation(x * scale + shift), per channel (the last axis).

    With dz the gradient before the activation: dscale = sum of dz x, dshift = sum of dz, dx = dz * scale.

    Args:
        activation: a layer without parameters, or its name, applied at once.

    Returns:
        A layer from (batch, ..., channels) to the same, with parameters ``scale``, which starts as 1, and ``shift``.

    Raises:
        ValueError: the activation is unknown; or the channels are not those of the parameters.

    Example:
        >>> params = {"scale": np.array([2.0]), "shift": np.array([1.0])}
        >>> scale_and_shift().apply(params, np.array([[3.0]]))[0]
        array([[7.]])
    """
    activate = fuse("scale_and_shift", activation)
    read = contract.parameters("scale_and_shift", AXES, scale=(None,), shift=(None,))

    def init(shape: Shape, rng: Rng) -> Params:
        one = np.ones(checks.channels("scale_and_shift", shape), np.float32)
        return {"scale": one, "shift": 0 * one}

    @per_example
    def apply(params: Params, x: Array, rng: Rng | None = None) -> tuple[Array, Vjp]:
        scale, shift = read(params, x)
        check_rng(rng)
        y, pull = activated_map(x, np.zeros_like(scale), scale, shift, activate.in_place, activate.complete)
        like = contract.form(y)

        def vjp_fn(dy: Array, input_grad: bool = True) -> tuple[Params, Array | None]:
            contract.gradient("scale_and_shift", dy, like)
            dshift, dscale, input_gradient = pull(dy, scale)
            return {"scale": dscale, "shift": dshift}, input_gradient() if input_grad else None

        return y, vjp_fn

    per_position(apply, activate.per_position)
    return Layer(init, apply)
