"""The operator Attention, which files have since opset 23, as the products and the softmax that it stands for.

Keys and values of earlier steps, a cache, are inputs and outputs of the model, as those of other programs are.
"""

from __future__ import annotations

import math

import numpy as np

from funcnn import layers as fn
from funcnn.aliases import Array
from funcnn.interchange.onnx.importing.activations import along
from funcnn.interchange.onnx.importing.arithmetic import chosen, pair
from funcnn.interchange.onnx.importing.operator import Converter, Operator
from funcnn.interchange.onnx.importing.shapes import regrouped
from funcnn.interchange.onnx.importing.values import Operand, Unsupported, Value

__all__ = ["CONVERTERS"]


def _attention(op: Operator) -> Operand | list[Operand | None]:
    """softmax(scale Q K^T + mask) V, where the keys and values of earlier steps may stand before K and V."""
    if op.operand(6) is not None or any(op.used[3:]):
        raise Unsupported("lengths, or its scores as an output")
    joined = len(op.value().axes) == 3
    names = ("q_num_heads", "kv_num_heads", "kv_num_heads")
    q, k, v = (_heads(op, op.value(n), op.attribute(name, 0)) for n, name in enumerate(names))
    heads, queries, width = q.file_shape[1:]
    past = 0 if op.operand(4) is None else op.value(4).file_shape[2]
    if past:
        k, v = (op.builder.side_by_side([op.value(n), x], 2) for n, x in ((4, k), (5, v)))
    scale = op.attribute("scale", 1 / math.sqrt(width))
    q = _grouped(pair(op, "multiply", q, np.array(scale, np.float32)), k.file_shape[1])
    turned = k.with_axes([*k.axes[:2], (), k.axes[3], k.axes[2]])
    weights = _grouped(_weights(op, _ungrouped(op.builder.product(q, turned)), past), k.file_shape[1])
    y = _ungrouped(op.builder.product(weights, v.with_axes([*v.axes[:2], (), *v.axes[2:]])))
    if joined:
        y = y.with_axes([y.axes[0], y.axes[2], y.axes[1], y.axes[3]])
        y = regrouped(op, y, [y.file_shape[0], queries, heads * v.file_shape[3]])
    return [y, *(x if used else None for x, used in zip((k, v), op.used[1:], strict=False))]


def _weights(op: Operator, scores: Value, past: int) -> Value:
    """The softmax of scores (batch, heads, queries, keys) over the keys that are seen; zeros for a query of none."""
    cap, mask = op.number("softcap", 0.0), op.operand(3)
    if cap:
        scores = pair(op, "multiply", scores, np.array(1 / cap, np.float32))
        scores = op.builder.elementwise(fn.affine(cap), op.builder.elementwise(fn.tanh, scores))
    if mask is not None and mask.dtype.kind != "b":
        scores = pair(op, "add", scores, mask)
    queries, keys = scores.file_shape[2:]
    seen = _window(op, queries, keys, past)
    if isinstance(mask, np.ndarray):
        seen = seen & (mask if mask.dtype.kind == "b" else mask > -np.inf)
    given = [mask] if isinstance(mask, Value) and mask.dtype.kind == "b" else []
    conditions: list[Operand] = [*([] if seen.all() else [seen]), *given]
    low, zero = np.array(np.finfo(scores.dtype).min), np.zeros((), scores.dtype)
    for condition in conditions:
        scores = chosen(op, condition, scores, low)
    weights = along(op, fn.softmax, scores, [3])
    for condition in conditions if given or not seen.any(-1).all() else []:
        weights = chosen(op, condition, weights, zero)
    return weights


def _window(op: Operator, queries: int, keys: int, past: int) -> Array:
    """Which keys each query sees, of which the first ``past`` are those of earlier steps."""
    back = np.arange(queries)[:, None] + past - np.arange(keys)
    left, right = (int(op.attribute(f"{side}_window_size", -1)) for side in ("left", "right"))
    seen = np.ones(back.shape, bool)
    if left >= 0:
        seen &= back <= left
    if right >= 0:
        seen &= back >= -right
    return seen & (back >= 0) if op.attribute("is_causal", 0) else seen


def _grouped(x: Value, groups: int) -> Value:
    """(batch, heads, ...) as (batch, groups, heads of each, ...): the heads of a group share their keys."""
    batch, heads, *sizes = x.file_shape
    found = x.reshaped([batch, groups, heads // groups, *sizes]) if heads % groups == 0 else None
    if found is None:
        raise Unsupported(f"{heads} heads of queries with {groups} of keys")
    return found


def _ungrouped(x: Value) -> Value:
    batch, groups, heads, *rest = x.axes
    return x.with_axes([batch, (*groups, *heads), *rest])


def _heads(op: Operator, x: Value, heads: int) -> Value:
    """(batch, heads, time, width), also of (batch, time, heads * width)."""
    if len(x.axes) == 4:
        return x
    batch, time, width = x.file_shape
    x = regrouped(op, x, [batch, time, heads, width // heads])
    return x.with_axes([x.axes[0], x.axes[2], x.axes[1], x.axes[3]])


CONVERTERS: dict[str, Converter] = {"Attention": _attention}
