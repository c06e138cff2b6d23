"""The faults of s2: each published formula, and the correct result on the same data."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
from fault_helpers import correlate, cosine, distinguish, draw, numeric_gradient, run_layer

import funcnn as fn
from funcnn.aliases import Array


def test_s2_1_kernel_gradient_correlates_the_image_with_the_gradient() -> None:
    from scipy.signal import correlate2d  # type: ignore[import-untyped]

    x, w, dy = draw(5, 5), draw(2, 2, 1, 1, seed=1), draw(4, 4, seed=2)
    _, grads, _ = run_layer(fn.conv2d(1, 2, bias=False), {"w": w}, x[None, :, :, None], dy[None, :, :, None])
    right = numeric_gradient(lambda w: np.vdot(dy, correlate(x[None, :, :, None], w)), w)
    distinguish(grads["w"][:, :, 0, 0], right[:, :, 0, 0], correlate2d(dy, x, "valid"))
    # The order of the arguments rotates the result by 180 degrees.
    np.testing.assert_allclose(correlate2d(dy, x, "valid")[::-1, ::-1], grads["w"][:, :, 0, 0], rtol=1e-12)


@pytest.mark.parametrize("layer", [fn.conv2d(2, 3), fn.serial(fn.flatten, fn.dense(2))], ids=["conv2d", "dense"])
def test_s2_2_no_gradient_is_divided_by_the_batch_again(layer: fn.Layer) -> None:
    x = draw(16, 4, 4, 1)
    params = fn.tree.cast(layer.init((4, 4, 1), 0), np.float64)
    y, _ = layer.apply(params, x)
    gradient = fn.value_and_grad(layer, fn.mean_squared_error)
    _, grads = gradient(params, x, np.ones_like(y))
    flat = fn.tree.flatten(params)

    def loss(path: str, leaf: Array) -> float:
        value, _ = gradient(fn.tree.unflatten(flat | {path: leaf}), x, np.ones_like(y))
        return value

    for path, ours in fn.tree.flatten(grads).items():
        right = numeric_gradient(partial(loss, path), flat[path])
        distinguish(ours, right, right / len(x))


def test_s2_4_height_and_width_may_differ() -> None:
    x, w = draw(2, 5, 8, 1), draw(2, 4, 1, 3, seed=1)
    y, _ = fn.conv2d(3, (2, 4), bias=False).apply({"w": w}, x)
    square = w[:, : w.shape[0]]  # its height taken for its width
    distinguish(y, correlate(x, w), correlate(x, square))
    dy = draw(2, 4, 5, 3, seed=2)
    _, grads, dx = run_layer(fn.conv2d(3, (2, 4), bias=False), {"w": w}, x, dy)
    distinguish(grads["w"], numeric_gradient(lambda w: np.vdot(dy, correlate(x, w)), w), square)
    assert dx.shape == x.shape


def test_s2_5_a_class_that_is_absent_keeps_its_column() -> None:
    def fitted_again(labels: Array) -> Array:
        return np.eye(4)[np.unique(labels, return_inverse=True)[1]]

    labels = np.array([0, 3, 1, 3])
    right = [[1, 0, 0, 0], [0, 0, 0, 1], [0, 1, 0, 0], [0, 0, 0, 1]]
    distinguish(fn.datasets.one_hot(labels, 4), right, fitted_again(labels))


def test_s2_6_a_loss_returns_its_value_and_its_gradient() -> None:
    y, target = np.array([[1.0, 3.0]]), np.zeros((1, 2))
    value, dy = fn.mean_squared_error(y, target)
    distinguish(value, 5.0, 2 * (y - target) / y.size)
    distinguish(dy, [[1.0, 3.0]], value)


def test_s2_6_the_backward_pass_can_be_repeated() -> None:
    def faulty_backward(layers: Iterator[float], dy: float) -> float:
        for derivative in layers:
            dy *= derivative
        return dy

    derivatives = reversed([2.0, 5.0])
    assert [faulty_backward(derivatives, 1.0), faulty_backward(derivatives, 1.0)] == [10, 1]
    model = fn.serial(fn.dense(2), fn.relu, fn.dense(1))
    _, vjp_fn = model.apply(model.init((3,), 0), draw(4, 3).astype(np.float32))
    dy = np.ones((4, 1), np.float32)
    first, second = (fn.tree.leaves(vjp_fn(dy)[0]) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


def test_s2_6_batches_are_numeric_arrays_and_are_determined_by_their_key() -> None:
    data = draw(10, 2).astype(np.float32), np.arange(10)
    ragged = np.empty(3, object)
    ragged[:] = np.split(data[0], [4, 8])
    assert ragged.dtype == object
    one, same, other = ([labels.tolist() for _, labels in fn.batches(data, 4, rng=key)] for key in (1, 1, 2))
    assert {x.dtype for x, _ in fn.batches(data, 4)} == {np.dtype(np.float32)}
    assert one == same
    assert one != other


def test_s2_6_synthetic_data_are_determined_by_their_key() -> None:
    (one, one_labels), (same, same_labels), (other, _) = (fn.datasets.moons(20, 0.1, rng=key) for key in (1, 1, 2))
    distinguish(same, one, other)
    np.testing.assert_array_equal(same_labels, one_labels)


def test_s2_6_the_gradient_of_a_bias_is_a_sum_of_any_size() -> None:
    def averaged_if_big(dy: Array) -> Any:
        total = dy.sum((0, 1, 2))
        return np.where(abs(total) > 10, total / dy[..., 0].size, total)

    dy = np.ones((2, 3, 3, 2))
    _, grads, _ = run_layer(fn.conv2d(2, 2), {"w": draw(2, 2, 1, 2), "b": np.zeros(2)}, draw(2, 4, 4, 1), dy)
    distinguish(grads["b"], [18, 18], averaged_if_big(dy))
    assert cosine(grads["b"], np.ones(2)) == pytest.approx(1)
