"""Sums per channel, block by block, against plain NumPy on the whole array."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from funcnn.aliases import Array
from funcnn.kernels.epilogue import Activation
from funcnn.kernels.layout import blocks, channel_view, tiled_channels
from funcnn.kernels.moments import channel_sums, joined_moments, moments, scale_and_shift, sums_and_products
from funcnn.kernels.tuning import Tuning

# Up to 125 elements of size 1 or so in a channel, added in another order: their rounding is below 1e-13.
CLOSE = {"rtol": 1e-12, "atol": 1e-13}


@st.composite
def arrays(draw: st.DrawFn) -> Array:
    """A read-only array of two axes or more, the last of them channels: any memory order, some axes backwards."""
    shape = tuple(draw(st.lists(st.integers(0, 5), min_size=2, max_size=4)))
    values = np.random.default_rng(draw(st.integers(0, 2**32 - 1))).standard_normal(shape)
    order = draw(st.permutations(range(len(shape))))
    x = np.ascontiguousarray(values.transpose(order)).transpose(np.argsort(order))
    x = x[tuple(slice(None, None, draw(st.sampled_from([1, -1]))) for _ in shape)]
    x.setflags(write=False)
    return x


# One byte cuts off single slices; others a few slices, and more than there are.
block_bytes = st.sampled_from([1, 64, 200, 1000, 10**6])


@settings(max_examples=300)
@given(arrays())
def test_a_channel_view_is_the_array_in_the_order_of_its_memory(x: Array) -> None:
    seen = channel_view(x)
    axes = tuple(range(x.ndim - 1))
    # The channels keep their axis, and nothing is lost; without axes backwards nothing is copied either.
    assert seen.shape[1] == x.shape[-1]
    assert sorted(seen.sum(tuple({*range(seen.ndim)} - {1}))) == pytest.approx(sorted(x.sum(axes)))
    assert seen.size == x.size
    if all(stride > 0 for stride in x.strides):
        assert np.shares_memory(seen, x) or not x.size


def test_a_channel_view_by_hand() -> None:
    x = np.arange(24).reshape(2, 3, 4)
    assert channel_view(x).tolist() == x.reshape(6, 4).tolist()
    # The channels lie outermost, or in between; or the order is another array's.
    assert channel_view(np.asfortranarray(x)).tolist() == x.transpose(2, 1, 0).reshape(1, 4, 6).tolist()
    between = x.transpose(1, 2, 0).copy().transpose(2, 0, 1)
    assert channel_view(between).tolist() == x.transpose(1, 2, 0).tolist() == channel_view(x, like=between).tolist()
    assert np.shares_memory(channel_view(between), between)


def test_two_channel_views_of_one_order_have_one_shape() -> None:
    # An axis of one element may have any stride, and so may seem to lie anywhere; it must do so in both views.
    x = np.array([[1.0], [2.0]])
    like = np.array([[3.0], [4.0]]).copy("F")
    for array in (x, x[::-1], np.asfortranarray(x), np.broadcast_to(x[:1], x.shape)):
        assert channel_view(array, like=like).shape == channel_view(like).shape
        assert channel_view(array, like=like).ravel().tolist() == array.ravel().tolist()


@settings(max_examples=300)
@given(arrays(), block_bytes)
def test_blocks_cover_a_channel_view_once(x: Array, size: int) -> None:
    seen = channel_view(x)
    rows = np.arange(len(seen))
    found = blocks(seen, rows, tuning=Tuning(block_bytes=size))
    assert [row for _, part in found for row in part] == list(rows)
    for block, part in found:
        assert np.shares_memory(block, seen) or not block.size
        assert len(block) == len(part)
        # No block is too large, unless it is a single row.
        assert block.nbytes <= size or len(block) == 1


def test_blocks_by_hand() -> None:
    x = np.zeros((5, 3, 2))
    found = blocks(x, x, tuning=Tuning(block_bytes=x.nbytes * 2 // 5))
    assert [[part.shape for part in block] for block in found] == [[(n, 3, 2)] * 2 for n in (2, 2, 1)]


@settings(max_examples=300)
@given(arrays(), block_bytes, st.sampled_from("CF"))
def test_sums_per_channel_are_those_of_the_whole(x: Array, size: int, order: str) -> None:
    axes, c = tuple(range(x.ndim - 1)), x.shape[-1]
    mean, other = np.arange(c) / 7, np.cos(x).copy(order)  # type: ignore[call-overload]
    tuning = Tuning(block_bytes=size)
    sums, (n, centre, squares, _) = channel_sums(x, tuning), moments(x, tuning)
    same_sums, products = sums_and_products(x, other, mean, tuning)
    np.testing.assert_allclose(sums, x.sum(axes), **CLOSE)
    np.testing.assert_allclose(same_sums, x.sum(axes), **CLOSE)
    np.testing.assert_allclose(products, (x * (other - mean)).sum(axes), **CLOSE)
    assert n == (x.size // c if c else 0)
    expected = x.mean(axes) if n else np.zeros(c)
    np.testing.assert_allclose(centre, expected, **CLOSE)
    np.testing.assert_allclose(squares, np.square(x - expected).sum(axes), **CLOSE)


@settings(max_examples=100)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=5), st.integers(0, 2**32 - 1))
def test_moments_of_parts_merge_to_those_of_the_whole(sizes: list[int], seed: int) -> None:
    # Means far apart, so that their distance counts in the squares; some parts are empty.
    random = np.random.default_rng(seed)
    parts = [random.standard_normal((size, 2)) + random.integers(-9, 9, 2) for size in sizes]
    joined = (0, np.zeros(2), np.zeros(2), False)
    for part in parts:
        joined = joined_moments(joined, moments(part))
    n, mean, squares, _ = moments(np.concatenate(parts))
    assert joined[0] == n == sum(sizes)
    np.testing.assert_allclose(joined[1], mean, **CLOSE)
    # Squares of distances up to 20: their rounding is some hundred times that of numbers of size 1.
    np.testing.assert_allclose(joined[2], squares, rtol=1e-12, atol=1e-11)


def test_merging_by_hand() -> None:
    # 1 and 3 have mean 2 and squares 2; with 8 as third the mean is 4 and the squares 9 + 1 + 16.
    n, mean, squares, far = joined_moments(
        (2, np.array([2.0]), np.array([2.0]), False), (1, np.array([8.0]), np.array([0.0]), True)
    )
    assert (n, mean.tolist(), squares.tolist(), far) == (3, [4], [26], True)


@pytest.mark.parametrize("width", [1, 3, 32, 256])
def test_a_large_mean_leaves_the_variance_in_float32(width: int) -> None:
    x = (1e4 + np.random.default_rng(width).standard_normal((100, 20, 10, width))).astype(np.float32)
    exact = x.astype(np.float64)
    n, mean, squares, _ = moments(x)
    # NumPy adds the r rows of a block one by one, into sums up to 1e4 r, each rounded by 2**-24 of itself at most. Such
    # a random walk leaves a block's mean off by 1e4 2**-24 sqrt(r) / 3 or so: 0.03 for the 20,000 rows of 3 channels.
    # The variance is off by that squared, 1e-3; the textbook's E[x^2] - E[x]^2 would be off by thousands.
    np.testing.assert_allclose(mean, exact.mean((0, 1, 2)), rtol=0, atol=0.03)
    np.testing.assert_allclose(squares / n, exact.var((0, 1, 2)), rtol=1e-3)


@pytest.mark.parametrize("order", "CF")
def test_an_affine_map_per_channel_by_hand(order: Any) -> None:
    x = np.array([[3.0, 1.0], [5.0, 2.0]], order=order)
    y = scale_and_shift(x, np.array([1.0, 0.0]), np.array([2.0, 10.0]), np.array([0.5, 7.0]))
    assert y.tolist() == [[4.5, 17], [8.5, 27]]
    assert x.tolist() == [[3, 1], [5, 2]]
    assert y.strides == x.strides
    negated = scale_and_shift(x, *np.zeros((1, 2)), np.ones(2), np.zeros(2), Activation("negative", np.negative))
    assert negated.tolist() == [[-3, -1], [-5, -2]]


def test_tiled_channels_are_added_to_where_they_lie() -> None:
    y, values = np.zeros((12, 3, 1)), np.array([1.0, 2.0, 3.0])
    for small, shape in ((0, (2, 18)), (10**6, (12, 3))):
        # A run of 24 has room for 8 of 12 pixels, so they go six by six; a small array stays a matrix.
        view, tiled = tiled_channels(y, values, tuning=Tuning(small_array_max=small, min_run=24))
        assert view.shape == shape
        view += tiled
    assert y[:, :, 0].tolist() == [[2, 4, 6]] * 12
    # With gaps or long runs nothing is moved.
    for x in (np.zeros((12, 3, 2))[:, :, :1], np.zeros((12, 3, 8)), np.zeros((12, 3, 0))):
        same, tiled = tiled_channels(x, values)
        assert same is x
        assert tiled.shape == (3, 1)
