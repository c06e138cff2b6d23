"""Pictures of a model's inside: the input and the output of each layer, and the wiring as boxes and arrows."""

import itertools
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import FancyBboxPatch
from matplotlib.transforms import Bbox

import funcnn as fn
from funcnn import plot
from funcnn.plot.layered import Box, layered

MODEL = fn.serial(fn.conv2d(3, 3), fn.max_pool2d(2), fn.dropout(0.5), fn.flatten, fn.dense(4))
PARAMS = MODEL.init((8, 8, 1), 0)
IMAGE = np.random.default_rng(0).standard_normal((8, 8, 1)).astype(np.float32)


def arrays(ax: Axes) -> list[Any]:
    return [image.get_array() for image in ax.images]


def notes(ax: Axes) -> list[list[str]]:
    return [label.get_text().split("\n") for label in ax.get_yticklabels()]


def test_feature_maps_show_the_output_of_every_layer_in_training_too() -> None:
    ax = plot.feature_maps(MODEL, PARAMS, IMAGE, rng=5)
    outputs = fn.outputs(MODEL, PARAMS, IMAGE[None], rng=5)
    assert [note[0] for note in notes(ax)] == ["input", "conv2d_0", "max_pool2d_0", "dropout_0", "flatten_0", "dense_0"]
    assert [note[1] for note in notes(ax)] == ["8 × 8 × 1", "6 × 6 × 3", "3 × 3 × 3", "3 × 3 × 3", "27", "4"]
    shown = iter(arrays(ax))
    np.testing.assert_array_equal(next(shown), IMAGE[..., 0])
    for path in ("conv2d_0", "max_pool2d_0", "dropout_0"):
        for channel in range(3):
            np.testing.assert_array_equal(next(shown), outputs[path][0, ..., channel])
    np.testing.assert_array_equal(next(shown), outputs["flatten_0"])
    np.testing.assert_array_equal(next(shown), outputs["dense_0"])
    assert (outputs["dropout_0"] == 0).any()
    low, high = outputs["conv2d_0"].min(), outputs["conv2d_0"].max()
    assert {image.get_clim() for image in ax.images[1:4]} == {(low, high)}
    assert notes(ax)[1][2] == f"{low:.3g} to {high:.3g}"


def test_feature_maps_of_one_layer_show_its_input_and_its_output() -> None:
    ax = plot.feature_maps(MODEL, PARAMS, IMAGE, ["dropout_0"], rng=5, channels=2)
    outputs = fn.outputs(MODEL, PARAMS, IMAGE[None], rng=5)
    assert [note[:2] for note in notes(ax)] == [["input", "3 × 3 × 3, 2 drawn"], ["dropout_0", "3 × 3 × 3, 2 drawn"]]
    drawn = [outputs[path][0, ..., channel] for path in ("max_pool2d_0", "dropout_0") for channel in (0, 1)]
    for shown, expected in zip(arrays(ax), drawn, strict=True):
        np.testing.assert_array_equal(shown, expected)


def test_feature_maps_of_branches_repeat_their_common_input() -> None:
    model = fn.serial(fn.relu, fn.add(fn.tanh, fn.named("same", fn.identity)))
    ax = plot.feature_maps(model, {}, IMAGE)
    heads = [note[0] for note in notes(ax)]
    assert heads == ["input", "relu_0", "add_0/tanh_0", "input of add_0/same", "add_0/same (identity)"]


