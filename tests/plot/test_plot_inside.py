"""What is drawn of a model's inside: each layer with what went in and came out, and how the layers hang together."""

from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes

import funcnn as fn
from funcnn import plot

MODEL = fn.serial(fn.conv2d(3, 3), fn.max_pool2d(2), fn.dropout(0.5), fn.flatten, fn.dense(4))
PARAMS = MODEL.init((8, 8, 1), 0)
IMAGE = np.random.default_rng(0).standard_normal((8, 8, 1)).astype(np.float32)


def arrays(ax: Axes) -> list[Any]:
    return [image.get_array() for image in ax.images]


def notes(ax: Axes) -> list[list[str]]:
    return [label.get_text().split("\n") for label in ax.get_yticklabels()]


def test_feature_maps_show_what_every_layer_answers_in_training_too() -> None:
    ax = plot.feature_maps(MODEL, PARAMS, IMAGE, rng=5)
    answers = fn.outputs(MODEL, PARAMS, IMAGE[None], rng=5)
    assert [note[0] for note in notes(ax)] == ["input", "conv2d_0", "max_pool2d_0", "dropout_0", "flatten_0", "dense_0"]
    assert [note[1] for note in notes(ax)] == ["8 × 8 × 1", "6 × 6 × 3", "3 × 3 × 3", "3 × 3 × 3", "27", "4"]
    shown = iter(arrays(ax))
    np.testing.assert_array_equal(next(shown), IMAGE[..., 0])
    for path in ("conv2d_0", "max_pool2d_0", "dropout_0"):
        for channel in range(3):
            np.testing.assert_array_equal(next(shown), answers[path][0, ..., channel])
    np.testing.assert_array_equal(next(shown), answers["flatten_0"])
    np.testing.assert_array_equal(next(shown), answers["dense_0"])
    assert (answers["dropout_0"] == 0).any()
    low, high = answers["conv2d_0"].min(), answers["conv2d_0"].max()
    assert {image.get_clim() for image in ax.images[1:4]} == {(low, high)}
    assert notes(ax)[1][2] == f"{low:.3g} to {high:.3g}"


def test_feature_maps_of_one_layer_show_its_input_and_its_output() -> None:
    ax = plot.feature_maps(MODEL, PARAMS, IMAGE, ["dropout_0"], rng=5, channels=2)
    answers = fn.outputs(MODEL, PARAMS, IMAGE[None], rng=5)
    assert [note[:2] for note in notes(ax)] == [["input", "3 × 3 × 3, 2 drawn"], ["dropout_0", "3 × 3 × 3, 2 drawn"]]
    drawn = [answers[path][0, ..., channel] for path in ("max_pool2d_0", "dropout_0") for channel in (0, 1)]
    for shown, expected in zip(arrays(ax), drawn, strict=True):
        np.testing.assert_array_equal(shown, expected)


def test_feature_maps_of_branches_repeat_what_both_are_given() -> None:
    model = fn.serial(fn.relu, fn.add(fn.tanh, fn.named("same", fn.identity)))
    ax = plot.feature_maps(model, {}, IMAGE)
    heads = [note[0] for note in notes(ax)]
    assert heads == ["input", "relu_0", "add_0/tanh_0", "input of add_0/same", "add_0/same (identity)"]


def test_long_vectors_are_folded_and_nothing_is_lost() -> None:
    vector = np.arange(1, 1001, dtype=np.float32)
    folded = arrays(plot.feature_maps(fn.relu, {}, vector, [""]))[0]
    assert folded.shape == (8, 125)
    assert folded.reshape(-1).tolist() == vector.tolist()
    # A rest that fills no line is followed by nothing.
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
def test_what_cannot_be_drawn_of_the_layers_is_refused(options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plot.feature_maps(MODEL, PARAMS, IMAGE, **options)


def test_outputs_probe_any_path() -> None:
    model = fn.serial(fn.residual(fn.dense(3), fn.tanh), fn.named("head", fn.dense(2)))
    params, x = model.init((3,), 0), np.ones((5, 3), np.float32)
    answers = fn.outputs(model, params, x)
    assert list(answers) == ["residual_0/dense_0", "residual_0/tanh_0", "residual_0", "head", ""]
    inner = x @ params["residual_0"]["dense_0"]["w"]
    # Both multiply the same matrices in float32.
    np.testing.assert_allclose(answers["residual_0/dense_0"], inner, rtol=1e-6)
    np.testing.assert_allclose(answers["residual_0"], x + np.tanh(inner), rtol=1e-6)
    np.testing.assert_array_equal(answers["head"], model.apply(params, x)[0])


def boxes(ax: Axes) -> dict[str, tuple[float, float]]:
    """The middle of each box by its text's first and last line; shapes are not in boxes."""
    return {text.get_text(): text.get_position() for text in ax.texts if text.get_text() and text.get_ha() == "center"}


def shapes(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.texts if text.get_text() and text.get_ha() == "left"]


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


def test_diagram_of_branches_and_of_a_way_around() -> None:
    model = fn.serial(fn.residual(fn.dense(3), fn.tanh), fn.concat(fn.dense(2), fn.identity), fn.add(fn.relu, fn.tanh))
    ax = plot.diagram(model, model.init((3,), 0), (3,))
    found = boxes(ax)
    assert {"+", "concat"} <= set(found)
    first, second = found["dense(2)\nconcat_0/dense_0, 8 parameters"], found["identity\nconcat_0/identity_0"]
    assert first[0] == -second[0] < 0
    assert found["concat"][0] == 0
    assert found["concat"][1] > first[1]
    # Around the residual's layers leads a line to the right of them: down from where the input splits, to the plus.
    right = max(patch.get_x() + patch.get_width() for patch in ax.patches[:2])
    around = [line for line in ax.lines if np.asarray(line.get_xydata())[:, 0].max() > right]
    assert around
    assert shapes(ax) == ["3", "3", "3", "3", "3", "2", "3", "5", "5", "5", "5"]


def test_diagram_draws_what_it_does_not_know_as_one_box_and_uncalibrated_norms_too() -> None:
    @fn.layer
    def mine(*layers: Any) -> Any:
        inner = fn.serial(*layers)
        return fn.Layer(inner.init, inner.apply, children=inner.children)

    norm = fn.serial(fn.batch_norm()).init((3,), 0)
    ax = plot.diagram(fn.serial(mine(fn.relu, fn.batch_norm())), {"mine_0": norm}, (3,))
    assert list(boxes(ax)) == ["mine(relu, batch_norm())\nmine_0, 12 parameters"]


def test_diagram_refuses_what_the_model_refuses() -> None:
    with pytest.raises(ValueError, match="expected 1 channels"):
        plot.diagram(MODEL, PARAMS, (8, 8, 2))
