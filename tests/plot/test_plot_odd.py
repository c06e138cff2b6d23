"""Odd input of all plots: names that are formulas to matplotlib, numbers from a log, gaps, weights, narrow images."""

import csv
import io
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

import funcnn as fn
from funcnn import plot
from funcnn.plot.canvas import displayable

RNG = np.random.default_rng(0)
NAMES = ["US$ to CA$", "$x_{$", "a$b", "", "_hidden", r"50 % \alpha & ^_{", "Größe ✓", "two\nlines"]
CLASSES = np.arange(len(NAMES))
POINTS = RNG.standard_normal((len(NAMES), 2)).astype(np.float32)
PLANE = fn.dense(len(NAMES))
CHAIN = fn.serial(fn.named("$x_{$", fn.dense(2)), fn.named("US$ to CA$", fn.relu))
CHAIN_PARAMS = CHAIN.init((3,), 0)
TREE_MODEL = fn.parallel(**{"$a$": fn.relu, "$b$": fn.dense(2)})
TREE_SHAPE = {"$a$": (3,), "$b$": (4,)}
TREE_PARAMS = TREE_MODEL.init(TREE_SHAPE, 0)
ONES = {name: np.ones(shape, np.float32) for name, shape in TREE_SHAPE.items()}


def written(ax: Axes) -> list[str]:
    """All texts of a figure as they are drawn, without the powers of ten that matplotlib writes at ticks itself."""
    ax.figure.savefig(io.BytesIO(), format="png")
    own = [text for text in ax.figure.findobj(Text) if r"\mathdefault" not in text.get_text()]
    drawn = [text._preprocess_math(text.get_text()) for text in own]
    assert not any(is_formula for _, is_formula in drawn)
    return [words for words, _ in drawn]


SCORES, LABELS = RNG.random((9, len(NAMES))), np.eye(9, len(NAMES), dtype=int)

NAMED: dict[str, Any] = {
    "validation_curve": (lambda: plot.validation_curve([1], [2], [3], "$x_{$", "$y_{$"), ["$x_{$", "$y {$"]),
    "roc_curve": (
        lambda: plot.roc_curve(SCORES, LABELS, NAMES, multilabel=True),
        [f"{name} (area {fn.metrics.roc_auc(SCORES[:, c], LABELS[:, c]):.3f})" for c, name in enumerate(NAMES)],
    ),
    "precision_recall_curve": (
        lambda: plot.precision_recall_curve(SCORES, 0 * LABELS + (CLASSES == 0), NAMES, multilabel=True),
        ["US$ to CA$ (average precision 1.000)", *(f"{name} (no example)" for name in NAMES[1:])],
    ),
    "calibration_curve": (
        lambda: plot.calibration_curve(0 * SCORES, LABELS, NAMES, multilabel=True),
        [f"{name} (error 0.111)" for name in NAMES],
    ),
    "learning_curves": (lambda: plot.learning_curves([{"epoch": 0, "train_$x^{$": 1.0}], "$x^{$"), ["$x^{$"]),
    "norms": (lambda: plot.norms([dict.fromkeys(NAMES, 1.0)], "$g$"), [*NAMES, "$g$ norm", "Norms of the $g$s"]),
    "confusion_matrix": (lambda: plot.confusion_matrix(np.eye(len(NAMES), dtype=int), NAMES), NAMES * 2),
    "image_grid": (lambda: plot.image_grid(np.ones((8, 4, 4)), CLASSES, None, NAMES), NAMES),
    "image_grid, wrong": (
        lambda: plot.image_grid(np.ones((1, 4, 4)), CLASSES[:1], CLASSES[1:2], NAMES),
        ["✗ $x_{$,\nnot US$ to CA$"],
    ),
    "filtered_image": (lambda: plot.filtered_image(np.ones((4, 4)), dict.fromkeys(NAMES, np.eye(2))), NAMES),
    "scatter": (lambda: plot.scatter(POINTS, CLASSES, NAMES), NAMES),
    "decision_boundary": (
        lambda: plot.decision_boundary(PLANE, PLANE.init((2,), 0), POINTS, CLASSES, NAMES),
        NAMES,
    ),
    "feature_maps": (
        lambda: plot.feature_maps(CHAIN, CHAIN_PARAMS, np.ones(3, np.float32)),
        ["$x_{$ (dense)\n2\n", "US$ to CA$ (relu)\n2\n"],
    ),
    "feature_maps of a tree": (
        lambda: plot.feature_maps(TREE_MODEL, TREE_PARAMS, ONES),
        ["input of $b$\n4\n1 to 1", "$a$ (relu)\n3\n1 to 1"],
    ),
    "diagram": (lambda: plot.diagram(CHAIN, CHAIN_PARAMS, (3,)), ["dense(2)\n$x_{$, 8 parameters", "relu\nUS$ to CA$"]),
    "diagram of a tree": (lambda: plot.diagram(TREE_MODEL, TREE_PARAMS, TREE_SHAPE), ["{$a$: 3, $b$: 4}"]),
}


