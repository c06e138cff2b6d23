"""The layers, one file a family; each is a function that returns the pair ``(init, apply)``."""

from funcnn.layers.activation import (
    identity,
    leaky_relu,
    log_softmax,
    relu,
    sigmoid,
    softmax,
    swish,
    tanh,
)
from funcnn.layers.conv import conv2d
from funcnn.layers.dense import dense
from funcnn.layers.batch_norm import batch_norm
from funcnn.layers.pool import avg_pool2d, global_avg_pool2d, max_pool2d, min_pool2d
from funcnn.layers.dropout import dropout
from funcnn.layers.shape import flatten, reshape, upsample2d

__all__ = [
    "avg_pool2d", "batch_norm", "conv2d", "dense", "dropout", "flatten", "global_avg_pool2d", "identity",
    "leaky_relu", "log_softmax", "max_pool2d", "min_pool2d", "relu", "reshape", "sigmoid", "softmax", "swish",
    "tanh", "upsample2d",
]  # fmt: skip
