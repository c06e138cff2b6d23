"""Padding and cropping: what stands where, and where its gradient goes."""

from typing import Any

import numpy as np
import pytest

import funcnn as fn
from funcnn.aliases import Array

X = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]).reshape(1, 2, 3, 1)


def series(*pixels: float) -> Array:
    return np.array(pixels, float).reshape(1, -1, 1)


@pytest.mark.parametrize(
    ("mode", "options", "y", "dx"),
    [
        ("zero", {}, [0, 0, 1, 2, 3, 0], [3, 4, 5]),
        ("constant", {"value": -7.0}, [-7, -7, 1, 2, 3, -7], [3, 4, 5]),
        ("reflect", {}, [3, 2, 1, 2, 3, 2], [3, 4 + 2 + 6, 5 + 1]),
        ("replicate", {}, [1, 1, 1, 2, 3, 3], [3 + 1 + 2, 4, 5 + 6]),
        ("circular", {}, [2, 3, 1, 2, 3, 1], [3 + 6, 4 + 1, 5 + 2]),
    ],
)
def test_each_mode_and_its_gradient(mode: Any, options: Any, y: list[float], dx: list[float]) -> None:
    padded, vjp_fn = fn.pad((2, 1), mode, **options).apply({}, series(1, 2, 3))
    assert padded.ravel().tolist() == y
    found: Any = vjp_fn(series(1, 2, 3, 4, 5, 6))[1]
    assert found.ravel().tolist() == dx


def test_axes_are_padded_by_their_own_widths_and_batch_and_channels_are_not() -> None:
    y, _ = fn.pad(((1, 0), (0, 2)), "circular").apply({}, X)
    assert y[0, :, :, 0].tolist() == [[4, 5, 6, 4, 5], [1, 2, 3, 1, 2], [4, 5, 6, 4, 5]]
    y, _ = fn.pad(1, "reflect").apply({}, X)
    assert y[0, :, :, 0].tolist() == [[5, 4, 5, 6, 5], [2, 1, 2, 3, 2], [5, 4, 5, 6, 5], [2, 1, 2, 3, 2]]
    for pixels in ((5,), (5, 4), (5, 4, 3), (2, 3, 2, 2)):
        assert fn.pad(1).apply({}, np.ones((2, *pixels, 3)))[0].shape == (2, *[n + 2 for n in pixels], 3)
        assert fn.crop(1).apply({}, np.ones((2, *[n + 2 for n in pixels], 3)))[0].shape == (2, *pixels, 3)


def test_crop_is_the_inverse_of_pad_and_its_gradient_has_zeros_around() -> None:
    widths = ((1, 0), (2, 1))
    y, vjp_fn = fn.serial(fn.pad(widths, "replicate"), fn.crop(widths)).apply({}, X)
    np.testing.assert_array_equal(y, X)
    np.testing.assert_array_equal(vjp_fn(X)[1], X)
    y, vjp_fn = fn.crop(((0, 1), (1, 0))).apply({}, X)
    assert y.ravel().tolist() == [2, 3]
    dx: Any = vjp_fn(y)[1]
    assert dx[0, :, :, 0].tolist() == [[0, 2, 3], [0, 0, 0]]


def test_values_out_of_the_range_of_the_dtype_are_infinite_and_nothing_else_is() -> None:
    for value, found in ((np.inf, np.inf), (-np.inf, -np.inf), (1e300, np.inf)):
        y, vjp_fn = fn.pad((1, 0), "constant", value=value).apply({}, series(1, 2).astype(np.float32))
        assert y.dtype == np.float32
        assert y.ravel().tolist() == [found, 1, 2]
        assert np.isfinite(vjp_fn(y)[1]).all()


def test_padding_keeps_the_order_of_the_axes_in_memory() -> None:
    turned = np.ascontiguousarray(np.ones((2, 4, 5, 3)).transpose(1, 3, 2, 0)).transpose(3, 0, 2, 1)
    for mode in ("zero", "reflect"):
        assert fn.pad(1, mode).apply({}, turned)[0].transpose(1, 3, 2, 0).flags.c_contiguous


@pytest.mark.parametrize("pad_mode", ["reflect", "replicate", "edge", "circular"])
def test_a_convolution_pads_as_the_layer_does(pad_mode: Any) -> None:
    x = np.random.default_rng(0).standard_normal((2, 6, 5, 3))
    widths = ((2, 1), (0, 3))
    padded = fn.conv2d(4, 3, padding=widths, pad_mode=pad_mode)
    chain = fn.serial(fn.pad(widths, "replicate" if pad_mode == "edge" else pad_mode), fn.conv2d(4, 3))
    params = fn.tree.cast(padded.init((6, 5, 3), 0), np.float64)
    (y, vjp_fn), (expected, expected_vjp) = padded.apply(params, x), chain.apply({"conv2d_0": params}, x)
    np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-12)
    (grads, dx), (expected_grads, expected_dx) = vjp_fn(y), expected_vjp(y)
    np.testing.assert_allclose(dx, expected_dx, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(grads["w"], expected_grads["conv2d_0"]["w"], rtol=1e-12, atol=1e-12)
