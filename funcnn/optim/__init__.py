"""Optimizers: rules for one array, lifted to trees once, chained into recipes of a few lines.

``optimizer`` defines the pair, the lifting and the chain; ``transforms`` holds the rules, ``recipes`` the chains.
"""

from funcnn.optim.core import (
    Optimizer,
    apply_updates,
    chain,
    current_rate,
    current_step,
    lift,
    transform,
)
from funcnn.optim.recipes import adadelta, adagrad, adam, adamax, adamw, rmsprop, sgd
from funcnn.optim.transforms import (
    add_decayed_weights,
    add_momentum,
    clip_by_global_norm,
    clip_by_value,
    scale_by_adadelta,
    scale_by_adagrad,
    scale_by_adam,
    scale_by_adamax,
    scale_by_rate,
    scale_by_rmsprop,
)

__all__ = [
    "Optimizer",
    "adadelta",
    "adagrad",
    "adam",
    "adamax",
    "adamw",
    "add_decayed_weights",
    "add_momentum",
    "apply_updates",
    "chain",
    "clip_by_global_norm",
    "clip_by_value",
    "current_rate",
    "current_step",
    "lift",
    "rmsprop",
    "scale_by_adadelta",
    "scale_by_adagrad",
    "scale_by_adam",
    "scale_by_adamax",
    "scale_by_rate",
    "scale_by_rmsprop",
    "sgd",
    "transform",
]
