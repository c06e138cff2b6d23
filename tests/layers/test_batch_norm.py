"""Batch norm: both statistics by hand, the constant channel, prediction before calibration and inside a convolution."""

import math
from typing import Any

import numpy as np
import pytest

import funcnn as fn

X = np.array([[1.0, 7.0], [3.0, 7.0]])
PARAMS = {
    "scale": np.array([2.0, 1.0]),
    "shift": np.array([10.0, 20.0]),
    "mean": np.zeros(2),
    "var": np.array([4.0, 1.0]),
}


def test_training_uses_the_statistics_of_the_batch() -> None:
    y, vjp_fn = fn.batch_norm(eps=1e-3).apply(PARAMS, X, rng=0)
    u = 1 / math.sqrt(1.001)
    np.testing.assert_allclose(y, [[10 - 2 * u, 20], [10 + 2 * u, 20]], rtol=1e-15)
    grads, dx = vjp_fn(np.array([[1.0, 1.0], [0.0, 0.0]]))
    np.testing.assert_allclose(grads["scale"], [-u, 0], rtol=1e-15)
    assert grads["shift"].tolist() == [1, 1]
    assert (grads["mean"].tolist(), grads["var"].tolist()) == ([0, 0], [0, 0])
    # dx = factor * (dy - 1/2 - u * (-u / 2)), by the formula of the docstring.
    left = 2 * u * (0.5 - u * u / 2)
    np.testing.assert_allclose(dx, [[left, 0.5 / math.sqrt(1e-3)], [-left, -0.5 / math.sqrt(1e-3)]], rtol=1e-11)


def test_a_training_gradient_that_is_constant_or_along_the_input_moves_nothing() -> None:
    # Training, y does not change when x is shifted or (but for eps) stretched.
    x = np.random.default_rng(0).standard_normal((50, 3))
    params = fn.tree.cast(fn.batch_norm().init((3,), 0), np.float64)
    y, vjp_fn = fn.batch_norm(eps=1e-12).apply(params, x, rng=0)
    for dy in (np.ones_like(y), y):
        _, dx = vjp_fn(dy)
        np.testing.assert_allclose(dx, 0, atol=1e-10)


