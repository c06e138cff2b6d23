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
    clip_by_global_norm,
    scale_by_adam,
    sgd,
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
    with pytest.raises(TypeError, match=r"dense_0/z: expected parameters of floats, got complex128; use tree.cast"):
        sgd(0.1).init({"dense_0": {"z": np.ones(3, complex)}})
    with pytest.raises(TypeError, match="the root: expected parameters of floats, got <U1"):
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
    with pytest.raises(TypeError, match=f"w: expected a gradient as a plain array, got {name}; use np.asarray"):
        sgd(0.1).update({"w": other}, sgd(0.1).init({"w": w}), {"w": w})
    with pytest.raises(TypeError, match=f"w: expected a parameter as a plain array, got {name}; use np.asarray"):
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
