"""Sequences as nodes of ONNX: its own operators for plain recurrences, and a ``Scan`` where steps are masked.

A scan runs an inner graph once a step: it gets the states and the elements of that step, and returns the new states
and the output.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from funcnn import layers as fn
from funcnn.aliases import Array, Shape, Tree
from funcnn.interchange.onnx.example import one_example
from funcnn.interchange.onnx.exporting.graph import BATCH, Tensor
from funcnn.interchange.onnx.exporting.site import Converter, Site
from funcnn.layers.scan import _flat
from funcnn.layers.sequences import state_of, value_of, with_outputs
from funcnn.layers.stacked import _both, returns_sequences, with_state, with_value
from funcnn.protocol import as_layer
from funcnn.shapes import checked

__all__ = ["CONVERTERS"]

Step: TypeAlias = Callable[[list[Tensor], Tensor], tuple[Tensor, list[Tensor]]]
"""``step(states, x) -> (y, states)``: the nodes of one step."""

ONNX_GATES = {"lstm": (0, 3, 1, 2), "gru": (1, 0, 2), "rnn": (0,)}
"""The places of ONNX's gates among ours: i, o, f, c of i, f, g, o; and z, r, h of r, z, n."""


def mask_of(at: Site, tree: Tree) -> str:
    """The mask (batch, time) of a tree, also where it has lengths; empty if all steps are there."""
    if not isinstance(tree, dict) or not tree.keys() & {"mask", "lengths"}:
        return ""
    if "mask" in tree:
        return str(tree["mask"].name)
    lengths = tree["lengths"]
    steps = at.constant("steps", np.arange(tree["x"].shape[0], dtype=lengths.dtype))
    found: str = at.op("Less", steps, at.op("Unsqueeze", lengths.name, at.graph.integers([1])))
    return found


def under_mask(at: Site, y: str, mask: str, rank: int, x: Tensor) -> str:
    """y of ``rank`` axes with zeros where the mask, which has its first two, is False."""
    if not mask:
        return y
    found: str = at.op("Where", _like(at, mask, rank), y, at.number(0, x))
    return found


def _like(at: Site, mask: str, rank: int, own: int = 2) -> str:
    """The mask, which has the first axes of another value, with as many axes as that has."""
    return mask if rank == own else at.op("Unsqueeze", mask, at.graph.integers(range(own, rank)))


def _recurrent(kind: str, at: Site, tree: Tree, units: int, return_sequences: bool, **arguments: Any) -> Tree:
    x = tree["x"] if isinstance(tree, dict) else tree
    mask, given = mask_of(at, tree), tree.get("state") or {} if isinstance(tree, dict) else {}
    outputs = at.params["w_h"].shape[0]
    names = {"h": outputs, "c": int(units)} if kind == "lstm" else {"h": outputs}
    states = [given[name].name if name in given else "" for name in names]
    if mask or "w_p" in at.params or arguments.get("activation") not in (None, "tanh", "relu"):
        first = [
            Tensor(s or at.zeros(x.name, [n], x.dtype), (n,), x.dtype)
            for s, n in zip(states, names.values(), strict=True)
        ]
        z = at.op("MatMul", x.name, at.param("w"))
        z = at.op("Add", z, at.param("b")) if "b" in at.params else z
        columns = Tensor(z, (x.shape[0], at.params["w"].shape[1]), x.dtype)
        ys, ends = _scan(at, columns, mask, first, _cell_step(at, kind, arguments))
        y, final = ys.name, [end.name for end in ends]
    else:
        y, final = _operator(at, x, kind, states, int(units), arguments)
    out = under_mask(at, y, mask, 3, x) if return_sequences else final[0]
    if not isinstance(tree, dict):
        return out
    return {**tree, "x": out} | ({"state": dict(zip(names, final, strict=True))} if "state" in tree else {})


