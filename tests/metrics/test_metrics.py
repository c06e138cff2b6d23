from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from funcnn import metrics
from funcnn.aliases import Array
from funcnn.metrics import (
    accuracy,
    average_precision,
    balanced_accuracy,
    calibration_curve,
    calibration_error,
    confusion_matrix,
    error_rate,
    f1,
    log_loss,
    mae,
    matthews_correlation,
    precision,
    precision_recall_curve,
    r2,
    recall,
    rmse,
    roc_auc,
    roc_curve,
    top_k_accuracy,
)

SCORES = np.array([[0.1, 0.9, 0.0], [0.8, 0.1, 0.1], [0.2, 0.2, 0.6], [0.5, 0.3, 0.2]], np.float32)
LABELS = np.array([1, 0, 2, 1])
# The probabilities of class 1 of a single sigmoid, with a tie, and the true classes.
PROBABILITY = np.array([[0.9], [0.2], [0.6], [0.6], [0.1]])
TARGET = np.array([[1], [0], [1], [0], [0]])

DECISIONS: list[Callable[..., Any]] = [
    accuracy,
    error_rate,
    balanced_accuracy,
    confusion_matrix,
    precision,
    recall,
    f1,
    matthews_correlation,
]
PROBABILITIES: list[Callable[..., Any]] = [roc_auc, average_precision, log_loss, calibration_error]
REGRESSION: list[Callable[..., Any]] = [mae, rmse, r2]


def top_2_accuracy(y: Array, labels: Array, *, weights: Array | None = None) -> float:
    return top_k_accuracy(y, labels, 2, weights=weights)


CLASSIFICATION = [*DECISIONS, top_2_accuracy, *PROBABILITIES]


def test_every_metric_is_in_a_table_of_these_tests() -> None:
    curves = [roc_curve, precision_recall_curve, calibration_curve]  # in test_curves.py
    tested = {metric.__name__ for metric in [*DECISIONS, *PROBABILITIES, *REGRESSION, *curves, top_k_accuracy]}
    assert tested == set(metrics.__all__)


def test_three_of_four_right() -> None:
    assert accuracy(SCORES, LABELS) == 0.75
    assert error_rate(SCORES, LABELS) == 0.25
    matrix = confusion_matrix(SCORES, LABELS)
    assert matrix.dtype == np.int64
    np.testing.assert_array_equal(matrix, [[1, 0, 0], [1, 1, 0], [0, 0, 1]])
    assert balanced_accuracy(SCORES, LABELS) == pytest.approx((1 + 0.5 + 1) / 3)
    np.testing.assert_array_equal(precision(SCORES, LABELS, average=None), [0.5, 1, 1])
    np.testing.assert_array_equal(recall(SCORES, LABELS, average=None), [1, 0.5, 1])
    np.testing.assert_allclose(f1(SCORES, LABELS, average=None), [2 / 3, 2 / 3, 1])
    assert f1(SCORES, LABELS) == pytest.approx(7 / 9)
    assert f1(SCORES, LABELS, average="weighted") == pytest.approx((2 / 3 + 2 * 2 / 3 + 1) / 4)
    assert f1(SCORES, LABELS, average="micro") == 0.75


def test_classes_that_do_not_occur_have_no_precision_and_do_not_lower_the_mean() -> None:
    y, labels = np.eye(4)[[0, 1, 0]], np.array([0, 1, 2])
    # Class 2 occurs, but is never predicted; class 3 does not occur.
    np.testing.assert_array_equal(precision(y, labels, average=None), [0.5, 1, 0, np.nan])
    np.testing.assert_array_equal(recall(y, labels, average=None), [1, 1, 0, np.nan])
    np.testing.assert_allclose(f1(y, labels, average=None), [2 / 3, 1, 0, np.nan])
    assert precision(y, labels) == 0.5
    # Class 1 has no examples, so its recall is 0 here, and the balanced accuracy leaves it out.
    assert recall(np.eye(2), np.array([0, 0])) == 0.25
    assert balanced_accuracy(np.eye(2), np.array([0, 0])) == 0.5


