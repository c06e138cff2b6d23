"""Lp pooling against its formula, which overflows where it does not, and its gradient against differences."""

import numpy as np
import pytest

from funcnn.kernels.lp_pooling import lp_gradient, lp_pool
from funcnn.kernels.pooling import sum_pool
from funcnn.kernels.windows import Window

WINDOW = Window((3, 2), (2, 1), (1, 2), ((1, 0), (0, 2)))


@pytest.mark.parametrize("p", [2, 3, 0.5, 2.5, 9, 10, 11])
def test_lp_pooling_agrees_with_its_formula(p: float) -> None:
    random = np.random.default_rng(0)
    x, geometry = random.standard_normal((2, 6, 5, 3)), WINDOW.fit("pool", (6, 5, 3))
    powers = np.sign(x) ** (p % 2 == 1) * np.abs(x) ** p
    total = sum_pool(powers, geometry)
    y = lp_pool(x, p, geometry)
    np.testing.assert_allclose(y, np.sign(total) * np.abs(total) ** (1 / p), rtol=1e-12)
    # One pixel after the other, by differences.
    dy, step = random.standard_normal(y.shape), 1e-6
    dx = lp_gradient(x, y, dy, p, geometry)
    for place in [(0, 0, 0, 0), (0, 2, 2, 1), (1, 5, 4, 2), (1, 3, 1, 0)]:
        ends = []
        for sign in (1, -1):
            moved = x.copy()
            moved[place] += sign * step
            ends.append((dy * lp_pool(moved, p, geometry)).sum())
        np.testing.assert_allclose(dx[place], (ends[0] - ends[1]) / (2 * step), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("p", [2, 3, 4, 2.5, 0.5])
def test_the_largest_and_the_smallest_numbers_have_their_mean_power(p: float, dtype: type) -> None:
    limits = np.finfo(dtype)
    geometry = Window((2,), (2,), (1,)).fit("pool", (1, 4, 1))
    for size in (limits.max / 20, limits.tiny * 4):
        x = np.array([1, 1, 0.5, 0], dtype).reshape(1, 4, 1) * dtype(size)
        y = lp_pool(x, p, geometry)
        assert y.dtype == dtype
        np.testing.assert_allclose(y.ravel() / dtype(size), [2 ** (1 / p), 0.5], rtol=1e-5)
        dx = lp_gradient(x, y, np.ones_like(y), p, geometry)
        slope = 2 ** (1 / p - 1)
        np.testing.assert_allclose(dx.ravel(), [slope, slope, 1, 0], rtol=1e-5)
        assert dx.dtype == dtype


@pytest.mark.parametrize("p", [2, 3, 0.5, 2.5])
def test_special_numbers(p: float) -> None:
    geometry = Window((2,), (2,), (1,)).fit("pool", (1, 8, 1))
    x = np.array([0, 0, np.inf, 1e300, np.nan, 1, -1, 0]).reshape(1, 8, 1)
    y = lp_pool(x, p, geometry)
    np.testing.assert_array_equal(y.ravel(), [0, np.inf, np.nan, -1 if p == 3 else 1])
    dx = lp_gradient(x, y, np.array([np.inf, 0, 0, 1]).reshape(1, 4, 1), p, geometry)
    # A window of zeros has no gradient, and a gradient of 0 stays 0 beside infinity and NaN.
    np.testing.assert_array_equal(dx.ravel(), [0, 0, 0, 0, 0, 0, 1 if p == 3 else -1, 0])
    # The sum of an odd power of infinities of both signs has no value.
    both = lp_pool(np.array([np.inf, -np.inf] * 4).reshape(1, 8, 1), p, geometry)
    np.testing.assert_array_equal(both.ravel(), [np.nan if p == 3 else np.inf] * 4)