def _operator(
    at: Site, x: Tensor, kind: str, states: Sequence[str], units: int, arguments: Any
) -> tuple[str, list[str]]:
    """LSTM, GRU or RNN: the output (batch, time, units), and the final states."""
    w, w_h = (_gates(at.params[name], kind, units).T[None] for name in ("w", "w_h"))
    own, zeros = np.zeros((2, w.shape[1]), w.dtype), at.graph.integers([0])
    if "b" in at.params:
        own[0] = _gates(at.params["b"], kind, units)
    if "b_h" in at.params:
        own[1, -units:] = at.params["b_h"]
    first = [at.op("Unsqueeze", state, zeros) if state else "" for state in states]
    options: dict[str, Any] = {"hidden_size": units}
    if kind == "gru":
        options["linear_before_reset"] = int(arguments["reset_after"])
    if kind == "rnn":
        options["activations"] = [arguments["activation"].capitalize()]
    y, *final = at.op(
        kind.upper(), at.transpose(x.name, 1, 0, 2), at.param("w", w), at.param("w_h", w_h),
        at.param("b", own.reshape(1, -1)), "", *first, outputs=1 + len(states), **options,
    )  # fmt: skip
    steps = at.transpose(at.op("Squeeze", y, at.graph.integers([1])), 1, 0, 2)
    return steps, [at.op("Squeeze", state, zeros) for state in final]


def _gates(columns: Array, kind: str, units: int) -> Array:
    """Columns gate by gate in ONNX's order."""
    return np.concatenate([columns[..., g * units : (g + 1) * units] for g in ONNX_GATES[kind]], -1)


def _scan(at: Site, x: Tensor, mask: str, states: Sequence[Tensor], step: Step) -> tuple[Tensor, list[Tensor]]:
    """The outputs (batch, time, ...) and the final states, step by step; where a step is masked, the states stay."""
    onnx, graph = at.graph.onnx, at.graph

    def fresh(name: str, like: Tensor, shape: Shape) -> Tensor:
        return Tensor(graph.unique(f"{at.path}/step/{name}"), shape, like.dtype)

    inner = [fresh("state", state, state.shape) for state in states]
    now, there = fresh("x", x, x.shape[1:]), fresh("mask", x, ())._replace(dtype=np.dtype(bool))
    with graph.body() as nodes:
        y, after = step(inner, now)
        if mask:
            after = [
                new._replace(name=at.op("Where", _like(at, there.name, 1 + len(new.shape), 1), new.name, old.name))
                for new, old in zip(after, inner, strict=True)
            ]
        results = [one._replace(name=at.op("Identity", one.name)) for one in (*after, y)]
    scanned = [x.name, *([mask] if mask else [])]
    inputs, outputs = [[graph.described(one.name, [BATCH, *one.shape], one.dtype) for one in several]
                       for several in ([*inner, now, *([there] if mask else [])], results)]  # fmt: skip
    *final, ys = at.op(
        "Scan", *(state.name for state in states), *scanned, outputs=1 + len(states), num_scan_inputs=len(scanned),
        scan_input_axes=[1] * len(scanned), scan_output_axes=[1],
        body=onnx.helper.make_graph(nodes, graph.unique(f"{at.path}/step"), inputs, outputs),
    )  # fmt: skip
    y = Tensor(ys, (x.shape[0], *y.shape), y.dtype)
    return y, [state._replace(name=name) for state, name in zip(states, final, strict=True)]


def _cell_step(at: Site, kind: str, arguments: Any) -> Step:
    """A step of a recurrence, on the product z of its input and its weights."""
    formula = {"lstm": _lstm_step, "gru": _gru_step, "rnn": _rnn_step}[kind]

    def step(states: list[Tensor], z: Tensor) -> tuple[Tensor, list[Tensor]]:
        names = formula(at, [state.name for state in states], z.name, arguments)
        after = [state._replace(name=name) for state, name in zip(states, names, strict=True)]
        return after[0], after

    return step


def _rnn_step(at: Site, states: list[str], z: str, arguments: Any) -> list[str]:
    total = at.op("Add", z, at.op("MatMul", states[0], at.param("w_h")))
    return [at.op(arguments["activation"].capitalize(), total)]


def _lstm_step(at: Site, states: list[str], z: str, arguments: Any) -> list[str]:
    h, c = states
    total = at.op("Add", z, at.op("MatMul", h, at.param("w_h")))
    i, f, g, o = _parts(at, total, 4)
    kept = at.op("Mul", at.op("Sigmoid", f), c)
    c = at.op("Add", kept, at.op("Mul", at.op("Sigmoid", i), at.op("Tanh", g)))
    h = at.op("Mul", at.op("Sigmoid", o), at.op("Tanh", c))
    return [at.op("MatMul", h, at.param("w_p")) if "w_p" in at.params else h, c]