def test_no_correlation_if_all_true_or_all_predicted_classes_are_the_same() -> None:
    assert matthews_correlation(np.eye(2), np.array([1, 1])) == 0
    assert matthews_correlation(np.eye(2)[[0, 0]], np.array([0, 1])) == 0
    assert matthews_correlation(np.eye(2), np.array([0, 1])) == 1
    assert matthews_correlation(np.eye(2), np.array([1, 0])) == -1
    rng = np.random.default_rng(0)
    for _ in range(20):  # with weights whose sums by rows and by columns have different rounding errors
        y, weights = np.eye(12)[rng.integers(12, size=40)], rng.random(40)
        assert matthews_correlation(y, np.zeros(40, int), weights=weights) == 0
    # With weights as small as rounding errors, there is no root of a negative number.
    assert abs(matthews_correlation(np.eye(3), np.arange(3), weights=np.array([1 / 3, 1e-17, 1e-17]))) <= 1


def test_top_k_by_hand() -> None:
    assert [top_k_accuracy(SCORES, LABELS, k) for k in (1, 2, 3)] == [0.75, 1, 1]
    # The first of equal scores counts, as in accuracy.
    assert top_k_accuracy(np.zeros((3, 3)), np.array([0, 1, 2]), 2) == pytest.approx(2 / 3)
    assert top_k_accuracy(np.zeros((1, 3)), np.array([2]), 2) == 0
    with pytest.raises(ValueError, match="k from 1 to the number of classes, 3, got 4"):
        top_k_accuracy(SCORES, LABELS, 4)
    with pytest.raises(ValueError, match="got 0"):
        top_k_accuracy(SCORES, LABELS, 0)
    with pytest.raises(TypeError, match=r"k as an integer, got 1\.0"):
        top_k_accuracy(SCORES, LABELS, 1.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="got one for each example; use accuracy"):
        top_k_accuracy(PROBABILITY, TARGET, 1)


def test_s1_25_a_single_sigmoid_is_measured_against_its_labels() -> None:
    np.testing.assert_array_equal(confusion_matrix(PROBABILITY, TARGET), [[2, 1], [0, 2]])
    assert accuracy(PROBABILITY, TARGET) == 0.8
    assert accuracy(PROBABILITY, 1 - TARGET) == pytest.approx(0.2)
    assert accuracy(PROBABILITY, TARGET, threshold=0.7) == 0.8
    assert balanced_accuracy(PROBABILITY, TARGET) == pytest.approx((2 / 3 + 1) / 2)
    # Class 1 is above the threshold, not on it, as the first of two equal scores counts.
    assert accuracy(np.array([0.5]), np.array([0])) == accuracy(np.array([[0.5, 0.5]]), np.array([0])) == 1
    # The logits of the same probabilities.
    assert accuracy(np.log(PROBABILITY / (1 - PROBABILITY)), TARGET, threshold=0) == 0.8


@pytest.mark.parametrize("metric", DECISIONS + PROBABILITIES)
def test_one_score_is_equivalent_to_two(metric: Callable[..., Any]) -> None:
    y, labels = PROBABILITY[:, 0], TARGET[:, 0]
    expected = metric(y, labels)
    for scores in (PROBABILITY, y):
        for target in (TARGET, TARGET.astype(np.float32), TARGET.astype(bool), labels, np.eye(2)[labels].argmax(1)):
            np.testing.assert_array_equal(metric(scores, target), expected)
    if metric is not average_precision:  # of two scores it takes the mean over both classes
        # 1 - 0.9 and 1 - 0.1 are rounded.
        np.testing.assert_allclose(metric(np.stack([1 - y, y], 1), labels), expected, rtol=1e-14)


def test_roc_auc_and_average_precision_by_hand() -> None:
    # Of the six pairs one is tied and five are in order.
    assert roc_auc(PROBABILITY, TARGET) == pytest.approx(5.5 / 6)
    # At 0.9 one of one is found, at 0.6 two of three.
    assert average_precision(PROBABILITY, TARGET) == pytest.approx((1 + 2 / 3) / 2)
    assert roc_auc(-PROBABILITY, TARGET) == pytest.approx(0.5 / 6)
    assert roc_auc(np.ones(5), TARGET) == 0.5
    assert average_precision(np.ones(5), TARGET) == 0.4
    assert average_precision(np.ones(2), np.ones(2)) == 1
    # A ranking needs no finite numbers.
    assert roc_auc(np.array([-np.inf, 0, np.inf]), np.array([0, 1, 1])) == 1


