import io
import sys

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from funcnn import plot

HISTORY = [
    {"epoch": 0, "train_loss": 2.3, "validation_loss": 2.4, "train_accuracy": 0.1, "rate": 0.001},
    {"epoch": 1, "train_loss": 0.5, "train_accuracy": 0.8, "rate": 0.001},
    {"epoch": 2, "train_loss": 0.2, "validation_loss": 0.3, "train_accuracy": 0.9, "rate": 0.001},
]
MATRIX = np.array([[9, 1, 0], [0, 10, 0], [0, 0, 0]])


def test_learning_curves_draw_both_parts() -> None:
    ax = plot.learning_curves(HISTORY)
    train, validation = ax.lines
    np.testing.assert_array_equal(train.get_xydata(), [[0, 2.3], [1, 0.5], [2, 0.2]])
    np.testing.assert_array_equal(validation.get_xydata(), [[0, 2.4], [2, 0.3]])
    assert (to_hex(train.get_color()), to_hex(validation.get_color())) == ("#0072b2", "#d55e00")
    legend = ax.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["train", "validation"]
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title("left")) == ("epoch", "loss", "Learning curves")


def test_learning_curves_do_without_validation() -> None:
    ax = plot.learning_curves(HISTORY, "accuracy")
    assert [line.get_label() for line in ax.lines] == ["train"]
    assert ax.get_ylabel() == "accuracy"


@pytest.mark.parametrize("epochs", [1, 2, 300])
def test_epochs_are_marked_by_whole_numbers_and_nothing_overlaps(epochs: int) -> None:
    ax = plot.learning_curves([{"epoch": e, "train_loss": 1.0, "validation_loss": 2.0} for e in range(epochs)])
    ax.figure.savefig(io.BytesIO())
    assert all(tick == round(tick) for tick in ax.get_xticks())
    legend = ax.get_legend()
    assert legend is not None
    frame, box, title = ax.get_window_extent(), legend.get_window_extent(), ax._left_title.get_window_extent()
    assert frame.y1 <= box.y0 < box.y1 <= title.y0


@pytest.mark.parametrize(
    ("history", "metric", "message"),
    [
        (HISTORY, "f1", "no metric 'f1'; it has 'accuracy', 'loss'"),
        (HISTORY, "rate", "no metric 'rate'; it has 'accuracy', 'loss'"),
        ([], "loss", "no metric 'loss'; it has none at all"),
    ],
)
def test_an_unknown_metric_names_those_that_exist(history: list[dict[str, float]], metric: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plot.learning_curves(history, metric)


def test_confusion_matrix_shows_counts_and_shares_of_rows() -> None:
    ax = plot.confusion_matrix(MATRIX, ["cat", "dog", "automobile"])
    cells = {text.get_position(): text.get_text() for text in ax.texts}
    assert cells[0, 0] == "9\n90.0 %"
    assert cells[1, 0] == "1\n10.0 %"  # predicted class 1, to the right; true class 0, on top
    assert cells[1, 1] == "10\n100.0 %"
    assert sorted(cells.values()).count("0") == 6  # a class without examples has no shares
    np.testing.assert_array_equal(ax.images[0].get_array(), [[0.9, 0.1, 0], [0, 1, 0], [0, 0, 0]])
    for labels in (ax.get_xticklabels(), ax.get_yticklabels()):
        assert [label.get_text() for label in labels] == ["cat", "dog", "automobile"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted class", "true class")
    assert ax.get_title().startswith("Confusion matrix")


@pytest.mark.parametrize("classes", [1, 2, 10, 20])
def test_texts_stay_inside_their_cells(classes: int) -> None:
    ax = plot.confusion_matrix(np.full((classes, classes), 99999))
    ax.figure.savefig(io.BytesIO(), dpi=100)
    side = ax.get_window_extent().width / classes
    assert all(max(text.get_window_extent().size) < side for text in ax.texts)
    assert all(float(text.get_fontsize()) >= 7 for text in ax.texts)  # points: legible at 100 dpi


@pytest.mark.parametrize(
    ("matrix", "names", "error", "message"),
    [
        (MATRIX[:2], None, ValueError, r"shape \(classes, classes\), got shape \(2, 3\)"),
        (np.zeros((0, 0), int), None, ValueError, r"got shape \(0, 0\)"),
        (MATRIX / 10, None, TypeError, "expected integer counts, got float64"),
        (-MATRIX, None, ValueError, "not negative, got -10"),
        (MATRIX, ["cat", "dog"], ValueError, r"expected 3 class names.*got 2"),
    ],
)
def test_what_is_no_confusion_matrix_is_refused(
    matrix: np.ndarray, names: list[str] | None, error: type, message: str
) -> None:
    with pytest.raises(error, match=message):
        plot.confusion_matrix(matrix, names)


def test_pictures_are_drawn_where_asked_and_pyplot_never_knows() -> None:
    imported_before = "matplotlib.pyplot" in sys.modules
    left, right = Figure().subplots(1, 2)
    assert plot.learning_curves(HISTORY, ax=left) is left
    assert plot.confusion_matrix(MATRIX, ax=right) is right
    for ax in (plot.learning_curves(HISTORY), plot.confusion_matrix(MATRIX)):
        picture = io.BytesIO()
        ax.figure.savefig(picture)
        assert picture.getvalue().startswith(b"\x89PNG")
    assert ("matplotlib.pyplot" in sys.modules) == imported_before
