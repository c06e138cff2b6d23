"""Products with matrices, look-ups and recurrences of a file, as layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from funcnn import layers as fn
from funcnn.aliases import Array
from funcnn.combinators import frozen
from funcnn.interchange.onnx.importing.operator import Converter, Operator
from funcnn.interchange.onnx.importing.values import BATCH, Operand, Unsupported, Value

__all__ = ["CONVERTERS", "dense"]


def dense(op: Operator, x: Value, w: Array, b: Array | None) -> Value:
    """x w + b over the last axis of the file."""
    last = len(x.axes) - 1
    node, others = op.builder.with_last(x, [last])
    params = {"w": np.ascontiguousarray(w)} | ({} if b is None else {"b": np.ascontiguousarray(b)})
    made = op.builder.add(fn.dense(w.shape[1], bias=b is not None), [node], params)
    return op.builder.after_last(x, made, others, last, w.shape[1])


def _gemm(op: Operator) -> Operand:
    alpha, beta = float(op.attribute("alpha", 1.0)), float(op.attribute("beta", 1.0))
    if op.attribute("transA", 0):
        raise Unsupported("transA")
    w = op.constant(1)
    w = (w.T if op.attribute("transB", 0) else w) * w.dtype.type(alpha)
    if op.operand(2) is None:
        return dense(op, op.value(), w, None)
    b = op.constant(2) * w.dtype.type(beta)
    return dense(op, op.value(), w, np.broadcast_to(b, (1, w.shape[1])).reshape(-1))


def _matmul(op: Operator) -> Operand:
    a, b = op.inputs
    if isinstance(a, Value) and isinstance(b, np.ndarray) and b.ndim == 2:
        return dense(op, a, b, None)
    operands = [x if isinstance(x, Value) else op.builder.constant(np.asarray(x)) for x in (a, b)]
    if min(len(x.axes) for x in operands) < 2:
        raise Unsupported("a product with a vector")
    return op.builder.product(*operands)


def _gather(op: Operator) -> Operand:
    x, index = op.inputs[0], op.inputs[1]
    axis = int(op.attribute("axis", 0))
    if isinstance(x, np.ndarray) and isinstance(index, Value):
        if axis != 0 or x.ndim != 2:
            raise Unsupported(f"a look-up in a constant of shape {x.shape} along axis {axis}")
        node = op.builder.in_file_order(index)
        made = op.builder.add(fn.embedding(*x.shape), [node], {"w": x})
        shape = op.builder.shape(made)
        return Value.plain(made, shape, x.dtype, op.builder.batch)
    x, chosen = op.value(0), op.constant(1)
    place = x.axis(axis)
    if chosen.ndim == 0:
        return take(op, x, place, int(chosen))
    numbers = [int(n) % x.file_shape[place] for n in chosen.ravel()]
    steps = set(np.diff(numbers).tolist()) or {1}
    if chosen.ndim > 1 or len(steps) != 1 or 0 in steps:
        return _looked_up(op, x, place, chosen)
    step = steps.pop()
    stop: int | None = numbers[-1] + step
    return take(op, x, place, slice(numbers[0], None if stop is not None and stop < 0 else stop, step))


def _looked_up(op: Operator, x: Value, place: int, index: Array) -> Value:
    """Elements of one axis in any order: a product with a matrix of zeros and ones, which stays as it is."""
    node, others = op.builder.with_last(x, [place])
    w = np.zeros((x.file_shape[place], index.size), x.dtype)
    w[index.ravel() % len(w), np.arange(index.size)] = 1
    made = op.builder.add(frozen(fn.dense(index.size, bias=False)), [node], {"w": w})
    sizes: dict[Any, int] = {part: x.sizes[part] for part in (BATCH, *others)}
    sizes |= {("new", n): size for n, size in enumerate(index.shape)}
    axes: list[Any] = [*x.axes]
    axes[place : place + 1] = [[("new", n)] for n in range(index.ndim)]
    return Value.of(made, op.builder.shape(made), x.dtype, sizes, axes)


def take(op: Operator, x: Value, place: int, index: int | slice) -> Value:
    """An element or a slice of one axis of the file."""
    x = op.builder.floats(x)
    own = x.axes[place]
    if BATCH in own:
        raise Unsupported("an index along the batch")
    size = x.file_shape[place]
    if isinstance(index, slice) and len(range(size)[index]) == size and (index.step or 1) > 0:
        return x
    if not own:
        kept = [axis for n, axis in enumerate(x.axes) if n != place or isinstance(index, slice)]
        return x.with_axes(kept)
    order = [part for part in range(1, len(x.sizes)) if part not in own[1:]]
    node = op.builder.arranged(x, [own if part == own[0] else [part] for part in order])
    made = op.builder.add(fn.take(index, axis=1 + order.index(own[0])), [node])
    axes: list[Any] = [*x.axes]
    sizes: dict[Any, int] = {BATCH: x.sizes[BATCH], **{part: x.sizes[part] for part in order}}
    if isinstance(index, slice):
        sizes[own[0]], axes[place] = len(range(size)[index]), [own[0]]
    else:
        del axes[place], sizes[own[0]]
    return Value.of(made, op.builder.shape(made), x.dtype, sizes, axes)


CONVERTERS: dict[str, Converter] = {"Gemm": _gemm, "MatMul": _matmul, "Gather": _gather}
