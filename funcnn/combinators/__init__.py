"""Combinators make one layer of several: chains, branches and graphs, trees of arrays, shared and frozen parameters.

``wiring.py`` runs them all; ``chains.py`` and ``trees.py`` say what is wired how, ``parameters.py`` and
``reparametrized.py`` what becomes of the parameters of one layer. A new combinator is one function that calls ``wired``
with a list of (child, its inputs), and one row in the table of tests.
"""

from funcnn.combinators.cached import cached
from funcnn.combinators.chains import add, concat, graph, repeat, residual, serial
from funcnn.combinators.parameters import frozen, remat, tied
from funcnn.combinators.reparametrized import spectral_norm, weight_norm
from funcnn.combinators.separable import separable_conv2d
from funcnn.combinators.transformer import sublayer, transformer_decoder_layer, transformer_encoder_layer
from funcnn.combinators.trees import branch, on, parallel, select

__all__ = [
    "add", "branch", "cached", "concat", "frozen", "graph", "on", "parallel", "remat", "repeat", "residual", "select",
    "separable_conv2d", "serial", "spectral_norm", "sublayer", "tied", "transformer_decoder_layer",
    "transformer_encoder_layer", "weight_norm",
]  # fmt: skip
