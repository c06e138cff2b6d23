"""The pooling kernels, in one, two and three dimensions, against the loops of ``oracle.py``."""

from typing import Any

import numpy as np
import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import funcnn as fn
from funcnn.aliases import Array
from funcnn.kernels.pooling import (
    extreme_gradient,
    extreme_pool,
    extreme_pooling,
    mean_gradient,
    mean_pool,
    sum_gradient,
    sum_pool,
)
from funcnn.kernels.tuning import Tuning
from funcnn.kernels.windows import Geometry, Window

KINDS = ["avg", "max", "min", "sum"]
PICKS = {"max": np.maximum, "min": np.minimum}


def pooled(kind: str, x: Array, dy: Array, geometry: Geometry, tuning: Tuning = Tuning()) -> tuple[Array, Array]:  # noqa: B008
    """``(y, dx)`` of a kernel."""
    if kind == "avg":
        none = ((0, 0),) * len(geometry.size)
        return mean_pool(x, geometry, none), mean_gradient(x, dy, geometry, none)
    if kind == "sum":
        return sum_pool(x, geometry), sum_gradient(x, dy, geometry)
    y = extreme_pool(x, PICKS[kind], geometry)
    dx = extreme_gradient(x, y, dy, PICKS[kind], geometry, tuning)
    y_pair, pull = extreme_pooling(x, PICKS[kind], geometry)
    np.testing.assert_array_equal(y_pair, y)
    np.testing.assert_allclose(pull(dy), dx, rtol=oracle.CLOSE, atol=oracle.CLOSE)
    return y, dx


@st.composite
def poolings(draw: st.DrawFn) -> dict[str, Any]:
    """A pooling, the shape of its input, how its two arrays lie in memory, and tuning constants."""
    rank = draw(oracle.ranks)
    size = draw(oracle.sizes(rank))
    kind = draw(st.sampled_from(KINDS))
    return {
        "kind": kind,
        "shape": (*draw(oracle.images(rank)), draw(st.integers(1, 2))),
        "size": size,
        "stride": draw(st.one_of(st.just(size), oracle.sizes(rank, 4))),
        "dilation": (1,) * rank if kind == "avg" else draw(st.one_of(st.just((1,) * rank), oracle.sizes(rank))),
        "padding": draw(oracle.paddings(tuple(n - 1 for n in size))),
        "ceil_mode": draw(st.booleans()),
        "values": draw(st.sampled_from(["numbers", "ties", "NaN and infinities"])),
        "layouts": draw(st.tuples(oracle.layouts, oracle.layouts)),
        "tuning": draw(oracle.tunings),
    }


@settings(max_examples=400)
@given(poolings(), st.integers(0, 2**32 - 1))
def test_pooling_and_its_gradient_agree_with_the_loops(case: dict[str, Any], seed: int) -> None:
    random = np.random.default_rng(seed)
    shape, size, kind = case["shape"], case["size"], case["kind"]
    stride, dilation, padding = case["stride"], case["dilation"], case["padding"]
    window = Window(size, stride, dilation, padding, case["ceil_mode"])
    # Three different numbers at most, all below zero: many ties, and a padding of zeros would win every maximum.
    values = -random.integers(1, 4, shape).astype(float) if case["values"] == "ties" else random.standard_normal(shape)
    if case["values"] == "NaN and infinities" and kind in ("max", "min"):
        values = random.choice([np.nan, np.inf, -np.inf, 1.0], shape, p=[0.1, 0.4, 0.4, 0.1])
    x = oracle.arranged(values.astype(oracle.FLOAT), case["layouts"][0])
    begins, low = oracle.all_axes(shape, size, stride, dilation, padding, case["ceil_mode"])
    if not all(begins):
        with pytest.raises(ValueError, match=r"pool: a window of .* is larger than its input"):
            window.fit("pool", shape)
        return
    geometry = window.fit("pool", shape)
    assert geometry.has_empty_window() == oracle.has_empty_window(begins, low, size, dilation, shape[1:-1])
    if geometry.has_empty_window():
        return
    dy = random.standard_normal((shape[0], *map(len, begins), shape[-1])).astype(oracle.FLOAT)
    dy = oracle.arranged(dy, case["layouts"][1])
    expected_y, expected_dx = oracle.pooling(kind, x, dy, begins, low, size, dilation)

    y, dx = pooled(kind, x, dy, geometry, case["tuning"])

    assert y.shape == expected_y.shape
    assert dx.shape == x.shape
    if kind in ("max", "min"):
        np.testing.assert_array_equal(y, expected_y)
    # A pixel gets the sum of at most 27 gradients near 1.
    np.testing.assert_allclose(y, expected_y, rtol=oracle.CLOSE, atol=oracle.CLOSE)
    np.testing.assert_allclose(dx, expected_dx, rtol=oracle.CLOSE, atol=oracle.CLOSE)
    # Nothing of the gradient is lost on the padding or counted twice in a tie.
    if kind != "sum":
        np.testing.assert_allclose(dx.sum(), dy.sum(), rtol=0, atol=10 * oracle.CLOSE)


