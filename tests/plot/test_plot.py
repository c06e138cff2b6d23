import inspect
import io
import itertools
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

import funcnn as fn
from funcnn import plot

HISTORY = [
    {"epoch": 0, "train_loss": 2.3, "validation_loss": 2.4, "train_accuracy": 0.1, "rate": 0.001},
    {"epoch": 1, "train_loss": 0.5, "train_accuracy": 0.8, "rate": 0.001},
    {"epoch": 2, "train_loss": 0.2, "validation_loss": 0.3, "train_accuracy": 0.9, "rate": 0.001},
]
MATRIX = np.array([[9, 1, 0], [0, 10, 0], [0, 0, 0]])


def test_learning_curves_draws_both_parts() -> None:
    ax = plot.learning_curves(HISTORY)
    train, validation = ax.lines
    np.testing.assert_array_equal(train.get_xydata(), [[0, 2.3], [1, 0.5], [2, 0.2]])
    np.testing.assert_array_equal(validation.get_xydata(), [[0, 2.4], [2, 0.3]])
    assert (to_hex(train.get_color()), to_hex(validation.get_color())) == ("#0072b2", "#d55e00")
    legend = ax.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["train", "validation"]
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title("left")) == ("epoch", "loss", "Learning curves")


def test_learning_curves_works_without_validation() -> None:
    ax = plot.learning_curves(HISTORY, "accuracy")
    assert [line.get_label() for line in ax.lines] == ["train"]
    assert ax.get_ylabel() == "accuracy"


@pytest.mark.parametrize("epochs", [1, 2, 300])
def test_epoch_ticks_are_integers_and_nothing_overlaps(epochs: int) -> None:
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
def test_the_error_for_an_unknown_metric_names_the_known_ones(
    history: list[dict[str, float]], metric: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        plot.learning_curves(history, metric)


def test_confusion_matrix_shows_counts_and_fractions_of_rows() -> None:
    ax = plot.confusion_matrix(MATRIX, ["cat", "dog", "automobile"])
    cells = {text.get_position(): text.get_text() for text in ax.texts}
    assert cells[0, 0] == "9\n90.0 %"
    assert cells[1, 0] == "1\n10.0 %"  # predicted class 1, to the right; true class 0, on top
    assert cells[1, 1] == "10\n100.0 %"
    assert sorted(cells.values()).count("0") == 6  # a class without examples has no fractions
    np.testing.assert_array_equal(ax.images[0].get_array(), [[0.9, 0.1, 0], [0, 1, 0], [0, 0, 0]])
    for labels in (ax.get_xticklabels(), ax.get_yticklabels()):
        assert [label.get_text() for label in labels] == ["cat", "dog", "automobile"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted class", "true class")
    assert ax.get_title().startswith("Confusion matrix")


def test_a_confusion_matrix_of_many_classes_has_colours_only() -> None:
    names = [f"class {number}" for number in range(1000)]
    ax = plot.confusion_matrix(np.eye(1000, dtype=int) * 5, names)
    assert not ax.texts
    assert ax.images[0].get_array().shape == (1000, 1000)
    for labels in (ax.get_xticklabels(), ax.get_yticklabels()):
        assert [label.get_text() for label in labels] == names[::40]
    assert ax.figure.bbox.size.max() < 2000  # pixels
    ax.figure.savefig(io.BytesIO())
    assert len(plot.confusion_matrix(np.eye(50, dtype=int)).texts) == 2500


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
        (np.ones((3, 2, 2), int), None, ValueError, r"got shape \(3, 2, 2\); draw one label, matrix\[0\]"),
        (MATRIX > 0, None, TypeError, "expected counts, integers or floats, got bool"),
        (MATRIX / np.array([[1], [1], [np.nan]]), None, ValueError, "NaN or infinite numbers in the counts"),
        (-MATRIX, None, ValueError, "not negative, got -10"),
        (MATRIX, ["cat", "dog"], ValueError, r"expected 3 class names.*got 2"),
    ],
)
def test_an_invalid_confusion_matrix_raises(
    matrix: np.ndarray, names: list[str] | None, error: type, message: str
) -> None:
    with pytest.raises(error, match=message):
        plot.confusion_matrix(matrix, names)


