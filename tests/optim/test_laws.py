"""Every optimizer and transform of the table obeys the same laws."""

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optimizer_table import (
    OPTIMIZERS,
    WRAPPED,
    bits,
    every_optimizer_and_wrapper,
    everywhere,
    frozen,
    like,
    matrices,
    run,
    some,
)

import funcnn.optim
from funcnn import tree
from funcnn.optim import (
    Optimizer,
    Schedule,
    adadelta,
    adagrad,
    adam,
    adamax,
    adamw,
    add_momentum,
    apply_updates,
    clip_by_global_norm,
    clip_by_value,
    cosine_decay,
    current_rate,
    current_step,
    rmsprop,
    scale_by_adadelta,
    scale_by_adagrad,
    scale_by_adam,
    scale_by_adamax,
    scale_by_rate,
    scale_by_rmsprop,
    sgd,
)

shapes = st.sampled_from([(), (1,), (3,), (0,), (2, 3), (2, 0), (2, 1, 3)])
shape_trees = st.recursive(
    shapes, lambda t: st.dictionaries(st.sampled_from(["rate", "step", "w", "m"]), t), max_leaves=5
)


@every_optimizer_and_wrapper
@settings(max_examples=25)
@given(shape_tree=shape_trees, seed=st.integers(0, 1000), dtype=st.sampled_from([np.float32, np.float64]))
def test_laws(optimizer: Optimizer, shape_tree: Any, seed: int, dtype: type) -> None:
    params = like(shape_tree, seed, dtype)
    grads = [like(shape_tree, seed + 10 * i, dtype) for i in range(1, 5)]
    first = optimizer.init(params)
    updates, state = optimizer.update(grads[0], tree.map(frozen, first), params)

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
    assert bits(updates) == bits(again)
    assert bits(state) == bits(state_again)

    # A run that was stopped and resumed from a copy ends like one that was not.
    end, end_state = run(optimizer, params, grads)
    half, half_state = run(optimizer, params, grads[:2])
    resumed, resumed_state = run(optimizer, half, grads[2:], copy.deepcopy(half_state))
    assert bits(end) == bits(resumed)
    assert bits(end_state) == bits(resumed_state)


@every_optimizer_and_wrapper
def test_unmeasured_statistics_and_zero_gradients_harm_nobody(optimizer: Optimizer) -> None:
    params = {"norm": {"mean": np.full(2, np.nan), "var": np.full((2, 1), np.nan)}, "w": np.ones((2, 2), np.float64)}
    grads = tree.map(np.zeros_like, params)
    updates, state = optimizer.update(grads, optimizer.init(params), params)
    updates, _ = optimizer.update(grads, state, apply_updates(params, updates))
    assert np.isfinite(updates["w"]).all()


@every_optimizer_and_wrapper
@pytest.mark.parametrize("large", [False, True], ids=["grouped", "alone"])
def test_a_parameter_without_a_gradient_keeps_its_bits_and_those_of_its_state(
    optimizer: Optimizer, large: bool
) -> None:
    w = np.linspace(-1, 1, 5000 if large else 4).reshape(-1, 2)
    params = {"frozen": w, "inner": {"n": np.arange(3), "used": np.array([True])}, "w": w.copy(), "b": np.ones(2)}
    grads = {"b": np.full(2, 0.5), "frozen": None, "inner": {"used": None, "n": None}, "w": w + 1}
    state = optimizer.init(params)
    # A state that is not zero: frozen after one step.
    _, state = optimizer.update(grads | {"frozen": w}, state, params)
    updates, new_state = optimizer.update(grads, state, params)
    new_params = apply_updates(params, updates)
    assert updates["frozen"] is None
    assert updates["inner"] == {"n": None, "used": None}
    assert new_params["frozen"] is params["frozen"]
    assert new_params["inner"]["n"] is params["inner"]["n"]
    assert new_params["inner"]["used"] is params["inner"]["used"]
    before, after = bits(state), bits(new_state)
    for path in before:
        if "frozen" in path or "inner" in path:
            assert after[path] == before[path]

    # The others move as they do without it.
    alone = {name: params[name] for name in ("w", "b")}
    without, state = optimizer.update({name: grads[name] for name in alone}, optimizer.init(alone), alone)
    _, first = optimizer.update(grads, optimizer.init(params), params)
    assert bits(without) == bits({n: optimizer.update(grads, optimizer.init(params), params)[0][n] for n in alone})
    assert bits(state).items() <= bits(first).items()


