"""Activations: one nonlinear function between linear layers, without which a stack of them would be a linear map.

Those of single elements are rows, a function and its derivative: a new one is a row in the file of its kind,
``smooth``, ``exponential``, ``self_gated`` or ``piecewise``. Those over the last axis, gates and ``prelu`` are layers
as others are. What another layer takes as ``activation=`` is chosen in ``choice``, by name or as a layer.
"""

from funcnn.layers.activation.choice import Activation, ActivationName, Fused, as_activation, fuse
from funcnn.layers.activation.exponential import celu, elu, selu
from funcnn.layers.activation.gated import geglu, glu, reglu, swiglu
from funcnn.layers.activation.last_axis import log_softmax, maxout, softmax, softmin, sparsemax
from funcnn.layers.activation.piecewise import (
    hard_shrink,
    hard_sigmoid,
    hard_tanh,
    identity,
    leaky_relu,
    relu,
    relu6,
    relu_squared,
    soft_shrink,
    threshold,
)
from funcnn.layers.activation.prelu import prelu
from funcnn.layers.activation.row import Nonlinearity, Pull, elementwise
from funcnn.layers.activation.self_gated import gelu, hard_swish, mish, quick_gelu, silu, swish
from funcnn.layers.activation.smooth import (
    exp,
    log_sigmoid,
    sigmoid,
    sine,
    softplus,
    softsign,
    square,
    tanh,
    tanh_shrink,
)

__all__ = [
    "Activation", "ActivationName", "Fused", "Nonlinearity", "Pull", "as_activation", "celu", "elementwise", "elu",
    "exp", "fuse", "geglu", "gelu", "glu", "hard_shrink", "hard_sigmoid", "hard_swish", "hard_tanh", "identity",
    "leaky_relu", "log_sigmoid", "log_softmax", "maxout", "mish", "prelu", "quick_gelu", "reglu", "relu", "relu6",
    "relu_squared", "selu", "sigmoid", "silu", "sine", "soft_shrink", "softmax", "softmin", "softplus", "softsign",
    "sparsemax", "square", "swiglu", "swish", "tanh", "tanh_shrink", "threshold",
]  # fmt: skip
