"""Initializers: the variance that each promises, the dtype, the key, and the recorded call."""

import copy
import pickle
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import funcnn as fn
from funcnn import initializers
from funcnn.initializers import Initializer, variance_scaling

SHAPE, FAN_IN, FAN_OUT = (400, 200), 400, 200


@pytest.mark.parametrize(
    ("initializer", "variance"),
    [
        (initializers.he_normal, 2 / 400),
        (initializers.he_uniform, 2 / 400),
        (initializers.glorot_normal, 1 / 300),
        (initializers.glorot_uniform, 1 / 300),
        (initializers.lecun_normal, 1 / 400),
        (initializers.lecun_uniform, 1 / 400),
        (variance_scaling(3.0, "out", "normal"), 3 / 200),
        (initializers.normal(0.1), 0.01),
        (initializers.uniform(-0.5, 0.5), 1 / 12),
        # The variance of a normal distribution cut at two standard deviations is 0.774 of what it was.
        (initializers.truncated_normal(0.1, low=-0.2, high=0.2), 0.01 * 0.7737413),
        (initializers.truncated_normal(0.1), 0.01),
        # A column of 400 has the length 1, a row of 200 is one of a matrix with w w^T of trace 200.
        (initializers.orthogonal(), 1 / 400),
        (variance_scaling(initializers.gain("tanh") ** 2, "in", "normal"), 25 / 9 / 400),
    ],
)
def test_mean_variance_and_dtype(initializer: Initializer, variance: float) -> None:
    w = initializer(SHAPE, (0, 1), FAN_IN, FAN_OUT)
    assert (w.shape, w.dtype) == (SHAPE, np.float32)
    # For 80,000 draws, the standard error of the mean is std / 283, that of the variance 0.5 %; four times that.
    assert abs(w.mean(dtype=float)) < 4 * (variance / w.size) ** 0.5
    assert w.var(dtype=float) == pytest.approx(variance, rel=0.02)


def test_uniform_initializers_are_bounded_and_fill_their_range() -> None:
    w, limit = initializers.lecun_uniform(SHAPE, 0, FAN_IN, FAN_OUT), (3 / 400) ** 0.5
    assert limit * 0.999 < abs(w).max() <= limit * 1.0001


def test_the_key_determines_the_weights() -> None:
    first, same, other = (initializers.he_normal((3, 3), key, 3, 3) for key in (1, 1, 2))
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)


