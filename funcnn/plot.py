"""Pictures of how training went and of what a model confuses; each is drawn on axes that you give, or on new ones.

Every function returns the axes, so ``ax.figure.savefig("picture.png")`` keeps the picture and ``ax`` takes any change;
new axes belong to a figure of their own that needs no screen and that nobody has to close.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from funcnn.aliases import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["confusion_matrix", "learning_curves"]

# Three of the colours that people with any kind of colour vision can tell apart.
# Reference: Okabe and Ito, Color universal design (2008).
BLUE, SKY_BLUE, VERMILLION = "#0072B2", "#56B4E9", "#D55E00"


def learning_curves(history: Sequence[Mapping[str, float]], metric: str = "loss", ax: "Axes | None" = None) -> "Axes":
    """One metric on the training and on the validation data, epoch by epoch.

    Args:
        history: a dict for each epoch, with ``epoch`` and ``train_<metric>``, ``validation_<metric>`` or both. Epochs
            that lack one are left out of its curve.
        metric: which to draw, ``"loss"`` or ``"accuracy"`` for example.
        ax: where to draw; new axes by default.

    Returns:
        The axes.

    Raises:
        ValueError: the history is empty, or has no such metric; the message names those it has.

    Example:
        >>> history = [{"epoch": 0, "train_loss": 2.3}, {"epoch": 1, "train_loss": 0.4}]
        >>> learning_curves(history).get_ylabel()
        'loss'
    """
    curves = {part: f"{part}_{metric}" for part in ("train", "validation")}
    if not any(key in epoch for epoch in history for key in curves.values()):
        raise ValueError(f"history has no metric {metric!r}; it has {_metrics(history) or 'none at all'}")

    from matplotlib.ticker import MaxNLocator

    ax = _new_axes(6.4, 4.4) if ax is None else ax
    # The curves differ in dash and marker too, so that they can be told apart in grey.
    for (part, key), colour, style in zip(curves.items(), (BLUE, VERMILLION), ("o-", "s--"), strict=True):
        points = [(epoch["epoch"], epoch[key]) for epoch in history if key in epoch]
        if points:
            step = -(-len(points) // 20)
            ax.plot(*zip(*points, strict=True), style, color=colour, label=part, markersize=4, markevery=step)
    ax.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))
    ax.set_xlabel("epoch")
    ax.set_ylabel(metric.replace("_", " "))
    ax.grid(alpha=0.3)
    # The legend lies between title and frame, where no curve can run under it.
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, borderaxespad=0, fontsize=10)
    ax.set_title("Learning curves", loc="left", pad=24)
    return ax


def confusion_matrix(matrix: Array, class_names: Sequence[str] | None = None, ax: "Axes | None" = None) -> "Axes":
    r"""A confusion matrix as a grid: in each cell the count, and its share of the examples of that true class.

    Args:
        matrix: integer counts of shape (classes, classes), rows true, columns predicted; see
            ``metrics.confusion_matrix``.
        class_names: the names of the classes; their numbers by default.
        ax: where to draw; new axes, large enough for all cells, by default.

    Returns:
        The axes.

    Raises:
        TypeError: the matrix does not hold integers.
        ValueError: it is not square, holds a negative count, or has another number of classes than of names.

    Example:
        >>> ax = confusion_matrix(np.array([[9, 1], [0, 10]]), ["cat", "dog"])
        >>> [text.get_text() for text in ax.texts]
        ['9\n90.0 %', '1\n10.0 %', '0', '10\n100.0 %']
    """
    matrix = np.asarray(matrix)
    _check_counts(matrix)
    size = len(matrix)
    names = [str(i) for i in range(size)] if class_names is None else list(class_names)
    if len(names) != size:
        raise ValueError(f"expected {size} class names for a matrix of shape {matrix.shape}, got {len(names)}")

    from matplotlib.colors import LinearSegmentedColormap

    side = max(4.0, 1.4 + 0.6 * size)
    ax = _new_axes(side, side) if ax is None else ax
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    # Black can be read on every colour from white to sky blue.
    ax.imshow(shares, cmap=LinearSegmentedColormap.from_list("share", ["white", SKY_BLUE]), vmin=0, vmax=1)
    cell = 72 * min(ax.bbox.width, ax.bbox.height) / ax.figure.dpi / size  # in points, as the size of letters is
    for (row, column), count in np.ndenumerate(matrix):
        text = f"{count}\n{100 * shares[row, column]:.1f} %" if count else "0"
        ax.text(column, row, text, ha="center", va="center", color="black", fontsize=min(9, cell / 4.5))
    ax.set_xticks(range(size), names)
    if max(map(len, names)) > 4:
        for label in ax.get_xticklabels():
            label.set(rotation=45, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(size), names)
    ax.set_xlabel("predicted class")
    ax.set_ylabel("true class")
    ax.set_title("Confusion matrix\ncount, and share of its row")
    return ax


def _new_axes(width: float, height: float) -> "Axes":
    """Axes in a figure of this size in inches, which pyplot does not know and so never shows or keeps."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained").subplots()


def _metrics(history: Sequence[Mapping[str, float]]) -> str:
    """The names of all metrics in a history, for a message."""
    parts = [key.partition("_") for epoch in history for key in epoch]
    return ", ".join(sorted({repr(metric) for part, _, metric in parts if part in ("train", "validation")}))


def _check_counts(matrix: Array) -> None:
    """Refuse what is no confusion matrix."""
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size:
        raise ValueError(f"expected a matrix of shape (classes, classes), got shape {matrix.shape}")
    if matrix.dtype.kind not in "iu":
        raise TypeError(f"expected integer counts, got {matrix.dtype}")
    if (matrix < 0).any():
        raise ValueError(f"expected counts, which are not negative, got {matrix.min()}")
