"""Curves over time: a metric by epoch, and the norm of each gradient or update by step.

Curves differ in dashes and markers too, so that they can be distinguished without colours.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from funcnn.plot.canvas import BLUE, COLOURS, VERMILLION, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["learning_curves", "norms"]

DASHES = ("-", "--", ":", "-.")
MARKERS = ("", "o", "s", "^", "D")


def learning_curves(history: Sequence[Mapping[str, float]], metric: str = "loss", ax: "Axes | None" = None) -> "Axes":
    """One metric on the training and on the validation data, by epoch.

    Args:
        history: a dict for each epoch, with ``epoch`` and ``train_<metric>``, ``validation_<metric>`` or both, such as
            the history of ``fit``. Each curve has the epochs with its metric.
        metric: the name of the metric, ``"loss"`` or ``"accuracy"`` for example.
        ax: where to draw; new axes by default.

    Returns:
        The axes.

    Raises:
        ValueError: the history is empty, or has no such metric.

    Example:
        >>> history = [{"epoch": 0, "train_loss": 2.3}, {"epoch": 1, "train_loss": 0.4}]
        >>> learning_curves(history).get_ylabel()
        'loss'
    """
    curves = {part: f"{part}_{metric}" for part in ("train", "validation")}
    if not any(key in epoch for epoch in history for key in curves.values()):
        raise ValueError(
            f"learning_curves: the history has no metric {metric!r}; it has {_metrics(history) or 'none at all'}"
        )

    from matplotlib.ticker import MaxNLocator

    ax = new_axes(6.4, 4.4) if ax is None else ax
    for (part, key), colour, style in zip(curves.items(), (BLUE, VERMILLION), ("o-", "s--"), strict=True):
        points = [(epoch["epoch"], epoch[key]) for epoch in history if key in epoch]
        if points:
            step = -(-len(points) // 20)
            ax.plot(*zip(*points, strict=True), style, color=colour, label=part, markersize=4, markevery=step)
    ax.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))
    ax.set_xlabel("epoch")
    ax.set_ylabel(metric.replace("_", " "))
    ax.grid(alpha=0.3)
    # The legend is between title and frame, where it covers no curve.
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, borderaxespad=0, fontsize=10)
    ax.set_title("Learning curves", loc="left", pad=24)
    return ax


def norms(records: Sequence[Mapping[str, float]], quantity: str = "gradient", ax: "Axes | None" = None) -> "Axes":
    """The norm of each parameter's gradient or update, by step, on a logarithmic scale.

    It shows vanishing and exploding gradients before they affect the loss.

    Args:
        records: a dict for each step, as ``tree.norms(grads)`` returns it: ``{path: norm}``. Its step is ``"step"``, if
            the dict has it, and otherwise its index in the sequence.
        quantity: the quantity whose norms they are, ``"gradient"`` or ``"update"``, for the label of the axis.
        ax: where to draw; new axes by default.

    Returns:
        The axes, with a line for each path; those of one layer share a colour, and each leaf name has its own dashes.

    Raises:
        ValueError: there are no norms.

    Example:
        >>> records = [{"dense_0/b": 0.1, "dense_0/w": 2.0}, {"dense_0/b": 0.2, "dense_0/w": 1.0}]
        >>> [line.get_label() for line in norms(records).lines]
        ['dense_0/b', 'dense_0/w']
    """
    paths = list(dict.fromkeys(path for record in records for path in record if path != "step"))
    if not paths:
        raise ValueError("norms: expected records such as tree.norms(grads), {path: norm}, got no norm at all")

    ax = new_axes(7.6, max(4.4, 0.22 * len(paths) + 1.2)) if ax is None else ax
    layers = list(dict.fromkeys(path.rpartition("/")[0] for path in paths))
    leaves = list(dict.fromkeys(path.rpartition("/")[2] for path in paths))
    for path in paths:
        layer, _, leaf = path.rpartition("/")
        colour = COLOURS[layers.index(layer) % len(COLOURS)]
        style = DASHES[leaves.index(leaf) % len(DASHES)]
        points = [(record.get("step", place), record[path]) for place, record in enumerate(records) if path in record]
        # Markers for layers that share a colour, and for a line of one point.
        marker = MARKERS[layers.index(layer) // len(COLOURS) % len(MARKERS)] or "." * (len(points) == 1)
        every = -(-len(points) // 20)
        ax.plot(
            *zip(*points, strict=True), style,
            marker=marker, markersize=4, markevery=every, color=colour, label=path, linewidth=1.2,
        )  # fmt: skip
    if any(record.get(path, 0) > 0 for record in records for path in paths):
        ax.set_yscale("log", nonpositive="mask")
    ax.set(xlabel="step", ylabel=f"{quantity} norm")
    ax.grid(alpha=0.3)
    ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=9)
    ax.set_title(f"Norms of the {quantity}s")
    return ax


def _metrics(history: Sequence[Mapping[str, float]]) -> str:
    """The names of all metrics in a history, for a message."""
    parts = [key.partition("_") for epoch in history for key in epoch]
    return ", ".join(sorted({repr(metric) for part, _, metric in parts if part in ("train", "validation")}))
