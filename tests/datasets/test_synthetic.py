from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from funcnn.datasets import circles, moons

every_set = pytest.mark.parametrize("make", [circles, moons])


@every_set
@given(n=st.integers(0, 60), seed=st.integers(0, 3))
def test_a_set_is_a_function_of_its_arguments(make: Callable[..., Any], n: int, seed: int) -> None:
    x, labels = make(n, rng=seed)
    assert x.dtype == np.float32
    assert labels.dtype == np.int64
    assert x.shape == (n, 2)
    assert labels.shape == (n,)
    again, other = make(n, rng=seed), make(n, rng=seed + 1)
    np.testing.assert_array_equal(x, again[0])
    np.testing.assert_array_equal(labels, again[1])
    assert np.ptp(np.bincount(labels, minlength=2)) <= 1
    if n > 30:
        assert not np.array_equal(x, other[0])
        assert np.any(np.diff(labels) < 0)  # in random order


@every_set
def test_noise_is_gaussian_with_the_given_standard_deviation(make: Callable[..., Any]) -> None:
    clean, noisy = make(20_000, rng=1)[0], make(20_000, noise=0.3, rng=1)[0]
    moved = noisy - clean  # the order is drawn before the noise, so that it is the same
    # 40,000 draws: the standard deviation is known to 0.4 %, the mean to 0.0015; five times that.
    assert abs(moved.std() - 0.3) < 0.02 * 0.3
    assert abs(moved.mean()) < 0.0075
    assert np.abs(moved).max() > 3 * 0.3


@every_set
@pytest.mark.parametrize("noise", [-0.1, float("nan"), float("inf")])
def test_invalid_noise_raises(make: Callable[..., Any], noise: float) -> None:
    with pytest.raises(ValueError, match="noise must be a number >= 0, got"):
        make(3, noise=noise)


@every_set
@pytest.mark.parametrize("n", [-1, 2.5, True])
def test_an_invalid_number_of_examples_raises(make: Callable[..., Any], n: Any) -> None:
    with pytest.raises(ValueError, match="n must be a whole number >= 0, got"):
        make(n)
