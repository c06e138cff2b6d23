"""Activations: known values and derivatives, and extreme inputs."""

import math
import weakref
from typing import Any

import numpy as np
import pytest

import funcnn as fn
from funcnn.aliases import Array
from funcnn.layers.activation import as_activation
from funcnn.layers.activation.choice import by_name
from funcnn.protocol import stateless

GATES = {"glu", "geglu", "reglu", "swiglu"}

SIGMOID_1 = 1 / (1 + math.exp(-1.3))
QUICK_2 = 1 / (1 + math.exp(3.404))
MISH_1 = math.tanh(math.log1p(math.exp(1.3)))
MISH_1 += 1.3 * (1 - MISH_1**2) * SIGMOID_1
TANH_1, SLOPE_1 = math.tanh(math.sqrt(2 / math.pi) * 1.044715), math.sqrt(2 / math.pi) * 1.134145


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
        (fn.silu, 1.3, 1.3 * SIGMOID_1, SIGMOID_1 * (1 + 1.3 * (1 - SIGMOID_1))),
        (fn.elu(2.0), -1.0, 2 * math.expm1(-1), 2 * math.exp(-1)),
        (fn.elu(2.0), 3.0, 3, 1),
        (fn.elu(2.0), 0.0, 0, 2),
        (fn.elu(0), -1.0, 0, 0),
        (fn.celu(2.0), -1.0, 2 * math.expm1(-0.5), math.exp(-0.5)),
        (fn.celu(2.0), 3.0, 3, 1),
        (fn.selu, 2.0, 2 * 1.0507009873554805, 1.0507009873554805),
        (fn.selu, -1.0, 1.7580993408473766 * math.expm1(-1), 1.7580993408473766 * math.exp(-1)),
        (fn.exp, 1.5, math.exp(1.5), math.exp(1.5)),
        (fn.sine, 1.5, math.sin(1.5), math.cos(1.5)),
        (fn.square, -1.5, 2.25, -3),
        (fn.softsign, -3.0, -0.75, 1 / 16),
        (fn.tanh_shrink, 0.5, 0.5 - math.tanh(0.5), math.tanh(0.5) ** 2),
        (fn.log_sigmoid, 1.3, math.log(SIGMOID_1), 1 - SIGMOID_1),
        (fn.softplus(), -40.0, math.exp(-40), math.exp(-40)),
        (fn.softplus(2.0), 0.65, -math.log(1 - SIGMOID_1) / 2, SIGMOID_1),
        # PyTorch's threshold gives 21 and 1.
        (fn.softplus(), 21.0, 21 + math.log1p(math.exp(-21)), 1 / (1 + math.exp(-21))),
        (fn.softplus(threshold=20), 21.0, 21, 1),
        (fn.softplus(2.0, threshold=1), 0.4, math.log1p(math.exp(0.8)) / 2, 1 / (1 + math.exp(-0.8))),
        (fn.softplus(2.0, threshold=1), 0.6, 0.6, 1),
        (fn.mish, 1.3, 1.3 * math.tanh(math.log1p(math.exp(1.3))), MISH_1),
        (fn.gelu(), 1.0, 0.8413447460685429, 0.8413447460685429 + math.exp(-0.5) / math.sqrt(2 * math.pi)),
        (fn.gelu(approximate=True), 1.0, 0.5 * (1 + TANH_1), 0.5 * (1 + TANH_1) + 0.5 * (1 - TANH_1**2) * SLOPE_1),
        (fn.quick_gelu, -2.0, -2 / (1 + math.exp(3.404)), QUICK_2 - 3.404 * QUICK_2 * (1 - QUICK_2)),
        (fn.hard_swish, 1.5, 1.125, 1),
        (fn.hard_swish, 3.0, 3, 1),
        (fn.hard_swish, -3.0, 0, 0),
        (fn.relu6, 7.0, 6, 0),
        (fn.relu6, 6.0, 6, 0),
        (fn.relu6, 5.0, 5, 1),
        (fn.relu_squared, 3.0, 9, 6),
        (fn.relu_squared, -3.0, 0, 0),
        (fn.hard_tanh(-1, 2), 1.5, 1.5, 1),
        (fn.hard_tanh(-1, 2), -1.5, -1, 0),
        (fn.hard_sigmoid(), 1.5, 0.75, 1 / 6),
        (fn.hard_sigmoid(0.2), 2.0, 0.9, 0.2),
        (fn.hard_sigmoid(0.2), 2.5, 1, 0),
        (fn.hard_shrink(1), 1.0, 0, 0),
        (fn.hard_shrink(1), -1.5, -1.5, 1),
        (fn.soft_shrink(1), 1.0, 0, 0),
        (fn.soft_shrink(1), -1.5, -0.5, 1),
        (fn.threshold(1, -7), 1.0, -7, 0),
        (fn.threshold(1, 7), 1.5, 1.5, 1),
        (fn.threshold(1, 7), 0.5, 7, 0),
    ],
)
def test_value_and_derivative(layer: fn.Layer, x: float, y: float, derivative: float) -> None:
    found, vjp_fn = layer.apply({}, np.array([[x]]))
    _, dx = vjp_fn(np.array([[10.0]]))
    assert dx is not None
    assert found.item() == pytest.approx(y, rel=4e-15, abs=0)
    assert dx.item() == pytest.approx(10 * derivative, rel=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extreme_inputs_stay_finite(dtype: Any) -> None:
    x = np.array([[-1e30, -1000, -90, 0, 90, 1000, 1e30]], dtype)
    with np.errstate(under="ignore"):
        grow = {"exp", "square", "relu_squared", "selu"}
        for layer in [layer for layer in by_name().values() if layer.kind not in grow | GATES]:
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


def test_a_name_is_the_ready_layer_or_the_constructor_with_its_defaults() -> None:
    for name, layer in by_name().items():
        chosen: Any = name
        assert as_activation("dense", chosen) is layer
        assert layer.kind == name
        public = getattr(fn, name)
        assert layer is public or repr(layer) == repr(public()) == f"{name}()"
    # Those with an argument that has no default, or with parameters, have no name there.
    assert {"maxout", "threshold", "prelu"} & by_name().keys() == set()
    own = fn.layers.activation
    ready = {name for name in own.__all__ if isinstance(getattr(own, name), fn.Layer)}
    assert ready <= by_name().keys()


def test_none_is_the_identity_and_a_pair_is_an_activation() -> None:
    assert as_activation("dense", None) is fn.identity
    y, _ = fn.dense(1, activation=fn.elementwise(np.sin, lambda x, y: np.cos(x))).apply(
        {"w": np.ones((1, 1)), "b": np.zeros(1)}, np.ones((1, 1))
    )
    assert y.item() == math.sin(1)


def test_unknown_activations_raise() -> None:
    with pytest.raises(
        ValueError, match=r"dense: unknown activation 'gauss', expected one of \['celu', .*'tanh_shrink'\]"
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


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_finite_number_is_reported_beside_a_gradient_of_1(dtype: Any) -> None:
    most = float(np.finfo(dtype).max)
    x = np.array([[-most, -1e38, -1e4, -100, -20, -1e-30, 0, 1e-30, 20, 100, 1e4, 1e38, most, most]], dtype)
    layers = [*by_name().values(), fn.softplus(3.0), fn.softplus(0.5, threshold=20), fn.celu(0.1), fn.elu(3.0)]
    layers += [fn.gelu(approximate=True), fn.hard_sigmoid(5.0), fn.threshold(1.0, -2.0), fn.maxout(2)]
    for layer in layers:
        with np.errstate(all="raise", under="ignore"):
            y, vjp_fn = layer.apply({}, x)
            dx: Any = vjp_fn(np.ones_like(y))[1]
        assert not np.isnan(y).any(), layer
        assert not np.isnan(dx).any(), layer
        assert y.dtype == dx.dtype == dtype


@pytest.mark.parametrize("name", sorted({*by_name()} - {"identity"}))
def test_float32_is_float64_to_rounding(name: str) -> None:
    # A full-sized layer. Each is a few operations, each of which rounds to 6e-8 of what it works on, at most 12 here;
    # a sum over an axis of 256 adds the square root of as many.
    x = 3 * np.random.default_rng(0).standard_normal((64, 256))
    layer = by_name()[name]
    y, vjp_fn = layer.apply({}, x)
    dy = np.random.default_rng(1).standard_normal(y.shape)
    y_32, vjp_32 = layer.apply({}, x.astype(np.float32))
    dx, dx_32 = vjp_fn(dy)[1], vjp_32(dy.astype(np.float32))[1]
    for found, expected in ((y_32, y), (dx_32, dx)):
        assert found.dtype == np.float32
        scale = max(1, np.abs(expected).max())
        kinks = np.abs(found - expected) > 1e-4 * scale  # on the other side of one, as x was rounded
        assert kinks.sum() <= 2
        np.testing.assert_allclose(found[~kinks], expected[~kinks], rtol=1e-5, atol=2e-6 * scale)


def test_gates_by_hand() -> None:
    x = np.array([[4.0, 5.0, 1.0, -2.0]])
    s, phi = 1 / (1 + math.exp(-1)), 0.8413447460685429
    for layer, gate in ((fn.glu, s), (fn.geglu, phi), (fn.reglu, 1), (fn.swiglu, s)):
        y, vjp_fn = layer.apply({}, x)
        assert y.shape == (1, 2)
        assert y[0, 0] == pytest.approx(4 * gate)
        assert vjp_fn(np.ones_like(y))[1][0, 0] == pytest.approx(gate)
    y, vjp_fn = fn.reglu.apply({}, x)
    assert y.tolist() == [[4, 0]]
    assert vjp_fn(np.array([[2.0, 3.0]]))[1].tolist() == [[2, 0, 8, 0]]


def test_a_closed_gate_hides_infinity() -> None:
    inf = math.inf
    for layer in (fn.glu, fn.geglu, fn.reglu, fn.swiglu):
        with np.errstate(all="raise", under="ignore"):
            y, vjp_fn = layer.apply({}, np.array([[inf, 1.0, -inf, inf]]))
            dx: Any = vjp_fn(np.array([[inf, 1.0]]))[1]
        assert y[0, 0] == 0, layer
        assert dx[0, [0, 2]].tolist() == [0, 0], layer


def test_sparsemax_by_hand() -> None:
    y, vjp_fn = fn.sparsemax.apply({}, np.array([[0.2, 0.1, -3.0], [5.0, 0.0, 4.0], [1.0, 1.0, 1.0]]))
    np.testing.assert_allclose(y, [[0.55, 0.45, 0], [1, 0, 0], [1 / 3] * 3], atol=1e-15)
    dx = vjp_fn(np.array([[1.0, 3.0, 9.0], [1, 2, math.inf], [1, 2, 6]]))[1]
    np.testing.assert_allclose(dx, [[-1, 1, 0], [0, 0, 0], [-2, -1, 3]], atol=1e-15)
    inf = math.inf
    x = np.array([[-inf, 0, 0], [inf, 0, -inf], [3e38, -3e38, 3e38], [-1e30, 0, -1e30]], np.float32)
    with np.errstate(all="raise", under="ignore"):
        y, _ = fn.sparsemax.apply({}, x)
    np.testing.assert_array_equal(y, [[0, 0.5, 0.5], [1, 0, 0], [0.5, 0, 0.5], [0, 1, 0]])
    assert np.isnan(fn.sparsemax.apply({}, np.array([[-inf, -inf], [math.nan, 0]]))[0]).all()


def test_softmin_is_the_softmax_of_the_opposite() -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 4))
    y, vjp_fn = fn.softmin.apply({}, x)
    other, other_vjp = fn.softmax.apply({}, -x)
    np.testing.assert_array_equal(y, other)
    np.testing.assert_array_equal(vjp_fn(x)[1], -other_vjp(x)[1])


