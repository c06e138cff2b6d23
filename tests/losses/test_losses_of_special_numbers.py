"""Losses beside infinity, NaN and the largest numbers: 0 times infinity is a choice, and a mean does not overflow."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import funcnn as fn
from funcnn.losses import (
    binary_cross_entropy,
    categorical_cross_entropy,
    mean_squared_error,
    sigmoid_cross_entropy,
    softmax_cross_entropy,
)

INF, NAN, LOG2 = math.inf, math.nan, math.log(2)
DTYPES = [np.float32, np.float64]
Case = tuple[Callable[..., Any], Any, Any, Any, Any]

# (loss, y, target, the right value, the right dy)
CASES: list[Case] = [
    # A class that cannot be: -inf where the target has nothing is no loss, since 0 log 0 = 0.
    (softmax_cross_entropy, [[-INF, 0, 0]], [1], LOG2, [[0, -0.5, 0.5]]),
    (softmax_cross_entropy, [[-INF, 0, 0]], [[0, 1, 0]], LOG2, [[0, -0.5, 0.5]]),
    (softmax_cross_entropy, [[-INF, 0, 0]], [[0, 0.5, 0.5]], LOG2, [[0, 0, 0]]),
    (softmax_cross_entropy, [[-INF, 0, 0]], [0], INF, [[-1, 0.5, 0.5]]),
    (softmax_cross_entropy, [[-INF, 0, 0]], [[0.5, 0.5, 0]], INF, [[-0.5, 0, 0.5]]),
    (softmax_cross_entropy, [[-INF, -INF, 7]], [2], 0, [[0, 0, 0]]),
    (softmax_cross_entropy, [[[-INF, 0], [0, 0]]], [[1, 0]], LOG2 / 2, [[[0, 0], [-0.25, 0.25]]]),
    # One infinite logit is certain.
    (softmax_cross_entropy, [[INF, 0, 0]], [0], 0, [[0, 0, 0]]),
    (softmax_cross_entropy, [[INF, -INF, 0]], [[1, 0, 0]], 0, [[0, 0, 0]]),
    (softmax_cross_entropy, [[INF, 0, 0]], [1], INF, [[1, -1, 0]]),
    # Nothing is possible, two are certain, or something is NaN: there are no probabilities.
    (softmax_cross_entropy, [[-INF, -INF]], [0], NAN, [[NAN, NAN]]),
    (softmax_cross_entropy, [[INF, INF]], [0], NAN, [[NAN, NAN]]),
    (softmax_cross_entropy, [[INF, NAN]], [0], NAN, [[NAN, NAN]]),
    # The differences of such logits overflow in float32.
    (softmax_cross_entropy, [[3e38, -3e38, 0]], [0], 0, [[0, 0, 0]]),
    (softmax_cross_entropy, [[3e38, -3e38, 3e38]], [[0.5, 0, 0.5]], LOG2, [[0, 0, 0]]),
    (softmax_cross_entropy, [[3e38, -3e38]], [1], 6e38, [[1, -1]]),
    (softmax_cross_entropy, [[3e38, 0], [3e38, 0]], [1, 1], 3e38, [[0.5, -0.5], [0.5, -0.5]]),
    (sigmoid_cross_entropy, [[INF]], [[1]], 0, [[0]]),
    (sigmoid_cross_entropy, [[-INF]], [[0]], 0, [[0]]),
    (sigmoid_cross_entropy, [[INF]], [[0]], INF, [[1]]),
    (sigmoid_cross_entropy, [[-INF]], [[1]], INF, [[-1]]),
    (sigmoid_cross_entropy, [[INF, -INF]], [[0.75, 0.75]], INF, [[0.125, -0.375]]),
    (sigmoid_cross_entropy, [[NAN]], [[0]], NAN, [[NAN]]),
    (sigmoid_cross_entropy, [[NAN]], [[1]], NAN, [[NAN]]),
    (sigmoid_cross_entropy, [[3e38, 3e38], [3e38, -3e38]], [[0, 0], [0, 0]], 2.25e38, [[0.25, 0.25], [0.25, 0]]),
    (sigmoid_cross_entropy, [[3e38, -3e38]], [[1, 0]], 0, [[0, 0]]),
    (sigmoid_cross_entropy, [[3e38]], [[0.5]], 1.5e38, [[0.5]]),
    # Squares and twice an error overflow in float32, what is divided by n does not.
    (mean_squared_error, [[3e38], [0], [0], [0]], [[0], [0], [0], [0]], 2.25e76, [[1.5e38], [0], [0], [0]]),
    (mean_squared_error, [[3e38, 0, 0, 0]], [[-3e38, 0, 0, 0]], 9e76, [[3e38, 0, 0, 0]]),
    (mean_squared_error, [[1e25, 1]], [[0, 1]], 5e49, [[1e25, 0]]),
    (mean_squared_error, [[INF, 1.0]], [[0, 0]], INF, [[INF, 1]]),
    (mean_squared_error, [[NAN, 1.0]], [[0, 0]], NAN, [[NAN, 1]]),
    # Probabilities of exactly 0 and 1 are clipped.
    (binary_cross_entropy, [[0, 1]], [[0, 1]], 0, None),
    (categorical_cross_entropy, [[0, 1]], [1], 0, None),
    (categorical_cross_entropy, [[0, 1]], [[0, 1]], 0, None),
    (categorical_cross_entropy, [[NAN, 0.5]], [1], NAN, None),
    (binary_cross_entropy, [[NAN]], [[0]], NAN, [[NAN]]),
    # Losses that grow linearly: the limits of an infinite error, and of errors whose difference overflows.
    (fn.mean_absolute_error, [[INF], [3e38]], [[0], [-3e38]], INF, [[0.5], [0.5]]),
    (fn.mean_absolute_error, [[3e38]], [[-3e38]], 6e38, [[1]]),
    (fn.mean_absolute_error, [[INF, NAN]], [[INF, 0]], NAN, [[NAN, NAN]]),
    (fn.huber(), [[INF, 3e38]], [[0, -3e38]], INF, [[0.5, 0.5]]),
    (fn.huber(), [[-3e38]], [[3e38]], 6e38, [[-1]]),
    (fn.smooth_l1(1e-30), [[-3e38]], [[3e38]], 6e38, [[-1]]),
    (fn.log_cosh, [[INF, -3e38]], [[0, 3e38]], INF, [[0.5, -0.5]]),
    (fn.log_cosh, [[NAN]], [[0]], NAN, [[NAN]]),
    (fn.quantile(0.25), [[INF, -INF]], [[0, 0]], INF, [[0.375, -0.125]]),
    (fn.quantile(0.25), [[NAN]], [[0]], NAN, [[NAN]]),
    (fn.mean_squared_log_error, [[INF]], [[0]], INF, None),
    # 0 times the logarithm of 0 is 0, and e^y may overflow.
    (fn.poisson_nll(), [[-INF]], [[0]], 0, [[0]]),
    (fn.poisson_nll(), [[-INF]], [[1]], INF, [[-1]]),
    (fn.poisson_nll(), [[INF]], [[0]], INF, [[INF]]),
    (fn.poisson_nll(log_input=False, eps=0), [[0]], [[0]], 0, [[1]]),
    (fn.kl_divergence(), [[-INF, 0]], [[0, 1]], 0, [[0, -0.5]]),
    (fn.kl_divergence(), [[-INF, 0]], [[0.5, 0.5]], INF, [[-0.25, -0.25]]),
    (fn.kl_divergence(), [[NAN, 0]], [[0, 1]], NAN, None),
    (fn.negative_log_likelihood, [[-INF, 0]], [1], 0, [[0, -1]]),
    (fn.negative_log_likelihood, [[-INF, 0]], [[0, 1]], 0, [[0, -1]]),
    (fn.negative_log_likelihood, [[-INF, 0]], [0], INF, [[-1, 0]]),
    (fn.negative_log_likelihood, [[NAN, 0]], [[0, 1]], NAN, None),
    # What is right by the margin costs nothing, however large it is.
    (fn.hinge, [[INF, -INF]], [[1, -1]], 0, [[0, 0]]),
    (fn.hinge, [[INF, 3e38]], [[-1, -1]], INF, [[0.5, 0.5]]),
    (fn.squared_hinge, [[INF, -INF]], [[1, -1]], 0, [[0, 0]]),
    (fn.squared_hinge, [[-INF]], [[1]], INF, [[-INF]]),
    (fn.soft_margin, [[INF, -3e38]], [[1, -1]], 0, [[0, 0]]),
    (fn.soft_margin, [[-INF]], [[1]], INF, [[-1]]),
    (fn.multilabel_soft_margin, [[INF, -INF]], [[1, 0]], 0, [[0, 0]]),
    (fn.multi_margin(), [[INF, 0]], [0], 0, [[0, 0]]),
    (fn.multi_margin(), [[INF, 0]], [1], INF, [[0.5, -0.5]]),
    (fn.multi_margin(2), [[INF, 0]], [1], INF, [[INF, -INF]]),
    (fn.categorical_hinge, [[INF, 0]], [1], INF, [[1, -1]]),
    (fn.categorical_hinge, [[-INF, 0]], [1], 1, [[0, -1]]),
    (fn.focal(), [[INF, -INF]], [[1, 0]], 0, [[0, 0]]),
    (fn.focal(0.5), [[-INF]], [[1]], INF, [[-0.25]]),
    (fn.focal(0.5), [[NAN]], [[1]], NAN, [[NAN]]),
    (fn.softmax_focal(0.5), [[INF, 0]], [0], 0, [[0, 0]]),
    (fn.softmax_focal(), [[-INF, 0]], [1], 0, [[0, 0]]),
    (fn.softmax_focal(), [[-INF, 0]], [0], INF, [[-1, 1]]),
    (fn.dice, [[[0.0], [0.0]]], [[[0], [0]]], 0, None),
    (fn.dice, [[[NAN], [0.0]]], [[[0], [0]]], NAN, [[[NAN], [NAN]]]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("loss", "y", "target"),
    [
        (softmax_cross_entropy, (256, 1000), "labels"), (fn.softmax_focal(), (256, 1000), "labels"),
        (fn.multi_margin(), (256, 1000), "labels"), (mean_squared_error, (16, 64, 64, 3), "numbers"),
        (fn.huber(), (16, 64, 64, 3), "numbers"), (fn.poisson_nll(), (16, 64, 64, 3), "counts"),
        (fn.dice, (16, 64, 64, 4), "labels"), (fn.focal(), (16, 64, 64, 1), "counts"),
    ],
)  # fmt: skip
def test_full_sized_batches_in_float32_are_close_to_float64(loss: Any, y: tuple[int, ...], target: str) -> None:
    random = np.random.default_rng(0)
    array = random.random(y) if loss is fn.dice else random.normal(size=y)
    array = array.astype(np.float32)
    targets = {
        "labels": random.integers(y[-1], size=y[:-1]), "numbers": random.normal(size=y).astype(np.float32),
        "counts": random.integers(2, size=y),
    }[target]  # fmt: skip
    value, dy = loss(array, targets)
    exact, exact_dy = loss(array.astype(np.float64), targets)
    # A dozen operations, each rounded to 6e-8, on terms of the size of the largest; sums are pairwise.
    assert value == pytest.approx(exact, rel=3e-6)
    np.testing.assert_allclose(dy, exact_dy, rtol=0, atol=3e-6 * np.abs(exact_dy).max())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("loss", "y", "target", "value", "dy"), CASES)
def test_special_numbers_have_the_right_loss(
    dtype: type, loss: Callable[..., Any], y: Any, target: Any, value: float, dy: Any
) -> None:
    array = np.array(y, dtype)
    found, gradient = loss(array, np.array(target))
    assert type(found) is float
    assert gradient.dtype == dtype
    np.testing.assert_allclose(found, value, rtol=1e-6, atol=1e-6)
    if dy is not None:
        np.testing.assert_allclose(gradient, dy, rtol=1e-6, atol=1e-7)
    # In the other memory order, and beside an example that is far from all that.
    again, same = loss(np.asfortranarray(array), np.asfortranarray(np.array(target)))
    np.testing.assert_array_equal([again, *same.ravel()], [found, *gradient.ravel()])


LOSSES: list[tuple[Callable[..., Any], Any, Any]] = [
    (mean_squared_error, [[0.3], [0.2]], [[1.0], [0.5]]),
    (binary_cross_entropy, [[0.3], [0.2]], [[1.0], [0.5]]),
    (sigmoid_cross_entropy, [[0.3], [0.2]], [[1.0], [0.5]]),
    (softmax_cross_entropy, [[0.3, 0.7], [0.2, 0.8]], [1, 0]),
    (softmax_cross_entropy, [[0.3, 0.7], [0.2, 0.8]], [[0.5, 0.5], [1.0, 0.0]]),
    (categorical_cross_entropy, [[0.3, 0.7], [0.2, 0.8]], [1, 0]),
    (categorical_cross_entropy, [[0.3, 0.7], [0.2, 0.8]], [[0.5, 0.5], [1.0, 0.0]]),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bad", [NAN, INF, -INF, 3e38, -3e38])
@pytest.mark.parametrize(("loss", "y", "target"), LOSSES)
def test_an_example_of_weight_0_counts_as_none_whatever_it_is(
    dtype: type, bad: float, loss: Callable[..., Any], y: Any, target: Any
) -> None:
    alone, dy_alone = loss(np.array(y[:1], dtype), np.array(target[:1]))
    for w in ([1, 0], np.array([[5.0], [0.0]]) if np.ndim(target) == np.ndim(y) and len(y[0]) == 1 else [5.0, 0.0]):
        poisoned = np.array(y, dtype)
        poisoned[1] = bad
        value, dy = loss(poisoned, np.array(target), weights=w)
        np.testing.assert_allclose(value, alone, rtol=1e-6)
        np.testing.assert_allclose(dy, [*dy_alone, [0] * len(y[0])], rtol=1e-6)
        # And so is its target: a missing one may be NaN, -1 or 255.
        missing = np.array(target)
        missing[1] = bad if missing.dtype.kind == "f" else -1
        value, dy = loss(poisoned, missing, weights=w)
        np.testing.assert_allclose(value, alone, rtol=1e-6)
        np.testing.assert_allclose(dy, [*dy_alone, [0] * len(y[0])], rtol=1e-6)


@pytest.mark.parametrize(("loss", "y", "target"), LOSSES[1:])
def test_a_target_that_is_missing_raises_where_it_has_a_weight(loss: Callable[..., Any], y: Any, target: Any) -> None:
    missing = np.array(target)
    missing[1] = NAN if missing.dtype.kind == "f" else -1
    with pytest.raises(ValueError, match="expected"):
        loss(np.array(y), missing, weights=[0, 1])
    with pytest.raises(ValueError, match="expected"):
        loss(np.array(y), missing)


@pytest.mark.parametrize("code", [">f4", ">f8", "<f4", "<f8"])
@pytest.mark.parametrize(("loss", "y", "target"), LOSSES)
def test_either_byte_order_works(code: str, loss: Callable[..., Any], y: Any, target: Any) -> None:
    array, targets = np.array(y, code), np.array(target)
    for t in (targets, targets.astype(targets.dtype.newbyteorder())):
        for w in (None, np.array([2.0, 1.0], ">f4")):
            value, dy = loss(array, t, weights=w)
            expected, dy_expected = loss(array.astype(array.dtype.newbyteorder("=")), targets, weights=w)
            assert value == expected
            assert dy.dtype == array.dtype
            np.testing.assert_array_equal(dy, dy_expected)
    value, dy = loss(np.full_like(array, NAN), targets, weights=[1, 1])
    assert dy.dtype == array.dtype


@pytest.mark.parametrize(("loss", "y", "target"), LOSSES)
def test_other_floats_raise_with_the_cast_to_use(loss: Callable[..., Any], y: Any, target: Any) -> None:
    for dtype in (np.float16, np.longdouble):
        with pytest.raises(TypeError, match=r"expected float32 or float64, got float\d+; use y.astype\(np.float32\)"):
            loss(np.array(y, dtype), np.array(target))


@pytest.mark.parametrize(("loss", "y", "target"), LOSSES)
def test_subclasses_raise_wherever_they_are_and_a_memmap_is_plain(
    loss: Callable[..., Any], y: Any, target: Any, tmp_path: Any
) -> None:
    array, targets, w = np.array(y), np.array(target), np.array([1.0, 2.0])
    value, dy = loss(array, targets, weights=w)
    for place in range(3):
        given = [array, targets, w]
        given[place] = np.ma.array(given[place])
        with pytest.raises(TypeError, match=r"plain array.* got MaskedArray; use x.filled\(value\)"):
            loss(given[0], given[1], weights=given[2])
        plain = [array, targets, w][place]
        given[place] = np.memmap(tmp_path / "x", plain.dtype, "w+", shape=plain.shape)
        given[place][...] = plain
        found, gradient = loss(given[0], given[1], weights=given[2])
        assert found == value
        assert type(gradient) is np.ndarray
        np.testing.assert_array_equal(gradient, dy)
    with pytest.raises(TypeError, match=r"y, the model's output.* got matrix; use np.asarray\(x\)"):
        loss(array.view(np.matrix), targets)


def test_class_weights_of_a_numpy_scalar_keep_float32() -> None:
    per_class = fn.class_weights(np.array([0, 0, 1]), np.int64(2))
    _, dy = softmax_cross_entropy(np.zeros((2, 2), np.float32), np.array([0, 1]), weights=per_class[[0, 1]])
    assert dy.dtype == np.float32
    with pytest.raises(TypeError, match=r"class_weights: .*labels.* got MaskedArray"):
        fn.class_weights(np.ma.array([0, 1], mask=[0, 1]), 2)


def test_gradients_of_the_largest_doubles_do_not_overflow_where_the_machine_has_wider_floats() -> None:
    has_wider = np.finfo(np.longdouble).max > np.finfo(np.float64).max
    _, dy = mean_squared_error(np.array([[1.5e308], [0], [0], [0]]), np.zeros((4, 1)))
    assert dy[0, 0] == (7.5e307 if has_wider else INF)