def test_constants() -> None:
    for initializer, value in ((initializers.zeros, 0), (initializers.ones, 1), (initializers.constant(0.25), 0.25)):
        w = initializer((2, 3), 0, 2, 3)
        assert (w.dtype, w.tolist()) == (np.float32, [[value] * 3] * 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.0, "in", "normal"), "scale must be positive, got 0.0"),
        ((float("nan"), "in", "normal"), "scale must be positive, got nan"),
        ((1.0, "inputs", "normal"), "fan is 'in', 'out' or 'average', got 'inputs'"),
        ((1.0, "in", "gauss"), "distribution is 'normal' or 'uniform', got 'gauss'"),
    ],
)
def test_variance_scaling_raises_for_invalid_arguments(arguments: tuple[float, str, str], message: str) -> None:
    with pytest.raises(ValueError, match=f"variance_scaling: {message}"):
        variance_scaling(*arguments)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: initializers.normal(-0.1), "normal: std must be a number >= 0, got -0.1"),
        (lambda: initializers.normal(float("nan")), "normal: std must be a number >= 0, got nan"),
        (lambda: initializers.uniform(1, 0), "uniform: low must not be above high, got 1.0 and 0.0"),
        (lambda: initializers.uniform(0, float("inf")), "uniform: high must be a finite number, got inf"),
        (lambda: initializers.constant(float("nan")), "constant: value must be a finite number, got nan"),
        (lambda: initializers.truncated_normal(0.0), "truncated_normal: std must be positive, got 0.0"),
        (
            lambda: initializers.truncated_normal(1.0, low=2.0, high=2.0),
            "truncated_normal: low must be below high, got 2.0",
        ),
        (lambda: initializers.truncated_normal(0.01, low=1.0), "truncated_normal: no numbers of mean 0.0 and standard"),
        (lambda: initializers.sparse(1.5), "sparse: sparsity must be a number in [0, 1], got 1.5"),
        (lambda: initializers.sparse(0.5, -1), "sparse: std must be a number >= 0, got -1"),
        (lambda: initializers.orthogonal(float("inf")), "orthogonal: gain must be a finite number, got inf"),
        (lambda: initializers.identity(float("nan")), "identity: gain must be a finite number, got nan"),
        (lambda: initializers.gain("relly"), "gain: no gain is known for 'relly', only for ['linear',"),
        (lambda: initializers.gain("tanh", 0.1), "gain: slope is for 'leaky_relu', got 0.1 with 'tanh'"),
    ],
)
def test_numbers_out_of_range_raise(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


@pytest.mark.parametrize(
    ("initializer", "text"),
    [
        (initializers.constant(0.5), "initializers.constant(0.5)"),
        (initializers.normal(), "initializers.normal()"),
        (
            initializers.truncated_normal(0.02, low=-0.04, high=0.04),
            "initializers.truncated_normal(std=0.02, low=-0.04, high=0.04)",
        ),
        (initializers.orthogonal(), "initializers.orthogonal()"),
        (initializers.identity(2.0), "initializers.identity(gain=2.0)"),
        (initializers.sparse(0.5), "initializers.sparse(0.5)"),
        (initializers.normal(std=0.1), "initializers.normal(std=0.1)"),
        (initializers.uniform(-1, 1), "initializers.uniform(-1, 1)"),
        (initializers.he_normal, "initializers.variance_scaling(2.0, 'in', 'normal')"),
        (initializers.zeros, "initializers.zeros"),
    ],
)
def test_an_initializer_prints_as_its_call_and_survives_pickle_and_copy(initializer: Initializer, text: str) -> None:
    assert repr(initializer) == text
    expected = initializer((2, 3), 0, 2, 3)
    for again in (pickle.loads(pickle.dumps(initializer)), copy.deepcopy(initializer), copy.copy(initializer)):
        assert repr(again) == text
        np.testing.assert_array_equal(again((2, 3), 0, 2, 3), expected)


@pytest.mark.parametrize(
    ("mean", "low", "high"), [(0.0, -1.0, 1.0), (0.5, -1.0, 2.0), (0.0, 3.0, 4.0), (0.0, -9.0, -8.0), (2.0, 20.0, 21.0)]
)
def test_a_truncated_normal_has_its_distribution_in_both_tails(mean: float, low: float, high: float) -> None:
    from scipy.stats import kstest, truncnorm

    w = initializers.truncated_normal(1.0, mean, low, high)((20000,), 0, 1, 1)
    assert low <= w.min() < w.max() <= high
    # The same draws each time; of other keys one in a thousand would fail.
    assert kstest(w, truncnorm(low - mean, high - mean, mean).cdf).pvalue > 1e-3


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (5, 5), (3, 2, 4), (2, 3, 2, 20), (4, 1)])
def test_orthogonal_matrices_keep_lengths_on_the_smaller_side(shape: tuple[int, ...]) -> None:
    w = initializers.orthogonal(1.5)(shape, 0, 1, 1)
    assert (w.shape, w.dtype) == (shape, np.float32)
    matrix = w.reshape(-1, shape[-1]).astype(float) / 1.5
    inner = matrix @ matrix.T if matrix.shape[0] < matrix.shape[1] else matrix.T @ matrix
    # Each element is rounded to float32, of 24 bits, and there are at most 12 in a sum.
    np.testing.assert_allclose(inner, np.eye(len(inner)), atol=1e-6)


def test_orthogonal_matrices_are_uniform() -> None:
    # The trace of one has mean 0 and variance 1; without the signs of R its mean would be near -0.8 * 5.
    traces = [np.trace(initializers.orthogonal()((5, 5), (0, key), 5, 5)) for key in range(400)]
    assert abs(np.mean(traces)) < 4 * 400**-0.5
    assert np.var(traces) == pytest.approx(1, abs=0.3)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("kernel", [1, 2, 3, (2, 3)])
def test_identity_and_delta_orthogonal_kernels_keep_images(kernel: Any, groups: int) -> None:
    x = np.random.default_rng(0).standard_normal((2, 5, 6, 4)).astype(np.float32)
    layer = fn.conv2d(4, kernel, padding="same", groups=groups, bias=False, w_init=initializers.identity())
    np.testing.assert_array_equal(layer.apply(layer.init((5, 6, 4), 0), x)[0], x)
    layer = fn.conv2d(8, kernel, padding="same", groups=groups, w_init=initializers.delta_orthogonal(2.0))
    y, _ = layer.apply(layer.init((5, 6, 4), 0), x)
    np.testing.assert_allclose((y**2).sum(-1), 4 * (x**2).sum(-1), rtol=1e-5)


