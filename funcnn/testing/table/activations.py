"""Rows of activations, of single elements and over the last axis, with few of their constants, and of bilinear."""

# ruff: noqa: I001, the names of a file stand side by side
from __future__ import annotations

import numpy as np

from funcnn.layers import (
    bilinear, celu, dense, elementwise, elu, exp, geglu, gelu, glu, hard_shrink, hard_sigmoid, hard_swish, hard_tanh,
    identity, leaky_relu, log_sigmoid, log_softmax, maxout, mish, prelu, quick_gelu, reglu, relu, relu6, relu_squared,
    selu, sigmoid, silu, sine, soft_shrink, softmax, softmin, softplus, softsign, sparsemax, square, swiglu, swish,
    tanh, tanh_shrink, threshold,
)  # fmt: skip
from funcnn.testing.table.row import VECTOR, Row

__all__ = ["ROWS"]

ROWS: list[Row] = [
    (identity, VECTOR),
    (relu, VECTOR),
    (leaky_relu(0.2), VECTOR),
    (relu6, VECTOR),
    (relu_squared, VECTOR),
    (hard_tanh(-0.5, 1.5), VECTOR),
    (hard_sigmoid(0.2), VECTOR),
    (hard_shrink(0.3), VECTOR),
    (soft_shrink(0.3), VECTOR),
    (threshold(0.1, 0.5), VECTOR),
    (sigmoid, VECTOR),
    (tanh, VECTOR),
    (softsign, VECTOR),
    (exp, VECTOR),
    (sine, VECTOR),
    (square, VECTOR),
    (tanh_shrink, VECTOR),
    (log_sigmoid, VECTOR),
    (softplus(2.0), VECTOR),
    (softplus(threshold=1.0), VECTOR),
    (elu(0.5), VECTOR),
    (celu(2.0), VECTOR),
    (selu, VECTOR),
    (swish, VECTOR),
    (silu, VECTOR),
    (quick_gelu, VECTOR),
    (mish, VECTOR),
    (hard_swish, VECTOR),
    (gelu(), VECTOR),
    (gelu(approximate=True), VECTOR),
    (softmax, (3, 5)),
    (log_softmax, (3, 5)),
    (softmin, (3, 5)),
    (sparsemax, (3, 5)),
    (maxout(3), (2, 6)),
    (glu, (2, 6)),
    (geglu, (6,)),
    (reglu, (6,)),
    (swiglu, (6,)),
    (dense(6, activation="swiglu"), VECTOR),
    (prelu(), VECTOR),
    (prelu(0.1, shared=False), (3, 4)),
    (bilinear(3, activation="elu"), {"a": (4,), "b": (5,)}),
    (bilinear(2, bias=False), {"a": (3, 2), "b": (3, 4)}),
    (elementwise(np.sin, lambda x, y: np.cos(x), name="elementwise"), VECTOR),
]
