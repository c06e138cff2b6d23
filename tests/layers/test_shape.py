"""Shape layers: where each number goes, and back."""

from typing import Any

import numpy as np
import pytest

import funcnn as fn

X = np.arange(24.0).reshape(2, 2, 3, 2)


def test_flatten_and_back() -> None:
    y, vjp_fn = fn.flatten.apply({}, X)
    assert y.tolist() == [list(range(12)), list(range(12, 24))]
    assert np.array_equal(vjp_fn(y)[1], X)
    assert fn.flatten.apply({}, np.ones(3))[0].shape == (3, 1)


def test_flatten_reads_logically_whatever_the_memory_order() -> None:
    assert np.array_equal(fn.flatten.apply({}, np.asfortranarray(X))[0], fn.flatten.apply({}, X)[0])


def test_reshape_and_back() -> None:
    y, vjp_fn = fn.reshape(4, -1).apply({}, X)
    assert y.shape == (2, 4, 3)
    assert y.ravel().tolist() == list(range(24))
    assert np.array_equal(vjp_fn(y)[1], X)
    assert fn.reshape(-1).apply({}, X[:0])[0].shape == (0, 12)


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


@pytest.mark.parametrize("shape", [(0,), (-2,), (2.0, 3), (-1, -1), (True,), ((2, 3),)])
def test_sizes_are_whole_numbers_with_one_unknown(shape: Any) -> None:
    with pytest.raises(ValueError, match="reshape: expected sizes >= 1, at most one of them -1, got"):
        fn.reshape(*shape)


def test_inputs_that_do_not_fit_raise_with_their_path() -> None:
    for layer in (fn.reshape(5, 2), fn.reshape(5, -1)):
        with pytest.raises(
            ValueError, match=r"reshape: an example of shape \(2, 3, 2\) has 12 elements, no room in \(5, "
        ):
            layer.apply({}, X)
    with pytest.raises(ValueError, match=r"in layer reshape_0, with an input of shape \(2, 2, 3, 2\)"):
        fn.serial(fn.reshape(5)).apply({}, X)
    with pytest.raises(ValueError, match=r"upsample2d: expected an input of axes .* got shape \(2, 12\)"):
        fn.upsample2d(2).apply({}, X.reshape(2, 12))
    with pytest.raises(ValueError, match="upsample2d: factor must be a whole number >= 1 or a pair"):
        fn.upsample2d(0)


@pytest.mark.parametrize("layer", [fn.reshape(12), fn.upsample2d(2), fn.flatten], ids=repr)
def test_integers_raise(layer: fn.Layer) -> None:
    with pytest.raises(TypeError, match=f"{layer.kind}: expected floats, got uint8; scale images first"):
        layer.apply({}, X.astype(np.uint8))


def test_upsampling_keeps_the_order_of_the_axes_in_memory() -> None:
    images = np.arange(48.0).reshape(2, 3, 2, 4)
    turned = np.ascontiguousarray(images.transpose(1, 3, 2, 0)).transpose(3, 0, 2, 1)
    (y, vjp_fn), (expected, expected_vjp) = (fn.upsample2d((2, 3)).apply({}, x) for x in (turned, images))
    assert y.transpose(1, 3, 2, 0).flags.c_contiguous
    np.testing.assert_array_equal(y, images.repeat(2, 1).repeat(3, 2))
    np.testing.assert_array_equal(vjp_fn(y)[1], expected_vjp(expected)[1])
    np.testing.assert_array_equal(vjp_fn(y)[1], 6 * images)
