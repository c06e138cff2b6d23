"""An initializer ``(shape, rng, fan_in, fan_out) -> array`` draws the initial weights of a layer.

``scaled`` has those whose variance fits the size of the layer, the usual ones, and the gains of activations;
``distributions`` those that are given whatever the size; ``matrices`` the orthogonal, sparse and identical maps. A new
one is a function decorated with ``@recorded``, which returns such a function; ``base`` says what that is.
"""

# ruff: noqa: I001, the names of a file stand side by side
from funcnn.spellings import explain_names
from funcnn.initializers.base import Initializer, InitializerLike, as_initializer as as_initializer
from funcnn.initializers.distributions import constant, normal, ones, truncated_normal, uniform, zeros
from funcnn.initializers.matrices import delta_orthogonal, identity, orthogonal, sparse
from funcnn.initializers.scaled import (
    gain, glorot_normal, glorot_uniform, he_normal, he_uniform, lecun_normal, lecun_uniform, variance_scaling,
)  # fmt: skip

__all__ = [
    "Initializer", "InitializerLike", "constant", "delta_orthogonal", "gain", "glorot_normal", "glorot_uniform",
    "he_normal", "he_uniform", "identity", "lecun_normal", "lecun_uniform", "normal", "ones", "orthogonal", "sparse",
    "truncated_normal", "uniform", "variance_scaling", "zeros",
]  # fmt: skip

explain_names(__name__)
