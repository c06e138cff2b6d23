"""Gradients, updates and states that are not like the parameters."""

import gc
import weakref
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
    lift,
    masked,
    scale_by_adam,
    scale_by_rate,
    sgd,
    transform,
)

PARAMS = {"dense_0": {"b": np.zeros(2), "w": np.ones((3, 2))}}
GRADS = {"dense_0": {"b": np.ones(2), "w": np.ones((3, 2))}}


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
    # Integers and booleans may stand beside them, as long as nobody has a gradient for them.
    params = {"dense_0": {"n": np.arange(3), "used": np.array([True])}}
    for optimizer in (sgd(0.1), adam(0.1), clip_by_global_norm(1.0)):
        state = optimizer.init(params)
        grads = {"dense_0": {"n": np.arange(3), "used": None}}
        with pytest.raises(TypeError, match="dense_0/n: expected parameters of floats, got int64"):
            optimizer.update(grads, state, params)
    with pytest.raises(TypeError, match="dense_0/n: expected parameters of floats, got int64"):
        apply_updates(params, {"dense_0": {"n": np.arange(3), "used": None}})
    with pytest.raises(
        TypeError, match=r"dense_0/z: expected parameters of float32 or float64, got complex128; use tree.cast"
    ):
        sgd(0.1).init({"dense_0": {"z": np.ones(3, complex)}})
    with pytest.raises(TypeError, match="the root: expected parameters of float32 or float64, got <U1"):
        sgd(0.1).init(np.array("w"))


def test_updates_are_added_to_their_own_parameters_only() -> None:
    with pytest.raises(ValueError, match=r"w: expected an update of the parameter's shape \(2,\), got \(\)"):
        apply_updates({"w": np.ones(2)}, {"w": np.array(1.0)})
    with pytest.raises(TypeError, match="w: expected an update of the parameter's dtype float32, got float64"):
        apply_updates({"w": np.ones(2, np.float32)}, {"w": np.ones(2)})
    with pytest.raises(ValueError, match="trees differ"):
        apply_updates({"w": np.ones(2)}, {"b": np.ones(2)})
    for bad in ({"w": np.ones(2), "b": np.ones(2)}, {"w": {"w": np.ones(2)}}, {}, np.ones(2)):
        with pytest.raises(ValueError, match="trees differ"):
            apply_updates({"w": np.ones(2)}, bad)
    with pytest.raises(ValueError, match="trees differ"):
        apply_updates({"w": {"w": np.ones(2)}}, {"w": np.ones(2)})
    with pytest.raises(TypeError, match="w: a tree is made of dicts, got a list"):
        apply_updates({"w": np.ones(2)}, {"w": [1.0, 1.0]})


def test_gradients_in_another_order_are_those_of_the_same_names() -> None:
    grads = {"dense_0": {"w": np.full((3, 2), 2.0), "b": np.ones(2)}}
    updates, _ = sgd(0.5).update(grads, sgd(0.5).init(PARAMS), PARAMS)
    assert list(updates["dense_0"]) == ["b", "w"]
    assert (updates["dense_0"]["b"] == -0.5).all()
    assert (updates["dense_0"]["w"] == -1).all()


def test_names_that_swap_a_leaf_and_a_dict_differ() -> None:
    one, two = np.ones(2), np.ones(2)
    with pytest.raises(ValueError, match="trees differ"):
        apply_updates({"a": {"b": one}, "c": two}, {"a": one, "b": {"c": two}})


@pytest.mark.parametrize("convert", [float, np.float64])
def test_numbers_may_stand_for_arrays_of_no_axes(convert: Any) -> None:
    params, grads = {"t": convert(2.0), "w": np.ones(2)}, {"t": convert(3.0), "w": np.ones(2)}
    updates, state = sgd(0.5, 0.5).update(grads, sgd(0.5, 0.5).init(params), params)
    assert updates["t"] == -1.5
    assert state["add_momentum"]["m"]["t"] == 3
    assert apply_updates(params, updates)["t"] == 0.5
    assert apply_updates(np.ones(2), np.ones(2)).tolist() == [2, 2]


