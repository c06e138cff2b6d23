"""Shape layers: where each number goes, and back."""

from typing import Any

import numpy as np
import pytest

import funcnn as fn
from funcnn.aliases import Array

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


@pytest.mark.parametrize("layer", [fn.reshape(12), fn.upsample2d(2), fn.flatten, fn.take(0, 1), fn.pad(1)], ids=repr)
def test_integers_raise(layer: fn.Layer) -> None:
    with pytest.raises(TypeError, match=f"{layer.kind}: expected floats, got uint8; scale images first"):
        layer.apply({}, X.astype(np.uint8))


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (fn.permute((3, 1, 2)), X.transpose(0, 3, 1, 2)),
        (fn.permute((0, 2, -1, 1)), X.transpose(0, 2, 3, 1)),
        (fn.expand_dims(1), X[:, None]),
        (fn.expand_dims(-1), X[..., None]),
        (fn.expand_dims(-4), X[:, None]),
        (fn.unflatten(-2, (-1, 1)), X.reshape(2, 2, 3, 1, 2)),
        (fn.unflatten(1, (1, 2, 1)), X.reshape(2, 1, 2, 1, 3, 2)),
        (fn.take(1, 1), X[:, 1]),
        (fn.take(-1, -1), X[..., 1]),
        (fn.take(np.int64(-3), 2), X[:, :, 0]),
        (fn.take(slice(None, None, -2), 2), X[:, :, ::-2]),
        (fn.take(slice(1, 99), 2), X[:, :, 1:99]),
    ],
    ids=repr,
)
def test_axes_count_the_batch_and_gradients_return_to_their_places(layer: fn.Layer, expected: Array) -> None:
    y, vjp_fn = layer.apply({}, X)
    np.testing.assert_array_equal(y, expected)
    # The elements of X are their own places, so the gradient shows which of them were taken.
    dx: Any = vjp_fn(y)[1]
    np.testing.assert_array_equal(dx, np.where(np.isin(X, expected), X, 0))
    assert layer.init(X.shape[1:], 0) == {}


def test_squeeze_is_the_inverse_of_expand_dims() -> None:
    for axis in (1, 2, -1):
        y, vjp_fn = fn.serial(fn.expand_dims(axis), fn.squeeze(axis)).apply({}, X)
        np.testing.assert_array_equal(y, X)
        np.testing.assert_array_equal(vjp_fn(X)[1], X)


def test_a_layer_of_a_slice_is_saved_and_printed() -> None:
    model = fn.serial(fn.take(slice(np.int64(1), None, 2), axis=1), fn.take(-1, axis=-1))
    again = fn.from_json(fn.to_json(model))
    np.testing.assert_array_equal(again.apply({}, X)[0], X[:, 1::2, :, -1])
    assert repr(fn.take(slice(1, 3), 2)) == "take(slice(1, 3, None), 2)"


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (fn.max_pool2d(5), (3, 3, 1)), (fn.avg_pool1d(5), (3, 1)), (fn.lp_pool2d(2, 5), (3, 3, 1)),
        (fn.sum_pool1d(4), (3, 1)), (fn.unfold(5), (3, 3, 1)), (fn.adaptive_avg_pool2d(2), (3, 1)),
        (fn.global_avg_pool2d, (3, 1)), (fn.fold((4, 4), 2), (3, 1)), (fn.conv2d(1, 5), (3, 3, 1)),
    ],
    ids=str,
)  # fmt: skip
def test_a_shape_that_a_layer_cannot_take_raises_in_init_too(layer: fn.Layer, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=layer.kind):
        layer.init(shape, 0)
