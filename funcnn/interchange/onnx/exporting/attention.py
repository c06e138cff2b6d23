"""Attention, positions and transformer layers as nodes of ONNX.

The scores, their softmax and the mean of the values are plain products, which every runtime has, and which it joins to
one kernel where it has one.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from funcnn import layers as fn
from funcnn.aliases import Array, Tree
from funcnn.combinators import cached, sublayer
from funcnn.interchange.onnx.exporting.graph import Tensor
from funcnn.interchange.onnx.exporting.site import Converter, Site
from funcnn.kernels.attention import alibi_bias, allowed_keys
from funcnn.kernels.rotary import waves
from funcnn.layers.multi_head_attention import ROTARY_BASE
from funcnn.protocol import declared

__all__ = ["CONVERTERS"]


def _attend(at: Site, q: Tensor, k: Tensor, v: Tensor, scale: float | None, allowed: str, bias: str) -> str:
    """(batch, queries, heads, value width) of q, k and v (time, heads, width)."""
    (_, heads, width), key_heads = q.shape, k.shape[1]
    factor = 1 / math.sqrt(width) if scale is None else scale
    keys, values = (_shared(at, a, key_heads, heads) for a in (k, v))
    scaled = at.op("Mul", q.name, at.number(factor, q))
    scores = at.op("MatMul", at.transpose(scaled, 0, 2, 1, 3), at.transpose(keys, 0, 2, 3, 1))
    if bias:
        scores = at.op("Add", scores, bias)
    weights = _weights(at, scores, allowed, q)
    return at.transpose(at.op("MatMul", weights, at.transpose(values, 0, 2, 1, 3)), 0, 2, 1, 3)


def _shared(at: Site, a: Tensor, key_heads: int, heads: int) -> str:
    """Keys or values with the heads of the queries, each for a group of neighbours."""
    if key_heads == heads:
        return a.name
    (time, _, width), groups = a.shape, heads // key_heads
    ones = at.constant("key_heads", np.ones((1, 1, 1, groups, 1), a.dtype))
    repeated = at.op("Mul", at.op("Unsqueeze", a.name, at.graph.integers([3])), ones)
    return at.reshape(repeated, [time, heads, width])


def _weights(at: Site, scores: str, allowed: str, x: Tensor) -> str:
    """The softmax over the allowed keys; 0 for a query that may look at none, where that of ONNX is NaN."""
    if not allowed:
        return at.op("Softmax", scores, axis=-1)  # type: ignore[no-any-return]
    scores = at.op("Where", allowed, scores, at.number(-np.inf, x))
    highest = at.op("Max", at.reduce("ReduceMax", scores, [3]), at.number(np.finfo(x.dtype).min, x))
    exps = at.op("Exp", at.op("Sub", scores, highest))
    total = at.op("Max", at.reduce("ReduceSum", exps, [3]), at.number(1, x))  # the highest score adds 1
    found: str = at.op("Div", exps, total)
    return found


def _allowed(at: Site, mask: Tensor | None, causal: bool, queries: int, keys: int, offset: int) -> str:
    """(batch or 1, 1, queries or 1, keys) of booleans; empty for all."""
    found = ""
    if mask is not None:
        axes = [1, 2] if len(mask.shape) == 1 else [1]
        found = at.op("Unsqueeze", mask.name, at.graph.integers(axes))
    earlier = allowed_keys(None, causal, queries, keys, offset)
    if earlier is None:
        return found
    name = at.constant("causal", earlier[:, None])
    return at.op("And", found, name) if found else name


def _attention(at: Site, x: Tree, causal: bool, scale: float | None, **_: Any) -> Tree:
    names = ("x", "x", "x")
    leaves = x if isinstance(x, dict) else {"x": x}
    if "x" not in leaves:
        names = ("q", "k", "v")
    elif "context" in leaves:
        names = ("x", "context", "context")
    first = leaves[names[0]]
    q, k, v = (_with_heads(at, leaves[name]) for name in names)
    mask = leaves.get("context_mask" if names[1] == "context" else "mask")
    allowed = _allowed(at, mask, causal, q.shape[0], k.shape[0], 0)
    bias = leaves["bias"].name if "bias" in leaves else ""
    y = _attend(at, q, k, v, scale, allowed, bias)
    if len(first.shape) == 2:
        y = at.op("Squeeze", y, at.graph.integers([2]))
    return {**x, "x": y} if isinstance(x, dict) and names[0] == "x" else y


def _with_heads(at: Site, a: Tensor) -> Tensor:
    """(time, width) as (time, 1, width)."""
    if len(a.shape) == 3:
        return a
    return Tensor(at.op("Unsqueeze", a.name, at.graph.integers([2])), (a.shape[0], 1, a.shape[1]), a.dtype)


def _multi_head(
    at: Site, x: Tree, heads: int, key_heads: int | None, causal: bool, bias: bool, scale: float | None,
    positions: str | None, **_: Any,
) -> Tree:  # fmt: skip
    leaves = x if isinstance(x, dict) else {"x": x}
    target, crossed = leaves["x"], "context" in leaves
    source = leaves["context"] if crossed else target
    few = int(heads if key_heads is None else key_heads)
    q = _projected(at, "query", target, int(heads), bias)
    k, v = (_projected(at, name, source, few, bias) for name in ("key", "value"))
    past = leaves.get("cache")
    offset = past["k"].shape[0] if past else 0
    if positions == "rotary":
        q, k = (_rotated(at, a, np.arange(offset, offset + a.shape[0]), ROTARY_BASE) for a in (q, k))
    if past:
        k, v = (_behind(at, past[name], a) for name, a in (("k", k), ("v", v)))
    mask = leaves.get("context_mask" if crossed else "mask")
    queries, keys = q.shape[0], k.shape[0]
    slopes = ""
    if positions == "alibi":
        slopes = at.constant("alibi", alibi_bias(int(heads), queries, keys, offset, target.dtype))
    z = _attend(at, q, k, v, scale, _allowed(at, mask, causal, queries, keys, offset), slopes)
    y = at.op("MatMul", at.reshape(z, [queries, int(heads) * v.shape[2]]), at.param("output_w"))
    y = at.op("Add", y, at.param("output_b")) if bias else y
    if not isinstance(x, dict):
        return y
    return {**x, "x": y} | ({} if past is None else {"cache": {"k": k, "v": v}})


def _projected(at: Site, name: str, x: Tensor, heads: int, bias: bool) -> Tensor:
    """A dense layer, with its output in heads."""
    z = at.op("MatMul", x.name, at.param(f"{name}_w"))
    z = at.op("Add", z, at.param(f"{name}_b")) if bias else z
    shape = (x.shape[0], heads, at.params[f"{name}_w"].shape[1] // heads)
    return Tensor(at.reshape(z, shape), shape, x.dtype)


def _behind(at: Site, past: Tensor, now: Tensor) -> Tensor:
    """What came before, and what comes now."""
    name = at.op("Concat", past.name, now.name, axis=1)
    return Tensor(name, (past.shape[0] + now.shape[0], *now.shape[1:]), now.dtype)


def _rotated(at: Site, x: Tensor, places: Array, base: float) -> Tensor:
    """The two halves of the features as points of planes, rotated by constant angles."""
    tables = (table[places] for table in waves(int(places.max()) + 1, x.shape[-1], base))
    between = (1,) * (len(x.shape) - 2)
    cos, sin = (table.reshape(len(places), *between, -1).astype(x.dtype) for table in tables)
    return x._replace(name=_turned(at, x, at.constant("cos", cos), at.constant("sin", sin)))


def _turned(at: Site, x: Tensor, cos: str, sin: str) -> str:
    half = x.shape[-1] // 2
    a, b = at.op("Split", x.name, at.graph.integers([half, half]), axis=-1, outputs=2)
    first = at.op("Sub", at.op("Mul", a, cos), at.op("Mul", b, sin))
    second = at.op("Add", at.op("Mul", b, cos), at.op("Mul", a, sin))
    found: str = at.op("Concat", first, second, axis=-1)
    return found


def _positions(at: Site, tree: Tree, kind: str, base: float, **_: Any) -> Tree:
    x = tree["x"] if isinstance(tree, dict) else tree
    steps, cache = x.shape[0], tree.get("cache") if isinstance(tree, dict) else None
    places = np.arange(steps)
    if cache:
        moved = _moved_from(at, x, kind, base, cache["time"])
    elif kind == "rotary":
        moved = _rotated(at, x, places, base).name
    else:
        own = at.params["w"][:steps] if kind == "learned" else _sinusoids(steps, x, base)
        moved = at.op("Add", x.name, at.param("w", own))
    if not isinstance(tree, dict):
        return moved
    y = {**tree, "x": moved}
    if cache is not None:
        start = cache["time"] if cache else None
        own = at.op("Add", start.name, at.graph.number(steps, start.dtype)) if start else _counted(at, x, steps)
        y["cache"] = {"time": own}
    return y


def _counted(at: Site, x: Tensor, steps: int) -> str:
    """(batch,), the place of each example's next element at the start of a text."""
    none = at.zeros(x.name, [], np.int64)
    found: str = at.op("Add", none, at.graph.number(steps, "int64"))
    return found


