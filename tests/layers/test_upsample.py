"""Upsampling: where each new pixel comes from, by hand, and what infinite pixels reach."""

from typing import Any

import numpy as np
import pytest

import funcnn as fn
from funcnn.aliases import Array

X = np.arange(24.0).reshape(2, 2, 3, 2)


def series(*pixels: float) -> Array:
    return np.array(pixels, float).reshape(1, -1, 1)


def test_upsample_repeats_pixels_and_sums_their_gradients() -> None:
    y, vjp_fn = fn.upsample2d((2, 3)).apply({}, np.array([[1.0, 2.0]]).reshape(1, 1, 2, 1))
    assert y[0, :, :, 0].tolist() == [[1, 1, 1, 2, 2, 2]] * 2
    _, dx = vjp_fn(np.arange(12.0).reshape(y.shape))
    assert dx is not None
    assert dx.ravel().tolist() == [0 + 1 + 2 + 6 + 7 + 8, 3 + 4 + 5 + 9 + 10 + 11]


def test_upsampling_series_and_volumes() -> None:
    y, vjp_fn = fn.upsample1d(2).apply({}, np.array([1.0, 2.0]).reshape(1, 2, 1))
    assert y.ravel().tolist() == [1, 1, 2, 2]
    _, dx = vjp_fn(np.arange(4.0).reshape(y.shape))
    assert dx is not None
    assert dx.ravel().tolist() == [0 + 1, 2 + 3]
    y, vjp_fn = fn.upsample3d((2, 1, 2)).apply({}, np.array([1.0, 2.0]).reshape(1, 1, 2, 1, 1))
    assert y[0, :, :, :, 0].tolist() == [[[1, 1], [2, 2]]] * 2
    _, dx = vjp_fn(np.arange(8.0).reshape(y.shape))
    assert dx is not None
    assert dx.ravel().tolist() == [0 + 1 + 4 + 5, 2 + 3 + 6 + 7]
    with pytest.raises(ValueError, match=r"upsample3d: factor must be .* a tuple \(depth, height, width\)"):
        fn.upsample3d((2, 2))
    with pytest.raises(ValueError, match=r"upsample1d: expected an input of axes \(batch, width, channels\)"):
        fn.upsample1d(2).apply({}, X)


def test_upsampling_keeps_the_order_of_the_axes_in_memory() -> None:
    images = np.arange(48.0).reshape(2, 3, 2, 4)
    turned = np.ascontiguousarray(images.transpose(1, 3, 2, 0)).transpose(3, 0, 2, 1)
    (y, vjp_fn), (expected, expected_vjp) = (fn.upsample2d((2, 3)).apply({}, x) for x in (turned, images))
    assert y.transpose(1, 3, 2, 0).flags.c_contiguous
    np.testing.assert_array_equal(y, images.repeat(2, 1).repeat(3, 2))
    np.testing.assert_array_equal(vjp_fn(y)[1], expected_vjp(expected)[1])
    np.testing.assert_array_equal(vjp_fn(y)[1], 6 * images)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        # By size a step is n / size: floor(s * 4 / 3) and floor(s * 4 / 6).
        ({"size": 3}, [0, 10, 20]),
        ({"size": 6}, [0, 0, 10, 20, 20, 30]),
        ({"size": 1}, [0]),
        # By factor it is 1 / factor: floor(s / 1.4), of which there are floor(4 * 1.4) = 5.
        ({"factor": 1.4}, [0, 0, 10, 20, 20]),
        ({"factor": 0.6}, [0, 10]),
        # A factor that makes twice as many, or as many, repeats all alike.
        ({"factor": 2.2}, [0, 0, 10, 10, 20, 20, 30, 30]),
        ({"factor": 1.2}, [0, 10, 20, 30]),
        # Centres at 0.25 and so on from the edge, those outside at the first and the last pixel.
        ({"factor": 2, "mode": "linear"}, [0, 2.5, 7.5, 12.5, 17.5, 22.5, 27.5, 30]),
        ({"factor": 0.5, "mode": "linear"}, [5, 25]),
        ({"size": 7, "mode": "linear", "align_corners": True}, [0, 5, 10, 15, 20, 25, 30]),
        ({"size": 1, "mode": "linear", "align_corners": True}, [0]),
    ],
    ids=repr,
)
def test_pixels_by_size_factor_and_mode(options: Any, expected: list[float]) -> None:
    y, _ = fn.upsample1d(**options).apply({}, series(0, 10, 20, 30))
    assert y.ravel().tolist() == pytest.approx(expected)


