"""Rows of formulas of single elements, of operators between arrays, and of learned arrays."""

from __future__ import annotations

from funcnn.combinators import branch, frozen, graph, select, serial
from funcnn.layers import affine, arithmetic, exp, parameter, power, reduce, to_float, top_k, unary, where
from funcnn.shapes import spec
from funcnn.testing.table.row import IMAGE, SERIES, VECTOR, Row

__all__ = ["ROWS"]

TWO = {"a": (3, 1, 4), "b": (1, 2, 4)}
EXPONENTIALS = {"base": (exp, "input/a"), "exponent": (exp, "input/b")}

ROWS: list[Row] = [
    (affine(1.5, -0.5), VECTOR),
    (power(3), VECTOR),
    (serial(exp, power(-0.5)), SERIES),
    (unary("abs"), VECTOR),
    (unary("cos"), VECTOR),
    (unary("erf"), VECTOR),
    (serial(exp, unary("log")), VECTOR),
    (serial(unary("atan"), unary("tan"), unary("sinh")), VECTOR),
    (arithmetic("add"), TWO),
    (arithmetic("subtract", "b", "a"), TWO),
    (arithmetic("multiply"), TWO),
    (graph({**EXPONENTIALS, "y": (arithmetic("divide", "base", "exponent"), ("base", "exponent"))}, "y"), TWO),
    (graph({**EXPONENTIALS, "y": (arithmetic("power", "base", "exponent"), ("base", "exponent"))}, "y"), TWO),
    (arithmetic("maximum"), TWO),
    (arithmetic("minimum"), TWO),
    (serial(branch(larger=arithmetic("greater"), x=select("a")), arithmetic("multiply")), TWO),
    (arithmetic("matmul"), {"a": (3, 2, 4), "b": (1, 4, 5)}),
    (where("mask", "b", "a"), {**TWO, "mask": spec((3, 2, 1), bool)}),
    (where(), {"a": (2,), "b": (1,), "c": (2,)}),
    (to_float, VECTOR),
    (reduce("sum", (1, -1)), IMAGE),
    (reduce("mean", 2, keepdims=True), IMAGE),
    (reduce("prod", (1, -1)), IMAGE),
    (reduce("max", (1, 2)), IMAGE),
    (reduce("min", -1), SERIES),
    (top_k(2), VECTOR),
    (top_k(3, axis=1), SERIES),
    (parameter(3, 2), VECTOR),
    (frozen(parameter(4)), SERIES),
]
