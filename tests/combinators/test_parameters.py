"""Shared, frozen and recomputed layers: gradients by hand, what is kept in memory, what optimizers leave alone."""

import weakref
from typing import Any

import numpy as np
import pytest

import funcnn as fn
from funcnn.aliases import Array, Params, Rng
from funcnn.protocol import Vjp
from funcnn.testing import check_layer

X = np.array([[1.0, 2.0], [3.0, -1.0]])


def test_tied_weights_add_their_gradients() -> None:
    model = fn.tied(fn.serial(fn.dense(2, bias=False), fn.dense(2, bias=False)), {"dense_1/w": "dense_0/w"})
    params = {"dense_0": {"w": np.array([[1.0, 2.0], [0.0, 1.0]])}}
    assert fn.tree.paths(model.init((2,), 0)) == ["dense_0/w"]
    y, vjp_fn = model.apply(params, X)
    w = params["dense_0"]["w"]
    np.testing.assert_array_equal(y, X @ w @ w)
    dy = np.array([[1.0, 0.0], [2.0, -1.0]])
    grads, dx = vjp_fn(dy)
    np.testing.assert_array_equal(grads["dense_0"]["w"], X.T @ (dy @ w.T) + (X @ w).T @ dy)
    np.testing.assert_array_equal(dx, dy @ w.T @ w.T)
    assert fn.predict(model, params, X).tolist() == y.tolist()


def test_a_target_may_be_the_transpose_and_a_whole_layer() -> None:
    plain = fn.serial(fn.dense(3, bias=False), fn.tanh, fn.dense(2, bias=False))
    model = fn.tied(plain, {"dense_1/w": "dense_0/w"}, transpose=True)
    params = {"dense_0": {"w": np.arange(6.0).reshape(2, 3) / 10}}
    w = params["dense_0"]["w"]
    np.testing.assert_allclose(model.apply(params, X)[0], np.tanh(X @ w) @ w.T, rtol=1e-14)
    whole = fn.tied(fn.repeat(fn.dense(2), 3), {"dense_1": "dense_0", "dense_2": "dense_0"})
    assert fn.tree.paths(whole.init((2,), 0)) == ["dense_0/b", "dense_0/w"]
    params, x = whole.init((2,), 0), X.astype(np.float32)
    y, _ = whole.apply(params, x)
    own = {f"dense_{number}": params["dense_0"] for number in range(3)}
    np.testing.assert_array_equal(y, fn.repeat(fn.dense(2), 3).apply(own, x)[0])