@every_optimizer_and_wrapper
def test_the_call_that_makes_an_optimizer_is_its_repr(optimizer: Optimizer) -> None:
    names = vars(funcnn.optim) | {"everywhere": everywhere, "matrices": matrices, "some": some}
    copied = eval(repr(optimizer), names)
    assert repr(copied) == repr(optimizer)
    assert same_steps(copied, optimizer)


@every_optimizer_and_wrapper
@pytest.mark.parametrize("how", [lambda o: pickle.loads(pickle.dumps(o)), copy.deepcopy, copy.copy])
def test_a_copy_makes_the_same_bits(optimizer: Optimizer, how: Callable[[Optimizer], Optimizer]) -> None:
    copied = how(optimizer)
    assert copied is not optimizer
    assert repr(copied) == repr(optimizer)
    assert same_steps(copied, optimizer)


def same_steps(one: Optimizer, other: Optimizer) -> bool:
    params, grads = (like({"w": (3, 2), "b": (2,)}, seed) for seed in (0, 1))
    (p, s), (q, t) = (run(optimizer, params, [grads] * 6) for optimizer in (one, other))
    return bits({"params": p, "state": s}) == bits({"params": q, "state": t})


def test_every_constructor_is_in_the_table() -> None:
    calls = " ".join(map(repr, (OPTIMIZERS | WRAPPED).values()))
    others = {
        "apply_updates",
        "as_optimizer",
        "as_schedule",
        "averaged",
        "current_rate",
        "current_step",
        "lbfgs",
        "lift",
        "Minimum",
        "sam",
        "report_metric",
        "transform",
        "Optimizer",
        "OptimizerLike",
        "Rate",
        "Schedule",
    }
    assert [name for name in funcnn.optim.__all__ if name not in others and f"{name}(" not in calls] == []


def test_what_a_repr_looks_like() -> None:
    assert repr(adam(1e-3)) == "adam(0.001)"
    assert repr(OPTIMIZERS["clipped"]).startswith("chain(clip_by_global_norm(0.5), clip_by_value(linear_warmup(0.1, ")
    assert repr(sgd(0.1, 0.9, nesterov=True)) == "sgd(0.1, momentum=0.9, nesterov=True)"


@pytest.mark.parametrize("make", [sgd, adam, adamw, rmsprop, adagrad, adadelta, adamax])
def test_s1_23_the_rate_scales_the_step(make: Callable[[float], Optimizer]) -> None:
    params, grads = {"w": np.ones((2, 2))}, {"w": np.full((2, 2), 0.3)}
    small, large = (make(rate).update(grads, make(rate).init(params), params)[0]["w"] for rate in (0.01, 0.5))
    # One multiplication apart.
    np.testing.assert_allclose(large, 50 * small, rtol=1e-14)
    assert (large < 0).all()


@pytest.mark.parametrize("make", [adam, rmsprop, adadelta, adamax], ids=lambda make: make.__name__)
def test_s1_24_no_recipe_diverges_on_a_bowl(make: Callable[[float], Optimizer]) -> None:
    optimizer = make(0.01)
    params: Any = {"w": np.array([[1.0, -2.0]])}
    state = optimizer.init(params)
    for _ in range(500):
        updates, state = optimizer.update(params, state, params)  # the gradient of |w|² / 2 is w
        params = apply_updates(params, updates)
    assert np.linalg.norm(params["w"]) < np.linalg.norm([1.0, -2.0])


def test_the_state_holds_step_and_rate() -> None:
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


RATES: list[tuple[str, Callable[[Any], Optimizer]]] = [
    *(("scale_by_rate: rate", make) for make in (sgd, adam, adamw, rmsprop, adagrad, adadelta, adamax, scale_by_rate)),
    ("add_momentum: momentum", lambda rate: sgd(0.1, momentum=rate)),
    ("add_momentum: momentum", add_momentum),
    ("add_decayed_weights: weight_decay", lambda rate: adamw(0.1, weight_decay=rate)),
    ("clip_by_value: limit", clip_by_value),
    ("clip_by_global_norm: max_norm", clip_by_global_norm),
]


