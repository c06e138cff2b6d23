"""Weights as images: each filter of a convolution, and each unit of a dense layer.

Blue is negative, white is zero and vermillion is positive; all weights of a layer have the same scale.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from funcnn import checks
from funcnn.aliases import Array, Shape
from funcnn.calls import explained
from funcnn.plot.canvas import axes_for, counted, diverging, frame, numbers, outline, tile

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from funcnn.plot.canvas import Drawing

__all__ = ["dense_weights", "filters"]


@explained
def filters(w: Array, ax: Axes | None = None) -> Drawing:
    """The kernels of a convolution: a column for each filter, a row for each input channel.

    Args:
        w: (kernel height, kernel width, channels, filters), ``params["conv2d_0"]["w"]`` for example. Pass a part of a
            large layer: ``w[:, :, :4, :16]``.
        ax: where to draw; new axes, large enough for all, by default.

    Returns:
        The axes.

    Raises:
        TypeError: ``w`` is not a plain array of numbers, or ``ax`` is something else than axes.
        ValueError: ``w`` has another number of axes, is empty, consists of integers, or contains NaN or infinite
            numbers.

    Example:
        >>> ax = filters(np.ones((3, 3, 1, 8)))
        >>> len(ax.images)
        8
    """
    w = _check_weights("filters", w, "(kernel height, kernel width, channels, filters)", 4)
    rows, columns = w.shape[2:]
    ax = axes_for("filters", ax, max(4.0, 0.62 * columns + 1.8), 0.62 * rows + 0.9)
    shown = [(w[:, :, row, column], row, column) for row in range(rows) for column in range(columns)]
    _tiles(ax, shown, rows, columns, np.abs(w).max() or 1.0)
    ax.set_xticks(np.arange(columns) + 0.45, [str(number) for number in range(columns)])
    ax.set_yticks(np.arange(rows) + 0.45, [str(number) for number in range(rows)])
    ax.set(xlabel="filter", ylabel="channel")
    ax.set_title(f"Filters of {w.shape[0]} × {w.shape[1]}")
    return ax


@explained
def dense_weights(w: Array, shape: Shape | None = None, ax: Axes | None = None) -> Drawing:
    """The weights of a dense layer: as one matrix, or as an image for each unit.

    Args:
        w: (inputs, units).
        shape: the shape of the inputs as an image: (height, width), or (height, width, channels), with a row of images
            for each channel; by default the weights are drawn as one matrix, a row for each input.
        ax: where to draw; new axes by default.

    Returns:
        The axes.

    Raises:
        TypeError: ``w`` is not a plain array of numbers, ``shape`` is not a tuple of ints, or ``ax`` is something else
            than axes.
        ValueError: ``w`` has another number of axes, is empty, consists of integers, or contains NaN or infinite
            numbers; or ``shape`` does not have as many elements as there are inputs.

    Example:
        >>> w = np.arange(8.0).reshape(4, 2)
        >>> dense_weights(w, (2, 2)).images[0].get_array().tolist()
        [[0.0, 2.0], [4.0, 6.0]]
    """
    w = _check_weights("dense_weights", w, "(inputs, units)", 2)
    inputs, units = w.shape
    limit = np.abs(w).max() or 1.0
    if shape is None:
        from matplotlib.ticker import MaxNLocator

        ax = axes_for("dense_weights", ax, 6.4, 4.8)
        picture = ax.imshow(w, cmap=diverging(), vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest")
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))
        ax.set(xlabel="unit", ylabel="input")
        ax.figure.colorbar(picture, ax=ax).set_label("weight")
        ax.set_title(f"Weights of {counted(inputs, 'input')} to {counted(units, 'unit')}")
        return ax
    shape = checks.example_shape("dense_weights", shape)
    if len(shape) not in (2, 3) or math.prod(shape) != inputs:
        raise ValueError(
            f"dense_weights: expected the (height, width) or (height, width, channels) of {inputs} inputs, got {shape}"
        )
    kernels = w.reshape(*shape[:2], -1, units)
    channels = kernels.shape[2]
    columns = units if channels > 1 else min(units, 10)
    rows = channels if channels > 1 else -(-units // columns)
    ax = axes_for("dense_weights", ax, max(4.0, 0.95 * columns + 1.2), 0.95 * rows + 0.9)
    shown = [
        (kernels[:, :, channel, unit], *((channel, unit) if channels > 1 else divmod(unit, columns)))
        for channel in range(channels)
        for unit in range(units)
    ]
    _tiles(ax, shown, rows, columns, limit)
    if rows == 1 or channels > 1:
        ax.set_xticks(np.arange(columns) + 0.45, [str(number) for number in range(columns)])
        ax.set_xlabel("unit")
    if channels > 1:
        ax.set_yticks(np.arange(rows) + 0.45, [str(number) for number in range(rows)])
        ax.set_ylabel("channel")
    elif rows > 1:
        ax.set_yticks(np.arange(rows) + 0.45, [f"{first} ..." for first in range(0, units, columns)])
        ax.set_ylabel("units")
    ax.set_title(f"Weights of {counted(units, 'unit')}")
    return ax


def _tiles(ax: Axes, shown: list[tuple[Array, Any, Any]], rows: int, columns: int, limit: Any) -> None:
    """Draw each ``(kernel, row, column)`` in its place, and the common scale."""
    for kernel, row, column in shown:
        picture = tile(ax, kernel, column, row, cmap=diverging(), vmin=-limit, vmax=limit)
        outline(ax, picture, color="0.6", linewidth=0.5)
    frame(ax, columns, rows)
    beside = ax.inset_axes((1 + 0.1 / columns, 0, 0.2 / columns, 1))
    ax.figure.colorbar(picture, cax=beside).set_label("weight")


def _check_weights(kind: str, w: Array, axes: str, count: int) -> Array:
    """The weights as float64, or an error if they do not have ``count`` axes, are empty, or are not finite floats."""
    w = numbers(kind, w, "weights")
    if w.ndim != count or not w.size:
        raise ValueError(f"{kind}: expected weights of axes {axes}, got shape {w.shape}")
    if w.dtype.kind != "f" or not np.isfinite(w).all():
        raise ValueError(
            f"{kind}: expected finite floats, got {w.dtype}" + (" with NaN or infinity" if w.dtype.kind == "f" else "")
        )
    weights: Array = w.astype(np.float64)
    return weights
