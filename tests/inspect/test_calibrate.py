"""Calibration measures the mean and variance of the input of each batch norm, as the layers before it will predict."""

import re
from typing import Any

import numpy as np
import pytest

import funcnn as fn
from funcnn.protocol import Layer
from funcnn.testing import microbatches


def normed() -> tuple[Layer, Any, Any]:
    """A model with two batch norms, one after the other, and examples far from mean 0 and variance 1."""
    model = fn.serial(fn.batch_norm(), fn.relu, fn.dropout(0.5), fn.named("block", fn.serial(fn.batch_norm())))
    x = (5 + 3 * np.random.default_rng(0).standard_normal((1000, 4))).astype(np.float32)
    return model, model.init((4,), 0), x


def test_calibrate_measures_layer_by_layer_as_they_will_predict() -> None:
    model, params, x = normed()
    calibrated = fn.calibrate(model, params, x)
    first = calibrated["batch_norm_0"]
    np.testing.assert_allclose(first["mean"], x.mean(0), rtol=1e-5)
    np.testing.assert_allclose(first["var"], x.var(0), rtol=1e-5)
    # The input of the second is the output of the first with those statistics, without dropout.
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
    model = fn.serial(fn.dense(4), fn.residual(fn.tanh))
    params = model.init((3,), 0)
    calibrated = fn.calibrate(model, params, np.ones((2, 3), np.float32))
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


@pytest.mark.parametrize("examples", [1, 7, 16])
def test_calibrate_of_a_batch_that_is_cut_is_that_of_the_whole_batch_to_rounding(examples: int) -> None:
    block = fn.serial(fn.conv2d(3, 3), fn.batch_norm(activation="relu"), fn.dropout(0.5))
    model = fn.serial(block, fn.residual(fn.batch_norm(), fn.concat(fn.batch_norm(), fn.identity), fn.conv2d(3, 1)))
    x = 2 + np.random.default_rng(0).standard_normal((40, 7, 6, 2))
    params = fn.tree.cast(model.init((7, 6, 2), 0), np.float64)
    with microbatches(None):
        whole = fn.tree.flatten(fn.calibrate(model, params, x))
    with microbatches(examples):
        cut = fn.tree.flatten(fn.calibrate(model, params, x))
    assert whole.keys() == cut.keys()
    assert sum(path.endswith("/mean") for path in whole) == 3
    for path, leaf in whole.items():
        # Sums of 1000 elements of size 1 in float64.
        np.testing.assert_allclose(cut[path], leaf, rtol=1e-11, atol=1e-12, err_msg=path)


def test_calibrate_of_a_large_batch_measures_all_of_it() -> None:
    model = fn.serial(fn.batch_norm())
    x = np.random.default_rng(0).standard_normal((300, 16, 16, 2)).astype(np.float32)
    found = fn.calibrate(model, model.init((16, 16, 2), 0), x)["batch_norm_0"]
    np.testing.assert_allclose(found["mean"], x.mean((0, 1, 2), np.float64), atol=1e-6)
    # Sums of 76,800 squares in float32: 2^-24 times the square root of that, 1.7e-5, is a usual error.
    np.testing.assert_allclose(found["var"], x.var((0, 1, 2), np.float64), rtol=1e-4)


def test_calibrate_shows_its_input_to_a_layer_of_a_users_that_measures() -> None:
    @fn.layer(per_example=True)
    def centred() -> Layer:
        def init(shape: Any, rng: Any) -> Any:
            return {"middle": np.full(shape, np.nan, np.float32)}

        def apply(params: Any, x: Any) -> Any:
            return x - params["middle"], lambda dy: ({"middle": -dy.sum(0)}, dy)

        def measure(params: Any, x: Any) -> Any:
            return {"middle": np.median(x, 0)}

        return fn.Layer(init, apply, measure=measure)

    model = fn.serial(fn.relu, centred())
    x = np.array([[-1.0], [2.0], [3.0], [4.0], [9.0]], np.float32)
    with microbatches(2):
        params = fn.calibrate(model, model.init((1,), 0), x)
    assert params["centred_0"]["middle"].tolist() == [3]
    assert model.apply(params, x)[0].ravel().tolist() == [-3, -1, 0, 1, 6]


