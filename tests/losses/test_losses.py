"""Every loss, weighted or not, is a row of one table and obeys the same laws; then values by hand and bad input."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from funcnn.losses import (
    Loss,
    binary_cross_entropy,
    categorical_cross_entropy,
    mean_squared_error,
    sigmoid_cross_entropy,
    softmax_cross_entropy,
)
from funcnn.losses.targets import class_weights


def _logits(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    return rng.normal(size=shape)


def _probabilities(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    return rng.uniform(0.1, 0.9, shape)


def _rows(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    weights = rng.uniform(0.1, 1.0, shape)
    return weights / weights.sum(-1, keepdims=True)


def _labels(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    return rng.integers(shape[-1], size=shape[:-1])


def _bits(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    return rng.integers(2, size=shape)


@dataclass(frozen=True)
class Row:
    """A loss, how its predictions and targets are drawn, and its most extreme predictions."""

    name: str
    loss: Callable[..., tuple[float, Any]]
    y: Callable[[np.random.Generator, tuple[int, ...]], Any]
    target: Callable[[np.random.Generator, tuple[int, ...]], Any]
    extremes: tuple[float, float]


LOSSES = [
    Row("mean_squared_error", mean_squared_error, _logits, _logits, (-1e4, 1e4)),
    Row("binary_cross_entropy", binary_cross_entropy, _probabilities, _bits, (0.0, 1.0)),
    Row("binary_cross_entropy, soft", binary_cross_entropy, _probabilities, _probabilities, (0.0, 1.0)),
    Row("sigmoid_cross_entropy", sigmoid_cross_entropy, _logits, _bits, (-1e4, 1e4)),
    Row("sigmoid_cross_entropy, soft", sigmoid_cross_entropy, _logits, _probabilities, (-1e4, 1e4)),
    Row("softmax_cross_entropy, labels", softmax_cross_entropy, _logits, _labels, (-1e4, 1e4)),
    Row("softmax_cross_entropy, rows", softmax_cross_entropy, _logits, _rows, (-1e4, 1e4)),
    Row("categorical_cross_entropy, labels", categorical_cross_entropy, _rows, _labels, (0.0, 1.0)),
    Row("categorical_cross_entropy, rows", categorical_cross_entropy, _rows, _rows, (0.0, 1.0)),
]


def _weighted(row: Row) -> Row:
    """The same loss with the weights 1 and 2 in turn, one for each row."""

    def loss(y: Any, target: Any) -> tuple[float, Any]:
        weights = 1 + np.arange(math.prod(y.shape[:-1])).reshape(y.shape[:-1]) % 2
        weights.flags.writeable = False
        return row.loss(y, target, weights=weights)

    return replace(row, name=f"{row.name}, weighted", loss=loss)


every_loss = pytest.mark.parametrize("row", [*LOSSES, *map(_weighted, LOSSES)], ids=lambda row: row.name)
unweighted_losses = pytest.mark.parametrize("row", LOSSES, ids=lambda row: row.name)
SHAPES = [(1, 3), (5, 2), (2, 3, 4)]


def _draw(row: Row, shape: tuple[int, ...], dtype: type = np.float64) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    return row.y(rng, shape).astype(dtype), row.target(rng, shape)


@every_loss
@pytest.mark.parametrize("shape", SHAPES)
def test_gradient_is_the_derivative(row: Row, shape: tuple[int, ...]) -> None:
    y, target = _draw(row, shape)
    _, dy = row.loss(y, target)
    numeric = np.empty_like(y)
    h = 1e-6
    for i in np.ndindex(y.shape):
        up, down = y.copy(), y.copy()
        up[i] += h
        down[i] -= h
        numeric[i] = (row.loss(up, target)[0] - row.loss(down, target)[0]) / (2 * h)
    # Central differences err by h² (1e-12) and by rounding of values near 1 over h (1e-10).
    np.testing.assert_allclose(dy, numeric, rtol=1e-6, atol=1e-9)


@every_loss
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_shape_and_purity(row: Row, dtype: type) -> None:
    y, target = _draw(row, (4, 3), dtype)
    y.flags.writeable = target.flags.writeable = False
    value, dy = row.loss(y, target)
    again, dy_again = row.loss(y, target)
    assert type(value) is float
    assert dy.dtype == dtype
    assert dy.shape == y.shape
    assert value == again
    assert dy.tobytes() == dy_again.tobytes()
    exact_value, exact_dy = row.loss(y.astype(np.float64), target)
    # A dozen float32 operations on numbers near 1, each rounded to 6e-8.
    np.testing.assert_allclose(value, exact_value, rtol=2e-6)
    np.testing.assert_allclose(dy, exact_dy, rtol=2e-5, atol=1e-6)


@every_loss
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extremes_stay_finite(row: Row, dtype: type) -> None:
    y, target = _draw(row, (4, 3), dtype)
    y[:2], y[2:] = row.extremes
    y[0, 0], y[3, 0] = row.extremes[::-1]
    value, dy = row.loss(y, target)
    assert math.isfinite(value)
    assert np.isfinite(dy).all()


@every_loss
def test_s1_13_a_step_against_the_gradient_lowers_the_loss(row: Row) -> None:
    y, target = _draw(row, (4, 3))
    value, dy = row.loss(y, target)
    assert row.loss(y - 1e-3 * dy, target)[0] < value


@every_loss
def test_s0_7_and_s1_14_the_mean_over_the_batch_not_the_sum(row: Row) -> None:
    y, target = _draw(row, (4, 3))
    value, dy = row.loss(y, target)
    doubled, dy_doubled = row.loss(np.concatenate([y, y]), np.concatenate([target, target]))
    # Only the order of additions differs.
    np.testing.assert_allclose(doubled, value, rtol=1e-14)
    np.testing.assert_allclose(dy_doubled, np.concatenate([dy, dy]) / 2, rtol=1e-14)


@every_loss
def test_the_dtype_of_the_target_does_not_matter(row: Row) -> None:
    y, target = _draw(row, (4, 3), np.float32)
    wide = target.astype(np.float64 if target.dtype.kind == "f" else np.int64)
    narrow = target.astype(np.float32 if target.dtype.kind == "f" else np.uint8)
    assert row.loss(y, wide)[1].tobytes() == row.loss(y, narrow)[1].tobytes()
    assert row.loss(y, wide)[1].dtype == np.float32


@every_loss
def test_nan_passes_through(row: Row) -> None:
    # A training loop stops on it; hiding it here would hide the divergence.
    y, target = _draw(row, (4, 3))
    y[0, 0] = np.nan
    assert math.isnan(row.loss(y, target)[0])


@unweighted_losses
def test_an_integer_weight_equals_repeating_the_example(row: Row) -> None:
    y, target = _draw(row, (4, 3, 2))
    times = np.array([1, 0, 3, 2])
    value, dy = row.loss(y, target, weights=times)
    repeated, dy_repeated = row.loss(np.repeat(y, times, axis=0), np.repeat(target, times, axis=0))
    # Only the order of additions differs.
    assert value == pytest.approx(repeated, rel=1e-13)
    for i, first in enumerate(np.cumsum(times) - times):
        np.testing.assert_allclose(dy[i], dy_repeated[first : first + times[i]].sum(0), rtol=1e-13)


@unweighted_losses
@pytest.mark.parametrize("scale", [1, 5e-324, 1e308])
def test_only_the_ratio_of_weights_matters(row: Row, scale: float) -> None:
    y, target = _draw(row, (4, 3), np.float32)
    value, dy = row.loss(y, target)
    weighted, dy_weighted = row.loss(y, target, weights=np.full(4, scale))
    assert dy_weighted.dtype == np.float32
    # One float32 multiplication instead of a division, and another order of additions.
    assert weighted == pytest.approx(value, rel=1e-6)
    np.testing.assert_allclose(dy_weighted, dy, rtol=1e-6)


@unweighted_losses
def test_the_weight_of_an_example_applies_to_all_its_rows(row: Row) -> None:
    y, target = _draw(row, (4, 3, 2))
    w = np.array([0.5, 0.0, 2.0, 1.0])
    value, dy = row.loss(y, target, weights=w)
    same, dy_same = row.loss(y, target, weights=np.repeat(w[:, None], 3, axis=1))
    # 1 / 12 may be rounded before or after it is multiplied.
    assert value == pytest.approx(same, rel=1e-14)
    np.testing.assert_allclose(dy, dy_same, rtol=1e-14)


def test_weights_by_hand() -> None:
    y = np.array([[1.0, 2.0], [3.0, 5.0]])
    value, dy = mean_squared_error(y, np.ones((2, 2)), weights=[3, 1])
    assert value == (3 * (0 + 1) + 1 * (4 + 16)) / (2 * 4)
    np.testing.assert_array_equal(dy, [[0.0, 2 * 3 / 8], [2 * 2 / 8, 2 * 4 / 8]])
    value, dy = mean_squared_error(y, np.ones((2, 2)), weights=[[False, True], [False, False]])
    assert value == 1.0
    np.testing.assert_array_equal(dy, [[0.0, 2.0], [0.0, 0.0]])


def test_class_weights_make_a_rare_class_count_as_much_as_a_frequent_one() -> None:
    y, labels = np.log(np.array([[0.5, 0.5], [0.5, 0.5], [0.5, 0.5], [0.8, 0.2]])), np.array([0, 0, 0, 1])
    value, _ = softmax_cross_entropy(y, labels, weights=class_weights(labels, 2)[labels])
    assert value == pytest.approx((-math.log(0.5) - math.log(0.2)) / 2, rel=1e-14)


def test_s3_2_errors_of_opposite_sign_do_not_cancel() -> None:
    value, dy = mean_squared_error(np.array([[1.0], [-1.0]]), np.zeros((2, 1)))
    assert value == 1.0
    np.testing.assert_array_equal(dy, [[1.0], [-1.0]])


def test_mean_squared_error_by_hand() -> None:
    value, dy = mean_squared_error(np.array([[1.0, 2.0], [3.0, 5.0]]), [[1, 1], [1, 1]])
    assert value == (0 + 1 + 4 + 16) / 4
    np.testing.assert_array_equal(dy, [[0.0, 0.5], [1.0, 2.0]])


def test_s0_10_and_s3_3_value_and_gradient_use_the_same_clipping() -> None:
    eps = float(np.finfo(np.float64).eps)
    value, dy = binary_cross_entropy(np.array([[0.0], [1.0]]), [[1], [1]])
    # The stuck output costs -log(eps), the right one -log(1 - eps) = eps.
    assert value == pytest.approx((-math.log(eps) + eps) / 2, rel=1e-12)
    np.testing.assert_allclose(dy, [[-1 / eps / 2], [-1 / (1 - eps) / 2]], rtol=1e-12)
    value, dy = categorical_cross_entropy(np.array([[0.0, 1.0]]), [0])
    assert value == pytest.approx(-math.log(eps), rel=1e-12)
    np.testing.assert_allclose(dy, [[-1 / eps, 0.0]], rtol=1e-12)


def test_s3_3_a_row_of_targets_divides_by_all_its_elements() -> None:
    assert binary_cross_entropy(np.full((1, 4), 0.5), np.ones((1, 4)))[0] == pytest.approx(math.log(2))


def test_s1_14_only_the_true_class_counts() -> None:
    p = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]])
    value, dy = categorical_cross_entropy(p, np.array([0, 1]))
    assert value == pytest.approx(-(math.log(0.7) + math.log(0.3)) / 2, rel=1e-12)
    np.testing.assert_allclose(dy, [[-0.5 / 0.7, 0, 0], [0, -0.5 / 0.3, 0]], rtol=1e-12)


def test_extreme_logits_by_hand() -> None:
    value, dy = softmax_cross_entropy(np.array([[1e4, -1e4]]), np.array([1]))
    assert value == 2e4
    np.testing.assert_array_equal(dy, [[1.0, -1.0]])
    value, dy = sigmoid_cross_entropy(np.array([[1e4], [-1e4]]), np.array([[0], [0]]))
    assert value == 5e3
    np.testing.assert_array_equal(dy, [[0.5], [0.0]])


@given(st.integers(1, 5), st.integers(2, 6), st.integers(0, 2**32 - 1))
def test_the_logits_forms_agree_with_the_probability_forms(n: int, classes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, classes))
    sigmoid = 1 / (1 + np.exp(-z))
    softmax = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
    bits, labels = rng.integers(2, size=(n, classes)), rng.integers(classes, size=n)
    value, dz = sigmoid_cross_entropy(z, bits)
    expected, dp = binary_cross_entropy(sigmoid, bits)
    # Both lose a few digits where a probability is near 1; normal logits keep it below 0.9999.
    assert value == pytest.approx(expected, rel=1e-10)
    np.testing.assert_allclose(dz, dp * sigmoid * (1 - sigmoid), rtol=1e-10, atol=1e-14)
    value, dz = softmax_cross_entropy(z, labels)
    expected, dp = categorical_cross_entropy(softmax, labels)
    assert value == pytest.approx(expected, rel=1e-10)
    np.testing.assert_allclose(dz, softmax * (dp - (dp * softmax).sum(-1, keepdims=True)), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("loss", [softmax_cross_entropy, categorical_cross_entropy])
@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float32, np.float64])
def test_labels_and_one_hot_rows_are_the_same_target(loss: Loss, dtype: type) -> None:
    y = _rows(np.random.default_rng(0), (2, 3, 4))
    labels = np.array([[0, 1, 2], [3, 0, 1]])
    value, dy = loss(y, labels)
    same, dy_same = loss(y, np.eye(4, dtype=dtype)[labels])
    assert value == same
    np.testing.assert_array_equal(dy, dy_same)


@pytest.mark.parametrize("loss", [softmax_cross_entropy, categorical_cross_entropy])
def test_the_memory_order_of_logits_and_labels_does_not_matter(loss: Loss) -> None:
    y = _rows(np.random.default_rng(0), (2, 3, 4))
    labels = np.array([[0, 1, 2], [3, 0, 1]])
    value, dy = loss(y, labels)
    same, dy_same = loss(np.asfortranarray(y), np.asfortranarray(labels))
    # Only the order of additions may differ.
    assert value == pytest.approx(same, rel=1e-14)
    np.testing.assert_allclose(dy, dy_same, rtol=1e-14)


Y = np.full((4, 10), 0.1)
COLUMN = np.full((4, 1), 0.5)
LABELS = np.array([0, 1, 2, 3])
ALL = [
    mean_squared_error,
    binary_cross_entropy,
    sigmoid_cross_entropy,
    softmax_cross_entropy,
    categorical_cross_entropy,
]


@pytest.mark.parametrize("loss", ALL[:3])
def test_s4_11_labels_are_not_broadcast_against_outputs(loss: Loss) -> None:
    with pytest.raises(ValueError, match=r"shape of y, \(4, 10\), got \(4,\); encode labels as one-hot rows"):
        loss(Y, LABELS % 2)
    with pytest.raises(ValueError, match=r"shape of y, \(4, 1\), got \(4,\); use target.reshape\(4, 1\)"):
        loss(COLUMN, LABELS % 2)
    with pytest.raises(ValueError, match=r"got \(1, 10\)"):
        loss(Y, Y[:1])
    with pytest.raises(ValueError, match=r"got \(\)"):
        loss(Y, 1.0)


@pytest.mark.parametrize("loss", ALL[3:])
def test_class_losses_raise_for_targets_of_the_wrong_shape(loss: Loss) -> None:
    expected = r"expected labels of shape \(4,\) or rows of shape \(4, 10\), got"
    with pytest.raises(ValueError, match=expected + r" \(4, 1\); use target.reshape\(4,\)"):
        loss(Y, LABELS[:, None])
    with pytest.raises(ValueError, match=expected + r" \(3,\)"):
        loss(Y, LABELS[:3])
    with pytest.raises(ValueError, match=expected + r" \(4, 9\)"):
        loss(Y, Y[:, :9])
    with pytest.raises(ValueError, match=r"y of axes \(batch, ..., classes\), got shape \(10,\)"):
        loss(Y[0], np.array(3))


@pytest.mark.parametrize("loss", ALL[3:])
def test_class_losses_raise_for_invalid_labels(loss: Loss) -> None:
    with pytest.raises(TypeError, match=r"expected integer labels, got float64; use labels.astype\(int\)"):
        loss(Y, LABELS.astype(float))
    with pytest.raises(TypeError, match="expected integer labels, got bool"):
        loss(Y, LABELS > 1)
    with pytest.raises(ValueError, match="expected labels from 0 to 9, got 0 to 10"):
        loss(Y, np.array([0, 1, 2, 10]))
    with pytest.raises(ValueError, match="expected labels from 0 to 9, got -1 to 2"):
        loss(Y, np.array([0, 1, 2, -1]))
    with pytest.raises(TypeError, match="expected a target of numbers"):
        loss(Y, np.array(list("abcd")))


@pytest.mark.parametrize("loss", ALL[3:])
@pytest.mark.parametrize("rows", [2 * Y, Y - 0.1, np.where(LABELS[:, None] == 0, np.nan, Y)])
def test_class_losses_raise_for_rows_that_are_not_a_distribution(loss: Loss, rows: Any) -> None:
    with pytest.raises(ValueError, match="expected rows of probabilities that sum to 1"):
        loss(Y, rows)
    with pytest.raises(ValueError, match="expected rows of probabilities"):
        loss(np.full((1, 2), 0.5), [[1.5, -0.5]])


@pytest.mark.parametrize("loss", [binary_cross_entropy, sigmoid_cross_entropy])
@pytest.mark.parametrize("bad", [-0.1, 1.1, np.nan])
def test_binary_losses_raise_for_targets_outside_the_unit_interval(loss: Loss, bad: float) -> None:
    with pytest.raises(ValueError, match=r"expected targets in \[0, 1\], got values from"):
        loss(COLUMN, np.array([[0.0], [1.0], [0.5], [bad]]))


@pytest.mark.parametrize(
    ("loss", "logits_form"),
    [(binary_cross_entropy, "sigmoid_cross_entropy"), (categorical_cross_entropy, "softmax_cross_entropy")],
)
@pytest.mark.parametrize("bad", [-0.1, 1.1])
def test_losses_of_probabilities_raise_for_logits(loss: Loss, logits_form: str, bad: float) -> None:
    y = np.array([[0.5, bad]])
    with pytest.raises(ValueError, match=rf"probabilities in \[0, 1\], got values.*for logits use {logits_form}"):
        loss(y, np.array([[0.0, 1.0]]))


@pytest.mark.parametrize("loss", ALL)
def test_every_loss_raises_unless_y_is_a_batch_of_floats(loss: Loss) -> None:
    with pytest.raises(TypeError, match="array of floats, got int64"):
        loss(np.ones((4, 10), np.int64), Y)
    with pytest.raises(TypeError, match="array of floats, got list"):
        loss([[0.5, 0.5]], [[0.5, 0.5]])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="expected float32 or float64, got float16"):
        loss(Y.astype(np.float16), Y)
    with pytest.raises(TypeError, match=r"y, the model's output.* got MaskedArray; use x.filled\(value\)"):
        loss(np.ma.masked_array(Y), Y)
    with pytest.raises(ValueError, match=r"at least one example, got y of shape \(0, 10\)"):
        loss(Y[:0], Y[:0])
    with pytest.raises(ValueError, match="at least one example"):
        loss(np.array(0.5), 0.5)


@pytest.mark.parametrize("loss", ALL)
@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        ([1, 1, 1], ValueError, r"expected weights of shape \(4,\).*, got \(3,\); give each example one weight"),
        ([[1]] * 4, ValueError, r"expected weights of shape \(4,\).*, got \(4, 1\)"),
        (1.0, ValueError, r"got \(\)"),
        ([1, 1, 1, -1], ValueError, "finite and not negative, got values from -1 to 1"),
        ([1, 1, 1, np.inf], ValueError, "finite and not negative, got values from 1.0 to inf"),
        ([1, 1, 1, np.nan], ValueError, "finite and not negative"),
        ([0, 0, 0, 0], ValueError, "all weights are zero"),
        (list("abcd"), TypeError, "expected weights as numbers, got an array of <U1"),
    ],
)
def test_every_loss_raises_for_invalid_weights(
    loss: Callable[..., Any], weights: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        loss(Y, Y, weights=weights)
