"""Rows of layers that multiply by a matrix."""

from __future__ import annotations

from funcnn.layers import dense, relu, tanh
from funcnn.testing.table.row import VECTOR, Row

__all__ = ["ROWS"]

ROWS: list[Row] = [
    (dense(4), VECTOR),
    (dense(4, bias=False), VECTOR),
    (dense(4, activation=tanh), (3, 5)),
    (dense(4, activation=relu), VECTOR),
]
