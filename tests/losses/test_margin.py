"""Losses of margins, focal losses and losses of overlap: values by hand."""

import math
from typing import Any

import numpy as np
import pytest

import funcnn as fn

LOG2 = math.log(2)
ROW = np.array([[0.2, 1.0, -0.5]])


@pytest.mark.parametrize(
    ("loss", "losses", "slopes"),
    [
        (fn.hinge, [0.5, 0, 1.5, 3], [-1, 0, 1, 1]),
        (fn.squared_hinge, [0.25, 0, 2.25, 9], [-1, 0, 3, 6]),
        (fn.soft_margin, np.log1p(np.exp([-0.5, -2, 0.5, 2])), -1 / (1 + np.exp([0.5, 2, -0.5, -2])) * [1, 1, -1, -1]),
    ],
)
def test_minus_one_and_zero_are_no(loss: Any, losses: Any, slopes: Any) -> None:
    y = np.array([[0.5, 2.0, 0.5, 2.0]])
    for target in ([[1, 1, -1, -1]], [[1, 1, 0, 0]], [[True, True, False, False]]):
        value, dy = loss(y, target, reduction="none")
        np.testing.assert_allclose(value[0], losses, rtol=1e-14)
        np.testing.assert_allclose(dy[0], slopes, rtol=1e-14)


def test_a_probability_of_yes_is_the_mean_of_both() -> None:
    y = np.array([[0.5]])
    for loss in (fn.hinge, fn.squared_hinge, fn.soft_margin, fn.focal(), fn.sigmoid_cross_entropy):
        both = 0.25 * loss(y, [[1]])[0] + 0.75 * loss(y, [[0]])[0]  # type: ignore[operator]
        assert loss(y, [[0.25]])[0] == pytest.approx(both, rel=1e-14)  # type: ignore[operator]