def test_long_vectors_are_folded_and_nothing_is_lost() -> None:
    vector = np.arange(1, 1001, dtype=np.float32)
    folded = arrays(plot.feature_maps(fn.relu, {}, vector, [""]))[0]
    assert folded.shape == (8, 125)
    assert folded.reshape(-1).tolist() == vector.tolist()
    # The last row is not full: nothing is drawn in the rest of it.
    folded = arrays(plot.feature_maps(fn.relu, {}, vector[:70], [""]))[0]
    assert folded.shape == (2, 64)
    assert folded.compressed().tolist() == vector[:70].tolist()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"paths": ["dense_7"]}, r"no layer has the path \['dense_7'\]; there are \['conv2d_0', "),
        ({"paths": []}, "no layer has the path"),
        ({"channels": 0}, "channels must be 1 or more, got 0"),
    ],
)
def test_feature_maps_refuse_unknown_paths_and_no_channels(options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plot.feature_maps(MODEL, PARAMS, IMAGE, **options)


def test_outputs_returns_the_output_at_every_path() -> None:
    model = fn.serial(fn.residual(fn.dense(3), fn.tanh), fn.named("head", fn.dense(2)))
    params, x = model.init((3,), 0), np.ones((5, 3), np.float32)
    outputs = fn.outputs(model, params, x)
    assert list(outputs) == ["residual_0/dense_0", "residual_0/tanh_0", "residual_0", "head", ""]
    inner = x @ params["residual_0"]["dense_0"]["w"]
    # Both multiply the same matrices in float32, where sums of 3 products differ by a few 1e-7.
    np.testing.assert_allclose(outputs["residual_0/dense_0"], inner, rtol=1e-6)
    np.testing.assert_allclose(outputs["residual_0"], x + np.tanh(inner), rtol=1e-6)
    np.testing.assert_array_equal(outputs["head"], model.apply(params, x)[0])


def alignment(text: Any) -> str:
    return str(text.get_horizontalalignment())


def boxes(ax: Axes) -> dict[str, tuple[float, float]]:
    """The middle of each box by its text's first and last line; shapes are not in boxes."""
    return {
        text.get_text(): text.get_position() for text in ax.texts if text.get_text() and alignment(text) == "center"
    }


def rectangles_of(ax: Axes) -> list[FancyBboxPatch]:
    return [patch for patch in ax.patches if isinstance(patch, FancyBboxPatch)]


def shapes(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.texts if text.get_text() and alignment(text) == "left"]


def test_diagram_of_a_chain_has_a_box_for_each_layer_and_a_shape_on_each_arrow() -> None:
    ax = plot.diagram(MODEL, PARAMS, (8, 8, 1))
    found = boxes(ax)
    assert list(found) == [
        "conv2d(3, 3)\nconv2d_0, 30 parameters", "max_pool2d(2)\nmax_pool2d_0", "dropout(0.5)\ndropout_0",
        "flatten\nflatten_0", "dense(4)\ndense_0, 112 parameters",
    ]  # fmt: skip
    assert shapes(ax) == ["8 × 8 × 1", "6 × 6 × 3", "3 × 3 × 3", "3 × 3 × 3", "27", "4"]
    assert {x for x, _ in found.values()} == {0}
    heights = [y for _, y in found.values()]
    assert heights == sorted(heights)
    assert len(ax.patches) == 5
    assert len({patch.get_facecolor() for patch in ax.patches}) == 2  # with parameters and without


def test_diagram_of_branches_and_of_a_residual() -> None:
    model = fn.serial(fn.residual(fn.dense(3), fn.tanh), fn.concat(fn.dense(2), fn.identity), fn.add(fn.relu, fn.tanh))
    ax = plot.diagram(model, model.init((3,), 0), (3,))
    found = boxes(ax)
    assert {"+", "concat"} <= set(found)
    first, second = found["dense(2)\nconcat_0/dense_0, 8 parameters"], found["identity\nconcat_0/identity_0"]
    assert first[0] == -second[0] < 0
    assert found["concat"][0] == 0
    assert found["concat"][1] > first[1]
    # The residual's skip connection is a line to the right of its layers, from the input to the plus.
    right = max(patch.get_x() + patch.get_width() for patch in rectangles_of(ax)[:2])
    around = [line for line in ax.lines if np.asarray(line.get_xydata())[:, 0].max() > right]
    assert around
    assert shapes(ax) == ["3", "3", "3", "3", "3", "2", "3", "5", "5", "5", "5"]


def test_diagram_draws_a_combinator_without_wiring_as_one_box_and_uncalibrated_norms_too() -> None:
    @fn.layer
    def mine(*layers: Any) -> Any:
        inner = fn.serial(*layers)
        return fn.Layer(inner.init, inner.apply, children=inner.children)

    norm = fn.serial(fn.batch_norm()).init((3,), 0)
    ax = plot.diagram(fn.serial(mine(fn.relu, fn.batch_norm())), {"mine_0": norm}, (3,))
    assert list(boxes(ax)) == ["mine(relu, batch_norm())\nmine_0, 12 parameters"]


def test_diagram_raises_the_errors_of_the_model() -> None:
    with pytest.raises(ValueError, match="expected 1 channels"):
        plot.diagram(MODEL, PARAMS, (8, 8, 2))


# Any wiring

ADD, CONCAT = fn.merge("add"), fn.merge("concat")
DIAMOND = fn.graph(
    {
        "stem": (fn.dense(4), "input"),
        "left": (fn.dense(4), "stem"),
        "right": (fn.tanh, "stem"),
        "join": (CONCAT, ("left", "right")),
        "after": (fn.dense(4), "join"),
        "out": (ADD, ("after", "stem", "input")),
    },
    output="out",
)
TOWERS = fn.graph(
    {
        "a": (fn.serial(fn.dense(4), fn.residual(fn.dense(4), fn.relu), fn.dense(4)), "input"),
        "b": (fn.residual(fn.add(fn.dense(4), fn.identity, fn.tanh)), "input"),
        "gate": (fn.sigmoid, "b"),
        "y": (fn.merge("multiply"), ("a", "gate")),
        "z": (CONCAT, ("y", "b", "input")),
    },
    output="z",
)
DENSE_BLOCK = fn.graph(
    {
        "c1": (fn.dense(4), "input"),
        "m1": (CONCAT, ("input", "c1")),
        "c2": (fn.dense(4), "m1"),
        "m2": (CONCAT, ("input", "c1", "c2")),
        "c3": (fn.dense(4), "m2"),
        "m3": (CONCAT, ("input", "c1", "c2", "c3")),
    },
    output="m3",
)
LONG_AND_SHORT = fn.add(fn.serial(fn.dense(4), fn.relu, fn.dense(4)), fn.dense(4), fn.identity)
NESTED = fn.serial(fn.residual(fn.serial(fn.dense(4), fn.residual(fn.relu, fn.dense(4)))), fn.dense(2))
U_NET = fn.graph(
    {
        "down1": (fn.conv2d(32, 3, padding="same"), "input"),
        "pool1": (fn.max_pool2d(2), "down1"),
        "down2": (fn.conv2d(64, 3, padding="same"), "pool1"),
        "pool2": (fn.max_pool2d(2), "down2"),
        "bottom": (fn.upsample2d(2), "pool2"),
        "join2": (CONCAT, ("bottom", "down2")),
        "up": (fn.upsample2d(2), "join2"),
        "join1": (CONCAT, ("up", "down1", "input")),
    },
    output="join1",
)
WIRED = {"diamond": DIAMOND, "towers": TOWERS, "dense block": DENSE_BLOCK, "add": LONG_AND_SHORT, "nested": NESTED}


def random_graph(seed: int) -> fn.Layer:
    """Layers with one input and merges with several, at random."""
    random = np.random.default_rng(seed)
    names: list[str] = ["input"]
    nodes: dict[str, Any] = {}
    for number in range(random.integers(2, 12)):
        count = min(len(names), int(random.choice([1, 1, 1, 2, 3])))
        inputs = tuple(random.choice(names, count, replace=False).tolist())
        name = f"n{number}" * int(random.choice([1, 4]))
        nodes[name] = (ADD if count > 1 else fn.dense(4), inputs)
        names.append(name)
    used = {source for _, inputs in nodes.values() for source in inputs}
    ends = tuple(name for name in nodes if name not in used)
    nodes["out"] = (ADD if len(ends) > 1 else fn.relu, ends)
    return fn.graph(nodes, "out")


def drawn(model: fn.Layer, shape: tuple[int, ...] = (4,)) -> Axes:
    return plot.diagram(model, model.init(shape, 0), shape)


def arrows(ax: Axes) -> dict[str, Any]:
    """The points of each arrow by its ends."""
    found = {str(line.get_gid()): np.asarray(line.get_xydata()) for line in ax.lines}
    assert len(found) == len(ax.lines)
    return found


def text_boxes(ax: Axes) -> dict[int, tuple[str, Bbox]]:
    """Each text with the rectangle that it covers, in the coordinates of the axes."""
    figure: Any = ax.figure
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    inverted = ax.transData.inverted()
    texts = [text for text in ax.texts if text.get_text()]
    return {
        number: (text.get_text(), text.get_window_extent(canvas.get_renderer()).transformed(inverted))
        for number, text in enumerate(texts)
    }


def overlap(a: Bbox, b: Bbox, by: float = 1e-6) -> bool:
    width = min(a.xmax, b.xmax) - max(a.xmin, b.xmin)
    height = min(a.ymax, b.ymax) - max(a.ymin, b.ymin)
    return width > by and height > by


def parts(points: Any) -> list[Bbox]:
    """The parts of an arrow as rectangles as thin as a line."""
    for (x, y), (next_x, next_y) in itertools.pairwise(points):
        assert x == next_x or y == next_y, "arrows are horizontal or vertical"
    ends = itertools.pairwise(points)
    return [Bbox([np.minimum(a, b) - 1e-4, np.maximum(a, b) + 1e-4]) for a, b in ends]


@pytest.mark.parametrize("model", WIRED.values(), ids=WIRED)
def test_nothing_in_a_diagram_covers_anything_else(model: fn.Layer) -> None:
    ax = drawn(model)
    check_that_nothing_overlaps(ax)
    check_that_no_arrows_coincide(ax)


def test_long_shapes_have_room_beside_the_lines() -> None:
    ax = drawn(U_NET, (16, 16, 1))
    check_that_nothing_overlaps(ax)
    check_that_no_arrows_coincide(ax)
    assert shapes(ax).count("16 × 16 × 32") == 2
    assert shapes(ax).count("8 × 8 × 64") == 3


def check_that_no_arrows_coincide(ax: Axes) -> None:
    """Arrows with a common end may run together; others may cross, but not run on one line."""
    for (one, points), (other, others) in itertools.combinations(arrows(ax).items(), 2):
        if not {*one.split(" -> ")} & {*other.split(" -> ")}:
            for a, b in itertools.product(parts(points), parts(others)):
                width, height = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
                assert min(width, height) < 0 or max(width, height) < 1e-3, f"{one} runs on {other}"


@pytest.mark.parametrize("seed", range(25))
def test_nothing_overlaps_in_random_graphs_and_every_arrow_is_drawn_once(seed: int) -> None:
    model = random_graph(seed)
    ax = drawn(model)
    check_that_nothing_overlaps(ax)
    expected = [f"{source} -> {name}" for name, inputs in model.wiring for source in inputs]
    assert sorted(arrows(ax)) == sorted([*expected, "out -> output"])


def check_that_nothing_overlaps(ax: Axes) -> None:
    texts = text_boxes(ax)
    for (_, (one, a)), (_, (other, b)) in itertools.combinations(texts.items(), 2):
        assert not overlap(a, b), f"{one!r} overlaps {other!r}"
    rectangles = [patch.get_bbox() for patch in rectangles_of(ax)]
    assert len(rectangles) == len(boxes_of(ax))
    for a, b in itertools.combinations(rectangles, 2):
        assert not overlap(a, b)
    for text in boxes_of(ax):
        (inside,) = [box for box in rectangles if box.contains(*text.get_position())]
        _, extent = next(pair for pair in texts.values() if pair[0] == text.get_text() and overlap(pair[1], inside))
        assert inside.xmin < extent.xmin < extent.xmax < inside.xmax
    for name, points in arrows(ax).items():
        for part in parts(points):
            assert not any(overlap(part, box, 1e-3) for box in rectangles), f"{name} runs through a box"
            assert not any(overlap(part, box) for _, box in texts.values()), f"{name} runs through a text"


def boxes_of(ax: Axes) -> list[Any]:
    return [text for text in ax.texts if text.get_text() and alignment(text) == "center"]


def test_every_arrow_leads_from_the_edge_of_a_box_to_the_edge_of_another() -> None:
    ax = drawn(DIAMOND)
    by_name = {}
    for text, patch in zip(boxes_of(ax), rectangles_of(ax), strict=True):
        by_name[text.get_text().split("\n")[-1].split(",")[0]] = patch.get_bbox()
    for name, points in arrows(ax).items():
        source, target = name.split(" -> ")
        if source != "input":
            box = by_name[source]
            np.testing.assert_allclose(points[0], [(box.xmin + box.xmax) / 2, box.ymax], atol=1e-12)
        if target != "output":
            box, (x, y) = by_name[target], points[-1]
            on_top = np.isclose(y, box.ymin) and box.xmin < x < box.xmax
            beside = np.isclose([x, x], [box.xmin, box.xmax]).any() and box.ymin < y < box.ymax
            assert on_top or beside, name


def test_a_graph_has_branches_side_by_side_and_skips_around_them() -> None:
    ax = drawn(DIAMOND)
    found = {text.split("\n")[-1].split(",")[0]: place for text, place in boxes(ax).items()}
    assert {found[name][0] for name in ("stem", "join", "after", "out")} == {0}
    assert found["left"][0] < 0 < found["right"][0]
    heights = [found[name][1] for name in ("stem", "left", "join", "after", "out")]
    assert heights == sorted(heights)
    lines = arrows(ax)
    assert len(lines) == 10
    right = max(patch.get_bbox().xmax for patch in rectangles_of(ax))
    assert lines["stem -> out"][:, 0].max() > found["right"][0]
    assert lines["input -> out"][:, 0].max() > right
    # One label for the output of each box, and one for each arrow that skips others.
    assert sorted(shapes(ax)) == ["4"] * 8 + ["8"]


def test_nested_wirings_are_drawn_as_one_graph() -> None:
    lines = arrows(drawn(NESTED))
    inner = "residual_0/serial_0/residual_0"
    assert sorted(lines) == sorted(
        [
            "input -> residual_0/serial_0/dense_0",
            "input -> residual_0/merge",
            f"residual_0/serial_0/dense_0 -> {inner}/relu_0",
            f"residual_0/serial_0/dense_0 -> {inner}/merge",
            f"{inner}/relu_0 -> {inner}/dense_0",
            f"{inner}/dense_0 -> {inner}/merge",
            f"{inner}/merge -> residual_0/merge",
            "residual_0/merge -> dense_0",
            "dense_0 -> output",
        ]
    )
    straight = [points for points in lines.values() if len(points) == 2]
    assert len(straight) == 7
    assert all((points[:, 0] == 0).all() for points in straight)


def test_a_combinator_of_a_users_is_drawn_by_its_wiring() -> None:
    @fn.layer
    def block(units: int) -> fn.Layer:
        return fn.concat(fn.dense(units), fn.named("same", fn.identity))

    @fn.layer
    def mine(*layers: Any) -> fn.Layer:
        inner = fn.add(*layers)
        return fn.Layer(inner.init, inner.apply, children=inner.children, wiring=inner.wiring)

    assert list(boxes(drawn(block(3)))) == ["dense(3)\ndense_0, 15 parameters", "identity\nsame", "concat"]
    assert list(boxes(drawn(mine(fn.relu, fn.tanh)))) == ["relu\nrelu_0", "tanh\ntanh_0", "mine"]


def test_an_input_that_is_merged_twice_has_one_arrow() -> None:
    @fn.layer
    def doubled(part: Any) -> fn.Layer:
        apply = fn.serial(fn.named("part", part)).apply
        wiring = (("part", ("input",)), ("", ("part", "part")))
        return fn.Layer(part.init, apply, children={"part": part}, wiring=wiring)

    assert sorted(arrows(drawn(doubled(fn.relu)))) == ["input -> part", "merge -> output", "part -> merge"]


def test_the_output_of_a_dict_of_arrays_is_labelled_with_all_shapes() -> None:
    split: Any = (
        lambda shape, rng: {},
        lambda params, x: ({"a": x, "b": x[:, :2]}, lambda dy: ({}, dy["a"])),
    )
    assert shapes(drawn(fn.serial(split))) == ["4", "{a: 4, b: 2}"]


def test_the_layout_of_the_smallest_graphs() -> None:
    layout = layered({"a": Box((), 0.0, 0.0, 0.2), "b": Box(("a",), 1.0, 0.5, 0.2)})
    assert layout.boxes == {"a": (0.0, 0.0), "b": (0.0, 0.42)}
    assert layout.arrows == {("a", "b"): [(0.0, 0.0), (0.0, 0.42)]}
    assert (layout.left, layout.right, round(layout.height, 9)) == (-0.5, 0.5, 0.92)


def test_a_diagram_fits_into_axes_of_any_size() -> None:
    ax = plot.canvas.new_axes(2, 2)
    assert plot.diagram(DIAMOND, DIAMOND.init((4,), 0), (4,), ax=ax) is ax
    texts = text_boxes(ax)
    for (_, a), (_, b) in itertools.combinations(texts.values(), 2):
        assert not overlap(a, b, 0.02)
