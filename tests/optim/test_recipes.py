"""Every optimizer and transform is a row of one table and obeys the same laws; then each recipe by hand."""

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from funcnn import tree
from funcnn.optim import (
    Optimizer,
    adadelta,
    adagrad,
    adam,
    adamax,
    adamw,
    add_decayed_weights,
    add_momentum,
    apply_updates,
    chain,
    clip_by_global_norm,
    clip_by_value,
    current_rate,
    current_step,
    rmsprop,
    scale_by_adam,
    scale_by_rate,
    sgd,
)
from funcnn.optim.schedules import cosine_decay, linear_warmup


def _everywhere(params: Any) -> Any:
    return tree.map(lambda p: True, params)


OPTIMIZERS: dict[str, Optimizer] = {
    "sgd": sgd(0.1),
    "sgd, scheduled": sgd(cosine_decay(0.1, 10)),
    "sgd, momentum": sgd(0.1, momentum=0.9),
    "sgd, scheduled momentum": sgd(0.1, momentum=linear_warmup(0.9, 5)),
    "sgd, nesterov": sgd(0.1, momentum=0.9, nesterov=True),
    "adam": adam(0.1),
    "adamw": adamw(0.1),
    "adamw, all decay": adamw(linear_warmup(0.1, 4), weight_decay=cosine_decay(0.1, 9), decay_mask=_everywhere),
    "rmsprop": rmsprop(0.1),
    "adagrad": adagrad(0.1),
    "adadelta": adadelta(),
    "adamax": adamax(0.1),
    "clipped": chain(clip_by_global_norm(0.5), clip_by_value(linear_warmup(0.1, 5)), adam(0.1)),
    "scale_by_rate": scale_by_rate(0.1),
    "scale_by_adam": scale_by_adam(),
    "add_momentum": add_momentum(0.9),
    "add_decayed_weights": add_decayed_weights(0.1),
    "clip_by_value": clip_by_value(0.5),
    "clip_by_global_norm": clip_by_global_norm(0.5),
    "clip_by_global_norm, scheduled": clip_by_global_norm(cosine_decay(0.5, 10)),
}
every_optimizer = pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)

shapes = st.sampled_from([(), (1,), (3,), (0,), (2, 3), (2, 0), (2, 1, 3)])
shape_trees = st.recursive(
    shapes, lambda t: st.dictionaries(st.sampled_from(["rate", "step", "w", "m"]), t), max_leaves=5
)


def _like(shape_tree: Any, seed: int, dtype: type = np.float64) -> Any:
    rng = np.random.default_rng(seed)
    if isinstance(shape_tree, dict):
        return {name: _like(child, seed + i, dtype) for i, (name, child) in enumerate(shape_tree.items(), 1)}
    return _frozen(np.asarray(rng.normal(size=shape_tree), dtype))


def _frozen(array: Any) -> Any:
    array.flags.writeable = False
    return array


def _bits(t: Any) -> dict[str, Any]:
    return {path: (leaf.dtype, leaf.shape, leaf.tobytes()) for path, leaf in tree.flatten(t).items()}


def _run(optimizer: Optimizer, params: Any, grads: Sequence[Any], state: Any = None) -> tuple[Any, Any]:
    state = optimizer.init(params) if state is None else state
    for g in grads:
        updates, state = optimizer.update(g, state, params)
        params = apply_updates(params, updates)
    return params, state


@every_optimizer
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(shape_tree=shape_trees, seed=st.integers(0, 1000), dtype=st.sampled_from([np.float32, np.float64]))
def test_laws(optimizer: Optimizer, shape_tree: Any, seed: int, dtype: type) -> None:
    params = _like(shape_tree, seed, dtype)
    grads = [_like(shape_tree, seed + 10 * i, dtype) for i in range(1, 5)]
    first = optimizer.init(params)
    updates, state = optimizer.update(grads[0], tree.map(_frozen, first), params)

    # An update is like its parameter, and the state holds arrays of the same dtype, counts and rates, nothing else.
    assert tree.paths(updates) == tree.paths(params)
    for u, p in zip(tree.leaves(updates), tree.leaves(params), strict=True):
        assert isinstance(u, np.ndarray)
        assert (u.dtype, u.shape) == (p.dtype, p.shape)
    for path, leaf in tree.flatten(state).items():
        assert type(leaf) is np.ndarray
        if leaf.dtype != dtype:
            assert leaf.shape == ()
            assert leaf.dtype == (np.int64 if path.endswith("step") else np.float64)
    assert tree.paths(state) == tree.paths(first)

    # The same arguments give the same bits.
    again, state_again = optimizer.update(grads[0], first, params)
    assert _bits(updates) == _bits(again)
    assert _bits(state) == _bits(state_again)

    # A run that was stopped and resumed from a copy ends like one that was not.
    end, end_state = _run(optimizer, params, grads)
    half, half_state = _run(optimizer, params, grads[:2])
    resumed, resumed_state = _run(optimizer, half, grads[2:], copy.deepcopy(half_state))
    assert _bits(end) == _bits(resumed)
    assert _bits(end_state) == _bits(resumed_state)


