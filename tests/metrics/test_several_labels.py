"""Several labels of each example, by hand: decisions, rankings, and labels that nobody has."""

from functools import partial
from typing import Any

import numpy as np
import pytest

import funcnn as fn
from funcnn import metrics

# Three labels of four examples; nobody has the last one.
Y = np.array([[0.9, 0.2, 0.1], [0.8, 0.7, 0.4], [0.3, 0.6, 0.2], [0.6, 0.1, 0.3]])
TARGET = np.array([[1, 0, 0], [1, 1, 0], [1, 0, 0], [0, 0, 0]])


def test_a_confusion_matrix_of_each_label() -> None:
    matrices = metrics.confusion_matrix(Y, TARGET, multilabel=True)
    assert matrices.dtype == np.int64
    assert matrices.tolist() == [[[0, 1], [1, 2]], [[2, 1], [0, 1]], [[4, 0], [0, 0]]]
    weighted = metrics.confusion_matrix(Y, TARGET, weights=[0.5, 1, 2, 4], multilabel=True)
    assert weighted[0].tolist() == [[0, 4], [2, 1.5]]


def test_precision_recall_and_f1_of_each_label() -> None:
    for metric, expected in (
        (metrics.precision, [2 / 3, 1 / 2, np.nan]),
        (metrics.recall, [2 / 3, 1, np.nan]),
        (metrics.f1, [4 / 6, 2 / 3, np.nan]),
    ):
        np.testing.assert_allclose(metric(Y, TARGET, average=None, multilabel=True), expected)
        assert metric(Y, TARGET, multilabel=True) == pytest.approx(np.mean(expected[:2]))
        assert metric(Y, TARGET, average="weighted", multilabel=True) == pytest.approx(
            (3 * expected[0] + expected[1]) / 4
        )
    # Of five labels that are predicted three are right, of four that examples have.
    assert metrics.precision(Y, TARGET, "micro", multilabel=True) == pytest.approx(3 / 5)
    assert metrics.recall(Y, TARGET, "micro", multilabel=True) == pytest.approx(3 / 4)


def test_logits_need_a_threshold_and_give_the_same() -> None:
    logits = np.log(Y / (1 - Y))
    for metric in (metrics.precision, metrics.recall, metrics.f1, metrics.confusion_matrix):
        np.testing.assert_array_equal(
            metric(logits, TARGET, threshold=0, multilabel=True), metric(Y, TARGET, multilabel=True)
        )


def test_one_hot_targets_are_labels_only_if_that_is_said() -> None:
    one_hot = np.eye(3, dtype=int)[[0, 1, 2]]
    y = np.full((3, 3), 0.4)  # the first class is the highest, and no label is above one half
    assert metrics.recall(y, one_hot, average=None).tolist() == [1, 0, 0]
    assert metrics.recall(y, one_hot, average=None, multilabel=True).tolist() == [0, 0, 0]


def test_where_no_label_occurs_there_is_no_number() -> None:
    nothing = np.zeros((2, 3))
    for average in ("macro", "micro", "weighted"):
        assert np.isnan(metrics.f1(nothing, nothing, average, multilabel=True))
    # Labels that are predicted, and that nobody has.
    assert metrics.precision(np.ones((2, 3)), nothing, "weighted", multilabel=True) == 0
    assert metrics.recall(np.ones((2, 3)), nothing, "micro", multilabel=True) == 0


def test_rankings_of_each_label() -> None:
    found = metrics.average_precision(Y, TARGET, average=None, multilabel=True)
    np.testing.assert_allclose(found, [(1 + 1 + 3 / 4) / 3, 1, np.nan])
    np.testing.assert_allclose(metrics.roc_auc(Y, TARGET, average=None, multilabel=True), [2 / 3, 1, np.nan])
    with pytest.raises(ValueError, match="average_precision is undefined: label 2 has no example"):
        metrics.average_precision(Y, TARGET, multilabel=True)
    assert metrics.average_precision(Y[:, :2], TARGET[:, :2], multilabel=True) == pytest.approx((found[0] + 1) / 2)
    # Of three classes, one is missing.
    np.testing.assert_allclose(metrics.roc_auc(np.eye(3)[[0, 1, 1]], np.array([0, 1, 1]), average=None), [1, 1, np.nan])


def test_a_model_with_several_labels_is_trained_and_measured() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((300, 4)).astype(np.float32)
    target = (x @ rng.standard_normal((4, 3)) > 0.3).astype(np.float32)
    model = fn.serial(fn.dense(16), fn.relu, fn.dense(3))
    measured: Any = {
        "f1": partial(metrics.f1, multilabel=True, threshold=0),
        "precision": partial(metrics.average_precision, multilabel=True),
    }
    result = fn.fit(
        model, model.init((4,), 0), fn.adam(0.01), (x, target), fn.sigmoid_cross_entropy, 20, metrics=measured,
        verbose=False,
    )  # fmt: skip
    assert result.history[-1]["train_f1"] > 0.95 > result.history[0]["train_f1"]
    assert result.history[-1]["train_precision"] > 0.99
    by_label = metrics.f1(fn.predict(model, result.params, x), target, average=None, threshold=0, multilabel=True)
    assert by_label.shape == (3,)
