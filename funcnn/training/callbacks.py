"""Callbacks watch a run of ``fit``: after each evaluation they are given its record; they note it or end the run.

One of your own is any function of the record and of the ``Fit`` up to then, such as
``lambda record, result: record["seconds"] > 3600``: where it answers True, training ends. Those here read off the
history what they need to know of earlier epochs, so that they may serve one run after another.
"""

import csv
import io
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from funcnn.training.batching import check_whole
from funcnn.interchange.checkpoint import load, save
from funcnn.training.fit import Callback, Decision, Fit, Record

__all__ = ["checkpoints", "csv_log", "early_stopping"]

Mode: TypeAlias = Literal["min", "max"]


def early_stopping(metric: str, patience: int, mode: Mode = "min", min_delta: float = 0.0) -> Callback:
    """End training when a metric no longer gets better, and let ``fit`` return the best parameters that there were.

    Whether training ends by this, by another callback or after its last epoch: the ``Fit`` returned has the parameters
    and the optimizer's state of the epoch with the best metric, and the history of all epochs.

    Args:
        metric: what to watch, as the record calls it: ``"validation_loss"``.
        patience: after so many epochs without a better value training ends, ``>= 1``.
        mode: ``"min"`` if less is better, ``"max"`` if more is.
        min_delta: only what is better by more than this counts as better, ``>= 0``.

    Returns:
        A callback for ``fit``. It holds the best ``Fit`` of its latest run, so let it watch one run at a time. NaN is
        never the best. When a run is resumed, it counts anew.

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
    sign, patience = _sign(mode), check_whole("patience", patience, 1)
    if not 0 <= min_delta < math.inf:
        raise ValueError(f"min_delta must be a number >= 0, got {min_delta!r}")
    best: Fit | None = None

    def callback(record: Record, result: Fit) -> Decision:
        nonlocal best
        index = _best(result.history, metric, sign, min_delta)
        # The best of this run is never one that an earlier run left here: its history begins with its own.
        if index is None:
            best = None
        elif index == len(result.history) - 1:
            best = result
        since = result.history[index or 0]["epoch"]
        return Decision(record["epoch"] - since >= patience, result if best is None else best)

    return callback


def checkpoints(folder: str | Path, every: int = 1, metric: str | None = None, mode: Mode = "min") -> Callback:
    """Save the run every few epochs as ``last.npz``, and wherever a metric is at its best as ``best.npz``.

    Args:
        folder: where to; it is made if need be. A run from the start replaces what an earlier one left there.
        every: epochs between one ``last.npz`` and the next, which replaces it, ``>= 1``.
        metric: what decides on the best, as the record calls it: ``"validation_loss"``; by default none is kept.
        mode: ``"min"`` if less is better, ``"max"`` if more is.

    Returns:
        A callback for ``fit``. Each file is there completely or not at all, and ``load`` reads from it what a run
        needs to go on to the same bits: ``params``, ``opt_state``, and ``step``, which ``fit`` takes as ``start``. The
        best has its value too, under ``best``, so that a resumed run replaces it only by a better one. NaN is never the
        best.

    Raises:
        ValueError: an argument is out of range; or, once it is called, the record has no such metric, or ``best.npz``
            is the best by another one.

    Example:
        >>> import tempfile
        >>> from funcnn.interchange.checkpoint import load
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     record = {"epoch": 1, "step": 40, "validation_loss": 0.5}
        ...     checkpoints(folder, metric="validation_loss")(record, Fit({"w": np.ones(2)}, {}, [record]))
        ...     load(f"{folder}/best.npz")
        {'params': {'w': array([1., 1.])}, 'opt_state': {}, 'step': array(40), 'best': {'validation_loss': array(0.5)}}
    """
    folder, sign, every = Path(folder), _sign(mode), check_whole("every", every, 1)

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


def csv_log(path: str | Path) -> Callback:
    """Write the records to a file that spreadsheets read: a line with the names, then a line for each evaluation.

    Args:
        path: the file. Rows of the same or of a later epoch than the first of the run are replaced, so that a run from
            the start begins the file anew, and a resumed one goes on after the rows that it builds upon.

    Returns:
        A callback for ``fit``. Each row is in the file when the callback returns; numbers have all their digits. Put it
        before ``checkpoints``, so that no checkpoint knows of an epoch that the log lacks.

    Raises:
        ValueError: the file exists, but is no such log; it stays as it is.

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
            # Complete under another name first: a run that is killed here leaves the old log.
            temporary = path.with_name(f".{path.name}.tmp")
            temporary.write_text(_lines(columns, [dict(zip(columns, columns, strict=True)), *rows]), encoding="utf-8")
            os.replace(temporary, path)

    return callback


def _sign(mode: str) -> int:
    """What a metric is multiplied by so that less is better."""
    if mode not in ("min", "max"):
        raise ValueError(f"mode must be 'min' or 'max', got {mode!r}")
    return 1 if mode == "min" else -1


def _value(record: Record, metric: str) -> float:
    """A metric in a record."""
    if metric not in record:
        raise ValueError(f"the record has no {metric!r}, but {', '.join(record)}")
    return record[metric]


def _best(history: list[Record], metric: str, sign: int, min_delta: float) -> int | None:
    """The index of the last record that was better than all before it; None if none is a number."""
    best, lowest = None, math.nan
    for index, record in enumerate(history):
        value = sign * _value(record, metric)
        if not math.isnan(value) and (best is None or value < lowest - min_delta):
            best, lowest = index, value
    return best


def _saved_value(file: Path, metric: str | None) -> float:
    """The metric of the best so far, from its checkpoint."""
    found = load(file).get("best", {})
    if metric not in found:
        raise ValueError(f"{file} is not the best by {metric!r}, but by {list(found)}; choose another folder")
    return float(found[metric])


def _rows_before(epoch: float, path: Path) -> list[dict[str, str]]:
    """The rows of a log, if there is one, that a run builds upon whose first record is of this epoch."""
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
        raise ValueError(f"{path} is no log that csv_log wrote ({error}); give the log another name") from error


def _lines(columns: list[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as the lines of a CSV file; what a row lacks is left empty."""
    text = io.StringIO()
    csv.DictWriter(text, columns, lineterminator="\n").writerows(rows)
    return text.getvalue()
