"""Operators of single elements and of several arrays of a file, as layers: numbers stay fixed, arrays are learned."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from functools import reduce as folded
from typing import Any

import numpy as np

from funcnn import layers as fn
from funcnn.aliases import Array
from funcnn.interchange.onnx.importing.operator import Converter, Operator, shortest
from funcnn.interchange.onnx.importing.values import BATCH, Operand, Unsupported, Value
from funcnn.protocol import Layer

__all__ = ["CONVERTERS", "chosen", "pair", "reduced"]

MERGED = {"add": "add", "multiply": "multiply"}
FLOAT32_INTEGERS = 1 << 24
"""Up to here float32 has all integers."""


def _binary(operation: str, op: Operator) -> Operand:
    """Two operands; what is added to a product with a matrix becomes its bias, and one number is no array."""
    a, b = op.inputs[:2]
    if operation == "divide" and any(x is not None and x.dtype.kind in "iu" for x in (a, b)):
        raise Unsupported("a quotient of integers, which is cut to whole numbers")
    number = _number(op, operation, a, b)
    if number is not None:
        return number
    if operation == "add":
        for x, bias, alone in ((a, b, op.alone[0]), (b, a, op.alone[1])):
            if isinstance(x, Value) and isinstance(bias, np.ndarray) and alone and _is_bias(op, x, bias):
                _add_bias(op, x.node, bias)
                return x
    return _joined(op, operation, [a, b])


def _joined(op: Operator, operation: str, operands: list[Any]) -> Value:
    nodes, like = op.builder.aligned(operands)
    whole = len({op.builder.shape(node) for node in nodes}) == 1
    maker = fn.merge if whole and operation in MERGED else fn.arithmetic
    made = op.builder.combine(maker, operation, nodes)
    return Value(made, like.dtype, like.sizes, like.axes)


def _number(op: Operator, operation: str, a: Any, b: Any) -> Value | None:
    """The formula with a number on one side; None if both are arrays."""
    for x, other, is_second in ((a, b, True), (b, a, False)):
        if isinstance(x, Value) and isinstance(other, np.ndarray) and other.size == 1 and other.ndim <= len(x.axes):
            layers = _formula(operation, float(other.ravel()[0]), is_second)
            for layer in layers or []:
                x = op.builder.elementwise(layer, x)
            return x if layers is not None else None
    return None


def _formula(operation: str, c: float, is_second: bool) -> list[Layer] | None:
    """The layers of x op c, or of c op x."""
    c = shortest(c)
    if not np.isfinite(c):
        return None
    if operation in ("add", "subtract"):
        scale = -1.0 if operation == "subtract" and not is_second else 1.0
        shift = -c if operation == "subtract" and is_second else c
        return [] if (scale, shift) == (1, 0) else [fn.affine(scale, shift)]
    if operation == "multiply":
        return [] if c == 1 else [fn.affine(c)]
    if operation == "divide":
        if is_second:
            return [] if c == 1 else [fn.affine(1 / c)] if c else None
        return [fn.power(-1.0), *([] if c == 1 else [fn.affine(c)])]
    if operation == "power" and is_second:
        return [fn.square if c == 2 else fn.power(c)]
    if operation in ("maximum", "minimum"):
        return [_clip(c, None) if operation == "maximum" else _clip(None, c)]
    return None


def _clip(low: float | None, high: float | None) -> Layer:
    if (low, high) == (0, None):
        return fn.relu
    if (low, high) == (0, 6):
        return fn.relu6
    most = float(np.finfo(np.float32).max)
    return fn.hard_tanh(-most if low is None else low, most if high is None else high)


def _is_bias(op: Operator, x: Value, bias: Array) -> bool:
    node = op.builder.nodes.get(x.node)
    return (
        node is not None
        and node.layer.constructor is fn.dense
        and node.layer.arguments.get("bias", True) is False
        and bias.ndim <= len(x.axes)
        and bias.shape[-1:] == (bias.size,) == x.file_shape[-1:] == op.builder.shape(x.node)[-1:]
    )


def _add_bias(op: Operator, name: str, bias: Array) -> None:
    """The product with a bias in place of the one without."""
    node = op.builder.nodes[name]
    node.layer = fn.dense(node.layer.arguments["units"])
    node.params = {**node.params, "b": bias.reshape(-1)}
    node.origins |= op.builder.origins


def _several(operation: str, op: Operator) -> Operand:
    """Sum, Mean, Max and Min take any number of inputs."""
    found = folded(lambda a, b: pair(op, operation, a, b), [x for x in op.inputs if x is not None])
    if op.kind != "Mean":
        return found
    assert isinstance(found, Value)
    return op.builder.elementwise(fn.affine(1 / len(op.inputs)), found)


def pair(op: Operator, operation: str, a: Any, b: Any) -> Any:
    """Two operands, of which one may be a number."""
    number = _number(op, operation, a, b)
    return _joined(op, operation, [a, b]) if number is None else number


def _concat(op: Operator) -> Operand:
    operands = [x for x in op.inputs if x is not None]
    like = next(x for x in operands if isinstance(x, Value))
    axis = like.axis(int(op.attribute("axis")))
    place = next((n for n, own in enumerate(like.axes) if BATCH in own), None)
    if axis == place:
        raise Unsupported("examples that are joined")
    values = [x if isinstance(x, Value) else op.builder.constant(x, place) for x in operands]
    return values[0] if len(values) == 1 else op.builder.side_by_side(values, axis)


def _where(op: Operator) -> Operand:
    """A choice by a condition that is known, or depends on the input."""
    return chosen(op, *op.inputs[:3])


def chosen(op: Operator, condition: Any, a: Any, b: Any) -> Value:
    """a where the condition holds, else b."""
    dtype = np.dtype(next((x.dtype for x in (a, b) if isinstance(x, Value)), np.asarray(a).dtype))
    if dtype.kind == "b" or (dtype.kind in "iu" and not (_is_exact(a) and _is_exact(b))):
        raise Unsupported("a choice of integers or booleans, other than of constants up to 2**24")
    nodes, like = op.builder.aligned([condition, a, b])
    made = op.builder.combine(lambda how, *names: fn.where(*names), "", nodes)
    return Value(made, dtype, like.sizes, like.axes)


def _is_exact(x: Any) -> bool:
    """Whether an operand is of constant integers that float32 holds."""
    return isinstance(x, np.ndarray) and not x[(x < -FLOAT32_INTEGERS) | (x > FLOAT32_INTEGERS)].size


def _logical(operation: str, op: Operator) -> Operand:
    """Conditions are zeros and ones here: both hold where their product is not 0, one where their maximum is not."""
    if all(isinstance(x, Value) and x.dtype.kind != "b" for x in op.inputs):
        raise Unsupported("operands that are no conditions")
    operands = [x if isinstance(x, Value) else _as_floats(x) for x in op.inputs]
    found = _joined(op, operation, operands)
    return found.same(found.node, np.bool_)


def _compared(operation: str, op: Operator) -> Operand:
    """A condition, as zeros and ones."""
    found = _joined(op, operation, [x if isinstance(x, Value) else _as_floats(x) for x in op.inputs])
    return found.same(found.node, np.bool_)


def _as_floats(x: Any) -> Array:
    found = np.asarray(x)
    return found if found.dtype.kind == "f" else found.astype(np.float32)


def _not(op: Operator) -> Operand:
    x = op.builder.floats(op.value())
    return x.same(op.builder.add(fn.affine(-1.0, 1.0), [x.node]), np.bool_)


def _reduce(how: str, op: Operator) -> Operand:
    x = op.value()
    axes = op.ints("axes", 1)
    if axes is None or not axes:
        if op.attribute("noop_with_empty_axes", 0):
            return x
        raise Unsupported("a reduction over all axes, the batch among them")
    return reduced(op, how, x, sorted(x.axis(axis) for axis in axes), bool(op.attribute("keepdims", 1)))


def reduced(op: Operator, how: str, x: Value, places: Sequence[int], keep: bool = False) -> Value:
    """A reduction over some axes of the file; lengths are sums of what a function makes of each element."""
    gone = [part for place in places for part in x.axes[place]]
    if BATCH in gone:
        raise Unsupported("a reduction over the batch")
    left = [part for part in range(1, len(x.sizes)) if part not in gone]
    if how in BEFORE:
        x = op.builder.elementwise(BEFORE[how], x)
    node = x.node
    if gone:
        node = op.builder.arranged(x, [[part] for part in range(1, len(x.sizes))])
        node = _log_sum_exp(op, node, tuple(gone)) if how == "logsumexp" else _reduced(op, how, node, tuple(gone))
    axes_left: list[Any] = [() if n in places else axis for n, axis in enumerate(x.axes) if keep or n not in places]
    sizes: dict[Any, int] = {BATCH: x.sizes[BATCH], **{part: x.sizes[part] for part in left}}
    found = Value.of(node, x.dtype, sizes, axes_left)
    return op.builder.elementwise(fn.power(0.5), found) if how == "l2" else found


BEFORE: dict[str, Layer] = {"l1": fn.unary("abs"), "l2": fn.square, "squares": fn.square}


def _reduced(op: Operator, how: str, node: str, axes: tuple[int, ...]) -> str:
    reduction: Any = "sum" if how in BEFORE else how
    return op.builder.add(fn.reduce(reduction, axes), [node])


def _log_sum_exp(op: Operator, node: str, axes: tuple[int, ...]) -> str:
    """m + log(sum of exp(x - m)), with m the largest x."""
    largest = op.builder.add(fn.reduce("max", axes, keepdims=True), [node])
    powers = op.builder.add(fn.exp, [op.builder.combine(fn.arithmetic, "subtract", [node, largest])])
    log = op.builder.add(fn.unary("log"), [op.builder.add(fn.reduce("sum", axes), [powers])])
    return op.builder.combine(fn.merge, "add", [log, op.builder.add(fn.reduce("max", axes), [node])])


def _top_k(op: Operator) -> Operand | list[Operand | None]:
    """The largest elements of an axis, or the smallest, which are the largest of the negative ones."""
    if any(op.used[1:]):
        raise Unsupported("the places of the elements as an output that is used")
    x, k = op.builder.floats(op.value()), int(op.constant(1).ravel()[0])
    last = x.axis(int(op.attribute("axis", -1)))
    if x.file_shape[last] == 1:
        return [x, None]
    node, others = op.builder.with_last(x, [last])
    smallest = not op.attribute("largest", 1)
    for layer in [fn.affine(-1.0), fn.top_k(k), fn.affine(-1.0)] if smallest else [fn.top_k(k)]:
        node = op.builder.add(layer, [node])
    return [op.builder.after_last(x, node, others, last, k), None]


def _clipped(op: Operator) -> Operand:
    ends: list[float | None] = []
    for number, name in ((1, "min"), (2, "max")):
        given = op.attribute(name, op.operand(number))
        if isinstance(given, Value):
            raise Unsupported("bounds that depend on the input")
        ends.append(None if given is None else shortest(float(np.asarray(given).ravel()[0])))
    return op.value() if ends == [None, None] else op.elementwise(_clip(ends[0], ends[1]))


CONVERTERS: dict[str, Converter] = {
    "Add": partial(_binary, "add"),
    "Sub": partial(_binary, "subtract"),
    "Mul": partial(_binary, "multiply"),
    "Div": partial(_binary, "divide"),
    "Pow": partial(_binary, "power"),
    "Sum": partial(_several, "add"),
    "Mean": partial(_several, "add"),
    "Max": partial(_several, "maximum"),
    "Min": partial(_several, "minimum"),
    "Concat": _concat,
    "Where": _where,
    "And": partial(_logical, "multiply"),
    "Or": partial(_logical, "maximum"),
    "Not": _not,
    "Equal": partial(_compared, "equal"),
    "Greater": partial(_compared, "greater"),
    "GreaterOrEqual": partial(_compared, "greater_equal"),
    "Less": partial(_compared, "less"),
    "LessOrEqual": partial(_compared, "less_equal"),
    "Clip": _clipped,
    "TopK": _top_k,
    "ReduceMean": partial(_reduce, "mean"),
    "ReduceSum": partial(_reduce, "sum"),
    "ReduceMax": partial(_reduce, "max"),
    "ReduceMin": partial(_reduce, "min"),
    "ReduceProd": partial(_reduce, "prod"),
    "ReduceL1": partial(_reduce, "l1"),
    "ReduceL2": partial(_reduce, "l2"),
    "ReduceSumSquare": partial(_reduce, "squares"),
    "ReduceLogSumExp": partial(_reduce, "logsumexp"),
}