@every_optimizer
def test_unmeasured_statistics_and_zero_gradients_harm_nobody(optimizer: Optimizer) -> None:
    params = {"norm": {"mean": np.full(2, np.nan), "var": np.full((2, 1), np.nan)}, "w": np.ones((2, 2), np.float64)}
    grads = tree.map(np.zeros_like, params)
    updates, state = optimizer.update(grads, optimizer.init(params), params)
    updates, _ = optimizer.update(grads, state, apply_updates(params, updates))
    assert np.isfinite(updates["w"]).all()


# Gradients 1 then 3 from a parameter of 2 at a rate of 0.1; each formula is written out for these two steps.
ADAM_M = [0.1, 0.9 * 0.1 + 0.1 * 3]
ADAM_V = [0.001, 0.999 * 0.001 + 0.001 * 9]
ADAM = [
    m / (1 - 0.9**t) / (math.sqrt(v / (1 - 0.999**t)) + 1e-8) for t, m, v in zip((1, 2), ADAM_M, ADAM_V, strict=True)
]
ADADELTA_1 = math.sqrt(1e-6) / math.sqrt(0.1 + 1e-6)
ADADELTA_2 = math.sqrt(0.1 * ADADELTA_1**2 + 1e-6) / math.sqrt(0.9 * 0.1 + 0.1 * 9 + 1e-6) * 3


@pytest.mark.parametrize(
    ("optimizer", "first", "second"),
    [
        (sgd(0.1), 1.9, 1.6),
        (sgd(0.1, momentum=0.5), 1.9, 1.9 - 0.1 * (0.5 * 1 + 3)),
        (sgd(0.1, momentum=0.5, nesterov=True), 2 - 0.1 * 1.5, 1.85 - 0.1 * (0.5 * 3.5 + 3)),
        (adam(0.1), 2 - 0.1 * ADAM[0], 2 - 0.1 * (ADAM[0] + ADAM[1])),
        (
            adamw(0.1, weight_decay=0.5, decay_mask=_everywhere),
            2 * 0.95 - 0.1 * ADAM[0],
            (2 * 0.95 - 0.1 * ADAM[0]) * 0.95 - 0.1 * ADAM[1],
        ),
        (
            rmsprop(0.1, decay=0.75),
            2 - 0.1 / math.sqrt(0.25),
            2 - 0.1 / math.sqrt(0.25) - 0.1 * 3 / math.sqrt(0.75 * 0.25 + 0.25 * 9),
        ),
        (adagrad(0.1), 1.9, 1.9 - 0.1 * 3 / math.sqrt(1 + 9)),
        (adadelta(), 2 - ADADELTA_1, 2 - ADADELTA_1 - ADADELTA_2),
        (adamax(0.1), 1.9, 1.9 - 0.1 * (0.09 + 0.3) / (1 - 0.9**2) / 3),
    ],
    ids=["sgd", "momentum", "nesterov", "adam", "adamw", "rmsprop", "adagrad", "adadelta", "adamax"],
)
def test_s1_24_two_steps_by_hand(optimizer: Optimizer, first: float, second: float) -> None:
    params = {"w": np.array([2.0])}
    one, state = _run(optimizer, params, [{"w": np.array([1.0])}])
    two, _ = _run(optimizer, one, [{"w": np.array([3.0])}], state)
    # An eps of 1e-8 beside numbers near 1, which some of the formulas above leave out.
    assert one["w"][0] == pytest.approx(first, abs=1e-8)
    assert two["w"][0] == pytest.approx(second, abs=1e-8)


@pytest.mark.parametrize("make", [sgd, adam, adamw, rmsprop, adagrad, adadelta, adamax])
def test_s1_23_the_rate_scales_the_step(make: Callable[[float], Optimizer]) -> None:
    params, grads = {"w": np.ones((2, 2))}, {"w": np.full((2, 2), 0.3)}
    small, large = (make(rate).update(grads, make(rate).init(params), params)[0]["w"] for rate in (0.01, 0.5))
    # One multiplication apart.
    np.testing.assert_allclose(large, 50 * small, rtol=1e-14)
    assert (large < 0).all()


