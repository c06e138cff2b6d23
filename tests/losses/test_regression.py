"""Losses of numbers, and of the parameters of distributions: values by hand."""

import math
from typing import Any

import numpy as np
import pytest

import funcnn as fn

Y, T = np.array([[0.5, 3.0, -4.0, 1.0]]), np.array([[0.0, 0.0, 0.0, 1.0]])


@pytest.mark.parametrize(
    ("loss", "losses", "slopes"),
    [
        (fn.mean_absolute_error, [0.5, 3, 4, 0], [1, 1, -1, 0]),
        (fn.huber(), [0.125, 2.5, 3.5, 0], [0.5, 1, -1, 0]),
        (fn.huber(delta=3.0), [0.125, 4.5, 7.5, 0], [0.5, 3, -3, 0]),
        (fn.smooth_l1(beta=2.0), [0.0625, 2, 3, 0], [0.25, 1, -1, 0]),
        (fn.smooth_l1(0), [0.5, 3, 4, 0], [1, 1, -1, 0]),
        (fn.quantile(0.75), [0.125, 0.75, 3, 0], [0.25, 0.25, -0.75, 0]),
        (fn.log_cosh, np.log(np.cosh([0.5, 3, 4, 0])), np.tanh([0.5, 3, -4, 0])),
    ],
)
def test_each_loss_and_its_slope(loss: Any, losses: Any, slopes: Any) -> None:
    value, dy = loss(Y, T, reduction="none")
    np.testing.assert_allclose(value[0], losses, rtol=1e-15, atol=1e-16)
    np.testing.assert_allclose(dy[0], slopes, rtol=1e-15)


def test_log_cosh_of_small_and_large_errors_keeps_its_digits() -> None:
    value, dy = fn.log_cosh(np.array([[1e-9, 1e4]]), np.zeros((1, 2)), reduction="none")
    np.testing.assert_allclose(value, [[5e-19, 1e4 - math.log(2)]], rtol=1e-12)
    np.testing.assert_allclose(dy, [[1e-9, 1.0]], rtol=1e-12)


def test_the_quantile_of_the_targets_has_the_least_loss() -> None:
    targets = np.arange(1.0, 11.0)[:, None]
    costs = [fn.quantile(0.75)(np.full((10, 1), guess), targets)[0] for guess in np.arange(0.5, 11)]
    assert np.argmin(costs) == 7  # 7.5: seven of the ten targets lie below, and the best guess is 8


def test_mean_squared_log_error_compares_ratios() -> None:
    value, dy = fn.mean_squared_log_error(np.array([[99.0]]), [[9.0]])
    assert value == pytest.approx(math.log(10) ** 2, rel=1e-14)
    np.testing.assert_allclose(dy, [[2 * math.log(10) / 100]], rtol=1e-14)


def test_poisson_nll_with_stirling_and_of_rates() -> None:
    y, counts = np.log([[2.0, 2.0, 0.5]]), np.array([[3, 1, 0]])
    value, dy = fn.poisson_nll(full=True)(y, counts, reduction="none")
    stirling = 3 * math.log(3) - 3 + math.log(6 * math.pi) / 2
    np.testing.assert_allclose(value, [[2 - 3 * math.log(2) + stirling, 2 - math.log(2), 0.5]], rtol=1e-14)
    np.testing.assert_allclose(dy, [[-1, 1, 0.5]], rtol=1e-14, atol=1e-15)
    same, slopes = fn.poisson_nll(log_input=False, full=True, eps=0)(np.exp(y), counts, reduction="none")
    np.testing.assert_allclose(same, value, rtol=1e-14)
    np.testing.assert_allclose(slopes, [[-0.5, 0.5, 1]], rtol=1e-14, atol=1e-15)
    assert fn.poisson_nll(log_input=False, eps=0)(np.zeros((1, 1)), [[0]])[0] == 0  # 0 log 0


def test_gaussian_nll_by_hand_and_a_variance_below_eps_still_learns() -> None:
    y = {"mean": np.array([[1.0, 2.0]]), "var": np.array([[4.0, 0.0]])}
    value, dy = fn.gaussian_nll(full=True, eps=0.01)(y, [[3.0, 2.5]], reduction="none")
    constant = math.log(2 * math.pi) / 2
    expected = [[(math.log(4) + 1) / 2 + constant, (math.log(0.01) + 25) / 2 + constant]]
    np.testing.assert_allclose(value, expected, rtol=1e-14)
    np.testing.assert_allclose(dy["mean"], [[-0.5, -50]], rtol=1e-14)
    np.testing.assert_allclose(dy["var"], [[0, (1 - 25) / 0.01 / 2]], rtol=1e-14, atol=1e-15)


def test_gaussian_nll_of_one_variance_for_all_outputs_adds_their_gradients() -> None:
    mean, t, w = np.array([[1.0, 2.0], [0.0, 3.0]]), np.zeros((2, 2)), [1.0, 3.0]
    shared = {"mean": mean, "var": np.array([[2.0], [0.5]])}
    value, dy = fn.gaussian_nll()(shared, t, weights=w)
    same, apart = fn.gaussian_nll()({"mean": mean, "var": np.repeat(shared["var"], 2, 1)}, t, weights=w)
    assert value == same
    np.testing.assert_array_equal(dy["mean"], apart["mean"])
    np.testing.assert_array_equal(dy["var"], apart["var"].sum(1, keepdims=True))


def test_a_model_of_mean_and_variance_learns_both() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(400, 2)).astype(np.float32)
    target = (x[:, :1] + 0.5 * random.normal(size=(400, 1))).astype(np.float32)
    model = fn.branch(mean=fn.dense(1), var=fn.dense(1, activation=fn.exp))
    result = fn.fit(model, model.init((2,), 0), fn.adam(0.05), (x, target), fn.gaussian_nll(), epochs=30, verbose=False)
    y = fn.predict(model, result.params, x)
    assert np.median(y["var"]) == pytest.approx(0.25, rel=0.3)


def test_kl_divergence_by_hand_and_of_logarithms() -> None:
    log_p, t = np.log([[0.5, 0.25, 0.25]]), np.array([[0.5, 0.5, 0.0]])
    value, dy = fn.kl_divergence()(log_p, t, reduction="none")
    np.testing.assert_allclose(value, [[0, 0.5 * math.log(2), 0]], atol=1e-15)
    np.testing.assert_array_equal(dy, -t)
    mean, _ = fn.kl_divergence()(log_p, t)
    assert mean == pytest.approx(0.5 * math.log(2) / 3)  # over all elements, as in PyTorch
    with np.errstate(divide="ignore"):
        log_t = np.log(t)
    same, dy_same = fn.kl_divergence(log_target=True)(log_p, log_t, reduction="none")
    np.testing.assert_allclose(same, value, atol=1e-15)
    np.testing.assert_allclose(dy_same, -t, rtol=1e-15)
