from pathlib import Path
from typing import Any

import numpy as np
import pytest

import funcnn as fn
from funcnn.datasets import one_hot, standardize, statistics

RNG = np.random.default_rng(0)


def test_one_hot() -> None:
    y = one_hot(np.array([[2, 0], [1, 1]], np.uint8), 3)
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y, [[[0, 0, 1], [1, 0, 0]], [[0, 1, 0], [0, 1, 0]]])


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (np.array([0, 3]), ValueError, "labels from 0 to 2, got 3"),
        (np.array([0, -1]), ValueError, "labels from 0 to 2, got -1"),
        (np.array([0.0, 1.0]), TypeError, "expected integer labels, got float64"),
        (np.array([True, False]), TypeError, "expected integer labels, got bool"),
    ],
)
def test_one_hot_raises_for_invalid_labels(labels: np.ndarray, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        one_hot(labels, 3)


@pytest.mark.parametrize("value", [0, 7, 0.1, -1e-30, 3e7])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_constant_data_become_zero(value: float, dtype: type) -> None:
    # The sum of 49 times 0.1 is not a multiple of 0.1 in floating point.
    x = np.full((49, 7, 7, 1), value, dtype)
    assert not standardize(x, statistics(x)).any()
    assert not standardize(x, statistics(x, axis=None)).any()


@pytest.mark.parametrize("axis", [0, (0, 1, 2), (0, -1), None])
def test_statistics_are_those_of_the_training_data_alone(axis: Any) -> None:
    train = RNG.integers(0, 200, (50, 6, 4, 2)).astype(np.uint8)
    train[:, 0, 0] = 9  # pixels that are constant in the training data, but not in the test data
    test = RNG.integers(0, 256, (3, 6, 4, 2)).astype(np.uint8)
    found = statistics(train, axis)
    mean, std = train.mean(axis, keepdims=True), train.std(axis, keepdims=True)
    expected = (test - mean) / np.where(std == 0, 1, std)
    y = standardize(test, found)
    assert {y.dtype, found["mean"].dtype, found["std"].dtype} == {np.dtype(np.float32)}
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)  # float32
    if axis != 0:
        np.testing.assert_allclose(standardize(train, found).mean(axis), 0, atol=1e-5)


def test_statistics_are_saved_beside_the_model(tmp_path: Path) -> None:
    found = statistics(RNG.standard_normal((9, 3)).astype(np.float32))
    fn.save(tmp_path / "statistics.npz", found)
    again = fn.load(tmp_path / "statistics.npz")
    x = np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(standardize(x, again), standardize(x, found))


@pytest.mark.parametrize(
    "x",
    [
        (1e6 + RNG.normal(size=(1000, 3))).astype(np.float32),
        -1e9 + RNG.normal(size=(1000, 3)),
        1_700_000_000 + RNG.integers(-50, 50, (1000, 3)),
        RNG.integers(0, 2, (1000, 3)) + 2**24,
        (RNG.normal(size=(1000, 3)) * 1e-20).astype(np.float32),
        (RNG.normal(size=(1000, 3)) * 1e30).astype(">f4"),
    ],
)
def test_data_far_from_zero_get_mean_0_and_standard_deviation_1(x: Any) -> None:
    y = standardize(x, statistics(x))
    assert y.dtype == (np.float64 if x.dtype == np.float64 else np.float32)
    exact = x.astype(np.float64)
    # The mean and the data of 1e6 and more are rounded to float32 once: 1e-5 of the standard deviation.
    np.testing.assert_allclose(y, (exact - exact.mean(0)) / exact.std(0), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(standardize(x[7:9], statistics(x)), y[7:9])


@pytest.mark.parametrize("value", [2**24 + 1, 2**53 + 1, -(2**62) - 1])
def test_constant_integers_become_zero(value: int) -> None:
    x = np.full((49, 2), value)
    assert not standardize(x, statistics(x)).any()


def test_nan_and_infinity_in_new_data_stay_what_they_are() -> None:
    x = np.array([[1.0], [3.0]], np.float32)
    y = standardize(np.array([[np.nan], [np.inf], [4.0]], np.float32), statistics(x))
    np.testing.assert_array_equal(y, [[np.nan], [np.inf], [2]])


def test_constant_columns_beside_others_stay_as_they_are() -> None:
    x = np.array([[0.1, 1.0], [0.1, 3.0], [0.1, 5.0]], np.float32)
    found = statistics(x)
    assert found["std"][0, 0] == 1
    np.testing.assert_array_equal(standardize(x + np.float32([2, 0]), found)[:, 0], np.float32(2.1) - np.float32(0.1))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: statistics(np.ones((2, 2), bool)), TypeError, "whole or floating-point numbers, got bool"),
        (lambda: statistics([[1.0]]), TypeError, "got a list; use np.asarray"),
        (lambda: statistics({"a": np.ones((2, 3))}), TypeError, "whole or floating-point numbers, got a dict"),
        (lambda: statistics(np.ones((0, 3))), ValueError, "the data set is empty"),
        (lambda: statistics(np.ones((2, 3)), axis=1), ValueError, "axis=1 leaves out axis 0"),
        (lambda: statistics(np.ones((2, 3), complex)), TypeError, "whole or floating-point numbers, got complex128"),
        (
            lambda: standardize(np.ones((2, 4)), statistics(np.ones((2, 3)))),
            ValueError,
            r"statistics have shape \(1, 3\), which does not fit float64 of shape \(2, 4\)",
        ),
        (lambda: standardize(np.ones((2, 1)), statistics(np.ones((2, 3)))), ValueError, "does not fit"),
        (lambda: standardize(np.ones(3), statistics(np.ones((2, 3)))), ValueError, "does not fit"),
        (lambda: standardize([[1.0]], statistics(np.ones((2, 1)))), TypeError, "numbers, got a list"),
        (
            lambda: standardize(np.ones((2, 1)), {"mean": np.ones((1, 1))}),
            ValueError,
            r"'mean' and 'std', got \['mean'\]",
        ),
        (lambda: standardize(np.ones((2, 1)), np.ones(1)), ValueError, "'mean' and 'std', got a ndarray"),
    ],
)
def test_invalid_data_and_statistics_raise(call: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        call()
