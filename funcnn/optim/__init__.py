"""An optimizer is a pair, ``init(params) -> state`` and ``update(grads, state, params) -> (updates, state)``.

``core`` defines the pair, lifts a rule for one array to trees and chains rules, and ``wrappers`` restricts them to some
parameters; both make a ``pipeline``, which runs in one fused pass over the parameters where it can (``elementwise``).
``state`` specifies and checks what is kept between steps, ``masks`` choose parameters, ``donation`` checks what is to
be written into. Each family of rules is a file, in which a transform stands beside the recipe that is named after it:
``sgd``, ``adam``, ``adaptive``, ``clip``. ``schedules`` holds the rates that change.

A new optimizer, Lion for instance, is one rule of four lines given to ``lift``, one recipe that chains it with
``scale_by_rate``, both decorated with ``recorded``, their names below, and one row in the table of optimizers in
``tests/optim/optimizer_table.py``, which holds it to all laws.
"""

from funcnn.optim.adam import adam, adamax, adamw, scale_by_adam, scale_by_adamax
from funcnn.optim.adaptive import adadelta, adagrad, rmsprop, scale_by_adadelta, scale_by_adagrad, scale_by_rmsprop
from funcnn.optim.clip import clip_by_global_norm, clip_by_value
from funcnn.optim.core import (
    Optimizer,
    OptimizerLike,
    apply_updates,
    as_optimizer,
    chain,
    current_rate,
    current_step,
    lift,
    transform,
)
from funcnn.optim.schedules import (
    Rate,
    Schedule,
    as_schedule,
    constant,
    cosine_decay,
    exponential_decay,
    join,
    linear_warmup,
    step_decay,
)
from funcnn.optim.sgd import add_decayed_weights, add_momentum, scale_by_rate, sgd
from funcnn.optim.wrappers import masked, partition
from funcnn.spellings import explain_names

__all__ = [
    "Optimizer", "OptimizerLike", "Rate", "Schedule", "adadelta", "adagrad", "adam", "adamax", "adamw",
    "add_decayed_weights", "add_momentum", "apply_updates", "as_optimizer", "as_schedule", "chain",
    "clip_by_global_norm", "clip_by_value", "constant", "cosine_decay", "current_rate", "current_step",
    "exponential_decay", "join", "lift", "linear_warmup", "masked", "partition", "rmsprop", "scale_by_adadelta",
    "scale_by_adagrad", "scale_by_adam", "scale_by_adamax", "scale_by_rate", "scale_by_rmsprop", "sgd", "step_decay",
    "transform",
]  # fmt: skip

explain_names(__name__)
