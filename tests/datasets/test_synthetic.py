from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from funcnn.datasets import circles, disc, moons, shapes

NOISY = [circles, moons, shapes]


@pytest.mark.parametrize("make", [*NOISY, disc])
@given(n=st.integers(0, 60), seed=st.integers(0, 3))
def test_a_set_is_a_function_of_its_arguments(make: Callable[..., Any], n: int, seed: int) -> None:
    x, labels = make(n, rng=seed)
    assert x.dtype == np.float32
    assert labels.dtype == np.int64
    assert x.shape == (n, *((3, 3, 1) if make is shapes else (2,)))
    assert labels.shape == (n,)
    again, other = make(n, rng=seed), make(n, rng=seed + 1)
    np.testing.assert_array_equal(x, again[0])
    np.testing.assert_array_equal(labels, again[1])
    if make is not disc:
        classes = 4 if make is shapes else 2
        assert np.ptp(np.bincount(labels, minlength=classes)) <= 1
    if n > 30:
        assert not np.array_equal(x, other[0])
        assert np.any(np.diff(labels) < 0)  # in random order


@pytest.mark.parametrize("make", [circles, moons])
def test_noise_is_gaussian_of_the_given_deviation(make: Callable[..., Any]) -> None:
    clean, noisy = make(20_000, rng=1)[0], make(20_000, noise=0.3, rng=1)[0]
    moved = noisy - clean  # the order is drawn before the noise, so that it is the same
    # 40,000 draws: the deviation is known to 0.4 %, the mean to 0.0015; five times that.
    assert abs(moved.std() - 0.3) < 0.02 * 0.3
    assert abs(moved.mean()) < 0.0075
    assert np.abs(moved).max() > 3 * 0.3


def test_disc_is_labelled_by_its_formula() -> None:
    x, labels = disc(20_000)
    inside = [(i * i + j * j) / np.pi < 0.2 for i, j in x.tolist()]
    np.testing.assert_array_equal(labels, inside)
    assert x.min() < -0.99
    assert 0.99 < x.max() < 1
    # The disc has the area 0.2 pi^2 of 4; 20,000 points show it to 0.35 %, five times that.
    assert abs(labels.mean() - 0.2 * np.pi**2 / 4) < 0.018


def test_shapes_are_the_four_with_even_noise_on_every_pixel() -> None:
    clean, labels = shapes(4000, noise=0.0, rng=2)
    noisy, same = shapes(4000, rng=2)
    np.testing.assert_array_equal(labels, same)
    pictures = [".#. .#. .#.", "... ### ...", ".#. ### .#.", ".#. #.# .#."]
    for label, picture in enumerate(pictures):
        pixels = np.array([[mark == "#" for mark in row] for row in picture.split()])
        np.testing.assert_array_equal(clean[labels == label], np.broadcast_to(pixels[..., None], (1000, 3, 3, 1)))
    moved = noisy - clean
    assert np.abs(moved).max() <= 0.25 + 1e-6  # float32 near 1
    # Uniform: 36,000 draws come within 1 % of both ends and have the deviation width / sqrt(12), to 0.3 %.
    assert moved.min() < -0.2475
    assert moved.max() > 0.2475
    assert abs(moved.std() / (0.5 / 12**0.5) - 1) < 0.015


@pytest.mark.parametrize("make", NOISY)
@pytest.mark.parametrize("noise", [-0.1, float("nan"), float("inf")])
def test_strengths_of_noise_that_are_none_are_refused(make: Callable[..., Any], noise: float) -> None:
    with pytest.raises(ValueError, match="noise must be a number >= 0, got"):
        make(3, noise=noise)


@pytest.mark.parametrize("make", [*NOISY, disc])
@pytest.mark.parametrize("n", [-1, 2.5, True])
def test_numbers_of_examples_that_are_none_are_refused(make: Callable[..., Any], n: Any) -> None:
    with pytest.raises(ValueError, match="n must be a whole number >= 0, got"):
        make(n)
