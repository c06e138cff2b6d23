"""Curves over time, a metric by epoch and the norm of each gradient or update by step; and over a hyper-parameter.

Curves differ in dashes and markers too, so that they can be distinguished without colours.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from funcnn import checks
from funcnn.aliases import Array
from funcnn.calls import explained
from funcnn.plot.canvas import BLUE, COLOURS, DASHES, VERMILLION, axes_for, finite, legend, numbers, plain
from funcnn.training.run import Fit
from funcnn.wording import shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from funcnn.plot.canvas import Drawing
    from funcnn.training.run import Fit

__all__ = ["learning_curves", "norms", "validation_curve"]

MARKERS = ("", "o", "s", "^", "D")

Records: TypeAlias = Iterable[Mapping[str, float | str]]
"""A dict of numbers for each epoch or step; numbers as text, as ``csv.DictReader`` reads them from a log, will do."""


@explained
def learning_curves(history: Records | Fit, metric: str = "loss", ax: Axes | None = None) -> Drawing:
    """One metric on the training and on the validation data, by epoch.

    Args:
        history: what ``fit`` returned, or a dict for each epoch, with ``epoch`` and ``train_<metric>``,
            ``validation_<metric>`` or both, such as its history or the rows that ``csv.DictReader`` reads from a
            ``csv_log``. Each curve has the epochs with its metric, and a gap where it is NaN or infinite.
        metric: the name of the metric, ``"loss"`` or ``"accuracy"`` for example.
        ax: where to draw; new axes by default.

    Returns:
        The axes.

    Raises:
        TypeError: the history is not a sequence of dicts, a value is neither a number nor the text of one, or ``ax`` is
            something else than axes.
        ValueError: the history is empty, has no such metric, or has it in a record without an epoch; or a text is not
            that of a number.

    Example:
        >>> history = [{"epoch": 0, "train_loss": 2.3}, {"epoch": 1, "train_loss": 0.4}]
        >>> learning_curves(history).get_ylabel()
        'loss'
    """
    records = _records("learning_curves", history)
    parts = ("train", "validation")
    curves = {part: _points("learning_curves", records, f"{part}_{metric}", "epoch") for part in parts}
    if not any(curves.values()):
        raise ValueError(
            f"learning_curves: the history has no metric {metric!r}; it has {_metrics(records) or 'none at all'}"
        )

    from matplotlib.ticker import MaxNLocator

    ax = axes_for("learning_curves", ax, 6.4, 4.4)
    for (part, points), colour, style in zip(curves.items(), (BLUE, VERMILLION), ("o-", "s--"), strict=True):
        if points:
            step = -(-len(points) // 20)
            label = _with_gaps(part, points)
            ax.plot(*zip(*points, strict=True), style, color=colour, label=label, markersize=4, markevery=step)
    ax.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))
    return _labelled(ax, "Learning curves", "epoch", metric)


def all_curves(history: Records, metrics: Sequence[str] = ()) -> Figure:
    """The learning curves of several metrics, by default of all, beside and below each other in a figure of its own."""
    from matplotlib.figure import Figure

    names = metrics or list(dict.fromkeys(_metric_names(_records("learning_curves", history))))
    rows, columns = -(-len(names) // 3), min(len(names), 3)
    figure = Figure(figsize=(4.8 * columns, 3.3 * rows), layout="compressed")
    for number, metric in enumerate(names, start=1):
        learning_curves(history, metric, figure.add_subplot(rows, columns, number)).set_title("", loc="left")
    return figure


@explained
def validation_curve(
    values: ArrayLike,
    train: ArrayLike,
    validation: ArrayLike,
    parameter: str = "hyper-parameter",
    metric: str = "loss",
    ax: Axes | None = None,
) -> Drawing:
    """One metric on the training and on the validation data, by the value of a hyper-parameter.

    Where both are bad the model is too rigid; where only the validation is bad it is too free. Between them is the
    value to take.

    Args:
        values: the values of the hyper-parameter, numbers of shape (values,), in any order. The axis is logarithmic if
            all are above zero and the largest is a hundred times the smallest or more.
        train: the metric of each on the training data, of shape (values,); or (values, runs), such as those of the
            folds of ``k_fold``: their mean is drawn, and a band from the lowest to the highest.
        validation: the same on the validation data.
        parameter: the name of the hyper-parameter, ``"learning rate"`` for example.
        metric: the name of the metric.
        ax: where to draw; new axes by default.

    Returns:
        The axes. The curves have gaps where a metric is NaN or infinite, as that of a run that diverged.

    Raises:
        TypeError: something is not an array of numbers, a name is not a string, or ``ax`` is something else than axes.
        ValueError: the shapes do not fit, there is no value, or a value is not finite.

    Example:
        >>> ax = validation_curve([1e-4, 1e-3, 1e-2], [0.9, 0.3, 0.1], [0.95, 0.4, 0.6], "learning rate")
        >>> ax.get_xscale(), ax.get_xlabel()
        ('log', 'learning rate')
    """
    x = finite("validation_curve", values, "values")
    if x.ndim != 1 or not x.size:
        raise ValueError(f"validation_curve: expected values of shape (values,), at least one, got shape {x.shape}")
    for name, word in (("parameter", parameter), ("metric", metric)):
        if not isinstance(word, str):
            raise TypeError(f"validation_curve: expected {name} as a string, got {checks.what(word)}")
    parts = {"train": _runs(train, "train", len(x)), "validation": _runs(validation, "validation", len(x))}

    ax = axes_for("validation_curve", ax, 6.4, 4.4)
    order = np.argsort(x, kind="stable")
    for (part, runs), colour, style in zip(parts.items(), (BLUE, VERMILLION), ("o-", "s--"), strict=True):
        middle = _mean(runs)
        label = _with_gaps(part, [(0.0, mean) for mean in middle.tolist()])
        ax.plot(x[order], middle[order], style, color=colour, label=label, markersize=4)
        if runs.shape[1] > 1:
            low, high = (np.where(np.isnan(middle), np.nan, edge(runs, axis=1)) for edge in (np.min, np.max))
            ax.fill_between(x[order], low[order], high[order], color=colour, alpha=0.2, linewidth=0)
    if x.min() > 0 and x.max() / 100 >= x.min():
        ax.set_xscale("log")
    return _labelled(ax, "Validation curve", plain(parameter), metric)


def _labelled(ax: Drawing, title: str, x: str, metric: str) -> Drawing:
    """The axes of curves of a metric with their texts."""
    ax.set_xlabel(x)
    ax.set_ylabel(plain(metric.replace("_", " ")))
    ax.grid(alpha=0.3)
    # The legend is between title and frame, where it covers no curve. On the left is the power of ten of the ticks.
    ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False, borderaxespad=0, fontsize=10)
    ax.set_title(title, loc="left", pad=24)
    return ax


def _runs(scores: Any, name: str, values: int) -> Array:
    """The metric of each run as float64 of shape (values, runs), NaN where it is not finite."""
    found = numbers("validation_curve", scores, name).astype(np.float64)
    if found.ndim not in (1, 2) or len(found) != values or not found.size:
        raise ValueError(
            f"validation_curve: expected {name} of shape ({values},) or ({values}, runs), one row for each value, got "
            f"shape {found.shape}"
        )
    found[~np.isfinite(found)] = np.nan
    return found.reshape(values, -1)


def _mean(runs: Array) -> Array:
    """The mean of each row, of which no sum overflows."""
    mean: Array = (runs / runs.shape[1]).sum(axis=1)
    return mean


@explained
def norms(records: Records, quantity: str = "gradient", ax: Axes | None = None) -> Drawing:
    """The norm of each parameter's gradient or update, by step, on a logarithmic scale.

    It shows vanishing and exploding gradients before they affect the loss.

    Args:
        records: a dict for each step, as ``tree.norms(grads)`` returns it: ``{path: norm}``. Its step is ``"step"``, if
            the dict has it, and otherwise its index in the sequence. Numbers may be text, as for ``learning_curves``;
            where one is NaN, infinite or not above zero, its line has a gap.
        quantity: the quantity whose norms they are, ``"gradient"`` or ``"update"``, for the label of the axis.
        ax: where to draw; new axes by default.

    Returns:
        The axes, with a line for each path; those of one layer share a colour, and each leaf name has its own dashes.

    Raises:
        TypeError: the records are not a sequence of dicts with strings as keys, a value is neither a number nor the
            text of one, or ``ax`` is something else than axes.
        ValueError: there are no norms, or a text is not that of a number.

    Example:
        >>> records = [{"dense_0/b": 0.1, "dense_0/w": 2.0}, {"dense_0/b": 0.2, "dense_0/w": 1.0}]
        >>> [line.get_label() for line in norms(records).lines]
        ['dense_0/b', 'dense_0/w']
    """
    listed = _records("norms", records)
    paths = list(dict.fromkeys(path for record in listed for path in record if path != "step"))
    lines = {path: _points("norms", listed, path, "step") for path in paths}
    if not any(lines.values()):
        raise ValueError("norms: expected records such as tree.norms(grads), {path: norm}, got no norm at all")

    from matplotlib.ticker import MaxNLocator

    width = 7.6 + 0.075 * max(0, max(map(len, paths)) - 24)
    ax = axes_for("norms", ax, width, max(4.4, 0.22 * len(paths) + 1.2))
    layers = list(dict.fromkeys(path.rpartition("/")[0] for path in paths))
    leaves = list(dict.fromkeys(path.rpartition("/")[2] for path in paths))
    entries = []
    for path, points in lines.items():
        layer, _, leaf = path.rpartition("/")
        colour = COLOURS[layers.index(layer) % len(COLOURS)]
        style = DASHES[leaves.index(leaf) % len(DASHES)]
        # Markers for layers that share a colour, and for a line of one point.
        single = sum(math.isfinite(norm) for _, norm in points) == 1
        marker = MARKERS[layers.index(layer) // len(COLOURS) % len(MARKERS)] or "." * single
        every = 1 if single else max(1, -(-len(points) // 20))
        (line,) = ax.plot(
            [step for step, _ in points], [norm for _, norm in points], style,
            marker=marker, markersize=4, markevery=every, color=colour, label=plain(path), linewidth=1.2,
        )  # fmt: skip
        entries.append((line, _with_gaps(path, points)))
    if any(norm > 0 for points in lines.values() for _, norm in points):
        ax.set_yscale("log", nonpositive="mask")
    ax.xaxis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))
    ax.set(xlabel="step", ylabel=plain(f"{quantity} norm"))
    ax.grid(alpha=0.3)
    legend(ax, entries, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=9)
    ax.set_title(plain(f"Norms of the {quantity}s"))
    return ax


def _records(kind: str, records: Any) -> list[Mapping[str, Any]]:
    """The records as a list of dicts, or an error that says what they are instead; those of a ``Fit`` are its own."""
    records = records.history if isinstance(records, Fit) else records
    listed = None if isinstance(records, Mapping | str) or not checks.is_iterable(records) else list(records)
    if listed is None or any(not isinstance(record, Mapping) for record in listed):
        raise TypeError(
            f"{kind}: expected a list of dicts of numbers, such as fit(...).history or [tree.norms(grads)], got "
            f'{checks.what(records)}; of a data frame, use frame.to_dict("records")'
        )
    for record in listed:
        for name in record:
            if not isinstance(name, str):
                raise TypeError(f"{kind}: expected strings as the keys of a record, got {shown(name)}")
    return listed


def _points(kind: str, records: list[Mapping[str, Any]], name: str, time: str) -> list[tuple[float, float]]:
    """The numbers of a name at their times: epochs, which are required, or steps, which are counted by default."""
    points = []
    for place, record in enumerate(records):
        value = record.get(name, "")
        if not isinstance(value, str) or value.strip():  # a CSV file has empty fields where a record lacks a number
            if time not in record and time == "epoch":
                raise ValueError(f"{kind}: record {place} has {name!r}, but no 'epoch'; it has {sorted(record)}")
            points.append((_number(kind, place, time, record.get(time, place)), _number(kind, place, name, value)))
    return points


def _number(kind: str, place: int, name: str, value: Any) -> float:
    """A number, or the text of one; matplotlib would draw text as categories, in the order in which they come."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            raise ValueError(f"{kind}: record {place} has {value!r} as {name!r}, which is not a number") from None
    if isinstance(value, Real) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise ValueError(f"{kind}: record {place} has a {name!r} that is too large for a float") from None
    raise TypeError(f"{kind}: record {place} has {checks.what(value)} as {name!r}, not a number; use float(...)")


def _with_gaps(name: str, points: list[tuple[float, float]]) -> str:
    """The name of a line, and how many of its points cannot be drawn: the line has gaps there."""
    gaps = sum(not math.isfinite(y) for _, y in points)
    return f"{name} ({gaps} of {len(points)} NaN or infinite)" if gaps else name


def _metrics(history: list[Mapping[str, Any]]) -> str:
    """The names of all metrics in a history, for a message."""
    return ", ".join(sorted({repr(metric) for metric in _metric_names(history)}))


def _metric_names(history: list[Mapping[str, Any]]) -> Iterator[str]:
    """The name of a metric for each of its numbers."""
    parts = [key.partition("_") for epoch in history for key in epoch]
    return (metric for part, _, metric in parts if part in ("train", "validation"))
