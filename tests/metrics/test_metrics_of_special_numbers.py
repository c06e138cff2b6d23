"""Metrics beside NaN, infinity, weight 0 and the largest numbers; half precision and subclasses raise."""

import math
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
import pytest

from funcnn import metrics

INF, NAN = math.inf, math.nan

SCORES = np.array([[0.1, 0.9, 0.0], [0.8, 0.1, 0.1], [0.2, 0.2, 0.6], [0.5, 0.3, 0.2], [0.3, 0.4, 0.3]])
LABELS = np.array([1, 0, 2, 1, 0])
PROBABILITY = np.array([0.9, 0.2, 0.6, 0.6, 0.1])
TARGET = np.array([1, 0, 1, 0, 0])
WEIGHTS = np.array([0.1, 0.3, 2.0, 1.0, 0.7])


def top_2(y: Any, labels: Any, **options: Any) -> float:
    return metrics.top_k_accuracy(y, labels, 2, **options)


def by_class(y: Any, labels: Any, **options: Any) -> Any:
    return metrics.f1(y, labels, average=None, **options)


SEVERAL: list[Callable[..., Any]] = [
    metrics.accuracy, metrics.error_rate, metrics.balanced_accuracy, metrics.confusion_matrix, metrics.precision,
    metrics.recall, metrics.f1, by_class, metrics.matthews_correlation, metrics.log_loss, metrics.calibration_error,
    metrics.roc_auc, metrics.average_precision, top_2,
]  # fmt: skip
CASES = [(metric, SCORES, LABELS) for metric in SEVERAL]
CASES += [(metric, PROBABILITY, TARGET) for metric in SEVERAL[:-1]]
REGRESSION = (metrics.mae, metrics.rmse, metrics.r2)
CASES += [(metric, PROBABILITY, SCORES[:, 0]) for metric in REGRESSION]
CASES += [(metric, SCORES, SCORES[::-1]) for metric in REGRESSION]
# Each example has any number of labels.
CASES += [
    (partial(metric, multilabel=True, average=None), SCORES, (SCORES > 0.25).astype(int))
    for metric in (metrics.precision, metrics.recall, metrics.f1, metrics.roc_auc, metrics.average_precision)
]
every_metric = pytest.mark.parametrize(("metric", "y", "target"), CASES)


@every_metric
@pytest.mark.parametrize("bad", [NAN, INF, -INF, 3e38, 7.0])
def test_an_example_of_weight_0_counts_as_none_whatever_it_is(
    metric: Callable[..., Any], y: Any, target: Any, bad: float
) -> None:
    expected = metric(y, target, weights=WEIGHTS)
    poisoned, missing = np.concatenate([y, y[:2]]), np.concatenate([target, target[:2]])
    poisoned[-2:] = bad
    missing[-2:] = bad if missing.dtype.kind == "f" else -1
    for labels in (missing, missing.astype(float)) if y.ndim == 1 else (missing,):
        found = metric(poisoned, labels, weights=[*WEIGHTS, 0, 0])
        np.testing.assert_allclose(found, expected, rtol=1e-15)
    if metric in REGRESSION and math.isfinite(bad):
        return  # any finite numbers are targets
    with pytest.raises((ValueError, TypeError)):
        metric(poisoned, missing, weights=[*WEIGHTS, 0, 1])


@every_metric
@pytest.mark.parametrize("scale", [5e-324, 1e-300, 3.0, 1e308])
def test_only_the_ratio_of_weights_matters(metric: Callable[..., Any], y: Any, target: Any, scale: float) -> None:
    weights = np.array([1, 2, 1, 1, 1]) * (scale if scale < 1e308 else scale / 2)
    found, expected = metric(y, target, weights=weights), metric(y, target, weights=[1, 2, 1, 1, 1])
    with np.errstate(over="ignore"):
        factor = weights[0] if metric is metrics.confusion_matrix else 1
        np.testing.assert_allclose(found, expected * factor, rtol=1e-12)


