"""Activations of a file, as layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from funcnn import layers as fn
from funcnn.interchange.onnx.importing.operator import Converter, Operator
from funcnn.interchange.onnx.importing.values import BATCH, Operand, Unsupported, Value
from funcnn.layers.activation.exponential import SELU_ALPHA, SELU_SCALE
from funcnn.protocol import Layer

__all__ = ["CONVERTERS", "along"]


def _ready(layer: Layer) -> Converter:
    return lambda op: op.elementwise(layer)


def _made(make: Callable[[Operator], Layer]) -> Converter:
    return lambda op: op.elementwise(make(op))


def _along(layer: Layer) -> Converter:
    """Softmax and its like: over one axis since opset 13, before that over all axes from one on."""

    def convert(op: Operator) -> Operand:
        x = op.value()
        first = x.axis(int(op.attribute("axis", -1 if op.opset >= 13 else 1)))
        last = [first] if op.opset >= 13 else [*range(first, len(x.axes))]
        return along(op, layer, x, last)

    return convert


def along(op: Operator, layer: Layer, x: Value, last: list[int]) -> Value:
    """A softmax, or a layer like it, over some axes as one."""
    if any(BATCH in x.axes[axis] for axis in last):
        raise Unsupported("a softmax over the batch")
    node, others = op.builder.with_last(x, last)
    made = op.builder.add(layer, [node])
    sizes: dict[Any, int] = {part: x.sizes[part] for part in (BATCH, *others)}
    sizes |= {part: x.sizes[part] for axis in last for part in x.axes[axis]}
    return Value.of(made, x.dtype, sizes, x.axes)


def _selu(op: Operator) -> Layer:
    if not np.allclose(
        (op.attribute("alpha", SELU_ALPHA), op.attribute("gamma", SELU_SCALE)), (SELU_ALPHA, SELU_SCALE)
    ):
        raise Unsupported("other constants than those of Klambauer et al.")
    return fn.selu


def _hard_sigmoid(op: Operator) -> Layer:
    if not np.isclose(op.attribute("beta", 0.5), 0.5):
        raise Unsupported("beta other than 0.5")
    slope = op.attribute("alpha", 0.2)
    return fn.hard_sigmoid() if np.float32(slope) == np.float32(1 / 6) else fn.hard_sigmoid(op.number("alpha", 0.2))


def _shrink(op: Operator) -> Layer:
    limit, bias = op.number("lambd", 0.5), op.number("bias", 0.0)
    if bias not in (0, limit):
        raise Unsupported("bias other than 0 and lambd")
    return fn.soft_shrink(limit) if bias else fn.hard_shrink(limit)


def _prelu(op: Operator) -> Operand:
    """The slopes are those of the channels, which are axis 1 here and the last one there."""
    x, slope = op.value(), op.constant(1)
    if slope.size == 1:
        return op.elementwise(fn.prelu(), {"slope": slope.reshape(1)})
    axis = len(x.axes) - slope.ndim + int(np.argmax(np.array(slope.shape) > 1))
    if slope.size != x.file_shape[axis] or slope.size != max(slope.shape):
        raise Unsupported(f"slopes of shape {slope.shape}")
    node, others = op.builder.with_last(x, [axis])
    made = op.builder.add(fn.prelu(shared=False), [node], {"slope": slope.reshape(-1)})
    return op.builder.after_last(x, made, others, axis, slope.size)


def _gelu(op: Operator) -> Layer:
    return fn.gelu(approximate=op.attribute("approximate", "none") == "tanh")


def _swish(op: Operator) -> Operand:
    """x sigmoid(alpha x) = swish(alpha x) / alpha."""
    alpha = op.number("alpha", 1.0)
    if alpha == 1:
        return op.elementwise(fn.swish)
    if alpha == 0:
        return op.elementwise(fn.affine(0.5))
    return op.builder.elementwise(
        fn.affine(1 / alpha), op.builder.elementwise(fn.swish, op.elementwise(fn.affine(alpha)))
    )


UNARY = (
    "Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Ceil", "Cos", "Cosh", "Erf", "Floor", "Log", "Round",
    "Sign", "Sinh", "Tan",
)  # fmt: skip

CONVERTERS: dict[str, Converter] = {
    "Relu": _ready(fn.relu),
    "Sigmoid": _ready(fn.sigmoid),
    "Tanh": _ready(fn.tanh),
    "Softplus": _made(lambda op: fn.softplus()),
    "Softsign": _ready(fn.softsign),
    "Exp": _ready(fn.exp),
    "Sin": _ready(fn.sine),
    **{kind: _ready(fn.unary(kind.lower())) for kind in UNARY},  # type: ignore[arg-type]
    "Sqrt": _made(lambda op: fn.power(0.5)),
    "Reciprocal": _made(lambda op: fn.power(-1.0)),
    "Neg": _made(lambda op: fn.affine(-1.0)),
    "HardSwish": _ready(fn.hard_swish),
    "Swish": _swish,
    "Mish": _ready(fn.mish),
    "Gelu": _made(_gelu),
    "LeakyRelu": _made(lambda op: fn.leaky_relu(op.number("alpha", 0.01))),
    "Elu": _made(lambda op: fn.elu(op.number("alpha", 1.0))),
    "Celu": _made(lambda op: fn.celu(op.number("alpha", 1.0))),
    "Selu": _made(_selu),
    "HardSigmoid": _made(_hard_sigmoid),
    "ThresholdedRelu": _made(lambda op: fn.threshold(op.number("alpha", 1.0))),
    "Shrink": _made(_shrink),
    "PRelu": _prelu,
    "Softmax": _along(fn.softmax),
    "LogSoftmax": _along(fn.log_softmax),
}