@pytest.mark.parametrize("convert", [float, np.float64])
def test_numbers_may_be_gradients_and_slots_of_arrays(convert: Any) -> None:
    params, optimizer = {"t": np.array(2.0)}, add_momentum(0.5)
    for g, m in ((convert(3.0), np.array(1.0)), (np.array(3.0), convert(1.0))):
        updates, state = optimizer.update({"t": g}, {"m": {"t": m}}, params)
        assert updates["t"] == state["m"]["t"] == 3.5
        assert type(updates["t"]) is np.ndarray


def test_arrays_in_a_file_are_arrays(tmp_path: Any) -> None:
    np.save(tmp_path / "w.npy", np.ones(3))
    w = np.load(tmp_path / "w.npy", mmap_mode="r")
    new = apply_updates({"w": w}, {"w": w})["w"]
    assert type(new) is np.ndarray
    assert (new == 2).all()


@pytest.mark.filterwarnings("ignore:the matrix subclass")
@pytest.mark.parametrize("subclass", [np.ma.MaskedArray, np.matrix])
def test_arrays_that_mean_something_else(subclass: Any) -> None:
    w = np.zeros((1, 2))
    other = subclass(w)
    name = type(other).__name__
    with pytest.raises(TypeError, match=f"w: expected a plain array as a gradient, got {name}; use "):
        sgd(0.1).update({"w": other}, sgd(0.1).init({"w": w}), {"w": w})
    with pytest.raises(TypeError, match=f"w: expected a plain array as a parameter, got {name}; use "):
        apply_updates({"w": other}, {"w": w})


def test_an_update_leaves_no_garbage() -> None:
    # A cycle would keep a step's arrays until the collector runs, and their memory could not be used again.
    optimizer = adam(0.1)
    state = optimizer.init(PARAMS)
    gc.collect()
    gc.disable()
    try:
        updates, state = optimizer.update(GRADS, state, PARAMS)
        held = weakref.ref(updates["dense_0"]["w"])
        params = apply_updates(PARAMS, updates)
        del updates
        assert held() is None
        assert params["dense_0"]["w"].shape == (3, 2)
    finally:
        gc.enable()


# --- slots that are not like the parameter ---------------------------------------------------------------------------


def normalized(g: Any, state: Any, p: Any, hyper: Any, u: Any, new_state: Any) -> None:
    """The gradient by the root of its mean square so far, one number for a parameter; p at the start stays."""
    np.add(state["square"], np.mean(g * g), out=new_state["square"])
    new_state["start"][...] = state["start"]
    np.divide(g, np.sqrt(new_state["square"]), out=u)
    u += p - state["start"]


NORMALIZED = lift(
    "normalized", normalized, slots={"square": lambda p: np.zeros((), p.dtype), "start": lambda p: p}, in_place=True
)


@pytest.mark.parametrize("donate", [False, True])
def test_a_slot_has_a_start_of_its_own(donate: bool) -> None:
    params: Any = {"w": np.full((2, 3), 2.0, np.float32), "b": np.ones(4, np.float32)}
    grads = {"w": np.full((2, 3), 3.0, np.float32), "b": np.full(4, 4.0, np.float32)}
    optimizer = chain(NORMALIZED, scale_by_rate(0.5))
    state = optimizer.init(params)
    slots = state["normalized"]
    assert {name: leaf.shape for name, leaf in slots["square"].items()} == {"w": (), "b": ()}
    assert all((slots["start"][name] == params[name]).all() for name in params)
    assert not any(np.shares_memory(slots["start"][name], params[name]) for name in params)
    first, state = optimizer.step(grads, state, params, donate)
    # Each parameter by its own norm, whatever their sizes: 3 / 3 and 4 / 4.
    assert (first["w"] == 1.5).all()
    assert (first["b"] == 0.5).all()
    assert state["normalized"]["square"] == {"w": 9, "b": 16}
    assert state["normalized"]["square"]["w"].dtype == np.float32
    second, state = optimizer.step(grads, state, first, donate)
    np.testing.assert_allclose(second["w"], 1.5 - 0.5 * (3 / np.sqrt(18) - 0.5), rtol=1e-6)
    assert slots["square"]["w"] == (18 if donate else 0)
    assert (second["w"] is params["w"]) == donate


