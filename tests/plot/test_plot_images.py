"""Plots of images, points and weights: the numbers in the plots, not their pixels."""

from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex

import funcnn as fn
from funcnn import plot
from funcnn.plot.canvas import displayable

RNG = np.random.default_rng(0)
IMAGES = RNG.random((3, 4, 5, 1))
NAN = np.full((3, 4, 5), np.nan)


def arrays(ax: Axes) -> list[Any]:
    return [image.get_array() for image in ax.images]


def texts(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.texts]


def test_image_grid_shows_images_and_marks_wrong_predictions_also_without_colour() -> None:
    ax = plot.image_grid(IMAGES, np.array([0, 1, 1]), np.array([0, 0, 1]), ["a", "b"], columns=2)
    for shown, image in zip(arrays(ax), IMAGES, strict=True):
        np.testing.assert_array_equal(shown, image[..., 0])
    assert {image.get_clim() for image in ax.images} == {(0, 1)}
    assert texts(ax) == ["a", "✗ a, not b", "b"]
    # Side by side, then below; y points down, and a row is as high as an image with one line under it.
    assert [image.get_extent()[0] for image in ax.images] == [0, 1, 0]
    assert [image.get_extent()[3] for image in ax.images] == [0, 0, 1.2]
    (frame,) = ax.lines
    assert np.asarray(frame.get_xydata()).min(0).tolist() == [1, 0]
    assert to_hex(frame.get_color()) == "#d55e00"
    assert ax.get_title() == "2 of 3 right; ✗ predicted, not true"


def test_image_grid_with_true_or_predicted_classes_or_neither() -> None:
    assert texts(plot.image_grid(IMAGES, labels=np.array([0, 1, 2]))) == ["0", "1", "2"]
    assert texts(plot.image_grid(IMAGES, predicted=np.array([2, 1, 0]))) == ["2", "1", "0"]
    assert texts(plot.image_grid(IMAGES)) == []


