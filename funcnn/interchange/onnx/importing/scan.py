"""A ``Scan`` of a file as a ``scan`` here: its inner graph, which runs once a step, becomes the cell.

A cell has one input and one output beside its states. Where the file scans several arrays, their elements of a step
stand side by side. What the inner graph reads from around it is a state that stays.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from funcnn import layers as fn
from funcnn.aliases import Shape
from funcnn.combinators import branch, select, serial
from funcnn.engine.children import INPUT
from funcnn.interchange.onnx.importing.arithmetic import chosen
from funcnn.interchange.onnx.importing.assembly import assembled
from funcnn.interchange.onnx.importing.builder import Builder
from funcnn.interchange.onnx.importing.operator import Converter, Operator
from funcnn.interchange.onnx.importing.values import BATCH, Operand, Unsupported, Value
from funcnn.protocol import Layer, named

__all__ = ["CONVERTERS"]


class _Array(NamedTuple):
    """A node (batch, *shape), or (batch, time, *shape).

    Args:
        node: its name.
        shape: what is behind the batch and the time.
        dtype: that in the file; masks are floats here.
        place: the axis of the batch in the file, where that of the time does not count; None if there is none.
    """

    node: str
    shape: Shape
    dtype: np.dtype[Any]
    place: int | None


def _scan(op: Operator) -> Operand | list[Operand | None]:
    """Each step takes states and elements, and returns new states and outputs."""
    if op.opset < 9:
        raise Unsupported("the form of opset 8")
    body, count = op.attribute("body"), int(op.attribute("num_scan_inputs"))
    own = len(op.inputs) - count
    first = [*op.inputs[:own], *op.captured.values()] or [np.zeros(1, np.float32)]  # a cell has a state
    states = [_array(op, op.builder, x) for x in first]
    scanned = [*_scanned(op, op.inputs[own:])]
    cell, names = Builder(op.builder.batch), [value.name for value in body.input]
    joined = _joined(op.builder, scanned, 1)
    whole = cell.source(f"{INPUT}/x", op.builder.shape(joined)[1:], op.builder.example(joined).dtype)
    elements = [_value(cell, node, one) for node, one in zip(_apart(cell, whole.node, scanned), scanned, strict=True)]
    carried = [_value(cell, _source(op, cell, n, state), state) for n, state in enumerate(states)]
    given = dict(zip(names, [*carried[:own], *elements], strict=True))
    results = op.inside(body, cell, given | dict(zip(op.captured, carried[own:], strict=False)))
    if any(result is None for result in results):
        return [None] * len(op.used)  # the errors of the inner graph say why
    after = [_array(op, cell, x) for x in (*results[:own], *carried[own:])]
    _check(states, after)
    outputs = [_array(op, cell, x) for x in results[own:]]
    y = _joined(cell, outputs, 0) if outputs else after[0].node
    made = _run(op, cell, y, after, joined, states)
    found: list[Operand | None] = []
    for n, (state, used) in enumerate(zip(states, op.used[:own], strict=False)):
        path = serial(select("state"), select(f"state_{n}"))
        found.append(_value(op.builder, op.builder.add(path, [made], suffix=":state"), state) if used else None)
    return [*found, *_returned(op, made, outputs)]


def _array(op: Operator, builder: Builder, x: Any, time: int | None = None, floats: bool = True) -> _Array:
    """A value or a constant with the batch in front, and behind it the axis of time if there is one."""
    value = x if isinstance(x, Value) else _constant(op, builder, x)
    if floats and np.dtype(x.dtype).kind in "iu":
        raise Unsupported("integers as a state, as an output of a step, or beside other arrays")
    if floats:
        value = builder.floats(value)
    front = [] if time is None else [value.axes[time]]
    rest = [axis for n, axis in enumerate(value.axes) if n != time]
    others = [axis for axis in rest if axis != (BATCH,)]
    if any(BATCH in axis for axis in (*front, *others)):
        raise Unsupported(f"a value of shape {value.file_shape} whose batch is no axis of its own, or is that of time")
    node = builder.arranged(value, [*front, *others])
    place = rest.index((BATCH,)) if (BATCH,) in rest else None
    return _Array(node, builder.shape(node)[len(front) :], np.dtype(x.dtype), place)


def _constant(op: Operator, builder: Builder, x: Any) -> Value:
    """A constant, which may have the size of the batch on one of its axes; zeros to start with are not learned."""
    place = next((n for n, size in enumerate(x.shape) if size in (builder.batch, op.fixed)), None)
    dtype = x.dtype if x.dtype.kind == "f" else np.dtype(np.float32)
    value = builder.constant(x if x.any() else x.astype(bool), place, dtype)
    return value.with_axes([(BATCH,) if n == place else axis for n, axis in enumerate(value.axes)])


def _scanned(op: Operator, arrays: Sequence[Any]) -> Iterator[_Array]:
    """What the steps take their elements of, in the order of the steps."""
    axes, backward = (op.attribute(f"scan_input_{name}", [0] * len(arrays)) for name in ("axes", "directions"))
    dtype = next((x.dtype for x in arrays if x.dtype.kind == "f"), np.dtype(np.float32))
    for x, axis, last_first in zip(arrays, axes, backward, strict=True):
        time, rank = int(axis), x.ndim if isinstance(x, np.ndarray) else len(x.axes)
        floats = x
        if len(arrays) > 1 and isinstance(x, Value) and x.dtype.kind == "b":
            floats = chosen(op, x, np.ones((), dtype), np.zeros((), dtype))
        one = _array(op, op.builder, floats, time % rank, len(arrays) > 1)._replace(dtype=x.dtype)
        yield one._replace(node=_reversed(op, one.node)) if last_first else one


def _reversed(op: Operator, node: str) -> str:
    """The steps from the last to the first."""
    return op.builder.add(fn.take(slice(None, None, -1), axis=1), [node], suffix=":reversed")


def _joined(builder: Builder, arrays: Sequence[_Array], front: int) -> str:
    """The node of the arrays side by side on one axis, behind as many as are in front; of one array as it is."""
    if len(arrays) == 1:
        return arrays[0].node
    shapes = [(*builder.shape(one.node)[:front], math.prod(one.shape)) for one in arrays]
    nodes = [builder.reshaped(one.node, shape) for one, shape in zip(arrays, shapes, strict=True)]
    return builder.combine(fn.merge, "concat", nodes, ":joined")


def _apart(builder: Builder, node: str, arrays: Sequence[_Array]) -> Iterator[str]:
    """The nodes of arrays that are side by side on the last axis of a node."""
    start, front = 0, builder.shape(node)[:-1]
    for one in arrays:
        end = start + math.prod(one.shape)
        part = node if len(arrays) == 1 else builder.add(fn.take(slice(start, end), axis=-1), [node], suffix=":part")
        yield part if len(arrays) == 1 else builder.reshaped(part, (*front, *one.shape))
        start = end


def _value(builder: Builder, node: str, one: _Array, time: int | None = None) -> Value:
    """A node as a value with the axes that an array has in the file."""
    plain = Value.plain(node, builder.shape(node), one.dtype, builder.batch)
    front, axes = plain.axes[: 1 + (time is not None)], [*plain.axes[1 + (time is not None) :]]
    if one.place is not None:
        axes.insert(one.place, front[0])
    if time is not None:
        axes.insert(time % (len(axes) + 1), front[1])
    return plain.with_axes(axes)


def _source(op: Operator, cell: Builder, number: int, state: _Array) -> str:
    """The input of the cell that is a state."""
    return cell.source(f"{INPUT}/state/state_{number}", state.shape, op.builder.example(state.node).dtype).node


def _check(before: Sequence[_Array], after: Sequence[_Array]) -> None:
    """Raise unless the states stay like those that the first step gets."""
    for old, new in zip(before, after, strict=True):
        if (old.shape, old.place) != (new.shape, new.place):
            raise Unsupported(f"a state of shape {old.shape} that becomes one of {new.shape}, or gets another batch")


def _run(op: Operator, cell: Builder, y: str, after: Sequence[_Array], x: str, states: Sequence[_Array]) -> str:
    """The node of the tree of outputs and final states."""
    outs, pick = _picker([y, *(state.node for state in after)])
    step = branch(x=pick(y), state=branch(**{f"state_{n}": pick(state.node) for n, state in enumerate(after)}))
    layer, params = assembled(cell.nodes, cell.add(step, outs, suffix=":step"))
    op.builder.origins = frozenset().union(*(node.origins for node in cell.nodes.values()))
    inputs, pick = _picker([x, *(state.node for state in states)])
    start = branch(**{f"state_{n}": pick(state.node) for n, state in enumerate(states)})
    whole = serial(branch(x=pick(x), state=start), named("layer", fn.scan(layer)))
    return op.builder.add(whole, inputs, {"layer": params} if params else {})


def _picker(nodes: Sequence[str]) -> tuple[list[str], Callable[[str], Layer]]:
    """The inputs of a layer, each of them once, and what takes one of them."""
    names = [*dict.fromkeys(nodes)]
    return names, select if len(names) > 1 else lambda _: fn.identity


def _returned(op: Operator, made: str, outputs: Sequence[_Array]) -> list[Operand | None]:
    """The outputs of all steps."""
    axes, backward = (op.attribute(f"scan_output_{name}", [0] * len(outputs)) for name in ("axes", "directions"))
    used = op.used[len(op.used) - len(outputs) :]
    if not any(used):
        return [None] * len(outputs)
    nodes = [*_apart(op.builder, op.builder.add(select("x"), [made], suffix=":x"), outputs)]
    nodes = [_reversed(op, node) if last_first else node for node, last_first in zip(nodes, backward, strict=True)]
    return [_value(op.builder, node, one, int(axis)) for node, one, axis in zip(nodes, outputs, axes, strict=True)]


CONVERTERS: dict[str, Converter] = {"Scan": _scan}
