"""The table of all scenarios: what each tries, how often, and a line of the result for each.

The counts are those of a full run, which takes about ten minutes on two idle cores; a smaller scale tries less of each.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from tests.faults.long import (
    damaged_files,
    determinism,
    flat_memory,
    forks,
    full_disk,
    interrupts,
    kills_and_resumes,
    many_threads,
    saves_under_kill,
    two_writers,
)
from tests.faults.long.outcome import Outcome

HEAD = ("| tried | how often | survived | lost | seconds |", "| --- | ---: | ---: | ---: | ---: |")
SHOWN = 10
"""How many losses of a scenario are described."""


class Row(NamedTuple):
    """A scenario, what it tries, and how often in a full run."""

    scenario: Callable[[int], Outcome]
    tries: str
    count: int


ROWS = {
    "saves": Row(saves_under_kill.scenario, "saves of checkpoints and models, killed at a random moment", 500),
    "writers": Row(two_writers.scenario, "saves by two processes to one file, each followed by a read", 1_000),
    "disk": Row(full_disk.scenario, "saves and log rows on a full disk", 2_000),
    "resumes": Row(kills_and_resumes.scenario, "runs of `fit` and of an example, killed and resumed", 500),
    "files": Row(damaged_files.scenario, "damaged files of all formats, equally many of each", 10_000),
    "threads": Row(many_threads.scenario, "trainings and predictions in 8 threads at once, bit by bit", 1_000),
    "forks": Row(forks.scenario, "children forked or spawned, and pools in which a worker fails, beside training", 240),
    "memory": Row(flat_memory.scenario, "training steps with flat memory", 20_000),
    "interrupts": Row(interrupts.scenario, "Ctrl-C in a step, a prediction, `fit` or a save", 300),
    "determinism": Row(
        determinism.scenario, "interpreters with 1, 2 or 4 threads, other hash seeds and settings of BLAS", 48
    ),
}


def results(names: Iterable[str], scale: float) -> Iterator[tuple[str, Outcome]]:
    """Run scenarios, and yield the line of each in the table with its outcome."""
    for name in names:
        row, started = ROWS[name], time.perf_counter()
        outcome = row.scenario(max(1, round(row.count * scale)))
        seconds = time.perf_counter() - started
        lost = max(outcome.tried - outcome.survived, len(outcome.lost))
        yield f"| {row.tries} | {outcome.tried:,} | {outcome.survived:,} | {lost:,} | {seconds:.0f} |", outcome


def losses(outcome: Outcome) -> list[str]:
    """The first losses that differ, each as one item of a list."""
    different = list(dict.fromkeys(outcome.lost))
    more = len(different) - SHOWN
    return [f"- {lost}" for lost in different[:SHOWN]] + ([f"- and {more} more"] if more > 0 else [])