def test_a_weighted_confusion_matrix_is_the_exact_sum_of_weights() -> None:
    y, labels = np.eye(2)[[0, 0, 1, 1]], np.array([0, 0, 0, 1])
    matrix = metrics.confusion_matrix(y, labels, weights=[0.1, 0.2, 0.3, 1e-300])
    assert matrix.dtype == np.float64
    assert matrix.tolist() == [[0.1 + 0.2, 0.3], [0, 1e-300]]
    assert metrics.confusion_matrix(y, labels, weights=[0, 3, 2, 0]).tolist() == [[3, 2], [0, 0]]
    assert metrics.confusion_matrix(y, labels, 3, weights=[1, 1, 1, 1]).tolist() == [[2, 1, 0], [0, 1, 0], [0, 0, 0]]
    # From (n, 1) probabilities and yes/no targets as floats, (n, 1) too.
    columns = {"y": np.array([[0.9], [0.2], [0.6]]), "target": np.array([[1.0], [0.0], [0.0]])}
    assert metrics.confusion_matrix(**columns, weights=[0.5, 0.25, 2]).tolist() == [[0.25, 2], [0, 0.5]]


@pytest.mark.parametrize("metric", SEVERAL[:-1])
def test_yes_or_no_targets_of_any_type_and_shape_are_the_same(metric: Callable[..., Any]) -> None:
    expected = metric(PROBABILITY, TARGET, weights=WEIGHTS)
    for dtype in (bool, np.uint8, np.int64, np.float32, np.float64, ">f4", ">i4"):
        for y in (PROBABILITY, PROBABILITY[:, None]):
            for target in (TARGET.astype(dtype), TARGET[:, None].astype(dtype), TARGET.astype(dtype).tolist()):
                np.testing.assert_array_equal(metric(y, target, weights=WEIGHTS), expected)


@every_metric
def test_either_byte_order_and_a_memmap_work(metric: Callable[..., Any], y: Any, target: Any, tmp_path: Any) -> None:
    expected = metric(y, target, weights=WEIGHTS)
    swapped = [array.astype(array.dtype.newbyteorder()) for array in (y, target, WEIGHTS)]
    np.testing.assert_array_equal(metric(*swapped[:2], weights=swapped[2]), expected)
    mapped = np.memmap(tmp_path / "y", y.dtype, "w+", shape=y.shape)
    mapped[...] = y
    np.testing.assert_array_equal(metric(mapped, target, weights=WEIGHTS), expected)
    found = metric(y.astype(np.float32), target, weights=WEIGHTS)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@every_metric
def test_half_precision_and_subclasses_raise(metric: Callable[..., Any], y: Any, target: Any) -> None:
    for dtype in (np.float16, np.longdouble):
        with pytest.raises(TypeError, match=r"expected float32 or float64, got float\d+; use x.astype\(np.float32\)"):
            metric(y.astype(dtype), target)
    for place in range(3):
        given = [y, target, WEIGHTS]
        for subclass, name in (
            (np.ma.array(given[place]), "MaskedArray"),
            (given[place].view(np.recarray), "recarray"),
        ):
            given[place] = subclass
            with pytest.raises(TypeError, match=f"plain array.* got {name}"):
                metric(given[0], given[1], weights=given[2])
    with pytest.raises(TypeError, match="got matrix"):
        metric(np.eye(3).view(np.matrix), target)


def test_scores_of_infinity_are_ranked_and_decided() -> None:
    y, labels = np.array([[-INF, 0.0], [INF, 3e38], [-INF, -3e38]]), np.array([1, 0, 1])
    assert metrics.accuracy(y, labels) == 1
    assert metrics.top_k_accuracy(y, labels, 1) == 1
    single, target = np.array([-INF, -3e38, 3e38, INF]), np.array([0, 1, 0, 1])
    assert metrics.roc_auc(single, target) == 0.75
    assert metrics.average_precision(single, target) == pytest.approx((1 + 2 / 3) / 2)
    assert metrics.accuracy(single, target, threshold=0) == 0.5


def test_a_threshold_of_a_numpy_scalar_is_that_of_a_python_number() -> None:
    y = np.array([0.1, 0.3], np.float32)  # 0.1 in float32 is larger than 0.1
    for threshold in (0.1, np.float64(0.1), np.float32(0.1)):
        assert metrics.accuracy(y, np.array([0, 1]), threshold=threshold) == 1
    for bad in (NAN, INF):
        with pytest.raises(ValueError, match="accuracy: threshold must be a finite number"):
            metrics.accuracy(y, np.array([0, 1]), threshold=bad)


