"""The first layer that makes NaN or infinity of finite values is found, forward and backward, in any combinator."""

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import funcnn as fn
from funcnn.protocol import Layer
from funcnn.testing import microbatches

ROOT = fn.elementwise(np.sqrt, lambda x, y: 0.5 / y, name="root")  # its derivative at 0 is infinite
HUGE = fn.elementwise(lambda x: x * x.dtype.type(1e300) ** 2, lambda x, y: x * 0, name="huge")


@pytest.fixture(autouse=True)
def _floating_point_accidents_pass() -> Any:
    """The library's own error is tested here, not that of NumPy."""
    with np.errstate(all="ignore"):
        yield


def found(model: Any, x: Any, params: Any = None, rng: Any = None, dy: Any = None, **options: Any) -> Exception:
    """The error of one step of the wrapped model."""

    def step() -> None:
        y, vjp_fn = fn.debug_nonfinite(model).apply(params or {}, x, rng)
        vjp_fn(fn.tree.map(np.ones_like, y) if dy is None else dy, **options)

    with pytest.raises(fn.NonFiniteError) as caught:
        step()
    return caught.value


def block(layer: Any) -> Layer:
    return fn.serial(fn.identity, layer, fn.identity)


@fn.layer
def of_a_user(*layers: Any) -> Layer:
    return fn.serial(*layers)


@fn.layer
def hidden(layer: Any) -> Layer:
    """A combinator that cannot be built again: its second child is not among its arguments."""
    inner = fn.serial(layer, fn.identity)
    return fn.Layer(inner.init, inner.apply, children=inner.children, wiring=inner.wiring)


WAYS: list[tuple[str, Callable[[Any], Any], str]] = [
    ("alone", lambda layer: layer, ""),
    ("serial", block, "{}"),
    ("nested", lambda layer: fn.serial(fn.identity, fn.named("b", block(layer))), "b/{}"),
    ("residual", lambda layer: fn.residual(layer), "{}"),
    ("add", lambda layer: fn.serial(fn.add(fn.identity, layer)), "add_0/{}"),
    ("concat", lambda layer: fn.serial(fn.concat(fn.identity, layer)), "concat_0/{}"),
    ("remat", lambda layer: fn.serial(fn.remat(fn.serial(layer))), "remat_0/{}"),
    ("frozen", lambda layer: fn.serial(fn.frozen(fn.serial(layer))), "frozen_0/{}"),
    ("named", lambda layer: fn.serial(fn.named("own", layer)), "own"),
    ("graph", lambda layer: fn.graph({"a": (layer, "input"), "b": (fn.identity, "a")}, output="b"), "a"),
    ("branch", lambda layer: fn.branch(a=layer, b=fn.identity), "a"),
    ("of_a_user", lambda layer: fn.serial(of_a_user(fn.relu, layer)), "of_a_user_0/{}"),
    ("hidden", lambda layer: fn.serial(hidden(layer)), "hidden_0"),
]  # fmt: skip


@pytest.mark.parametrize("size", [None, 2])
@pytest.mark.parametrize(("name", "build", "path"), WAYS, ids=[name for name, *_ in WAYS])
def test_the_layer_is_found_in_any_combinator(name: str, build: Any, path: str, size: int | None) -> None:
    x = np.array([[4.0, 1.0], [1.0, 9.0], [0.0, 1.0], [1.0, 1.0], [0.0, 0.0]])
    with microbatches(size):
        error = found(build(ROOT), x)
        assert error.path == path.format("root_0")
        assert "backward: dx has 3 inf among 10 elements" in str(error)
        assert "dy was finite" in str(error)
        error = found(build(HUGE), x)
        assert error.path == path.format("huge_0")
        assert "forward: y" in str(error)
        assert " elements; its input was finite; its parameters were finite" in str(error)


def test_the_message_counts_nan_and_infinity_and_names_parameters_that_were_so_before() -> None:
    model = fn.serial(fn.dense(2), fn.relu, fn.dense(3))
    params = model.init((2,), 0)
    params["dense_1"]["b"][1:] = np.nan, np.inf
    error = found(model, np.ones((4, 2), np.float32), params)
    assert error.path == "dense_1"
    assert str(error) == (
        "layer dense_1, forward: y has 4 NaN and 4 inf among 12 elements; its input was finite; "
        "parameter b has 1 NaN and 1 inf among 3 elements"
    )
    assert pickle.loads(pickle.dumps(error)).path == "dense_1"


def test_a_gradient_of_a_parameter_is_named_and_counted() -> None:
    model = fn.serial(fn.dense(1), fn.tanh)
    x = np.array([[1e30, 0.0], [0.0, 0.0]], np.float32)
    params = {"dense_0": {"w": np.zeros((2, 1), np.float32), "b": np.zeros(1, np.float32)}}
    error = found(model, x, params, dy=np.full((2, 1), 1e30, np.float32), input_grad=False)
    assert str(error) == "layer dense_0, backward: dparams w has 1 inf among 2 elements; dy was finite"
    # Each microbatch is finite, and their sum is not.
    with microbatches(1):
        error = found(model, np.full((2, 2), 2e38, np.float32), params, dy=np.ones((2, 1), np.float32))
    assert str(error) == "layer dense_0, backward: dparams w has 2 inf among 2 elements; dy was finite"


