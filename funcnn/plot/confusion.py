"""The confusion matrix of a classifier: rows are true classes, columns are predicted classes.

The counts show how many examples there are, and their fractions of the row how each class was predicted.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from funcnn.aliases import Array
from funcnn.plot.canvas import SKY_BLUE, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["confusion_matrix"]


def confusion_matrix(matrix: Array, class_names: Sequence[str] | None = None, ax: "Axes | None" = None) -> "Axes":
    r"""A confusion matrix as a grid: in each cell the count, and its fraction of the examples of that true class.

    Args:
        matrix: integer counts of shape (classes, classes), rows true, columns predicted; see
            ``metrics.confusion_matrix``.
        class_names: the names of the classes; their numbers by default.
        ax: where to draw; new axes, large enough for all cells, by default.

    Returns:
        The axes.

    Raises:
        TypeError: the matrix does not consist of integers.
        ValueError: it is not square, contains a negative count, or the number of names is not that of classes.

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
        raise ValueError(
            f"confusion_matrix: expected {size} class names for a matrix of shape {matrix.shape}, got {len(names)}"
        )

    from matplotlib.colors import LinearSegmentedColormap

    side = max(4.0, 1.4 + 0.6 * size)
    ax = new_axes(side, side) if ax is None else ax
    fractions = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    # Black text is legible on every colour from white to sky blue.
    ax.imshow(fractions, cmap=LinearSegmentedColormap.from_list("fraction", ["white", SKY_BLUE]), vmin=0, vmax=1)
    cell = 72 * min(ax.bbox.width, ax.bbox.height) / ax.figure.dpi / size  # in points, like font sizes
    for (row, column), count in np.ndenumerate(matrix):
        text = f"{count}\n{100 * fractions[row, column]:.1f} %" if count else "0"
        ax.text(column, row, text, ha="center", va="center", color="black", fontsize=min(9, cell / 4.5))
    ax.set_xticks(range(size), names)
    if max(map(len, names)) > 4:
        for label in ax.get_xticklabels():
            label.set(rotation=45, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(size), names)
    ax.set_xlabel("predicted class")
    ax.set_ylabel("true class")
    ax.set_title("Confusion matrix\ncount, and fraction of its row")
    return ax


def _check_counts(matrix: Array) -> None:
    """Raise an error unless it is a confusion matrix."""
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size:
        raise ValueError(f"confusion_matrix: expected a matrix of shape (classes, classes), got shape {matrix.shape}")
    if matrix.dtype.kind not in "iu":
        raise TypeError(f"confusion_matrix: expected integer counts, got {matrix.dtype}")
    if (matrix < 0).any():
        raise ValueError(f"confusion_matrix: expected counts, which are not negative, got {matrix.min()}")
