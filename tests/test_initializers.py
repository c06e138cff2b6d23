"""Initializers: the variance that each promises, the dtype, the key, and the recorded call."""

import copy
import pickle
import re
from collections.abc import Callable

import numpy as np
import pytest

from funcnn import initializers
from funcnn.initializers import Initializer, variance_scaling

SHAPE, FAN_IN, FAN_OUT = (400, 200), 400, 200


@pytest.mark.parametrize(
    ("initializer", "variance"),
    [
        (initializers.he_normal, 2 / 400),
        (initializers.he_uniform, 2 / 400),
        (initializers.glorot_normal, 1 / 300),
        (initializers.glorot_uniform, 1 / 300),
        (initializers.lecun_normal, 1 / 400),
        (initializers.lecun_uniform, 1 / 400),
        (variance_scaling(3.0, "out", "normal"), 3 / 200),
        (initializers.normal(0.1), 0.01),
        (initializers.uniform(-0.5, 0.5), 1 / 12),
    ],
)
def test_mean_variance_and_dtype(initializer: Initializer, variance: float) -> None:
    w = initializer(SHAPE, (0, 1), FAN_IN, FAN_OUT)
    assert (w.shape, w.dtype) == (SHAPE, np.float32)
    # For 80,000 draws, the standard error of the mean is std / 283, that of the variance 0.5 %; four times that.
    assert abs(w.mean(dtype=float)) < 4 * (variance / w.size) ** 0.5
    assert w.var(dtype=float) == pytest.approx(variance, rel=0.02)


def test_uniform_initializers_are_bounded_and_fill_their_range() -> None:
    w, limit = initializers.lecun_uniform(SHAPE, 0, FAN_IN, FAN_OUT), (3 / 400) ** 0.5
    assert limit * 0.999 < abs(w).max() <= limit * 1.0001


def test_the_key_determines_the_weights() -> None:
    first, same, other = (initializers.he_normal((3, 3), key, 3, 3) for key in (1, 1, 2))
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)


def test_constants() -> None:
    for initializer, value in ((initializers.zeros, 0), (initializers.ones, 1), (initializers.constant(0.25), 0.25)):
        w = initializer((2, 3), 0, 2, 3)
        assert (w.dtype, w.tolist()) == (np.float32, [[value] * 3] * 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.0, "in", "normal"), "scale must be positive, got 0.0"),
        ((float("nan"), "in", "normal"), "scale must be positive, got nan"),
        ((1.0, "inputs", "normal"), "fan is 'in', 'out' or 'average', got 'inputs'"),
        ((1.0, "in", "gauss"), "distribution is 'normal' or 'uniform', got 'gauss'"),
    ],
)
def test_variance_scaling_raises_for_invalid_arguments(arguments: tuple[float, str, str], message: str) -> None:
    with pytest.raises(ValueError, match=f"variance_scaling: {message}"):
        variance_scaling(*arguments)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: initializers.normal(-0.1), "normal: std must be a number >= 0, got -0.1"),
        (lambda: initializers.normal(float("nan")), "normal: std must be a number >= 0, got nan"),
        (lambda: initializers.uniform(1, 0), "uniform: low must not be above high, got 1.0 and 0.0"),
        (lambda: initializers.uniform(0, float("inf")), "uniform: high must be a finite number, got inf"),
        (lambda: initializers.constant(float("nan")), "constant: value must be a finite number, got nan"),
    ],
)
def test_numbers_out_of_range_raise(call: Callable[[], Initializer], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


@pytest.mark.parametrize(
    ("initializer", "text"),
    [
        (initializers.constant(0.5), "initializers.constant(0.5)"),
        (initializers.normal(), "initializers.normal()"),
        (initializers.normal(std=0.1), "initializers.normal(std=0.1)"),
        (initializers.uniform(-1, 1), "initializers.uniform(-1, 1)"),
        (initializers.he_normal, "initializers.variance_scaling(2.0, 'in', 'normal')"),
        (initializers.zeros, "initializers.zeros"),
    ],
)
def test_an_initializer_prints_as_its_call_and_survives_pickle_and_copy(initializer: Initializer, text: str) -> None:
    assert repr(initializer) == text
    expected = initializer((2, 3), 0, 2, 3)
    for again in (pickle.loads(pickle.dumps(initializer)), copy.deepcopy(initializer), copy.copy(initializer)):
        assert repr(again) == text
        np.testing.assert_array_equal(again((2, 3), 0, 2, 3), expected)
