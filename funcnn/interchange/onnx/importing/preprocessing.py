"""Operators of the domain ``ai.onnx.ml``, which scikit-learn's scalers become, as layers.

They stand in front of a network in a pipeline; what they subtract and divide by is learned, as other constants are.
"""

from __future__ import annotations

import numpy as np

from funcnn import layers as fn
from funcnn.interchange.onnx.importing.arithmetic import pair
from funcnn.interchange.onnx.importing.operator import Converter, Operator
from funcnn.interchange.onnx.importing.values import Operand, Unsupported, Value

__all__ = ["CONVERTERS"]


def _scaler(op: Operator) -> Operand:
    """(x - offset) scale, where one number stands for all features."""
    x = op.builder.floats(op.value())
    offset, scale = (np.asarray(op.attribute(name, usual), np.float32) for name, usual in (("offset", 0), ("scale", 1)))
    return pair(op, "multiply", pair(op, "subtract", x, offset), scale)  # type: ignore[no-any-return]


def _normalizer(op: Operator) -> Operand:
    """Rows divided by their length or by the sum of their sizes; rows of zeros stay."""
    x, norm = op.builder.floats(op.value()), op.attribute("norm", "MAX")
    if norm not in ("L1", "L2") or len(x.axes) != 2:
        raise Unsupported(f"the norm {norm} of a value of shape {x.file_shape}; L1 and L2 of rows can be imported")
    node, _ = op.builder.with_last(x, [1])
    if norm == "L2":
        return x.same(op.builder.add(fn.l2_normalize(), [node]))
    size = op.builder.add(fn.reduce("sum", -1, keepdims=True), [op.builder.add(fn.unary("abs"), [node])])
    size = op.builder.add(fn.hard_tanh(1e-12, float(np.finfo(np.float32).max)), [size])
    made = op.builder.combine(fn.arithmetic, "divide", [node, size])
    return Value.plain(made, op.builder.shape(made), x.dtype, op.builder.batch)


CONVERTERS: dict[str, Converter] = {"Scaler": _scaler, "Normalizer": _normalizer}
