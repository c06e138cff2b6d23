"""What a run prints: the progress of its steps, a line for each evaluation, and one about the best epoch.

A line that is longer than the terminal is wide is wrapped between words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from funcnn import checks, terminal
from funcnn.calls import explained
from funcnn.training.evaluate import Record
from funcnn.training.progress import progress
from funcnn.training.run import Fit

__all__ = ["Printed", "format_record"]


class Printed:
    """What one call of ``fit`` prints, or nothing.

    Args:
        verbose: whether anything is printed.
        epochs: the number of passes over the data.
        first: the number of steps that were made before.
        steps: the number of steps of all epochs; 0 if it is not known.
    """

    def __init__(self, verbose: bool, epochs: int, first: int, steps: int) -> None:
        self.epochs, self.first = epochs, first
        self.show = progress(max(steps - first, 0)) if verbose else None

    def step(self, done: int, loss: float) -> None:
        """How far the run is."""
        if self.show is not None:
            self.show(done - self.first, f"loss {loss:.4f}")

    def record(self, record: Record, before: Record | None) -> None:
        """A line for an evaluation, in place of the progress."""
        if self.show is not None:
            self.show(0, "")
            print(format_record(record, before, f"epoch {record['epoch']}/{self.epochs} "), flush=True)

    def end(self, result: Fit) -> None:
        """A line about the best of several evaluations."""
        if self.show is not None:
            self.show(0, "")
            if result.best and len(result.history) > 1:
                print(_best_line(result, self.epochs), flush=True)


@explained
def format_record(record: Record, before: Record | None = None, head: str = "") -> str:
    """A record as a line: losses and metrics with four decimals, and the time; longer lines than the terminal's wrap.

    Args:
        record: one of ``Fit.history``, ``{"epoch": ..., "seconds": ..., name: number}``; seconds are those since the
            start.
        before: the record before, for the time between the two.
        head: what the line begins with.

    Returns:
        The line.

    Raises:
        TypeError, ValueError: the record is not a dict with ``seconds``, or has something else than numbers.

    Example:
        >>> first = {"epoch": 1, "seconds": 2.0, "train_loss": 0.25}
        >>> format_record(first)
        'train loss 0.2500; total 2.0 s'
        >>> format_record({"epoch": 2, "seconds": 3.5, "train_loss": 0.125}, first, "epoch 2/9:")
        'epoch 2/9: train loss 0.1250; epoch 1.5 s, total 3.5 s'
    """
    times = [f"total {_number(record, 'seconds'):.1f} s"]
    if before is not None:
        epochs, seconds = (_number(record, name) - _number(before, name) for name in ("epoch", "seconds"))
        times.insert(0, f"{'epoch' if epochs == 1 else f'{epochs:g} epochs'} {seconds:.1f} s,")
    scores = {str(name): _number(record, name) for name in record}
    return _line(head, _scores(scores, ";"), times)


def _number(record: Any, name: str) -> float:
    """A number in a record, or an error if it is not a number or is missing."""
    if not isinstance(record, Mapping):
        raise TypeError(f"format_record: expected a record of fit, a dict of numbers, got {checks.what(record)}")
    if name not in record:
        raise ValueError(f"format_record: expected a record of fit with {name!r}, got one with {[*record]}")
    return checks.real("format_record", str(name), record[name])


def _best_line(result: Fit, epochs: int) -> str:
    """Which of the epochs was the best, for the end of a run."""
    best, (metric, _) = result.best, result.criterion
    returned = "" if result.by is None else ", whose parameters are returned"
    head = f"best epoch {best['epoch']}/{epochs} by {metric.replace('_', ' ')}{returned}:"
    evaluated = {name: best[name] for name in best if name.startswith(("train_", "validation_"))}
    return _line("", head.split(" "), _scores(evaluated, ""))


def _scores(record: Record, end: str) -> list[str]:
    """The losses and metrics in a record, each with a comma but for the last one."""
    scores = [
        f"{name.replace('_', ' ')} {value:.4f}"
        for name, value in record.items()
        if name not in ("epoch", "step", "seconds")
    ]
    return [f"{score}," for score in scores[:-1]] + [f"{score}{end}" for score in scores[-1:]]


def _line(head: str, *parts: Sequence[str]) -> str:
    """Words after a head, in lines that fit the terminal; those after the first begin below the first word."""
    indent = len(head) + 1 if head else 4
    return terminal.wrapped([head, *(word for part in parts for word in part)], indent)
