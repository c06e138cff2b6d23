from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import funcnn as fn
from funcnn.aliases import Array
from funcnn.datasets import average_pool_images, one_hot, standardize, standardize_images, statistics

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
def test_one_hot_refuses_what_is_no_class(labels: np.ndarray, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        one_hot(labels, 3)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32, np.float64])
def test_each_image_is_standardized_by_itself(dtype: type) -> None:
    x = RNG.integers(0, 256, (5, 6, 4, 2)).astype(dtype)
    x.flags.writeable = False
    y = standardize_images(x)
    assert y.dtype == (np.float64 if dtype is np.float64 else np.float32)
    tolerance = 1e-12 if dtype is np.float64 else 1e-5  # rounding of numbers of about 1
    for old, new in zip(x.astype(float), y, strict=True):
        np.testing.assert_allclose(new, (old - old.mean()) / old.std(), atol=tolerance)
    np.testing.assert_allclose(standardize_images(x[2:3]), y[2:3], rtol=0, atol=0)
    assert standardize_images(x[:0]).shape == (0, 6, 4, 2)


@pytest.mark.parametrize("value", [0, 7, 0.1, -1e-30, 3e7])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_constant_becomes_zero(value: float, dtype: type) -> None:
    # 0.1 summed 49 times is no multiple of 0.1 in floating point.
    x = np.full((49, 7, 7, 1), value, dtype)
    assert not standardize_images(x).any()
    assert not standardize(x, statistics(x)).any()
    assert not standardize(x, statistics(x, axis=None)).any()


@pytest.mark.parametrize("axis", [0, (0, 1, 2), (0, -1), None])
def test_statistics_are_those_of_the_training_data_alone(axis: Any) -> None:
    train = RNG.integers(0, 200, (50, 6, 4, 2)).astype(np.uint8)
    train[:, 0, 0] = 9  # pixels without any deviation in training, but with one afterwards
    test = RNG.integers(0, 256, (3, 6, 4, 2)).astype(np.uint8)
    found = statistics(train, axis)
    mean, deviation = train.mean(axis, keepdims=True), train.std(axis, keepdims=True)
    expected = (test - mean) / np.where(deviation == 0, 1, deviation)
    y = standardize(test, found)
    assert {y.dtype, found["mean"].dtype, found["deviation"].dtype} == {np.dtype(np.float32)}
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
    ("call", "error", "message"),
    [
        (
            lambda: standardize_images(np.ones(3)),
            TypeError,
            r"array \(n, \.\.\.\) of images, got float64 of shape \(3,\)",
        ),
        (lambda: standardize_images(np.ones((2, 2), bool)), TypeError, "whole or floating-point numbers, got bool"),
        (lambda: statistics([[1.0]]), TypeError, "got a list; use np.asarray"),
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
        (lambda: average_pool_images(np.ones((1, 4, 4, 1), int), 2), TypeError, "array of uint8 or floats, got int64"),
        (lambda: average_pool_images(np.ones((1, 4, 5, 1)), 2), ValueError, r"whose sides 2 divides.*\(1, 4, 5, 1\)"),
        (lambda: average_pool_images(np.ones((1, 4, 4)), 2), ValueError, "images .n, height, width, channels."),
        (lambda: average_pool_images(np.ones((1, 4, 4, 1)), 0), ValueError, "size must be a whole number >= 1, got 0"),
    ],
)
def test_what_does_not_fit_is_refused(call: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        call()


@given(
    x=arrays.arrays(np.uint8, st.tuples(*[st.integers(0, 3)] * 4)),
    size=st.integers(1, 4),
)
def test_pooled_pixels_are_rounded_means(x: Array, size: int) -> None:
    x = x.repeat(size, axis=1).repeat(size, axis=2)
    x[:, ::2] //= 3
    pooled = average_pool_images(x, size)
    assert pooled.dtype == np.uint8
    n, height, width, channels = x.shape
    assert pooled.shape == (n, height // size, width // size, channels)
    for i, row, column, channel in np.ndindex(pooled.shape):
        window = x[i, row * size : (row + 1) * size, column * size : (column + 1) * size, channel]
        assert pooled[i, row, column, channel] == int(np.floor(window.astype(float).mean() + 0.5))


def test_floats_are_pooled_like_the_layer_does() -> None:
    x = RNG.random((3, 6, 9, 2)).astype(np.float32)
    pooled = average_pool_images(x, 3)
    assert pooled.dtype == np.float32
    np.testing.assert_allclose(pooled, fn.avg_pool2d(3).apply({}, x)[0], rtol=1e-6)  # another order of adding up


def test_digits_of_14_by_14_pixels() -> None:
    (x, _), _ = fn.datasets.digits()
    pooled = average_pool_images(x[:10], 2)
    assert pooled.shape == (10, 14, 14, 1)
    assert abs(pooled.mean() - x[:10].mean()) < 0.5  # rounding moves no pixel by more
