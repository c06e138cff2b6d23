"""What a model sees: one image on its way through the layers, with all that each of them answers.

It is the walk of ``trace`` made visible; in training mode it shows what dropout leaves.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from funcnn.aliases import Array, Params, Rng
from funcnn.inspect.traverse import trace
from funcnn.plot.canvas import frame, new_axes, tile

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["feature_maps"]

LINES = 8
"""Vectors are folded into so many lines at most."""


def feature_maps(
    model: Any,
    params: Params,
    x: Array,
    paths: Iterable[str] | None = None,
    rng: Rng | None = None,
    channels: int = 8,
    ax: "Axes | None" = None,
) -> "Axes":
    """Layer by layer, what one example becomes: a row for each layer, with an image for each channel.

    Where the input of a layer is not what the row above shows, it has a row of its own, so that every layer is seen
    with what goes in and what comes out. Each row goes from its lowest number, dark blue, to its highest, yellow.

    Args:
        model: a layer or a pair.
        params: its parameters.
        x: one example, of shape ``shape``: without the batch axis.
        paths: which layers to draw, ``["conv2d_0", "dropout_0"]`` for example; all that have no layers inside by
            default.
        rng: a key, to see the model as it trains, with dropout; as it predicts by default.
        channels: of more channels, so many are drawn.
        ax: where to draw; new axes, large enough for all, by default.

    Returns:
        The axes.

    Raises:
        ValueError: there is no layer with such a path, ``channels`` is less than 1; or what the model raises.

    Example:
        >>> import funcnn as fn
        >>> model = fn.serial(fn.conv2d(4, 3), fn.max_pool2d(2))
        >>> ax = feature_maps(model, model.init((8, 8, 1), rng=0), np.ones((8, 8, 1), np.float32))
        >>> [image.get_array().shape for image in ax.images]
        [(8, 8), (6, 6), (6, 6), (6, 6), (6, 6), (3, 3), (3, 3), (3, 3), (3, 3)]
    """
    if channels < 1:
        raise ValueError(f"feature_maps: channels must be 1 or more, got {channels}")
    visits = trace(model, params, np.asarray(x)[None], rng)
    by_path = {visit.path: visit for visit in visits}
    chosen = [visit.path for visit in visits if not visit.layer.children] if paths is None else list(paths)
    unknown = [path for path in chosen if path not in by_path]
    if unknown or not chosen:
        raise ValueError(f"feature_maps: no layer has the path {unknown}; there are {[*by_path]}")

    rows: list[tuple[str, Array]] = []
    for path in chosen:
        visit = by_path[path]
        if not rows or not np.array_equal(rows[-1][1], visit.x[0]):
            rows.append((f"input of {path}" if rows else "input", visit.x[0]))
        own_name = not path.rpartition("/")[2].startswith(visit.layer.kind)
        rows.append((f"{path} ({visit.layer.kind})" if own_name else path, visit.y[0]))
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


def _note(name: str, values: Array, channels: int) -> str:
    """What stands beside a row: the layer, the shape of its answer, and the numbers that the colours go through."""
    more = f", {channels} drawn" if values.ndim == 3 and values.shape[-1] > channels else ""
    return f"{name}\n{' × '.join(map(str, values.shape))}{more}\n{values.min():.3g} to {values.max():.3g}"


def _as_images(values: Array, channels: int) -> list[Array]:
    """What one layer answers for one example, as images: its channels, or its numbers folded into lines."""
    if values.ndim == 3:
        return [values[..., channel] for channel in range(min(channels, values.shape[-1]))]
    if values.ndim == 2:
        return [values]
    vector = values.reshape(-1).astype(float)
    line = max(64, -(-vector.size // LINES)) if vector.size > 64 else vector.size
    folded = np.full(-(-vector.size // line) * line, np.nan)
    folded[: vector.size] = vector
    return [folded.reshape(-1, line)]


def _height(images: list[Array], columns: int) -> float:
    """The height of a row in tiles: one for images, less for a vector, whose numbers are as wide as there is room."""
    lines, line = images[0].shape
    return 1.0 if len(images) > 1 or lines * 4 > line else max(0.6, 0.1 + (columns - 0.1) * lines / line)