def test_maxout_takes_the_first_of_equal_pieces_and_nan_over_all() -> None:
    y, vjp_fn = fn.maxout(3).apply({}, np.array([[1.0, 2.0, 2.0, 5.0, math.nan, 7.0]]))
    np.testing.assert_array_equal(y, [[2, math.nan]])
    assert vjp_fn(np.array([[10.0, 20.0]]))[1].tolist() == [[0, 10, 0, 0, 20, 0]]


@pytest.mark.parametrize("shared", [True, False])
def test_prelu_by_hand(shared: bool) -> None:
    layer = fn.prelu(0.5, shared=shared)
    params = layer.init((2,), 0)
    assert params["slope"].tolist() == ([0.5] if shared else [0.5, 0.5])
    slope = np.array([2.0] if shared else [2.0, -3.0])
    y, vjp_fn = layer.apply({"slope": slope}, np.array([[-1.0, -2.0], [3.0, -4.0], [-math.inf, 5.0]]))
    second = slope[-1]
    assert y.tolist() == [[-2, -2 * second], [3, -4 * second], [-math.inf, 5]]
    grads, dx = vjp_fn(np.array([[1.0, 10.0], [100.0, 1000.0], [0.0, 7.0]]))
    assert grads["slope"].tolist() == ([-1 - 20 - 4000] if shared else [-1, -4020])
    assert dx.tolist() == [[2, 10 * second], [100, 1000 * second], [0, 7]]
    assert vjp_fn(np.ones_like(y), input_grad=False)[1] is None