def test_s2_2_biases_learn_at_the_rate_of_weights_whatever_the_batch() -> None:
    params = {"b": np.zeros(2), "w": np.zeros((3, 2))}
    grads = {"b": np.full(2, 4.0), "w": np.full((3, 2), 4.0)}
    init, update = sgd(0.5)
    updates, _ = update(grads, init(params), params)
    assert (updates["b"] == -2).all()
    assert (updates["w"] == -2).all()


@pytest.mark.parametrize("make", [adam, rmsprop, adadelta, adamax], ids=lambda make: make.__name__)
def test_s1_24_no_recipe_diverges_on_a_bowl(make: Callable[[float], Optimizer]) -> None:
    optimizer = make(0.01)
    params: Any = {"w": np.array([[1.0, -2.0]])}
    state = optimizer.init(params)
    for _ in range(500):
        updates, state = optimizer.update(params, state, params)  # the gradient of |w|² / 2 is w
        params = apply_updates(params, updates)
    assert np.linalg.norm(params["w"]) < np.linalg.norm([1.0, -2.0])


def test_adamw_spares_biases_and_takes_a_mask_by_path() -> None:
    params = {"dense": {"b": np.ones(2), "w": np.ones((2, 2))}, "norm": {"scale": np.ones(2)}, "t": np.array(1.0)}
    grads = tree.map(np.zeros_like, params)
    optimizer = adamw(0.1, weight_decay=0.5)
    moved = optimizer.update(grads, optimizer.init(params), params)[0]
    assert (moved["dense"]["w"] == -0.05).all()
    assert not any(leaf.any() for leaf in (moved["dense"]["b"], moved["norm"]["scale"], moved["t"]))
    by_path = adamw(0.1, weight_decay=0.5, decay_mask=lambda p: tree.map_with_path(lambda path, _: path == "t", p))
    moved = by_path.update(grads, by_path.init(params), params)[0]
    assert moved["t"] == -0.05
    assert not moved["dense"]["w"].any()


def test_the_state_tells_step_and_rate() -> None:
    optimizer = adam(cosine_decay(0.1, steps=4))
    params = {"rate": np.ones(2), "step": np.ones(2)}
    state = optimizer.init(params)
    assert current_step(state) == 0
    assert math.isnan(current_rate(state))
    rates = []
    for _ in range(3):
        _, state = optimizer.update(params, state, params)
        rates.append(current_rate(state))
    assert current_step(state) == 3
    assert rates == [cosine_decay(0.1, steps=4)(step) for step in range(3)]


@pytest.mark.parametrize("bad", [-0.1, math.nan, math.inf])
def test_bad_rates_raise_at_construction_or_at_the_update(bad: float) -> None:
    params = grads = {"w": np.ones((2, 2))}
    makers: list[tuple[str, Callable[[Any], Optimizer]]] = [
        ("rate", make) for make in (sgd, adam, adamw, rmsprop, adagrad, adadelta, adamax, scale_by_rate)
    ]
    makers += [
        ("momentum", lambda rate: sgd(0.1, momentum=rate)),
        ("weight_decay", lambda rate: adamw(0.1, weight_decay=rate)),
        ("limit", clip_by_value),
        ("max_norm", clip_by_global_norm),
    ]
    for name, make in makers:
        with pytest.raises(ValueError, match=f"^{name}: expected a finite number that is not negative, got {bad}"):
            make(bad)
        optimizer = make(lambda step: bad if step == 1 else 0.1)
        _, state = optimizer.update(grads, optimizer.init(params), params)
        with pytest.raises(ValueError, match=f"^{name} at step 1: expected a finite number .*, got {bad}"):
            optimizer.update(grads, state, params)


@pytest.mark.parametrize(
    "make", [lambda b: adam(0.1, b1=b), lambda b: adamax(0.1, b2=b), lambda b: rmsprop(0.1, decay=b)]
)
def test_decays_are_fractions(make: Callable[[float], Optimizer]) -> None:
    with pytest.raises(ValueError, match=r"expected a number in \[0, 1\), got 1"):
        make(1.0)


@pytest.mark.parametrize("make", [adam, adamw, rmsprop, adagrad, adadelta, adamax])
def test_eps_is_positive(make: Callable[..., Optimizer]) -> None:
    with pytest.raises(ValueError, match="eps: expected a positive number, got 0"):
        make(0.1, eps=0)


def test_nesterov_without_momentum() -> None:
    with pytest.raises(ValueError, match="got momentum=0; try momentum=0.9".replace(".", r"\.")):
        sgd(0.1, nesterov=True)
