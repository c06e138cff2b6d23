"""Unfolding and folding by hand: the order of elements, each as the other's vjp, and what does not fit."""

from typing import Any

import numpy as np
import pytest

import funcnn as fn


def test_the_channel_is_the_slowest_in_a_row() -> None:
    # Two channels, x and 10 x.
    x = np.arange(1.0, 7.0).reshape(1, 2, 3, 1) * [1, 10]
    y, _ = fn.unfold(2).apply({}, x)
    assert y.tolist() == [[[1, 2, 4, 5, 10, 20, 40, 50], [2, 3, 5, 6, 20, 30, 50, 60]]]
    y, _ = fn.unfold((1, 2), stride=(1, 2), padding=((0, 0), (1, 0))).apply({}, x[..., :1])
    assert y.tolist() == [[[0, 1], [2, 3], [0, 4], [5, 6]]]
    y, _ = fn.unfold((2,), dilation=2).apply({}, x[:, 0])
    assert y.tolist() == [[[1, 3, 10, 30]]]


def test_folding_adds_patches_up() -> None:
    y, _ = fn.fold((1, 3), (1, 2)).apply({}, np.array([[[1.0, 2.0, 10.0, 20.0], [3.0, 4.0, 30.0, 40.0]]]))
    assert y.tolist() == [[[[1, 10], [5, 50], [4, 40]]]]
    # What lies on the padding is dropped.
    y, _ = fn.fold((3,), (2,), stride=2, padding=(1, 0)).apply({}, np.array([[[1.0, 2.0], [3.0, 4.0]]]))
    assert y.ravel().tolist() == [2, 3, 4]


@pytest.mark.parametrize(
    ("pixels", "options"),
    [
        ((7,), {"size": (3,), "stride": 2, "padding": "same"}),
        ((6, 5), {"size": (3, 2), "stride": (2, 1), "padding": ((1, 0), (0, 2)), "dilation": (1, 2)}),
        ((4, 3, 5), {"size": (2, 1, 3), "stride": (2, 1, 1)}),
    ],
)
def test_each_is_the_vjp_of_the_other(pixels: tuple[int, ...], options: dict[str, Any]) -> None:
    random = np.random.default_rng(0)
    unfold, fold = fn.unfold(**options), fn.fold(pixels, **options)
    x = random.standard_normal((2, *pixels, 3))
    rows, unfold_vjp = unfold.apply({}, x)
    dy = random.standard_normal(rows.shape)
    image, fold_vjp = fold.apply({}, dy)
    np.testing.assert_array_equal(unfold_vjp(dy)[1], image)
    np.testing.assert_array_equal(fold_vjp(x)[1], rows)
    # Folding what was unfolded multiplies each pixel by the number of windows that cover it.
    cover, _ = fold.apply({}, unfold.apply({}, np.ones_like(x))[0])
    np.testing.assert_allclose(fold.apply({}, rows)[0], cover * x, rtol=1e-14)


def test_an_infinite_pixel_stays_with_itself() -> None:
    x = np.array([np.inf, 1.0, np.nan]).reshape(1, 3, 1)
    y, vjp_fn = fn.unfold((2,)).apply({}, x)
    np.testing.assert_array_equal(y, [[[np.inf, 1], [1, np.nan]]])
    np.testing.assert_array_equal(vjp_fn(y)[1].ravel(), [np.inf, 2, np.nan])
