"""funcnn: purely functional neural networks in NumPy.

A layer is a pair of stateless functions, ``init(shape, rng) -> params`` and ``apply(params, x) -> (y, vjp_fn)``;
a model is the same pair, parameters are nested dicts of arrays, and a checkpoint is a saved dict.
"""

from funcnn import datasets as datasets
from funcnn import initializers as initializers
from funcnn import metrics as metrics
from funcnn import optim as optim
from funcnn import plot as plot
from funcnn import rng as rng
from funcnn import testing as testing
from funcnn import tree as tree
from funcnn.combinators import *  # noqa: F403
from funcnn.cores import num_threads as num_threads
from funcnn.cores import use_threads as use_threads
from funcnn.engine.memory import release_memory as release_memory
from funcnn.inspect import *  # noqa: F403
from funcnn.interchange import *  # noqa: F403
from funcnn.layers import *  # noqa: F403
from funcnn.losses import *  # noqa: F403
from funcnn.optim import *  # noqa: F403
from funcnn.optim import schedules as schedules
from funcnn.protocol import *  # noqa: F403
from funcnn.shapes import Spec as Spec
from funcnn.shapes import spec as spec
from funcnn.shapes import specs as specs
from funcnn.training import *  # noqa: F403
from funcnn.training import callbacks as callbacks
