"""The inside of a model: one example and the output of each layer for it, as images.

The values are those of ``trace``; in training mode they show what dropout leaves.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from funcnn import tree
from funcnn.aliases import Array, Params, Rng
from funcnn.inspect.traverse import Visit, trace
from funcnn.plot.canvas import frame, new_axes, shape_text, tile

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["feature_maps"]

MAX_ROWS, MIN_ROW = 8, 64
"""A vector of more than 64 elements is drawn as an image of at most 8 rows."""


def feature_maps(
    model: Any,
    params: Params,
    x: Array,
    paths: Iterable[str] | None = None,
    rng: Rng | None = None,
    channels: int = 8,
    ax: Axes | None = None,
) -> Axes:
    """The output of each layer for one example: a row for each layer, with an image for each channel.

    Where the input of a layer is not the output that the row above shows, it has a row of its own, so that every layer
    is shown with its input and its output. The colours of a row go from its lowest element, dark blue, to its highest,
    yellow. A tree of arrays has a row for each array.

    Args:
        model: a layer or a pair.
        params: its parameters.
        x: one example, of shape ``shape``: without the batch axis.
        paths: which layers to draw, ``["conv2d_0", "dropout_0"]`` for example; by default all that have no layers
            inside.
        rng: a key, to run the model in training mode, with dropout; it predicts by default.
        channels: how many channels of an image are drawn at most.
        ax: where to draw; new axes, large enough for all, by default.

    Returns:
        The axes.

    Raises:
        ValueError: there is no layer with such a path, or ``channels`` is less than 1; and the errors of the model.

    Example:
        >>> import funcnn as fn
        >>> model = fn.serial(fn.conv2d(4, 3), fn.max_pool2d(2))
        >>> ax = feature_maps(model, model.init((8, 8, 1), rng=0), np.ones((8, 8, 1), np.float32))
        >>> [image.get_array().shape for image in ax.images]
        [(8, 8), (6, 6), (6, 6), (6, 6), (6, 6), (3, 3), (3, 3), (3, 3), (3, 3)]
    """
    if channels < 1:
        raise ValueError(f"feature_maps: channels must be 1 or more, got {channels}")
    visits = trace(model, params, tree.map(lambda leaf: np.asarray(leaf)[None], x), rng)
    by_path = {visit.path: visit for visit in visits}
    chosen = [visit.path for visit in visits if not visit.layer.children] if paths is None else list(paths)
    unknown = [path for path in chosen if path not in by_path]
    if unknown or not chosen:
        raise ValueError(f"feature_maps: no layer has the path {unknown}; there are {[*by_path]}")

    rows: list[tuple[str, Array]] = []
    for path in chosen:
        visit = by_path[path]
        inputs = _arrays(f"input of {path}" if rows else "input", visit.x)
        if not rows or any(not np.array_equal(rows[-1][1], values) for _, values in inputs):
            rows += inputs
        rows += _arrays(_title(visit), visit.y)
    pictures = [_as_images(values, channels) for _, values in rows]
    columns = max([len(images) for images in pictures if len(images) > 1] + [4])
    heights = [_height(images, columns) for images in pictures]

    notes = [_note(name, values, channels) for name, values in rows]
    room = 0.065 * max(len(line) for note in notes for line in note.split("\n"))
    ax = new_axes(0.8 * columns + room + 0.5, 0.8 * sum(heights) + 0.4) if ax is None else ax
    tops = np.concatenate([[0.0], np.cumsum(heights)])
    for (_, values), images, height, top in zip(rows, pictures, heights, tops[:-1], strict=True):
        scale = {"cmap": "cividis", "vmin": values.min(), "vmax": values.max()}
        for column, image in enumerate(images):
            width = columns - 0.1 if values.ndim != 3 else 0.9
            tile(ax, image, column, top, width, height - 0.1, **scale)
    frame(ax, columns, tops[-1])
    ax.set_yticks(tops[:-1] + np.array(heights) / 2 - 0.05, notes, fontsize=8)
    ax.set_title(f"Layer by layer, {'predicting' if rng is None else 'training'}")
    return ax


def _title(visit: Visit) -> str:
    """The path of a layer, and its kind if the path does not say it."""
    named = not visit.path.rpartition("/")[2].startswith(visit.layer.kind)
    return f"{visit.path} ({visit.layer.kind})" if named else visit.path


def _arrays(title: str, batch: Any) -> list[tuple[str, Array]]:
    """The only example of a batch; of a tree of arrays, that of each."""
    return [(f"{title}, {name}" if name else title, leaf[0]) for name, leaf in tree.flatten(batch).items()]


def _note(title: str, values: Array, channels: int) -> str:
    """The text beside a row: the layer, the shape of its output, and the range of the colours."""
    more = f", {channels} drawn" if values.ndim == 3 and values.shape[-1] > channels else ""
    return f"{title}\n{shape_text(values[None])}{more}\n{values.min():.3g} to {values.max():.3g}"


def _as_images(values: Array, channels: int) -> list[Array]:
    """One example as images: its channels, or the elements of a vector, row by row."""
    if values.ndim == 3:
        return [values[..., channel] for channel in range(min(channels, values.shape[-1]))]
    if values.ndim == 2:
        return [values]
    vector = values.reshape(-1).astype(float)
    width = max(MIN_ROW, -(-vector.size // MAX_ROWS)) if vector.size > MIN_ROW else vector.size
    folded = np.full(-(-vector.size // width) * width, np.nan)
    folded[: vector.size] = vector
    return [folded.reshape(-1, width)]


def _height(images: list[Array], columns: int) -> float:
    """The height of a row in tiles: 1 for images, less for a vector, whose elements are as wide as there is room."""
    rows, width = images[0].shape
    return 1.0 if len(images) > 1 or rows * 4 > width else max(0.6, 0.1 + (columns - 0.1) * rows / width)
