"""Layers of noise: what is drawn together, its mean and variance, the backward pass, and prediction."""

import numpy as np
import pytest

import funcnn as fn

LAYERS = [
    fn.spatial_dropout(0.3), fn.drop_path(0.3), fn.alpha_dropout(0.3), fn.gaussian_dropout(0.3), fn.gaussian_noise(0.3),
]  # fmt: skip


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_predicting_changes_nothing_and_the_key_decides(layer: fn.Layer) -> None:
    x = np.random.default_rng(0).standard_normal((8, 4, 6))
    y, vjp_fn = layer.apply({}, x)
    assert np.array_equal(y, x)
    assert np.array_equal(vjp_fn(x)[1], x)
    first, same, other = (layer.apply({}, x, rng=rng)[0] for rng in (1, 1, 2))
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    "layer",
    [
        fn.spatial_dropout(0), fn.drop_path(0), fn.alpha_dropout(0), fn.gaussian_dropout(0), fn.gaussian_noise(0)
    ],
    ids=repr,
)  # fmt: skip
def test_none_is_drawn_at_a_rate_of_zero(layer: fn.Layer) -> None:
    x = np.random.default_rng(0).standard_normal((3, 4, 5))
    assert np.array_equal(layer.apply({}, x, rng=0)[0], x)


@pytest.mark.parametrize("shape", [(400, 3, 50), (400, 2, 3, 50)])
def test_spatial_dropout_drops_whole_channels(shape: tuple[int, ...]) -> None:
    x = np.ones(shape, np.float32)
    y, vjp_fn = fn.spatial_dropout(0.2).apply({}, x, rng=0)
    pixels = y.reshape(400, -1, 50)
    assert (pixels == pixels[:, :1]).all()
    assert set(np.unique(y)) == {0, np.float32(1.25)}
    # 20,000 channels: the fraction dropped has a standard deviation of 0.0028; four of those.
    assert np.mean(pixels[:, 0] == 0) == pytest.approx(0.2, abs=0.0113)
    assert np.array_equal(vjp_fn(x)[1], y)


def test_drop_path_drops_whole_examples() -> None:
    x = np.ones((20000, 2, 3), np.float32)
    y, vjp_fn = fn.drop_path(0.2).apply({}, x, rng=0)
    assert (y == y[:, :1, :1]).all()
    assert set(np.unique(y)) == {0, np.float32(1.25)}
    assert np.mean(y[:, 0, 0] == 0) == pytest.approx(0.2, abs=0.0113)
    assert np.array_equal(vjp_fn(x)[1], y)


def test_drop_path_inside_residual_leaves_the_input() -> None:
    block = fn.residual(fn.dense(3), fn.drop_path(0.5))
    x = np.random.default_rng(0).standard_normal((50, 3)).astype(np.float32)
    params = block.init((3,), 0)
    y, _ = block.apply(params, x, rng=0)
    branch = fn.predict(block, params, x) - x
    kept = (y != x).any(1)
    assert 0 < kept.sum() < 50
    np.testing.assert_allclose(y, x + 2 * branch * kept[:, None], atol=1e-6)


def test_alpha_dropout_keeps_mean_and_variance() -> None:
    x = np.random.default_rng(0).standard_normal((1000, 1000))
    y, vjp_fn = fn.alpha_dropout(0.3).apply({}, x, rng=0)
    # A million elements: means have a standard deviation of 0.001, variances one of about 0.002.
    assert y.mean() == pytest.approx(0, abs=0.004)
    assert y.var() == pytest.approx(1, abs=0.01)
    # a = ((1 - p) (1 + p m^2))^(-1/2), with m the minimum of selu; dropped is a m (1 - p).
    minimum = -1.0507009873554805 * 1.6732632423543772
    a = (0.7 * (1 + 0.3 * minimum**2)) ** -0.5
    _, dx = vjp_fn(np.ones_like(x))
    dropped = dx == 0
    assert dropped.mean() == pytest.approx(0.3, abs=0.002)
    np.testing.assert_allclose(y[~dropped], (a * x - a * minimum * 0.3)[~dropped])
    np.testing.assert_allclose(y[dropped], a * minimum * 0.7)
    np.testing.assert_allclose(dx, a * ~dropped)


def test_gaussian_dropout_and_noise_have_the_stated_deviation() -> None:
    x = np.full((1000, 1000), 2.0)
    y, vjp_fn = fn.gaussian_dropout(0.2).apply({}, x, rng=0)
    assert y.mean() == pytest.approx(2, abs=0.004)
    assert y.std() == pytest.approx(2 * 0.5, rel=0.003)
    np.testing.assert_allclose(vjp_fn(x)[1], y)
    y, vjp_fn = fn.gaussian_noise(0.5).apply({}, x, rng=0)
    assert y.mean() == pytest.approx(2, abs=0.002)
    assert y.std() == pytest.approx(0.5, rel=0.003)
    assert np.array_equal(vjp_fn(x)[1], x)


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_float32_stays_and_draws_what_float64_draws(layer: fn.Layer) -> None:
    x = np.random.default_rng(0).standard_normal((8, 4, 6)).astype(np.float32)
    y, vjp_fn = layer.apply({}, x, rng=0)
    _, dx = vjp_fn(x)
    assert y.dtype == dx.dtype == np.float32
    np.testing.assert_allclose(y, layer.apply({}, x.astype(np.float64), rng=0)[0], rtol=1e-5, atol=1e-6)
