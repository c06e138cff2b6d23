"""Activations: known values and derivatives, and extreme inputs."""

import math
from typing import Any

import numpy as np
import pytest

import funcnn as fn
from funcnn.layers.activation import as_activation

SIGMOID_1 = 1 / (1 + math.exp(-1.3))


@pytest.mark.parametrize(
    ("layer", "x", "y", "derivative"),
    [
        (fn.identity, -2.0, -2.0, 1),
        (fn.relu, 0.5, 0.5, 1),
        (fn.relu, -0.5, 0, 0),
        (fn.relu, 0.0, 0, 0),
        (fn.leaky_relu(0.1), -2.0, -0.2, 0.1),
        (fn.leaky_relu(), 0.5, 0.5, 1),
        (fn.sigmoid, 1.3, SIGMOID_1, SIGMOID_1 * (1 - SIGMOID_1)),
        (fn.tanh, 0.5, math.tanh(0.5), 1 / math.cosh(0.5) ** 2),
        (fn.swish, 1.3, 1.3 * SIGMOID_1, SIGMOID_1 * (1 + 1.3 * (1 - SIGMOID_1))),
    ],
)
def test_value_and_derivative(layer: fn.Layer, x: float, y: float, derivative: float) -> None:
    found, vjp_fn = layer.apply({}, np.array([[x]]))
    _, dx = vjp_fn(np.array([[10.0]]))
    assert dx is not None
    assert found.item() == pytest.approx(y, rel=1e-15)
    assert dx.item() == pytest.approx(10 * derivative, rel=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extreme_inputs_stay_finite(dtype: Any) -> None:
    x = np.array([[-1e30, -1000, -90, 0, 90, 1000, 1e30]], dtype)
    with np.errstate(under="ignore"):
        for layer in (fn.sigmoid, fn.tanh, fn.swish, fn.softmax, fn.log_softmax, fn.relu, fn.leaky_relu()):
            y, vjp_fn = layer.apply({}, x)
            _, dx = vjp_fn(np.ones_like(x))
            assert np.isfinite(y).all(), layer
            assert np.isfinite(dx).all(), layer
    assert fn.sigmoid.apply({}, x)[0][0, [0, 3, 6]].tolist() == [0, 0.5, 1]


def test_softmax_by_hand() -> None:
    y, vjp_fn = fn.softmax.apply({}, np.log([[1.0, 3.0], [1.0, 1.0]]))
    np.testing.assert_allclose(y, [[0.25, 0.75], [0.5, 0.5]], rtol=1e-15)
    _, dx = vjp_fn(np.array([[1.0, 0.0], [1.0, 1.0]]))
    # Off the diagonal the Jacobian is -y_i y_j; a constant gradient moves nothing.
    np.testing.assert_allclose(dx, [[0.1875, -0.1875], [0, 0]], atol=1e-16)


def test_log_softmax_is_the_logarithm_of_softmax() -> None:
    x = np.random.default_rng(0).standard_normal((4, 5))
    y, vjp_fn = fn.log_softmax.apply({}, x)
    np.testing.assert_allclose(np.exp(y), fn.softmax.apply({}, x)[0], rtol=1e-13)
    _, dx = vjp_fn(np.eye(4, 5))
    np.testing.assert_allclose(dx, np.eye(4, 5) - np.exp(y), atol=1e-15)
    assert fn.log_softmax.apply({}, np.array([[-1e4, 0.0]]))[0].tolist() == [[-1e4, 0]]


def test_softmax_works_along_the_last_axis_only() -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 4))
    np.testing.assert_allclose(fn.softmax.apply({}, x)[0].sum(-1), np.ones((2, 3)), rtol=1e-15)


@pytest.mark.parametrize(
    "name", ["identity", "leaky_relu", "log_softmax", "relu", "sigmoid", "softmax", "swish", "tanh"]
)
def test_activations_have_names(name: str) -> None:
    assert as_activation("dense", name).kind == name


def test_none_is_the_identity_and_a_pair_is_an_activation() -> None:
    assert as_activation("dense", None) is fn.identity
    y, _ = fn.dense(1, activation=fn.elementwise(np.sin, lambda x, y: np.cos(x))).apply(
        {"w": np.ones((1, 1)), "b": np.zeros(1)}, np.ones((1, 1))
    )
    assert y.item() == math.sin(1)


def test_unknown_activations_raise() -> None:
    with pytest.raises(
        ValueError, match=r"dense: unknown activation 'gauss', expected one of \['identity', .*'tanh'\]$"
    ):
        fn.dense(1, activation="gauss")
    with pytest.raises(ValueError, match="did you mean 'sigmoid'"):
        fn.dense(1, activation="sigmod")
    with pytest.raises(TypeError, match=r"a layer is a Layer or a tuple of two functions .*call it: leaky_relu"):
        fn.dense(1, activation=fn.leaky_relu)


@pytest.mark.parametrize("slope", [math.nan, math.inf])
def test_the_slope_of_leaky_relu_is_finite(slope: float) -> None:
    with pytest.raises(ValueError, match="leaky_relu: slope must be a finite number"):
        fn.leaky_relu(slope)


@pytest.mark.parametrize("layer", [fn.relu, fn.softmax, fn.log_softmax, fn.sigmoid], ids=repr)
def test_integers_raise(layer: fn.Layer) -> None:
    with pytest.raises(TypeError, match=f"{layer.kind}: expected floats, got int64; use x.astype"):
        layer.apply({}, np.ones((2, 3), np.int64))
