"""The squared error and the cross-entropies: values by hand, and bad input."""

import math
from collections.abc import Callable
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


def _rows(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    weights = rng.uniform(0.1, 1.0, shape)
    return weights / weights.sum(-1, keepdims=True)


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
