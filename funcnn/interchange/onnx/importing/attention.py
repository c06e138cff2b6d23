"""The operator Attention, which files have since opset 23, as the products and the softmax that it stands for."""

from __future__ import annotations

import math

import numpy as np

from funcnn import layers as fn
from funcnn.interchange.onnx.importing.activations import along
from funcnn.interchange.onnx.importing.arithmetic import chosen, pair
from funcnn.interchange.onnx.importing.operator import Converter, Operator
from funcnn.interchange.onnx.importing.shapes import regrouped
from funcnn.interchange.onnx.importing.values import Operand, Unsupported, Value

__all__ = ["CONVERTERS"]


def _attention(op: Operator) -> Operand | list[Operand | None]:
    """softmax(scale Q K^T + mask) V."""
    if any(op.operand(n) is not None for n in (4, 5, 6)) or any(op.used[1:]) or op.attribute("softcap", 0.0):
        raise Unsupported("a cache, lengths, softcap, or its scores as an output")
    joined = len(op.value().axes) == 3
    names = ("q_num_heads", "kv_num_heads", "kv_num_heads")
    q, k, v = (_heads(op, op.value(n), op.attribute(name, 0)) for n, name in enumerate(names))
    heads, queries, width = q.file_shape[1:]
    keys = k.file_shape[2]
    if k.file_shape[1] != heads:
        raise Unsupported("fewer heads of keys than of queries")
    q = pair(op, "multiply", q, np.array(op.attribute("scale", 1 / math.sqrt(width)), np.float32))
    scores = op.builder.product(q, k.with_axes([*k.axes[:2], k.axes[3], k.axes[2]]))
    mask, low = op.operand(3), np.array(-np.inf, scores.dtype)
    if mask is not None and mask.dtype.kind == "b":
        scores = chosen(op, mask, scores, low)
    elif mask is not None:
        scores = pair(op, "add", scores, mask)
    if op.attribute("is_causal", 0):
        scores = chosen(op, np.tri(queries, keys, dtype=bool), scores, low)
    y = op.builder.product(along(op, fn.softmax, scores, [3]), v)
    if not joined:
        return y
    y = y.with_axes([y.axes[0], y.axes[2], y.axes[1], y.axes[3]])
    return regrouped(op, y, [y.file_shape[0], queries, heads * v.file_shape[3]])


def _heads(op: Operator, x: Value, heads: int) -> Value:
    """(batch, heads, time, width), also of (batch, time, heads * width)."""
    if len(x.axes) == 4:
        return x
    batch, time, width = x.file_shape
    x = regrouped(op, x, [batch, time, heads, width // heads])
    return x.with_axes([x.axes[0], x.axes[2], x.axes[1], x.axes[3]])


CONVERTERS: dict[str, Converter] = {"Attention": _attention}