def _sinusoids(steps: int, x: Tensor, base: float) -> Array:
    cos, sin = waves(steps, x.shape[-1], base)
    both: Array = np.stack((sin, cos), -1).reshape(steps, -1)[:, : x.shape[-1]].astype(x.dtype)
    return both


def _moved_from(at: Site, x: Tensor, kind: str, base: float, start: Tensor) -> str:
    """The places begin where the cache says, so they are counted, and waves computed, in the graph."""
    steps = at.constant("steps", np.arange(x.shape[0], dtype=start.dtype))
    places = at.op("Add", at.op("Unsqueeze", start.name, at.graph.integers([1])), steps)
    if kind == "learned":
        return at.op("Add", x.name, at.op("Gather", at.param("w"), places, axis=0))  # type: ignore[no-any-return]
    width = x.shape[-1]
    frequencies = at.constant("frequencies", float(base) ** (-np.arange(0, width, 2) / width))
    column = at.op("Unsqueeze", at.cast(places, np.float64), at.graph.integers([2]))
    angles = at.op("Mul", column, frequencies)
    # (batch, time, pairs); whole turns are taken away in float64, since runtimes have float32 waves only.
    turn = at.graph.number(2 * math.pi, "float64")
    rest = at.op("Sub", angles, at.op("Mul", at.op("Floor", at.op("Div", angles, turn)), turn))
    small = at.cast(rest, x.dtype)
    cos, sin = at.op("Cos", small), at.op("Sin", small)
    if kind == "rotary":
        between = at.graph.integers(range(2, len(x.shape)))
        cos, sin = (at.op("Unsqueeze", a, between) if len(x.shape) > 2 else a for a in (cos, sin))
        return _turned(at, x, cos, sin)
    pairs = at.graph.integers([3])
    both = at.op("Concat", at.op("Unsqueeze", sin, pairs), at.op("Unsqueeze", cos, pairs), axis=3)
    wave = at.slice(at.reshape(both, [x.shape[0], 2 * -(-width // 2)]), 2, 0, width)
    return at.op("Add", x.name, wave)  # type: ignore[no-any-return]


def _alibi(at: Site, x: Tree, heads: int) -> Tree:
    q, k = x["q"], x["k"]
    bias = alibi_bias(int(heads), q.shape[0], k.shape[0], 0, q.dtype)
    batch = at.op("Shape", q.name, start=0, end=1)
    size = at.op("Concat", batch, at.graph.integers(bias.shape[1:]), axis=0)
    return {**x, "bias": at.op("Expand", at.constant("bias", bias), size)}


def _sublayer(at: Site, x: Tree, norm_first: bool, inputs: Any, **_: Any) -> Tree:
    names = [*at.layer.children]
    h = x["x"] if isinstance(x, dict) else x
    own = {name: x[name] for name in x if name in inputs} if isinstance(x, dict) else {}
    z = at.child(names[0], h) if norm_first else h
    out = at.child(names[1], {"x": z, **own} if own else z)
    z = out["x"] if isinstance(out, dict) else out
    if len(names) > 2:
        z = at.child(names[2], z)
    z = h._replace(name=at.elementwise("Add", h.name, z.name))
    if not norm_first:
        z = at.child(names[0], z)
    if not isinstance(x, dict):
        return z
    cache = {"cache": out["cache"]} if isinstance(out, dict) and "cache" in out else {}
    return {**x, "x": z, **cache}


def _cached(at: Site, x: Tree, **_: Any) -> Tree:
    streams = [name for name, child in at.layer.children.items() if declared(child.apply, "streams")]
    h, new = x["x"] if isinstance(x, dict) else x, {}
    others = {name: leaf for name, leaf in x.items() if name not in ("x", "cache")} if isinstance(x, dict) else {}
    for name in at.layer.children:
        if isinstance(x, dict) and name in streams:
            y = at.child(name, {**others, "x": h, "cache": x["cache"].get(name, {})})
            h, new[name] = y["x"], y["cache"]
        else:
            h = at.child(name, h)
    return {**x, "x": h, "cache": new} if isinstance(x, dict) else h


CONVERTERS: dict[Any, Converter] = {
    fn.attention: _attention, fn.multi_head_attention: _multi_head, fn.positions: _positions, fn.alibi: _alibi,
    sublayer: _sublayer, cached: _cached,
}  # fmt: skip