@pytest.mark.parametrize("batch_size", [1, 7, 16, 40, 1000])
@pytest.mark.parametrize("examples", [None, 7])
def test_calibrate_in_batches_is_that_of_all_examples_at_once(batch_size: int, examples: int | None) -> None:
    block = fn.serial(fn.conv2d(3, 3), fn.batch_norm(activation="relu"), fn.dropout(0.5))
    model = fn.serial(block, fn.residual(fn.batch_norm(), fn.concat(fn.batch_norm(), fn.identity), fn.conv2d(3, 1)))
    x = 2 + np.random.default_rng(0).standard_normal((40, 7, 6, 2))
    params = fn.tree.cast(model.init((7, 6, 2), 0), np.float64)
    whole = fn.tree.flatten(fn.calibrate(model, params, x))
    with microbatches(examples):
        found = fn.tree.flatten(fn.calibrate(model, params, x, batch_size))
    for path, leaf in whole.items():
        np.testing.assert_allclose(found[path], leaf, rtol=1e-11, atol=1e-12, err_msg=path)
        if batch_size >= 40 and examples is None:
            assert found[path].tobytes() == leaf.tobytes()


def test_calibrate_in_batches_takes_a_pass_for_each_layer_that_measures() -> None:
    sizes: list[int] = []

    @fn.layer(per_example=True)
    def counting() -> Layer:
        def apply(params: Any, x: Any) -> Any:
            sizes.append(len(x))
            return x, lambda dy: ({}, dy)

        return fn.Layer(lambda shape, rng: {}, apply)

    model = fn.serial(counting(), fn.batch_norm(), fn.batch_norm())
    x = np.random.default_rng(0).standard_normal((10, 3)).astype(np.float32)
    params = model.init((3,), 0)
    sizes.clear()
    fn.calibrate(model, params, x, batch_size=4)
    assert sizes == [4, 4, 2] * 2
    sizes.clear()
    fn.calibrate(model, params, x)
    assert sizes == [10]


def test_calibrate_in_batches_of_layers_that_share_statistics_is_that_of_the_first() -> None:
    norm = fn.named("norm", fn.batch_norm())
    model = fn.tied(fn.serial(norm, fn.named("again", fn.batch_norm())), {"again/mean": "norm/mean"})
    x = np.random.default_rng(0).standard_normal((10, 3))
    params = fn.tree.cast(model.init((3,), 0), np.float64)
    whole, found = fn.calibrate(model, params, x), fn.calibrate(model, params, x, batch_size=3)
    assert fn.tree.paths(whole) == fn.tree.paths(found)
    for one, other in zip(fn.tree.leaves(whole), fn.tree.leaves(found), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_calibrate_in_batches_shows_all_of_its_input_to_a_layer_of_a_users() -> None:
    @fn.layer(per_example=True)
    def centred() -> Layer:
        def apply(params: Any, x: Any) -> Any:
            return x - params["middle"], lambda dy: ({"middle": -dy.sum(0)}, dy)

        return fn.Layer(
            lambda shape, rng: {"middle": np.full(shape, np.nan, np.float32)}, apply,
            measure=lambda params, x: {"middle": np.median(x, 0)},
        )  # fmt: skip

    x = np.array([[-1.0], [2.0], [3.0], [4.0], [9.0]], np.float32)
    model = fn.serial(fn.relu, centred())
    for batch_size in (1, 2, 5):
        assert fn.calibrate(model, model.init((1,), 0), x, batch_size)["centred_0"]["middle"].tolist() == [3]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_input_that_is_not_finite_is_named(value: float) -> None:
    model = fn.serial(fn.batch_norm(), fn.dense(1))
    x = np.array([[value], [0.0]], np.float32)
    with np.errstate(invalid="ignore"), pytest.raises(ValueError, match="batch_norm: its input has NaN or infinite"):
        fn.calibrate(model, model.init((1,), rng=0), x)
