"""The curves of scores and of a hyper-parameter: their points are those of the metrics, also with a class missing."""

import io
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex

from funcnn import metrics, plot

RNG = np.random.default_rng(0)
CLASSES = RNG.integers(0, 3, 50)
SCORES = RNG.random((50, 4)) + np.eye(4)[CLASSES]
P = SCORES / SCORES.sum(axis=1, keepdims=True)
LABELS = (RNG.random((50, 4)) + 0.5 < SCORES).astype(int)


def names(ax: Axes) -> list[str]:
    legend = ax.get_legend()
    assert legend is not None
    return [text.get_text() for text in legend.get_texts()]


def test_roc_curves_of_classes_of_which_one_is_missing() -> None:
    weights = RNG.random(50)
    ax = plot.roc_curve(P, CLASSES, ["cat", "dog", "ship", "car"], weights=weights)
    *curves, chance = ax.lines
    for c in range(3):
        fpr, tpr, _ = metrics.roc_curve(P[:, c], c == CLASSES, weights=weights)
        np.testing.assert_array_equal(np.asarray(curves[c].get_xydata()), np.stack([fpr, tpr], axis=1))
    assert len(np.asarray(curves[3].get_xydata())) == 0
    areas = metrics.roc_auc(P, CLASSES, None, weights=weights)
    cat, dog, ship = (f"{name} (area {area:.3f})" for name, area in zip(("cat", "dog", "ship"), areas, strict=False))
    assert names(ax) == [cat, dog, ship, "car (no example)"]
    assert np.asarray(chance.get_xydata()).tolist() == [[0, 0], [1, 1]]
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title()) == (
        "false positive rate", "true positive rate", "ROC curve",
    )  # fmt: skip


def test_precision_recall_curves_are_steps_whose_area_is_the_average_precision() -> None:
    ax = plot.precision_recall_curve(10 * SCORES - 5, LABELS, multilabel=True)
    precision = metrics.average_precision(SCORES, LABELS, None, multilabel=True)
    assert names(ax) == [f"label {c} (average precision {value:.3f})" for c, value in enumerate(precision)]
    for c, line in enumerate(ax.lines):
        assert line.get_drawstyle() == "steps-post"
        x, y = np.asarray(line.get_xydata()).T
        assert -np.diff(x) @ y[:-1] == pytest.approx(precision[c], rel=1e-12)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("recall", "precision")


def test_a_calibration_curve_has_the_error_of_the_metric_and_points_of_its_weight() -> None:
    ax = plot.calibration_curve(P, CLASSES, bins=6)
    curve = metrics.calibration_curve(P, CLASSES, 6)
    diagonal, line = ax.lines
    assert np.asarray(diagonal.get_xydata()).tolist() == [[0, 0], [1, 1]]
    np.testing.assert_array_equal(np.asarray(line.get_xydata()), np.stack([curve.confidence, curve.accuracy], axis=1))
    assert names(ax) == [f"highest probability (error {metrics.calibration_error(P, CLASSES, 6):.3f})"]
    sizes = np.asarray(ax.collections[0].get_sizes())  # type: ignore[attr-defined]
    np.testing.assert_allclose(sizes, np.maximum(120 * curve.weight / curve.weight.max(), 6))


@pytest.mark.parametrize("shape", [(50,), (50, 1)])
def test_one_probability_is_that_of_class_1(shape: Any) -> None:
    ax = plot.calibration_curve(P[:, 0].reshape(shape), (CLASSES == 0).reshape(shape), ["other", "cat"])
    curve = metrics.calibration_curve(P[:, 0], CLASSES == 0)
    np.testing.assert_array_equal(np.asarray(ax.lines[1].get_xdata()), curve.confidence)
    assert names(ax)[0].startswith("cat (error ")
    assert names(plot.roc_curve(P[:, 0].reshape(shape), CLASSES == 0))[0].startswith("class 1 (area ")


def test_labels_of_one_name_are_two_curves() -> None:
    ax = plot.calibration_curve(P[:, :2], LABELS[:, :2], ["same", "same"], multilabel=True)
    assert len(names(ax)) == len(ax.collections) == 2


def test_many_labels_are_told_apart_and_have_room() -> None:
    labels = (RNG.random((40, 25)) < 0.5).astype(int)
    ax = plot.roc_curve(RNG.random((40, 25)), labels, multilabel=True)
    ax.figure.savefig(io.BytesIO())
    looks = {(to_hex(line.get_color()), line.get_linestyle()) for line in ax.lines[:25]}
    assert len(looks) == 25
    legend = ax.get_legend()
    assert legend is not None
    box, height = legend.get_window_extent(), ax.figure.bbox.height
    assert 0 <= box.y0 < box.y1 <= height
    assert min(ax.get_window_extent().size) > 200


def test_a_validation_curve_is_sorted_and_has_bands_and_gaps() -> None:
    values, train = [0.1, 0.001, 0.01], [[1.0, 3.0], [5.0, 7.0], [2.0, 2.0]]
    ax = plot.validation_curve(values, train, [4.0, 8.0, np.inf], "learning rate", "mean_loss")
    one, other = ax.lines
    assert np.asarray(one.get_xydata()).tolist() == [[0.001, 6], [0.01, 2], [0.1, 2]]
    np.testing.assert_array_equal(np.asarray(other.get_xydata()), [[0.001, 8], [0.01, np.nan], [0.1, 4]])
    (band,) = ax.collections
    corners = band.get_paths()[0].vertices
    assert {(x, y) for x, y in np.asarray(corners).tolist()} >= {(0.001, 5), (0.001, 7), (0.1, 1), (0.1, 3)}
    assert names(ax) == ["train", "validation (1 of 3 NaN or infinite)"]
    assert (ax.get_xscale(), ax.get_xlabel(), ax.get_ylabel()) == ("log", "learning rate", "mean loss")
    assert plot.validation_curve([0, 1, 1000], [1, 2, 3], [1, 2, 3]).get_xscale() == "linear"
    assert plot.validation_curve([16, 32, 64], [1, 2, 3], [1, 2, 3]).get_xscale() == "linear"
    # The largest numbers have a mean.
    assert np.asarray(plot.validation_curve([1], [[1.5e308] * 3], [1]).lines[0].get_ydata()).tolist() == [1.5e308]