def test_soft_margin_is_the_sigmoid_cross_entropy() -> None:
    y, signs = np.array([[0.3, -2.0], [1e4, 0.0]]), np.array([[1, -1], [-1, 1]])
    value, dy = fn.soft_margin(y, signs)
    same, dy_same = fn.sigmoid_cross_entropy(y, (signs + 1) // 2)
    assert value == same
    np.testing.assert_array_equal(dy, dy_same)


@pytest.mark.parametrize(
    ("row", "label", "value", "dy"),
    [
        ([0.5, 1.0, -1.0], 1, 0.5, [1, -1, 0]),
        ([0.5, 2.0, -1.0], 1, 0.0, [0, 0, 0]),
        ([0.5, 2.0, 1.0], 0, 2.5, [-1, 1, 0]),
        ([-3.0, -2.0, -1.0], 0, 4.0, [-1, 0, 0]),  # scores below 0 are as good as 0, as in Keras
        ([0.5, 3.0, 3.0], 1, 1.0, [0, -1, 1]),
    ],
)
def test_categorical_hinge_by_hand(row: Any, label: int, value: float, dy: Any) -> None:
    found, gradient = fn.categorical_hinge(np.array([row]), [label])
    assert found == value
    np.testing.assert_array_equal(gradient, [dy])
    same, dy_same = fn.categorical_hinge(np.array([row]), np.eye(3)[[label]])
    assert same == value
    np.testing.assert_array_equal(dy_same, gradient)


def test_multi_margin_by_hand() -> None:
    value, dy = fn.multi_margin()(ROW, [0])
    assert value == pytest.approx((1.8 + 0.3) / 3, rel=1e-14)
    np.testing.assert_allclose(dy, [[-2 / 3, 1 / 3, 1 / 3]], rtol=1e-14)
    value, dy = fn.multi_margin(p=2, margin=0.5)(ROW, [0])
    assert value == pytest.approx(1.3**2 / 3, rel=1e-14)
    np.testing.assert_allclose(dy, [[-2.6 / 3, 2.6 / 3, 0]], rtol=1e-14)


def test_a_distribution_of_labels_is_the_mean_of_their_losses() -> None:
    for loss in (fn.multi_margin(2), fn.categorical_hinge, fn.softmax_focal(), fn.softmax_cross_entropy):
        parts = [loss(ROW, [label]) for label in range(3)]
        value, dy = loss(ROW, [[0.2, 0.5, 0.3]])
        assert value == pytest.approx(sum(p * part for p, (part, _) in zip((0.2, 0.5, 0.3), parts, strict=True)))
        mixed = sum(p * slope for p, (_, slope) in zip((0.2, 0.5, 0.3), parts, strict=True))
        np.testing.assert_allclose(dy, mixed, rtol=1e-13)


def test_weights_of_classes_do_not_divide_the_mean_of_multi_margin_as_in_pytorch() -> None:
    y = np.repeat(ROW, 2, axis=0)
    first, second = (fn.multi_margin()(ROW, [label])[0] for label in (0, 1))
    weighted = fn.multi_margin()(y, [0, 1], class_weights=[4.0, 2.0, 1.0])[0]
    assert weighted == pytest.approx((4 * first + 2 * second) / 2)
    with_examples = fn.multi_margin()(y, [0, 1], class_weights=[4.0, 2.0, 1.0], weights=[3, 1])[0]
    assert with_examples == pytest.approx((3 * 4 * first + 2 * second) / 4)
    smoothed = fn.multi_margin()(y, [0, 1], class_weights=[4.0, 2.0, 1.0], label_smoothing=0.3)[0]
    third = fn.multi_margin()(ROW, [2])[0]
    spread = 0.1 * (4 * first + 2 * second + third)
    assert smoothed == pytest.approx((2 * spread + 0.7 * (4 * first + 2 * second)) / 2)


def test_multilabel_margin_reads_labels_up_to_the_first_minus_one() -> None:
    value, dy = fn.multilabel_margin(ROW, np.array([[2, -1, 0]]))
    assert value == pytest.approx((1.7 + 2.5) / 3)
    np.testing.assert_allclose(dy, [[1 / 3, 1 / 3, -2 / 3]])
    # None and all of the labels: no pair to compare.
    assert fn.multilabel_margin(ROW, np.array([[-1, 0, 1]]))[0] == 0
    assert fn.multilabel_margin(ROW, np.array([[2, 0, 1]]))[0] == 0


def test_multilabel_soft_margin_has_a_loss_for_each_row_and_weights_of_labels() -> None:
    y, t = np.array([[0.0, 0.0], [0.0, 1e3]]), np.array([[1, 0], [1, -1]])
    value, dy = fn.multilabel_soft_margin(y, t, class_weights=[2.0, 1.0], ignore_index=-1, reduction="none")
    np.testing.assert_allclose(value, [1.5 * LOG2, LOG2], rtol=1e-14)
    np.testing.assert_allclose(dy, [[-0.5, 0.25], [-0.5, 0]], rtol=1e-14)
    assert fn.multilabel_soft_margin(y, abs(t))[0] == pytest.approx(fn.sigmoid_cross_entropy(y, abs(t))[0], rel=1e-14)


def test_focal_by_hand() -> None:
    y = np.log([[3.0]])  # p = 3/4
    value, dy = fn.focal(gamma=2.0, alpha=0.25)(y, [[1]])
    assert value == pytest.approx(-0.25 * 0.0625 * math.log(0.75), rel=1e-14)
    np.testing.assert_allclose(dy, [[0.25 * 0.0625 * (2 * 0.75 * math.log(0.75) - 0.25)]], rtol=1e-13)
    assert fn.focal(gamma=2.0, alpha=0.25)(y, [[0]])[0] == pytest.approx(-0.75 * 0.5625 * math.log(0.25), rel=1e-14)
    assert fn.focal(gamma=0, alpha=None)(y, [[0]])[0] == pytest.approx(fn.sigmoid_cross_entropy(y, [[0]])[0], rel=1e-14)


@pytest.mark.parametrize("gamma", [0, 0.5, 1, 2])
def test_softmax_focal_of_two_classes_is_focal(gamma: float) -> None:
    y, bits = np.array([[0.7], [-1.2], [40.0]]), np.array([[1], [1], [0]])
    value, dy = fn.focal(gamma, None)(y, bits)
    pairs = np.concatenate([np.zeros_like(y), y], axis=1)
    same, dy_same = fn.softmax_focal(gamma)(pairs, bits[:, 0])
    assert same == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(dy_same[:, 1:], dy, rtol=1e-12)


def test_softmax_focal_of_a_certain_row_has_no_gradient() -> None:
    value, dy = fn.softmax_focal(0.5)(np.array([[800.0, 0.0]]), [0])
    assert value == 0
    np.testing.assert_array_equal(dy, [[0, 0]])


def test_dice_is_of_each_class_of_each_example() -> None:
    y = np.array([[[1.0, 0.5], [0.0, 0.5]], [[0.5, 0.0], [0.5, 0.0]]])  # (batch, pixels, classes)
    labels = np.array([[0, 1], [0, 0]])
    value, _ = fn.dice(y, labels, reduction="none")
    assert value.shape == (2, 2)
    # Perfect; 2 · 0.5 / (1 + 1); 2 · 1 / (1 + 2); and a class that is neither predicted nor there.
    np.testing.assert_allclose(value, [[0, 0.5], [1 / 3, 0]], atol=1e-5)
    assert fn.dice(y, labels)[0] == pytest.approx(value.mean())
    weighted = fn.dice(y, labels, class_weights=[3, 1])[0]
    assert weighted == pytest.approx((3 * (value[0, 0] + value[1, 0]) + value[0, 1] + value[1, 1]) / 8)


def test_dice_of_many_pixels_in_float32_has_the_digits_of_float64() -> None:
    y, t = np.random.default_rng(0).random((2, 1, 2**20, 2), np.float32)
    found, expected = (fn.dice(part, t)[0] for part in (y, y.astype(np.float64)))
    assert found == pytest.approx(expected, rel=3e-7)  # 2 to 3 units of float32, of the division and the mean


def test_tversky_weighs_what_is_claimed_and_what_is_missed() -> None:
    y, t = np.array([[[1.0], [1.0], [0.0], [0.0]]]), np.array([[[1], [0], [1], [1]]])
    assert fn.tversky(0.25, 0.5, smooth=1.0)(y, t)[0] == pytest.approx(1 - 2 / (1 + 0.25 + 2 * 0.5 + 1))
    assert fn.tversky(1, 1)(y, t)[0] == pytest.approx(1 - 1 / 4, abs=1e-5)
    assert fn.tversky()(y, t)[0] == fn.dice(y, t)[0]


def test_ignored_pixels_are_in_no_region() -> None:
    random = np.random.default_rng(0)
    y, labels = random.random((2, 5, 3)), random.integers(0, 3, (2, 5))
    labels[:, 4] = 255
    value, dy = fn.dice(y, labels, ignore_index=255)
    same, dy_same = fn.dice(y[:, :4], labels[:, :4])
    assert value == pytest.approx(same, rel=1e-14)
    np.testing.assert_allclose(dy[:, :4], dy_same, rtol=1e-14)
    np.testing.assert_array_equal(dy[:, 4], 0)
    masks = (labels[..., None] == np.arange(3)).astype(float)
    masks[:, 4] = -1
    assert fn.dice(y, masks, ignore_index=-1)[0] == pytest.approx(same, rel=1e-14)


def test_an_example_of_which_every_pixel_is_ignored_counts_nothing() -> None:
    random = np.random.default_rng(0)
    y, labels = random.random((2, 5, 3)), random.integers(0, 3, (2, 5))
    labels[1] = 255
    value, dy = fn.dice(y, labels, ignore_index=255)
    assert value == pytest.approx(fn.dice(y[:1], labels[:1])[0], rel=1e-14)
    np.testing.assert_array_equal(dy[1], 0)
