"""The confusion matrix of a classifier: rows are true classes, columns are predicted classes.

The counts show how many examples there are, and their fractions of the row how each class was predicted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from funcnn.aliases import Array
from funcnn.calls import explained
from funcnn.plot.canvas import SKY_BLUE, axes_for, check_names, finite, numbers, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from funcnn.plot.canvas import Drawing

__all__ = ["confusion_matrix"]

WRITTEN_MAX, NAMED_MAX = 50, 25
"""The classes of the largest matrix whose counts are written, and the names on an axis of a larger one.

A picture in which the counts of a thousand classes are legible would take gigabytes.
"""


@explained
def confusion_matrix(matrix: Array, class_names: Sequence[str] | None = None, ax: Axes | None = None) -> Drawing:
    r"""A confusion matrix as a grid: in each cell the count, and its fraction of the examples of that true class.

    Args:
        matrix: counts of shape (classes, classes), rows true, columns predicted; see ``metrics.confusion_matrix``.
            Integers, or floats if the examples have weights; these are shown with about four digits.
        class_names: the names of the classes; their numbers by default.
        ax: where to draw; new axes, large enough for all cells, by default.

    Returns:
        The axes. A class without examples has no fractions. Of more than 50 classes, only the fractions are drawn, as
        colours, and some of the names.

    Raises:
        TypeError: the matrix is not a plain array of integers or floats, the names are not strings, or ``ax`` is
            something else than axes.
        ValueError: the matrix is not square, contains a negative count, NaN or infinity, or the number of names is not
            that of classes.

    Example:
        >>> ax = confusion_matrix(np.array([[9, 1], [0, 10]]), ["cat", "dog"])
        >>> [text.get_text() for text in ax.texts]
        ['9\n90.0 %', '1\n10.0 %', '0', '10\n100.0 %']
        >>> confusion_matrix(np.array([[0.5, 0.0], [0.1, 0.3]])).texts[2].get_text()
        '0.1\n25.0 %'
    """
    matrix = numbers("confusion_matrix", matrix, "matrix")
    counts = _check_counts(matrix)
    size = len(matrix)
    names = [plain(name) for name in check_names("confusion_matrix", class_names, range(size), exactly=True).values()]

    from matplotlib.colors import LinearSegmentedColormap

    written = size <= WRITTEN_MAX
    step = 1 if written else -(-size // NAMED_MAX)
    side = max(4.0, 1.4 + 0.6 * size) if written else 9.0
    longest_name = max(map(len, names[::step]))
    room = 0.085 * max(0, longest_name - 8)  # a letter of a name is 0.085 inches wide
    own = axes_for("confusion_matrix", ax, side + room, side + 0.7 * room)
    cell = (side - 1.4 if ax is None else min(own.bbox.width, own.bbox.height) / own.figure.dpi) / size
    ax = own
    fractions = _of_row(counts)
    # Black text is legible on every colour from white to sky blue.
    colours = LinearSegmentedColormap.from_list("fraction", ["white", SKY_BLUE])
    picture = ax.imshow(fractions, cmap=colours, vmin=0, vmax=1, origin="upper")
    if written:
        _write(ax, matrix, fractions, cell)
    else:
        ax.figure.colorbar(picture, ax=ax, shrink=0.8)
    ax.set_xticks(range(0, size, step), names[::step])
    if longest_name > 4:
        for label in ax.get_xticklabels():
            label.set(rotation=45, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(0, size, step), names[::step])
    ax.set_xlabel("predicted class")
    ax.set_ylabel("true class")
    ax.set_title(f"Confusion matrix\n{'count, and fraction of its row' if written else 'fraction of its row'}")
    return ax


def _write(ax: Axes, matrix: Array, fractions: Array, cell: float) -> None:
    """The count and the fraction in each cell, whose side is given in inches."""
    texts = {
        (column, row): f"{_count_text(count)}\n{100 * fractions[row, column]:.1f} %" if count else "0"
        for (row, column), count in np.ndenumerate(matrix)
    }
    longest = max(len(line) for text in texts.values() for line in text.split("\n"))
    # In points, of which an inch has 72; a digit is about 0.65 times its font size wide.
    letters = min(9, 72 * cell / max(4.5, 0.65 * longest))
    for place, text in texts.items():
        ax.text(*place, text, ha="center", va="center", color="black", fontsize=letters)


def _check_counts(matrix: Array) -> Array:
    """The counts as float64, or an error if they are not those of a confusion matrix."""
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size:
        hint = "draw one label, matrix[0]" if matrix.ndim == 3 else "metrics.confusion_matrix(y, target) makes one"
        raise ValueError(
            f"confusion_matrix: expected a matrix of shape (classes, classes), got shape {matrix.shape}; {hint}"
        )
    if matrix.dtype.kind == "b":
        raise TypeError("confusion_matrix: expected counts, integers or floats, got bool")
    counts = finite("confusion_matrix", matrix, "counts")
    if (counts < 0).any():
        raise ValueError(f"confusion_matrix: expected counts, which are not negative, got {matrix.min()}")
    return counts


def _of_row(counts: Array) -> Array:
    """Each count divided by the sum of its row; zeros where the sum is 0."""
    # Scaled by a power of two, which rounds nothing, so that no sum overflows.
    scaled = np.ldexp(counts, -np.frexp(counts.max(axis=1, keepdims=True))[1])
    sums = scaled.sum(axis=1, keepdims=True)
    fractions: Array = np.divide(scaled, sums, out=np.zeros_like(counts), where=sums > 0)
    return fractions


def _count_text(count: Any) -> str:
    """An integer with all digits; a sum of weights with four, or with those before the point."""
    if isinstance(count, np.integer):
        return f"{count}"
    return f"{count:.0f}" if 1000 <= count < 1e7 else f"{count:.4g}"