def test_norms_draws_a_line_for_each_path_at_its_steps() -> None:
    records = [{"step": 0, "a/b": 0.1, "a/w": 2.0}, {"step": 10, "a/b": 0.2, "a/w": 1.0, "c/w": 5.0}]
    ax = plot.norms(records, "update")
    drawn = {str(line.get_label()): np.asarray(line.get_xydata()).tolist() for line in ax.lines}
    assert drawn == {"a/b": [[0, 0.1], [10, 0.2]], "a/w": [[0, 2], [10, 1]], "c/w": [[10, 5]]}
    b, w, other = ax.lines
    assert (b.get_color() == w.get_color(), w.get_color() == other.get_color()) == (True, False)
    assert (b.get_linestyle() == w.get_linestyle(), w.get_linestyle() == other.get_linestyle()) == (False, True)
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_yscale()) == ("step", "update norm", "log")
    # Colours repeat after seven layers, then with markers.
    many = plot.norms([{f"dense_{number}/w": 1.0 for number in range(9)}] * 2).lines
    assert len({(line.get_color(), line.get_marker()) for line in many}) == 9
    # Without steps the records are numbered; if no norm is above zero, the scale is linear.
    ax = plot.norms([{"w": 0.0}, {"w": 0.0}])
    assert np.asarray(ax.lines[0].get_xydata()).tolist() == [[0, 0], [1, 0]]
    assert ax.get_yscale() == "linear"


@pytest.mark.parametrize("records", [[], [{}], [{"step": 3}]])
def test_norms_without_records_raises(records: list[dict[str, float]]) -> None:
    with pytest.raises(ValueError, match=r"expected records such as tree.norms\(grads\)"):
        plot.norms(records)


def read_only(array: Any) -> Any:
    array = np.asarray(array)
    array.flags.writeable = False
    return array


MODEL = fn.serial(
    fn.conv2d(10, 3), fn.residual(fn.dropout(0.5), fn.relu), fn.concat(fn.relu, fn.named("half", fn.avg_pool2d(1))),
    fn.add(fn.flatten, fn.flatten), fn.dense(3),
)  # fmt: skip
PARAMS = fn.tree.map(read_only, MODEL.init((8, 8, 2), 0))
RNG = np.random.default_rng(0)
EXAMPLE = read_only(RNG.standard_normal((8, 8, 2)).astype(np.float32))
IMAGES = read_only(RNG.random((11, 8, 8, 1)))
POINTS = read_only(RNG.standard_normal((30, 2)).astype(np.float32))
CLASSES = read_only(np.arange(30) % 3)
LINEAR = fn.dense(3)
RECORDS = [{"dense_0/w": 1.0, "residual_0/conv2d_0/b": 0.1}, {"dense_0/w": 0.5, "residual_0/conv2d_0/b": 0.2}]
NAMES = ["aeroplane", "automobile", "ship"]

SCORES = read_only(RNG.random((30, 3)))
PROBABILITIES = read_only(SCORES / SCORES.sum(axis=1, keepdims=True))
LABELS = read_only((SCORES + RNG.random((30, 3)) > 1).astype(int))

