"""funcnn: purely functional neural networks in NumPy.

A layer is a pair of stateless functions, ``init(shape, rng) -> params`` and ``apply(params, x) -> (y, vjp_fn)``;
a model is the same pair, parameters are nested dicts of arrays, and a checkpoint is a saved dict.
"""

from funcnn import callbacks as callbacks
from funcnn import datasets as datasets
from funcnn import initializers as initializers
from funcnn import metrics as metrics
from funcnn import plot as plot
from funcnn import rng as rng
from funcnn import testing as testing
from funcnn import train as train
from funcnn import tree as tree
from funcnn.architecture import *  # noqa: F403
from funcnn.attribution import *  # noqa: F403
from funcnn.batching import *  # noqa: F403
from funcnn.checkpoint import *  # noqa: F403
from funcnn.combinators import *  # noqa: F403
from funcnn.layer import *  # noqa: F403
from funcnn.layers import *  # noqa: F403
from funcnn.losses import *  # noqa: F403
from funcnn.optim import *  # noqa: F403
from funcnn.schedules import *  # noqa: F403
from funcnn.summary import *  # noqa: F403
from funcnn.targets import *  # noqa: F403
from funcnn.threads import num_threads as num_threads
from funcnn.threads import use_threads as use_threads
from funcnn.train import *  # noqa: F403
from funcnn.walk import *  # noqa: F403
