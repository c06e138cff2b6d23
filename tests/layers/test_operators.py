"""Formulas and operators between arrays against values computed by hand."""

import math
from typing import Any

import numpy as np
import pytest

import funcnn as fn

A, B = np.array([[1.0, -2.0], [4.0, 0.5]]), np.array([[2.0], [-1.0]])
VALUES = {
    "add": A + B, "subtract": A - B, "multiply": A * B, "divide": A / B,
    "maximum": [[2.0, 2.0], [4.0, 0.5]], "minimum": [[1.0, -2.0], [-1.0, -1.0]],
    "equal": A == B, "greater": A > B, "greater_equal": A >= B, "less": A < B, "less_equal": A <= B,
}  # fmt: skip


@pytest.mark.parametrize("operation", VALUES)
def test_arithmetic_broadcasts(operation: Any) -> None:
    y, vjp_fn = fn.arithmetic(operation, "a", "b").apply({}, {"b": B, "a": A})
    np.testing.assert_array_equal(y, VALUES[operation])
    grads = vjp_fn(np.ones_like(y))[1]
    assert {name: leaf.shape for name, leaf in grads.items()} == {"a": (2, 2), "b": (2, 1)}


FUNCTIONS = {
    "acos": math.acos, "asin": math.asin, "asinh": math.asinh, "atan": math.atan, "atanh": math.atanh,
    "cosh": math.cosh, "sinh": math.sinh, "tan": math.tan, "cos": math.cos, "erf": math.erf, "abs": abs,
}  # fmt: skip


@pytest.mark.parametrize("function", FUNCTIONS)
def test_functions_of_one_element(function: Any) -> None:
    x = np.array([[-0.7, 0.2, 0.9]])
    y, vjp_fn = fn.unary(function).apply({}, x)
    np.testing.assert_allclose(y[0], [*map(FUNCTIONS[function], x[0])], rtol=1e-13)
    slopes = [(FUNCTIONS[function](n + 1e-6) - FUNCTIONS[function](n - 1e-6)) / 2e-6 for n in x[0]]
    np.testing.assert_allclose(vjp_fn(np.ones_like(y))[1][0], slopes, rtol=1e-7)
    fn.unary(function).apply({}, np.array([[np.inf, -np.inf, np.nan]]))[1](np.ones((1, 3)))


def test_functions_of_steps_have_no_gradient() -> None:
    x = np.array([[-1.5, -0.2, 0.0, 0.5, 1.5]])
    wanted = {
        "ceil": [-1, 0, 0, 1, 2],
        "floor": [-2, -1, 0, 0, 1],
        "round": [-2, 0, 0, 0, 2],
        "sign": [-1, -1, 0, 1, 1],
    }
    for function, values in wanted.items():
        y, vjp_fn = fn.unary(function).apply({}, x)  # type: ignore[arg-type]
        assert y[0].tolist() == values
        assert not vjp_fn(np.ones_like(y))[1].any()
    y, vjp_fn = fn.unary("acosh").apply({}, np.array([[1.5, 0.5]]))
    np.testing.assert_allclose(y[0], [math.acosh(1.5), np.nan])
    np.testing.assert_allclose(vjp_fn(np.ones_like(y))[1][0, 0], 1 / math.sqrt(1.25))
    _, vjp_fn = fn.arithmetic("less").apply({}, {"a": A, "b": B})
    assert not any(leaf.any() for leaf in vjp_fn(np.ones((2, 2)))[1].values())


def test_power_and_matmul_of_two_arrays() -> None:
    y, vjp_fn = fn.arithmetic("power").apply({}, {"a": np.array([[2.0, 0.0]]), "b": np.array([[3.0, 2.0]])})
    assert y.tolist() == [[8.0, 0.0]]
    grads = vjp_fn(np.ones_like(y))[1]
    assert grads["a"].tolist() == [[12.0, 0.0]]
    np.testing.assert_allclose(grads["b"], [[8 * math.log(2), 0.0]])
    a, b = np.arange(12.0).reshape(1, 2, 3, 2), np.arange(4.0).reshape(1, 1, 2, 2)
    np.testing.assert_array_equal(fn.arithmetic("matmul").apply({}, {"a": a, "b": b})[0], a @ b)


def test_a_choice_sends_the_gradient_where_it_came_from() -> None:
    x = {"m": np.array([[1, 0]]), "x": np.array([[5.0, np.inf]]), "y": np.array([[-1.0]])}
    y, vjp_fn = fn.where("m", "x", "y").apply({}, x)
    assert y.tolist() == [[5.0, -1.0]]
    grads = vjp_fn(np.array([[2.0, 3.0]]))[1]
    assert grads["m"] is None
    assert (grads["x"].tolist(), grads["y"].tolist()) == ([[2.0, 0.0]], [[3.0]])


def test_formulas_at_special_numbers() -> None:
    x = np.array([[-np.inf, -1.0, 0.0, np.inf]])
    assert fn.affine(2.0, -1.0).apply({}, x)[0].tolist() == [[-np.inf, -3.0, -1.0, np.inf]]
    np.testing.assert_allclose(fn.unary("erf").apply({}, x)[0], [[-1.0, -math.erf(1), 0.0, 1.0]], rtol=1e-14)
    assert fn.unary("abs").apply({}, x)[0].tolist() == [[np.inf, 1.0, 0.0, np.inf]]
    logs, roots = fn.unary("log").apply({}, x)[0], fn.power(0.5).apply({}, x)[0]
    assert np.isnan(logs[0, :2]).all()
    assert logs[0, 2:].tolist() == [-np.inf, np.inf]
    assert roots[0, 2:].tolist() == [0.0, np.inf]
    assert fn.power(-1.0).apply({}, x)[0][0, 1:].tolist() == [-1.0, np.inf, 0.0]
    assert fn.unary("erf").apply({}, x.astype(np.float32))[0].dtype == np.float32