PICTURES: dict[str, Callable[..., Axes]] = {
    "learning_curves": partial(plot.learning_curves, HISTORY),
    "norms": partial(plot.norms, RECORDS),
    "validation_curve": partial(plot.validation_curve, [0.1, 0.001, 0.01], [0.1, 0.3, 0.2], read_only(SCORES[:3])),
    "validation_curve of one": partial(plot.validation_curve, [16], [0.5], [[0.7]], "units", "accuracy"),
    "roc_curve": partial(plot.roc_curve, PROBABILITIES, CLASSES, NAMES),
    "roc_curve of one score": partial(plot.roc_curve, SCORES[:, 0], LABELS[:, :1]),
    "precision_recall_curve": partial(plot.precision_recall_curve, SCORES, LABELS, NAMES, multilabel=True),
    "calibration_curve": partial(plot.calibration_curve, PROBABILITIES, CLASSES),
    "calibration_curve of labels": partial(plot.calibration_curve, SCORES, LABELS, NAMES, bins=5, multilabel=True),
    "confusion_matrix": partial(plot.confusion_matrix, read_only(MATRIX)),
    "image_grid": partial(plot.image_grid, IMAGES, CLASSES[:11], read_only(CLASSES[1:12]), NAMES),
    "image_grid of one": partial(plot.image_grid, IMAGES[:1], CLASSES[:1]),
    "heat_map": partial(plot.heat_map, IMAGES[0], read_only(RNG.random((4, 4)))),
    "filtered_image": partial(plot.filtered_image, IMAGES[0], {"one": read_only(np.eye(3)), "two": -np.eye(3)}),
    "scatter": partial(plot.scatter, POINTS, CLASSES, NAMES),
    "decision_boundary": partial(plot.decision_boundary, LINEAR, LINEAR.init((2,), 0), POINTS, CLASSES),
    "filters": partial(plot.filters, PARAMS["conv2d_0"]["w"]),
    "filters of two": partial(plot.filters, PARAMS["conv2d_0"]["w"][:, :, :, :2]),
    "dense_weights": partial(plot.dense_weights, PARAMS["dense_0"]["w"]),
    "dense_weights as images": partial(plot.dense_weights, read_only(RNG.random((64, 23))), (8, 8)),
    "dense_weights in channels": partial(plot.dense_weights, read_only(RNG.random((48, 7))), (4, 4, 3)),
    "feature_maps": partial(plot.feature_maps, MODEL, PARAMS, EXAMPLE, rng=0, channels=3),
    "feature_maps of a vector": partial(plot.feature_maps, LINEAR, LINEAR.init((2,), 0), POINTS[0]),
    "diagram": partial(plot.diagram, MODEL, PARAMS, (8, 8, 2)),
    "diagram of one layer": partial(plot.diagram, fn.relu, {}, (2,)),
}


def test_the_table_has_every_plot() -> None:
    public = {name for name, value in vars(plot).items() if inspect.isfunction(value)}
    assert public == {name.split()[0] for name in PICTURES}


@pytest.mark.parametrize("name", PICTURES)
def test_plots_are_drawn_on_the_axes_passed_and_unknown_to_pyplot(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "matplotlib.pyplot", raising=False)
    figure = Figure()
    left, right = figure.subplots(1, 2)
    assert PICTURES[name](ax=left) is left
    assert figure.axes[:2] == [left, right]
    assert left.has_data()
    assert not right.has_data()
    assert PICTURES[name]().figure is not figure
    assert "matplotlib.pyplot" not in sys.modules


@pytest.mark.parametrize("name", PICTURES)
def test_no_text_is_cut_off_or_overlaps_another(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    written: dict[str, Bbox] = {}
    draw_text = Text.draw

    def recording(text: Text, renderer: Any) -> None:
        if text.get_text():
            written[f"{text.get_text()} {id(text)}"] = text.get_window_extent(renderer)
            assert float(text.get_fontsize()) >= 6  # points: legible at 100 dpi
        draw_text(text, renderer)

    ax = PICTURES[name]()
    ax.figure.savefig(io.BytesIO(), dpi=100)  # the layout is final now
    monkeypatch.setattr(Text, "draw", recording)
    picture = io.BytesIO()
    ax.figure.savefig(picture, dpi=100)
    assert picture.getvalue().startswith(b"\x89PNG")
    assert written
    width, height = ax.figure.get_size_inches() * 100
    for text, box in written.items():
        # Boxes include the empty space above and below letters: a tolerance of two pixels.
        assert -2 <= box.x0 < box.x1 <= width + 2, text
        assert -2 <= box.y0 < box.y1 <= height + 2, text
    for (one, a), (other, b) in itertools.combinations(written.items(), 2):
        apart = min(a.x1, b.x1) - max(a.x0, b.x0) <= 2 or min(a.y1, b.y1) - max(a.y0, b.y0) <= 2
        assert apart, (one, other)
