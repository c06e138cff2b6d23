"""Callbacks follow a run of ``fit``: each is called after each evaluation, and may write files or stop the run.

A callback is any function of the record and of the ``Fit`` so far, such as
``lambda record, result: record["seconds"] > 3600``: training stops when it returns True. One that must remember
something is a pair ``(init, update)``, a ``Callback``: ``fit`` keeps its state, and saves it with the run.
"""

from __future__ import annotations

import csv
import io
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from funcnn import checks, notebook
from funcnn.interchange.checkpoint import load, save
from funcnn.interchange.files import appended, check_folder, check_replaceable, replaced
from funcnn.optim import report_metric
from funcnn.recorded import recorded
from funcnn.signals import reraise_if_of_a_handler
from funcnn.spellings import explain_names
from funcnn.training.evaluate import Record
from funcnn.training.run import Callback, Decision, Fit, Mode
from funcnn.training.tensorboard import tensorboard
from funcnn.wording import shown

__all__ = ["checkpoints", "csv_log", "early_stopping", "live_curves", "reduce_on_plateau", "tensorboard"]

GIVE_VALIDATION = "; give fit validation=(x, target) or validation_split=0.2, and it has 'validation_loss'"
"""What to do where a callback needs validation data."""

EPOCH_FILE = re.compile(r"epoch_(\d{4,})\.npz")


@recorded
def early_stopping(metric: str, patience: int, mode: Mode = "min", min_delta: float = 0.0) -> Callback:
    """Stop training when a metric no longer improves, and let ``fit`` return the best parameters.

    Whether this callback, another callback or the last epoch ends the training: the ``Fit`` returned has the parameters
    and the optimizer state of the epoch with the best metric, whose record is its ``best``, and the history of all
    epochs.

    Args:
        metric: the name of the metric in the record: ``"validation_loss"``.
        patience: the number of epochs without improvement after which training stops, ``>= 1``.
        mode: ``"min"`` if lower is better, ``"max"`` if higher is better.
        min_delta: patience starts again only when the metric is better, by more than this, than when it last started,
            ``>= 0``. It does not decide on the best parameters, which are those of the best metric.

    Returns:
        A callback for ``fit``, whose state holds the best parameters and since when patience lasts; both are saved with
        the run. NaN is never the best.

    Raises:
        ValueError: an argument is out of range, or, once it is called, the record has no such metric.

    Example:
        >>> callback = early_stopping("validation_loss", patience=2)
        >>> history = []
        >>> for epoch, loss in enumerate([0.9, 0.5, 0.6, 0.7]):
        ...     history.append({"epoch": epoch, "validation_loss": loss})
        ...     decision = callback(history[-1], Fit({"w": np.array(loss)}, {}, history))
        >>> decision.stop, decision.result.params
        (True, {'w': array(0.5)})

    Reference:
        Prechelt, Early stopping, but when? (1998), section 2: the third class of criteria.
    """
    metric, sign = _name("early_stopping", metric), _sign("early_stopping", mode)
    patience = checks.size("early_stopping", "patience", patience)
    min_delta = checks.nonnegative("early_stopping", "min_delta", min_delta)

    def update(state: dict[str, Any], record: Record, result: Fit) -> tuple[dict[str, Any], Decision]:
        value, epoch = sign * _value(record, metric), record["epoch"]
        state = state or {"since": epoch}
        if not math.isnan(value):
            if "best" not in state or value < state["lowest"]:
                state = state | {"best": {"params": result.params, "opt_state": result.opt_state}, "lowest": value}
            if "reference" not in state or value < state["reference"] - min_delta:
                state = state | {"reference": value, "since": epoch}
        if "best" in state:
            result = Fit(state["best"]["params"], state["best"]["opt_state"], result.history, (metric, mode))
        return state, Decision(bool(epoch - state["since"] >= patience), result)

    def like(state: dict[str, Any], result: Fit) -> dict[str, Any]:
        known = {"best", "lowest", "reference"} & state.keys()
        best = _like_saved(state.get("best"), result)
        return {"since": np.int64()} | ({"best": best, "lowest": 0.0, "reference": 0.0} if known else {})

    return Callback(dict, update, like=like)


