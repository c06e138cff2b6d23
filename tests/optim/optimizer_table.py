"""The table of all optimizers and transforms, each a row that is held to all laws, and what their tests share."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from funcnn import tree
from funcnn.optim import (
    Optimizer,
    accumulate,
    adabelief,
    adadelta,
    adafactor,
    adagrad,
    adam,
    adamax,
    adamw,
    adan,
    adaptive_grad_clip,
    add_decayed_weights,
    add_momentum,
    add_noise,
    ademamix,
    adopt,
    amsgrad,
    apply_updates,
    asgd,
    centralize,
    chain,
    clip_by_block_rms,
    clip_by_global_norm,
    clip_by_value,
    constant,
    cosine_decay,
    cosine_with_restarts,
    cyclic,
    ema,
    exponential_decay,
    inverse_square_root,
    join,
    lamb,
    lars,
    linear_warmup,
    lion,
    lookahead,
    masked,
    muon,
    nadam,
    one_cycle,
    partition,
    piecewise_constant,
    polynomial_decay,
    prodigy,
    radam,
    reduce_on_plateau,
    rmsprop,
    rprop,
    scale_by_adabelief,
    scale_by_adadelta,
    scale_by_adafactor,
    scale_by_adagrad,
    scale_by_adam,
    scale_by_adamax,
    scale_by_adan,
    scale_by_ademamix,
    scale_by_adopt,
    scale_by_amsgrad,
    scale_by_lion,
    scale_by_muon,
    scale_by_nadam,
    scale_by_prodigy,
    scale_by_radam,
    scale_by_rate,
    scale_by_rmsprop,
    scale_by_rprop,
    scale_by_signum,
    scale_by_trust_ratio,
    scale_by_yogi,
    schedule_free,
    sgd,
    signum,
    skip_non_finite,
    step_decay,
    swa,
    warmup_cosine,
    yogi,
)


def everywhere(params: Any) -> Any:
    return tree.map(lambda p: True, params)


def some(params: Any) -> Any:
    """A mask of some of the parameters, by their names."""
    return tree.map_with_path(lambda path, _: path.endswith(("w", "b", "step")), params)


def matrices(params: Any) -> Any:
    """A mask of the parameters with two axes or more."""
    return tree.map(lambda p: np.ndim(p) >= 2, params)


OPTIMIZERS: dict[str, Optimizer] = {
    "sgd": sgd(0.1),
    "sgd, scheduled": sgd(cosine_decay(0.1, 10)),
    "sgd, momentum": sgd(0.1, momentum=0.9),
    "sgd, scheduled momentum": sgd(0.1, momentum=linear_warmup(0.9, 5)),
    "sgd, nesterov": sgd(0.1, momentum=0.9, nesterov=True),
    "sgd, dampening": sgd(0.1, momentum=0.9, dampening=0.3),
    "sgd, weight decay": sgd(0.1, weight_decay=0.3),
    "sgd, scheduled weight decay": sgd(0.1, momentum=0.9, weight_decay=cosine_decay(0.3, 9)),
    "adam": adam(0.1),
    "adamw": adamw(0.1),
    "adamw, all decay": adamw(linear_warmup(0.1, 4), weight_decay=cosine_decay(0.1, 9), decay_mask=everywhere),
    "rmsprop": rmsprop(0.1),
    "adagrad": adagrad(0.1),
    "adadelta": adadelta(),
    "adamax": adamax(0.1),
    "clipped": chain(clip_by_global_norm(0.5), clip_by_value(linear_warmup(0.1, 5)), adam(0.1)),
    "joined": rmsprop(join([linear_warmup(0.1, steps=2), 0.05, step_decay(0.1, 2, factor=0.5)], [2, 4])),
    "steep": adagrad(exponential_decay(0.1, 3, factor=0.5)),
    "scale_by_rate": scale_by_rate(constant(0.1)),
    "scale_by_adam": scale_by_adam(),
    "scale_by_adamax": scale_by_adamax(b1=0.8),
    "scale_by_rmsprop": scale_by_rmsprop(eps=1e-6),
    "scale_by_adagrad": scale_by_adagrad(),
    "scale_by_adadelta": scale_by_adadelta(0.8),
    "add_momentum": add_momentum(0.9),
    "add_decayed_weights": add_decayed_weights(0.1),
    "clip_by_value": clip_by_value(0.5),
    "masked": masked(adam(0.1), some),
    "masked in a chain": chain(masked(add_momentum(0.9), some), masked(clip_by_global_norm(0.5), some), sgd(0.1)),
    "partition": partition({"*": adamw(0.1)}),
    "partition, masked": partition({"*": chain(masked(scale_by_adam(), some), sgd(linear_warmup(0.1, 5), 0.9))}),
    "clip_by_global_norm": clip_by_global_norm(0.5),
    "clip_by_global_norm, scheduled": clip_by_global_norm(cosine_decay(0.5, 10)),
    "rmsprop, centered": rmsprop(0.1, centered=True, momentum=linear_warmup(0.9, 5)),
    "nadam": nadam(cyclic(0.1, 0.2, up=2)),
    "scale_by_nadam": scale_by_nadam(b1=0.0),
    "radam": radam(polynomial_decay(0.1, 9), b2=0.8),
    "scale_by_radam": scale_by_radam(),
    "amsgrad": amsgrad(warmup_cosine(0.1, 2, 9)),
    "scale_by_amsgrad": scale_by_amsgrad(b2=0.5),
    "adabelief": adabelief(inverse_square_root(0.1, 2)),
    "scale_by_adabelief": scale_by_adabelief(eps=1e-8),
    "yogi": yogi(one_cycle(0.1, 9)),
    "scale_by_yogi": scale_by_yogi(start=0.0),
    "adan": adan(0.1, weight_decay=0.1, decay_mask=everywhere),
    "scale_by_adan": scale_by_adan(ahead=0.08),
    "ademamix": ademamix(0.1, b3=cosine_decay(0.9, 9), alpha=linear_warmup(5.0, 5)),
    "scale_by_ademamix": scale_by_ademamix(),
    "adopt": adopt(cosine_with_restarts(0.1, 2)),
    "scale_by_adopt": scale_by_adopt(clip=False),
    "lion": lion(0.1),
    "scale_by_lion": scale_by_lion(0.8),
    "signum": signum(cosine_decay(0.1, 9)),
    "scale_by_signum": scale_by_signum(0.0),
    "reduce_on_plateau": chain(sgd(piecewise_constant(0.1, {2: 0.5})), reduce_on_plateau(0.5)),
    "centralize": chain(centralize(), sgd(0.1)),
    "add_noise": chain(add_noise(0.01, rng=(3, 4)), sgd(0.1)),
    "clip_by_block_rms": clip_by_block_rms(0.5),
    "adaptive_grad_clip": adaptive_grad_clip(linear_warmup(0.1, 5)),
    "rprop": rprop(0.1),
    "scale_by_rprop": scale_by_rprop(largest=0.012),
    "lamb": lamb(0.1, weight_decay=0.1, decay_mask=everywhere),
    "lars": lars(0.1, nesterov=True, weight_decay=0.1, trust_mask=some),
    "scale_by_trust_ratio": scale_by_trust_ratio(0.1, eps=1e-3),
    "adafactor": adafactor(linear_warmup(2.0, 4), weight_decay=0.1),
    "scale_by_adafactor": scale_by_adafactor(eps=1e-6),
    "muon": muon(cosine_decay(0.1, 9), adamw_rate=0.01),
    "scale_by_muon": masked(scale_by_muon(nesterov=False, scale="match_rms_adamw"), matrices),
    "prodigy": prodigy(cosine_decay(1.0, 9), start=0.1, weight_decay=0.1),
    "scale_by_prodigy": scale_by_prodigy(b3=0.9, safeguard_warmup=True),
    "ema": ema(adam(0.1), decay=0.5, debias=True),
    "swa": swa(sgd(0.1, momentum=0.9), start=1, every=2),
    "asgd": asgd(0.1, decay=0.1, start=1, weight_decay=0.1),
    "lookahead": lookahead(adam(0.1), every=2),
    "schedule_free": schedule_free(adamw(linear_warmup(0.1, 3), b1=0.0), rate=linear_warmup(0.1, 3)),
}
WRAPPED: dict[str, Optimizer] = {
    "accumulate": accumulate(adam(cosine_decay(0.1, 9)), steps=2),
    "accumulate, without state": chain(accumulate(clip_by_value(0.5), steps=2), sgd(0.1, 0.9)),
    "skip_non_finite": skip_non_finite(adam(0.1), limit=2),
}
"""Those of which nothing is fused and nothing donated."""
every_optimizer_and_wrapper = pytest.mark.parametrize(
    "optimizer", (OPTIMIZERS | WRAPPED).values(), ids=OPTIMIZERS | WRAPPED
)
every_optimizer = pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)


def like(shape_tree: Any, seed: int, dtype: type = np.float64) -> Any:
    rng = np.random.default_rng(seed)
    if isinstance(shape_tree, dict):
        return {name: like(child, seed + i, dtype) for i, (name, child) in enumerate(shape_tree.items(), 1)}
    return frozen(np.asarray(rng.normal(size=shape_tree), dtype))


def frozen(array: Any) -> Any:
    array.flags.writeable = False
    return array


def bits(t: Any) -> dict[str, Any]:
    return {path: (leaf.dtype, leaf.shape, leaf.tobytes()) for path, leaf in tree.flatten(t).items()}


def run(optimizer: Optimizer, params: Any, grads: Sequence[Any], state: Any = None) -> tuple[Any, Any]:
    state = optimizer.init(params) if state is None else state
    for g in grads:
        updates, state = optimizer.update(g, state, params)
        params = apply_updates(params, updates)
    return params, state


def two_steps(optimizer: Optimizer) -> tuple[float, float]:
    """A parameter that starts at 2 after the gradient 1, and then after the gradient 3."""
    one, state = run(optimizer, {"w": np.array([2.0])}, [{"w": np.array([1.0])}])
    two, _ = run(optimizer, one, [{"w": np.array([3.0])}], state)
    return one["w"][0], two["w"][0]
