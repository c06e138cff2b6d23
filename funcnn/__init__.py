"""funcnn: purely functional neural networks in NumPy.

A layer is a pair of stateless functions, ``init(shape, rng) -> params`` and ``apply(params, x) -> (y, vjp_fn)``;
a model is the same pair, parameters are nested dicts of arrays, and a checkpoint is a saved dict::

    import funcnn as fn

    model = fn.serial(fn.dense(32, activation=fn.relu), fn.dense(10))
    params = model.init((784,), rng=0)
    result = fn.fit(model, params, fn.adam(1e-3), (x, labels), fn.softmax_cross_entropy, epochs=5)
    fn.metrics.accuracy(fn.predict(model, result.params, x), labels)

This is a map of the library. ``help(fn.dense)`` explains one name, with its formula, its arguments and an example.
``fn.sklearn`` has estimators for scikit-learn; it needs an extra, and is imported when it is first used.
"""

import sys
from functools import partial
from textwrap import fill
from typing import TYPE_CHECKING

from funcnn import aliases, combinators, derivatives, inspect, interchange, layers, losses, protocol, training
from funcnn import augment as augment
from funcnn import datasets as datasets
from funcnn import distributed as distributed
from funcnn import initializers as initializers
from funcnn import metrics as metrics
from funcnn import optim as optim
from funcnn import plot as plot
from funcnn import recorded as recorded
from funcnn import rng as rng
from funcnn import testing as testing
from funcnn import tree as tree
from funcnn.aliases import *  # noqa: F403
from funcnn.combinators import *  # noqa: F403
from funcnn.cores import num_threads as num_threads
from funcnn.cores import use_threads as use_threads
from funcnn.derivatives import *  # noqa: F403
from funcnn.engine.memory import release_memory as release_memory
from funcnn.inspect import *  # noqa: F403
from funcnn.interchange import *  # noqa: F403
from funcnn.kernels.choice import kernels_report as kernels_report
from funcnn.kernels.choice import use_kernels as use_kernels
from funcnn.layers import *  # noqa: F403
from funcnn.layers.activation import Activation as Activation
from funcnn.losses import *  # noqa: F403
from funcnn.optim import *  # noqa: F403
from funcnn.optim import schedules as schedules
from funcnn.protocol import *  # noqa: F403
from funcnn.shapes import Spec as Spec
from funcnn.shapes import spec as spec
from funcnn.shapes import specs as specs
from funcnn.spellings import explain_names as _explain_names
from funcnn.training import *  # noqa: F403
from funcnn.training import callbacks as callbacks

__version__ = "0.2.0"

if TYPE_CHECKING:  # it is imported on demand
    from funcnn import sklearn as sklearn

if not TYPE_CHECKING:  # Type checkers read the imports above, but not lists that are computed.
    _OPTIMIZERS = [name for name in optim.__all__ if name not in schedules.__all__]
    _AREAS = [
        ("Layers, made by a call or, like relu, ready", "", layers.__all__),
        ("Combinators, which make one layer of several", "", combinators.__all__),
        ("Layers of your own, names, and the shape of one example", "", [*protocol.__all__, "Spec", "spec", "specs"]),
        ("Initial weights", "initializers", initializers.__all__),
        ("Losses: loss(y, target) -> (value, dy)", "", losses.__all__),
        ("Optimizers, and the transforms of which they are chains", "", _OPTIMIZERS),
        ("Schedules: step -> rate, wherever a rate is taken", "", schedules.__all__),
        ("Training and prediction", "", training.__all__),
        ("Callbacks of fit", "callbacks", callbacks.__all__),
        ("Training on many machines, with MPI", "distributed", distributed.__all__),
        ("Derivatives: of each example, Jacobians, curvature", "", derivatives.__all__),
        ("Metrics", "metrics", metrics.__all__),
        ("Looking inside a model, and changing it", "", inspect.__all__),
        ("Models and parameters as files", "", interchange.__all__),
        ("Plots", "plot", plot.__all__),
        ("Data sets", "datasets", datasets.__all__),
        ("Augmentation: random changes of the batches to train on", "augment", augment.__all__),
        ("Checks of layers of your own", "testing", testing.__all__),
        ("Trees of arrays", "tree", tree.__all__),
        ("Keys of random numbers", "rng", rng.__all__),
        ("Recorded calls: how a thing was made", "recorded", recorded.__all__),
        ("Types, for annotations", "", [*aliases.__all__, "Activation"]),
        ("Threads and kernels", "", ["kernels_report", "num_threads", "release_memory", "use_kernels", "use_threads"]),
    ]
    __all__ = ["optim", "schedules"]  # whose names are those of funcnn too
    for _title, _area, _names in _AREAS:
        __all__ += [_area] if _area else _names
        _listed = ", ".join(f"{_area}.{name}" if _area else name for name in _names)
        _text = fill(_listed, 80, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)
        __doc__ = f"{__doc__ or ''}\n{_title}\n{_text}\n"
    for _module in [module for name, module in sys.modules.items() if name.partition(".")[0] == "funcnn"]:
        if hasattr(_module, "__all__"):  # so that completion offers what users call, and no imports
            _module.__dir__ = partial(sorted, _module.__all__)

_explain_names(__name__, on_demand=("sklearn",))
