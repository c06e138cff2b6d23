"""Shuffles of pixels and channels, against the formulas of their docstrings as loops."""

from typing import Any

import numpy as np

import funcnn as fn


def test_pixel_shuffle_follows_its_formula_and_unshuffle_inverts_it() -> None:
    x = np.arange(2 * 2 * 3 * 18.0).reshape(2, 2, 3, 18)
    y, vjp_fn = fn.pixel_shuffle(3).apply({}, x)
    assert y.shape == (2, 6, 9, 2)
    for n, r, s, c, i, j in np.ndindex(2, 2, 3, 2, 3, 3):
        assert y[n, r * 3 + i, s * 3 + j, c] == x[n, r, s, (c * 3 + i) * 3 + j]
    back, vjp_back = fn.pixel_unshuffle(3).apply({}, y)
    np.testing.assert_array_equal(back, x)
    np.testing.assert_array_equal(vjp_fn(y)[1], x)
    np.testing.assert_array_equal(vjp_back(x)[1], y)


def test_pixel_shuffle_of_series_and_volumes() -> None:
    y, _ = fn.pixel_shuffle(2).apply({}, np.arange(8.0).reshape(1, 2, 4))
    assert y[0].T.tolist() == [[0, 1, 4, 5], [2, 3, 6, 7]]
    y, vjp_fn = fn.pixel_shuffle(2).apply({}, np.arange(8.0).reshape(1, 1, 1, 1, 8))
    assert y.ravel().tolist() == list(range(8))
    dx: Any = vjp_fn(y)[1]
    assert dx.ravel().tolist() == list(range(8))


def test_channel_shuffle_takes_one_channel_of_each_group_in_turn() -> None:
    x = np.arange(12.0).reshape(1, 2, 6)
    y, vjp_fn = fn.channel_shuffle(3).apply({}, x)
    assert y[0, 0].tolist() == [0, 2, 4, 1, 3, 5]
    np.testing.assert_array_equal(vjp_fn(y)[1], x)