@pytest.mark.parametrize("kind", ["max", "min"])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_the_first_of_tied_pixels_gets_the_whole_gradient(kind: str, rank: int) -> None:
    two = (2,) * rank
    geometry = Window(two, two, (1,) * rank).fit("pool", (1, *two, 1))
    _, dx = pooled(kind, np.ones((1, *two, 1)), np.full((1, *(1,) * rank, 1), 5.0), geometry)
    np.testing.assert_array_equal(dx.ravel(), [5] + [0] * (2**rank - 1))


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_the_memory_order_of_the_input_is_kept(rank: int, kind: str, padding: str) -> None:
    shape = (2, *(7, 6, 8)[:rank], 3)
    x = oracle.arranged(np.random.default_rng(0).standard_normal(shape), "kernel")
    geometry = Window((3,) * rank, (2,) * rank, (1,) * rank, padding).fit("pool", shape)
    y, dx = pooled(kind, x, np.ones((2, *geometry.counts, 3)), geometry)
    for array in (y, dx):
        assert np.argsort(array.strides).tolist() == np.argsort(x.strides).tolist()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layer", [fn.max_pool2d(2), fn.min_pool2d(2)], ids=repr)
def test_a_nan_wins_and_gets_the_gradient(layer: fn.Layer, dtype: Any) -> None:
    for place in range(4):
        x = np.array([1, 2, 3, 4], dtype).reshape(1, 2, 2, 1)
        x.reshape(4)[place] = np.nan
        y, vjp_fn = layer.apply({}, x)
        _, dx = vjp_fn(np.full_like(y, 7))
        assert np.isnan(y).all()
        assert dx is not None
        assert dx.ravel().tolist() == [7 if pixel == place else 0 for pixel in range(4)]


@pytest.mark.parametrize(
    ("layer", "number"),
    [
        (fn.max_pool2d(3, stride=2, padding="same"), -np.inf),
        (fn.min_pool2d(2, padding=((1, 0), (1, 0))), np.inf),
        (fn.max_pool1d(2, padding=(1, 1)), -np.inf),
        (fn.min_pool3d(2, padding=((1, 0), (1, 0), (0, 1))), np.inf),
    ],
    ids=repr,
)
def test_infinite_pixels_get_the_gradient_and_not_the_padding(layer: fn.Layer, number: float) -> None:
    x = np.full((1, *{1: (5,), 2: (5, 5), 3: (5, 5, 5)}[int(layer.kind[-2])], 1), number)
    y, vjp_fn = layer.apply({}, x)
    _, dx = vjp_fn(np.ones_like(y))
    assert (y == number).all()
    assert dx is not None
    assert dx.sum() == y.size


@pytest.mark.parametrize("stride", [2, 1])
@pytest.mark.parametrize("number", [np.inf, -np.inf, np.nan])
def test_a_gradient_that_is_no_number_stays_with_the_pixel_that_won(number: float, stride: int) -> None:
    x = np.array([[1.0, 4.0, 2.0], [3.0, 0.0, 0.0]]).reshape(1, 2, 3, 1)
    y, vjp_fn = fn.max_pool2d(2, stride=stride).apply({}, x)
    dy = np.ones_like(y)
    dy[0, 0, 0, 0] = number
    _, dx = vjp_fn(dy)
    assert dx is not None
    np.testing.assert_array_equal(dx.ravel(), [0, number, 0, 0, 0, 0])


@pytest.mark.parametrize("memory", ["C", "kernel"])
def test_the_size_of_a_block_changes_no_bit(memory: str) -> None:
    random = np.random.default_rng(0)
    for rank in (1, 2, 3):
        x = oracle.arranged(random.standard_normal((2, *(9, 8, 7)[:rank], 3)), memory)
        geometry = Window((2,) * rank, (3,) * rank, (1,) * rank).fit("pool", x.shape)
        dy = random.standard_normal((2, *geometry.counts, 3))
        _, whole = pooled("max", x, dy, geometry)
        # One row at a time, and two of three.
        for block_bytes in (1, dy.nbytes * 2 // 3):
            _, parts = pooled("max", x, dy, geometry, Tuning(block_bytes=block_bytes))
            assert np.array_equal(whole, parts)
