"""The faults of s4: each published formula, and the correct result on the same data."""

import numpy as np
import pytest
from fault_helpers import correlate, distinguish, draw, numeric_gradient, run_layer

import funcnn as fn
from funcnn.aliases import Array


def test_s4_1_the_jacobian_of_softmax() -> None:
    def faulty(x: Array, dy: Array) -> Array:
        result = np.zeros_like(x)
        for i in range(len(x)):
            result = x * ((np.arange(len(x)) == i) - x[i])
        return result * dy

    x, dy = draw(4), draw(4, seed=1)
    s, _, dx = run_layer(fn.softmax, {}, x[None], dy[None])
    distinguish(dx[0], s[0] * (dy - s[0] @ dy), faulty(x, dy))
    distinguish(dx[0], numeric_gradient(lambda x: dy @ np.exp(x) / np.exp(x).sum(), x), faulty(s[0], dy))


def test_s4_2_the_derivative_of_a_sine_is_taken_at_its_input() -> None:
    sine = fn.elementwise(np.sin, lambda x, y: np.cos(x), name="sine")
    x, dy = draw(2, 3), draw(2, 3, seed=1)
    _, _, dx = run_layer(sine, {}, x, dy)
    distinguish(dx, numeric_gradient(lambda x: np.vdot(dy, np.sin(x)), x), np.cos(dy))


def test_s4_3_a_window_has_rows_and_columns() -> None:
    x, w = draw(5, 5), draw(3, 3, seed=1)
    y, _ = fn.conv2d(1, 3, bias=False).apply({"w": w[:, :, None, None]}, x[None, :, :, None])
    right = [[sum(x[r + i, c + j] * w[i, j] for i, j in np.ndindex(3, 3)) for c in range(3)] for r in range(3)]
    # input[r : r + 3, c + 3] is a column of three, which broadcasts against the kernel.
    faulty = [[np.sum(x[r : r + 3, c + 3] * w) for c in range(2)] for r in range(3)]
    distinguish(y[0, :, :2, 0], np.array(right)[:, :2], faulty)
    np.testing.assert_allclose(y[0, :, :, 0], right, rtol=1e-12)


def stops_early(image: Array, size: int, stride: int) -> Array:
    """Max pooling whose bounds are ``>=``."""
    count = (len(image) - size) // stride + 1
    y = np.zeros((count, count))
    for r, s in np.ndindex(count, count):
        if r * stride + size >= len(image) or s * stride + size >= len(image):
            continue
        y[r, s] = image[r * stride : r * stride + size, s * stride : s * stride + size].max()
    return y


