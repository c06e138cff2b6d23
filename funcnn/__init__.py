"""funcnn: purely functional neural networks in NumPy.

A layer is a pair of stateless functions, ``init(shape, rng) -> params`` and ``apply(params, x) -> (y, vjp_fn)``;
a model is the same pair, parameters are nested dicts of arrays, and a checkpoint is a saved dict.
"""

from funcnn import initializers as initializers
from funcnn import rng as rng
from funcnn import testing as testing
from funcnn import tree as tree
from funcnn.combinators import *  # noqa: F403
from funcnn.layer import *  # noqa: F403
from funcnn.layers import *  # noqa: F403
from funcnn.walk import *  # noqa: F403
