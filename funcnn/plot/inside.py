"""The inside of a model: one example and the output of each layer for it, as images.

The values are those of ``trace``; in training mode they show what dropout leaves.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from funcnn import checks, tree
from funcnn.aliases import Array, Params, Rng
from funcnn.calls import explained
from funcnn.inspect.traverse import Visit, trace
from funcnn.plot.canvas import axes_for, frame, plain, shape_text, tile
from funcnn.protocol import LayerLike
from funcnn.wording import shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from funcnn.plot.canvas import Drawing

__all__ = ["feature_maps"]

MAX_ROWS, MIN_ROW = 8, 64
"""A vector of more than 64 elements is drawn as an image of at most 8 rows."""


@explained
def feature_maps(
    model: LayerLike,
    params: Params,
    x: Array,
    paths: Iterable[str] | None = None,
    rng: Rng | None = None,
    channels: int = 8,
    ax: Axes | None = None,
) -> Drawing:
    """The output of each layer for one example: a row for each layer, with an image for each channel.

    Where the input of a layer is not the output that the row above shows, it has a row of its own, so that every layer
    is shown with its input and its output. The colours of a row go from its lowest element, dark blue, to its highest,
    yellow; NaN and infinity are grey, and counted beside the row. A tree of arrays has a row for each array.

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
        TypeError: ``x`` is not a plain array or a tree of them, ``paths`` is a string or not a list, or ``ax`` is
            something else than axes.
        ValueError: there is no layer with such a path, an output has no elements, or ``channels`` is not a whole number
            ``>= 1``; and the errors of the model.

    Example:
        >>> import funcnn as fn
        >>> model = fn.serial(fn.conv2d(4, 3), fn.max_pool2d(2))
        >>> ax = feature_maps(model, model.init((8, 8, 1), rng=0), np.ones((8, 8, 1), np.float32))
        >>> [image.get_array().shape for image in ax.images]
        [(8, 8), (6, 6), (6, 6), (6, 6), (6, 6), (3, 3), (3, 3), (3, 3), (3, 3)]
    """
    if isinstance(channels, int) and channels < 1:
        raise ValueError(f"feature_maps: channels must be 1 or more, got {channels}")
    channels = checks.size("feature_maps", "channels", channels)
    if isinstance(paths, str) or not (paths is None or checks.is_iterable(paths)):
        raise TypeError(f"feature_maps: expected paths as a list of paths, got {shown(paths)}")
    x = x if isinstance(x, dict) else checks.array("feature_maps", x, "x")
    visits = trace(model, params, tree.map(lambda leaf: checks.array("feature_maps", leaf, "x")[None], x), rng)
    by_path = {visit.path: visit for visit in visits}
    chosen = [visit.path for visit in visits if not visit.layer.children] if paths is None else list(paths)
    unknown = [path for path in chosen if not isinstance(path, str) or path not in by_path]
    if unknown or not chosen:
        raise ValueError(f"feature_maps: no layer has the path {unknown}; there are {[*by_path]}")

    rows: list[tuple[str, Array]] = []
    for path in chosen:
        visit = by_path[path]
        inputs = _arrays(f"input of {path}" if rows else "input", visit.x)
        if not rows or any(not np.array_equal(rows[-1][1], values) for _, values in inputs):
            rows += inputs
        rows += _arrays(_title(visit), visit.y)
    empty = [name for name, values in rows if not values.size]
    if empty:
        raise ValueError(f"feature_maps: there is nothing to draw of {empty[0]}, which has no elements")
    pictures = [_as_images(values, channels) for _, values in rows]
    columns = max([len(images) for images in pictures if len(images) > 1] + [4])
    heights = [_height(images, columns) for images in pictures]

    notes = [plain(_note(name, values, channels)) for name, values in rows]
    room = 0.065 * max(len(line) for note in notes for line in note.split("\n"))
    ax = axes_for("feature_maps", ax, 0.8 * columns + room + 0.5, 0.8 * sum(heights) + 0.4)
    tops = np.concatenate([[0.0], np.cumsum(heights)])
    for (_, values), images, height, top in zip(rows, pictures, heights, tops[:-1], strict=True):
        low, high = _range(values)
        for column, image in enumerate(images):
            width = columns - 0.1 if values.ndim != 3 else 0.9
            if not np.isfinite(values).all():
                tile(ax, np.zeros(image.shape), column, top, width, height - 0.1, cmap="gray", vmin=-1, vmax=1)
            tile(ax, np.ma.masked_invalid(image), column, top, width, height - 0.1, cmap="cividis", vmin=low, vmax=high)
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
    leaves = tree.flatten(batch).items()
    return [(f"{title}, {name}" if name else title, leaf[0].astype(np.float64)) for name, leaf in leaves]


def _note(title: str, values: Array, channels: int) -> str:
    """The text beside a row: the layer, the shape of its output, and the range of the colours."""
    more = f", {channels} drawn" if values.ndim == 3 and values.shape[-1] > channels else ""
    low, high = _range(values)
    strange = np.count_nonzero(~np.isfinite(values))
    beside = f", {strange} NaN or infinite" if strange else ""
    return f"{title}\n{shape_text(values[None])}{more}\n{low:.3g} to {high:.3g}{beside}"


def _range(values: Array) -> tuple[float, float]:
    """The lowest and the highest finite element; zeros if there is none."""
    finite = values[np.isfinite(values)]
    return (finite.min(), finite.max()) if finite.size else (0.0, 0.0)


def _as_images(values: Array, channels: int) -> list[Array]:
    """One example as images: its channels, or the elements of a vector, row by row."""
    if values.ndim == 3:
        return [values[..., channel] for channel in range(min(channels, values.shape[-1]))]
    if values.ndim == 2:
        return [values]
    vector = values.reshape(-1)
    width = max(MIN_ROW, -(-vector.size // MAX_ROWS)) if vector.size > MIN_ROW else vector.size
    folded = np.full(-(-vector.size // width) * width, np.nan)
    folded[: vector.size] = vector
    return [folded.reshape(-1, width)]


def _height(images: list[Array], columns: int) -> float:
    """The height of a row in tiles: 1 for images, less for a vector, whose elements are as wide as there is room."""
    rows, width = images[0].shape
    return 1.0 if len(images) > 1 or rows * 4 > width else max(0.6, 0.1 + (columns - 0.1) * rows / width)