@pytest.mark.parametrize("size", [4, 28])
def test_s4_4_the_last_row_and_column_are_computed(size: int) -> None:
    x = np.ones((1, size, size, 1))
    faulty = stops_early(x[0, :, :, 0], 2, 2)
    y, _ = fn.max_pool2d(2).apply({}, x)
    distinguish(y[0, :, :, 0], np.ones((size // 2, size // 2)), faulty)
    if size == 4:
        assert faulty.tolist() == [[1, 0], [0, 0]]
    else:
        assert np.mean(faulty == 0) == pytest.approx(0.14, abs=0.005)
    same, _ = fn.conv2d(1, 2, stride=2, bias=False).apply({"w": np.full((2, 2, 1, 1), 0.25)}, x)
    distinguish(same, y, faulty[None, :, :, None])


def test_s4_5_a_kernel_for_each_channel_and_a_bias() -> None:
    x, w, b = draw(2, 4, 4, 3), draw(2, 2, 3, 2, seed=1), draw(2, seed=2)
    y, _ = fn.conv2d(2, 2).apply({"w": w, "b": b}, x)
    shared = np.repeat(w[:, :, :1], 3, axis=2)
    distinguish(y, correlate(x, w) + b, correlate(x, shared))
    distinguish(y, correlate(x, w) + b, correlate(x, w))
    params = fn.conv2d(2, 2).init((4, 4, 3), 0)
    assert {name: leaf.shape for name, leaf in params.items()} == {"w": (2, 2, 3, 2), "b": (2,)}


def test_s4_6_every_window_adds_to_the_gradient_of_each_filter() -> None:
    x, w, dy = draw(1, 4, 4, 1), draw(2, 2, 1, 3, seed=1), draw(1, 3, 3, 3, seed=2)
    _, grads, _ = run_layer(fn.conv2d(3, 2, bias=False), {"w": w}, x, dy)
    right = numeric_gradient(lambda w: np.vdot(dy, correlate(x, w)), w)
    last_window = np.einsum("ijc,f->ijcf", x[0, 2:, 2:], dy[0, 2, 2])
    last_filter = np.repeat(right[..., 2:], 3, axis=3)
    distinguish(grads["w"], right, last_window)
    distinguish(grads["w"], right, last_filter)


def test_s4_7_the_padding_is_removed_from_the_input_gradient_and_nothing_is_counted_twice() -> None:
    x, w, dy = draw(1, 4, 4, 1), draw(3, 3, 1, 1, seed=1), draw(1, 4, 4, 1, seed=2)
    padded = np.zeros((6, 6))
    for r, s in np.ndindex(4, 4):
        padded[r : r + 3, s : s + 3] += dy[0, r, s, 0] * w[:, :, 0, 0]
    _, _, dx = run_layer(fn.conv2d(1, 3, padding="same", bias=False), {"w": w}, x, dy)
    right = numeric_gradient(lambda x: np.vdot(dy, correlate(x, w, border=1)), x)[0, :, :, 0]
    np.testing.assert_allclose(padded[1:5, 1:5], right, atol=1e-7)
    distinguish(dx[0, :, :, 0], right, padded[:4, :4])
    distinguish(dx[0, :, :, 0], right, 2 * right)


@pytest.mark.parametrize("name", ["tanh", "relu"])
def test_s4_8_their_network_runs_on_images_of_any_size(name: str) -> None:
    def sizes_read_off_the_data(data: Array, kernel: Array) -> tuple[int, int]:
        return data.shape[0] - data.shape[0] + 1, data.shape[1] - data.shape[1] + 1

    model = fn.serial(
        fn.conv2d(5, 3, stride=2, padding=((1, 1), (1, 1)), activation=name), fn.max_pool2d(2),
        fn.flatten, fn.dense(100, activation=name), fn.dense(50, activation=name), fn.dense(10),
    )  # fmt: skip
    for shape, pooled in (((28, 28, 1), (7, 7)), ((13, 20, 2), (3, 5))):
        params, x = model.init(shape, 0), draw(3, *shape).astype(np.float32)
        y, vjp_fn = model.apply(params, x)
        assert y.shape == (3, 10)
        assert params["dense_0"]["w"].shape == (pooled[0] * pooled[1] * 5, 100)
        grads, _ = vjp_fn(np.ones_like(y))
        assert all(leaf.any() for leaf in fn.tree.leaves(grads))
    x, w = draw(1, 4, 5, 1), draw(2, 3, 1, 1)
    y, _ = fn.conv2d(1, (2, 3), bias=False).apply({"w": w}, x)
    distinguish(y.shape[1:3], (3, 3), sizes_read_off_the_data(x[0], w))


def test_s4_9_one_of_tied_pixels_gets_the_gradient() -> None:
    def to_every_tie(x: Array, border: int, size: int, stride: int) -> Array:
        padded = np.pad(x, border)
        dx = np.zeros_like(padded)
        for r, s in np.ndindex(*[(n - size) // stride + 1 for n in padded.shape]):
            rows, columns = slice(r * stride, r * stride + size), slice(s * stride, s * stride + size)
            dx[rows, columns] = padded[rows, columns] == padded[rows, columns].max()
        return dx

    ones = np.ones((1, 4, 4, 1))
    _, _, dx = run_layer(fn.max_pool2d(2), {}, ones)
    distinguish(dx[0, :, :, 0], np.kron(np.ones((2, 2)), [[1, 0], [0, 0]]), to_every_tie(ones[0, :, :, 0], 0, 2, 2))
    assert to_every_tie(ones[0, :, :, 0], 0, 2, 2).sum() == 4 * dx.sum()
    # Overlapping windows add up, the border is removed again, and padding is never the maximum of negative numbers.
    x = -1 - np.arange(9.0).reshape(1, 3, 3, 1)
    _, _, dx = run_layer(fn.max_pool2d(2, stride=1, padding=((1, 1), (1, 1))), {}, x)
    distinguish(dx[0, :, :, 0], [[4, 2, 2], [2, 1, 1], [2, 1, 1]], to_every_tie(x[0, :, :, 0], 1, 2, 1)[1:4, 1:4])
    assert dx.shape == x.shape


def test_s4_10_softmax_of_each_row() -> None:
    x = draw(3, 4)
    right = [[np.exp(v) / sum(np.exp(u) for u in row) for v in row] for row in x]
    distinguish(fn.softmax.apply({}, x)[0], right, np.exp(x) / np.exp(x).sum())


def test_s4_11_labels_are_not_broadcast_against_ten_outputs() -> None:
    (images, labels), _ = fn.datasets.digits()
    # The losses of their notebook follow from the labels alone: all outputs are 1, or all are 0.1.
    assert np.mean((labels[:4000, None] - np.ones((4000, 10))) ** 2) == pytest.approx(20.303, abs=5e-4)
    assert np.mean((labels[:1000, None] - np.full((1000, 10), 0.1)) ** 2) == pytest.approx(27.2336, abs=5e-5)
    y = np.ones((10, 10))
    for target in (labels[:10], labels[:10, None], labels[None, :10]):
        with pytest.raises(ValueError, match=r"target of the shape of y, \(10, 10\), got"):
            fn.mean_squared_error(y, target)
    with pytest.raises(TypeError, match=r"expected floats, got uint8; scale images first"):
        fn.dense(10).apply(fn.dense(10).init((784,), 0), images[:4].reshape(4, 784))


def test_s4_11_initial_weights_do_not_saturate_tanh() -> None:
    (images, _), _ = fn.datasets.digits()
    raw = images[:100].reshape(100, 784).astype(np.float32)
    model = fn.dense(100, activation="tanh")
    ours, _ = model.apply(model.init((784,), 0), raw / 255)
    faulty = np.tanh(raw @ np.random.default_rng(0).uniform(-0.5, 0.5, (784, 100)))
    assert np.mean(abs(ours) > 0.99) < 0.01
    assert np.mean(abs(faulty) > 0.99) > 0.9


@pytest.mark.parametrize("pool", [fn.max_pool2d, fn.min_pool2d, fn.avg_pool2d], ids=lambda pool: pool.__name__)
def test_s4_12_pooling_has_no_weights(pool: type) -> None:
    model = fn.serial(fn.conv2d(5, 3), pool(2), fn.flatten, fn.dense(2))
    params = model.init((8, 8, 1), 0)
    assert sorted(params) == ["conv2d_0", "dense_0"]
    rows = fn.summary(model, params, (8, 8, 1)).rows
    distinguish([row.parameters for row in rows], [50, 0, 0, 92], [50, 4, 0, 92])