def test_probabilities_of_0_and_1_are_clipped_in_their_own_dtype_and_integers_in_float64() -> None:
    for dtype in (np.float32, np.float64):
        found = metrics.log_loss(np.array([0, 1], dtype), [1, 1])
        assert found == pytest.approx(-math.log(np.finfo(dtype).eps) / 2, rel=1e-6)
    assert metrics.log_loss(np.array([0, 1]), [1, 1]) == metrics.log_loss(np.array([0.0, 1.0]), [1, 1])
    assert metrics.log_loss(np.eye(2, dtype=bool), [0, 1]) == pytest.approx(0, abs=1e-15)
    assert metrics.calibration_error(np.eye(2, dtype=int), [0, 0]) == 0.5


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_confidence_on_an_edge_is_in_the_lower_bin_in_float32_too(dtype: type) -> None:
    y = np.array([0.8, 0.85], dtype)  # 0.8 in float32 is larger than 0.8
    assert metrics.calibration_error(y, [0, 1], bins=5) == pytest.approx((0.8 + 0.15) / 2, rel=1e-6)


R2 = [
    ([1, 2, 4], [1, 2, 3]),
    ([1.5e308, -1.5e308], [-1.5e308, 1.5e308]),
    ([1e200, 2e200, 2e200], [1e200, 2e200, 3e200]),
    ([1e-200, 2e-200, 2e-200], [1e-200, 2e-200, 3e-200]),
    ([1e6 + 0.25, 1e6, 1e6], [1e6, 1e6 + 0.5, 1e6 - 0.5]),
    ([1e15, 1e15 + 1, 1e15], [1e15, 1e15 + 1, 1e15 + 2]),
]


@pytest.mark.parametrize(("y", "target"), R2)
def test_r2_of_the_largest_smallest_and_far_numbers_is_exact(y: list[float], target: list[float]) -> None:
    p, t = [Fraction(n) for n in y], [Fraction(n) for n in target]
    mean = sum(t) / len(t)
    exact = 1 - sum((a - b) ** 2 for a, b in zip(p, t, strict=True)) / sum((b - mean) ** 2 for b in t)
    assert metrics.r2(np.array(y), np.array(target)) == pytest.approx(float(exact), rel=1e-12)
    # Beside an output of another size.
    both = metrics.r2(np.array([y, [1] * len(y)]).T, np.array([target, range(len(y))]).T)
    other = 1 - (1 + sum((n - 1) ** 2 for n in range(1, len(y)))) / (len(y) * (len(y) ** 2 - 1) / 12)
    assert both == pytest.approx((float(exact) + other) / 2, rel=1e-12)


def test_r2_without_a_lower_bound() -> None:
    assert metrics.r2(np.array([1e300, 0]), np.array([0, 1e-10])) == -INF


@pytest.mark.parametrize(("y", "target"), R2)
def test_mae_and_rmse_of_the_largest_smallest_and_far_numbers_are_exact(y: list[float], target: list[float]) -> None:
    errors = [abs(Fraction(a) - Fraction(b)) for a, b in zip(y, target, strict=True)]
    mean = sum(errors) / len(errors)
    square = math.sqrt(sum((error / max(errors)) ** 2 for error in errors) / len(errors))
    expected = float(mean) if mean < Fraction(1.7e308) else INF
    assert metrics.mae(np.array(y), np.array(target)) == pytest.approx(expected, rel=1e-12)
    expected = square * float(max(errors)) if max(errors) < Fraction(1.7e308) else INF
    assert metrics.rmse(np.array(y), np.array(target)) == pytest.approx(expected, rel=1e-12)


def test_regression_per_output_has_the_shape_of_an_example() -> None:
    y, target = np.arange(12.0).reshape(3, 2, 2), np.zeros((3, 2, 2))
    target[:, 0] = y[:, 0] + 1
    assert metrics.mae(y, target, average=None).tolist() == [[1, 1], [6, 7]]
    assert metrics.mae(y, target) == 15 / 4
    np.testing.assert_allclose(
        metrics.rmse(y, target, None), [[1, 1], np.sqrt([(4 + 36 + 100) / 3, (9 + 49 + 121) / 3])]
    )
    assert metrics.r2(y, target, None)[1].tolist() == [0, 0]
    assert metrics.mae(np.array([1.0, 2.0]), np.array([2.0, 4.0]), None).shape == ()
