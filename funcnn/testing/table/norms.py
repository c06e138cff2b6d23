"""Rows of layers that normalize, and of those that draw noise in training."""

from __future__ import annotations

from funcnn.layers import (
    batch_norm, dropout, group_norm, instance_norm, layer_norm, relu, rms_norm, scale_and_shift,
)  # fmt: skip
from funcnn.testing.table.row import IMAGE, SERIES, VECTOR, Row

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
    (layer_norm(), VECTOR),
    (layer_norm(2, eps=1e-3, shift=False, activation="tanh"), IMAGE),
    (layer_norm(scale=False, activation="swish"), SERIES),
    (rms_norm(), SERIES),
    (rms_norm(3, eps=1e-3, scale=False, activation="tanh"), IMAGE),
    (group_norm(2), (3, 4, 4)),
    (group_norm(3, eps=1e-3, activation="swish"), (6,)),
    (group_norm(1, affine=False), SERIES),
    (instance_norm(), IMAGE),
    (instance_norm(eps=1e-3, affine=True, activation="tanh"), SERIES),
]
