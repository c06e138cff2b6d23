"""Dropout: the rate, the scale, the mask in the backward pass, and prediction."""

import math

import numpy as np
import pytest

import funcnn as fn


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_rate_is_the_probability_of_dropping_and_the_rest_is_scaled_up(rate: float) -> None:
    x = np.ones((100, 1000), np.float32)
    y, vjp_fn = fn.dropout(rate).apply({}, x, rng=0)
    # Of 100,000 units the fraction dropped has a standard deviation of 0.0016 at most; four of those.
    assert np.mean(y == 0) == pytest.approx(rate, abs=0.0065)
    assert set(np.unique(y)) == {0, np.float32(1 / (1 - rate))}
    _, dx = vjp_fn(x)
    assert np.array_equal(dx, y)


def test_a_real_zero_is_not_taken_for_a_dropped_unit() -> None:
    _, vjp_fn = fn.dropout(0.5).apply({}, np.zeros((1, 100)), rng=0)
    _, dx = vjp_fn(np.ones((1, 100)))
    assert dx is not None
    assert set(np.unique(dx)) == {0, 2}


def test_the_mask_is_the_keys() -> None:
    x = np.ones((1, 100))
    first, same, other = (fn.dropout(0.5).apply({}, x, rng=rng)[0] for rng in ((0, 1), (0, 1), (0, 2)))
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)


def test_two_layers_in_one_model_drop_different_units() -> None:
    model = fn.concat(fn.dropout(0.5), fn.dropout(0.5))
    y, _ = model.apply({}, np.ones((1, 100)), rng=0)
    assert not np.array_equal(y[:, :100], y[:, 100:])


def test_predicting_changes_nothing() -> None:
    x = np.random.default_rng(0).standard_normal((3, 4))
    y, vjp_fn = fn.dropout(0.9).apply({}, x)
    assert np.array_equal(y, x)
    assert np.array_equal(vjp_fn(x)[1], x)


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5, math.nan])
def test_a_rate_outside_zero_to_one_raises(rate: float) -> None:
    with pytest.raises(ValueError, match=r"dropout: rate is the probability of dropping, in \[0, 1\), got"):
        fn.dropout(rate)


def test_integers_raise() -> None:
    with pytest.raises(TypeError, match="dropout: expected floats, got uint8; scale images first"):
        fn.dropout(0.5).apply({}, np.ones((1, 2), np.uint8))
