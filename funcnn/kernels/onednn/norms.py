"""Batch norm by oneDNN, in the steps of ``moments``, between which microbatches put their sums together.

oneDNN's own batch norm knows one batch alone. Its forward pass computes the moments of a microbatch, and with a mean
that is given and a variance of 1 it is an affine map, with a relu if there is one. Its backward pass, likewise, gives
the two sums, and the gradient of such a map.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

import funcnn.kernels.onednn.codes as codes
import funcnn.kernels.onednn.scope as scope
from funcnn.aliases import Array
from funcnn.engine.memory import empty
from funcnn.kernels.epilogue import Activation
from funcnn.kernels.moments import Complete, InputGradient, Moments, are_near
from funcnn.kernels.onednn.arrays import constant, contiguous, image
from funcnn.kernels.onednn.primitives import Handle, Primitive, compiled, description, descriptor
from funcnn.kernels.tuning import TUNING, Tuning
from funcnn.kernels.windows import Sizes

__all__ = ["activated_map", "moments"]

NO_EPS, AFFINE = 0.0, codes.GIVEN_MOMENTS | codes.SCALED | codes.SHIFTED


def moments(x: Array, tuning: Tuning = TUNING) -> Moments | None:
    """As ``moments.moments``; where a channel is far, NumPy computes them all."""
    made = _moments(_flat(x.shape)) if scope.normalizes(x) else None
    if made is None:
        return None
    (mean, var), n = np.empty((2, x.shape[-1]), np.float32), x.size // x.shape[-1]
    made(contiguous(x), empty(x.shape, np.float32), mean, var)
    with np.errstate(over="ignore", invalid="ignore"):
        found = n, mean, var * x.dtype.type(n), False
        return found if are_near(*found) else None


def activated_map(
    x: Array, mean: Array, scale: Array, shift: Array, activation: Activation | None, complete: Complete,
    own_mean: bool = False,
) -> tuple[Array, Callable[[Array, Array], tuple[Array, Array, InputGradient]]] | None:  # fmt: skip
    """As ``moments.activated_map``; of a relu it keeps a bit for each element, whether it is positive."""
    relu = scope.is_relu(activation) and scope.are_tame(mean, scale, shift, *(() if own_mean else (x,)))
    made, plain = (_map(_flat(x.shape), fused) if scope.normalizes(x) else None for fused in (relu, False))
    if made is None or plain is None:
        return None
    x, mean, y, one = contiguous(x), contiguous(mean), empty(x.shape, np.float32), constant(1, x.shape[-1])
    positive = (empty((made.workspace,), np.uint8),) if relu else ()
    made.forward(x, y, contiguous(scale), contiguous(shift), mean, one, *positive)
    if activation is not None and not relu:
        activation(y)
    y, gradient = (y, contiguous) if relu else complete(y)

    def pull(dy: Array, factor: Array) -> tuple[Array, Array, InputGradient]:
        scaled, (sums, products) = empty(x.shape, np.float32), np.empty((2, x.shape[-1]), np.float32)
        made.backward(x, contiguous(gradient(dy)), contiguous(factor), mean, one, scaled, products, sums, *positive)

        def input_gradient(mean_dz: Array | None = None, along: Array | None = None) -> Array:
            if mean_dz is None or along is None:
                return scaled
            dx = empty(x.shape, np.float32)
            plain.forward(x, dx, -factor * along, -factor * mean_dz, mean, one)
            dx += scaled
            return dx

        return sums, products, input_gradient

    return y, pull


@compiled
def _moments(x: Sizes) -> Primitive:
    """The moments of each channel, and what is normalized by them, which nobody reads."""
    whole, channels = image(x), _channels(x)
    described = description("batch_normalization_forward", codes.TRAINING, whole, whole, NO_EPS, 0)
    return Primitive(described, {codes.SRC: whole, codes.DST: whole, codes.MEAN: channels, codes.VAR: channels})


class _Map(NamedTuple):
    """y = (x - mean) * scale + shift with a variance of 1, and its backward pass.

    Args:
        forward: y, or its relu.
        backward: the gradient before the relu, times a scale, and the sums of dy * (x - mean) and of dy.
        workspace: the bytes that say which elements the relu keeps; 0 without it.
    """

    forward: Primitive
    backward: Primitive
    workspace: int


@compiled
def _map(x: Sizes, relu: bool) -> _Map:
    whole, channels, flags = image(x), _channels(x), AFFINE | (codes.THEN_RELU if relu else 0)
    hint = description("batch_normalization_forward", codes.TRAINING, whole, whole, NO_EPS, flags)
    described = description("batch_normalization_backward", codes.BACKWARD, whole, whole, whole, NO_EPS, flags, hint)
    kept = {codes.WORKSPACE: codes.QUERY_WORKSPACE} if relu else {}
    scale_shift_mean_var = dict.fromkeys((codes.SCALE, codes.SHIFT, codes.MEAN, codes.VAR), channels)
    scale_mean_var = dict.fromkeys((codes.SCALE, codes.MEAN, codes.VAR), channels)
    sums = dict.fromkeys((codes.DIFF_SCALE, codes.DIFF_SHIFT), channels)
    forward = Primitive(hint, {codes.SRC: whole, codes.DST: whole, **scale_shift_mean_var, **kept})
    arrays = {codes.SRC: whole, codes.DIFF_DST: whole, **scale_mean_var, codes.DIFF_SRC: whole, **sums, **kept}
    return _Map(forward, Primitive(described, arrays), forward.size(forward.queried(codes.QUERY_WORKSPACE)))


def _flat(shape: Sizes) -> Sizes:
    """An image of any number of axes as one of two, which is what oneDNN normalizes fastest."""
    return shape[0], math.prod(shape[1:-1]), 1, shape[-1]


def _channels(x: Sizes) -> Handle:
    """The descriptor of an array of one element for a channel."""
    return descriptor((x[-1],), (1,))