@recorded
def reduce_on_plateau(metric: str) -> Callback:
    """Report a metric to the ``reduce_on_plateau`` in the optimizer, which reduces its steps when it stops improving.

    Args:
        metric: the name of the metric in the record: ``"validation_loss"``.

    Returns:
        A callback for ``fit``. What the transform has counted is in the optimizer's state, and is saved with the run.

    Raises:
        ValueError: the name is empty; or, when it is called, the record has no such metric, or the optimizer has no
            ``reduce_on_plateau``.

    Example:
        >>> from funcnn.optim import chain, reduce_on_plateau as reduced, sgd
        >>> optimizer = chain(sgd(0.1), reduced(factor=0.5, patience=2))
        >>> state = optimizer.init({"w": np.ones(2)})
        >>> callback, record = reduce_on_plateau("validation_loss"), {"epoch": 1, "validation_loss": 0.5}
        >>> decision = callback(record, Fit({}, state, [record]))
        >>> decision.stop, decision.opt_state["reduce_on_plateau"]["metric"]
        (False, array(0.5))
    """
    metric = _name("reduce_on_plateau", metric)

    def update(state: dict[str, Any], record: Record, result: Fit) -> tuple[dict[str, Any], Decision]:
        return state, Decision(False, None, report_metric(result.opt_state, _value(record, metric)))

    return Callback(dict, update)


@recorded
def checkpoints(
    folder: str | Path, every: int = 1, metric: str | None = None, mode: Mode = "min", keep: int = 0
) -> Callback:
    """Save the parameters every few epochs and at the end as ``last.npz``, and the best as ``best.npz``.

    A run that is to be resumed is saved by ``fit`` itself, with ``checkpoint=``; these are files for others to read.

    Args:
        folder: the folder of the files; it is created if it does not exist. A run from the start replaces the files
            of an earlier run.
        every: the number of epochs between two versions of ``last.npz``, ``>= 1``. The last evaluated epoch is always
            saved, also if the run ends by an error or by Ctrl-C.
        metric: the name of the metric in the record that decides on the best: ``"validation_loss"``; by default there
            is no ``best.npz``.
        mode: ``"min"`` if lower is better, ``"max"`` if higher is better.
        keep: how many epochs, the last ones that ``every`` chooses, also have a file of their own, called
            ``epoch_0012.npz``, ``>= 0``. The oldest one is removed when the new one is complete.

    Returns:
        A callback for ``fit``. A file is written completely or not at all, and ``last.npz`` after the others, so that a
        run that goes on from ``last.npz`` has the best before it. All hold ``params``, ``opt_state``, and ``step``,
        which ``fit`` takes as ``start``; ``best.npz`` also the value of the metric, under ``best``, so that a run that
        goes on replaces it only by a better one. NaN is never the best.

    Raises:
        ValueError: an argument is out of range; or, when it is called, the record has no such metric, or ``best.npz``
            is the best by another metric.

    Example:
        >>> import tempfile
        >>> from funcnn.interchange.checkpoint import load
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     record = {"epoch": 1, "step": 40, "validation_loss": 0.5}
        ...     checkpoints(folder, metric="validation_loss")(record, Fit({"w": np.ones(2)}, {}, [record]))
        ...     load(f"{folder}/best.npz")
        {'params': {'w': array([1., 1.])}, 'opt_state': {}, 'step': array(40), 'best': {'validation_loss': array(0.5)}}
    """
    folder, sign = checks.path("checkpoints", folder, "folder"), _sign("checkpoints", mode)
    every, keep = checks.size("checkpoints", "every", every), checks.size("checkpoints", "keep", keep, 0)
    metric = metric if metric is None else _name("checkpoints", metric)
    last, best = folder / "last.npz", folder / "best.npz"

    def update(state: dict[str, Any], record: Record, result: Fit) -> tuple[dict[str, Any], None]:
        epoch, value = int(record["epoch"]), math.nan if metric is None else _value(record, metric)
        now = {"params": result.params, "opt_state": result.opt_state, "step": np.int64(record["step"])}
        folder.mkdir(parents=True, exist_ok=True)
        if not state and epoch == 0:
            for file in [last, best, *(_epoch_files(folder) if keep else ())]:
                file.unlink(missing_ok=True)
        lowest = state.get("lowest")
        if not state and metric is not None and best.exists():  # of the loop that this run goes on with
            lowest = sign * _saved_value(best, metric)
        if not math.isnan(value) and (lowest is None or sign * value < lowest):
            save(best, now | {"best": {metric: np.float64(value)}})
            lowest = sign * value
        due = epoch // every > int(state.get("epoch", epoch - 1)) // every
        if due:
            if keep:
                save(folder / f"epoch_{epoch:04}.npz", now)
            save(last, now)
            if keep:
                for file in _epoch_files(folder, epoch)[:-keep]:
                    file.unlink(missing_ok=True)
        after = {"epoch": epoch} if due else {"epoch": state.get("epoch", epoch - 1), "unsaved": now}
        return after if lowest is None else after | {"lowest": lowest}, None

    def end(state: dict[str, Any]) -> None:
        if "unsaved" in state:
            save(last, state["unsaved"])

    def like(state: dict[str, Any], result: Fit) -> dict[str, Any]:
        unsaved = _like_saved(state.get("unsaved"), result) | {"step": np.int64()}
        known = {"lowest": 0.0, "unsaved": unsaved}
        return {"epoch": np.int64()} | {name: known[name] for name in known if name in state}

    return Callback(dict, update, end, like=like, begin=lambda: check_folder(folder))