def test_predicting_uses_measured_statistics_and_a_batch_of_one_works() -> None:
    y, vjp_fn = fn.batch_norm(eps=1e-5).apply(PARAMS, X[:1])
    inverse_std = 1 / math.sqrt(4 + 1e-5)
    np.testing.assert_allclose(y, [[10 + 2 * inverse_std, 20 + 7 / math.sqrt(1 + 1e-5)]], rtol=1e-15)
    _, dx = vjp_fn(np.array([[1.0, 0.0]]))
    np.testing.assert_allclose(dx, [[2 * inverse_std, 0]], rtol=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_constant_channel_gives_the_shift(dtype: type) -> None:
    params = fn.tree.cast(PARAMS, dtype)
    y, vjp_fn = fn.batch_norm().apply(params, np.full((4, 2), 1e3, dtype), rng=0)
    assert y.tolist() == [[10, 20]] * 4
    assert np.isfinite(vjp_fn(y)[1]).all()


def test_a_large_mean_does_not_swallow_the_variance() -> None:
    x = (1000 + np.random.default_rng(0).standard_normal((1000, 1))).astype(np.float32)
    model = fn.batch_norm()
    params = fn.calibrate(model, model.init((1,), 0), x)
    # In float32 the mean of squares minus the squared mean would be off by about 0.06.
    assert params["var"].item() == pytest.approx(x.astype(float).var(), rel=1e-4)
    assert params["mean"].item() == pytest.approx(x.astype(float).mean(), rel=1e-6)


def test_statistics_are_per_channel_over_all_other_axes() -> None:
    x = np.random.default_rng(0).standard_normal((4, 5, 6, 2)) * [1, 50] + [3, -8]
    params = fn.tree.cast(fn.batch_norm().init((5, 6, 2), 0), np.float64)
    y, _ = fn.batch_norm(1e-12).apply(params, x, rng=0)
    np.testing.assert_allclose(y.mean((0, 1, 2)), 0, atol=1e-13)
    np.testing.assert_allclose(y.var((0, 1, 2)), 1, rtol=1e-11)


def test_predicting_before_calibration_says_what_to_call() -> None:
    model = fn.serial(fn.named("stem", fn.serial(fn.batch_norm())))
    params = model.init((3,), 0)
    with pytest.raises(
        ValueError, match=r"batch_norm: mean and var have not been measured.*fn\.calibrate\(model, params, x\)"
    ):
        model.apply(params, np.ones((2, 3), np.float32))
    with pytest.raises(ValueError, match="in layer stem/batch_norm_0, with an input"):
        model.apply(params, np.ones((2, 3), np.float32))
    # Training needs no measurement, as the message says.
    model.apply(params, np.ones((2, 3), np.float32), rng=0)


def test_inputs_and_arguments_that_do_not_fit_raise() -> None:
    with pytest.raises(ValueError, match=r"batch_norm: expected 2 channels .*got 3 in an input of shape \(4, 3\)"):
        fn.batch_norm().apply(PARAMS, np.ones((4, 3)), rng=0)
    with pytest.raises(
        ValueError, match=r"batch_norm: expected an input of axes \(batch, \.\.\., channels\), got shape \(2,\)"
    ):
        fn.batch_norm().apply(PARAMS, np.ones(2), rng=0)
    with pytest.raises(TypeError, match="batch_norm: expected floats, got uint8; scale images first"):
        fn.batch_norm().apply(PARAMS, np.ones((4, 2), np.uint8), rng=0)
    for eps in (0.0, -1.0, 1e-100, math.nan):
        with pytest.raises(ValueError, match="batch_norm: eps must be at least 1e-12"):
            fn.batch_norm(eps)


def calibrated(layers: list[Any], x: np.ndarray) -> tuple[fn.Layer, dict[str, Any]]:
    model = fn.serial(*layers)
    params = fn.tree.cast(model.init(x.shape[1:], 0), x.dtype)
    scale = np.linspace(-2, 2, params["batch_norm_0"]["scale"].size, dtype=x.dtype)
    params["batch_norm_0"] |= {"scale": scale, "shift": scale + 1}
    return model, fn.calibrate(model, params, x)


def kinds(model: fn.Layer) -> list[str]:
    return [child.kind for child in model.children.values()]


@pytest.mark.parametrize("n", [0, 1, 9])
@pytest.mark.parametrize("activation", [None, fn.relu, fn.tanh, fn.swish])
@pytest.mark.parametrize(
    "options",
    [{}, {"bias": False}, {"groups": 2}, {"padding": "same", "pad_mode": "edge"}, {"dilation": 2}],
    ids=str,
)
def test_folded_into_the_convolution_before_it_predictions_stay(
    options: dict[str, Any], activation: Any, n: int
) -> None:
    x = np.random.default_rng(0).standard_normal((9, 8, 7, 4))
    model, params = calibrated([fn.conv2d(6, 3, **options), fn.batch_norm(activation=activation)], x)
    folded, folded_params = fn.fold_batch_norm(model, params)
    assert kinds(folded) == ["conv2d", "identity"]
    # 36 products of elements near 1 for each y, in another order.
    y, _ = model.apply(params, x[:n])
    np.testing.assert_allclose(fn.predict(folded, folded_params, x[:n]), y, rtol=0, atol=1e-13)
    # Without folding, predicting gives the bits of apply.
    assert fn.predict(model, params, x[:n]).tobytes() == y.tobytes()


def test_after_an_activation_the_norm_stays_an_affine_map() -> None:
    x = np.random.default_rng(0).standard_normal((9, 8, 7, 4))
    model, params = calibrated([fn.conv2d(6, 3, activation=fn.relu), fn.batch_norm()], x)
    folded, folded_params = fn.fold_batch_norm(model, params)
    assert kinds(folded) == ["conv2d", "scale_and_shift"]
    np.testing.assert_allclose(
        fn.predict(folded, folded_params, x), fn.predict(model, params, x), rtol=1e-12, atol=1e-13
    )


def test_far_from_zero_a_folded_prediction_loses_no_more_than_its_input_has() -> None:
    # z is near 1000 and rounded to 2^-14; so y, z with its spread of about 1 made 1, is known to a few of these.
    x = np.random.default_rng(0).standard_normal((9, 8, 7, 1)).astype(np.float32)
    model, params = calibrated([fn.conv2d(1, 1), fn.batch_norm()], x)
    params["conv2d_0"] = {"w": np.ones((1, 1, 1, 1), np.float32), "b": np.full(1, 1000, np.float32)}
    params = fn.calibrate(model, params, x)
    exact = fn.tree.cast(params, np.float64)
    expected, _ = model.apply(exact, x.astype(np.float64))
    factor = np.abs(params["batch_norm_0"]["scale"] / np.sqrt(params["batch_norm_0"]["var"]))
    for found in (fn.predict(model, params, x), fn.predict(*fn.fold_batch_norm(model, params), x)):
        assert np.abs(found - expected).max() <= 4 * 2**-14 * factor.max()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mean": np.full(6, np.nan, np.float32)}, "have not been measured"),
        ({name: np.ones(1, np.float32) for name in PARAMS}, "expected 1 channels"),
    ],
)
def test_a_batch_norm_that_does_not_fit_the_convolution_raises_itself(
    change: dict[str, np.ndarray], message: str
) -> None:
    x = np.random.default_rng(0).standard_normal((9, 8, 7, 4)).astype(np.float32)
    model, params = calibrated([fn.conv2d(6, 3), fn.batch_norm()], x)
    params["batch_norm_0"] |= change
    with pytest.raises(ValueError, match=message) as caught:
        fn.predict(model, params, x)
    assert caught.value.__notes__ == ["in layer batch_norm_0, with an input of shape (9, 6, 5, 6)"]