def test_identity_of_other_shapes() -> None:
    assert initializers.identity()((3, 2), 0, 3, 2).tolist() == [[1, 0], [0, 1], [0, 0]]
    dense = fn.dense(4, w_init=initializers.identity(3.0))
    assert dense.apply(dense.init((2,), 0), np.array([[1, 2]], np.float32))[0].tolist() == [[3, 6, 0, 0]]
    # Fans that are not those of the shape say nothing about groups.
    assert initializers.identity()((2, 2, 8, 8), 0, 8, 8)[0, 0].tolist() == np.eye(8).tolist()


@pytest.mark.parametrize(("shape", "zeros"), [((10, 50), 3), ((4, 5, 2, 30), 10)])
def test_sparse_units_have_their_number_of_zeros_at_random_places(shape: tuple[int, ...], zeros: int) -> None:
    w = initializers.sparse(0.25, 0.1)(shape, 0, 1, 1).reshape(-1, shape[-1])
    assert set((w == 0).sum(0)) == {zeros}
    # Of many units each place is a zero about as often: a binomial count, within four standard deviations.
    share, units = zeros / len(w), shape[-1]
    assert (abs((w == 0).sum(1) - share * units) < 4 * (units * share * (1 - share)) ** 0.5).all()
    # The standard deviation of n numbers has a standard error of std / sqrt(2 n).
    drawn = w[w != 0]
    assert drawn.std() == pytest.approx(0.1, abs=4 * 0.1 / (2 * drawn.size) ** 0.5)
    assert not initializers.sparse(1.0)((3, 2), 0, 3, 2).any()
    assert initializers.sparse(0.0)((3, 2), 0, 3, 2).all()


def test_gains_are_of_layers_and_of_names() -> None:
    assert initializers.gain("relu") == initializers.gain(fn.relu) == 2**0.5
    assert initializers.gain(fn.tanh) == 5 / 3
    assert initializers.gain(None) == initializers.gain("linear") == initializers.gain(fn.sigmoid) == 1
    assert initializers.gain(fn.leaky_relu(0.5)) == initializers.gain("leaky_relu", slope=0.5) == (2 / 1.25) ** 0.5
    assert initializers.gain(fn.leaky_relu()) == initializers.gain("leaky_relu")
    with pytest.raises(TypeError, match="gain: expected an activation, a layer or its name, got 3"):
        initializers.gain(3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (
            fn.dense(3, b_init=initializers.orthogonal()),
            (2,),
            r"orthogonal: expected a shape \(..., inputs, outputs\), got \(3,\)",
        ),
        (
            fn.dense(3, b_init=initializers.identity()),
            (2,),
            r"identity: expected a shape \(..., inputs, outputs\), got \(3,\)",
        ),
        (
            fn.dense(3, b_init=initializers.sparse(0.5)),
            (2,),
            r"sparse: expected a shape \(..., inputs, outputs\), got \(3,\)",
        ),
        (
            fn.dense(3, w_init=initializers.delta_orthogonal()),
            (2,),
            r"delta_orthogonal: expected a shape \(\*size, channels",
        ),
        (
            fn.conv2d(3, 3, w_init=initializers.delta_orthogonal()),
            (5, 5, 4),
            "delta_orthogonal: expected at least as many filters as channels, got 4 channels and 3 filters in shape",
        ),
        (
            fn.conv2d(4, 3, groups=2, w_init=initializers.delta_orthogonal()),
            (5, 5, 6),
            "got 3 channels and 2 filters in each group in shape",
        ),
    ],
)
def test_shapes_that_are_no_such_matrix_raise_in_init(layer: fn.Layer, shape: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        layer.init(shape, 0)
    with pytest.raises(ValueError, match=f"in layer {layer.kind}_0"):
        fn.serial(layer).init(shape, 0)


def test_an_initializer_with_the_name_of_a_layer_is_saved_as_itself() -> None:
    model = fn.serial(fn.dense(3, activation=fn.identity, w_init=initializers.identity(gain=2.0)), fn.identity)
    again = fn.from_json(fn.to_json(model))
    assert (
        repr(again)
        == repr(model)
        == "serial(dense(3, activation=identity, w_init=initializers.identity(gain=2.0)), identity)"
    )
    assert again.init((3,), 0)["dense_0"]["w"].tolist() == (2 * np.eye(3)).tolist()