def test_reductions_keep_axes_or_not() -> None:
    x = np.arange(12.0).reshape(1, 3, 4)
    assert fn.reduce("sum", (1, 2)).apply({}, x)[0].tolist() == [66.0]
    assert fn.reduce("max", 1, keepdims=True).apply({}, x)[0].tolist() == [[[8.0, 9.0, 10.0, 11.0]]]
    y, vjp_fn = fn.reduce("min", -1).apply({}, np.array([[2.0, 1.0, 1.0]]))
    assert (y.tolist(), vjp_fn(y)[1].tolist()) == ([1.0], [[0.0, 1.0, 0.0]])


def test_a_factor_gets_the_product_of_all_others() -> None:
    y, vjp_fn = fn.reduce("prod", 1).apply({}, np.array([[2.0, 3.0, 4.0], [2.0, 0.0, 4.0], [0.0, 0.0, 4.0]]))
    assert y.tolist() == [24.0, 0.0, 0.0]
    assert vjp_fn(np.ones(3))[1].tolist() == [[12.0, 8.0, 6.0], [0.0, 8.0, 0.0], [0.0, 0.0, 0.0]]


def test_of_equal_elements_the_first_are_the_largest() -> None:
    x = np.array([[2.0, 5.0, 2.0, 5.0, np.nan, -np.inf]])
    y, vjp_fn = fn.top_k(4).apply({}, x)
    np.testing.assert_array_equal(y, [[np.nan, 5.0, 5.0, 2.0]])
    assert vjp_fn(np.array([[1.0, 2.0, 3.0, 4.0]]))[1].tolist() == [[4.0, 2.0, 0.0, 3.0, 1.0, 0.0]]


def test_a_parameter_is_the_same_for_each_example() -> None:
    layer = fn.parameter(2, w_init=fn.initializers.ones)
    x = {"tokens": np.zeros((3, 4), int), "x": np.zeros((3, 1))}
    params = {"w": np.array([1.0, 2.0])}
    y, vjp_fn = layer.apply(params, x)
    assert y.tolist() == [[1.0, 2.0]] * 3
    grads, dx = vjp_fn(np.ones_like(y))
    assert (grads["w"].tolist(), dx["tokens"], dx["x"].tolist()) == ([3.0, 3.0], None, [[0.0]] * 3)
    assert layer.init((7,), 0)["w"].tolist() == [1.0, 1.0]


def test_a_power_of_0_has_the_gradient_0_everywhere() -> None:
    x = np.array([[0.0, -0.0, 2.0, -1.0, np.inf]])
    for layer, given in (
        (fn.power(0.0), x), (fn.arithmetic("power"), {"a": x, "b": np.zeros_like(x)}),
    ):  # fmt: skip
        y, vjp_fn = layer.apply({}, given)
        dx = vjp_fn(np.array([[1.0, -2.0, 3.0, 4.0, np.inf]]))[1]
        assert y.tolist() == [[1.0] * 5]
        assert np.abs(dx if isinstance(dx, np.ndarray) else dx["a"]).tolist() == [[0.0] * 5]


def test_the_gradient_of_an_exponent_over_0() -> None:
    x = {"a": np.zeros((1, 3)), "b": np.array([[2.0, 0.0, -1.0]])}
    y, vjp_fn = fn.arithmetic("power").apply({}, x)
    assert y.tolist() == [[0.0, 1.0, np.inf]]
    assert vjp_fn(np.ones((1, 3)))[1]["b"].tolist() == [[0.0, 0.0, -np.inf]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_error_function_near_0_and_far_away(dtype: type) -> None:
    x = np.array([[0.0, 1e-30, -1e-8, 10.0, np.inf, -np.inf]], dtype)
    y, vjp_fn = fn.unary("erf").apply({}, x)
    slope = 2 / np.sqrt(np.pi)
    np.testing.assert_allclose(y, [[0, slope * 1e-30, -slope * 1e-8, 1, 1, -1]], rtol=1e-6, atol=0)
    dx = vjp_fn(np.ones_like(y))[1]
    np.testing.assert_allclose(dx[0, :3], slope, rtol=1e-6)
    assert dx[0, 4:].tolist() == [0, 0]


def test_a_sum_in_float32_counts_beyond_2_to_the_24() -> None:
    n = 2**24 + 4
    ones = np.broadcast_to(np.float32(1), (1, n, 2))  # rows of two, which are added one after the other
    assert fn.reduce("sum", 1).apply({}, ones)[0].tolist() == [[n, n]]
    assert fn.reduce("mean", 1).apply({}, ones)[0].tolist() == [[1, 1]]
    assert fn.masked_mean.apply({}, ones)[0].tolist() == [[1, 1]]


def test_a_mean_does_not_overflow_where_the_sum_does() -> None:
    x = np.full((1, 4, 2), 3e38, np.float32)
    for layer in (fn.reduce("mean", 1), fn.masked_mean):
        y, _ = layer.apply({}, x)
        assert y.dtype == np.float32
        assert y.tolist() == x[:, 0].tolist()