def _gru_step(at: Site, states: list[str], z: str, arguments: Any) -> list[str]:
    (h,), units = states, at.params["w_h"].shape[0]
    z_r, z_z, z_n = _parts(at, z, 3)
    w = [at.param(f"w_h/{gate}", at.params["w_h"][:, n * units : (n + 1) * units]) for n, gate in enumerate("rzn")]
    r, keep = (
        at.op("Sigmoid", at.op("Add", part, at.op("MatMul", h, own))) for part, own in ((z_r, w[0]), (z_z, w[1]))
    )
    if arguments["reset_after"]:
        inner = at.op("MatMul", h, w[2])
        inner = at.op("Add", inner, at.param("b_h")) if "b_h" in at.params else inner
        reset = at.op("Mul", r, inner)
    else:
        reset = at.op("MatMul", at.op("Mul", r, h), w[2])
    new = at.op("Tanh", at.op("Add", z_n, reset))
    return [at.op("Add", new, at.op("Mul", keep, at.op("Sub", h, new)))]


def _parts(at: Site, z: str, count: int) -> list[str]:
    """The columns gate by gate."""
    units = at.params["w"].shape[1] // count
    found: list[str] = at.op("Split", z, at.graph.integers([units] * count), axis=-1, outputs=count)
    return found


def _stacked(at: Site, tree: Tree, **_: Any) -> Tree:
    x, states = tree, {}
    for name in at.layer.children:
        out = at.child(name, with_state(x, tree, name))
        states[name] = state_of(out)
        x = with_value(x, value_of(out))
    return with_outputs(tree, value_of(x), states)


def _bidirectional(at: Site, tree: Tree, **_: Any) -> Tree:
    x, mask = value_of(tree), mask_of(at, tree)
    turned: Tree = _reversed(at, x)
    if isinstance(tree, dict):
        turned = {"x": turned}
        if mask:
            turned["mask"] = _reversed(at, Tensor(mask, x.shape[:1], np.dtype(bool)))
    ahead = at.child("forward", with_state(tree, tree, "forward"))
    back = at.child("backward", with_state(turned, tree, "backward"))
    second = value_of(back)
    if returns_sequences(at.layer.children["backward"]):
        second = _reversed(at, second)
    first = value_of(ahead)
    y = Tensor(at.op("Concat", first.name, second.name, axis=-1), (*first.shape[:-1], 2 * first.shape[-1]), x.dtype)
    return with_outputs(tree, y, {"forward": state_of(ahead), "backward": state_of(back)})


def _reversed(at: Site, x: Tensor) -> Tensor:
    """The steps in reverse."""
    order = at.constant("reversed", np.arange(x.shape[0])[::-1])
    return x._replace(name=at.op("Gather", x.name, order, axis=1))


def _time_distributed(at: Site, tree: Tree, **_: Any) -> Tree:
    """All steps go through the layer as one batch."""
    x, mask = value_of(tree), mask_of(at, tree)
    (name,) = at.layer.children
    steps, *rest = x.shape
    rows = Tensor(at.op("Reshape", x.name, at.graph.integers([-1, *rest])), tuple(rest), x.dtype)
    y = at.child(name, rows)
    back = at.op("Reshape", y.name, at.graph.integers([-1, steps, *y.shape]))
    back = under_mask(at, back, mask, 2 + len(y.shape), y)
    found = Tensor(back, (steps, *y.shape), y.dtype)
    return {**tree, "x": found} if isinstance(tree, dict) else found


def _last(at: Site, x: Tensor, mask: str) -> Tree:
    steps = x.shape[0]
    if not mask:
        return at.op("Gather", x.name, at.constant("last", np.array(steps - 1)), axis=1)
    numbers = at.constant("numbers", np.arange(steps, dtype=np.int64))
    place = at.op("ReduceMax", at.op("Where", mask, numbers, at.graph.number(-1, "int64")), at.graph.integers([1]))
    chosen = at.op("Equal", numbers, place)
    return _sum_at(at, x, chosen)


def _sum_at(at: Site, x: Tensor, chosen: str) -> str:
    """The sum of the steps at which a mask is True."""
    kept = under_mask(at, x.name, chosen, len(x.shape) + 1, x)
    return at.reduce("ReduceSum", kept, [1], keepdims=False)