@pytest.mark.parametrize("name", by_name())
def test_at_the_end_of_another_layer_it_is_the_layer_after_it(name: Any) -> None:
    makers: list[Any] = [
        lambda **options: fn.dense(6, **options), lambda **options: fn.conv2d(6, 2, **options),
        fn.batch_norm, fn.scale_and_shift,
    ]  # fmt: skip
    x = 3 * np.random.default_rng(0).standard_normal((3, 4, 5, 6))
    for make in makers:
        fused, plain = make(activation=name), fn.serial(fn.named("z", make()), by_name()[name])
        params = fn.tree.cast(fused.init((4, 5, 6), 0), np.float64)
        y, vjp_fn = fused.apply(params, x, 0)
        other, other_vjp = plain.apply({"z": params}, x, 0)
        np.testing.assert_allclose(y, other, rtol=1e-12, atol=1e-12)
        dy = np.random.default_rng(1).standard_normal(y.shape)
        grads, dx = vjp_fn(dy)
        other_grads, other_dx = other_vjp(dy)
        np.testing.assert_allclose(dx, other_dx, rtol=1e-9, atol=1e-12)
        for path, leaf in fn.tree.flatten(grads).items():
            np.testing.assert_allclose(leaf, fn.tree.flatten(other_grads)[f"z/{path}"], rtol=1e-9, atol=1e-10)


def test_what_an_activation_does_not_need_is_not_kept_for_the_backward_pass() -> None:
    inputs: list[weakref.ref[Array]] = []

    def forward(x: Array) -> tuple[Array, Any]:
        inputs.append(weakref.ref(x))
        return x * 2, lambda dy: dy * 2

    model = fn.dense(3, activation=stateless("double", forward))
    y, vjp_fn = model.apply(model.init((2,), 0), np.ones((5, 2), np.float32))
    assert inputs[-1]() is None
    assert vjp_fn(np.ones_like(y))[1].shape == (5, 2)