FAR = {
    "mean 1e6, spread 0.1": lambda noise: 1e6 + 0.1 * noise,
    "mean -1e7, spread 2": lambda noise: -1e7 + 2 * noise,
    "a constant, and spread of the last bit": lambda noise: 1e6 + 0.0625 * (noise > 2),
    "spread 1e30": lambda noise: 1e30 * noise,
    "mean 1e35, spread 1e33": lambda noise: 1e35 + 1e33 * noise,
    "spread 1e38": lambda noise: 1e38 * np.clip(noise, -1.5, 1.5),
    "channels of all sizes": lambda noise: noise * [1, 1e30, 0.1] + [0, 0, 1e6],
    "near 0": lambda noise: noise,
}


@pytest.mark.parametrize("rows", [(64,), (40_000,), (12, 40, 50)])
@pytest.mark.parametrize("size", [None, 5])
@pytest.mark.parametrize("name", FAR)
def test_float32_far_from_zero_and_huge_is_normalized_as_float64_is(name: str, size: int | None, rows: Any) -> None:
    random = np.random.default_rng(0)
    x = np.asarray(FAR[name](random.standard_normal((*rows, 3))), np.float32)
    dy = random.standard_normal(x.shape).astype(np.float32)
    if size is not None and len(x) > 100:
        size = 1 + len(x) // 3
    layer, params = fn.batch_norm(), fn.batch_norm().init((3,), 0)
    exact, pull = layer.apply(fn.tree.cast(params, np.float64), x.astype(np.float64), rng=0)
    with fn.testing.microbatches(size):
        y, vjp_fn = layer.apply(params, x, rng=0)
        grads, dx = vjp_fn(dy)
    assert y.dtype == dx.dtype == grads["scale"].dtype == np.float32
    # A mean of up to 32 standard deviations is rounded to float32.
    np.testing.assert_allclose(y, exact, rtol=1e-4, atol=2e-4)
    exact_grads, exact_dx = pull(dy.astype(np.float64))
    scale = np.abs(exact_dx).max(tuple(range(x.ndim - 1)))
    np.testing.assert_allclose(dx / scale, exact_dx / scale, atol=1e-3)
    total = math.sqrt(math.prod(rows))
    np.testing.assert_allclose(grads["scale"] / total, exact_grads["scale"] / total, atol=1e-3)
    np.testing.assert_allclose(grads["shift"] / total, exact_grads["shift"] / total, atol=1e-3)


def test_what_calibrate_measures_far_from_zero_is_right_or_raises() -> None:
    noise = np.random.default_rng(0).standard_normal((40_000, 3))
    x = np.asarray(noise * [0.1, 1, 1e18] + [1e6, -1e7, 0], np.float32)
    params = fn.calibrate(fn.batch_norm(), fn.batch_norm().init((3,), 0), x)
    np.testing.assert_allclose(params["var"], x.astype(float).var(0), rtol=1e-5)
    np.testing.assert_allclose(params["mean"], x.astype(float).mean(0), rtol=1e-6, atol=1e12)
    assert params["var"].dtype == params["mean"].dtype == np.float32
    message = r"batch_norm: the variance of its input, up to \d.*e\+60, is too large for float32; scale the input"
    with pytest.raises(ValueError, match=message):
        fn.calibrate(fn.batch_norm(), params, np.float32(1e12) * x)
