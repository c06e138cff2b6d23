"""Callbacks follow a run of ``fit``: each is called after each evaluation, and may write files or stop the run.

A callback is any function of the record and of the ``Fit`` so far, such as
``lambda record, result: record["seconds"] > 3600``: training stops when it returns True. The callbacks here read
earlier epochs from the history, so that one callback can be used for several runs, one after the other.
"""

import csv
import io
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from funcnn import checks
from funcnn.interchange.checkpoint import load, save
from funcnn.recorded import recorded
from funcnn.training.evaluate import Record
from funcnn.training.fit import Callback, Decision, Fit

__all__ = ["checkpoints", "csv_log", "early_stopping"]

Mode: TypeAlias = Literal["min", "max"]


@recorded
def early_stopping(metric: str, patience: int, mode: Mode = "min", min_delta: float = 0.0) -> Callback:
    """Stop training when a metric no longer improves, and let ``fit`` return the best parameters.

    Whether this callback, another callback or the last epoch ends the training: the ``Fit`` returned has the parameters
    and the optimizer state of the epoch with the best metric, and the history of all epochs.

    Args:
        metric: the name of the metric in the record: ``"validation_loss"``.
        patience: the number of epochs without improvement after which training stops, ``>= 1``.
        mode: ``"min"`` if lower is better, ``"max"`` if higher is better.
        min_delta: the smallest change that counts as an improvement is larger than this, ``>= 0``.

    Returns:
        A callback for ``fit``. It holds the best ``Fit`` of its latest run, so use it for one run at a time. NaN is
        never the best. In a resumed run, the count of epochs starts again.

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
    sign, patience = _sign("early_stopping", mode), checks.size("early_stopping", "patience", patience)
    min_delta = checks.nonnegative("early_stopping", "min_delta", min_delta)
    best: Fit | None = None

    def callback(record: Record, result: Fit) -> Decision:
        nonlocal best
        index = _best(result.history, metric, sign, min_delta)
        # Never a result of an earlier run of this callback: each run has a history of its own.
        if index is None:
            best = None
        elif index == len(result.history) - 1:
            best = result
        since = result.history[index or 0]["epoch"]
        return Decision(record["epoch"] - since >= patience, result if best is None else best)

    return callback


@recorded
def checkpoints(folder: str | Path, every: int = 1, metric: str | None = None, mode: Mode = "min") -> Callback:
    """Save the run every few epochs as ``last.npz``, and whenever a metric is best as ``best.npz``.

    Args:
        folder: the folder of the files; it is created if it does not exist. A run from the start replaces the files
            of an earlier run.
        every: the number of epochs between two versions of ``last.npz``, ``>= 1``.
        metric: the name of the metric in the record that decides on the best: ``"validation_loss"``; by default there
            is no ``best.npz``.
        mode: ``"min"`` if lower is better, ``"max"`` if higher is better.

    Returns:
        A callback for ``fit``. A file is written completely or not at all. ``load`` reads from it what is needed to
        resume the run with the same bits: ``params``, ``opt_state``, and ``step``, which ``fit`` takes as ``start``.
        ``best.npz`` also has the value of the metric, under ``best``, so that a resumed run replaces it only by a
        better one. NaN is never the best.

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
    folder, sign, every = Path(folder), _sign("checkpoints", mode), checks.size("checkpoints", "every", every)

    def callback(record: Record, result: Fit) -> None:
        state = {"params": result.params, "opt_state": result.opt_state, "step": np.int64(record["step"])}
        value = math.nan if metric is None else _value(record, metric)
        best = folder / "best.npz"
        folder.mkdir(parents=True, exist_ok=True)
        if record["epoch"] == 0:
            best.unlink(missing_ok=True)
        if record["epoch"] % every == 0:
            save(folder / "last.npz", state)
        if not math.isnan(value) and (not best.exists() or sign * value < sign * _saved_value(best, metric)):
            save(best, state | {"best": {metric: np.float64(value)}})

    return callback


@recorded
def csv_log(path: str | Path) -> Callback:
    """Write the records to a CSV file: a line with the names of the columns, then a line for each evaluation.

    Args:
        path: the file. Rows of the first epoch of the run and of later epochs are replaced, so that a run from the
            start overwrites the file, and a resumed run appends to the rows before it.

    Returns:
        A callback for ``fit``. Each row is in the file when the callback returns, with all digits of the numbers. Pass
        it before ``checkpoints``, so that the log has every epoch of which there is a checkpoint.

    Raises:
        ValueError: the file exists, but is not such a log; it is not changed.

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
    path = Path(path)

    def callback(record: Record, result: Fit) -> None:
        before = result.history[-2:-1]
        if before and before[0].keys() == record.keys():
            with path.open("r+", encoding="utf-8") as file:
                columns = next(csv.reader(file))
                file.seek(0, os.SEEK_END)
                file.write(_lines(columns, [record]))
        else:
            rows: list[Mapping[str, Any]] = [*_rows_before(record["epoch"], path), record]
            columns = list(dict.fromkeys(name for row in rows for name in row))
            # Written under another name first: if the run is killed here, the old log is still complete.
            temporary = path.with_name(f".{path.name}.tmp")
            temporary.write_text(_lines(columns, [dict(zip(columns, columns, strict=True)), *rows]), encoding="utf-8")
            os.replace(temporary, path)

    return callback


def _sign(kind: str, mode: str) -> int:
    """The factor of a metric with which lower is better."""
    if mode not in ("min", "max"):
        raise ValueError(f"{kind}: mode must be 'min' or 'max', got {mode!r}")
    return 1 if mode == "min" else -1


def _value(record: Record, metric: str) -> float:
    """A metric in a record."""
    if metric not in record:
        raise ValueError(f"the record has no {metric!r}, but {', '.join(record)}")
    return record[metric]


def _best(history: list[Record], metric: str, sign: int, min_delta: float) -> int | None:
    """The index of the last record that improved on all before it; None if all are NaN."""
    best, lowest = None, math.nan
    for index, record in enumerate(history):
        value = sign * _value(record, metric)
        if not math.isnan(value) and (best is None or value < lowest - min_delta):
            best, lowest = index, value
    return best


def _saved_value(file: Path, metric: str | None) -> float:
    """The best value so far, from its checkpoint."""
    found = load(file).get("best", {})
    if metric not in found:
        raise ValueError(
            f"checkpoints: {file} is not the best by {metric!r}, but by {list(found)}; choose another folder"
        )
    return float(found[metric])


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
        raise ValueError(f"{path} is not a log that csv_log wrote ({error}); give the log another name") from error


def _lines(columns: list[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as the lines of a CSV file; a missing value leaves its field empty."""
    text = io.StringIO()
    csv.DictWriter(text, columns, lineterminator="\n").writerows(rows)
    return text.getvalue()
