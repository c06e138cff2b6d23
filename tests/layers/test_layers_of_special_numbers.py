"""Layers beside infinity, NaN and the largest numbers: what is switched off does not count, and limits are right."""

import math
from typing import Any

import numpy as np
import pytest

import funcnn as fn
from funcnn.kernels.selection import select, times
from funcnn.protocol import Layer

INF, NAN = math.inf, math.nan
DTYPES = [np.float32, np.float64]

# (layer, x, y, dy, dx)
ACTIVATIONS: list[tuple[Layer, Any, Any, Any, Any]] = [
    (fn.relu, [-INF, -3e38, -0.0, 3e38, INF, NAN], [0, 0, 0, 3e38, INF, NAN], [1] * 6, [0, 0, 0, 1, 1, 1]),
    (fn.relu, [-1, -1, -1, 2, 2, 2], [0, 0, 0, 2, 2, 2], [INF, -INF, NAN, INF, -INF, NAN], [0, 0, 0, INF, -INF, NAN]),
    (fn.leaky_relu(0.5), [-INF, -3e38, 3e38, INF, NAN], [-INF, -1.5e38, 3e38, INF, NAN], [1] * 5,
     [0.5, 0.5, 1, 1, None]),
    (fn.leaky_relu(0), [-INF, -1, INF, NAN], [0, 0, INF, NAN], [1] * 4, [0, 0, 1, 1]),
    (fn.leaky_relu(0), [-1, -1, 2], [0, 0, 2], [INF, NAN, INF], [0, 0, INF]),
    (fn.leaky_relu(2), [-INF, INF], [-INF, INF], [1, 1], [2, 1]),
    (fn.leaky_relu(-0.5), [-INF, INF], [INF, INF], [1, 1], [-0.5, 1]),
    (fn.sigmoid, [-INF, -3e38, 3e38, INF, NAN], [0, 0, 1, 1, NAN], [1] * 5, [0, 0, 0, 0, NAN]),
    (fn.tanh, [-INF, -3e38, 3e38, INF, NAN], [-1, -1, 1, 1, NAN], [1] * 5, [0, 0, 0, 0, NAN]),
    (fn.swish, [-INF, -3e38, -1e4, 1e4, 3e38, INF, NAN], [0, 0, 0, 1e4, 3e38, INF, NAN], [1] * 7,
     [0, 0, 0, 1, 1, 1, NAN]),
    (fn.relu6, [-INF, -1, 7, INF], [0, 0, 6, 6], [1, INF, INF, NAN], [0, 0, 0, 0]),
    (fn.relu_squared, [-INF, -1, 2, INF], [0, 0, 4, INF], [1, INF, 1, 1], [0, 0, 4, INF]),
    (fn.hard_tanh(), [-INF, -2, 2, INF], [-1, -1, 1, 1], [INF, NAN, INF, 1], [0, 0, 0, 0]),
    (fn.hard_sigmoid(), [-INF, -4, 4, INF, 0], [0, 0, 1, 1, 0.5], [INF, NAN, -INF, 1, INF], [0, 0, 0, 0, INF]),
    (fn.hard_swish, [-INF, -4, 4, INF], [0, 0, 4, INF], [INF, NAN, INF, 1], [0, 0, INF, 1]),
    (fn.hard_shrink(), [-INF, 0.2, NAN, INF], [-INF, 0, NAN, INF], [1, INF, 1, 1], [1, 0, 1, 1]),
    (fn.soft_shrink(), [-INF, 0.2, NAN, INF], [-INF, 0, NAN, INF], [1, INF, 1, 1], [1, 0, 1, 1]),
    (fn.threshold(0, 9), [-INF, -1, NAN, INF], [9, 9, NAN, INF], [1, INF, 1, 1], [0, 0, 1, 1]),
    (fn.gelu(), [-INF, -3e38, 3e38, INF, NAN], [0, 0, 3e38, INF, NAN], [1] * 5, [0, 0, 1, 1, NAN]),
    (fn.gelu(approximate=True), [-INF, -3e38, 3e38, INF, NAN], [0, 0, 3e38, INF, NAN], [1] * 5, [0, 0, 1, 1, NAN]),
    (fn.mish, [-INF, -3e38, 3e38, INF, NAN], [0, 0, 3e38, INF, NAN], [1] * 5, [0, 0, 1, 1, NAN]),
    (fn.quick_gelu, [-INF, -3e38, 3e38, INF, NAN], [0, 0, 3e38, INF, NAN], [1] * 5, [0, 0, 1, 1, NAN]),
    (fn.softplus(2), [-INF, -3e38, 3e38, INF, NAN], [0, 0, 3e38, INF, NAN], [1] * 5, [0, 0, 1, 1, NAN]),
    (fn.log_sigmoid, [-INF, -3e38, 3e38, INF, NAN], [-INF, -3e38, 0, 0, NAN], [1] * 5, [1, 1, 0, 0, NAN]),
    (fn.softsign, [-INF, INF, NAN], [-1, 1, NAN], [1] * 3, [0, 0, NAN]),
    (fn.elu(2), [-INF, -3e38, 3e38, INF], [-2, -2, 3e38, INF], [1] * 4, [0, 0, 1, 1]),
    (fn.celu(0.1), [-INF, -3e38, 3e38, INF], [-0.1, -0.1, 3e38, INF], [1] * 4, [0, 0, 1, 1]),
    (fn.identity, [-INF, INF, NAN], [-INF, INF, NAN], [INF, 0, NAN], [INF, 0, NAN]),
    (fn.elementwise(np.abs, lambda x, y: x > 0), [-2, 3], [2, 3], [INF, 5], [0, 5]),
    (fn.softmax, [-INF, 0, 0], [0, 0.5, 0.5], [INF, 1, 0], [0, 0.25, -0.25]),
    (fn.softmax, [-INF, 0, 0], [0, 0.5, 0.5], [NAN, 1, 0], [0, 0.25, -0.25]),
    (fn.softmax, [INF, 0, -INF], [1, 0, 0], [1, 2, INF], [0, 0, 0]),
    (fn.softmax, [3e38, -3e38, 3e38], [0.5, 0, 0.5], [1, 1, 0], [0.25, 0, -0.25]),
    (fn.softmax, [-INF, -INF], [NAN, NAN], [1, 1], [NAN, NAN]),
    (fn.softmax, [INF, INF], [NAN, NAN], [1, 1], [NAN, NAN]),
    (fn.softmax, [NAN, 1], [NAN, NAN], [1, 1], [NAN, NAN]),
    (fn.log_softmax, [-INF, 0, 0], [-INF, -math.log(2), -math.log(2)], [0, 1, 0], [0, 0.5, -0.5]),
    (fn.log_softmax, [INF, 0, -INF], [0, -INF, -INF], [1, 0, 0], [0, 0, 0]),
    (fn.log_softmax, [-INF, -INF], [NAN, NAN], [1, 1], [NAN, NAN]),
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("layer", "x", "y", "dy", "dx"), ACTIVATIONS)
def test_activations_of_special_numbers(dtype: type, layer: Layer, x: Any, y: Any, dy: Any, dx: Any) -> None:
    chosen = [number is not None for number in dx]
    with np.errstate(all="raise", under="ignore"):
        found, vjp_fn = layer.apply({}, np.array([x], dtype))
        gradient = vjp_fn(np.array([dy], dtype))[1]
    assert found.dtype == gradient.dtype == dtype
    np.testing.assert_allclose(found[0], y, rtol=1e-6)
    np.testing.assert_allclose(gradient[0][chosen], [n for n in dx if n is not None], rtol=1e-6)


