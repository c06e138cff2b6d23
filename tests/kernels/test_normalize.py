"""Norms against an obvious loop over groups: in every memory order, near 0 and far from it, and in short runs."""

import itertools
from typing import Any

import numpy as np
import pytest

from funcnn.aliases import Array
from funcnn.kernels.normalize import normalize, normalized_gradients
from funcnn.kernels.tuning import Tuning

EPS = 1e-5


def groups_of(x: Array, groups: int | None) -> Array:
    """For each element the number of its group."""
    examples, channels = len(x), x.shape[-1]
    if groups is None:
        return np.broadcast_to(np.arange(x[..., 0].size).reshape(x.shape[:-1])[..., None], x.shape)
    own = np.arange(channels) // (channels // groups)
    first = np.arange(examples).reshape(-1, *[1] * (x.ndim - 1)) * groups
    return np.broadcast_to(first + own, x.shape)


def by_loop(x: Array, scale: Array, shift: Array, dy: Array, groups: int | None, centred: bool) -> tuple[Array, ...]:
    """y, dscale, dshift and dx, a group at a time, in the longest floats."""
    x, scale, shift, dy = (a.astype(np.longdouble) for a in (x, scale, shift, dy))
    u, dx, g, of = np.empty_like(x), np.empty_like(x), dy * scale, groups_of(x, groups)
    for number in np.unique(of):
        mine = of == number
        values = x[mine] - (x[mine].mean() if centred else 0)
        inverse = 1 / np.sqrt((values**2).mean() + EPS)
        u[mine] = values * inverse
        dx[mine] = inverse * (g[mine] - g[mine].mean() * centred - u[mine] * (g[mine] * u[mine]).mean())
    rest = tuple(range(x.ndim - 1))
    return u * scale + shift, (dy * u).sum(rest), dy.sum(rest), dx


def in_order(x: Array, order: tuple[int, ...]) -> Array:
    """The same array with its axes in another order in memory."""
    return np.ascontiguousarray(x.transpose(order)).transpose(np.argsort(order))


def agree(x: Array, groups: int | None, centred: bool, tolerance: float, tuning: Tuning) -> None:
    random = np.random.default_rng(1)
    scale, shift = (random.standard_normal(x.shape[-1]).astype(x.dtype) for _ in range(2))
    dy = random.standard_normal(x.shape).astype(x.dtype)
    y, saved = normalize(x, scale, shift, EPS, groups=groups, centred=centred, tuning=tuning)
    found = (y, *normalized_gradients(dy, saved, scale, centred=centred, tuning=tuning))
    assert {a.dtype for a in found} == {x.dtype}
    for ours, exact in zip(found, by_loop(x, scale, shift, dy, groups, centred), strict=True):
        size = max(1.0, float(abs(exact).max()))
        np.testing.assert_allclose(ours, exact.astype(np.float64), rtol=0, atol=tolerance * size)


@pytest.mark.parametrize("groups", [None, 1, 2, 4])
@pytest.mark.parametrize("shape", [(3, 4), (3, 5, 4), (2, 3, 4, 4), (2, 2, 3, 2, 4)])
def test_every_memory_order_gives_what_the_loop_gives(shape: tuple[int, ...], groups: int | None) -> None:
    x = np.random.default_rng(0).standard_normal(shape)
    if groups == 4 and len(shape) == 2:
        groups = 2  # a group of one element has variance 0
    for order in itertools.permutations(range(len(shape))):
        agree(in_order(x, order), groups, centred=True, tolerance=1e-12, tuning=Tuning())


@pytest.mark.parametrize("groups", [None, 2])
@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("min_run", [1, 64, 100_000])
def test_runs_of_any_length_give_the_same(min_run: int, centred: bool, groups: int | None) -> None:
    x = np.random.default_rng(0).standard_normal((2, 8, 12, 4))
    for order in [(0, 1, 2, 3), (1, 3, 2, 0), (0, 3, 1, 2)]:
        agree(in_order(x, order), groups, centred, tolerance=1e-12, tuning=Tuning(min_run=min_run))


@pytest.mark.parametrize("groups", [None, 2])
@pytest.mark.parametrize("block", [1, 600, 10_000])
def test_blocks_of_any_size_give_the_same(block: int, groups: int | None) -> None:
    x = np.random.default_rng(0).standard_normal((5, 3, 6, 4))
    x[2] += 100  # one block is far from 0
    for order in [(0, 1, 2, 3), (1, 3, 2, 0), (0, 3, 1, 2)]:
        agree(in_order(x, order), groups, centred=True, tolerance=1e-12, tuning=Tuning(norm_block_bytes=block))


@pytest.mark.parametrize("groups", [None, 2])
@pytest.mark.parametrize("mean", [0.0, 10.0, 1e4, 1e6])
def test_a_mean_far_from_zero_costs_no_digits(mean: float, groups: int | None) -> None:
    x = (mean + np.random.default_rng(0).standard_normal((4, 6, 6, 8))).astype(np.float32)
    # Rounding in float32 is 6e-8; sums of 300 products add a few times that.
    agree(x, groups, centred=True, tolerance=3e-6, tuning=Tuning())


def test_what_is_too_large_for_a_square_is_normalized_all_the_same() -> None:
    x = np.array([[1e38, -1e38, 3e38, 1e38]], np.float32)
    y, _ = normalize(x, None, None, EPS)
    np.testing.assert_allclose(y, (x - 1e38) / np.sqrt(2) / 1e38, atol=1e-6)
    y, _ = normalize(x, None, None, EPS, centred=False)
    np.testing.assert_allclose(y, x / 1e38 / np.sqrt(3), rtol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_number_that_is_not_finite_stays_in_its_group(bad: float) -> None:
    x: Any = np.random.default_rng(0).standard_normal((3, 2, 4)).astype(np.float32)
    clean, _ = normalize(x, None, None, EPS, groups=2)
    x[1, 0, 3] = bad
    y, _ = normalize(x, None, None, EPS, groups=2)
    assert np.isnan(y[1, :, 2:]).all()
    for place in [0, 2, (1, slice(None), slice(2))]:
        np.testing.assert_allclose(y[place], clean[place], atol=1e-6)


def test_constant_elements_give_the_shift() -> None:
    for value in (0.0, 0.1, 1e30):
        y, _ = normalize(np.full((2, 5), value, np.float32), np.full(5, 2, np.float32), np.full(5, 3, np.float32), EPS)
        assert (y == 3).all(), value
