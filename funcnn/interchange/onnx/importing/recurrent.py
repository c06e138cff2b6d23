"""Recurrences of a file, as layers: their gates in our order, and one bias where ONNX has two.

ONNX has (time, batch, inputs), and returns (time, directions, batch, units) and the states at the end.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from funcnn import layers as fn
from funcnn.aliases import Array, Params
from funcnn.combinators import branch, select, serial
from funcnn.interchange.onnx.importing.dense import take
from funcnn.interchange.onnx.importing.operator import Converter, Operator
from funcnn.interchange.onnx.importing.values import BATCH, Operand, Unsupported, Value
from funcnn.protocol import Layer, named

__all__ = ["CONVERTERS"]

OUR_GATES = {"lstm": (0, 2, 3, 1), "gru": (1, 0, 2), "rnn": (0,)}
"""The places of our gates among ONNX's: i, f, g, o of i, o, f, c; and r, z, n of z, r, h."""
USUAL = {"lstm": ["Sigmoid", "Tanh", "Tanh"], "gru": ["Sigmoid", "Tanh"], "rnn": ["Tanh"]}


def _recurrent(kind: str, op: Operator) -> Operand | list[Operand | None]:
    x, direction = op.value(), op.attribute("direction", "forward")
    _check(kind, op, x)
    first = op.attribute("layout", 0)
    time, batch = (1, 0) if first else (0, 1)
    if x.axes[batch] != (BATCH,):
        raise Unsupported(f"a sequence of shape {x.file_shape} in which the batch is not on axis {batch}")
    node = op.builder.arranged(x, [x.axes[time], x.axes[2]])
    layer, params = _layer(kind, op, direction)
    both = direction == "bidirectional"
    if direction == "reverse":
        node = op.builder.add(fn.take(slice(None, None, -1), axis=1), [node])
    is_used = [*op.used, False, False]
    states: list[Operand | None] = [None, None]
    if is_used[2] or any(state is not None and not _is_zero(state) for state in (op.operand(5), op.operand(6))):
        made, whole = _with_states(kind, op, x, layer, params, node, both, first)
        states = [_ends_of(op, whole, name, both, first) if used else None
                  for name, used in zip("hc", is_used[1:], strict=False)]  # fmt: skip
    else:
        made = op.builder.add(layer, [node], params)
    if direction == "reverse":
        made = op.builder.add(fn.take(slice(None, None, -1), axis=1), [made])
    steps, units = op.builder.shape(made)
    sizes: dict[Any, int] = {BATCH: x.sizes[BATCH], "time": steps, "way": 1 + both, "units": units // (1 + both)}
    axes: list[Any] = [[BATCH], ["time"], ["way"], ["units"]] if first else [["time"], ["way"], [BATCH], ["units"]]
    y = Value.of(made, x.dtype, sizes, axes)
    if is_used[1] and states[0] is None:
        states[0] = _final(op, y, direction, first)
    return [y, *states][: len(op.used)]


def _is_zero(state: Operand) -> bool:
    return isinstance(state, np.ndarray) and not state.any()


def _with_states(
    kind: str, op: Operator, x: Value, layer: Layer, params: Params, node: str, both: bool, first: int
) -> tuple[str, str]:
    """The node of the outputs, and that of the whole tree; the states to start with are inputs beside the sequence."""
    units = op.constant(2).shape[-1]
    source = op.builder.add(fn.identity, [node], suffix=":x")
    inputs, starts = [source], []
    for way in range(1 + both):
        own = {}
        for name, state in zip("hc" if kind == "lstm" else "h", (op.operand(5), op.operand(6)), strict=False):
            inputs.append(_start(op, state, way, first, units, x.dtype))
            own[name] = select(inputs[-1])
        starts.append(branch(**own))
    start = branch(forward=starts[0], backward=starts[1]) if both else starts[0]
    whole = serial(branch(x=select(source), state=start), named("layer", layer))
    made = op.builder.add(whole, inputs, {"layer": params}, ":with_states")
    return op.builder.add(select("x"), [made]), made


def _start(op: Operator, state: Operand | None, way: int, first: int, units: int, dtype: Any) -> str:
    """The node of the state that one direction starts with."""
    axis = 1 if first else 0
    if isinstance(state, Value):
        return op.builder.add(fn.identity, [op.builder.in_file_order(take(op, state, axis, way))], suffix=":start")
    if state is None or _is_zero(state):
        return op.builder.constant(np.zeros(units, bool), None, dtype).node
    return op.builder.constant(op.builder.without_batch(state.take(way, axis), 0)[0]).node


def _ends_of(op: Operator, whole: str, name: str, both: bool, first: int) -> Value:
    """A state behind the last step, of both directions side by side."""
    ends = []
    for way in ("forward", "backward") if both else ("",):
        path = [select(part) for part in ("state", way, name) if part]
        node = op.builder.add(serial(*path), [whole], suffix=f":{name}")
        end = Value.plain(node, op.builder.shape(node), op.value().dtype, op.builder.batch)
        ends.append(end.with_axes([end.axes[0], (), end.axes[1]] if first else [(), *end.axes]))
    return ends[0] if len(ends) == 1 else op.builder.side_by_side(ends, 1 if first else 0)


def _check(kind: str, op: Operator, x: Value) -> None:
    """Raise about what the layers do not have."""
    lengths = op.operand(4)
    if lengths is not None and (isinstance(lengths, Value) or (lengths != x.file_shape[0]).any()):
        raise Unsupported("lengths of sequences")
    if op.operand(7) is not None and np.any(op.constant(7)):
        raise Unsupported("peepholes")
    names = [str(name) for name in op.attribute("activations", [])]
    usual = [USUAL[kind], *([["Relu"]] if kind == "rnn" else [])]
    count = len(usual[0])
    ways = [names[n : n + count] for n in range(0, len(names), count)]
    if any(way not in usual or way != ways[0] for way in ways) or op.attribute("clip", 0):
        raise Unsupported(f"activations {names} or clip")
    if op.attribute("input_forget", 0):
        raise Unsupported("input_forget")


def _layer(kind: str, op: Operator, direction: str) -> tuple[Layer, Params]:
    """The layer and its parameters."""
    units = int(op.attribute("hidden_size", op.constant(2).shape[-1]))
    options: dict[str, Any] = {} if op.operand(3) is not None else {"bias": False}
    if kind == "gru" and not op.attribute("linear_before_reset", 0):
        options["reset_after"] = False
    if kind == "rnn" and op.attribute("activations", ["Tanh"])[0] == "Relu":
        options["activation"] = "relu"
    layer: Layer = getattr(fn, kind)(units, **options)
    own = [_params(kind, op, way, units) for way in range(op.constant(1).shape[0])]
    if direction != "bidirectional":
        return layer, own[0]
    return fn.bidirectional(layer), {"forward": own[0], "backward": own[1]}


def _params(kind: str, op: Operator, way: int, units: int) -> Params:
    """The parameters of one direction."""

    def ours(rows: Array) -> Array:
        return np.concatenate([rows[g * units : (g + 1) * units] for g in OUR_GATES[kind]])

    found = {"w": ours(op.constant(1)[way]).T.copy(), "w_h": ours(op.constant(2)[way]).T.copy()}
    if op.operand(3) is None:
        return found
    one, other = (ours(half) for half in np.split(op.constant(3)[way], 2))
    if kind == "gru" and op.attribute("linear_before_reset", 0):
        found["b_h"] = other[-units:].copy()
        other[-units:] = 0
    return found | {"b": one + other}


def _final(op: Operator, y: Value, direction: str, first: bool) -> Value:
    """The states behind the last step: of the second direction that is the first one."""
    time, way = (1, 2) if first else (0, 1)
    ends = [take(op, take(op, y, way, slice(n, n + 1)), time, place) for n, place in _ends(direction)]
    if len(ends) == 1:
        return ends[0]
    return op.builder.side_by_side(ends, way - 1)


def _ends(direction: str) -> list[tuple[int, int]]:
    return {"forward": [(0, -1)], "reverse": [(0, 0)]}.get(direction, [(0, -1), (1, 0)])


CONVERTERS: dict[str, Converter] = {kind.upper(): partial(_recurrent, kind) for kind in OUR_GATES}