@pytest.mark.parametrize("activation", ["relu", fn.leaky_relu(0)])
def test_an_activation_at_the_end_of_a_layer_selects_too(activation: Any) -> None:
    layer = fn.dense(2, activation=activation, bias=False)
    y, vjp_fn = layer.apply({"w": np.eye(2)}, np.array([[-1.0, 2.0]]))
    grads, dx = vjp_fn(np.array([[INF, 3.0]]))
    assert y.tolist() == [[0, 2]]
    assert dx.tolist() == [[0, 3]]
    assert grads["w"].tolist() == [[0, -3], [0, 6]]


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_dropout_drops_is_0_whatever_it_was(dtype: type) -> None:
    layer, ones = fn.dropout(0.5), np.ones((4, 6), dtype)
    expected = layer.apply({}, ones, rng=0)[0]
    for number in (INF, -INF, NAN, 1e38, 3e38 if dtype is np.float64 else 1e38):
        y, vjp_fn = layer.apply({}, number * ones, rng=0)
        dx = vjp_fn(number * ones)[1]
        for found in (y, dx):
            np.testing.assert_array_equal(found[expected == 0], 0)
            np.testing.assert_array_equal(found[expected != 0], dtype(2 * number))
            assert found.dtype == dtype
    # A mask is like x, not like its memory.
    y, vjp_fn = layer.apply({}, np.asfortranarray(ones), rng=0)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(vjp_fn(ones)[1], expected)


