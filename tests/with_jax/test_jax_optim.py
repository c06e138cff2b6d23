"""Twenty steps of the optimizers that Optax defines agree with it in float64."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from funcnn import optim, tree

RATE = 0.05


@pytest.fixture(autouse=True)
def _in_float64() -> Iterator[None]:
    import jax

    with jax.enable_x64(True):
        yield


def _everywhere(params: Any) -> Any:
    return tree.map(lambda p: True, params)


def _warmup(step: Any) -> Any:
    """A schedule that both sides can call."""
    return RATE / 10 * (step + 1)


FALLS = {3: 0.5, 9: 0.1}
DECAYS: Any = {"weight_decay": 0.3}
FASTER: Any = (lambda step: 1 - 0.5 / (step + 1), lambda step: 0.2 * step)
CASES: dict[str, tuple[optim.Optimizer, Callable[[Any], Any]]] = {
    "adabelief": (optim.adabelief(RATE), lambda o: o.adabelief(RATE)),
    "adabelief, eps": (
        optim.adabelief(_warmup, 0.8, 0.95, 1e-3, 1e-4),
        lambda o: o.adabelief(_warmup, 0.8, 0.95, 1e-3, 1e-4),
    ),
    "yogi": (optim.yogi(RATE), lambda o: o.yogi(RATE)),
    "yogi, decays": (optim.yogi(RATE, 0.8, 0.5, 1e-2), lambda o: o.yogi(RATE, 0.8, 0.5, 1e-2)),
    # Its weight of the change is 1 - b2, which is that of the paper for the paper's b2, our 1 - b2.
    "adan": (optim.adan(RATE, ahead=1 - 0.92), lambda o: o.adan(RATE)),
    "adan, decays": (
        optim.adan(_warmup, 0.9, 0.8, 0.7, 1e-3, 1e-2, decay_mask=_everywhere, ahead=1 - 0.8, **DECAYS),
        lambda o: o.adan(_warmup, 0.9, 0.8, 0.7, 1e-3, 1e-2, **DECAYS),
    ),
    "ademamix": (optim.ademamix(RATE), lambda o: o.contrib.ademamix(RATE)),
    "ademamix, schedules": (
        optim.ademamix(RATE, 0.8, 0.95, *FASTER, decay_mask=_everywhere, **DECAYS),
        lambda o: o.contrib.ademamix(RATE, 0.8, 0.95, *FASTER, **DECAYS),
    ),
    "adopt": (optim.adopt(RATE), lambda o: o.contrib.adopt(RATE)),
    "adopt, not clipped": (
        optim.adopt(RATE, 0.8, 0.9, 1e-2, clip=False),
        lambda o: o.contrib.adopt(RATE, 0.8, 0.9, 1e-2, use_clipping=False),
    ),
    "lion": (optim.lion(RATE, decay_mask=_everywhere), lambda o: o.lion(RATE)),
    "lion, decays": (
        optim.lion(_warmup, 0.8, 0.95, decay_mask=_everywhere, **DECAYS),
        lambda o: o.lion(_warmup, 0.8, 0.95, **DECAYS),
    ),
    "signum": (optim.signum(RATE), lambda o: o.signum(RATE)),
    "lamb": (optim.lamb(RATE), lambda o: o.lamb(RATE)),
    "lamb, decays": (
        optim.lamb(_warmup, 0.8, 0.95, 1e-3, decay_mask=_everywhere, **DECAYS),
        lambda o: o.lamb(_warmup, 0.8, 0.95, 1e-3, **DECAYS),
    ),
    "lars": (optim.lars(1.0), lambda o: o.lars(1.0)),
    "lars, decays": (
        optim.lars(_warmup, 0.8, True, 0.3, 0.1, 0.01, decay_mask=_everywhere),
        lambda o: o.lars(_warmup, 0.3, trust_coefficient=0.1, eps=0.01, momentum=0.8, nesterov=True),
    ),
    "prodigy": (optim.prodigy(), lambda o: o.contrib.prodigy()),
    "prodigy, options": (
        optim.prodigy(_warmup, 0.8, 0.95, 0.9, 1e-3, 0.1, 2.0, 0.3, safeguard_warmup=True),
        lambda o: o.contrib.prodigy(_warmup, (0.8, 0.95), 0.9, 1e-3, 0.1, 2.0, 0.3, safeguard_warmup=True),
    ),
    "schedule_free": (
        optim.schedule_free(optim.sgd(RATE)),
        lambda o: o.contrib.schedule_free(o.sgd(RATE), RATE),
    ),
    "schedule_free, warm-up": (
        # Its schedule counts from 1 for the weights and from 0 for the steps.
        optim.schedule_free(optim.sgd(_warmup), b1=0.8, rate=lambda step: _warmup(step + 1), power=1.5),
        lambda o: o.contrib.schedule_free(o.sgd(_warmup), _warmup, b1=0.8, weight_lr_power=1.5),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_twenty_steps(name: str) -> None:
    import jax.numpy as jnp
    import optax

    optimizer, make = CASES[name]
    rng = np.random.default_rng(0)
    params: Any = {"b": rng.normal(size=3), "w": rng.normal(size=(4, 3))}
    noise = [{"b": rng.normal(size=3), "w": rng.normal(size=(4, 3))} for _ in range(20)]
    peer = make(optax)
    theirs: Any = {path: jnp.asarray(p) for path, p in params.items()}
    their_state, state = peer.init(theirs), optimizer.init(params)
    for step in noise:
        # Each side's own parameters enter its gradients, so that errors feed back as they do in training.
        params, state = optimizer.step(tree.map(np.add, params, step), state, params, donate=True)
        their_grads = {path: theirs[path] + step[path] for path in step}
        updates, their_state = peer.update(their_grads, their_state, theirs)
        theirs = optax.apply_updates(theirs, updates)
    for path, leaf in params.items():
        # Twenty steps of numbers near 1, each rounded to 1e-16 in another order.
        np.testing.assert_allclose(leaf, np.asarray(theirs[path]), rtol=0, atol=1e-12)


def test_what_schedule_free_averages() -> None:
    import jax.numpy as jnp
    import optax

    optimizer, peer = optim.schedule_free(optim.sgd(RATE)), optax.contrib.schedule_free(optax.sgd(RATE), RATE)
    params: Any = {"w": np.linspace(-1, 1, 4)}
    theirs: Any = {"w": jnp.asarray(params["w"])}
    state, their_state = optimizer.init(params), peer.init(theirs)
    for _ in range(20):
        params, state = optimizer.step(params, state, params)
        updates, their_state = peer.update(theirs, their_state, theirs)
        theirs = optax.apply_updates(theirs, updates)
    expected = optax.contrib.schedule_free_eval_params(their_state, theirs)["w"]
    # Numbers near 1, rounded in another order.
    np.testing.assert_allclose(optim.averaged(state, params)["w"], np.asarray(expected), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("transform", "make", "transposed"),
    [
        (optim.adaptive_grad_clip(0.1), lambda o: o.adaptive_grad_clip(0.1), False),
        (optim.clip_by_block_rms(0.5), lambda o: o.clip_by_block_rms(0.5), False),
        (optim.centralize(), lambda o: o.centralize(), True),  # their first axis is the outputs
    ],
)
def test_transforms(transform: optim.Optimizer, make: Callable[[Any], Any], transposed: bool) -> None:
    import jax.numpy as jnp
    import optax

    rng = np.random.default_rng(0)
    params: Any = {"b": rng.normal(size=3), "w": rng.normal(size=(4, 3))}
    grads: Any = {"b": rng.normal(size=3), "w": rng.normal(size=(4, 3))}

    def turned(t: Any) -> Any:
        return {path: jnp.asarray(leaf.T if transposed else leaf) for path, leaf in t.items()}

    peer = make(optax)
    theirs, _ = peer.update(turned(grads), peer.init(turned(params)), turned(params))
    ours, _ = transform.update(grads, transform.init(params), params)
    for path, leaf in ours.items():
        expected = np.asarray(theirs[path])
        np.testing.assert_allclose(leaf, expected.T if transposed else expected, rtol=0, atol=1e-14)  # roundings


def test_lookahead() -> None:
    import jax.numpy as jnp
    import optax

    peer = optax.lookahead(optax.sgd(RATE), sync_period=3, slow_step_size=0.4)
    optimizer = optim.lookahead(optim.sgd(RATE), every=3, rate=0.4)
    params: Any = {"w": np.linspace(-1, 1, 4)}
    theirs = optax.LookaheadParams.init_synced({"w": jnp.asarray(params["w"])})
    state, their_state = optimizer.init(params), peer.init(theirs)
    for _ in range(20):
        params, state = optimizer.step(params, state, params)
        updates, their_state = peer.update(theirs.fast, their_state, theirs)
        theirs = optax.apply_updates(theirs, updates)
    # Numbers near 1, rounded in another order.
    np.testing.assert_allclose(params["w"], np.asarray(theirs.fast["w"]), rtol=0, atol=1e-12)
    np.testing.assert_allclose(optim.averaged(state, params)["w"], np.asarray(theirs.slow["w"]), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("schedule", "make"),
    [
        (optim.warmup_cosine(0.1, 5, 30, 0.01, 0.02), lambda o: o.warmup_cosine_decay_schedule(0.01, 0.1, 5, 30, 0.02)),
        (optim.polynomial_decay(0.1, 20, 3.0, 0.02), lambda o: o.polynomial_schedule(0.1, 0.02, 3.0, 20)),
        (
            optim.piecewise_constant(0.1, {3: 0.5, 9: 0.1}),
            lambda o: o.piecewise_constant_schedule(0.1, {3: 0.5, 9: 0.1}),
        ),
    ],
)
def test_schedules(schedule: optim.Schedule, make: Callable[[Any], Any]) -> None:
    import optax

    theirs = make(optax)
    for step in range(40):
        # A few roundings.
        assert schedule(step) == pytest.approx(float(theirs(step)), rel=1e-12)


def test_a_schedule_of_optax_is_a_schedule() -> None:
    import optax

    theirs, ours = optim.sgd(optax.exponential_decay(0.1, 2, 0.25)), optim.sgd(optim.exponential_decay(0.1, 2, 0.25))
    params: Any = {"w": np.linspace(-1, 1, 4)}
    new, state = theirs.step(params, theirs.init(params), params)
    new, state = theirs.step(new, state, new)
    expected, expected_state = ours.step(params, ours.init(params), params)
    expected, expected_state = ours.step(expected, expected_state, expected)
    # A rounding of the rate.
    np.testing.assert_allclose(new["w"], expected["w"], rtol=1e-15)
    assert optim.current_rate(state) == pytest.approx(0.05, rel=1e-15)
