"""The walk: paths, what each layer sees, and the calibration of batch norm."""

import re
from typing import Any

import numpy as np
import pytest

import funcnn as fn
from funcnn.inspect.traverse import watched
from funcnn.protocol import Layer

MODEL = fn.serial(
    fn.named("stem", fn.dense(4)),
    fn.residual(fn.dense(4), fn.add(fn.tanh, fn.relu)),
    fn.concat(fn.dense(2), fn.identity, axis=1),
)
PATHS = [
    "stem", "residual_0/dense_0", "residual_0/add_0/tanh_0", "residual_0/add_0/relu_0", "residual_0/add_0",
    "residual_0", "concat_0/dense_0", "concat_0/identity_0", "concat_0", "",
]  # fmt: skip


def test_rebuild_meets_every_layer_once_children_first() -> None:
    seen: list[str] = []

    def look(path: str, layer: Layer) -> Layer:
        seen.append(path)
        return layer

    rebuilt = fn.rebuild(MODEL, look)
    assert seen == PATHS
    assert repr(rebuilt) == repr(MODEL)


def test_whoever_watches_a_combinator_also_sees_it_predict() -> None:
    seen: list[int] = []

    def noting(path: str, layer: Layer) -> Layer:
        def apply(params: Any, x: Any, rng: Any = None) -> Any:
            seen.append(len(x))
            return layer.apply(params, x, rng)

        return watched(layer, apply) if path == "" else layer

    params, x = MODEL.init((3,), 0), np.ones((5, 3), np.float32)
    assert np.array_equal(fn.predict(fn.rebuild(MODEL, noting), params, x), fn.predict(MODEL, params, x))
    assert seen == [5]


def test_a_rebuilt_model_has_the_same_parameters_and_answers() -> None:
    rebuilt = fn.rebuild(MODEL, lambda path, layer: layer)
    params, same = MODEL.init((3,), 0), rebuilt.init((3,), 0)
    assert fn.tree.paths(params) == fn.tree.paths(same)
    x = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    assert np.array_equal(MODEL.apply(params, x)[0], rebuilt.apply(same, x)[0])


def test_rebuild_replaces_and_leaves_the_model_alone() -> None:
    model = fn.serial(fn.relu, fn.named("bend", fn.relu))
    linear = fn.rebuild(model, lambda path, layer: fn.identity if layer.kind == "relu" else layer)
    x = np.array([[-1.0]])
    assert linear.apply({}, x)[0].tolist() == [[-1]]
    assert list(linear.children) == ["relu_0", "bend"]
    assert model.apply({}, x)[0].tolist() == [[0]]


def test_trace_notes_what_each_layer_is_given_and_answers() -> None:
    params, x = MODEL.init((3,), 0), np.ones((5, 3), np.float32)
    visits = fn.trace(MODEL, params, x)
    assert [visit.path for visit in visits] == PATHS
    by_path = {visit.path: visit for visit in visits}
    assert by_path["stem"].x is x
    assert by_path["stem"].params is params["stem"]
    assert by_path["residual_0/dense_0"].x is by_path["stem"].y
    assert by_path[""].y.shape == (5, 6)
    assert np.array_equal(by_path[""].y, MODEL.apply(params, x)[0])


def test_trace_of_a_bare_pair_and_of_training() -> None:
    pair = (lambda shape, rng: {}), (lambda params, x: (x, lambda dy: ({}, dy)))
    assert [visit.path for visit in fn.trace(pair, {}, np.ones((1, 2)))] == [""]
    x = np.ones((1, 100))
    trained = fn.trace(fn.dropout(0.5), {}, x, rng=0)[0].y
    assert (trained == 0).any()
    assert np.array_equal(fn.trace(fn.dropout(0.5), {}, x)[0].y, x)


def normed() -> tuple[Layer, Any, Any]:
    """A model with two batch norms, one behind the other, and examples far from mean 0 and variance 1."""
    model = fn.serial(fn.batch_norm(), fn.relu, fn.dropout(0.5), fn.named("block", fn.serial(fn.batch_norm())))
    x = (5 + 3 * np.random.default_rng(0).standard_normal((1000, 4))).astype(np.float32)
    return model, model.init((4,), 0), x


