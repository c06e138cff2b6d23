"""Norms as nodes of ONNX, and the layers that draw noise in training, which pass their input on when they predict."""

from __future__ import annotations

from typing import Any

import numpy as np

from funcnn import layers as fn
from funcnn.aliases import Tree
from funcnn.interchange.onnx.exporting.graph import Tensor
from funcnn.interchange.onnx.exporting.site import Converter, Site

__all__ = ["CONVERTERS"]


def _same(at: Site, x: Tree, **_: Any) -> Tree:
    return x


def _batch_norm(at: Site, x: Tensor, eps: float, activation: Any) -> Tree:
    rank = len(x.shape) - 1
    names = [at.param(name) for name in ("scale", "shift", "mean", "var")]
    z = at.op("BatchNormalization", at.channels_first(x.name, rank), *names, epsilon=float(eps))
    return at.activated(at.channels_last(z, rank), x, x.shape, activation)


def _layer_norm(at: Site, x: Tensor, axes: int, eps: float, scale: bool, shift: bool, activation: Any) -> Tree:
    own = at.param("scale") if scale else at.constant("ones", np.ones(x.shape[-axes:], x.dtype))
    inputs = [x.name, own, *([at.param("shift")] if shift else [])]
    z = at.op("LayerNormalization", *inputs, axis=-int(axes), epsilon=float(eps))
    return at.activated(z, x, x.shape, activation)


def _rms_norm(at: Site, x: Tensor, axes: int, eps: float | None, scale: bool, activation: Any) -> Tree:
    last = range(len(x.shape) + 1 - axes, len(x.shape) + 1)
    square = at.reduce("ReduceMean", at.op("Mul", x.name, x.name), last)
    own_eps = np.finfo(x.dtype).eps if eps is None else eps
    z = at.op("Div", x.name, at.op("Sqrt", at.op("Add", square, at.number(own_eps, x))))
    if scale:
        z = at.op("Mul", z, at.param("scale"))
    return at.activated(z, x, x.shape, activation)


def _instance_norm(at: Site, x: Tensor, eps: float, affine: bool, activation: Any) -> Tree:
    rank, channels = len(x.shape) - 1, x.shape[-1]
    scale = at.param("scale") if affine else at.constant("ones", np.ones(channels, x.dtype))
    shift = at.param("shift") if affine else at.constant("zeros", np.zeros(channels, x.dtype))
    z = at.op("InstanceNormalization", at.channels_first(x.name, rank), scale, shift, epsilon=float(eps))
    return at.activated(at.channels_last(z, rank), x, x.shape, activation)


def _group_norm(at: Site, x: Tensor, groups: int, eps: float, affine: bool, activation: Any) -> Tree:
    rank, channels = len(x.shape) - 1, x.shape[-1]
    rows = at.reshape(at.channels_first(x.name, rank), [groups, -1])
    ones, zeros = at.constant("ones", np.ones(groups, x.dtype)), at.constant("zeros", np.zeros(groups, x.dtype))
    z = at.op("InstanceNormalization", rows, ones, zeros, epsilon=float(eps))
    z = at.channels_last(at.reshape(z, [channels, *x.shape[:-1]]), rank)
    if affine:
        z = at.op("Add", at.op("Mul", z, at.param("scale")), at.param("shift"))
    return at.activated(z, x, x.shape, activation)


def _l2_normalize(at: Site, x: Tensor, axis: int, eps: float) -> Tree:
    length = at.reduce("ReduceL2", x.name, [axis % (len(x.shape) + 1)])
    return at.op("Div", x.name, at.op("Max", length, at.number(eps, x)))


NOISE = (
    fn.dropout, fn.spatial_dropout, fn.drop_path, fn.alpha_dropout, fn.gaussian_dropout, fn.gaussian_noise,
)  # fmt: skip

CONVERTERS: dict[Any, Converter] = {
    **dict.fromkeys(NOISE, _same),
    fn.batch_norm: _batch_norm, fn.layer_norm: _layer_norm, fn.rms_norm: _rms_norm, fn.group_norm: _group_norm,
    fn.instance_norm: _instance_norm, fn.l2_normalize: _l2_normalize,
}  # fmt: skip