def test_s3_6_roc_auc_of_decisions_is_the_balanced_accuracy() -> None:
    rng = np.random.default_rng(0)
    target = rng.integers(2, size=200)
    y = target + rng.normal(size=200)
    hard = y > 0.5
    assert roc_auc(hard, target) == pytest.approx(balanced_accuracy(y, target, threshold=0.5), rel=1e-12)
    # For normal scores whose means differ by one standard deviation, the area is 0.76, the balanced accuracy 0.69.
    assert roc_auc(y, target) > balanced_accuracy(y, target, threshold=0.5) + 0.03


def test_log_loss_by_hand() -> None:
    assert log_loss(np.full((2, 4), 0.25), np.array([0, 3])) == pytest.approx(np.log(4))
    assert log_loss(np.array([0.8, 0.4]), np.array([1, 0])) == pytest.approx(-np.log(0.8 * 0.6) / 2)
    # The loss of a certain mistake is -log(eps).
    assert log_loss(np.array([[1.0, 0.0]]), np.array([1])) == pytest.approx(-np.log(2.0**-52))


def test_calibration_error_by_hand() -> None:
    y = np.array([0.75, 0.75, 0.75, 0.75, 1.0])
    assert calibration_error(y, np.array([1, 1, 1, 0, 1])) == 0
    assert calibration_error(y, np.array([0, 0, 0, 1, 0])) == pytest.approx((4 * 0.5 + 1) / 5)
    # One bin hides that 0.6 and 1.0 err in opposite directions.
    opposite, labels = np.array([0.6, 0.6, 0.6, 1.0, 1.0]), np.array([1, 1, 1, 1, 0])
    assert calibration_error(opposite, labels, bins=1) == pytest.approx(abs(4 - 3.8) / 5)
    assert calibration_error(opposite, labels, bins=2) == pytest.approx(0.2 / 5)
    assert calibration_error(opposite, labels, bins=4) == pytest.approx((1.2 + 1.0) / 5)
    # A bin includes its upper edge: 0.5 is in the lower bin, without 0.75.
    edge = np.array([[0.5, 0.5], [0.75, 0.25]])
    assert calibration_error(edge, np.array([0, 1]), bins=2) == pytest.approx((0.5 + 0.75) / 2)
    with pytest.raises(ValueError, match="bins must be a whole number >= 1, got 0"):
        calibration_error(y, np.ones(5), bins=0)


def test_r2_by_hand() -> None:
    target = np.array([[1.0, 10.0], [3.0, 10.0]])
    assert r2(target, target) == 1
    assert r2(np.full((2, 2), [2.0, 10.0]), target) == 0.5
    # The computed mean of six times 0.1 is not 0.1, but there is no variance to explain.
    constant = np.full(6, 0.1)
    assert r2(constant, constant) == 1
    assert r2(constant + np.arange(6), constant) == 0
    assert r2(np.array([1, 2, 5]), np.array([1, 2, 3]), weights=np.array([1, 1, 0])) == 1
    # Eight-bit types would overflow, at 10 - 30 and at 20 * 20.
    assert r2(np.array([10, 50], np.uint8), np.array([30, 40], np.uint8)) == 1 - 500 / 50


