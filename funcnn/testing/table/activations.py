"""Rows of activations."""

from __future__ import annotations

import numpy as np

from funcnn.layers import elementwise, identity, leaky_relu, log_softmax, relu, sigmoid, softmax, swish, tanh
from funcnn.testing.table.row import VECTOR, Row

__all__ = ["ROWS"]

ROWS: list[Row] = [
    (identity, VECTOR),
    (relu, VECTOR),
    (leaky_relu(0.2), VECTOR),
    (sigmoid, VECTOR),
    (tanh, VECTOR),
    (softmax, (3, 5)),
    (log_softmax, (3, 5)),
    (swish, VECTOR),
    (elementwise(np.sin, lambda x, y: np.cos(x), name="elementwise"), VECTOR),
]
