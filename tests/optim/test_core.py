"""Lifting, chaining, and what an update refuses."""

from typing import Any

import numpy as np
import pytest

from funcnn.optim import (
    Optimizer,
    adam,
    add_momentum,
    apply_updates,
    chain,
    clip_by_global_norm,
    clip_by_value,
    current_rate,
    current_step,
    lift,
    scale_by_adam,
    scale_by_rate,
    sgd,
)

PARAMS = {"dense_0": {"b": np.zeros(2), "w": np.ones((3, 2))}}
GRADS = {"dense_0": {"b": np.ones(2), "w": np.ones((3, 2))}}


def test_an_optimizer_unpacks_to_the_pair() -> None:
    optimizer = sgd(0.1)
    init, update = optimizer
    assert init is optimizer.init
    assert update is optimizer.update


def test_the_state_is_keyed_by_kind_and_stateless_transforms_leave_no_entry() -> None:
    optimizer = chain(clip_by_value(1.0), add_momentum(0.9), adam(1e-3), add_momentum(0.5))
    state = optimizer.init(PARAMS)
    assert list(state) == ["add_momentum", "scale_by_adam", "scale_by_rate", "add_momentum_1"]
    _, after = optimizer.update(GRADS, state, PARAMS)
    assert list(after) == list(state)
    assert set(after["scale_by_adam"]) == {"m", "v", "step"}
    assert set(after["scale_by_rate"]) == {"rate", "step"}
    assert sgd(0.1).init({"w": np.ones(1)}).keys() == {"scale_by_rate"}


def test_transforms_act_in_their_order() -> None:
    params, grads = {"w": np.zeros(1)}, {"w": np.array([4.0])}
    clip_last = chain(scale_by_rate(0.5), clip_by_value(1.0))
    clip_first = chain(clip_by_value(1.0), scale_by_rate(0.5))
    assert clip_last.update(grads, clip_last.init(params), params)[0]["w"] == -1.0
    assert clip_first.update(grads, clip_first.init(params), params)[0]["w"] == -0.5


def test_a_chain_in_a_chain_is_one_chain() -> None:
    nested = chain(clip_by_global_norm(1.0), chain(add_momentum(0.9), sgd(0.1)))
    flat = chain(clip_by_global_norm(1.0), add_momentum(0.9), scale_by_rate(0.1))
    assert [part.kind for part in nested.transforms] == [part.kind for part in flat.transforms]
    updates, state = nested.update(GRADS, flat.init(PARAMS), PARAMS)
    expected, _ = flat.update(GRADS, flat.init(PARAMS), PARAMS)
    np.testing.assert_array_equal(updates["dense_0"]["w"], expected["dense_0"]["w"])
    assert current_step(state) == 1


def test_a_rule_for_one_array_serves_any_tree() -> None:
    def rule(g: Any, old: Any, p: Any, now: Any, u: Any, new: Any) -> None:
        u[...] = now["strength"] * g + p * now["step"]
        new["sum"][...] = old["sum"] + g

    optimizer = lift("sum_up", rule, slots=("sum",), rates={"strength": lambda step: step + 1.0})
    params, grads = {"a": np.array(2.0), "b": {"c": np.full(2, 3.0)}}, {"a": np.array(5.0), "b": {"c": np.full(2, 7.0)}}
    updates, state = optimizer.update(grads, optimizer.init(params), params)
    assert updates["a"] == 5.0
    updates, state = optimizer.update(grads, state, params)
    assert updates["a"] == 2 * 5 + 2
    np.testing.assert_array_equal(updates["b"]["c"], [17.0, 17.0])
    np.testing.assert_array_equal(state["sum"]["b"]["c"], [14.0, 14.0])
    assert state["strength"] == 2.0


@pytest.mark.parametrize("optimizer", [sgd(0.1), adam(0.1), clip_by_global_norm(1.0), add_momentum(0.9)])
def test_gradients_that_are_not_like_the_parameters(optimizer: Optimizer) -> None:
    state = optimizer.init(PARAMS)
    w, b = GRADS["dense_0"]["w"], GRADS["dense_0"]["b"]
    with pytest.raises(ValueError, match=r"trees differ.*dense_0/w"):
        optimizer.update({"dense_0": {"b": b}}, state, PARAMS)
    with pytest.raises(ValueError, match=r"dense_0/b: expected a gradient of .* shape \(2,\), got \(1,\)"):
        optimizer.update({"dense_0": {"b": b[:1], "w": w}}, state, PARAMS)
    with pytest.raises(ValueError, match=r"dense_0/b: expected a gradient of .* shape \(2,\), got \(1, 2\)"):
        optimizer.update({"dense_0": {"b": b[None], "w": w}}, state, PARAMS)
    with pytest.raises(TypeError, match=r"dense_0/w: expected a gradient of .* float64, got float32; use tree.cast"):
        optimizer.update({"dense_0": {"b": b, "w": w.astype(np.float32)}}, state, PARAMS)


def test_a_state_of_something_else() -> None:
    optimizer = adam(0.1)
    with pytest.raises(ValueError, match=r"chain: expected a state of .*got \['add_momentum'\] in it"):
        optimizer.update(GRADS, sgd(0.1, 0.9).init(PARAMS), PARAMS)
    with pytest.raises(
        ValueError, match=r"scale_by_adam: expected a state of \['m', 'step', 'v'\], got \[\]; use init"
    ):
        optimizer.update(GRADS, {}, PARAMS)
    other = {"dense_0": {"b": np.zeros(1), "w": np.ones((3, 1))}}
    with pytest.raises(ValueError, match=r"dense_0/b: expected state 'm' of the parameter's shape \(2,\), got \(1,\)"):
        optimizer.update(GRADS, optimizer.init(other), PARAMS)
    with pytest.raises(ValueError, match=r"scale_by_adam: expected a state of .*, got NoneType"):
        scale_by_adam().update(GRADS, None, PARAMS)  # type: ignore[arg-type]


def test_parameters_are_floats() -> None:
    with pytest.raises(TypeError, match="dense_0/n: expected parameters of floats, got int64"):
        sgd(0.1).init({"dense_0": {"n": np.arange(3)}})


def test_updates_are_added_to_their_own_parameters_only() -> None:
    with pytest.raises(ValueError, match=r"w: expected an update of the parameter's shape \(2,\), got \(\)"):
        apply_updates({"w": np.ones(2)}, {"w": np.array(1.0)})
    with pytest.raises(TypeError, match="w: expected an update of the parameter's dtype float32, got float64"):
        apply_updates({"w": np.ones(2, np.float32)}, {"w": np.ones(2)})
    with pytest.raises(ValueError, match="trees differ"):
        apply_updates({"w": np.ones(2)}, {"b": np.ones(2)})


def test_chain_takes_optimizers() -> None:
    with pytest.raises(TypeError, match=r"chain: expected optimizers, got <function.*; call it: adam\(\.\.\.\)"):
        chain(adam)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least one transform"):
        chain()


def test_states_that_count_nothing() -> None:
    state = chain(add_momentum(0.9)).init(PARAMS)
    with pytest.raises(ValueError, match=r"counts steps, got \['add_momentum'\]"):
        current_step(state)
    with pytest.raises(ValueError, match=r"a chain with scale_by_rate, got one of \['add_momentum'\]"):
        current_rate(state)