def test_what_a_combinator_adds_up_is_its_own_fault() -> None:
    x = np.full((2, 1), 1e308)
    assert found(fn.serial(fn.relu, fn.residual(fn.relu)), x).path == "residual_0"
    assert found(fn.serial(fn.relu, fn.named("sum", fn.add(fn.relu, fn.identity))), x).path == "sum"
    # Backward, the gradients of a value that is used twice are added.
    error = found(fn.serial(fn.relu, fn.concat(fn.relu, fn.identity)), x, dy=np.full((2, 2), 1e308))
    assert error.path == "concat_0"
    assert "backward: dx has 2 inf" in str(error)


def test_what_the_model_is_called_with_is_checked_first() -> None:
    x = np.array([[1.0, np.nan]])
    assert str(found(fn.serial(fn.relu), x)) == (
        "the model, serial: its input x is not finite before any layer has run: value has 1 NaN among 2 elements"
    )
    error = found(fn.serial(fn.relu), np.ones((1, 2)), dy=np.array([[np.inf, 1]]))
    assert "the gradient dy of its output is not finite before any layer has run: value has 1 inf" in str(error)
    tokens = {"x": x, "tokens": np.array([[1]])}
    assert "value x has 1 NaN" in str(found(fn.on("x", fn.relu), tokens))


def test_parameters_that_are_not_used_may_be_nan() -> None:
    model = fn.serial(fn.batch_norm(), fn.relu)
    params = model.init((3,), 0)  # mean and var are NaN: not measured
    y, vjp_fn = fn.debug_nonfinite(model).apply(params, np.eye(3, dtype=np.float32), rng=0)
    vjp_fn(y)


MODELS = {
    "batch norm, dropout, a pair of a user's": fn.serial(
        fn.conv2d(3, 3, activation="relu"), fn.batch_norm(), fn.dropout(0.5),
        ((lambda shape, rng: {}), (lambda params, x: (2 * x, lambda dy: ({}, 2 * dy)))),
        fn.residual(fn.remat(fn.dropout(0.3))), fn.flatten, fn.dense(2),
    ),
    "frozen": fn.serial(fn.frozen(fn.serial(fn.dense(3), fn.relu)), fn.flatten, fn.dense(2)),
    "tied": fn.serial(fn.tied(fn.serial(fn.dense(1), fn.dense(1)), {"dense_1": "dense_0"}), fn.flatten),
    "tied and frozen": fn.tied(fn.frozen(fn.serial(fn.dense(1), fn.dense(1))), {"dense_1": "dense_0"}),
}  # fmt: skip


@pytest.mark.parametrize("size", [None, 2])
@pytest.mark.parametrize("name", MODELS)
def test_a_model_without_faults_has_the_same_bits_and_gradients(name: str, size: int | None) -> None:
    model, x = MODELS[name], np.random.default_rng(0).standard_normal((5, 6, 5, 1)).astype(np.float32)
    debugged, params = fn.debug_nonfinite(model), MODELS[name].init((6, 5, 1), 0)
    assert fn.tree.paths(debugged.init((6, 5, 1), 0)) == fn.tree.paths(params)
    with microbatches(size):
        results = [one.apply(params, x, rng=4) for one in (model, debugged)]
        gradients = [vjp_fn(np.cos(y)) for y, vjp_fn in results]
    assert np.array_equal(results[0][0], results[1][0])
    one, other = (fn.tree.flatten({"grads": grads, "dx": dx}) for grads, dx in gradients)
    assert one.keys() == other.keys()
    for path in one:
        assert (one[path] is None) == (other[path] is None), path
        assert one[path] is None or np.array_equal(one[path], other[path]), path


def test_other_tools_know_what_is_frozen_and_tied_in_it() -> None:
    x = np.ones((3, 2), np.float32)
    model = fn.debug_nonfinite(fn.frozen(fn.batch_norm()))
    params = model.init((2,), 0)
    assert np.isnan(fn.calibrate(model, params, x)["mean"]).all()
    tied = fn.debug_nonfinite(fn.tied(fn.serial(fn.dense(2), fn.dense(2)), {"dense_1": "dense_0"}))
    params = tied.init((2,), 0)
    assert fn.part(tied, params, "dense_1")[1]["w"] is params["dense_0"]["w"]


def test_predicting_is_checked_too() -> None:
    model = fn.debug_nonfinite(fn.serial(fn.relu, HUGE))
    with pytest.raises(fn.NonFiniteError, match="layer huge_0, forward: y has 6 inf among 6 elements"):
        fn.predict(model, {}, np.ones((3, 2)))
