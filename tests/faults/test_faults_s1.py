"""The faults of s1: each published formula, and the correct result on the same data."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fault_helpers import correlate, distinguish, draw, numeric_gradient, run_layer

import funcnn as fn
from funcnn.aliases import Array

LABELS = np.array([0, 2, 1, 2])
LOSSES = {
    "mean_squared_error": (fn.mean_squared_error, draw(4, 3), draw(4, 3, seed=1)),
    "binary_cross_entropy": (fn.binary_cross_entropy, np.full((4, 1), 0.4), np.array([[0], [1], [1], [1]])),
    "sigmoid_cross_entropy": (fn.sigmoid_cross_entropy, draw(4, 1), np.array([[0], [1], [1], [1]])),
    "categorical_cross_entropy": (fn.categorical_cross_entropy, np.full((4, 3), 1 / 3), LABELS),
    "softmax_cross_entropy": (fn.softmax_cross_entropy, draw(4, 3), LABELS),
}


def weights(layer: fn.Layer, shape: tuple[int, ...]) -> Any:
    """Parameters in float64, for numeric derivatives."""
    return fn.tree.cast(layer.init(shape, 0), np.float64)


@pytest.mark.parametrize(
    "between", [fn.dropout(0.2), fn.flatten, fn.serial(fn.max_pool2d(2), fn.dropout(0.5))], ids=repr
)
def test_s1_1_layers_before_one_without_weights_learn(between: fn.Layer) -> None:
    model = fn.serial(fn.conv2d(2, 2), between, fn.flatten, fn.dense(3))
    params, x, key = weights(model, (5, 5, 1)), draw(4, 5, 5, 1), (0, 7)
    gradient = fn.value_and_grad(model, fn.softmax_cross_entropy)
    _, grads = gradient(params, x, LABELS, key)

    def loss(w: Array) -> float:
        return float(gradient(params | {"conv2d_0": params["conv2d_0"] | {"w": w}}, x, LABELS, key)[0])

    w = params["conv2d_0"]["w"]
    distinguish(grads["conv2d_0"]["w"], numeric_gradient(loss, w), np.dot(0, w))


@pytest.mark.parametrize("layer", [fn.flatten, fn.dropout(0.5)], ids=repr)
def test_s1_2_flatten_and_dropout_do_not_multiply_by_their_output(layer: fn.Layer) -> None:
    x = np.arange(4.0).reshape(1, 2, 2, 1)
    y, _, dx = run_layer(layer, {}, x, rng=0)
    right = numeric_gradient(lambda x: layer.apply({}, x, 0)[0].sum(), x)
    distinguish(dx, right, y.reshape(x.shape) * right)


@pytest.mark.parametrize(
    ("activation", "function", "derivative"),
    [
        ("relu", lambda z: np.maximum(z, 0), lambda z: (z > 0).astype(float)),
        (None, lambda z: z, np.ones_like),
        ("tanh", np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    ],
    ids=["relu", "linear", "tanh"],
)
def test_s1_3_the_derivative_of_an_activation_multiplies_the_incoming_gradient(
    activation: str | None, function: Callable[[Array], Array], derivative: Callable[[Array], Array]
) -> None:
    x, w, dy = draw(2, 5, 5, 1), draw(3, 3, 1, 2, seed=1), draw(2, 3, 3, 2, seed=2)
    _, grads, dx = run_layer(fn.conv2d(2, 3, bias=False, activation=activation), {"w": w}, x, dy)
    faulty_dw = numeric_gradient(lambda w: np.vdot(derivative(dy), correlate(x, w)), w)
    faulty_dx = numeric_gradient(lambda x: np.vdot(derivative(dy), correlate(x, w)), x)
    distinguish(grads["w"], numeric_gradient(lambda w: np.vdot(dy, function(correlate(x, w))), w), faulty_dw)
    distinguish(dx, numeric_gradient(lambda x: np.vdot(dy, function(correlate(x, w))), x), faulty_dx)


def test_s1_4_relu_has_the_derivative_one_between_zero_and_one() -> None:
    x = np.array([[-0.5, 0.25, 0.75, 2.0]])
    _, _, dx = run_layer(fn.relu, {}, x)
    distinguish(dx, [[0, 1, 1, 1]], np.where(x >= 1, 1, np.where(x > 0, x, 0)))
    distinguish(dx, [[0, 1, 1, 1]], np.maximum(x, 0))


@pytest.mark.parametrize(("kernel", "pad_mode", "border"), [(3, "zero", 1), (5, "zero", 2), (3, "edge", 1)])
def test_s1_6_gradients_see_the_padded_image(kernel: int, pad_mode: str, border: int) -> None:
    x, w, dy = draw(2, 4, 4, 1), draw(kernel, kernel, 1, 2, seed=1), draw(2, 4, 4, 2, seed=2)

    def padded(x: Array) -> Array:
        how: Any = "edge" if pad_mode == "edge" else "constant"
        return np.pad(x, ((0, 0), (border, border), (border, border), (0, 0)), how)

    faulty_dw, faulty_dx = np.zeros_like(w), np.zeros_like(x)
    for n, r, s in np.ndindex(2, 4, 4):
        patch = x[n, r : r + kernel, s : s + kernel]
        h, v = patch.shape[:2]
        faulty_dw[:h, :v] += patch[..., None] * dy[n, r, s]
        faulty_dx[n, r : r + h, s : s + v] += (w * dy[n, r, s]).sum(-1)[:h, :v]
    layer = fn.conv2d(2, kernel, padding="same", bias=False, pad_mode=pad_mode)
    _, grads, dx = run_layer(layer, {"w": w}, x, dy)
    distinguish(grads["w"], numeric_gradient(lambda w: np.vdot(dy, correlate(padded(x), w)), w), faulty_dw)
    distinguish(dx, numeric_gradient(lambda x: np.vdot(dy, correlate(padded(x), w)), x), faulty_dx)


def test_s1_7_every_sample_counts_for_the_bias() -> None:
    x, params, dy = draw(3, 4, 4, 1), {"w": draw(2, 2, 1, 2), "b": draw(2)}, draw(3, 3, 3, 2)
    _, grads, _ = run_layer(fn.conv2d(2, 2), params, x, dy)
    distinguish(
        grads["b"], [sum(dy[n, r, s, f] for n, r, s in np.ndindex(3, 3, 3)) for f in (0, 1)], dy[-1].sum((0, 1))
    )


def test_s1_8_average_pooling_distributes_the_gradient() -> None:
    _, _, dx = run_layer(fn.avg_pool2d(2), {}, draw(1, 4, 4, 1))
    distinguish(dx, np.full((1, 4, 4, 1), 0.25), np.ones((1, 4, 4, 1)))


def test_s1_9_windows_that_overlap_add_their_gradients() -> None:
    x = np.zeros((1, 3, 3, 1))
    x[0, 1, 1, 0] = 1  # the largest of all four windows
    _, _, dx = run_layer(fn.max_pool2d(2, stride=1), {}, x)
    distinguish(dx, 4 * x, x)
    _, _, dx = run_layer(fn.avg_pool2d(2, stride=1), {}, x)
    right = [[0.25, 0.5, 0.25], [0.5, 1, 0.5], [0.25, 0.5, 0.25]]
    distinguish(dx[0, :, :, 0], right, np.full((3, 3), 0.25))


def test_s1_10_dropout_is_the_identity_when_predicting() -> None:
    x = 1 + draw(1, 1000) ** 2
    distinguish(fn.dropout(0.1).apply({}, x)[0], x, x / 0.1)
    y, _ = fn.dropout(0.1).apply({}, x, 0)
    distinguish(y[y != 0], x[y != 0] / 0.9, x[y != 0] / 0.1)


def test_s1_11_dropout_uses_the_same_mask_in_the_backward_pass() -> None:
    x, dy = np.zeros((1, 1000)), draw(1, 1000)
    mask = fn.dropout(0.5).apply({}, np.ones((1, 1000)), 0)[0]
    y, _, dx = run_layer(fn.dropout(0.5), {}, x, dy, rng=0)
    distinguish(dx, mask * dy, np.where(y == 0, 0, dy / 0.5))
    # Half of 1,000 units are dropped: 500 with a standard deviation of 16. Drawing indices with replacement drops
    # 1 - 1/√e = 39 %.
    redrawn = np.ones(1000)
    redrawn[np.random.default_rng(0).integers(1000, size=500)] = 0
    assert abs((mask == 0).sum() - 500) < 64
    assert (redrawn == 0).sum() < 436


def test_s1_12_upsampling_sums_the_gradients_of_its_copies() -> None:
    def faulty(dy: Array) -> Array:
        dx = np.zeros((2, 2))
        for r, s in np.ndindex(2, 2):
            dx[r, s] = dy[2 * r : 2 * r + 2, 3 * s : 3 * s + 3]
        return dx

    dy = draw(4, 6)
    _, _, dx = run_layer(fn.upsample2d((2, 3)), {}, draw(1, 2, 2, 1), dy[None, :, :, None])
    right = [[sum(dy[2 * r + i, 3 * s + j] for i, j in np.ndindex(2, 3)) for s in (0, 1)] for r in (0, 1)]
    distinguish(dx[0, :, :, 0], right, dy[::2, ::3])
    with pytest.raises(ValueError, match="setting an array element with a sequence"):
        faulty(dy)


@pytest.mark.parametrize("name", LOSSES)
def test_s1_13_a_step_against_the_gradient_lowers_every_loss(name: str) -> None:
    loss, y, target = LOSSES[name]
    value, dy = loss(y, target)
    optimizer, params = fn.sgd(0.01), {"y": y}
    updates, _ = optimizer.update({"y": dy}, optimizer.init(params), params)
    after = loss(fn.apply_updates(params, updates)["y"], target)[0]
    added = loss(y + 0.01 * dy, target)[0]
    assert after < value < added


def test_s1_14_categorical_loss_is_the_mean_of_the_true_class_alone() -> None:
    def faulty(p: Array, rows: Array) -> float:
        return float(-(rows * np.log(p) + (1 - rows) * np.log(1 - p)).sum())

    logits, rows = draw(4, 3), np.eye(3)[LABELS]

    def softmax(z: Array) -> Array:
        p: Array = np.exp(z) / np.exp(z).sum(1, keepdims=True)
        return p

    p = softmax(logits)
    value, dlogits = fn.softmax_cross_entropy(logits, LABELS)
    distinguish(value, -np.mean([np.log(p[i, c]) for i, c in enumerate(LABELS)]), faulty(p, rows))
    distinguish(fn.categorical_cross_entropy(p, LABELS)[0], value, faulty(p, rows))
    # (p - y) / n is the gradient of our value; the faulty value has another gradient for every batch.
    distinguish(dlogits, (p - rows) / 4, numeric_gradient(lambda z: faulty(softmax(z), rows) / 4, logits))


def test_s1_15_softmax_anywhere_has_its_whole_jacobian() -> None:
    model = fn.serial(fn.dense(4), fn.softmax, fn.dense(2))
    params, x, target = weights(model, (3,)), draw(5, 3), draw(5, 2, seed=1)
    gradient = fn.value_and_grad(model, fn.mean_squared_error)
    _, grads = gradient(params, x, target)
    first, last = params["dense_0"], params["dense_1"]
    right = numeric_gradient(lambda w: gradient(params | {"dense_0": first | {"w": w}}, x, target)[0], first["w"])
    s = fn.softmax.apply({}, x @ first["w"] + first["b"])[0]
    twice = fn.softmax.apply({}, s)[0]
    ds = (s @ last["w"] + last["b"] - target) * 2 / target.size @ last["w"].T
    distinguish(grads["dense_0"]["w"], right, x.T @ (ds * s * (1 - s)))
    distinguish(grads["dense_0"]["w"], right, x.T @ (ds * twice * (1 - twice)))


def test_s1_16_the_backward_pass_of_each_sample_uses_its_own_activations() -> None:
    x, params, target = draw(4, 3), {"w": draw(3, 2), "b": np.zeros(2)}, draw(4, 2, seed=1)
    gradient = fn.value_and_grad(fn.dense(2, activation="tanh"), fn.mean_squared_error)
    _, grads = gradient(params, x, target)
    y = np.tanh(x @ params["w"])
    error = (2 * (y - target) / target.size).sum(0)
    faulty = np.outer(x[-1], error * (1 - y[-1] ** 2))
    distinguish(grads["w"], numeric_gradient(lambda w: gradient(params | {"w": w}, x, target)[0], params["w"]), faulty)


def test_s1_17_every_batch_makes_an_update_also_a_smaller_one() -> None:
    model, data = fn.dense(1), (draw(1000, 1).astype(np.float32), draw(1000, 1).astype(np.float32))
    params = model.init((1,), 0)
    result = fn.fit(model, params, fn.sgd(0.01), data, fn.mean_squared_error, 1, batch_size=32, verbose=False)
    faulty = sum(len(batch) == 32 for batch in np.array_split(data[0], 32))
    assert faulty == 8
    distinguish(fn.current_step(result.opt_state), 32, faulty)


@pytest.mark.parametrize(
    ("layer", "shape", "count"), [(fn.dense(3, bias=False), (4,), 12), (fn.conv2d(3, 2, bias=False), (5, 5, 2), 24)]
)
def test_s1_18_without_bias_the_weights_remain_and_learn(layer: fn.Layer, shape: tuple[int, ...], count: int) -> None:
    def faulty(weights: int, biases: int, isbias: bool) -> int:
        return weights + biases if isbias else 0

    params = layer.init(shape, 0)
    assert list(params) == ["w"]
    distinguish(fn.summary(layer, params, shape).parameters, count, faulty(count, 3, False))
    _, grads, _ = run_layer(layer, params, draw(2, *shape).astype(np.float32))
    assert grads["w"].all()


def test_s1_19_layers_of_one_shape_start_differently_and_do_not_use_the_global_generator() -> None:
    def faulty(shape: tuple[int, ...]) -> Array:
        np.random.seed(100)
        return np.random.standard_normal(shape)

    before = np.random.get_state()[1].tobytes()  # type: ignore[index]
    params = fn.serial(fn.dense(3), fn.dense(3), fn.dropout(0.5)).init((3,), 100)
    assert np.random.get_state()[1].tobytes() == before  # type: ignore[index]
    assert not np.isin(params["dense_0"]["w"], params["dense_1"]["w"]).any()
    state = np.random.get_state()
    try:
        np.testing.assert_array_equal(faulty((3, 3)), faulty((3, 3)))
    finally:
        np.random.set_state(state)


def test_s1_20_custom_initial_weights() -> None:
    w = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
    with pytest.raises(ValueError, match="truth value of an array"):
        bool(w != None)  # noqa: E711
    layer = fn.dense(2, w_init=lambda shape, rng, fan_in, fan_out: w)
    distinguish(layer.init((2,), 0)["w"], w, fn.dense(2).init((2,), 0)["w"])
    distinguish(fn.dense(2, bias=False).apply({"w": w}, np.ones((1, 2), np.float32))[0], [[4, 6]], [[0, 0]])


def test_s1_21_a_stride_may_be_an_integer_and_conv2d_has_relu() -> None:
    x, w = draw(1, 7, 7, 1), draw(3, 3, 1, 1, seed=1)
    layer: Any = fn.conv2d(1, 3, stride=2, bias=False, activation="relu")
    distinguish(layer.apply({"w": w}, x)[0], np.maximum(correlate(x, w, stride=2), 0), correlate(x, w, stride=2))
    with pytest.raises(TypeError, match="not subscriptable"):
        layer.arguments["stride"][0]
    with pytest.raises(ValueError, match=r"unknown activation 'rleu'.*did you mean 'relu'"):
        fn.conv2d(1, 3, activation="rleu")


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_s1_22_padding_keeps_the_size_for_every_kernel(kernel: int) -> None:
    x, w = draw(1, 6, 6, 1), draw(kernel, kernel, 1, 1, seed=1)
    y, _ = fn.conv2d(1, kernel, padding="same", bias=False).apply({"w": w}, x)
    right = correlate(x, w, border=kernel // 2)
    distinguish(y, right, correlate(x, w, border=1) if kernel != 3 else correlate(x, w))
    assert right.shape == x.shape


def test_s1_22_padding_is_applied_in_pooling_and_unknown_names_raise() -> None:
    x = draw(4, 4)
    faulty = np.zeros((3, 3))
    for r, s in np.ndindex(2, 2):
        faulty[r, s] = x[2 * r : 2 * r + 2, 2 * s : 2 * s + 2].max()
    right = np.pad(x, 1, constant_values=-np.inf).reshape(3, 2, 3, 2).max((1, 3))
    y, _ = fn.max_pool2d(2, padding=((1, 1), (1, 1))).apply({}, x[None, :, :, None])
    distinguish(y[0, :, :, 0], right, faulty)
    for make in (fn.max_pool2d, fn.avg_pool2d, lambda size, padding: fn.conv2d(1, size, padding=padding)):
        with pytest.raises(ValueError, match=r"padding.*'yes'"):
            make(3, padding="yes")


def test_s1_23_adam_uses_its_rate() -> None:
    def faulty(gradient: float, lr: float) -> float:
        return -0.001 * gradient / (abs(gradient) + 1e-8)

    params, grads = {"w": np.zeros(1)}, {"w": np.array([3.0])}
    for rate in (0.5, 0.01):
        step = fn.adam(rate).update(grads, fn.adam(rate).init(params), params)[0]["w"].item()
        distinguish(step, -rate, faulty(3.0, lr=rate))


def run(optimizer: fn.Optimizer, gradients: tuple[float, ...], start: float = 0.0) -> list[float]:
    """The values of a parameter after the steps with some gradients."""
    params: Any = {"w": np.array([[start]])}
    state, path = optimizer.init(params), []
    for g in gradients:
        updates, state = optimizer.update({"w": np.array([[g]])}, state, params)
        params = fn.apply_updates(params, updates)
        path.append(params["w"].item())
    return path


def previous_gradient_added(gradients: tuple[float, ...], p: float, rate: float, momentum: float) -> list[float]:
    path, last = [], 0.0
    for g in gradients:
        p, last = p - rate * (g + momentum * last), g
        path.append(p)
    return path


def momentum_sum(gradients: tuple[float, ...], p: float, rate: float, momentum: float, ahead: bool) -> list[float]:
    path, m = [], 0.0
    for g in gradients:
        m = momentum * m + g
        p -= rate * (g + momentum * m if ahead else m)
        path.append(p)
    return path


def adamax_steps(gradients: tuple[float, ...], p: float, rate: float, corrected: bool) -> list[float]:
    path, m, v = [], 0.0, 0.0
    for t, g in enumerate(gradients, 1):
        m, v = 0.9 * m + 0.1 * g, max(0.999 * v, abs(g))
        p -= rate * m / v / (1 - 0.9**t if corrected else 1 - 0.9)
        path.append(p)
    return path


def adadelta_steps(gradients: tuple[float, ...], p: float, squared: bool) -> list[float]:
    path, v, d = [], 0.0, 0.0
    for g in gradients:
        v = 0.9 * v + 0.1 * g * g
        step = -np.sqrt(d + 1e-6) / np.sqrt(v + 1e-6) * g
        d = 0.9 * d + 0.1 * (step * step if squared else step)
        p += step
        path.append(p)
    return path


G = (1.0, 3.0, -0.5)


@pytest.mark.parametrize(
    ("optimizer", "right", "faulty"),
    [
        (fn.sgd(0.1, 0.5), momentum_sum(G, 0, 0.1, 0.5, ahead=False), previous_gradient_added(G, 0, 0.1, 0.5)),
        (
            fn.sgd(0.1, 0.5, nesterov=True),
            momentum_sum(G, 0, 0.1, 0.5, ahead=True),
            momentum_sum(G, 0, 0.1, 0.5, ahead=False),
        ),
        (fn.adamax(0.1), adamax_steps(G, 0, 0.1, corrected=True), adamax_steps(G, 0, 0.1, corrected=False)),
        (fn.sgd(0.1), [-0.1, -0.4, -0.35], [0.1, 0.4, 0.35]),
    ],
    ids=["momentum", "nesterov", "adamax", "iterative"],
)
def test_s1_24_optimizers_take_the_steps_of_their_papers(
    optimizer: fn.Optimizer, right: list[float], faulty: list[float]
) -> None:
    distinguish(run(optimizer, G), right, faulty)


@np.errstate(invalid="ignore")
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_s1_24_adadelta_keeps_squares_of_its_steps() -> None:
    faulty = adadelta_steps(G, 0, squared=False)
    assert np.isnan(faulty[1])
    distinguish(run(fn.adadelta(), G), adadelta_steps(G, 0, squared=True), faulty)


def test_s1_24_decay_does_not_apply_to_biases() -> None:
    params = {"b": np.ones(2), "w": np.ones((2, 2))}
    optimizer = fn.adamw(0.1, weight_decay=0.5)
    updates, _ = optimizer.update(fn.tree.map(np.zeros_like, params), optimizer.init(params), params)
    distinguish(updates["w"], np.full((2, 2), -0.05), np.zeros((2, 2)))
    assert not updates["b"].any()


def test_s1_25_accuracy_of_single_outputs_compares_them_with_the_labels() -> None:
    y, labels = np.array([[0.9], [0.8], [0.2], [0.6]]), np.array([[1], [0], [0], [1]])
    distinguish(fn.metrics.accuracy(y, labels), 0.75, np.mean(y > 0.7))


def test_s1_25_regression_is_measured_by_the_size_of_its_errors() -> None:
    y, target = np.array([[2.5], [0.0], [2.0], [8.0]]), np.array([[3.0], [-0.5], [2.0], [7.0]])
    # 1 - 1.5 / 29.1875, by hand: all are near, but only one of four is equal to six digits.
    distinguish(fn.metrics.r2(y, target), 1 - 1.5 / 29.1875, np.mean(abs(y - target) < 1e-6))


def test_s1_25_validation_uses_the_validation_data() -> None:
    model, target = fn.dense(1), draw(6, 1)
    params, train, validation = weights(model, (1,)), (draw(6, 1), target), (draw(4, 1, seed=2), draw(4, 1, seed=3))
    history = fn.fit(
        model, params, fn.sgd(0.1), train, fn.mean_squared_error, 0, validation=validation, verbose=False
    ).history
    predicted = validation[0] @ params["w"]
    distinguish(history[0]["validation_loss"], np.mean((predicted - validation[1]) ** 2), history[0]["train_loss"])


@np.errstate(invalid="ignore")
def test_s1_26_nothing_hides_a_divergence() -> None:
    model = fn.serial(fn.dense(3, activation="relu"), fn.dense(2))
    params = model.init((2,), 0)
    x = np.array([[np.nan, 1.0]], np.float32)
    y, _ = model.apply(params, x)
    assert np.isnan(y).all()
    assert not np.isnan(np.nan_to_num(y)).any()
    with pytest.raises(fn.NonFiniteLossError, match="epoch 0"):
        fn.fit(model, params, fn.sgd(0.1), (x, np.array([0])), fn.softmax_cross_entropy, 1, verbose=False)


@pytest.mark.parametrize("name", LOSSES)
def test_s1_26_losses_do_not_change_predictions(name: str) -> None:
    loss, y, target = LOSSES[name]
    kept = y.copy()
    y.setflags(write=False)
    loss(y, target)
    np.testing.assert_array_equal(y, kept)
    with pytest.raises(ValueError, match="read-only"):
        y += 1e-8


def test_s1_27_a_loaded_model_predicts_the_same_bits(tmp_path: Path) -> None:
    convolution = fn.conv2d(4, 3, stride=2, padding="same", bias=False, activation="relu")
    rate = np.float64(0.25)
    model = fn.serial(
        convolution, fn.batch_norm(), fn.dropout(rate), fn.flatten, fn.dense(7, activation="tanh"), fn.dense(3)
    )
    x = draw(5, 9, 9, 2).astype(np.float32)
    params = fn.calibrate(model, model.init((9, 9, 2), 0), x)
    with pytest.raises(TypeError, match="int64 is not JSON serializable"):
        json.dumps({"neurons": np.int64(7)})
    fn.save_model(tmp_path / "model.npz", model, params)
    loaded, loaded_params = fn.load_model(tmp_path / "model.npz")
    y = fn.predict(model, params, x)
    assert np.all(fn.predict(loaded, loaded_params, x) == y)
    assert repr(loaded) == repr(model)
    # Not only the weights: a convolution without its stride has another output.
    stride_dropped = fn.conv2d(4, 3, padding="same", bias=False, activation="relu")
    here, there, faulty = (
        layer.apply(parameters["conv2d_0"], x)[0]
        for layer, parameters in (
            (convolution, params), (loaded.children["conv2d_0"], loaded_params), (stride_dropped, params)
        )
    )  # fmt: skip
    distinguish(there, here, faulty)


def test_s1_28_each_epoch_has_its_own_order_and_validation_is_split_off_once() -> None:
    x, labels = np.arange(20), np.repeat([0, 1], 10)
    one, two, three = (np.concatenate(list(fn.batches(x, 4, epochs=3, rng=0))[5 * e : 5 * e + 5]) for e in range(3))
    for epoch in (one, two, three):
        np.testing.assert_array_equal(np.sort(epoch), x)
    assert not np.array_equal(one, two)
    assert not np.array_equal(two, three)
    (rest, _), (part, part_labels) = fn.split((x, labels), 0.2, rng=0)
    np.testing.assert_array_equal(np.sort(np.concatenate([rest, part])), x)
    assert sorted(part_labels) == [0, 0, 1, 1]


def test_s1_29_tanh_sigmoid_and_their_derivatives() -> None:
    x = np.array([[0.5, 1.3]])
    e, s = np.exp(x), 1 / (1 + np.exp(-x))
    tanh, _, derivative = run_layer(fn.tanh, {}, x)
    distinguish(tanh, (e - 1 / e) / (e + 1 / e), (1 - x) / (1 + x))
    distinguish(derivative, 4 / (e + 1 / e) ** 2, 2 * x / (1 + x) ** 2)
    _, _, derivative = run_layer(fn.sigmoid, {}, x)
    twice = 1 / (1 + np.exp(-s))
    distinguish(derivative, s * (1 - s), twice * (1 - twice))


def test_s1_29_rmsprop_decays_its_running_average() -> None:
    def steps(decay: float) -> list[float]:
        path, p, v = [], 0.0, 0.0
        for g in G:
            v = decay * v + (1 - decay) * g * g
            p -= 0.1 * g / np.sqrt(v)
            path.append(p)
        return path

    distinguish(run(fn.rmsprop(0.1, decay=0.9), G), steps(0.9), steps(0.1))
