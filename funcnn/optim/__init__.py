"""An optimizer is a pair, ``init(params) -> state`` and ``update(grads, state, params) -> (updates, state)``.

``core`` defines the pair, lifts a rule for one array to trees and chains rules, and ``wrappers`` restricts them to some
parameters; both make a ``pipeline``, which runs in one fused pass over the parameters where it can (``elementwise``).
``state`` specifies and checks what is kept between steps, ``masks`` choose parameters, ``donation`` checks what is to
be written into. Each family of rules is a file, in which a transform stands beside the recipe that is named after it:
``sgd``, ``adam``, ``adam_variants``, ``long_memory``, ``adaptive``, ``factored``, ``sign``, ``trust``, ``muon``,
``prodigy``, ``averaging``, ``plateau``, ``clip``, ``conditioning``, ``guards``. ``minimize`` has what needs several
gradients a step. ``schedules`` holds the rates that change.

A new optimizer, as in ``sign``, is one rule of a few lines given to ``lift``, one recipe that chains it with
``scale_by_rate``, both decorated with ``recorded``, their names below, and one row in the table of optimizers in
``tests/optim/optimizer_table.py``, which holds it to all laws.
"""

from funcnn.optim.adam import adam, adamax, adamw, scale_by_adam, scale_by_adamax
from funcnn.optim.adam_variants import (
    adabelief,
    amsgrad,
    nadam,
    radam,
    scale_by_adabelief,
    scale_by_amsgrad,
    scale_by_nadam,
    scale_by_radam,
    scale_by_yogi,
    yogi,
)
from funcnn.optim.adaptive import adadelta, adagrad, rmsprop, scale_by_adadelta, scale_by_adagrad, scale_by_rmsprop
from funcnn.optim.averaging import asgd, averaged, ema, lookahead, schedule_free, swa
from funcnn.optim.clip import adaptive_grad_clip, clip_by_block_rms, clip_by_global_norm, clip_by_value
from funcnn.optim.conditioning import add_noise, centralize
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
from funcnn.optim.factored import adafactor, scale_by_adafactor
from funcnn.optim.guards import accumulate, skip_non_finite
from funcnn.optim.long_memory import adan, ademamix, adopt, scale_by_adan, scale_by_ademamix, scale_by_adopt
from funcnn.optim.minimize import Minimum, lbfgs, sam
from funcnn.optim.muon import muon, scale_by_muon
from funcnn.optim.plateau import reduce_on_plateau, report_metric
from funcnn.optim.prodigy import prodigy, scale_by_prodigy
from funcnn.optim.schedules import (
    Rate,
    Schedule,
    as_schedule,
    constant,
    cosine_decay,
    cosine_with_restarts,
    cyclic,
    exponential_decay,
    inverse_square_root,
    join,
    linear_warmup,
    one_cycle,
    piecewise_constant,
    polynomial_decay,
    step_decay,
    warmup_cosine,
)
from funcnn.optim.sgd import add_decayed_weights, add_momentum, scale_by_rate, sgd
from funcnn.optim.sign import lion, rprop, scale_by_lion, scale_by_rprop, scale_by_signum, signum
from funcnn.optim.trust import lamb, lars, scale_by_trust_ratio
from funcnn.optim.wrappers import masked, partition
from funcnn.spellings import explain_names

__all__ = [
    "Minimum", "Optimizer", "OptimizerLike", "Rate", "Schedule", "accumulate", "adabelief", "adadelta", "adafactor",
    "adagrad", "adam", "adamax", "adamw", "adan", "adaptive_grad_clip", "add_decayed_weights", "add_momentum",
    "add_noise", "ademamix", "adopt", "amsgrad", "apply_updates", "as_optimizer", "as_schedule", "asgd", "averaged",
    "centralize", "chain", "clip_by_block_rms", "clip_by_global_norm", "clip_by_value", "constant", "cosine_decay",
    "cosine_with_restarts", "current_rate", "current_step", "cyclic", "ema", "exponential_decay",
    "inverse_square_root", "join", "lamb", "lars", "lbfgs", "lift", "linear_warmup", "lion", "lookahead", "masked",
    "muon", "nadam", "one_cycle", "partition", "piecewise_constant", "polynomial_decay", "prodigy", "radam",
    "reduce_on_plateau", "report_metric", "rmsprop", "rprop", "sam", "scale_by_adabelief", "scale_by_adadelta",
    "scale_by_adafactor", "scale_by_adagrad", "scale_by_adam", "scale_by_adamax", "scale_by_adan",
    "scale_by_ademamix", "scale_by_adopt", "scale_by_amsgrad", "scale_by_lion", "scale_by_muon", "scale_by_nadam",
    "scale_by_prodigy", "scale_by_radam", "scale_by_rate", "scale_by_rmsprop", "scale_by_rprop", "scale_by_signum",
    "scale_by_trust_ratio", "scale_by_yogi", "schedule_free", "sgd", "signum", "skip_non_finite", "step_decay",
    "swa", "transform", "warmup_cosine", "yogi",
]  # fmt: skip

explain_names(__name__)
