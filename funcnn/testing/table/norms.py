"""Rows of layers that normalize, and of those that draw noise in training."""

from __future__ import annotations

from funcnn.layers import (
    alpha_dropout,
    batch_norm,
    drop_path,
    dropout,
    gaussian_dropout,
    gaussian_noise,
    group_norm,
    instance_norm,
    l2_normalize,
    layer_norm,
    local_response_norm,
    relu,
    rms_norm,
    scale_and_shift,
    spatial_dropout,
)
from funcnn.testing.table.row import IMAGE, SERIES, VECTOR, Row

__all__ = ["ROWS"]

ROWS: list[Row] = [
    (dropout(0.3), IMAGE),
    (dropout(0.0), VECTOR),
    (spatial_dropout(0.3), IMAGE),
    (drop_path(0.3), SERIES),
    (alpha_dropout(0.3), SERIES),
    (gaussian_dropout(0.3), VECTOR),
    (gaussian_noise(0.3), VECTOR),
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
    (l2_normalize(), IMAGE),
    (l2_normalize(1, eps=1e-3), SERIES),
    (local_response_norm(2), SERIES),
    (local_response_norm(3, alpha=0.5, beta=0.6, k=2), VECTOR),
]
