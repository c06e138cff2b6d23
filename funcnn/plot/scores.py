"""What the scores of a classifier are worth: ROC and precision-recall curves, and how far probabilities come true.

Each class or label is a curve of its own; where one has no examples, the legend says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from funcnn import checks
from funcnn.aliases import Array
from funcnn.calls import explained
from funcnn.metrics import probability, ranking
from funcnn.metrics.inputs import columns
from funcnn.plot.canvas import COLOURS, DASHES, axes_for, check_names, legend

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["calibration_curve", "precision_recall_curve", "roc_curve"]

GREY = "#767676"
WORDS = {"roc_auc": "area", "average_precision": "average precision"}


@explained
def roc_curve(
    y: Array,
    labels: Array,
    class_names: Sequence[str] | None = None,
    *,
    weights: Array | None = None,
    multilabel: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """The ROC curve of each class: the true positive rate over the false positive rate, with the area in the legend.

    Args:
        y, labels, weights, multilabel: as in ``metrics.roc_auc``: one score for each example, which gives the curve of
            class 1; probabilities of several classes, of which each is compared with all others; or, with
            ``multilabel``, scores of several labels.
        class_names: the names of the classes or labels, from that of class 0 on; their numbers by default.
        ax: where to draw; new axes by default.

    Returns:
        The axes. A class without examples, or with all of them, has no curve; the legend says so. The dashed line is
        that of random scores.

    Raises:
        TypeError: as ``metrics.roc_auc``, the names are not strings, or ``ax`` is something else than axes.
        ValueError: as ``metrics.roc_auc``, but only if no class has a curve; or there are too few names.

    Example:
        >>> ax = roc_curve(np.array([-1.2, 0.3, 0.4, 2.0]), np.array([0, 1, 0, 1]), ["cat", "dog"])
        >>> [text.get_text() for text in ax.get_legend().get_texts()]
        ['dog (area 0.750)']
    """
    ax = _rankings("roc_curve", "roc_auc", y, labels, class_names, weights, multilabel, ax)
    ax.plot([0, 1], [0, 1], ":", color=GREY, linewidth=1)
    ax.set(xlabel="false positive rate", ylabel="true positive rate", title="ROC curve")
    return ax


@explained
def precision_recall_curve(
    y: Array,
    labels: Array,
    class_names: Sequence[str] | None = None,
    *,
    weights: Array | None = None,
    multilabel: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """The precision of each class over its recall, with the average precision, the area below, in the legend.

    Args:
        y, labels, weights, multilabel: as in ``metrics.average_precision``; see ``roc_curve``.
        class_names: the names of the classes or labels, from that of class 0 on; their numbers by default.
        ax: where to draw; new axes by default.

    Returns:
        The axes. A class without examples has no curve; the legend says so.

    Raises:
        TypeError, ValueError: as ``roc_curve``.

    Example:
        >>> ax = precision_recall_curve(np.array([-1.2, 0.3, 0.4, 2.0]), np.array([0, 1, 0, 1]))
        >>> [text.get_text() for text in ax.get_legend().get_texts()]
        ['class 1 (average precision 0.833)']
    """
    ax = _rankings("precision_recall_curve", "average_precision", y, labels, class_names, weights, multilabel, ax)
    ax.set(xlabel="recall", ylabel="precision", title="Precision-recall curve")
    return ax


@explained
def calibration_curve(
    y: Array,
    labels: Array,
    class_names: Sequence[str] | None = None,
    bins: int = 15,
    *,
    weights: Array | None = None,
    multilabel: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """The reliability diagram: how often predictions came true, over the probability that the model gave them.

    Args:
        y, labels, weights: as in ``metrics.calibration_curve``: probabilities of class 1, or of several classes, of
            which the highest counts.
        class_names: the names of the two classes, or of all labels; their numbers by default.
        bins: the number of bins, as in ``metrics.calibration_error``.
        multilabel: y holds a probability for each label, and ``labels`` zeros and ones, both of shape (n, labels); each
            label is a curve.
        ax: where to draw; new axes by default.

    Returns:
        The axes. The area of a point grows with the number of its examples; the legend has the mean distance from the
        diagonal, the expected calibration error. A model is over-confident where its curve is below the diagonal.

    Raises:
        TypeError: as ``metrics.calibration_curve``, the names are not strings, or ``ax`` is something else than axes.
        ValueError: as ``metrics.calibration_curve``; or there are too few names.

    Example:
        >>> ax = calibration_curve(np.array([0.1, 0.2, 0.7, 0.9]), np.array([0, 1, 1, 1]), bins=2)
        >>> [text.get_text() for text in ax.get_legend().get_texts()]
        ['class 1 (error 0.275)']

    Reference:
        Guo et al. (2017), On Calibration of Modern Neural Networks, arXiv 1706.04599, figure 1.
    """
    if checks.flag("calibration_curve", "multilabel", multilabel) or np.ndim(y) == 1 or np.shape(y)[1:] == (1,):
        found, w = columns("calibration_curve", y, labels, weights, multilabel, probabilities=True)
        names = _names("calibration_curve", class_names, found, multilabel)
        curves = [(names[c], probability.binned("calibration_curve", *pair, w, bins)) for c, pair in found.items()]
    elif class_names is not None:
        raise ValueError(
            "calibration_curve: of several classes there is one curve, that of the highest probability; leave out "
            "class_names"
        )
    else:
        chosen, _ = probability.predictions("calibration_curve", y, labels, weights, of_class_1=False)
        curves = [("highest probability", probability.binned("calibration_curve", *chosen, bins))]
    texts = [f"{name} (error {probability.mean_gap(curve):.3f})" for name, curve in curves]
    ax = axes_for("calibration_curve", ax, _width(texts), _height(texts))
    ax.plot([0, 1], [0, 1], ":", color=GREY, linewidth=1)
    entries = []
    for number, (_, curve) in enumerate(curves):
        line = _line(ax, number, curve.confidence, curve.accuracy)
        # The largest point has an area of 120 square points, and none is too small to be seen.
        areas = np.maximum(120 * curve.weight / curve.weight.max(), 6)
        ax.scatter(curve.confidence, curve.accuracy, areas, color=line.get_color(), alpha=0.7, zorder=3)
        entries.append((line, texts[number]))
    _finish(ax, entries)
    ax.set(xlabel="predicted probability", ylabel="fraction that came true", title="Calibration curve")
    return ax


def _rankings(
    kind: str,
    metric: str,
    y: Array,
    labels: Array,
    class_names: Sequence[str] | None,
    weights: Array | None,
    multilabel: bool,
    ax: Axes | None,
) -> Axes:
    """The curve of each class, with its metric in the legend."""
    found, w = columns(kind, y, labels, weights, multilabel)
    counts = {c: ranking.counts_by_threshold(*pair, w)[:2] for c, pair in found.items()}
    names = _names(kind, class_names, counts, multilabel)
    lacking = {c: ranking.undefined(metric, *pair) for c, pair in counts.items()}
    if all(lacking.values()):
        each = ", ".join(f"{names[c]} has {words}" for c, words in lacking.items())
        raise ValueError(f"{kind} is undefined: {each}; it compares examples of a class with those of others")
    texts = {
        c: f"{names[c]} ({lacking[c] or f'{WORDS[metric]} {ranking.area(metric, *pair):.3f}'})"
        for c, pair in counts.items()
    }
    ax = axes_for(kind, ax, _width(texts.values()), _height(texts))
    entries = []
    for number, (c, pair) in enumerate(counts.items()):
        x: Any = []
        height: Any = []
        if not lacking[c] and metric == "roc_auc":
            x, height = ranking.roc_points(*pair)
        elif not lacking[c]:
            height, x = ranking.precision_recall_points(*pair)
        # From one recall to the next lower one, the precision is that of the higher.
        line = _line(ax, number, x, height, "default" if metric == "roc_auc" else "steps-post")
        entries.append((line, texts[c]))
    _finish(ax, entries)
    return ax


def _names(kind: str, class_names: Any, classes: Iterable[int], multilabel: bool) -> dict[int, str]:
    """The name of each class or label that has a curve."""
    names = check_names(kind, class_names, classes)
    word = "label" if multilabel else "class"
    return {c: f"{word} {name}" for c, name in names.items()} if class_names is None else names


def _line(ax: Axes, number: int, x: Any, y: Any, drawstyle: Any = "default") -> Any:
    """A line that can be distinguished from the others without colours."""
    colour, dashes = COLOURS[number % len(COLOURS)], DASHES[sum(divmod(number, len(COLOURS))) % len(DASHES)]
    (line,) = ax.plot(x, y, dashes, color=colour, drawstyle=drawstyle, linewidth=1.5)
    return line


def _width(texts: Iterable[str]) -> float:
    """The width of new axes in inches, with room for the legend on the right."""
    return 6.4 + 0.075 * max(map(len, texts))


def _height(curves: Any) -> float:
    """The height of new axes, with room for all rows of the legend."""
    return max(4.4, 0.22 * len(curves) + 1.2)


def _finish(ax: Axes, entries: list[tuple[Any, str]]) -> None:
    """The limits of both axes, a little more than 0 to 1, and the legend beside the plot, where it covers no curve."""
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    ax.grid(alpha=0.3)
    legend(ax, entries, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=9)
