"""The faults of s3: each published formula, and the correct result on the same data."""

import numpy as np
import pytest
from fault_helpers import distinguish, draw, numeric_gradient, run_layer

import funcnn as fn
from funcnn.aliases import Array


def test_s3_2_squared_error_has_a_gradient_for_each_element() -> None:
    y, target = np.array([[1.0], [-1.0], [0.5]]), np.zeros((3, 1))
    value, dy = fn.mean_squared_error(y, target)
    right = numeric_gradient(lambda y: fn.mean_squared_error(y, target)[0], y)
    distinguish(value, (1 + 1 + 0.25) / 3, abs(np.mean(y)))
    distinguish(dy, right, np.full((3, 1), 2 * np.mean(y - target)))
    distinguish(dy, right, 2 * (target - y) / 3)
    # Errors of opposite sign do not cancel.
    assert 2 * np.mean(y[:2] - target[:2]) == 0
    assert fn.mean_squared_error(y[:2], target[:2])[1].tolist() == [[1], [-1]]


@np.errstate(divide="ignore", invalid="ignore")
def test_s3_3_a_certain_mistake_has_a_large_finite_loss_and_n_counts_all_elements() -> None:
    def faulty(p: Array, t: Array) -> float:
        """No clipping, NaN is skipped, and n is the number of rows."""
        return float(np.nansum(-t * np.log(p) - (1 - t) * np.log(1 - p)) / len(t))

    p, t = np.array([[1.0], [0.0], [0.5]]), np.array([[1.0], [0.0], [1.0]])
    value, dy = fn.binary_cross_entropy(p, t)
    distinguish(value, np.log(2) / 3, faulty(p.T, t.T))
    distinguish(fn.binary_cross_entropy(p.T, t.T)[0], np.log(2) / 3, faulty(p.T, t.T))
    assert np.isfinite(dy).all()
    # The loss of a certain mistake is -log(eps); the faulty formula makes it infinite and divides by zero.
    wrong, dwrong = fn.binary_cross_entropy(np.array([[0.0]]), np.array([[1.0]]))
    distinguish(wrong, -np.log(np.finfo(float).eps), faulty(np.array([[0.0]]), np.array([[1.0]])))
    assert np.isfinite(dwrong).all()
    # NaN in a prediction is not hidden.
    assert faulty(np.array([[np.nan]]), np.ones((1, 1))) == 0
    assert np.isnan(fn.binary_cross_entropy(np.array([[np.nan]]), np.ones((1, 1)))[0])


@pytest.mark.parametrize("inputs", [100, 1000])
def test_s3_4_weights_are_centred_and_scaled_to_their_fan_in(inputs: int) -> None:
    w = fn.dense(200).init((inputs,), 0)["w"]
    faulty = np.random.default_rng(0).random(w.shape)
    std = np.sqrt(2 / inputs)
    # At least 20,000 draws: the standard error of the mean is 0.7 % of the standard deviation, whose own is 0.5 %.
    assert abs(w.mean()) < 0.03 * std < faulty.mean()
    assert w.std() == pytest.approx(std, rel=0.02)
    assert faulty.std() > 2 * std


def test_s3_5_the_derivative_of_swish() -> None:
    x = np.array([[1.3]])
    sigmoid = 1 / (1 + np.exp(-x))
    y, _, derivative = run_layer(fn.swish, {}, x)
    sigmoid_of_swish = 1 / (1 + np.exp(-y))
    faulty = sigmoid_of_swish + y * (1 - y)
    assert faulty.item() == pytest.approx(0.713, abs=5e-4)
    distinguish(derivative, numeric_gradient(lambda x: (x / (1 + np.exp(-x))).sum(), x), faulty)
    distinguish(derivative, y + sigmoid * (1 - y), faulty)


def test_s3_6_roc_auc_uses_scores_and_differs_from_accuracy() -> None:
    scores, labels = np.array([0.1, 0.6, 0.7, 0.8, 0.65]), np.array([0, 0, 0, 1, 1])
    of_decisions = fn.metrics.roc_auc((scores > 0.5).astype(float), labels)
    # Of the six pairs of one example of each class, five are in the right order.
    distinguish(fn.metrics.roc_auc(scores, labels), 5 / 6, of_decisions)
    distinguish(fn.metrics.accuracy(scores, labels), 3 / 5, of_decisions)
    # The number that was reported as accuracy is the mean of the recalls of both classes.
    assert of_decisions == pytest.approx(fn.metrics.balanced_accuracy(scores, labels)) == pytest.approx((1 / 3 + 1) / 2)


def test_s3_6_validation_is_measured_on_held_out_data() -> None:
    x, labels = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([[0.0], [1.0], [0.0], [1.0]])
    held_out = np.array([[5.0], [4.0], [3.0]]), np.array([[0.0], [0.0], [1.0]])
    model, params = fn.dense(1), {"w": np.ones((1, 1)), "b": np.zeros(1)}
    record = fn.fit(
        model, params, fn.sgd(0.1), (x, labels), fn.sigmoid_cross_entropy, 0,
        metrics={"roc_auc": fn.metrics.roc_auc}, validation=held_out, verbose=False,
    ).history[0]  # fmt: skip
    assert record["train_roc_auc"] == 0.75
    distinguish(record["validation_roc_auc"], 0, record["train_roc_auc"])


def test_s3_7_the_loss_is_an_argument_and_names_are_compared_by_value() -> None:
    model, data = fn.dense(1), (draw(8, 2), (draw(8, 1) > 0).astype(float))
    params = fn.tree.cast(model.init((2,), 0), np.float64)
    y, _ = model.apply(params, data[0])
    for loss in (fn.mean_squared_error, fn.sigmoid_cross_entropy):
        history = fn.fit(model, params, fn.sgd(0.1), data, loss, 0, verbose=False).history
        other = fn.sigmoid_cross_entropy if loss is fn.mean_squared_error else fn.mean_squared_error
        distinguish(history[0]["train_loss"], loss(y, data[1])[0], other(y, data[1])[0])
    name, padding = "".join(["re", "lu"]), "".join(["sa", "me"])
    layer = fn.conv2d(1, 3, activation=name, padding=padding)
    assert layer.apply(layer.init((5, 5, 1), 0), np.zeros((1, 5, 5, 1), np.float32))[0].shape == (1, 5, 5, 1)