@pytest.mark.parametrize(
    ("images", "darkest", "lightest"),
    [
        (np.array([[[0, 255]]], np.uint8), 0, 1),
        (np.array([[[51, 102]]], np.uint8), 0.2, 0.4),
        (np.array([[[0.2, 0.5]]], np.float32), 0.2, 0.5),  # float32 is right to 1e-7
        (np.array([[[-1.0, 3.0]]]), 0, 1),
        (np.array([[[False, True]]]), 0, 1),
    ],
)
def test_images_are_shown_from_black_to_white(images: Any, darkest: float, lightest: float) -> None:
    np.testing.assert_allclose(displayable("plot", images), [[[darkest, lightest]]], rtol=1e-6)
    assert displayable("plot", np.stack([images] * 3, axis=-1)).shape == (1, 1, 2, 3)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((IMAGES[0],), ValueError, r"several images, got shape \(4, 5, 1\); of a single one, image\[None\]"),
        ((np.zeros((2, 4, 5, 2)),), ValueError, r"got shape \(4, 5, 2\)"),
        ((IMAGES[:0],), ValueError, "and none of them"),
        ((1.0,), ValueError, r"got shape \(\)"),
        ((NAN,), ValueError, "NaN or infinite"),
        ((np.array([[["a", "b"]]]),), TypeError, "images of numbers, got <U1"),
        ((IMAGES, np.array([0, 1])), ValueError, r"labels of shape \(3,\), one for each image, got \(2,\)"),
        ((IMAGES, None, np.eye(3)), ValueError, r"predicted of shape \(3,\), one for each image, got \(3, 3\)"),
        ((IMAGES, np.array([0.0, 1, 2])), TypeError, "integer labels"),
        ((IMAGES, np.array([0, -1, 2])), ValueError, "got -1"),
        ((IMAGES, np.array([0, 1, 2]), None, ["a", "b"]), ValueError, "expected 3 class names.*got 2"),
        ((IMAGES, None, None, None, 0), ValueError, "columns must be a whole number >= 1, got 0"),
    ],
)
def test_invalid_images_and_classes_raise(arguments: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        plot.image_grid(*arguments)


def test_heat_map_draws_the_maximum_over_the_channels_on_the_whole_image() -> None:
    heat = np.array([[[1.0, -3.0], [2.0, 0.0]]])
    ax = plot.heat_map(IMAGES[0], heat)
    image, over = arrays(ax)
    np.testing.assert_array_equal(image, IMAGES[0, ..., 0])
    assert over.tolist() == [[3, 2]]
    assert ax.images[0].get_extent() == ax.images[1].get_extent() == [0, 5, 4, 0]
    assert ax.images[1].get_clim() == (0, 3)
    # Zero heat is transparent.
    assert ax.images[1].get_cmap()(0.0)[3] == 0
    assert plot.heat_map(IMAGES[0], np.zeros((2, 2))).images[1].get_clim() == (0, 1)


@pytest.mark.parametrize(
    ("image", "heat", "message"),
    [
        (IMAGES, np.ones((2, 2)), r"got shape \(3, 4, 5, 1\)"),
        (IMAGES[0], IMAGES, r"heat_map: expected finite .* \(3, 4, 5, 1\); of a batch, take one"),
        (IMAGES[0], NAN[0], "heat_map: expected finite numbers"),
    ],
)
def test_invalid_images_and_heat_raise(image: Any, heat: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plot.heat_map(image, heat)


def test_filtered_image_shows_the_cross_correlation_and_the_kernel() -> None:
    image = np.array([[1.0, 2.0, 4.0], [0.0, 1.0, 0.0]])
    ax = plot.filtered_image(image, {"right minus left": np.array([[-1.0, 1.0]]), "sum": np.ones((2, 2))})
    shown, differences, first, sums, second = arrays(ax)
    np.testing.assert_array_equal(shown, image / 4)
    assert (differences.tolist(), sums.tolist()) == ([[1, 2], [1, -1]], [[4, 7]])
    assert (first.tolist(), second.tolist()) == ([[-1, 1]], [[1, 1], [1, 1]])
    assert ax.images[2].get_clim() == (-1, 1)  # so that white is zero
    assert {"image", "right minus left", "sum", "from -1 to 1"} <= set(texts(ax))


def test_a_learned_filter_has_the_output_of_its_layer() -> None:
    model = fn.conv2d(4, 3, bias=False)
    params = fn.tree.cast(model.init((8, 8, 3), 0), np.float64)
    image = RNG.random((8, 8, 3))
    output = arrays(plot.filtered_image(image, {"filter 2": params["w"][..., 2]}))[1]
    # Both are sums of 27 products in float64, perhaps in another order.
    np.testing.assert_allclose(output, model.apply(params, image[None])[0][0, ..., 2], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("kernels", "message"),
    [
        ({}, "at least one kernel"),
        ({"a": np.ones((3, 3, 2))}, r"kernel 'a' of shape \(height, width, 1\), .* got \(3, 3, 2\)"),
        ({"a": np.ones((5, 3))}, r"no larger than the image \(4, 5, 1\), got \(5, 3\)"),
        ({"a": np.ones(3)}, r"got \(3,\)"),
    ],
)
def test_kernels_that_do_not_fit_the_image_raise(kernels: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plot.filtered_image(IMAGES[0], kernels)


def test_filters_has_a_row_for_each_channel_and_a_column_for_each_filter() -> None:
    w = RNG.standard_normal((3, 2, 2, 4))
    ax = plot.filters(w)
    for number, (shown, image) in enumerate(zip(arrays(ax), ax.images, strict=True)):
        channel, which = divmod(number, 4)
        np.testing.assert_array_equal(shown, w[:, :, channel, which])
        assert (image.get_extent()[0], image.get_extent()[3]) == (which, channel)
        assert image.get_clim() == (-np.abs(w).max(), np.abs(w).max())
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("filter", "channel")
    assert len(ax.get_xticks()) == 4


def test_dense_weights_as_matrix_as_images_and_as_channels() -> None:
    w = RNG.standard_normal((12, 11))
    ax = plot.dense_weights(w)
    np.testing.assert_array_equal(arrays(ax)[0], w)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("unit", "input")
    ax = plot.dense_weights(w, (3, 4))
    np.testing.assert_array_equal(arrays(ax)[10], w[:, 10].reshape(3, 4))
    assert ax.images[10].get_extent()[3] == 1  # the eleventh starts a second row
    ax = plot.dense_weights(w, (2, 3, 2))
    assert len(ax.images) == 22
    np.testing.assert_array_equal(arrays(ax)[11], w[:, 0].reshape(2, 3, 2)[..., 1])


@pytest.mark.parametrize(
    ("draw", "arguments", "message"),
    [
        (plot.filters, (np.ones((3, 3)),), r"\(kernel height, kernel width, channels, filters\), got shape \(3, 3\)"),
        (plot.filters, (np.ones((3, 3, 0, 1)),), r"got shape \(3, 3, 0, 1\)"),
        (plot.filters, (np.full((1, 1, 1, 1), np.inf),), "finite floats"),
        (plot.dense_weights, (np.ones(3),), r"axes \(inputs, units\), got shape \(3,\)"),
        (plot.dense_weights, (np.ones((6, 2)), (2, 2)), r"of 6 inputs, got \(2, 2\)"),
        (plot.dense_weights, (np.ones((6, 2)), (6,)), r"of 6 inputs, got \(6,\)"),
    ],
)
def test_invalid_weights_raise(draw: Any, arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw(*arguments)


POINTS = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0], [1.0, 2.0]])
CLASSES = np.array([0, 2, 0, 2])


def test_scatter_draws_each_class_with_a_colour_and_a_marker() -> None:
    ax = plot.scatter(POINTS, CLASSES[:, None], ["a", "b", "c"])
    first, second = ax.collections
    assert np.asarray(first.get_offsets()).tolist() == [[0, 0], [0, 2]]
    assert np.asarray(second.get_offsets()).tolist() == [[1, 0], [1, 2]]
    assert not np.array_equal(first.get_facecolor(), second.get_facecolor())
    assert not np.array_equal(first.get_paths()[0].vertices, second.get_paths()[0].vertices)
    legend = ax.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["a", "c"]


@pytest.mark.parametrize(("bias", "threshold"), [(-0.25, 0.0), (0.25, 0.5)])
def test_decision_boundary_is_where_the_score_equals_the_threshold(bias: float, threshold: float) -> None:
    params = {"w": np.array([[1.0], [0.0]]), "b": np.array([bias])}
    ax = plot.decision_boundary(fn.dense(1), params, POINTS, CLASSES // 2, threshold=threshold)
    regions = arrays(ax)[0]
    left, right, bottom, top = ax.images[0].get_extent()
    assert left < 0 < 1 < right
    assert bottom < 0 < 2 < top
    columns = np.linspace(left, right, regions.shape[1])
    np.testing.assert_array_equal(regions, np.broadcast_to(columns > 0.25, regions.shape))
    lines = [path.vertices for contour in ax.collections[:2] for path in contour.get_paths()]
    # Between two points of the grid, a linear score is interpolated exactly.
    np.testing.assert_allclose(np.concatenate(lines)[:, 0], 0.25, atol=1e-9)


def test_decision_boundary_of_several_classes_is_that_of_the_highest_score() -> None:
    params = {"w": np.array([[-1.0, 0.0, 1.0], [0.0, 0.0, 0.0]]), "b": np.array([0.0, 0.1, -0.5])}
    ax = plot.decision_boundary(fn.dense(3), params, POINTS, CLASSES)
    columns = np.linspace(*ax.images[0].get_extent()[:2], 200)
    expected = (columns[:, None] * params["w"][0] + params["b"]).argmax(axis=1)
    assert set(expected) == {0, 1, 2}
    np.testing.assert_array_equal(arrays(ax)[0][0], expected)
    # The first row of the regions is the lowest row of the plot.
    upward = {"w": np.array([[0.0], [1.0]]), "b": np.array([-1.0])}
    ax = plot.decision_boundary(fn.dense(1), upward, POINTS, CLASSES // 2)
    assert (ax.images[0].origin, arrays(ax)[0][0, 0], arrays(ax)[0][-1, 0]) == ("lower", 0, 1)
    assert ax.get_ylim()[0] < ax.get_ylim()[1]


@pytest.mark.parametrize(
    ("x", "labels", "names", "error", "message"),
    [
        (np.ones((4, 3)), CLASSES, None, ValueError, r"of shape \(n, 2\), got shape \(4, 3\)"),
        (POINTS[:0], CLASSES[:0], None, ValueError, r"got shape \(0, 2\)"),
        (POINTS * np.nan, CLASSES, None, ValueError, "NaN or infinite"),
        (POINTS, CLASSES[:3], None, ValueError, r"each of 4 points, of shape \(4,\), got \(3,\)"),
        (POINTS, CLASSES + 0.5, None, TypeError, "integer labels, got float64"),
        (POINTS, CLASSES - 1, None, ValueError, "got -1"),
        (POINTS, CLASSES, ["a", "b"], ValueError, "expected 3 class names.*got 2"),
    ],
)
def test_invalid_points_and_labels_raise(x: Any, labels: Any, names: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        plot.scatter(x, labels, names)
    with pytest.raises(error, match=message):
        plot.decision_boundary(fn.dense(1), {}, x, labels, names)


def test_decision_boundary_raises_unless_the_outputs_are_scores() -> None:
    with pytest.raises(ValueError, match=r"outputs \(n, 1\) or \(n, classes\), got \(40000, 2, 1\)"):
        plot.decision_boundary(fn.reshape(2, 1), {}, POINTS, CLASSES)