@pytest.mark.parametrize(
    ("ties", "message"),
    [
        ({"dense_1/w": "dense_9/w"}, "tied: there are no parameters at 'dense_9/w'; there are"),
        ({"dense_9/w": "dense_0/w"}, "tied: there are no parameters at 'dense_9/w'"),
        (
            {"dense_1/w": "dense_0/w"},
            r"tied: dense_1/w has shape \(3, 2\), and dense_0/w \(2, 3\); they must be the same",
        ),
        ({"dense_1": "dense_0/w"}, "tied: dense_1 has parameters that dense_0/w lacks"),
    ],
)
def test_ties_that_do_not_fit_raise_at_init(ties: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fn.tied(fn.serial(fn.dense(3), fn.dense(2)), ties).init((2,), 0)


@pytest.mark.parametrize("ties", [{}, {"a": "a"}, {"a": "b", "b": "c"}, {"a/w": "a"}])
def test_ties_in_a_chain_raise(ties: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"tied: expected {target: source}, where no source is a target itself"):
        fn.tied(fn.dense(3), ties)


def test_parameters_at_a_target_raise() -> None:
    model = fn.tied(fn.repeat(fn.dense(2), 2), {"dense_1": "dense_0"})
    own = fn.dense(2).init((2,), 0)
    with pytest.raises(ValueError, match=r"tied: expected no parameters at \['dense_1/b', 'dense_1/w'\]"):
        model.apply({"dense_0": own, "dense_1": own}, X.astype(np.float32))
    with pytest.raises(ValueError, match=r"tied: expected parameters at \['dense_0'\]"):
        model.apply({}, X.astype(np.float32))


def encoder_and_head() -> tuple[fn.Layer, Params]:
    inner = fn.serial(fn.dense(3), fn.batch_norm(), fn.dropout(0.5))
    model = fn.serial(fn.named("encoder", fn.frozen(inner)), fn.named("head", fn.dense(2)))
    params = fn.tree.cast(model.init((2,), 0), np.float64)
    params["encoder"]["batch_norm_0"] |= {"mean": np.array([1.0, 0.0, -1.0]), "var": np.array([1.0, 4.0, 9.0])}
    return model, params


def test_a_frozen_layer_predicts_in_training_and_learns_nothing() -> None:
    model, params = encoder_and_head()
    y, vjp_fn = model.apply(params, X, rng=0)
    np.testing.assert_array_equal(y, model.apply(params, X)[0])
    grads, dx = vjp_fn(np.ones_like(y))
    assert set(fn.tree.leaves(grads["encoder"])) == {None}
    assert fn.tree.paths(grads) == fn.tree.paths(params)
    assert dx is not None
    # Nothing else: neither calibration nor an optimizer touches it.
    assert fn.calibrate(model, params, X)["encoder"]["batch_norm_0"]["mean"].tolist() == [1, 0, -1]
    optimizer = fn.adamw(0.1)
    updates, state = optimizer.update(grads, optimizer.init(params), params)
    moved = fn.apply_updates(params, updates)
    for path, leaf in fn.tree.flatten(params).items():
        same = np.array_equal(fn.tree.flatten(moved)[path], leaf)
        assert same == path.startswith("encoder"), path
    optimizer.update(grads, state, moved)


def test_the_backward_pass_stops_before_the_first_layer_that_is_learned() -> None:
    asked: list[str] = []

    def watching(name: str) -> Any:
        def apply(params: Params, x: Array, rng: Rng | None = None) -> tuple[Array, Vjp]:
            def vjp_fn(dy: Array, input_grad: bool = True) -> tuple[Params, Array | None]:
                asked.append(f"{name} {input_grad}")
                return {"w": np.zeros(1)}, dy if input_grad else None

            return x, vjp_fn

        return fn.as_layer(((lambda shape, rng: {"w": np.zeros(1, np.float32)}), apply))

    first = fn.frozen(fn.serial(watching("a"), watching("b")))
    model = fn.serial(fn.serial(first), watching("c"), fn.frozen(watching("d")), watching("e"))
    params = fn.tree.cast(model.init((2,), 0), np.float64)
    y, vjp_fn = model.apply(params, X, rng=0)
    grads, _ = vjp_fn(y, input_grad=False)
    assert asked == ["e True", "d True", "c False"]
    assert fn.tree.paths(grads) == fn.tree.paths(params)
    assert set(fn.tree.leaves(grads["serial_0"])) == {None} == set(fn.tree.leaves(grads["frozen_0"]))


def test_remat_keeps_only_its_input_and_gives_the_same_bits() -> None:
    seen: list[weakref.ref[Array]] = []

    def apply(params: Params, x: Array) -> tuple[Array, Any]:
        y = x + 1
        seen.append(weakref.ref(y))
        return y, lambda dy: ({}, dy * x)

    block = fn.serial(((lambda shape, rng: {}), apply), fn.dropout(0.5), ((lambda shape, rng: {}), apply), fn.dense(2))
    params = fn.tree.cast(block.init((2,), 0), np.float64)
    found = []
    for model in (block, fn.remat(block)):
        seen.clear()
        y, vjp_fn = model.apply(params, X, rng=0)
        alive = [ref() is not None for ref in seen]
        found.append((alive, y, vjp_fn(y), vjp_fn(y)))
    (kept, y, (grads, dx), _), (recomputed, same_y, (same_grads, same_dx), (again, _)) = found
    # The first output goes into a new array of dropout's; the second is the input of the dense layer.
    assert (kept, recomputed) == ([False, True], [False, False])
    np.testing.assert_array_equal(same_y, y)
    np.testing.assert_array_equal(same_dx, dx)
    for one, other, third in zip(*map(fn.tree.leaves, (grads, same_grads, again)), strict=True):
        assert np.array_equal(one, other)
        assert np.array_equal(one, third)


def test_a_part_of_a_model_is_a_model() -> None:
    model = fn.serial(fn.dense(4), fn.relu, fn.named("block", fn.residual(fn.dense(4), fn.tanh)), fn.dense(2))
    params, x = model.init((3,), 0), np.ones((2, 3), np.float32)
    outputs = fn.outputs(model, params, x)
    first, first_params = fn.part(model, params, slice(3))
    np.testing.assert_array_equal(fn.predict(first, first_params, x), outputs["block"])
    assert first_params["block"] is params["block"]
    last, last_params = fn.part(model, params, slice(3, None))
    assert list(last_params) == ["dense_1"]
    np.testing.assert_array_equal(fn.predict(last, last_params, outputs["block"]), outputs[""])
    inner, inner_params = fn.part(model, params, "block/dense_0")
    np.testing.assert_array_equal(fn.predict(inner, inner_params, outputs["relu_0"]), outputs["block/dense_0"])
    tied = fn.tied(fn.repeat(fn.dense(3), 2), {"dense_1": "dense_0"})
    shared = tied.init((3,), 0)
    assert fn.part(tied, shared, "dense_1")[1]["w"] is shared["dense_0"]["w"]


@pytest.mark.parametrize(
    ("which", "error", "message"),
    [
        ("decoder", ValueError, r"part: there is no layer 'decoder'; the model has \['dense_0', 'add_0'\]"),
        ("dense_0/x", ValueError, "part: there is no layer 'dense_0/x'; dense_0 has no children"),
        (slice(5, 9), ValueError, "takes none of the 2 layers"),
        (3, ValueError, "part: there is no layer 3; the model has 2 layers"),
    ],
)
def test_parts_that_do_not_exist_raise(which: Any, error: type[Exception], message: str) -> None:
    model = fn.serial(fn.dense(3), fn.add(fn.relu, fn.tanh))
    with pytest.raises(error, match=message):
        fn.part(model, model.init((3,), 0), which)
    with pytest.raises(ValueError, match="part: a slice needs layers one after the other, and add is wired otherwise"):
        fn.part(model.children["add_0"], {}, slice(1))


def dense_and_norm() -> fn.Layer:
    return fn.serial(fn.dense(2), fn.batch_norm())


@pytest.mark.parametrize("outer", [fn.remat, lambda layer: fn.tied(layer, {"dense_1": "dense_0"})])
def test_what_is_around_a_frozen_layer_is_frozen(outer: Any) -> None:
    model = fn.branch(a=outer(fn.frozen(fn.serial(fn.dense(2), fn.dense(2)))), b=fn.dense(3))
    params = model.init((2,), 0)
    y, vjp_fn = model.apply(params, X.astype(np.float32), 0)
    grads, _ = vjp_fn({"a": None, "b": np.ones_like(y["b"])})
    assert set(fn.tree.leaves(grads["a"])) == {None}
    check_layer(outer(fn.frozen(fn.serial(fn.dense(2), fn.dense(2)))), (2,))


def test_calibration_leaves_frozen_statistics_alone_in_a_recomputed_layer() -> None:
    params = fn.calibrate(dense_and_norm(), dense_and_norm().init((2,), 0), X.astype(np.float32))
    model, other = fn.remat(fn.frozen(dense_and_norm())), 5 + X.astype(np.float32)
    assert fn.calibrate(model, params, other)["batch_norm_0"]["var"] is params["batch_norm_0"]["var"]


def test_a_tie_of_a_frozen_and_a_learned_layer_raises() -> None:
    whole = fn.serial(fn.named("a", fn.frozen(fn.dense(2))), fn.named("b", fn.dense(2)))
    inside = fn.serial(fn.named("a", fn.serial(fn.dense(2))), fn.named("b", fn.serial(fn.frozen(fn.dense(2)))))
    for model in (whole, inside):
        with pytest.raises(ValueError, match="'b' and 'a' one is frozen where the other is not; freeze both"):
            fn.tied(model, {"b": "a"})


@pytest.mark.parametrize("ties", [{1: 2}, ["a"], {"a": None}])
def test_ties_are_a_dict_of_paths(ties: Any) -> None:
    with pytest.raises(TypeError, match=r"tied: expected {target: source} of paths"):
        fn.tied(fn.dense(2), ties)


def test_ties_inside_other_wrappers_and_other_ties(tmp_path: Any) -> None:
    three = fn.repeat(fn.dense(2), 3)
    twice = fn.tied(fn.tied(three, {"dense_1": "dense_0"}), {"dense_2": "dense_0"})
    x = X.astype(np.float32)
    for model, last in ((twice, "dense_2"), (fn.remat(fn.tied(three, {"dense_1": "dense_0"})), "dense_1")):
        params = model.init((2,), 0)
        layer, own = fn.part(model, params, last)
        np.testing.assert_array_equal(own["w"], params["dense_0"]["w"])
        assert layer.apply(own, x)[0].shape == (2, 2)
        fn.save_model(tmp_path / "model.npz", model, params)
        loaded, again = fn.load_model(tmp_path / "model.npz")[:2]
        np.testing.assert_array_equal(loaded.apply(again, x)[0], model.apply(params, x)[0])


def test_tied_norms_predict_with_the_statistics_of_the_first() -> None:
    names = {"a": fn.batch_norm(), "dense": fn.dense(2), "b": fn.batch_norm(), "c": fn.batch_norm()}
    model = fn.tied(fn.serial(*(fn.named(name, layer) for name, layer in names.items())), {"b": "a"})
    x = np.random.default_rng(0).standard_normal((20, 2)).astype(np.float32)
    params = fn.calibrate(model, model.init((2,), 0), x)
    np.testing.assert_allclose(params["a"]["mean"], x.mean(0), atol=1e-6)
    (visit,) = [visit for visit in fn.trace(model, params, x) if visit.path == "c"]
    np.testing.assert_allclose(params["c"]["mean"], visit.x.mean(0), atol=1e-6)