def _mean_over(at: Site, x: Tensor, mask: str) -> Tree:
    if not mask:
        return at.reduce("ReduceMean", x.name, [1], keepdims=False)
    return at.op("Div", _sum_at(at, x, mask), _counts(at, x, mask))


def _counts(at: Site, x: Tensor, mask: str) -> str:
    """How many steps there are, at least 1, with as many axes as the result of a sum over them."""
    ones = at.op("Where", mask, at.number(1, x), at.number(0, x))
    count = at.op("Max", at.reduce("ReduceSum", ones, [1]), at.number(1, x))
    return count if len(x.shape) == 2 else at.reshape(count, [1] * (len(x.shape) - 1))


def _max_over(at: Site, x: Tensor, mask: str) -> Tree:
    if not mask:
        return at.reduce("ReduceMax", x.name, [1], keepdims=False)
    like = _like(at, mask, len(x.shape) + 1)
    largest = at.reduce("ReduceMax", at.op("Where", like, x.name, at.number(-np.inf, x)), [1], keepdims=False)
    any_step = at.op(
        "Greater", at.reduce("ReduceSum", at.op("Where", mask, at.number(1, x), at.number(0, x)), [1]), at.number(0, x)
    )
    there = any_step if len(x.shape) == 2 else at.reshape(any_step, [1] * (len(x.shape) - 1))
    return at.op("Where", there, largest, at.number(0, x))


def _over_time(reduce: Any, at: Site, tree: Tree) -> Tree:
    return reduce(at, value_of(tree), mask_of(at, tree))


def _embedding_bag(at: Site, tree: Tree, how: str, units: int, **_: Any) -> Tree:
    tokens, mask = value_of(tree), mask_of(at, tree)
    if mask:
        tokens = tokens._replace(name=at.op("Where", mask, tokens.name, at.graph.number(0, tokens.dtype)))
    w = at.params["w"]
    rows = Tensor(at.op("Gather", at.param("w"), tokens.name, axis=0), (*tokens.shape, int(units)), w.dtype)
    if how == "mean":
        return _mean_over(at, rows, mask)
    if how == "max":
        return _max_over(at, rows, mask)
    return _sum_at(at, rows, mask)


def _own_cell(at: Site, tree: Tree, cell: Any, state: Any, return_sequences: bool) -> Tree:
    """The cell's own nodes are the inner graph."""
    x, mask = value_of(tree), mask_of(at, tree)
    first = tree.get("state") if isinstance(tree, dict) else None
    if first is None or first == {}:
        dtype, shapes = x.dtype if x.dtype.kind == "f" else np.dtype(np.float32), checked("scan", state)
        leaves = [a.shape[1:] for a in _flat(shapes, one_example(shapes))]
        first = _filled(shapes, iter([Tensor(at.zeros(x.name, shape, dtype), shape, dtype) for shape in leaves]))

    def step(states: list[Tensor], now: Tensor) -> tuple[Tensor, list[Tensor]]:
        out = at.convert(as_layer(cell), at.params, {"x": now, "state": _filled(first, iter(states))}, at.path)
        return out["x"], [*_flat(first, out["state"])]

    y, final = _scan(at, x, mask, _flat(first, first), step)
    y = y._replace(name=under_mask(at, y.name, mask, 1 + len(y.shape), y))
    out = y if return_sequences else _last(at, y, mask)
    return with_outputs(tree, out, _filled(first, iter(final)))


def _filled(like: Tree, leaves: Iterator[Tensor]) -> Tree:
    """A tree with these leaves."""
    return {name: _filled(inner, leaves) for name, inner in like.items()} if isinstance(like, dict) else next(leaves)


CONVERTERS: dict[Any, Converter] = {
    fn.rnn: partial(_recurrent, "rnn"),
    fn.gru: partial(_recurrent, "gru"),
    fn.lstm: partial(_recurrent, "lstm"),
    fn.stacked: _stacked,
    fn.bidirectional: _bidirectional,
    _both: _bidirectional,
    fn.scan: _own_cell,
    fn.time_distributed: _time_distributed,
    fn.last.apply: partial(_over_time, _last),
    fn.masked_mean.apply: partial(_over_time, _mean_over),
    fn.masked_max.apply: partial(_over_time, _max_over),
    fn.embedding_bag: _embedding_bag,
}