@pytest.mark.parametrize(
    ("y", "target", "error", "message"),
    [
        (np.zeros((3, 1)), np.zeros(3), ValueError, r"of one shape \(n, ...\), got \(3, 1\) and \(3,\)"),
        (np.zeros((0, 1)), np.zeros((0, 1)), ValueError, r"got \(0, 1\)"),
        (np.zeros(1), np.zeros(1), ValueError, "undefined for fewer than two examples"),
        (np.zeros(()), np.zeros(()), ValueError, "got a single number"),
        (np.array([0, np.nan]), np.zeros(2), ValueError, "the predictions contain NaN or infinity"),
        (np.zeros(2), np.array([0, np.inf]), ValueError, "the targets contain NaN or infinity"),
        (np.zeros(2), np.array(["a", "b"]), TypeError, "expected targets as numbers, got an array of <U1"),
    ],
)
def test_r2_raises_for_invalid_arguments(y: Array, target: Array, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        r2(y, target)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
def test_labels_of_any_integer_type_do_not_overflow(dtype: type) -> None:
    y = np.eye(100, dtype=np.float32)
    np.testing.assert_array_equal(confusion_matrix(y, np.arange(100, dtype=dtype)), np.eye(100))


@pytest.mark.parametrize("metric", CLASSIFICATION)
@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.bool_])
def test_one_hot_labels_are_equivalent(metric: Callable[..., Any], dtype: type) -> None:
    one_hot = np.eye(3, dtype=dtype)[LABELS]
    np.testing.assert_array_equal(metric(SCORES, one_hot), metric(SCORES, LABELS))


@pytest.mark.parametrize("metric", [*CLASSIFICATION, *REGRESSION])
def test_an_integer_weight_equals_repeating_the_example(metric: Callable[..., Any]) -> None:
    rng = np.random.default_rng(0)
    y, labels = rng.dirichlet(np.ones(3), 12), np.arange(12) % 3
    target: Array = np.eye(3)[labels] if metric in REGRESSION else labels
    times = np.arange(12) * 5 % 4
    for array in (y, target, times):
        array.flags.writeable = False
    weighted = metric(y, target, weights=times)
    # Sums of a dozen numbers in another order.
    np.testing.assert_allclose(weighted, metric(np.repeat(y, times, 0), np.repeat(target, times, 0)), rtol=1e-13)
    np.testing.assert_allclose(metric(y, target, weights=np.ones(12)), metric(y, target), rtol=1e-13)
    assert np.abs(weighted - metric(y, target)).max() > 1e-3
    if metric is not confusion_matrix:  # a sum; all others are means
        np.testing.assert_allclose(metric(y, target, weights=times / 7), weighted, rtol=1e-13)


def test_a_class_without_a_score_widens_the_matrix() -> None:
    matrix = confusion_matrix(SCORES, np.array([1, 0, 4, 1]), classes=5)
    assert matrix.shape == (5, 5)
    assert matrix[4, 2] == 1
    with pytest.raises(ValueError, match="classes=2 is less than the 3 scores"):
        confusion_matrix(SCORES, LABELS, classes=2)


@pytest.mark.parametrize("metric", CLASSIFICATION)
@pytest.mark.parametrize(
    ("y", "labels", "error", "message"),
    [
        (SCORES, LABELS[:1], ValueError, r"shape \(4,\), or one-hot of shape \(4, 3\).*got shape \(1,\)"),
        (SCORES, LABELS[:, None], ValueError, r"got shape \(4, 1\)"),
        (SCORES, np.array(1), ValueError, r"got shape \(\)"),
        (SCORES[None], LABELS, ValueError, r"scores of shape \(n, classes\).*got shape \(1, 4, 3\)"),
        (SCORES[:0], LABELS[:0], ValueError, r"at least one example; got shape \(0, 3\)"),
        (np.array([["a", "b"]]), LABELS[:1], TypeError, "scores as numbers, got an array of <U1"),
        (SCORES, LABELS.astype(np.float32), TypeError, "expected integer labels, got float32"),
        (SCORES, LABELS > 0, TypeError, "expected integer labels, got bool"),
        (SCORES, LABELS + 1, ValueError, "labels from 0 to 2, got 3"),
        (SCORES, LABELS - 1, ValueError, "labels from 0 to 2, got -1"),
        (SCORES, np.full((4, 3), 0.5), ValueError, "a single 1 in each row"),
        (SCORES, np.ones((4, 3)), ValueError, "a single 1 in each row"),
        (SCORES * np.float32("nan"), LABELS, ValueError, "scores contain NaN"),
    ],
)
def test_invalid_input_raises(
    metric: Callable[..., Any], y: Array, labels: Array, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        metric(y, labels)


@pytest.mark.parametrize("metric", DECISIONS + PROBABILITIES)
@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (np.array([0, 1, 2, 0, 0]), ValueError, "targets 0 and 1 for one score for each example, got 2; for more"),
        (TARGET * 0.9, ValueError, r"targets 0 and 1 .*, got 0\.9"),
        (TARGET.T, ValueError, r"shape \(5,\) or \(5, 1\) for one score for each of 5 examples, got shape \(1, 5\)"),
        (TARGET[:4], ValueError, r"got shape \(4, 1\)"),
        (TARGET.astype(str), TypeError, "targets 0 and 1, got an array of <U"),
    ],
)
def test_invalid_targets_of_one_score_raise(
    metric: Callable[..., Any], labels: Array, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        metric(PROBABILITY, labels)


@pytest.mark.parametrize("metric", [*CLASSIFICATION, *REGRESSION])
@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(3), r"weights of shape \(4,\), got \(3,\)"),
        (np.ones((4, 1)), r"weights of shape \(4,\), got \(4, 1\)"),
        (np.array([1, 1, 1, -1]), "finite and not negative"),
        (np.array([1, 1, 1, np.nan]), "finite and not negative"),
        (np.zeros(4), "all weights are zero"),
    ],
)
def test_invalid_weights_raise(metric: Callable[..., Any], weights: Array, message: str) -> None:
    target = np.ones((4, 3)) if metric in REGRESSION else LABELS
    with pytest.raises(ValueError, match=message):
        metric(SCORES, target, weights=weights)


