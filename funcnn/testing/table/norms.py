"""Rows of layers that normalize, and of those that draw noise in training."""

from __future__ import annotations

from funcnn.layers import batch_norm, dropout, relu, scale_and_shift
from funcnn.testing.table.row import IMAGE, VECTOR, Row

__all__ = ["ROWS"]

ROWS: list[Row] = [
    (dropout(0.3), IMAGE),
    (dropout(0.0), VECTOR),
    (batch_norm(), IMAGE),
    (batch_norm(eps=1e-3), VECTOR),
    (batch_norm(activation=relu), IMAGE),
    (batch_norm(activation="swish"), VECTOR),
    (scale_and_shift(), IMAGE),
    (scale_and_shift(activation="tanh"), VECTOR),
]