@recorded
def csv_log(path: str | Path) -> Callable[[Record, Fit], None]:
    """Write the records to a CSV file: a line with the names of the columns, then a line for each evaluation.

    Args:
        path: the file. It has the rows of the history, after those of a loop of your own that the run goes on with. So
            a run from the start overwrites the file, and a resumed run completes it.

    Returns:
        A callback for ``fit``. Each row is in the file when the callback returns, with all digits of the numbers. Pass
        it before ``checkpoints``, so that the log has every epoch of which there is a checkpoint.

    Raises:
        ValueError: before training, the file exists, but is not such a log; it is not changed.
        OSError: before training, there is no folder for the file, or it cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     record = {"epoch": 0, "train_loss": 0.5}
        ...     csv_log(f"{folder}/log.csv")(record, Fit({}, {}, [record]))
        ...     print(Path(f"{folder}/log.csv").read_text())
        epoch,train_loss
        0,0.5
        <BLANKLINE>

    Reference:
        Shafranovich, RFC 4180: common format for CSV files (2005).
    """
    path = checks.path("csv_log", path)

    def callback(record: Record, result: Fit) -> None:
        columns = _columns_if_last(path, result.history[-2:-1])
        if columns is not None and columns.keys() >= record.keys():
            with appended(path) as file:
                file.write(_lines([*columns], [record]).encode())
            return
        rows: list[Mapping[str, Any]] = [*_rows_before(result.history[0]["epoch"], path), *result.history]
        names = list(dict.fromkeys(name for row in rows for name in row))
        text = _lines(names, [dict(zip(names, names, strict=True)), *rows])
        with replaced(path) as whole:
            whole.write(text.encode())

    def begin() -> None:
        check_replaceable(path)
        _rows_before(math.inf, path)

    callback.begin = begin  # type: ignore[attr-defined]
    return callback


@recorded
def live_curves(*metrics: str) -> Callable[[Record, Fit], None]:
    """Learning curves that grow while a notebook trains: one picture, drawn again after each evaluation.

    Drawing takes a tenth of a second or two; where epochs are short, evaluate less often with ``evaluate_every``.

    Args:
        *metrics: the names of the metrics: ``"loss"``, ``"accuracy"``; by default all that are recorded.

    Returns:
        A callback for ``fit``. Outside of a notebook it draws nothing.

    Raises:
        TypeError: a name is not a text.
        ValueError: once it is called, the record has no such metric.

    Example:
        >>> record = {"epoch": 0, "train_loss": 0.5}
        >>> live_curves("loss")(record, Fit({}, {}, [record]))
    """
    names = tuple(_name("live_curves", metric) for metric in metrics)
    history: Any = None
    draw: Any = None

    def callback(record: Record, result: Fit) -> None:
        nonlocal history, draw
        for name in names:
            _value(record, f"train_{name}")
        if not notebook.is_running():
            return
        if history is not result.history:  # another run has a picture of its own
            history, draw = result.history, notebook.live()
        figure = notebook.plotted("curves.all_curves", history, names)
        draw({"image/png": notebook.png(figure), "text/plain": repr(result)})

    return callback