@pytest.mark.parametrize("bad", [-0.1, math.nan, math.inf])
@pytest.mark.parametrize(("name", "make"), RATES)
def test_bad_rates_raise_at_construction_or_at_the_update(
    name: str, make: Callable[[Any], Optimizer], bad: float
) -> None:
    params = grads = {"w": np.ones((2, 2))}
    with pytest.raises(ValueError, match=f"^{name}: expected a finite number that is not negative, got {bad}"):
        make(bad)
    optimizer = make(lambda step: bad if step == 1 else 0.1)
    _, state = optimizer.update(grads, optimizer.init(params), params)
    with pytest.raises(ValueError, match=f"^{name} at step 1: expected a finite number .*, got {bad}"):
        optimizer.update(grads, state, params)


@pytest.mark.parametrize(("name", "make"), RATES)
def test_rates_are_numbers_or_schedules(name: str, make: Callable[[Any], Optimizer]) -> None:
    for bad in ("0.1", None, True):
        with pytest.raises(TypeError, match=f"^{name}: expected a number, got {bad!r}"):
            make(bad)


@pytest.mark.parametrize(("name", "make"), RATES)
def test_a_rate_of_numpy_leaves_float32_as_it_is(name: str, make: Callable[[Any], Optimizer]) -> None:
    params = {"w": np.ones((2, 2), np.float32)}
    rate = np.float64(0.3)
    for optimizer in (make(rate), make(lambda step: rate)):
        updates, _ = optimizer.update(params, optimizer.init(params), params)
        assert updates["w"].dtype == np.float32
        expected = make(0.3).update(params, make(0.3).init(params), params)[0]
        assert bits(updates) == bits(expected)


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("scale_by_adam: b1", lambda b: adam(0.1, b1=b)),
        ("scale_by_adam: b2", lambda b: adamw(0.1, b2=b)),
        ("scale_by_adamax: b2", lambda b: adamax(0.1, b2=b)),
        ("scale_by_adamax: b1", lambda b: scale_by_adamax(b1=b)),
        ("scale_by_rmsprop: decay", lambda b: rmsprop(0.1, decay=b)),
        ("scale_by_adadelta: rho", lambda b: adadelta(rho=b)),
    ],
)
def test_decays_are_fractions(name: str, make: Callable[[float], Optimizer]) -> None:
    with pytest.raises(ValueError, match=rf"^{name}: expected a number in \[0, 1\), got 1"):
        make(1.0)


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("scale_by_adam", adam),
        ("scale_by_adam", adamw),
        ("scale_by_rmsprop", rmsprop),
        ("scale_by_adagrad", adagrad),
        ("scale_by_adadelta", adadelta),
        ("scale_by_adamax", adamax),
    ],
)
def test_eps_is_positive(name: str, make: Callable[..., Optimizer]) -> None:
    with pytest.raises(ValueError, match=f"^{name}: eps: expected a positive number, got 0"):
        make(0.1, eps=0)


@pytest.mark.parametrize(
    "transform", [scale_by_adam, scale_by_adamax, scale_by_rmsprop, scale_by_adagrad, scale_by_adadelta]
)
def test_an_eps_of_numpy_leaves_float32_as_it_is(transform: Callable[..., Optimizer]) -> None:
    params = {"w": np.ones((2, 2), np.float32)}
    found, expected = (
        optimizer.update(params, optimizer.init(params), params)
        for optimizer in (transform(eps=np.float64(1e-3)), transform(eps=1e-3))
    )
    assert bits({"updates": found[0], "state": found[1]}) == bits({"updates": expected[0], "state": expected[1]})


def test_a_schedule_is_called_once_for_each_update() -> None:
    steps: list[int] = []

    def rate(step: int) -> float:
        steps.append(step)
        return 0.1

    schedule: Schedule = rate
    run(sgd(schedule), {"w": np.ones(2)}, [{"w": np.ones(2)}] * 3)
    assert steps == [0, 1, 2]