def test_bicubic_weights_are_those_of_keys_with_minus_three_quarters() -> None:
    # At the middle of two pixels: (-3, 19, 19, -3) / 32 with a = -0.75.
    y, vjp_fn = fn.upsample2d((1, 0.5), mode="bicubic").apply({}, np.eye(4).reshape(4, 1, 4, 1))
    assert y[:, 0, :, 0].T.tolist() == [[22 / 32 - 6 / 32, 19 / 32, -3 / 32, 0], [0, -3 / 32, 19 / 32, 16 / 32]]
    dx: Any = vjp_fn(np.ones_like(y))[1]
    assert dx[0].ravel().tolist() == [16 / 32, 16 / 32, 16 / 32, 16 / 32]


def test_linear_and_the_name_of_the_rank_are_the_same() -> None:
    for layer, name, x in ((fn.upsample2d, "bilinear", X), (fn.upsample3d, "trilinear", X[..., None])):
        one, other = (layer(1.5, mode=mode).apply({}, x)[0] for mode in ("linear", name))
        np.testing.assert_array_equal(one, other)


def test_a_factor_is_printed_without_its_keyword_and_a_size_with_it() -> None:
    assert repr(fn.upsample2d(factor=2)) == repr(fn.upsample2d(2)) == "upsample2d(2)"
    assert repr(fn.upsample1d(size=4, mode="linear")) == "upsample1d(size=4, mode='linear')"
    assert repr(fn.upsample1d(None, 4)) == "upsample1d(size=4)"


def test_the_axes_are_independent() -> None:
    y, _ = fn.upsample2d((1, 2), mode="bilinear").apply({}, np.arange(4.0).reshape(1, 2, 2, 1))
    assert y[0, :, :, 0].tolist() == [[0, 0.25, 0.75, 1], [2, 2.25, 2.75, 3]]


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_an_infinite_pixel_reaches_its_neighbours_only(value: float) -> None:
    y, vjp_fn = fn.upsample1d(2, mode="linear").apply({}, series(1, 1, 1, value, 1))
    assert np.isfinite(y.ravel()).tolist() == [True] * 5 + [False] * 4 + [True]
    dx: Any = vjp_fn(np.where(np.isfinite(y), 1, value))[1]
    assert np.isfinite(dx.ravel()).tolist() == [True, True, False, False, False]
    # The centres of the corners are pixels, whose neighbours have weight 0.
    y, _ = fn.upsample1d(size=5, mode="linear", align_corners=True).apply({}, series(1, value, 2))
    assert np.isfinite(y.ravel()).tolist() == [True, False, False, False, True]


@pytest.mark.parametrize(
    "options", [{"factor": 2}, {"size": 3, "mode": "bilinear"}, {"factor": 1.5, "mode": "bicubic"}]
)
def test_empty_batches_dtypes_and_byte_orders(options: Any) -> None:
    layer = fn.upsample2d(**options)
    expected, _ = layer.apply({}, X)
    y, vjp_fn = layer.apply({}, X.astype(np.float32))
    assert y.dtype == np.float32
    assert vjp_fn(y)[1].dtype == np.float32
    np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-5)
    np.testing.assert_array_equal(layer.apply({}, X.astype(">f8"))[0], expected)
    y, vjp_fn = layer.apply({}, X[:0])
    assert y.shape == (0, *expected.shape[1:])
    assert vjp_fn(y)[1].shape == (0, *X.shape[1:])


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
def test_a_full_sized_image_in_float32(mode: Any) -> None:
    x = np.random.default_rng(0).standard_normal((4, 57, 64, 16))
    layer = fn.upsample2d(size=(100, 130), mode=mode)
    (y, vjp_fn), (expected, expected_vjp) = layer.apply({}, x.astype(np.float32)), layer.apply({}, x)
    dy = np.random.default_rng(1).standard_normal(y.shape)
    # Each output is a sum of at most 16 products, each gradient of some 30, of numbers up to 5: an error of a few
    # roundings, 30 * 5 * 2^-24 = 1e-5.
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(vjp_fn(dy.astype(np.float32))[1], expected_vjp(dy)[1], rtol=0, atol=1e-5)
