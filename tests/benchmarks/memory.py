"""What a training step adds to the memory of its process, beside PyTorch's, and what donation saves.

A step that donates writes new parameters and the optimizer's new state into the old ones; a pure step keeps both.
"""

from statistics import median

from tests.benchmarks import report
from tests.benchmarks.driver import Row, measure
from tests.benchmarks.sides import EAGER, OURS, PURE, SIDES
from tests.benchmarks.workloads import WORKLOADS

HEAD = ("workload", "PyTorch MB", "funcnn MB", "ratio", "pure MB", "funcnn ms", "pure ms", "pure / donated")

MEMORY_BAR = 1.2
"""A step of a convolutional network should add no more than this times what PyTorch's adds."""

SMALL_STEP = 1_000_000
"""Bytes; where PyTorch's step adds less, a ratio says nothing."""


def memory(names: list[str], rounds: int, seconds: float) -> tuple[list[Row], str]:
    """Measure the steps that train or update, and print the table; the rows, and the text below the table."""
    peers = [PURE, *(side for side in EAGER if SIDES[side].is_installed)]
    rows = []
    print(report.aligned(HEAD, HEAD))
    for workload in (WORKLOADS[name] for name in names):
        if workload.task != "predict":
            rows.append(measure(workload, peers, rounds, seconds))
            print(report.aligned(cells(rows[-1]), HEAD), flush=True)
    return rows, closing(rows)


def cells(row: Row) -> tuple[str, ...]:
    """A row of the table as text."""
    ratio = ratio_of(row)
    sizes = (report.megabytes(size) for size in (row.pytorch_memory, row.memory[OURS]))
    times = (report.milliseconds(row.seconds[side]) for side in (OURS, PURE))
    slower = f"{median(row.ratios_to(PURE)):.2f}"
    return row.workload, *sizes, f"{ratio:.2f}" if ratio else "", report.megabytes(row.memory[PURE]), *times, slower


def ratio_of(row: Row) -> float | None:
    """What our step adds divided by what PyTorch's adds; None where that is unknown or too little."""
    theirs, own = row.pytorch_memory, row.memory[OURS]
    return None if theirs is None or own is None or theirs < SMALL_STEP else own / theirs


def closing(rows: list[Row]) -> str:
    """What the columns mean, and which convolutional rows are above the bar."""
    ratios = {row.workload: ratio_of(row) for row in rows if WORKLOADS[row.workload].is_convolutional}
    above = [f"{name} {ratio:.2f}" for name, ratio in ratios.items() if ratio and ratio > MEMORY_BAR]
    return (
        "MB is what a step adds to the memory of its process; PyTorch's is that of the setting, eager or channels "
        "last, that adds least. Pure is our step without donation.\n"
        f"Convolutional rows above {MEMORY_BAR} of PyTorch's memory: {', '.join(above) or 'none'}."
    )