@pytest.mark.parametrize("name", NAMED)
def test_names_are_drawn_as_they_are(name: str) -> None:
    draw, expected = NAMED[name]
    texts = written(draw())
    for words in expected:
        assert any(text.startswith(words) for text in texts) if words.endswith("\n") else words in texts, words
    with matplotlib.rc_context({"text.parse_math": False}):
        texts = written(draw())
    assert all(any(text.startswith(words) for text in texts) for words in expected)


def test_names_of_files_that_are_not_utf_8_are_drawn() -> None:
    name = b"caf\xe9".decode(errors="surrogateescape")
    assert "caf?" in written(plot.confusion_matrix(np.eye(2, dtype=int), [name, "tea"]))


def test_every_legend_has_all_names() -> None:
    for ax in (plot.scatter(POINTS, CLASSES, NAMES), plot.norms([dict.fromkeys(NAMES, 1.0)])):
        legend = ax.get_legend()
        assert legend is not None
        assert [text._preprocess_math(text.get_text())[0] for text in legend.get_texts()] == NAMES


def test_a_log_read_as_text_gives_the_same_curves(tmp_path: Path) -> None:
    history = [{"epoch": 0, "train_loss": 15.25, "validation_loss": 9.0}, {"epoch": 1, "train_loss": 9.3}]
    history += [{"epoch": 2, "train_loss": 1e-3, "validation_loss": float("nan")}]
    log = fn.callbacks.csv_log(tmp_path / "log.csv")
    for number in range(3):
        log(history[number], fn.Fit({}, {}, history[: number + 1]))
    with (tmp_path / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rows[1]["validation_loss"] == ""
    for line, same in zip(plot.learning_curves(rows).lines, plot.learning_curves(history).lines, strict=True):
        np.testing.assert_array_equal(line.get_xydata(), same.get_xydata())
        assert line.get_label() == same.get_label()
    numbers = plot.norms([{"step": 10, "w": 2.5}, {"step": 9, "w": 0.5}])
    text = plot.norms([{"step": "10", "w": "2.5"}, {"step": "9", "w": "0.5"}])
    np.testing.assert_array_equal(text.lines[0].get_xydata(), numbers.lines[0].get_xydata())
    # A generator can be read once only.
    assert len(plot.learning_curves(row for row in rows).lines) == 2


def test_a_legend_says_how_many_points_of_a_line_are_missing() -> None:
    nan, infinity = float("nan"), float("inf")
    history = [{"epoch": e, "train_loss": y, "validation_loss": 1.0} for e, y in enumerate([2.0, nan, infinity])]
    labels = [line.get_label() for line in plot.learning_curves(history).lines]
    assert labels == ["train (2 of 3 NaN or infinite)", "validation"]
    ax = plot.norms([{"a/w": nan}, {"a/w": 1.0}, {"a/w": infinity}])
    assert "a/w (2 of 3 NaN or infinite)" in written(ax)
    assert ax.lines[0].get_marker() == "."  # the only point would have no line


def test_a_power_of_ten_above_the_ticks_does_not_cover_the_legend() -> None:
    ax = plot.learning_curves([{"epoch": e, "train_loss": 1e30 * e} for e in range(3)])
    ax.figure.savefig(io.BytesIO())
    legend = ax.get_legend()
    assert legend is not None
    assert ax.yaxis.get_offset_text().get_text() == "1e30"
    assert not ax.yaxis.get_offset_text().get_window_extent().overlaps(legend.get_window_extent())


def cells(matrix: Any) -> list[str]:
    return [text.get_text() for text in plot.confusion_matrix(matrix).texts]


def test_a_weighted_confusion_matrix_has_fractions_of_its_weights() -> None:
    y, labels, weights = np.eye(3)[[0, 1, 1, 2]], np.array([0, 0, 1, 0]), np.array([0.1, 0.2, 0.125, 0.1])
    matrix = fn.metrics.confusion_matrix(y, labels, weights=weights)
    assert cells(matrix) == ["0.1\n25.0 %", "0.2\n50.0 %", "0.1\n25.0 %", "0", "0.125\n100.0 %", "0", "0", "0", "0"]
    shown = plot.confusion_matrix(matrix).images[0].get_array()
    np.testing.assert_allclose(shown, [[0.25, 0.5, 0.25], [0, 1, 0], [0, 0, 0]], rtol=1e-12)
    # Neither the largest nor the smallest numbers change the fractions.
    for scale in (1e-300, 1e308):
        np.testing.assert_allclose(plot.confusion_matrix(matrix * scale).images[0].get_array(), shown, rtol=1e-12)
    assert cells(np.array([[1234567.75]])) == ["1234568\n100.0 %"]
    assert cells(np.array([[2.0**40]])) == ["1.1e+12\n100.0 %"]
    assert cells(np.array([[np.float32(0.1)]])) == ["0.1\n100.0 %"]
    assert cells(np.array([[1234567]])) == ["1234567\n100.0 %"]
    assert cells(np.array([[200, 100]] * 2, np.uint8))[0] == "200\n66.7 %"


@pytest.mark.parametrize("matrix", [np.full((3, 3), 1234567890123), np.full((4, 4), 123456.789)])
def test_long_counts_stay_inside_their_cells(matrix: Any) -> None:
    ax = plot.confusion_matrix(matrix)
    ax.figure.savefig(io.BytesIO(), dpi=100)
    side = ax.get_window_extent().width / len(matrix)
    assert all(max(text.get_window_extent().size) < side for text in ax.texts)


@pytest.mark.parametrize("draw", ["confusion_matrix", "norms", "diagram"])
def test_long_names_leave_room_for_the_plot(draw: str) -> None:
    name = "a name that goes on and on " * 4
    chain = fn.serial(fn.named(name, fn.relu))
    ax = {
        "confusion_matrix": lambda: plot.confusion_matrix(np.eye(3, dtype=int), [name] * 3),
        "norms": lambda: plot.norms([{name: 1.0}]),
        "diagram": lambda: plot.diagram(chain, {}, (3,)),
    }[draw]()
    ax.figure.savefig(io.BytesIO(), dpi=100)  # matplotlib warns if the axes have no room
    assert min(ax.get_window_extent().size) > 90
    if draw == "diagram":
        (text,) = [text for text in ax.texts if name.strip() in text.get_text()]
        assert text.get_window_extent().width < ax.patches[0].get_window_extent().width


def test_an_array_of_three_axes_is_grayscale_images_of_any_width() -> None:
    for width in (1, 2, 3, 4):
        images = RNG.random((5, 6, width))
        ax = plot.image_grid(images, np.zeros(5, int))
        assert [image.get_array().tolist() for image in ax.images] == images.tolist()
        drawn = plot.heat_map(images[0], images[1]).images
        assert [image.get_array().tolist() for image in drawn] == images[:2].tolist()
        assert (
            plot.filtered_image(images[0], {"a": np.ones((1, 1))}).images[0].get_array().tolist() == images[0].tolist()
        )
        maps = plot.feature_maps(fn.relu, {}, images[0].astype(np.float32)).images
        assert maps[0].get_array().tolist() == images[0].astype(np.float32).tolist()
    assert len(plot.image_grid(RNG.random((5, 6, 3))).images) == 5
    assert len(plot.image_grid(RNG.random((3, 3, 3, 3))).images) == 3
    with pytest.raises(ValueError, match=r"of several that are one pixel wide, images\[\.\.\., None\]"):
        plot.image_grid(RNG.random((5, 6, 1)))


def test_a_narrow_image_is_above_its_class() -> None:
    ax = plot.image_grid(RNG.random((2, 9, 3)), np.array([0, 1]))
    for image, text in zip(ax.images, ax.texts, strict=True):
        left, right, _, _ = image.get_extent()
        assert (left + right) / 2 == pytest.approx(text.get_position()[0])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
def test_images_of_huge_numbers_go_from_black_to_white(dtype: Any) -> None:
    largest = np.finfo(dtype).max
    shown = displayable("plot", np.array([[[largest, -largest, 0]]], dtype))
    np.testing.assert_allclose(shown, [[[1, 0, 0.5]]])


def test_numbers_of_classes_do_not_matter() -> None:
    labels = np.array([0, 10**12, 2])
    assert written(plot.scatter(POINTS[:3], labels)).count("1000000000000") == 1
    assert [text.get_text() for text in plot.image_grid(np.ones((3, 4, 4)), labels).texts][1] == "1000000000000"


def test_points_on_a_line_have_axes_that_are_not_flat() -> None:
    ax = plot.scatter(np.stack([np.arange(9.0), np.zeros(9)], axis=1), np.zeros(9, int))
    ax.figure.savefig(io.BytesIO(), dpi=100)
    width, height = ax.get_window_extent().size
    assert height > 0.09 * width
    assert ax.get_ylim()[0] < 0 < ax.get_ylim()[1]
    assert ax.get_title() == "9 points"
    assert plot.scatter(POINTS[:1], CLASSES[:1]).get_title() == "1 point"


@pytest.mark.parametrize("x", [[[0, 0], [3, 4]], np.array([[0, 0], [3, 4]]), np.array([[0, 1], [1, 0]], np.float16)])
def test_a_decision_boundary_of_points_of_any_numbers(x: Any) -> None:
    params = {"w": np.eye(2, dtype=np.float32), "b": np.array([0.0, 0.001], np.float32)}
    ax = plot.decision_boundary(fn.dense(2), params, x, CLASSES[:2])
    left, right, bottom, top = ax.images[0].get_extent()
    first, second = np.linspace(left, right, 200), np.linspace(bottom, top, 200)
    np.testing.assert_array_equal(ax.images[0].get_array(), second[:, None] + 0.001 > first)


def test_infinite_scores_have_regions_and_nan_has_none() -> None:
    def masked(scores: Any) -> Any:
        return lambda shape, rng: {}, lambda params, x: (scores(x), lambda dy: ({}, x))

    def one_is_never(x: Any) -> Any:
        return np.stack([x[:, 0], -x[:, 0], np.full(len(x), -np.inf)], axis=1)

    x = np.array([[-1.0, 0.0], [1.0, 0.0]])
    ax = plot.decision_boundary(masked(one_is_never), {}, x, np.array([0, 1]))
    assert np.unique(ax.images[0].get_array()).tolist() == [0, 1]
    with pytest.raises(ValueError, match="the model's outputs contain NaN"):
        plot.decision_boundary(masked(lambda x: x * np.nan), {}, x, np.array([0, 1]))


def test_feature_maps_mark_nan_and_infinity() -> None:
    x = np.array([[[0.0], [np.nan]], [[2.0], [np.inf]]], np.float32)
    ax = plot.feature_maps(fn.identity, {}, x, [""])
    grey, drawn = ax.images[:2]
    assert np.unique(grey.get_array()).tolist() == [0]
    assert drawn.get_array().filled(-1).tolist() == [[0, -1], [2, -1]]
    assert drawn.get_clim() == (0, 2)
    assert "input\n2 × 2 × 1\n0 to 2, 2 NaN or infinite" in written(ax)


@pytest.mark.parametrize("heat", [-np.ones((2, 2)), np.array([[-2.0, -1.0], [-1.0, -1.0]])])
def test_a_negative_heat_map_has_a_scale_that_includes_zero(heat: Any) -> None:
    low, high = plot.heat_map(np.ones((4, 4)), heat).images[1].get_clim()
    assert low == heat.min()
    assert high > low
    assert high >= 0


def test_styles_of_the_user_do_not_turn_images_upside_down() -> None:
    with matplotlib.rc_context({"image.origin": "lower"}):
        image = np.array([[0.0, 0.0], [1.0, 1.0]])
        for ax in (plot.image_grid(image[None]), plot.heat_map(image, image), plot.filters(image[..., None, None])):
            assert all(picture.origin == "upper" for picture in ax.images)
            assert ax.get_ylim()[0] > ax.get_ylim()[1]


def test_no_plot_changes_the_settings_of_matplotlib() -> None:
    before = dict(matplotlib.rcParams)
    for draw, _ in NAMED.values():
        draw()
    assert dict(matplotlib.rcParams) == before


REMOVED = Figure().subplots()
REMOVED.remove()
WRONG_AXES = {
    "axes of no figure": REMOVED,
    "a Figure": Figure(),
    "a ndarray": Figure().subplots(1, 2),
    "a int": 5,
    "polar axes": Figure().add_subplot(projection="polar"),
}
DRAW: dict[str, Any] = {
    "learning_curves": lambda ax: plot.learning_curves([{"epoch": 0, "train_loss": 1.0}], ax=ax),
    "norms": lambda ax: plot.norms([{"w": 1.0}], ax=ax),
    "confusion_matrix": lambda ax: plot.confusion_matrix(np.eye(2, dtype=int), ax=ax),
    "image_grid": lambda ax: plot.image_grid(np.ones((2, 4, 4)), ax=ax),
    "heat_map": lambda ax: plot.heat_map(np.ones((4, 4)), np.ones((4, 4)), ax=ax),
    "filtered_image": lambda ax: plot.filtered_image(np.ones((4, 4)), {"a": np.eye(2)}, ax=ax),
    "scatter": lambda ax: plot.scatter(POINTS, CLASSES, ax=ax),
    "decision_boundary": lambda ax: plot.decision_boundary(PLANE, PLANE.init((2,), 0), POINTS, CLASSES, ax=ax),
    "filters": lambda ax: plot.filters(np.ones((3, 3, 1, 2)), ax=ax),
    "dense_weights": lambda ax: plot.dense_weights(np.ones((4, 2)), ax=ax),
    "dense_weights as images": lambda ax: plot.dense_weights(np.ones((4, 2)), (2, 2), ax=ax),
    "feature_maps": lambda ax: plot.feature_maps(fn.relu, {}, np.ones(3, np.float32), ax=ax),
    "diagram": lambda ax: plot.diagram(fn.relu, {}, (3,), ax=ax),
}


@pytest.mark.parametrize("name", DRAW)
def test_what_is_not_plain_axes_is_named(name: str) -> None:
    for got, ax in WRONG_AXES.items():
        with pytest.raises(TypeError, match=f"{name.split()[0]}: expected ax as plain matplotlib axes, .* got {got}"):
            DRAW[name](ax)
