"""Points in the plane with their classes, and the regions into which a model divides the plane.

A model with two inputs can be shown as a whole: its predictions everywhere, not only where there are data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from funcnn import checks
from funcnn.aliases import Array, Params
from funcnn.calls import explained
from funcnn.plot.canvas import COLOURS, axes_for, check_names, counted, finite, legend, numbers, plain
from funcnn.protocol import LayerLike
from funcnn.training.evaluate import predict

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from funcnn.plot.canvas import Drawing

__all__ = ["decision_boundary", "scatter"]

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")
LEAST_SIDE = 0.1
"""The least height of axes, as a fraction of their width, or the other way round."""

GRID_POINTS = 200
"""The number of points along each side of the grid on which a model predicts."""


@explained
def scatter(x: Array, labels: Array, class_names: Sequence[str] | None = None, ax: Axes | None = None) -> Drawing:
    """Points in the plane, with a colour and a marker for each class.

    Args:
        x: (n, 2).
        labels: integers from 0, of shape (n,) or (n, 1).
        class_names: the names of the classes; their numbers by default.
        ax: where to draw; new axes by default.

    Returns:
        The axes.

    Raises:
        TypeError: points or labels are not plain arrays, of numbers and of integers; names are not strings, or ``ax``
            is something else than axes.
        ValueError: the points are not of shape (n, 2) or not finite, there are none, or the labels are not of shape
            (n,) or (n, 1), are negative or have no name.

    Example:
        >>> ax = scatter(np.array([[0.0, 1.0], [2.0, 3.0]]), np.array([0, 1]), ["inside", "outside"])
        >>> [text.get_text() for text in ax.get_legend().get_texts()]
        ['inside', 'outside']
    """
    x, labels, names = _check_points("scatter", x, labels, class_names)
    ax = axes_for("scatter", ax, *_fitting_size(x, names))
    entries = []
    for label in np.unique(labels):
        points = ax.scatter(
            x[labels == label, 0],
            x[labels == label, 1],
            s=18,
            color=COLOURS[label % len(COLOURS)],
            marker=MARKERS[label % len(MARKERS)],
            edgecolors="white",
            linewidths=0.4,
            label=plain(names[label]),
        )
        entries.append((points, names[label]))
    ax.set(xlabel="x[:, 0]", ylabel="x[:, 1]", aspect="equal")
    legend(ax, entries, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, title="class")
    # Points on a line across the plane would leave no height for the axes.
    middle, half = (x.max(0) + x.min(0)) / 2, np.ptp(x, axis=0).max() * LEAST_SIDE / 2
    ax.update_datalim([middle - half, middle + half])
    ax.autoscale_view()
    ax.set_title(counted(len(x), "point"))
    return ax


@explained
def decision_boundary(
    model: LayerLike,
    params: Params,
    x: Array,
    labels: Array,
    class_names: Sequence[str] | None = None,
    threshold: float = 0.0,
    ax: Axes | None = None,
) -> Drawing:
    """The predictions of a model around the data: a region for each class, and the boundaries between them.

    Args:
        model: a layer or a pair from (n, 2) to (n, 1) or (n, classes).
        params: its parameters.
        x: (n, 2), the points to draw.
        labels: integers from 0, of shape (n,) or (n, 1): the true classes.
        class_names: the names of the classes; their numbers by default.
        threshold: for a single score, the value above which class 1 is predicted: 0 for logits, 0.5 for probabilities.
        ax: where to draw; new axes by default.

    Returns:
        The axes.

    Raises:
        TypeError, ValueError: as ``scatter``; or the output of the model has another shape or contains NaN, or
            ``threshold`` is not a finite number.

    Example:
        >>> import funcnn as fn
        >>> x, labels = np.array([[0.0, 1.0], [2.0, 3.0]], np.float32), np.array([0, 1])
        >>> params = {"w": np.array([[1.0], [0.0]], np.float32), "b": np.array([-1.0], np.float32)}
        >>> decision_boundary(fn.dense(1), params, x, labels).get_title()
        'Decision boundary'
    """
    dtype = np.float64 if getattr(x, "dtype", None) == np.float64 else np.float32
    x, labels, names = _check_points("decision_boundary", x, labels, class_names)
    threshold = checks.number("decision_boundary", "threshold", threshold)
    middle, half = (x.max(0) + x.min(0)) / 2, 0.55 * np.ptp(x, axis=0).max() or 0.5
    first, second = (np.linspace(centre - half, centre + half, GRID_POINTS) for centre in middle)
    grid = np.stack(np.meshgrid(first, second), axis=-1)
    outputs = predict(model, params, grid.reshape(-1, 2).astype(dtype))
    if not isinstance(outputs, np.ndarray) or outputs.ndim != 2 or not outputs.shape[1]:
        got = outputs.shape if isinstance(outputs, np.ndarray) else checks.what(outputs)
        raise ValueError(f"decision_boundary: expected a model with outputs (n, 1) or (n, classes), got {got}")
    if np.isnan(outputs).any():
        raise ValueError("decision_boundary: the model's outputs contain NaN, which predicts no class")
    # Differences of infinite scores would be NaN.
    scores = outputs.reshape(GRID_POINTS, GRID_POINTS, -1).clip(-1e30, 1e30)
    if scores.shape[-1] == 1:
        scores = np.concatenate([np.full_like(scores, threshold), scores], axis=-1)
    regions = scores.argmax(axis=-1)

    from matplotlib.colors import ListedColormap

    ax = axes_for("decision_boundary", ax, *_fitting_size(grid.reshape(-1, 2), names))
    colours = ListedColormap([COLOURS[number % len(COLOURS)] for number in range(scores.shape[-1])])
    extent = (float(first[0]), float(first[-1]), float(second[0]), float(second[-1]))
    ax.imshow(regions, cmap=colours, vmin=-0.5, vmax=scores.shape[-1] - 0.5, extent=extent, origin="lower", alpha=0.25)
    for number in np.unique(regions):
        lead = scores[..., number] - np.delete(scores, number, axis=-1).max(axis=-1)
        if lead.min() < 0 < lead.max():
            ax.contour(first, second, lead, levels=[0], colors="black", linewidths=1)
    scatter(x, labels, class_names, ax)
    ax.set_title("Decision boundary")
    return ax


def _fitting_size(x: Array, names: Mapping[int, str]) -> tuple[float, float]:
    """The width and the height of axes with the proportions of the points, and space for the legend."""
    across, down = np.maximum(np.ptp(x, axis=0), 1e-9)
    width = min(4.4, max(1.5, 4.4 * across / down))
    legend_height = 0.22 * len(names) + 0.5
    height = max(min(4.4, max(1.5, width * down / across)) + 1.0, legend_height)
    return width + 1.9 + 0.085 * max(map(len, names.values())), height


def _check_points(
    kind: str, x: Array, labels: Array, class_names: Sequence[str] | None
) -> tuple[Array, Array, dict[int, str]]:
    """The points, their labels of shape (n,), and the name of each class that occurs."""
    x, labels = numbers(kind, x, "points"), checks.array(kind, labels, "labels")
    if x.ndim != 2 or x.shape[1] != 2 or not len(x):
        raise ValueError(f"{kind}: expected points in the plane, of shape (n, 2), got shape {x.shape}")
    if labels.shape not in ((len(x),), (len(x), 1)):
        raise ValueError(
            f"{kind}: expected a label for each of {len(x)} points, of shape ({len(x)},), got {labels.shape}"
        )
    labels = checks.labels(labels.reshape(-1), np.iinfo(np.int64).max, kind)
    return finite(kind, x, "points"), labels, check_names(kind, class_names, labels)
