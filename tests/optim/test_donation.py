"""What is donated is as it was after every error that can come before the first write; and huge gradients."""

from typing import Any

import numpy as np
import pytest

import funcnn as fn


@pytest.mark.parametrize("error", ["raises", "forgets its update", "returns another shape"])
def test_an_error_of_a_rule_for_the_whole_tree_leaves_what_was_donated_as_it_was(error: str) -> None:
    def rule(grads: Any, slots: Any, params: Any, hyper: Any) -> Any:
        if error == "raises":
            raise OSError("stop")
        return (grads, {"m": 1}) if error == "forgets its update" else ({"w": np.ones(7)}, slots)

    bad = fn.transform("bad", rule)
    good = fn.transform("good", lambda grads, slots, params, hyper: (grads, slots))
    params, grads = {"w": np.arange(3.0)}, {"w": np.ones(3)}
    for before in (fn.add_momentum(0.9), fn.scale_by_adam(), fn.chain(fn.add_momentum(0.9), good, fn.scale_by_adam())):
        optimizer = fn.chain(before, bad, fn.add_momentum(0.5), fn.scale_by_rate(0.1))
        state = optimizer.init(params)
        leaves = [leaf.copy() for leaf in fn.tree.leaves(state)]
        with pytest.raises((OSError, ValueError)):
            optimizer.step(grads, state, params, donate=True)
        assert params["w"].tolist() == [0, 1, 2]
        for leaf, old in zip(fn.tree.leaves(state), leaves, strict=True):
            np.testing.assert_array_equal(leaf, old)


def test_only_what_follows_a_rule_for_the_whole_tree_is_written_in_place() -> None:
    optimizer = fn.chain(fn.add_momentum(0.9), fn.clip_by_global_norm(1.0), fn.add_momentum(0.5), fn.scale_by_rate(0.1))
    params, grads = {"w": np.arange(3.0)}, {"w": np.ones(3)}
    state = optimizer.init(params)
    pure = optimizer.step(grads, state, params)
    new, after = optimizer.step(grads, state, params, donate=True)
    assert new["w"] is params["w"]
    first, second = ("add_momentum", "add_momentum_1")
    assert after[first]["m"]["w"] is not state[first]["m"]["w"]
    assert after[second]["m"]["w"] is state[second]["m"]["w"]
    assert [leaf.tobytes() for leaf in fn.tree.leaves({"p": new, "s": after})] == [
        leaf.tobytes() for leaf in fn.tree.leaves({"p": pure[0], "s": pure[1]})
    ]


@pytest.mark.parametrize("make", [fn.sgd, fn.adam, fn.adamw, fn.adamax, fn.rmsprop, fn.adagrad, fn.adadelta])
@pytest.mark.parametrize("size", [1e19, 1e25, 3e38])
def test_a_huge_finite_gradient_makes_no_parameter_nan(make: Any, size: float) -> None:
    for optimizer in (make(1e-3), fn.chain(fn.clip_by_global_norm(1.0), make(1e-3))):
        params = {"w": np.ones(2, np.float32)}
        state = optimizer.init(params)
        for g in (1.0, size, -size, 1.0, 0.0):
            params, state = optimizer.step({"w": np.array([g, 1], np.float32)}, state, params)
            assert np.isfinite(params["w"]).all()
        if optimizer.transforms[0].kind == "clip_by_global_norm":
            assert all(np.isfinite(leaf).all() for leaf in fn.tree.leaves(state))
