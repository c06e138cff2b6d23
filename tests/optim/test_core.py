"""Lifting, chaining, records of calls, and the step and rate of a state."""

import copy
import pickle
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any

import numpy as np
import pytest

from funcnn.optim import (
    Optimizer,
    adam,
    adamw,
    add_momentum,
    chain,
    clip_by_global_norm,
    clip_by_value,
    cosine_decay,
    current_rate,
    current_step,
    lift,
    scale_by_rate,
    sgd,
    transform,
)
from funcnn.recorded import recorded

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
    def rule(g: Any, state: Any, p: Any, hyper: Any, u: Any, new_state: Any) -> None:
        u[...] = hyper["strength"] * g + p * hyper["step"]
        new_state["sum"][...] = state["sum"] + g

    optimizer = lift("sum_up", rule, slots=("sum",), rates={"strength": lambda step: step + 1.0})
    params, grads = {"a": np.array(2.0), "b": {"c": np.full(2, 3.0)}}, {"a": np.array(5.0), "b": {"c": np.full(2, 7.0)}}
    updates, state = optimizer.update(grads, optimizer.init(params), params)
    assert updates["a"] == 5.0
    updates, state = optimizer.update(grads, state, params)
    assert updates["a"] == 2 * 5 + 2
    np.testing.assert_array_equal(updates["b"]["c"], [17.0, 17.0])
    np.testing.assert_array_equal(state["sum"]["b"]["c"], [14.0, 14.0])
    assert state["strength"] == 2.0


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


def halve(g: Any, state: Any, p: Any, hyper: Any, u: Any, new_state: Any) -> None:
    np.divide(g, 2, out=u)


@recorded
def halved(rate: float) -> Optimizer:
    return chain(lift("halve", halve), sgd(rate))


def test_the_repr_of_a_chain_is_its_call() -> None:
    assert repr(chain(clip_by_global_norm(1.0), adamw(0.001))) == "chain(clip_by_global_norm(1.0), adamw(0.001))"
    assert repr(chain(lift("halve", halve), adam(cosine_decay(1e-3, 10)))).startswith("chain(halve, adam(cosine_decay(")


def test_a_lifted_rule_has_no_record() -> None:
    everything = transform("everything", lambda grads, slots, params, hyper: (grads, slots))
    for optimizer in (lift("halve", halve), everything, chain(lift("halve", halve), sgd(0.1))):
        for copied in (pickle.dumps, copy.deepcopy):
            with pytest.raises(TypeError, match=r"no recorded call .* cannot be pickled .*@funcnn\.recorded\.recorded"):
                copied(optimizer)
    assert repr(lift("halve", halve)) == "halve"
    assert repr(everything) == "everything"


def test_a_constructor_of_ones_own_is_recorded_by_decoration() -> None:
    optimizer = halved(0.5)
    assert repr(optimizer) == "halved(0.5)"
    copied = pickle.loads(pickle.dumps(optimizer))
    updates, _ = copied.update(GRADS, copied.init(PARAMS), PARAMS)
    assert (updates["dense_0"]["w"] == -0.25).all()


def test_a_record_holds_for_the_update_that_it_made_only() -> None:
    optimizer = replace(adam(0.1), update=lambda grads, state, params: (grads, state))
    assert repr(optimizer) == "<adam(0.1) with another update>"
    for copied in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match=r"<adam\(0\.1\) with another update> has no recorded call"):
            copied(optimizer)
    renamed = replace(adam(0.1), kind="mine")
    assert repr(pickle.loads(pickle.dumps(renamed))) == "adam(0.1)"


@pytest.mark.parametrize("make", [lambda: scale_by_rate(0.1), lambda: sgd(0.1), lambda: clip_by_value(0.1)])
def test_a_chain_runs_the_update_that_replaced_another(make: Callable[[], Optimizer]) -> None:
    optimizer = make()

    @wraps(optimizer.update)
    def doubled(grads: Any, state: Any, params: Any) -> Any:
        return {"w": 2 * grads["w"]}, state

    params = grads = {"w": np.ones(2)}
    for update in (doubled, lambda grads, state, params: doubled(grads, state, params)):
        outer = chain(replace(optimizer, update=update), sgd(1.0))
        updates, _ = outer.update(grads, outer.init(params), params)
        assert (updates["w"] == -2).all()


def test_a_rule_for_the_whole_tree_stands_between_rules_for_one_array() -> None:
    def rule(grads: Any, slots: Any, params: Any, hyper: Any) -> Any:
        total = slots["total"]["w"] + grads["w"] * hyper["factor"]
        return {"w": total}, {"total": {"w": total}}

    summed = transform("summed", rule, slots=("total",), rates={"factor": lambda step: step + 1.0})
    optimizer = chain(scale_by_rate(0.5), summed, summed, clip_by_value(100.0))
    params = grads = {"w": np.ones(2)}
    updates, state = optimizer.update(grads, optimizer.init(params), params)
    assert list(state) == ["scale_by_rate", "summed", "summed_1"]
    updates, state = optimizer.update(grads, state, params)
    # -0.5, then twice that more; the second sums these two, the later one twice.
    assert (state["summed"]["total"]["w"] == -1.5).all()
    assert (updates["w"] == -0.5 - 2 * 1.5).all()
    assert state["summed"]["factor"] == 2
    with pytest.raises(ValueError, match="summed: expected a state of"):
        optimizer.update(grads, {"scale_by_rate": state["scale_by_rate"]}, params)
    wrong = {"summed": state["summed"] | {"total": {"w": np.ones(3)}}}
    with pytest.raises(ValueError, match=r"w: expected state 'total' of the parameter's shape \(2,\), got \(3,\)"):
        optimizer.update(grads, state | wrong, params)
