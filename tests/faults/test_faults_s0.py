"""The faults of s0: each published formula, and the correct result on the same data."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fault_helpers import correlate, cosine, distinguish, draw, numeric_gradient, run_layer

import funcnn as fn
from funcnn.aliases import Array


def test_s0_1_kernel_gradient_is_the_mean_of_products() -> None:
    x, w, dy = draw(4, 6, 6, 1), draw(3, 3, 1, 1, seed=1), draw(4, 4, 4, 1, seed=2)
    _, grads, _ = run_layer(fn.conv2d(1, 3, bias=False), {"w": w}, x, dy)
    right = numeric_gradient(lambda w: np.vdot(dy, correlate(x, w)), w)
    product_of_means = numeric_gradient(lambda w: np.vdot(dy.mean(0), correlate(x.mean(0)[None], w)), w)
    distinguish(grads["w"], right, 4 * product_of_means)
    # No learning rate corrects it: the direction is wrong.
    assert cosine(product_of_means, right) < 0.9


def test_s0_2_each_filter_and_channel_has_its_own_gradient() -> None:
    x, w, dy = draw(2, 5, 5, 2), draw(3, 3, 2, 3, seed=1), draw(2, 3, 3, 3, seed=2)
    _, grads, _ = run_layer(fn.conv2d(3, 3, bias=False), {"w": w}, x, dy)
    right = numeric_gradient(lambda w: np.vdot(dy, correlate(x, w)), w)
    faulty = np.broadcast_to(right[:, :, :1].sum(3, keepdims=True), w.shape)
    distinguish(grads["w"], right, faulty)
    assert not np.allclose(grads["w"][..., 0], grads["w"][..., 1])
    assert not np.allclose(grads["w"][:, :, 0], grads["w"][:, :, 1])


@pytest.mark.parametrize(("channels", "filters"), [(1, 1), (2, 3)])
def test_s0_3_input_gradient_flips_the_kernel_and_swaps_its_channels(channels: int, filters: int) -> None:
    x, w, dy = draw(2, 5, 5, channels), draw(3, 3, channels, filters, seed=1), draw(2, 3, 3, filters, seed=2)

    def faulty_kernel(w: Array) -> Array:
        k = w.transpose(3, 2, 0, 1)
        flipped = np.zeros_like(k)
        for i, j in np.ndindex(3, 3):
            flipped[:, :, j, i] = np.flip(k[:, :, i, j])
        return flipped.reshape(channels, filters, 3, 3).transpose(2, 3, 1, 0)

    _, _, dx = run_layer(fn.conv2d(filters, 3, bias=False), {"w": w}, x, dy)
    right = numeric_gradient(lambda x: np.vdot(dy, correlate(x, w)), x)
    distinguish(dx, right, correlate(dy, faulty_kernel(w), border=2))


def test_s0_4_input_gradient_uses_the_weights_of_the_forward_pass() -> None:
    x, params, dy = draw(2, 5, 5, 1), {"w": draw(3, 3, 1, 2)}, draw(2, 3, 3, 2, seed=2)
    optimizer = fn.sgd(0.1)
    _, vjp_fn = fn.conv2d(2, 3, bias=False).apply(params, x)
    updates, _ = optimizer.update(vjp_fn(dy)[0], optimizer.init(params), params)
    updated = fn.apply_updates(params, updates)
    _, dx = vjp_fn(dy)
    assert dx is not None

    def gradient_under(w: Array) -> Array:
        return numeric_gradient(lambda x: np.vdot(dy, correlate(x, w)), x)

    distinguish(dx, gradient_under(draw(3, 3, 1, 2)), gradient_under(updated["w"]))


def test_s0_5_stride_and_padding_count() -> None:
    x, w = draw(2, 6, 6, 1), draw(3, 3, 1, 2, seed=1)
    y, _ = fn.conv2d(2, 3, stride=2, padding=((1, 1), (1, 1)), bias=False).apply({"w": w}, x)
    distinguish(y, correlate(x, w, stride=2, border=1), correlate(x, w))
    assert y.shape == (2, 3, 3, 2)
    assert correlate(x, w).shape == (2, 4, 4, 2)


@pytest.mark.parametrize("n", [8, 5000])
def test_s0_6_and_s3_1_bias_gradient_is_a_sum_like_that_of_the_weights(n: int) -> None:
    x, target = draw(n, 2), draw(n, 3, seed=1)
    params = {"w": draw(2, 3, seed=2), "b": draw(3, seed=3)}

    def loss(params: Any) -> float:
        return float(((x @ params["w"] + params["b"] - target) ** 2).mean())

    value, grads = fn.value_and_grad(fn.dense(3), fn.mean_squared_error)(params, x, target)
    assert value == pytest.approx(loss(params), rel=1e-12)
    distinguish(grads["w"], numeric_gradient(lambda w: loss(params | {"w": w}), params["w"]), grads["w"] / n)
    # The gradient of the loss already contains 1 / n; a mean over the batch divides by n again.
    distinguish(grads["b"], numeric_gradient(lambda b: loss(params | {"b": b}), params["b"]), grads["b"] / n)


def test_s0_7_squared_error_is_a_mean_over_the_batch_too() -> None:
    def divided_by_classes(y: Array, target: Array) -> float:
        return float(((y - target) ** 2).sum() / y.shape[1])

    y, target = np.array([[1.0, 3.0], [0.0, 2.0], [1.0, 1.0]]), np.zeros((3, 2))
    value, dy = fn.mean_squared_error(y, target)
    distinguish(value, (1 + 9 + 0 + 4 + 1 + 1) / 6, divided_by_classes(y, target))
    assert divided_by_classes(y, target) == pytest.approx(3 * value)
    distinguish(dy, y / 3, numeric_gradient(lambda y: divided_by_classes(y, target), y))
    # Repeating the examples does not change the loss.
    assert fn.mean_squared_error(np.tile(y, (2, 1)), np.tile(target, (2, 1)))[0] == value


def test_s0_8_softmax_gradient_has_its_off_diagonal_part() -> None:
    x, dy = draw(3, 4), draw(3, 4, seed=1)
    s, _, dx = run_layer(fn.softmax, {}, x, dy)
    distinguish(
        dx, numeric_gradient(lambda x: np.vdot(dy, np.exp(x) / np.exp(x).sum(1, keepdims=True)), x), s * (1 - s) * dy
    )


@np.errstate(all="ignore")
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_s0_9_and_s2_6_softmax_and_sigmoid_of_large_numbers() -> None:
    x = np.array([[1000.0, 0.0, 1000.0]])
    distinguish(fn.softmax.apply({}, x)[0], [[0.5, 0, 0.5]], np.exp(x) / np.exp(x).sum())
    # 1 / (1 + e^-x) has the right result, but the exponential overflows.
    distinguish(fn.sigmoid.apply({}, x)[0], [[1, 0.5, 1]], np.exp(x) / (1 + np.exp(x)))
    with np.errstate(over="raise"):
        assert fn.sigmoid.apply({}, -x)[0].tolist() == [[0, 0.5, 0]]
        with pytest.raises(FloatingPointError, match="overflow"):
            1 / (1 + np.exp(x))


@np.errstate(divide="ignore", invalid="ignore")
def test_s0_10_cross_entropy_of_certain_predictions_and_its_gradient_agree() -> None:
    def faulty_gradient(p: Array, target: Array) -> Array:
        return -target / (p + 1e-4) / len(p)

    certain, target = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[1.0, 0.0], [0.0, 1.0]])
    distinguish(fn.categorical_cross_entropy(certain, target)[0], 0.0, -np.mean((target * np.log(certain)).sum(1)))
    unsure = np.array([[1e-4, 1 - 1e-4], [0.5, 0.5]])
    _, dy = fn.categorical_cross_entropy(unsure, target)
    distinguish(dy, [[-1e4 / 2, 0], [0, -1]], faulty_gradient(unsure, target))
    # The gradient is that of the value we report, also near 0: p changes by a millionth of itself.
    values = [fn.categorical_cross_entropy(np.array([[p, 1 - p]]), np.array([0]))[0] for p in (1e-4 + 1e-10, 1e-4)]
    assert (values[0] - values[1]) / 1e-10 == pytest.approx(-1e4, rel=1e-5)


def test_s0_11_the_maximum_of_a_window_of_three() -> None:
    x = np.zeros((1, 3, 3, 1))
    x[0, 1, 2, 0] = 7.0  # the sixth pixel: divmod(5, 3) is (1, 2), with 2 hard-coded it becomes (2, 1)
    picked = int(x.argmax())
    y, _, dx = run_layer(fn.max_pool2d(3), {}, x)
    distinguish(y.item(), 7.0, x[0, picked // 2, picked % 2, 0])
    distinguish(dx, x / 7, np.eye(9)[3 * (picked // 2) + picked % 2].reshape(1, 3, 3, 1))


def test_s0_12_padding_is_never_the_maximum() -> None:
    x = -1 - np.arange(9.0).reshape(1, 3, 3, 1)
    padded = np.pad(x[0, :, :, 0], ((0, 1), (0, 1)))
    faulty = padded.reshape(2, 2, 2, 2).max((1, 3))
    y, _, dx = run_layer(fn.max_pool2d(2, ceil_mode=True), {}, x)
    distinguish(y[0, :, :, 0], [[-1, -3], [-7, -9]], faulty)
    assert dx[0, :, :, 0].tolist() == [[1, 0, 1], [0, 0, 0], [1, 0, 1]]


def test_s0_13_ceil_mode_completes_the_last_window_of_three_in_seven_pixels() -> None:
    def pooled(x: Array, missing: int) -> Array:
        rows = (len(x) + missing) // 3
        padded = np.pad(x, (0, missing), constant_values=-np.inf)[: 3 * rows, : 3 * rows]
        largest: Array = padded.reshape(rows, 3, rows, 3).max((1, 3))
        return largest

    x = draw(7, 7)
    y, _ = fn.max_pool2d(3, ceil_mode=True).apply({}, x[None, :, :, None])
    distinguish(y[0, :, :, 0], pooled(x, -7 % 3), pooled(x, 7 % 3))
    assert y.shape == (1, 3, 3, 1)


def test_s0_14_an_average_does_not_count_the_padding() -> None:
    x = np.ones((1, 3, 3, 1))
    faulty = np.pad(x[0, :, :, 0], ((0, 1), (0, 1))).reshape(2, 2, 2, 2).mean((1, 3))
    assert faulty[0, 1] == 0.5
    for layer in (fn.avg_pool2d(2, ceil_mode=True), fn.avg_pool2d(2, padding=((0, 1), (0, 1)))):
        distinguish(layer.apply({}, x)[0][0, :, :, 0], np.ones((2, 2)), faulty)


def test_s0_15_average_pooling_of_three_divides_by_nine() -> None:
    _, _, dx = run_layer(fn.avg_pool2d(3), {}, draw(1, 6, 6, 1))
    distinguish(dx, np.full((1, 6, 6, 1), 1 / 9), np.full((1, 6, 6, 1), 1 / 4))


def test_s0_16_flatten_restores_height_and_width_in_the_backward_pass() -> None:
    x = draw(4, 2, 3, 5)
    y, vjp_fn = fn.flatten.apply({}, x)
    _, dx = vjp_fn(y)
    distinguish(dx, x, y.reshape(4, 3, 2, 5))


def faulty_relu(x: Array) -> Array:
    x[x < 0] = 0
    return x


def faulty_relu_derivative(x: Array) -> Array:
    x[x <= 0] = 0
    x[x > 0] = 1
    return x


@pytest.mark.parametrize(
    "layer", [fn.relu, fn.leaky_relu(), fn.sigmoid, fn.tanh, fn.swish, fn.softmax, fn.dropout(0.5)], ids=repr
)
def test_s0_17_and_s1_5_and_s2_3_nothing_is_overwritten(layer: fn.Layer) -> None:
    x, dy = draw(3, 4), draw(3, 4, seed=1)
    y, vjp_fn = layer.apply({}, x, 0)
    kept = y.copy()
    first = vjp_fn(dy)[1]
    distinguish(x, draw(3, 4), faulty_relu(draw(3, 4)))
    distinguish(dy, draw(3, 4, seed=1), faulty_relu_derivative(draw(3, 4, seed=1)))
    distinguish(y, kept, faulty_relu_derivative(kept.copy()))
    np.testing.assert_array_equal(vjp_fn(dy)[1], first)


def test_s0_17_fused_relu_does_not_overwrite_its_input() -> None:
    x, params = draw(2, 5, 5, 2), {"w": draw(3, 3, 2, 4), "b": draw(4)}
    fn.conv2d(4, 3, activation="relu").apply(params, x)[1](draw(2, 3, 3, 4))
    distinguish(x, draw(2, 5, 5, 2), faulty_relu(draw(2, 5, 5, 2)))
    distinguish(params["w"], draw(3, 3, 2, 4), faulty_relu(draw(3, 3, 2, 4)))


@pytest.mark.parametrize("shape", [(6, 3), (4, 2, 3, 3)])
def test_s0_18_batch_norm_scales_each_channel_of_any_input(shape: tuple[int, ...]) -> None:
    x, dy = draw(*shape), draw(*shape, seed=1)
    params = fn.tree.cast(fn.batch_norm().init(shape[1:], 0), np.float64)

    def loss(name: str, leaf: Array) -> float:
        axes, changed = tuple(range(len(shape) - 1)), params | {name: leaf}
        u = (x - x.mean(axes)) / np.sqrt(x.var(axes) + 1e-5)
        return float(np.vdot(dy, changed["scale"] * u + changed["shift"]))

    _, grads, _ = run_layer(fn.batch_norm(), params, x, dy, rng=0)
    for name in ("scale", "shift"):
        right = numeric_gradient(partial(loss, name), params[name])
        distinguish(grads[name], right, np.full(3, right.mean()))


def test_s0_19_batch_norm_predicts_on_measured_statistics() -> None:
    def by_its_own_batch(x: Array) -> Array:
        u: Array = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)
        return u

    train, x = 5 + 2 * draw(100, 3), 5 + 2 * draw(4, 3, seed=1)
    model = fn.batch_norm()
    params = fn.calibrate(model, fn.tree.cast(model.init((3,), 0), np.float64), train)
    right = (x - train.mean(0)) / np.sqrt(train.var(0) + 1e-5)
    distinguish(fn.predict(model, params, x), right, by_its_own_batch(x))
    distinguish(fn.predict(model, params, x[:1]), right[:1], by_its_own_batch(x[:1]))
    assert not by_its_own_batch(x[:1]).any()


@np.errstate(invalid="ignore")
def test_s0_20_constant_features_do_not_divide_by_zero() -> None:
    x = np.full((4, 2), 3, np.float32)
    faulty = (x - x.mean(0)) / np.sqrt(x.var(0) + np.float32(1e-100))
    assert np.isnan(faulty).all()
    model = fn.batch_norm()
    distinguish(run_layer(model, model.init((2,), 0), x, rng=0)[0], np.zeros((4, 2)), faulty)
    with pytest.raises(ValueError, match="eps must be at least 1e-12"):
        fn.batch_norm(eps=1e-100)


def test_s0_21_saved_parameters_keep_dtype_and_shape(tmp_path: Path) -> None:
    model = fn.serial(fn.dense(3), fn.batch_norm(), fn.dense(2))
    params = model.init((4,), 0)
    fn.save(tmp_path / "untrained.npz", params)
    loaded = fn.tree.flatten(fn.load(tmp_path / "untrained.npz", like=params))
    for path, leaf in fn.tree.flatten(params).items():
        assert (loaded[path].dtype, loaded[path].shape, loaded[path].tobytes()) == (
            np.float32,
            leaf.shape,
            leaf.tobytes(),
        )
    w = params["dense_0"]["w"]
    w.tofile(tmp_path / "weights.bin")
    distinguish(loaded["dense_0/w"], w, np.fromfile(tmp_path / "weights.bin"))


@pytest.mark.parametrize(
    ("layer", "shape", "fan_in", "faulty_bound"),
    [(fn.dense(50), (2000,), 2000, 50**-0.5), (fn.conv2d(64, 3), (9, 9, 100), 900, 3**-0.5)],
    ids=["dense", "conv2d"],
)
def test_s0_22_initial_weights_are_scaled_by_the_fan_in(
    layer: fn.Layer, shape: tuple[int, ...], fan_in: int, faulty_bound: float
) -> None:
    variance = layer.init(shape, 0)["w"].var()
    # At least 50,000 draws: 2 % is three times the standard error of the variance.
    assert variance == pytest.approx(2 / fan_in, rel=0.02)
    assert faulty_bound**2 / 3 > 5 * variance


def test_s0_23_every_example_in_a_new_order_and_a_column_for_every_class() -> None:
    labels = np.array([0, 1, 2, 1, 0, 2, 1])
    epochs = list(fn.batches(np.arange(7), 3, epochs=2, rng=0))
    first, second = np.concatenate(epochs[:3]), np.concatenate(epochs[3:])
    assert [len(batch) for batch in epochs] == [3, 3, 1] * 2
    faulty = np.arange(7)[: 7 // 3 * 3]
    distinguish(np.sort(first), np.arange(7), faulty)
    assert not np.array_equal(first, np.arange(7))
    assert not np.array_equal(first, second)
    distinguish(fn.datasets.one_hot(labels, 4), np.eye(4)[labels], np.eye(max(labels) + 1)[labels])


def test_s0_24_invalid_rates_raise_and_accuracy_is_not_an_error_rate() -> None:
    with pytest.raises(TypeError, match="rate: expected a number"):
        fn.sgd("fast")  # type: ignore[arg-type]
    y, labels = np.eye(4)[[0, 1, 2, 2]], np.array([0, 1, 2, 3])
    distinguish(fn.metrics.accuracy(y, labels), 0.75, np.mean(y.argmax(1) != labels))
    distinguish(fn.metrics.error_rate(y, labels), 0.25, np.mean(y.argmax(1) == labels))


@pytest.mark.parametrize("evaluate_every", [1, 2])
def test_s0_24_each_epoch_is_reported_once_under_its_number(
    evaluate_every: int, capsys: pytest.CaptureFixture[str]
) -> None:
    model, data = fn.dense(1), (draw(8, 1), draw(8, 1, seed=1))
    params = fn.tree.cast(model.init((1,), 0), np.float64)
    result = fn.fit(
        model, params, fn.sgd(0.1), data, fn.mean_squared_error, epochs=4, batch_size=4, evaluate_every=evaluate_every
    )
    *lines, _ = capsys.readouterr().out.splitlines()
    printed = [line.split()[1] for line in lines]
    assert [record["epoch"] for record in result.history] == list(range(0, 5, evaluate_every))
    assert printed == [f"{epoch}/4" for epoch in range(0, 5, evaluate_every)]
    # The last record is that of the returned parameters.
    last = fn.evaluate(model, result.params, data, fn.mean_squared_error)["loss"]
    assert last == result.history[-1]["train_loss"]


def test_s0_25_one_softmax_and_separate_batch_norms() -> None:
    logits, labels = 3 * draw(5, 4), np.array([0, 1, 2, 3, 0])
    probabilities, vjp_fn = fn.softmax.apply({}, logits)
    value, dlogits = fn.softmax_cross_entropy(logits, labels)
    distinguish(
        value, -np.mean(np.log(probabilities[range(5), labels])), fn.softmax_cross_entropy(probabilities, labels)[0]
    )
    right = (probabilities - np.eye(4)[labels]) / 5
    distinguish(dlogits, right, vjp_fn(fn.softmax_cross_entropy(probabilities, labels)[1])[1])
    distinguish(vjp_fn(fn.categorical_cross_entropy(probabilities, labels)[1])[1], right, dlogits / 2)
    norm = fn.batch_norm()
    params = fn.serial(norm, fn.dense(3), norm).init((3,), 0)
    assert sorted(params) == ["batch_norm_0", "batch_norm_1", "dense_0"]
    assert params["batch_norm_0"]["scale"] is not params["batch_norm_1"]["scale"]