def test_the_arrays_of_a_slot_are_those_that_its_start_gives() -> None:
    params = {"w": np.ones((2, 3)), "b": np.ones(4), "n": np.arange(2)}
    grads = {"w": np.ones((2, 3)), "b": np.ones(4), "n": None}
    state = NORMALIZED.init(params)
    for slot, wrong, error, message in (
        ("square", np.zeros(1), ValueError, r"w: expected state 'square' of shape \(\), got \(1,\)"),
        ("square", np.zeros((), np.float32), TypeError, "w: expected state 'square' of dtype float64, got float32"),
        ("start", np.zeros(3), ValueError, r"w: expected state 'start' of shape \(2, 3\), got \(3,\)"),
    ):
        with pytest.raises(error, match=message):
            NORMALIZED.step(grads, state | {slot: state[slot] | {"w": wrong}}, params)
    # Nothing is known about that of a parameter without a gradient.
    NORMALIZED.step(grads, state | {"start": state["start"] | {"n": np.zeros(9)}}, params)
    # It does not take an init to know the shapes: a run is resumed from a file.
    other = lift("normalized", normalized, slots={"square": lambda p: np.zeros((), p.dtype), "start": np.copy})
    other.step(grads, state, params)


def test_a_start_is_called_once_for_each_shape_after_the_init() -> None:
    calls: list[Any] = []

    def start(p: Any) -> Any:
        calls.append(p.shape)
        return np.zeros(p.shape[:-1])

    rule = lift("rows", lambda g, state, p, hyper, u, new_state: np.copyto(u, g), slots={"rows": start})
    params = {"a": np.ones((2, 3)), "b": np.ones((2, 3)), "c": np.ones(4)}
    state = rule.init(params)
    assert calls == [(2, 3), (2, 3), (4,)]
    for _ in range(3):
        rule.step(params, state, params)
    assert calls[3:] == [(2, 3), (4,)]


def test_whole_parameters_of_any_size_go_through_a_rule_that_is_not_elementwise() -> None:
    met: list[Any] = []

    def rule(g: Any, state: Any, p: Any, hyper: Any, u: Any, new_state: Any) -> None:
        met.append((g.shape, p.shape, u.shape, state["count"].shape))
        np.add(state["count"], 1, out=new_state["count"])
        np.multiply(g, new_state["count"][0], out=u)

    optimizer = chain(
        masked(lift("counted", rule, slots={"count": lambda p: np.zeros(1, np.int64)}), "[wx]*"), scale_by_rate(1.0)
    )
    shapes: Any = {"w": (2, 3), "wide": (1100, 1000), "x": (), "x0": (0, 3), "b": (5,)}
    params = {name: np.ones(shape, np.float32) for name, shape in shapes.items()}
    state = optimizer.init(params)
    for _ in range(2):
        params, state = optimizer.step(params, state, {name: np.zeros_like(p) for name, p in params.items()})
        # An empty one has nothing to do.
        assert sorted(met) == sorted((shapes[name],) * 3 + ((1,),) for name in ("w", "wide", "x"))
        met.clear()
    assert {name: p.flat[0] for name, p in params.items() if p.size} == {"w": 2, "wide": 2, "x": 2, "b": 1}
    assert {name: count.item() for name, count in state["counted"]["count"].items()} == {
        "w": 2, "wide": 2, "x": 2, "x0": 0
    }  # fmt: skip


def test_starts_that_are_not_functions_or_return_no_array() -> None:
    with pytest.raises(TypeError, match=r"bad: the start of 'm': expected a function of \(p\), got 0"):
        lift("bad", normalized, slots={"m": 0})  # type: ignore[dict-item]
    with pytest.raises(TypeError, match="bad: expected an array as the start of 'm' for w, got a float"):
        lift("bad", normalized, slots={"m": lambda p: 0.0}).init({"w": np.ones(1)})  # type: ignore[dict-item, return-value]
    with pytest.raises(ValueError, match=r"bad: expected slots and rates of different names, got \['m'\] twice"):
        lift("bad", normalized, slots=("m",), rates={"m": lambda step: 1.0})


def test_one_array_as_the_start_of_several_is_copied() -> None:
    ones = np.ones(1)
    rule = transform("whole", lambda grads, slots, params, hyper: (grads, slots), slots={"m": lambda p: ones})
    state = rule.init({"a": ones, "b": ones})
    assert not any(np.shares_memory(m, ones) for m in state["m"].values())
    assert not np.shares_memory(state["m"]["a"], state["m"]["b"])
