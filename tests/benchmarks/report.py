"""The tables: as text for the terminal, in Markdown for the README, as JSON for programs."""

import json
import platform
import re
from importlib import metadata
from pathlib import Path
from statistics import geometric_mean, median
from typing import Any

import numpy as np

from tests.benchmarks.driver import Row
from tests.benchmarks.sides import BY_HAND, OURS
from tests.benchmarks.worker import cores

BEGIN, END = "<!-- benchmark table -->", "<!-- end -->"
COMMAND = 'pip install -e ".[bench]" && python -m tests.benchmarks --readme'

HEAD = (
    "workload", "best PyTorch", "its ms", "funcnn ms", "ratio", "lowest to highest", "by hand: ms, ratio", "of matmul",
    "MB, ours",
)  # fmt: skip
WIDTHS = (23, 13, 8, 9, 5, 17, 18, 9, 10)


def cells(row: Row) -> tuple[str, ...]:
    """A row of the table as text."""
    own = _milliseconds(row.seconds[OURS])
    fraction = "" if row.matmul_fraction is None else f"{row.matmul_fraction:.0%}"
    memory = f"{_megabytes(row.pytorch_memory)}, {_megabytes(row.memory[OURS])}"
    by_hand = row.ratios_to(BY_HAND)
    hand = f"{_milliseconds(row.seconds[BY_HAND])}, {median(by_hand):.2f}" if by_hand else ""
    if row.best_setting is None:
        return row.workload, "none", "", own, "", "", hand, fraction, memory
    theirs = _milliseconds(row.seconds[row.best_setting])
    spread = f"{min(row.ratios):.2f} to {max(row.ratios):.2f}"
    return row.workload, row.best_setting, theirs, own, f"{median(row.ratios):.2f}", spread, hand, fraction, memory


def aligned(texts: tuple[str, ...]) -> str:
    """One line of the table for a terminal: names to the left, numbers to the right."""
    return "  ".join(
        text.ljust(width) if i < 2 else text.rjust(width)
        for i, (text, width) in enumerate(zip(texts, WIDTHS, strict=True))
    )


def markdown(rows: list[Row], facts: dict[str, Any]) -> str:
    """The table for the README, with the machine it was measured on and the command that reproduces it."""
    lines = [HEAD, tuple("---" if i < 2 else "---:" for i in range(len(HEAD))), *map(cells, rows)]
    table = "\n".join(f"| {' | '.join(texts)} |" for texts in lines)
    return f"{table}\n\n{closing(rows, facts)}\n\nThis table is written by `{COMMAND}`."


def closing(rows: list[Row], facts: dict[str, Any]) -> str:
    """The geometric mean, how steady the machine was, what it is, and which sides did not run."""
    rates = [rate for row in rows if row.threads is None for rate in row.matmul]
    ratios = [median(row.ratios) for row in rows if row.ratios]
    mean = f"{geometric_mean(ratios):.2f}" if ratios else "none, since PyTorch did not run"
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    sentences = [
        f"Geometric mean of the ratios: {mean}. A ratio is the time of PyTorch's fastest setting divided by ours, "
        f"above 1 where we are faster: the median over {len(rows[0].matmul)} rounds in which all sides take turns.",
        "MB is what a step adds to the memory of each process, first that of PyTorch's eager setting that adds least.",
    ]
    if any(row.ratios_to(BY_HAND) for row in rows):
        sentences.append("By hand is the same step written out in NumPy; its ratio is its time divided by ours.")
    sentences += [
        f"{row.workload} runs on {row.threads} thread{'s' * (row.threads > 1)} on every side."
        for row in rows
        if row.threads
    ]
    if rates:
        control = f"np.matmul gave {median(rates):.0f} GFLOP/s, {min(rates):.0f} to {max(rates):.0f} between rounds."
        sentences.append(f"Control: {control}")
    sentences.append(f"{facts['cpu']}, {facts['cores']} cores; Python {facts['python']}, {versions}, {facts['blas']}.")
    failures = {f"{side} did not run: {reason}" for row in rows for side, reason in row.failures.items()}
    return "\n".join([*sentences, *sorted(failures)])


def goals(found: dict[str, dict[str, float | None]]) -> str:
    """The seconds until each accuracy, by side."""
    lines = []
    for side, seconds in found.items():
        texts = (f"{goal}: {'not reached' if s is None else f'{s:.1f} s'}" for goal, s in seconds.items())
        lines.append(f"{side:<14} " + "   ".join(texts))
    return "\n".join(lines)


def facts_of_the_machine() -> dict[str, Any]:
    """The machine and the versions that the times depend on."""
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return {
        "cpu": _cpu(),
        "cores": cores(),
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": {name: version for name in ("numpy", "scipy", "torch") if (version := _version(name))},
        "blas": f"{blas['name']} {blas['version']}",
    }


def write_json(path: Path, found: dict[str, Any]) -> None:
    """Write the results and the facts of the machine."""
    path.write_text(json.dumps({"machine": facts_of_the_machine(), **found}, indent=2) + "\n", encoding="utf-8")


def write_between_markers(path: Path, text: str) -> None:
    """Replace what stands between the two markers by the text.

    Raises:
        ValueError: the file lacks the markers.
    """
    old = path.read_text(encoding="utf-8")
    before, begin, rest = old.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"{path.name} lacks the lines {BEGIN!r} and {END!r} around the table")
    path.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")


def _milliseconds(seconds: list[float]) -> str:
    """The median; with three decimals where two would round away too much."""
    median_ms = 1e3 * median(seconds)
    return f"{median_ms:.2f}" if median_ms >= 1 else f"{median_ms:.3f}"


def _megabytes(size: int | None) -> str:
    return "?" if size is None else f"{size / 1e6:.0f}"


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cpu() -> str:
    """The processor's name."""
    file = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.+)", file.read_text()) if file.exists() else None
    return found[1] if found else platform.processor() or platform.machine()
