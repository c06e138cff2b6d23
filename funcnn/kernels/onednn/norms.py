"""Batch norm by oneDNN, in the four steps of ``moments``, between which microbatches put their sums together.

oneDNN's own batch norm knows one batch alone. Its forward pass computes the moments of a microbatch, and with a mean
that is given and a variance of 1 it is an affine map. Its backward pass, likewise, computes the two sums.
"""

from __future__ import annotations

import math

import numpy as np

import funcnn.kernels.onednn.codes as codes
import funcnn.kernels.onednn.scope as scope
from funcnn.aliases import Array
from funcnn.engine.memory import empty
from funcnn.kernels.epilogue import Activation
from funcnn.kernels.moments import Moments, are_near
from funcnn.kernels.onednn.arrays import constant, contiguous, image
from funcnn.kernels.onednn.primitives import Handle, Primitive, compiled, description, descriptor
from funcnn.kernels.tuning import TUNING, Tuning
from funcnn.kernels.windows import Sizes

__all__ = ["moments", "normalized_gradient", "scale_and_shift", "sums_and_products"]

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


def scale_and_shift(
    x: Array, mean: Array, scale: Array, shift: Array, activation: Activation | None = None, tuning: Tuning = TUNING
) -> Array | None:
    """As ``moments.scale_and_shift``."""
    if not scope.normalizes(x):
        return None
    relu = scope.is_relu(activation) and all(map(scope.is_tame, (x, mean, scale, shift)))
    made = _affine(_flat(x.shape), relu)
    if made is None:
        return None
    y = empty(x.shape, np.float32)
    made(contiguous(x), y, *map(contiguous, (scale, shift, mean)), constant(1, x.shape[-1]))
    if activation is not None and not relu:
        activation(y)
    return y


def sums_and_products(dy: Array, x: Array, mean: Array, tuning: Tuning = TUNING) -> tuple[Array, Array] | None:
    """As ``moments.sums_and_products``."""
    made = _sums(_flat(x.shape)) if scope.normalizes(x) else None
    if made is None:
        return None
    (sums, products), ones = np.empty((2, x.shape[-1]), np.float32), constant(1, x.shape[-1])
    made(contiguous(x), contiguous(dy), ones, contiguous(mean), ones, empty(x.shape, np.float32), products, sums)
    return sums, products


def normalized_gradient(
    dy: Array, x: Array, mean: Array, scale: Array, inverse_std: Array, mean_dy: Array, mean_dyu: Array,
    tuning: Tuning = TUNING,
) -> Array | None:  # fmt: skip
    """As ``moments.normalized_gradient``: dy times a factor, and an affine map of x added."""
    if not scope.normalizes(x):
        return None
    affine, added = _affine(_flat(x.shape), False), _scaled_and_added(_flat(x.shape))
    if affine is None or added is None:
        return None
    factor, ones = scale * inverse_std, constant(1, x.shape[-1])
    less, dx = empty(x.shape, np.float32), empty(x.shape, np.float32)
    affine(contiguous(x), less, -factor * inverse_std * mean_dyu, -factor * mean_dy, contiguous(mean), ones)
    added(contiguous(dy), factor, dx, less)
    return dx


@compiled
def _moments(x: Sizes) -> Primitive:
    """The moments of each channel, and what is normalized by them, which nobody reads."""
    whole, channels = image(x), _channels(x)
    described = description("batch_normalization_forward", codes.TRAINING, whole, whole, NO_EPS, 0)
    return Primitive(described, {codes.SRC: whole, codes.DST: whole, codes.MEAN: channels, codes.VAR: channels})


@compiled
def _affine(x: Sizes, relu: bool) -> Primitive:
    """y = (x - mean) * scale + shift, and its relu; the variance is to be 1."""
    whole, per_channel = image(x), (codes.SCALE, codes.SHIFT, codes.MEAN, codes.VAR)
    flags = AFFINE | (codes.THEN_RELU if relu else 0)
    described = description("batch_normalization_forward", codes.INFERENCE, whole, whole, NO_EPS, flags)
    return Primitive(described, {codes.SRC: whole, codes.DST: whole, **dict.fromkeys(per_channel, _channels(x))})


@compiled
def _sums(x: Sizes) -> Primitive:
    """The sums of dy * (x - mean) and of dy, and dy * scale, which nobody reads; the variance is to be 1."""
    whole, channels = image(x), _channels(x)
    hint = description("batch_normalization_forward", codes.TRAINING, whole, whole, NO_EPS, AFFINE)
    args = codes.BACKWARD, whole, whole, whole, NO_EPS, AFFINE, hint
    per_channel = dict.fromkeys((codes.SCALE, codes.MEAN, codes.VAR), channels)
    outputs = {codes.DIFF_SRC: whole, codes.DIFF_SCALE: channels, codes.DIFF_SHIFT: channels}
    described = description("batch_normalization_backward", *args)
    return Primitive(described, {codes.SRC: whole, codes.DIFF_DST: whole, **per_channel, **outputs})


@compiled
def _scaled_and_added(x: Sizes) -> Primitive:
    """x * factor + another array, with one factor for a channel."""
    whole, factors = image(x), descriptor((1, x[-1], 1, 1), (x[-1], 1, x[-1], x[-1]))
    after = (("binary", codes.BINARY_ADD, whole),)
    described = description("binary", codes.BINARY_MULTIPLY, whole, factors, whole, after=after)
    places = {codes.SRC: whole, codes.SRC_1: factors, codes.DST: whole, codes.POST_OP_SRC_1: whole}
    return Primitive(described, places)


def _flat(shape: Sizes) -> Sizes:
    """An image of any number of axes as one of two, which is what oneDNN normalizes fastest."""
    return shape[0], math.prod(shape[1:-1]), 1, shape[-1]


def _channels(x: Sizes) -> Handle:
    """The descriptor of an array of one element for a channel."""
    return descriptor((x[-1],), (1,))