@pytest.mark.parametrize("metric", DECISIONS)
def test_the_threshold_is_never_guessed(metric: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match=r"taken for probabilities.*got values from -1\.0 to 3\.0; for logits give"):
        metric(np.array([-1.0, 3.0]), np.array([0, 1]))
    with pytest.raises(ValueError, match=r"threshold=0\.5 is for one score for each example, but y has 3"):
        metric(SCORES, LABELS, threshold=0.5)


@pytest.mark.parametrize("metric", PROBABILITIES)
def test_scores_that_are_not_probabilities_raise(metric: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match=r"probabilities in \[0, 1\], got values from -1\.0 to 1\.0; for logits apply"):
        metric(np.array([[-1.0, 1.0], [1.0, -1.0]]), np.array([0, 1]))
    with pytest.raises(ValueError, match=r"rows of probabilities that sum to 1, got sums from 0\.8 to 0\.8"):
        metric(np.full((2, 2), 0.4), np.array([0, 1]))


def test_an_unknown_average_raises() -> None:
    with pytest.raises(ValueError, match='"macro", "micro", "weighted" or None, got \'binary\''):
        f1(SCORES, LABELS, average="binary")  # type: ignore[arg-type]


def test_ranking_metrics_raise_without_two_classes() -> None:
    with pytest.raises(ValueError, match="roc_auc is undefined: class 1 has no example"):
        roc_auc(np.array([0.1, 0.2]), np.array([0, 0]))
    with pytest.raises(ValueError, match="roc_auc is undefined: class 1 has all examples"):
        roc_auc(np.array([0.1, 0.2]), np.array([1, 0]), weights=np.array([1, 0]))
    with pytest.raises(ValueError, match="roc_auc is undefined: class 2 has no example"):
        roc_auc(SCORES[:2], LABELS[:2])
    with pytest.raises(ValueError, match="average_precision is undefined: class 2 has no example"):
        average_precision(SCORES[:2], LABELS[:2])


def test_counts_of_many_classes_need_no_matrix() -> None:
    # Three examples of 100,000 classes, whose matrix would take 80 GB: 7 and 7 are right, 8 is taken for 7.
    y = np.zeros((3, 100_000), np.float32)
    y[:, 7] = 1
    labels = np.array([7, 7, 8])
    assert precision(y, labels) == pytest.approx((2 / 3 + 0) / 2)
    assert recall(y, labels) == 0.5
    assert f1(y, labels) == pytest.approx((4 / 5 + 0) / 2)
    assert balanced_accuracy(y, labels) == 0.5
    assert matthews_correlation(y, labels) == 0
    assert recall(y, labels, average=None)[[7, 8]].tolist() == [1, 0]
