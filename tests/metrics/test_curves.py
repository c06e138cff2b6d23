"""The curves behind the numbers: points by hand, and the areas under them are those of the metrics."""

import numpy as np
import pytest

from funcnn import metrics

SCORE = np.array([0.9, 0.2, 0.6, 0.6, 0.1])
TARGET = np.array([1, 0, 1, 0, 0])


def test_the_roc_curve_by_hand() -> None:
    curve = metrics.roc_curve(SCORE[:, None], TARGET[:, None] > 0)
    np.testing.assert_allclose(curve.false_positive_rate, [0, 0, 1 / 3, 2 / 3, 1])
    np.testing.assert_allclose(curve.true_positive_rate, [0, 1 / 2, 1, 1, 1])
    assert curve.thresholds.tolist() == [np.inf, 0.9, 0.6, 0.2, 0.1]
    area = np.trapezoid(curve.true_positive_rate, curve.false_positive_rate)
    assert area == pytest.approx(metrics.roc_auc(SCORE, TARGET), rel=1e-15)


def test_the_precision_recall_curve_by_hand() -> None:
    curve = metrics.precision_recall_curve(SCORE, TARGET)
    np.testing.assert_allclose(curve.precision, [2 / 5, 2 / 4, 2 / 3, 1, 1])
    assert curve.recall.tolist() == [1, 1, 1, 0.5, 0]
    assert curve.thresholds.tolist() == [0.1, 0.2, 0.6, 0.9]
    area = -np.diff(curve.recall) @ curve.precision[:-1]
    assert area == pytest.approx(metrics.average_precision(SCORE, TARGET), rel=1e-15)


def test_the_area_of_a_perfect_ranking_is_exactly_1() -> None:
    for n in range(2, 50):
        for positives in range(1, n):
            target = np.arange(n) >= n - positives
            for metric in (metrics.roc_auc, metrics.average_precision):
                assert metric(np.arange(n) + 0.5, target) == 1
                # Sums of weights are rounded, but there is no area above 1.
                assert 1 - 1e-12 < metric(np.arange(n) + 0.5, target, weights=np.arange(n) + 0.1) <= 1
            assert metrics.roc_auc(np.full(n, 0.5), target) == 0.5


def test_the_calibration_curve_by_hand() -> None:
    curve = metrics.calibration_curve(SCORE, TARGET, bins=2)
    np.testing.assert_allclose(curve.confidence, [0.15, 0.7])
    np.testing.assert_allclose(curve.accuracy, [0, 2 / 3])
    assert curve.weight.tolist() == [2, 3]
    # Of several classes it is that of the highest probability, and its gap is the calibration error.
    y, labels = np.array([[0.1, 0.9, 0.0], [0.8, 0.1, 0.1], [0.2, 0.2, 0.6], [0.5, 0.3, 0.2]]), np.array([1, 0, 0, 1])
    several = metrics.calibration_curve(y, labels, bins=4)
    np.testing.assert_allclose(several.confidence, [0.5, 0.6, 0.85])
    assert several.accuracy.tolist() == [0, 0, 1]
    gap = several.weight @ np.abs(several.accuracy - several.confidence) / several.weight.sum()
    assert gap == pytest.approx(metrics.calibration_error(y, labels, bins=4), rel=1e-15)


@pytest.mark.parametrize("curve", [metrics.roc_curve, metrics.precision_recall_curve, metrics.calibration_curve])
def test_a_weight_equals_repeating_the_example(curve: object) -> None:
    assert callable(curve)
    times = np.array([1, 3, 0, 2, 1])
    for array in (SCORE, TARGET, times):
        array.flags.writeable = False
    weighted = curve(SCORE, TARGET, weights=times)
    for one, other in zip(weighted, curve(np.repeat(SCORE, times), np.repeat(TARGET, times)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-14)
    # What has no weight is not looked at, and sums of weights do not overflow where only ratios matter.
    nan = curve(np.append(SCORE, np.nan), np.append(TARGET, 7), weights=np.append(times, 0))
    for one, other in zip(weighted, nan, strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(weighted[:2], curve(SCORE, TARGET, weights=times * 5e-324)[:2], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-14)
