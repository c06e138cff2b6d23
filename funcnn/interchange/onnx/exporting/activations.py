"""Activations as nodes of ONNX: operators of their own where it has them, else the formula.

A ready layer such as ``relu`` is found by its ``apply``, so that one under another name is the same.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

from funcnn import layers as fn
from funcnn.aliases import Tree
from funcnn.interchange.onnx.exporting.graph import Tensor
from funcnn.interchange.onnx.exporting.site import Converter, Site
from funcnn.layers.activation.exponential import SELU_ALPHA, SELU_SCALE
from funcnn.layers.activation.self_gated import CUBIC, QUICK, SLOPE

__all__ = ["CONVERTERS"]


def _identity(at: Site, x: Tree) -> Tree:
    return x


def _unary(kind: str, at: Site, x: Tensor, **attributes: Any) -> Tree:
    return at.elementwise(kind, x.name, **attributes)


def _softmax(kind: str, at: Site, x: Tensor) -> Tree:
    return at.op(kind, x.name, axis=-1)


def _softmin(at: Site, x: Tensor) -> Tree:
    return at.op("Softmax", at.elementwise("Neg", x.name), axis=-1)


def _sparsemax(at: Site, x: Tensor) -> Tree:
    """max(x - t, 0), with t from the k largest elements z of a row, for which 1 + k z_k > z_1 + ... + z_k."""
    classes, last = x.shape[-1], len(x.shape)
    ranks = at.constant("ranks", np.arange(1, classes + 1, dtype=x.dtype))
    z, _ = at.op("TopK", x.name, at.graph.integers([classes]), axis=-1, outputs=2)
    sums = at.op("CumSum", z, at.graph.number(last, "int64"))
    inside = at.op("Greater", at.op("Add", at.op("Mul", z, ranks), at.number(1, x)), sums)
    count = at.reduce("ReduceSum", at.op("Where", inside, at.number(1, x), at.number(0, x)), [last])
    total = at.reduce("ReduceSum", at.op("Where", inside, z, at.number(0, x)), [last])
    t = at.op("Div", at.op("Sub", total, at.number(1, x)), count)
    return at.op("Relu", at.op("Sub", x.name, t))


def _maxout(at: Site, x: Tensor, pieces: int) -> Tree:
    parts = at.reshape(x.name, [*x.shape[:-1], x.shape[-1] // pieces, pieces])
    return at.reduce("ReduceMax", parts, [len(x.shape) + 1], keepdims=False)


def _gated(gate: Any, at: Site, x: Tensor) -> Tree:
    half = x.shape[-1] // 2
    a, b = at.op("Split", x.name, at.graph.integers([half, half]), axis=-1, outputs=2)
    return at.op("Mul", a, gate(at, Tensor(b, (*x.shape[:-1], half), x.dtype)))


def _clip(at: Site, x: Tensor, low: float, high: float) -> Tree:
    return at.elementwise("Clip", x.name, at.number(low, x), at.number(high, x))


def _relu6(at: Site, x: Tensor) -> Tree:
    return _clip(at, x, 0.0, 6.0)


def _relu_squared(at: Site, x: Tensor) -> Tree:
    positive = at.elementwise("Relu", x.name)
    return at.elementwise("Mul", positive, positive)


def _leaky_relu(at: Site, x: Tensor, slope: float) -> Tree:
    return at.elementwise("LeakyRelu", x.name, alpha=float(slope))


def _hard_sigmoid(at: Site, x: Tensor, slope: float) -> Tree:
    return at.elementwise("HardSigmoid", x.name, alpha=float(slope), beta=0.5)


def _hard_shrink(at: Site, x: Tensor, limit: float) -> Tree:
    return at.elementwise("Shrink", x.name, lambd=float(limit), bias=0.0)


def _soft_shrink(at: Site, x: Tensor, limit: float) -> Tree:
    return at.elementwise("Shrink", x.name, lambd=float(limit), bias=float(limit))


def _threshold(at: Site, x: Tensor, threshold: float, value: float) -> Tree:
    above = at.elementwise("Greater", x.name, at.number(threshold, x))
    return at.elementwise("Where", above, x.name, at.number(value, x))


def _square(at: Site, x: Tensor) -> Tree:
    return at.elementwise("Mul", x.name, x.name)


def _tanh_shrink(at: Site, x: Tensor) -> Tree:
    return at.elementwise("Sub", x.name, at.elementwise("Tanh", x.name))


def _softplus(at: Site, x: Tensor, beta: float, threshold: float | None) -> Tree:
    scaled = x.name if beta == 1 else at.elementwise("Mul", x.name, at.number(beta, x))
    y = at.elementwise("Softplus", scaled)
    y = y if beta == 1 else at.elementwise("Div", y, at.number(beta, x))
    if threshold is None:
        return y
    return at.elementwise("Where", at.elementwise("Greater", scaled, at.number(threshold, x)), x.name, y)


def _log_sigmoid(at: Site, x: Tensor) -> Tree:
    return at.elementwise("Neg", at.elementwise("Softplus", at.elementwise("Neg", x.name)))


def _elu(at: Site, x: Tensor, alpha: float) -> Tree:
    return at.elementwise("Elu", x.name, alpha=float(alpha))


def _celu(at: Site, x: Tensor, alpha: float) -> Tree:
    return at.elementwise("Celu", x.name, alpha=float(alpha))


def _selu(at: Site, x: Tensor) -> Tree:
    return at.elementwise("Selu", x.name, alpha=SELU_ALPHA, gamma=SELU_SCALE)


def _swish(at: Site, x: Tensor) -> Tree:
    return at.elementwise("Mul", x.name, at.elementwise("Sigmoid", x.name))


def _quick_gelu(at: Site, x: Tensor) -> Tree:
    gate = at.elementwise("Sigmoid", at.elementwise("Mul", x.name, at.number(QUICK, x)))
    return at.elementwise("Mul", x.name, gate)


def _mish(at: Site, x: Tensor) -> Tree:
    return at.elementwise("Mul", x.name, at.elementwise("Tanh", at.elementwise("Softplus", x.name)))


def _hard_swish(at: Site, x: Tensor) -> Tree:
    return at.elementwise("HardSwish", x.name)


def _gelu(at: Site, x: Tensor, approximate: bool = False) -> Tree:
    """Opset 20 has an operator; before, it is x (1 + erf(x / sqrt 2)) / 2, or x sigmoid of a cubic."""
    if at.graph.opset >= 20:
        return at.elementwise("Gelu", x.name, approximate="tanh" if approximate else "none")
    if not approximate:
        erf = at.elementwise("Erf", at.elementwise("Mul", x.name, at.number(math.sqrt(0.5), x)))
        half = at.elementwise("Mul", x.name, at.number(0.5, x))
        return at.elementwise("Mul", half, at.elementwise("Add", erf, at.number(1, x)))
    square = at.elementwise("Mul", x.name, x.name)
    factor = at.elementwise("Add", at.elementwise("Mul", square, at.number(CUBIC, x)), at.number(1, x))
    z = at.elementwise("Mul", at.elementwise("Mul", x.name, factor), at.number(SLOPE, x))
    return at.elementwise("Mul", x.name, at.elementwise("Sigmoid", z))


CONVERTERS: dict[Any, Converter] = {
    fn.identity.apply: _identity,
    fn.relu.apply: partial(_unary, "Relu"),
    fn.relu6.apply: _relu6,
    fn.relu_squared.apply: _relu_squared,
    fn.leaky_relu: _leaky_relu,
    fn.hard_tanh: _clip,
    fn.hard_sigmoid: _hard_sigmoid,
    fn.hard_shrink: _hard_shrink,
    fn.soft_shrink: _soft_shrink,
    fn.threshold: _threshold,
    fn.sigmoid.apply: partial(_unary, "Sigmoid"),
    fn.tanh.apply: partial(_unary, "Tanh"),
    fn.softsign.apply: partial(_unary, "Softsign"),
    fn.exp.apply: partial(_unary, "Exp"),
    fn.sine.apply: partial(_unary, "Sin"),
    fn.square.apply: _square,
    fn.tanh_shrink.apply: _tanh_shrink,
    fn.log_sigmoid.apply: _log_sigmoid,
    fn.softplus: _softplus,
    fn.elu: _elu,
    fn.celu: _celu,
    fn.selu.apply: _selu,
    fn.swish.apply: _swish,
    fn.silu.apply: _swish,
    fn.quick_gelu.apply: _quick_gelu,
    fn.mish.apply: _mish,
    fn.hard_swish.apply: _hard_swish,
    fn.gelu: _gelu,
    fn.softmax.apply: partial(_softmax, "Softmax"),
    fn.log_softmax.apply: partial(_softmax, "LogSoftmax"),
    fn.softmin.apply: _softmin,
    fn.sparsemax.apply: _sparsemax,
    fn.maxout: _maxout,
    fn.glu.apply: partial(_gated, partial(_unary, "Sigmoid")),
    fn.geglu.apply: partial(_gated, _gelu),
    fn.reglu.apply: partial(_gated, partial(_unary, "Relu")),
    fn.swiglu.apply: partial(_gated, _swish),
}
