"""Every metric agrees with scikit-learn: unweighted and weighted, with ties, missing classes and constant scores."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from funcnn import metrics as ours
from funcnn.aliases import Array
from funcnn.losses.targets import class_weights

# scikit-learn warns where a result is 0 or a class is left out by convention.
pytestmark = [
    pytest.mark.filterwarnings("ignore:A single label was found"),
    pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true"),
]
# The first call imports scikit-learn, and each call takes milliseconds to validate its arguments.
fifty = settings(max_examples=50)
# Sums of up to thirty float64 numbers in another order.
assert_close = partial(np.testing.assert_allclose, rtol=1e-12, atol=1e-12)


def weights(n: int) -> st.SearchStrategy[Array | None]:
    """No weights, or positive weights whose sums are exact: to scikit-learn, a class of weight 0 occurs."""
    return st.none() | arrays(np.float64, n, elements=st.sampled_from([0.25, 1.0, 3.0]))


@st.composite
def classes_scored(draw: st.DrawFn) -> tuple[Array, Array, Array | None]:
    n, classes = draw(st.integers(1, 30)), draw(st.integers(2, 6))
    # Few different scores, so that ties occur: the first of the highest scores counts.
    y = draw(arrays(np.float32, (n, classes), elements=st.sampled_from([-1.0, 0.0, 0.5, 2.0])))
    return y, draw(arrays(np.int64, n, elements=st.integers(0, classes - 1))), draw(weights(n))


@st.composite
def one_scored(draw: st.DrawFn) -> tuple[Array, Array, Array | None]:
    n = draw(st.integers(1, 30))
    elements = draw(st.sampled_from([st.floats(0, 1), st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.just(0.75)]))
    y = draw(arrays(np.float64, (n, 1), elements=elements))
    return y, draw(arrays(np.int64, (n, 1), elements=st.integers(0, 1))), draw(weights(n))


@st.composite
def probabilities(draw: st.DrawFn) -> tuple[Array, Array, Array | None]:
    n, classes = draw(st.integers(3, 30)), draw(st.integers(3, 5))
    # Small whole parts, so that ties occur, also with 0 and 1.
    parts = draw(arrays(np.float64, (n, classes), elements=st.integers(0, 3)))
    parts[:, 0] += parts.sum(axis=1) == 0
    labels = draw(arrays(np.int64, n, elements=st.integers(0, classes - 1)))
    return parts / parts.sum(axis=1, keepdims=True), labels, draw(weights(n))


def decisions_agree(y: Array, labels: Array, predicted: Array, true: Array, classes: int, w: Array | None) -> None:
    from sklearn import metrics as theirs

    weighted: dict[str, Any] = {"sample_weight": w}
    expected = theirs.accuracy_score(true, predicted, **weighted)
    assert_close(ours.accuracy(y, labels, weights=w), expected)
    assert_close(ours.error_rate(y, labels, weights=w), 1 - expected)
    matrix = theirs.confusion_matrix(true, predicted, labels=np.arange(classes), **weighted)
    np.testing.assert_array_equal(ours.confusion_matrix(y, labels, weights=w), matrix)
    expected = theirs.matthews_corrcoef(true, predicted, **weighted)
    assert_close(ours.matthews_correlation(y, labels, weights=w), expected)
    occurring = np.isin(np.arange(classes), np.append(true, predicted))
    for name in ("precision", "recall", "f1"):
        metric, score = getattr(ours, name), getattr(theirs, f"{name}_score")
        for average in ("macro", "micro", "weighted"):
            expected = score(true, predicted, average=average, zero_division=0, **weighted)
            assert_close(metric(y, labels, average, weights=w), expected)
        expected = score(true, predicted, average=None, labels=np.arange(classes), zero_division=0, **weighted)
        found = metric(y, labels, None, weights=w)
        assert_close(found, np.where(occurring, expected, np.nan))


@fifty
@given(classes_scored())
def test_decisions_among_classes(batch: tuple[Array, Array, Array | None]) -> None:
    y, labels, w = batch
    decisions_agree(y, labels, y.argmax(axis=1), labels, y.shape[1], w)
    one_hot = np.eye(y.shape[1], dtype=np.float32)[labels]
    np.testing.assert_array_equal(ours.confusion_matrix(y, one_hot), ours.confusion_matrix(y, labels))


@fifty
@given(one_scored())
def test_decisions_by_a_threshold(batch: tuple[Array, Array, Array | None]) -> None:
    y, target, w = batch
    decisions_agree(y, target, (y[:, 0] > 0.5).astype(int), target[:, 0], 2, w)


@fifty
@given(classes_scored())
def test_balanced_accuracy(batch: tuple[Array, Array, Array | None]) -> None:
    from sklearn.metrics import balanced_accuracy_score

    y, labels, w = batch
    predicted = y.argmax(axis=1)
    expected = balanced_accuracy_score(labels, predicted, sample_weight=w)
    assert_close(ours.balanced_accuracy(y, labels, weights=w), expected)


@fifty
@given(classes_scored(), st.data())
def test_top_k_accuracy(batch: tuple[Array, Array, Array | None], data: st.DataObject) -> None:
    from sklearn.metrics import top_k_accuracy_score

    y, labels, w = batch
    classes = y.shape[1]
    assume(classes > 2)  # it does not support two
    k = data.draw(st.integers(1, classes - 1))
    # Of equal scores, its last and our first counts, as in accuracy: so the order of the classes is reversed.
    expected = top_k_accuracy_score(classes - 1 - labels, y[:, ::-1], k=k, labels=np.arange(classes), sample_weight=w)
    assert_close(ours.top_k_accuracy(y, labels, k, weights=w), expected)
    assert ours.top_k_accuracy(y, labels, 1, weights=w) == ours.accuracy(y, labels, weights=w)


@fifty
@given(one_scored())
def test_ranking_metrics_of_two_classes(batch: tuple[Array, Array, Array | None]) -> None:
    from sklearn.metrics import average_precision_score, roc_auc_score

    y, target, w = batch
    assume(target.any())
    expected = average_precision_score(target[:, 0], y[:, 0], sample_weight=w)
    assert_close(ours.average_precision(y, target, weights=w), expected)
    assume(not target.all())
    expected = roc_auc_score(target[:, 0], y[:, 0], sample_weight=w)
    assert_close(ours.roc_auc(y, target, weights=w), expected)
    # Ranking metrics do not depend on the scale of the scores.
    assert_close(ours.roc_auc(8 * y, target, weights=w), expected)


@fifty
@given(probabilities())
def test_ranking_metrics_of_several_classes(batch: tuple[Array, Array, Array | None]) -> None:
    from sklearn.metrics import average_precision_score, roc_auc_score

    y, labels, w = batch
    labels[: y.shape[1]] = np.arange(y.shape[1])[: len(labels)]
    assume(len(np.unique(labels)) == y.shape[1])
    expected = roc_auc_score(labels, y, multi_class="ovr", average="macro", sample_weight=w)
    assert_close(ours.roc_auc(y, labels, weights=w), expected)
    expected = average_precision_score(labels, y, average="macro", sample_weight=w)
    assert_close(ours.average_precision(y, labels, weights=w), expected)


@fifty
@given(probabilities())
def test_log_loss_of_several_classes(batch: tuple[Array, Array, Array | None]) -> None:
    from sklearn.metrics import log_loss

    y, labels, w = batch
    expected = log_loss(labels, y, labels=np.arange(y.shape[1]), sample_weight=w)
    assert_close(ours.log_loss(y, labels, weights=w), expected)


@fifty
@given(one_scored())
def test_log_loss_of_two_classes(batch: tuple[Array, Array, Array | None]) -> None:
    from sklearn.metrics import log_loss

    y, target, w = batch
    expected = log_loss(target[:, 0], y[:, 0], labels=[0, 1], sample_weight=w)
    assert_close(ours.log_loss(y, target, weights=w), expected)


@fifty
@given(probabilities(), st.integers(1, 20))
def test_calibration_error_from_the_calibration_curve(batch: tuple[Array, Array, Array | None], bins: int) -> None:
    from sklearn.calibration import calibration_curve

    y, labels, _ = batch
    right, confidence = y.argmax(axis=1) == labels, y.max(axis=1)
    fraction_right, mean_confidence = calibration_curve(right, confidence, n_bins=bins)
    index = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], confidence)
    _, counts = np.unique(index, return_counts=True)
    expected = counts @ np.abs(fraction_right - mean_confidence) / len(y)
    assert_close(ours.calibration_error(y, labels, bins), expected)


@st.composite
def labelled(draw: st.DrawFn) -> tuple[Array, Array, Array | None]:
    """Scores and targets of several labels, among them labels that nobody has or that all have."""
    n, labels = draw(st.integers(1, 20)), draw(st.integers(1, 4))
    y = draw(arrays(np.float64, (n, labels), elements=st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])))
    return y, draw(arrays(np.int64, (n, labels), elements=st.integers(0, 1))), draw(weights(n))


@fifty
@given(labelled())
def test_decisions_of_several_labels(batch: tuple[Array, Array, Array | None]) -> None:
    from sklearn import metrics as theirs

    y, target, w = batch
    predicted = (y > 0.5).astype(int)
    matrices = theirs.multilabel_confusion_matrix(target, predicted, sample_weight=w) if y.shape[1] > 1 else None
    found = ours.confusion_matrix(y, target, weights=w, multilabel=True)
    if matrices is not None:  # to scikit-learn, one column is a problem of two classes
        np.testing.assert_array_equal(found, matrices)
    for label in range(y.shape[1]):
        alone = theirs.confusion_matrix(target[:, label], predicted[:, label], labels=[0, 1], sample_weight=w)
        np.testing.assert_array_equal(found[label], alone)
    occurs = (target | predicted).any(axis=0)
    for name in ("precision", "recall", "f1"):
        metric, score = getattr(ours, name), getattr(theirs, f"{name}_score")
        alone = [score(t, p, zero_division=0, sample_weight=w) for t, p in zip(target.T, predicted.T, strict=True)]
        assert_close(metric(y, target, None, weights=w, multilabel=True), np.where(occurs, alone, np.nan))
        if not occurs.any():
            assert np.isnan(metric(y, target, weights=w, multilabel=True))
            continue
        # Ours leaves out labels that nobody has and that are predicted for nobody.
        if occurs.sum() > 1:
            for average in ("macro", "micro", "weighted"):
                expected = score(
                    target[:, occurs], predicted[:, occurs], average=average, zero_division=0, sample_weight=w
                )
                assert_close(metric(y, target, average, weights=w, multilabel=True), expected)


@fifty
@given(labelled())
def test_rankings_of_several_labels(batch: tuple[Array, Array, Array | None]) -> None:
    from sklearn import metrics as theirs

    y, target, w = batch
    for ours_of, score in (
        (ours.roc_auc, theirs.roc_auc_score),
        (ours.average_precision, theirs.average_precision_score),
    ):
        some, all_have = target.any(axis=0), target.all(axis=0) & (ours_of is ours.roc_auc)
        defined = some & ~all_have
        alone = [
            score(t, column, sample_weight=w) if known else np.nan
            for t, column, known in zip(target.T, y.T, defined, strict=True)
        ]
        # Rankings depend on no scale.
        assert_close(ours_of(8 * y - 3, target, None, weights=w, multilabel=True), alone)
        if defined.all() and y.shape[1] > 1:
            for average in ("macro", "micro", "weighted"):
                expected = score(target, y, average=average, sample_weight=w)
                assert_close(ours_of(y, target, average, weights=w, multilabel=True), expected)
        elif not defined.all():
            with pytest.raises(ValueError, match="is undefined: label"):
                ours_of(y, target, weights=w, multilabel=True)


@fifty
@given(probabilities())
def test_averages_over_classes_of_ranking_metrics(batch: tuple[Array, Array, Array | None]) -> None:
    from sklearn.metrics import average_precision_score, roc_auc_score

    y, labels, w = batch
    one_hot = np.eye(y.shape[1], dtype=int)[labels]
    assume(one_hot.any(axis=0).all())
    for average in ("macro", "micro", "weighted", None):
        expected = roc_auc_score(labels, y, multi_class="ovr", average=average, sample_weight=w)
        assert_close(ours.roc_auc(y, labels, average, weights=w), expected)
        expected = average_precision_score(one_hot, y, average=average, sample_weight=w)
        assert_close(ours.average_precision(y, labels, average, weights=w), expected)


@fifty
@given(one_scored())
def test_curves(batch: tuple[Array, Array, Array | None]) -> None:
    from sklearn.metrics import precision_recall_curve, roc_curve

    y, target, w = batch
    assume(target.any())
    expected = precision_recall_curve(target[:, 0], y[:, 0], sample_weight=w)
    for found, theirs in zip(ours.precision_recall_curve(y, target, weights=w), expected, strict=True):
        assert_close(found, theirs)
    assume(not target.all())
    expected = roc_curve(target[:, 0], y[:, 0], sample_weight=w, drop_intermediate=False)
    for found, theirs in zip(ours.roc_curve(y[:, 0], target, weights=w), expected, strict=True):
        assert_close(found, theirs)


@fifty
@given(one_scored(), st.integers(1, 20))
def test_calibration_curve_of_two_classes(batch: tuple[Array, Array, Array | None], bins: int) -> None:
    from sklearn.calibration import calibration_curve

    y, target, _ = batch
    accuracy, confidence = calibration_curve(target[:, 0], y[:, 0], n_bins=bins)
    found = ours.calibration_curve(y, target, bins)
    assert_close(found.accuracy, accuracy)
    assert_close(found.confidence, confidence)
    assert found.weight.sum() == len(y)


@fifty
@given(st.data(), st.integers(2, 20), st.integers(1, 3))
def test_regression(data: st.DataObject, n: int, outputs: int) -> None:
    from sklearn import metrics as theirs

    # Few values whose sums are exact, so that constant columns occur, and scikit-learn recognizes them.
    y, target = (data.draw(arrays(np.float32, (n, outputs), elements=st.sampled_from([-1, 0, 0.5, 3]))) for _ in "yt")
    w = data.draw(weights(n))
    for metric, score in (
        (ours.r2, theirs.r2_score),
        (ours.mae, theirs.mean_absolute_error),
        (ours.rmse, theirs.root_mean_squared_error),
    ):
        for average, multioutput in (("uniform", "uniform_average"), (None, "raw_values")):
            expected = score(target.astype(np.float64), y.astype(np.float64), sample_weight=w, multioutput=multioutput)
            assert_close(metric(y, target, average, weights=w), expected)


@pytest.mark.parametrize("metric", [ours.roc_auc, ours.average_precision])
def test_a_ranking_without_both_classes_raises(metric: Callable[..., float]) -> None:
    # scikit-learn warns and returns NaN, or 0, which would look like a bad model.
    with pytest.raises(ValueError, match="is undefined: class 1 has no example"):
        metric(np.array([0.1, 0.2]), np.array([0, 0]))


@fifty
@given(st.lists(st.integers(0, 3), min_size=1, max_size=30))
def test_class_weights(drawn: list[int]) -> None:
    from sklearn.utils.class_weight import compute_class_weight

    labels = np.array([0, 1, 2, 3, *drawn])
    expected = compute_class_weight("balanced", classes=np.arange(4), y=labels)
    np.testing.assert_allclose(class_weights(labels, 4), expected, rtol=1e-15)
