"""Sum and Lp pooling: windows counted by hand, and what PyTorch gives no number for."""

import math
from typing import Any

import numpy as np
import pytest

import funcnn as fn

LINE = np.array([3.0, -4.0, 0.0, 0.0, 5.0]).reshape(1, 5, 1)


def values(layer: fn.Layer, x: Any = LINE) -> tuple[list[float], list[float]]:
    """``(y, dx)`` for dy = 1."""
    y, vjp_fn = layer.apply({}, x)
    dx: Any = vjp_fn(np.ones_like(y))[1]
    return y.ravel().tolist(), dx.ravel().tolist()


def test_sums_by_hand() -> None:
    assert values(fn.sum_pool1d(2)) == ([-1, 0], [1, 1, 1, 1, 0])
    assert values(fn.sum_pool1d(3, stride=1, padding="same")) == ([-1, -1, -4, 5, 5], [2, 3, 3, 3, 2])
    assert values(fn.sum_pool1d(2, ceil_mode=True)) == ([-1, 0, 5], [1, 1, 1, 1, 1])
    image, cube = np.arange(16.0).reshape(1, 4, 4, 1), np.arange(16.0).reshape(1, 4, 2, 2, 1)
    assert values(fn.sum_pool2d((1, 4)), image)[0] == [6, 22, 38, 54]
    assert values(fn.sum_pool3d(2), cube)[0] == [28, 92]


def test_lp_by_hand() -> None:
    y, dx = values(fn.lp_pool1d(2, 2, ceil_mode=True))
    assert y == [5, 0, 5]
    np.testing.assert_allclose(dx, [0.6, -0.8, 0, 0, 1], rtol=1e-15)
    # p = 1 is the sum, and an odd p keeps the signs: PyTorch has NaN for the root of 27 - 64.
    assert values(fn.lp_pool1d(1, 2))[0] == [-1, 0]
    y, dx = values(fn.lp_pool1d(3, 2))
    np.testing.assert_allclose(y, [-np.cbrt(37), 0], rtol=1e-15)
    np.testing.assert_allclose(dx, [9 / 37 ** (2 / 3), 16 / 37 ** (2 / 3), 0, 0, 0], rtol=1e-15)
    # So has it for a fractional power of -4.
    y, dx = values(fn.lp_pool1d(0.5, 2))
    np.testing.assert_allclose(y, [(math.sqrt(3) + 2) ** 2, 0], rtol=1e-15)
    np.testing.assert_allclose(dx[:4], [(math.sqrt(3) + 2) / math.sqrt(3), -(math.sqrt(3) + 2) / 2, 0, 0], rtol=1e-15)
    assert values(fn.lp_pool1d(math.inf, 2)) == ([4, 0], [0, -1, 0, 0, 0])


def test_a_large_power_is_nearly_the_maximum() -> None:
    x = np.random.default_rng(0).uniform(0.1, 1, (2, 6, 6, 3)).astype(np.float32)
    y, _ = fn.lp_pool2d(1000, 3).apply({}, x)
    np.testing.assert_allclose(y, fn.max_pool2d(3).apply({}, x)[0], rtol=3e-3)  # 9 ** (1 / 1000)
    assert y.dtype == np.float32


def test_a_sum_that_is_too_large_is_infinite_without_a_warning() -> None:
    x = np.full((1, 2, 1), 3e38, np.float32)
    for layer in (fn.sum_pool1d(2), fn.lp_pool1d(1, 2), fn.lp_pool1d(2, 2)):
        assert layer.apply({}, x)[0].ravel().tolist() == [np.inf]
    np.testing.assert_allclose(fn.lp_pool1d(math.inf, 2).apply({}, x)[0], 3e38, rtol=1e-6)


@pytest.mark.parametrize("pool", [fn.lp_pool1d, fn.lp_pool2d, fn.lp_pool3d])
@pytest.mark.parametrize(
    ("p", "error", "message"),
    [
        (0, ValueError, "p: expected a positive number, got 0"),
        (-2, ValueError, "p: expected a positive number, got -2"),
        (-math.inf, ValueError, "p: expected a positive number, got -inf"),
        (math.nan, ValueError, "p: expected a positive number, got nan"),
        ("2", TypeError, "p: expected a number, got '2'"),
    ],
)
def test_a_power_that_is_not_positive_raises(pool: Any, p: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"{pool.__name__}: {message}"):
        pool(p, 2)