def _name(kind: str, metric: Any) -> str:
    """The name of a metric."""
    if not isinstance(metric, str):
        raise TypeError(f"{kind}: expected the name of a metric in the record, 'validation_loss', got {shown(metric)}")
    return metric


def _sign(kind: str, mode: str) -> int:
    """The factor of a metric with which lower is better."""
    if not isinstance(mode, str) or mode not in ("min", "max"):
        raise ValueError(f"{kind}: mode must be 'min' or 'max', got {shown(mode)}")
    return 1 if mode == "min" else -1


def _value(record: Record, metric: str) -> float:
    """A metric in a record."""
    if metric not in record:
        hint = ""
        if metric.startswith(("val_", "validation_")):
            known = "validation_loss" in record
            hint = "; did you mean 'validation_" + metric.partition("_")[2] + "'?" if known else GIVE_VALIDATION
        raise ValueError(f"the record has no {metric!r}, but {', '.join(record)}{hint}")
    return record[metric]


def _like_saved(saved: Any, result: Fit) -> dict[str, Any]:
    """The expected form of parameters and an optimizer state, which may grow, in the state of a callback."""
    found = saved.get("opt_state", {}) if isinstance(saved, dict) else {}
    return {"params": result.params, "opt_state": found}


def _saved_value(file: Path, metric: str | None) -> float:
    """The best value so far, from its checkpoint."""
    found = load(file).get("best", {})
    if metric not in found:
        raise ValueError(
            f"checkpoints: {file} is not the best by {metric!r}, but by {list(found)}; choose another folder"
        )
    return float(found[metric])


def _epoch_files(folder: Path, last: float = math.inf) -> list[Path]:
    """The files of single epochs, the oldest first, without those after ``last``.

    A run that was killed, and goes on from an earlier epoch, comes to the later ones again.
    """
    found = [(int(match[1]), match[0]) for match in map(EPOCH_FILE.fullmatch, os.listdir(folder)) if match]
    return [folder / name for epoch, name in sorted(found) if epoch <= last]


def _columns_if_last(path: Path, before: Sequence[Record]) -> dict[str, None] | None:
    """The columns of a log that ends with this record; None if it does not, or if there is no such record."""
    if not before or not path.exists():
        return None
    with path.open("rb") as file:
        columns = dict.fromkeys(next(csv.reader([file.readline().decode(errors="replace")]), []))
        if not columns.keys() >= before[0].keys():
            return None
        row = _lines([*columns], before).encode()
        file.seek(max(0, file.seek(0, os.SEEK_END) - len(row)))
        return columns if file.read() == row else None


def _rows_before(epoch: float, path: Path) -> list[dict[str, str]]:
    """The rows of an existing log before this epoch, the first epoch of the run."""
    if not path.exists():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file, strict=True)
            rows = list(reader)
            if "epoch" not in (reader.fieldnames or ["epoch"]) or any(None in row for row in rows):
                raise ValueError("it has no column 'epoch', or a row with more columns than names")
            return [row for row in rows if float(row["epoch"]) < epoch]
    except (csv.Error, TypeError, ValueError) as error:
        reraise_if_of_a_handler(error)
        raise ValueError(f"{path} is not a log that csv_log wrote ({error}); give the log another name") from error


def _lines(columns: list[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as the lines of a CSV file; a missing value leaves its field empty."""
    text = io.StringIO()
    csv.DictWriter(text, columns, lineterminator="\n").writerows(rows)
    return text.getvalue()


explain_names(__name__)