def test_calibrate_measures_layer_by_layer_as_they_will_predict() -> None:
    model, params, x = normed()
    calibrated = fn.calibrate(model, params, x)
    first = calibrated["batch_norm_0"]
    np.testing.assert_allclose(first["mean"], x.mean(0), rtol=1e-5)
    np.testing.assert_allclose(first["var"], x.var(0), rtol=1e-5)
    # The second sees what the first answers on those statistics, without dropout.
    hidden = np.maximum((x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5), 0)
    second = calibrated["block"]["batch_norm_0"]
    np.testing.assert_allclose(second["mean"], hidden.mean(0), rtol=1e-4)
    np.testing.assert_allclose(second["var"], hidden.var(0), rtol=1e-4)
    assert fn.tree.map(lambda p: p.dtype, calibrated) == fn.tree.map(lambda p: p.dtype, params)


def test_calibrate_changes_nothing_else() -> None:
    model, params, x = normed()
    calibrated = fn.calibrate(model, params, x)
    assert np.isnan(params["batch_norm_0"]["mean"]).all()
    assert calibrated["batch_norm_0"]["scale"] is params["batch_norm_0"]["scale"]
    with pytest.raises(ValueError, match="calibrate: expected some examples to measure, got none"):
        fn.calibrate(model, params, x[:0])


def test_calibrate_of_a_model_that_measures_nothing_is_the_same_parameters() -> None:
    params = MODEL.init((3,), 0)
    calibrated = fn.calibrate(MODEL, params, np.ones((2, 3), np.float32))
    assert all(a is b for a, b in zip(fn.tree.leaves(calibrated), fn.tree.leaves(params), strict=True))


def test_calibrate_of_a_batch_norm_alone() -> None:
    model = fn.batch_norm()
    params = fn.calibrate(model, model.init((1,), 0), np.array([[1.0], [5.0]], np.float32))
    assert (params["mean"].tolist(), params["var"].tolist()) == ([3], [4])


def test_the_advice_for_an_uncalibrated_batch_norm_works_when_taken_literally() -> None:
    model, params, x = normed()
    with pytest.raises(ValueError, match="mean and var have not been measured") as caught:
        model.apply(params, x)
    assert caught.value.__notes__ == ["in layer batch_norm_0, with an input of shape (1000, 4)"]
    advice = re.search(r"call (params = .*?\)) ", str(caught.value))
    assert advice is not None
    names = {"fn": fn, "model": model, "params": params, "x": x}
    exec(advice[1], names)
    y, _ = model.apply(names["params"], x)
    assert np.isfinite(y).all()


def test_a_constructor_of_ones_own_that_puts_layers_together_can_be_walked() -> None:
    @fn.layer
    def block(units: int, times: int = 1) -> fn.Layer:
        return fn.serial(*[fn.dense(units), fn.batch_norm(activation="relu")] * times)

    model = fn.serial(block(4, times=2), fn.residual(block(4)))
    params, x = model.init((3,), 0), np.random.default_rng(0).random((8, 3), np.float32)
    params = fn.calibrate(model, params, x)
    visits = fn.trace(model, params, x)
    assert [visit.path for visit in visits if not visit.layer.children] == [
        "block_0/dense_0",
        "block_0/batch_norm_0",
        "block_0/dense_1",
        "block_0/batch_norm_1",
        "residual_0/block_0/dense_0",
        "residual_0/block_0/batch_norm_0",
    ]
    again = fn.rebuild(model, lambda path, layer: layer)
    assert repr(again) == repr(model) == "serial(block(4, times=2), residual(block(4)))"
    assert np.array_equal(again.apply(params, x)[0], visits[-1].y)
    # What was rebuilt can be rebuilt.
    assert [v.path for v in fn.trace(again, params, x)] == [v.path for v in visits]