def merged(how: str, a: Any, b: Any, dy: Any) -> tuple[Any, Any, Any]:
    """The output of a merge of two inputs, and both gradients."""
    y, vjp_fn = fn.merge(how).apply({}, {"a": a, "b": b})
    dx: Any = vjp_fn(dy)[1]
    return y, dx["a"], dx["b"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bad", [INF, -INF, NAN])
def test_an_output_that_does_not_count_gives_no_gradient_beside_infinity(dtype: type, bad: float) -> None:
    a, b, dy = (np.array(rows, dtype) for rows in ([[2, 3]] * 2, [[5, 7], [bad, bad]], [[1, 1], [0, 0]]))
    _, da, db = merged("multiply", a, b, dy)
    np.testing.assert_array_equal(da, [[5, 7], [0, 0]])
    np.testing.assert_array_equal(db, [[2, 3], [0, 0]])
    _, da, db = merged("dot", a, b, dy[:, :1])
    np.testing.assert_array_equal(da, [[5, 7], [0, 0]])
    np.testing.assert_array_equal(db, [[2, 3], [0, 0]])
    _, vjp_fn = fn.merge("multiply").apply({}, {"a": a, "b": b, "c": b})
    dx: Any = vjp_fn(dy)[1]
    np.testing.assert_array_equal(dx["a"], [[25, 49], [0, 0]])
    np.testing.assert_array_equal(dx["b"], [[10, 21], [0, 0]])
    # A gradient that is not finite itself is not hidden, beside a gradient that does not count either.
    for gradient in (INF, NAN):
        with np.errstate(invalid="ignore"):
            _, da, _ = merged("multiply", a, b, np.array([[gradient, 1], [0, 0]], dtype))
        np.testing.assert_array_equal(da, [[gradient, 7], [0, 0]])


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_mean_of_the_largest_numbers_is_that_number(dtype: type) -> None:
    most = np.finfo(dtype).max * 0.9
    x = np.full((2, 5, 6, 3), most, dtype)
    x[1] *= -1
    for layer in (
        fn.avg_pool2d(2), fn.avg_pool2d(3, stride=1, padding="same"), fn.avg_pool2d((2, 3), ceil_mode=True),
        fn.global_avg_pool2d, fn.avg_pool2d(5, padding="same"),
    ):  # fmt: skip
        y, _ = layer.apply({}, x)
        np.testing.assert_allclose(
            y / most, np.ones_like(y) * np.array([1, -1]).reshape(2, *[1] * (y.ndim - 1)), rtol=1e-6
        )
        assert y.dtype == dtype
    y, da, _ = merged("average", x, x, np.ones_like(x))
    np.testing.assert_allclose(y / most, x / most, rtol=1e-6)
    np.testing.assert_array_equal(da, np.full_like(x, 0.5))
    long = np.full((1, 600, 2), most, dtype)
    np.testing.assert_allclose(fn.global_avg_pool1d.apply({}, long)[0] / most, 1, rtol=1e-6)


@pytest.mark.parametrize(
    "layer",
    [fn.max_pool2d(2), fn.min_pool2d(2), fn.avg_pool2d(2), fn.global_avg_pool2d, fn.relu, fn.swish, fn.sigmoid,
     fn.tanh, fn.leaky_relu(), fn.softmax, fn.log_softmax, fn.dropout(0.5), fn.identity],
    ids=repr,
)  # fmt: skip
@pytest.mark.parametrize("code", ["f4", "f8"])
def test_either_byte_order_has_the_same_values(layer: Layer, code: str) -> None:
    x = np.random.default_rng(0).standard_normal((2, 4, 4, 3)).astype(code)
    expected, vjp_fn = layer.apply({}, x, rng=0)
    dy = np.random.default_rng(1).standard_normal(expected.shape).astype(code)
    dx_expected = vjp_fn(dy)[1]
    y, vjp_fn = layer.apply({}, x.astype(f">{code}"), rng=0)
    np.testing.assert_allclose(y, expected, rtol=1e-6)
    np.testing.assert_allclose(vjp_fn(dy.astype(y.dtype))[1], dx_expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    "layer",
    [fn.max_pool1d(2), fn.min_pool1d(2), fn.avg_pool1d(2), fn.global_avg_pool1d, fn.relu, fn.swish, fn.sigmoid,
     fn.tanh, fn.leaky_relu(), fn.softmax, fn.log_softmax, fn.dropout(0.5), fn.elementwise(np.sin, lambda x, y: y)],
    ids=repr,
)  # fmt: skip
def test_half_precision_and_subclasses_raise_with_what_to_use(layer: Layer) -> None:
    x = np.ones((2, 4, 3))
    for rng in (None, 0):
        with pytest.raises(TypeError, match=r"expected float32 or float64, got float16; use x.astype\(np.float32\)"):
            layer.apply({}, x.astype(np.float16), rng)
        with pytest.raises(TypeError, match="expected a plain array, got MaskedArray"):
            layer.apply({}, np.ma.array(x), rng)


def test_select_and_times_choose() -> None:
    x = np.array([[INF, NAN, -INF], [1.0, 2.0, -3.0]])
    chosen = np.array([[False, False, False], [True, False, True]])
    for array in (x, np.asfortranarray(x), np.repeat(x, 2, 1)[:, ::2], x.astype(np.float32), x.astype(">f8")):
        for mask in (chosen, np.asfortranarray(chosen)):
            found = select(array, mask)
            np.testing.assert_array_equal(found, [[0, 0, 0], [1, 0, -3]])
            assert found.dtype == array.dtype
    # The other byte order in what is written to.
    out = np.empty((2, 3))
    np.testing.assert_array_equal(select(x.astype(">f8"), chosen, out), [[0, 0, 0], [1, 0, -3]])
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(times(np.array([0, 0, 1, 2]), np.array([INF, NAN, INF, 3])), [0, 0, INF, 6])


def test_log_sum_exp_of_special_numbers() -> None:
    from funcnn.kernels.softmax import log_sum_exp

    x = np.array([[-INF, -INF], [INF, 0], [INF, INF], [INF, -INF], [-INF, 2], [NAN, INF], [3e38, -3e38]])
    for dtype in DTYPES:
        np.testing.assert_allclose(log_sum_exp(x.astype(dtype)).ravel(), [-INF, INF, INF, INF, 2, NAN, 3e38])
