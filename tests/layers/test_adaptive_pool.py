"""Adaptive and global pooling by hand: bounds, ties, special numbers, precision, and what raises."""

from typing import Any

import numpy as np
import pytest

import funcnn as fn

POOLS = [
    fn.adaptive_avg_pool1d, fn.adaptive_avg_pool2d, fn.adaptive_avg_pool3d, fn.adaptive_max_pool1d,
    fn.adaptive_max_pool2d, fn.adaptive_max_pool3d,
]  # fmt: skip
GLOBAL = [fn.global_max_pool1d, fn.global_max_pool2d, fn.global_max_pool3d]


def values(layer: fn.Layer, x: Any) -> tuple[list[float], list[float]]:
    """``(y, dx)`` for dy = 1, 2, ..."""
    y, vjp_fn = layer.apply({}, x)
    dx: Any = vjp_fn(np.arange(1.0, y.size + 1).reshape(y.shape))[1]
    return y.ravel().tolist(), dx.ravel().tolist()


def test_windows_overlap_where_the_size_does_not_divide_the_pixels() -> None:
    x = np.array([1.0, 5.0, 3.0, 2.0, 4.0]).reshape(1, 5, 1)
    # Pixels 0 to 2, and 2 to 4.
    assert values(fn.adaptive_avg_pool1d(2), x) == ([3, 3], pytest.approx([1 / 3, 1 / 3, 1, 2 / 3, 2 / 3]))
    assert values(fn.adaptive_max_pool1d(2), x) == ([5, 4], [0, 1, 0, 0, 2])
    # Pixels 0 to 1, 1 to 3 and 3 to 4.
    assert values(fn.adaptive_max_pool1d(3), x) == ([5, 5, 4], [0, 3, 0, 0, 3])


def test_more_windows_than_pixels_repeat_them() -> None:
    x = np.array([1.0, 2.0]).reshape(1, 2, 1)
    assert values(fn.adaptive_avg_pool1d(3), x) == ([1, 1.5, 2], [2, 4])
    assert values(fn.adaptive_max_pool1d(3), x) == ([1, 2, 2], [1, 5])


def test_none_keeps_an_axis_and_a_size_that_divides_is_plain_pooling() -> None:
    x = np.random.default_rng(0).standard_normal((2, 6, 4, 3))
    y, _ = fn.adaptive_avg_pool2d((2, None)).apply({}, x)
    np.testing.assert_allclose(y, fn.avg_pool2d((3, 1)).apply({}, x)[0], rtol=1e-14)
    y, _ = fn.adaptive_max_pool2d([None, 2]).apply({}, x)
    np.testing.assert_array_equal(y, fn.max_pool2d((1, 2)).apply({}, x)[0])
    y, vjp_fn = fn.adaptive_max_pool2d(None).apply({}, x)
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(vjp_fn(x)[1], x)


@pytest.mark.parametrize("layer", [*GLOBAL, *(pool(1) for pool in POOLS[3:])], ids=repr)
def test_the_first_of_ties_and_of_nans_gets_the_gradient(layer: fn.Layer) -> None:
    shape = (1, *{1: (12,), 2: (3, 4), 3: (2, 3, 2)}[int(layer.kind[-2])], 1)
    for best in (7.0, np.inf, -np.inf, np.nan):
        x = np.full(12, -np.inf if best == -np.inf else 1.0)
        x[[5, 6, 9]] = best
        first = 0 if best == -np.inf else 5
        y, vjp_fn = layer.apply({}, x.reshape(shape))
        np.testing.assert_array_equal(y.ravel(), [best])
        for dy in (3.0, np.inf, np.nan):
            _, dx = vjp_fn(np.full_like(y, dy))
            assert dx is not None
            np.testing.assert_array_equal(dx.ravel(), [dy if pixel == first else 0 for pixel in range(12)])


def test_global_maxima_by_hand() -> None:
    x = np.array([[1.0, 8.0], [9.0, 2.0], [3.0, 8.0]])
    for layer, shape in zip(GLOBAL, [(1, 3, 2), (1, 1, 3, 2), (1, 3, 1, 1, 2)], strict=True):
        y, vjp_fn = layer.apply({}, x.reshape(shape))
        assert y.tolist() == [[9, 8]]
        _, dx = vjp_fn(np.array([[5.0, 6.0]]))
        assert dx is not None
        assert dx.shape == shape
        assert dx.reshape(3, 2).tolist() == [[0, 6], [5, 0], [0, 0]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_mean_of_many_or_of_the_largest_numbers_is_precise(dtype: type) -> None:
    most = np.finfo(dtype).max * 0.9
    for x in (np.full((1, 200_001, 2), 1000.1, dtype), np.full((1, 7, 2), most, dtype)):
        y, _ = fn.adaptive_avg_pool1d(2).apply({}, x)
        assert y.dtype == dtype
        np.testing.assert_allclose(y / x[0, 0, 0], 1, rtol=1e-6)


@pytest.mark.parametrize("pool", POOLS, ids=lambda pool: pool.__name__)
def test_bad_sizes_and_inputs_raise(pool: Any) -> None:
    kind, rank = pool.__name__, int(pool.__name__[-2])
    for size in (0, -1, 2.5, "2", True, (2,) * (rank + 1), (0,) * rank):
        with pytest.raises(ValueError, match=rf"{kind}: size must be a whole number >= 1, None or a (pair|tuple) \("):
            pool(size)
    with pytest.raises(ValueError, match=f"{kind}: expected an input of axes"):
        pool(2).apply({}, np.ones((2, 3)))
    with pytest.raises(ValueError, match=f"{kind}: expected an image of at least one pixel"):
        pool(None).apply({}, np.ones((1, *(0,) * rank, 2)))


@pytest.mark.parametrize("pool", GLOBAL, ids=repr)
def test_a_global_maximum_of_nothing_raises(pool: Any) -> None:
    with pytest.raises(ValueError, match=f"{pool.kind}: expected an image of at least one pixel"):
        pool.apply({}, np.ones((1, *(0,) * int(pool.kind[-2]), 2)))
