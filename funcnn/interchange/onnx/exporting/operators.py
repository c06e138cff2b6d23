"""Formulas of single elements, operators between arrays and learned arrays, as the nodes that they are in ONNX."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from funcnn import layers as fn
from funcnn.aliases import Tree
from funcnn.interchange.onnx.exporting.graph import Tensor
from funcnn.interchange.onnx.exporting.site import Converter, Site

__all__ = ["CONVERTERS"]

OPERATIONS = {
    "add": "Add", "subtract": "Sub", "multiply": "Mul", "divide": "Div", "power": "Pow", "maximum": "Max",
    "minimum": "Min", "matmul": "MatMul",
}  # fmt: skip
COMPARISONS = {
    "equal": "Equal", "greater": "Greater", "greater_equal": "GreaterOrEqual", "less": "Less",
    "less_equal": "LessOrEqual",
}  # fmt: skip


def _affine(at: Site, x: Tensor, scale: float, shift: float) -> Tree:
    y = x.name if scale == 1 else at.elementwise("Mul", x.name, at.number(scale, x))
    return at.elementwise("Add", y, at.number(shift, x)) if shift or scale == 1 else y


def _power(at: Site, x: Tensor, exponent: float) -> Tree:
    named = {0.5: "Sqrt", -1.0: "Reciprocal"}.get(float(exponent))
    return at.elementwise(named, x.name) if named else at.elementwise("Pow", x.name, at.number(exponent, x))


def _unary(at: Site, x: Tensor, function: str) -> Tree:
    return at.elementwise(function.capitalize(), x.name)


def _arithmetic(at: Site, x: dict[str, Tensor], operation: str, names: Sequence[str]) -> Tree:
    a, b = (x[name] for name in names or sorted(x))
    if operation in COMPARISONS:
        return at.cast(at.op(COMPARISONS[operation], a.name, b.name), a.dtype)
    return at.op(OPERATIONS[operation], a.name, b.name)


def _where(at: Site, x: dict[str, Tensor], names: Sequence[str]) -> Tree:
    condition, a, b = (x[name] for name in names or sorted(x))
    chosen = condition.name
    if condition.dtype.kind != "b":
        chosen = at.cast(chosen, bool)
    return at.op("Where", chosen, a.name, b.name)


def _to_float(at: Site, x: Tensor) -> Tree:
    return x if x.dtype.kind == "f" else at.cast(x.name, np.float32)


def _reduce(at: Site, x: Tensor, how: str, axes: Any, keepdims: bool) -> Tree:
    given = axes if isinstance(axes, tuple | list) else (axes,)
    places = [int(axis) % (len(x.shape) + 1) for axis in given]
    return at.reduce(f"Reduce{how.capitalize()}", x.name, places, keepdims)


def _top_k(at: Site, x: Tensor, k: int, axis: int) -> Tree:
    y, _ = at.op("TopK", x.name, at.graph.integers([int(k)]), axis=int(axis) % (len(x.shape) + 1), outputs=2)
    return y


def _parameter(at: Site, x: Tree, **_: Any) -> Tree:
    first = x
    while isinstance(first, dict):
        first = next(iter(first.values()))
    w = at.params["w"]
    batch = at.op("Shape", first.name, start=0, end=1)
    size = at.op("Concat", batch, at.graph.integers(w.shape), axis=0) if w.ndim else batch
    return at.op("Expand", at.param("w", np.asarray(w)[None]), size)


CONVERTERS: dict[Any, Converter] = {
    fn.affine: _affine, fn.power: _power, fn.unary: _unary, fn.arithmetic: _arithmetic, fn.reduce: _reduce,
    fn.top_k: _top_k, fn.parameter: _parameter, fn.where: _where, fn.to_float.apply: _to_float,
}  # fmt: skip
