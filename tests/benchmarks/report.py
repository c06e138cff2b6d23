"""The tables: for people on the terminal, for the README in Markdown, for programs as JSON."""

import json
import platform
import re
from importlib import metadata
from pathlib import Path
from statistics import geometric_mean, median
from typing import Any

import numpy as np

from tests.benchmarks.driver import Row
from tests.benchmarks.sides import OURS
from tests.benchmarks.worker import cores

BEGIN, END = "<!-- benchmark table -->", "<!-- end -->"
COMMAND = 'pip install -e ".[bench]" && python -m tests.benchmarks --readme'

HEAD = ("workload", "best PyTorch", "its ms", "funcnn ms", "ratio", "lowest to highest", "of matmul", "MB, ours")
WIDTHS = (23, 13, 8, 9, 5, 17, 9, 10)


def cells(row: Row) -> tuple[str, ...]:
    """A row of the table in words."""
    own = f"{1e3 * median(row.seconds[OURS]):.2f}"
    share = "" if row.matmul_share is None else f"{row.matmul_share:.0%}"
    memory = f"{_megabytes(row.peer_memory)}, {_megabytes(row.memory[OURS])}"
    if row.best_peer is None:
        return row.workload, "none", "", own, "", "", share, memory
    theirs = f"{1e3 * median(row.seconds[row.best_peer]):.2f}"
    spread = f"{min(row.ratios):.2f} to {max(row.ratios):.2f}"
    return row.workload, row.best_peer, theirs, own, f"{median(row.ratios):.2f}", spread, share, memory


def aligned(words: tuple[str, ...]) -> str:
    """One line of the table for a terminal: words to the left, numbers to the right."""
    return "  ".join(
        word.ljust(width) if i < 2 else word.rjust(width)
        for i, (word, width) in enumerate(zip(words, WIDTHS, strict=True))
    )


def markdown(rows: list[Row], facts: dict[str, Any]) -> str:
    """The table for the README, with what it was measured on and how to reproduce it."""
    lines = [HEAD, tuple("---" if i < 2 else "---:" for i in range(len(HEAD))), *map(cells, rows)]
    table = "\n".join(f"| {' | '.join(words)} |" for words in lines)
    return f"{table}\n\n{closing(rows, facts)}\n\nThis table is written by `{COMMAND}`."


def closing(rows: list[Row], facts: dict[str, Any]) -> str:
    """The geometric mean, how steady the machine was, what it is, and who could not take part."""
    rates = [rate for row in rows for rate in row.matmul]
    ratios = [median(row.ratios) for row in rows if row.ratios]
    mean = f"{geometric_mean(ratios):.2f}" if ratios else "none, for lack of a peer"
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    sentences = [
        f"Geometric mean of the ratios: {mean}. A ratio is the time of PyTorch's fastest setting by ours, above 1 "
        f"where we are faster: the median over {len(rows[0].matmul)} rounds in which all sides take turns.",
        "MB is what a step adds to the memory of each process, PyTorch's leanest eager setting first.",
        f"Control: np.matmul gave {median(rates):.0f} GFLOP/s, {min(rates):.0f} to {max(rates):.0f} between rounds.",
        f"{facts['cpu']}, {facts['cores']} cores; Python {facts['python']}, {versions}, {facts['blas']}.",
    ]
    failures = {f"{side} did not run: {reason}" for row in rows for side, reason in row.failures.items()}
    return "\n".join([*sentences, *sorted(failures)])


def goals(found: dict[str, dict[str, float | None]]) -> str:
    """The seconds until each accuracy, by side."""
    lines = []
    for side, seconds in found.items():
        words = (f"{goal}: {'not reached' if s is None else f'{s:.1f} s'}" for goal, s in seconds.items())
        lines.append(f"{side:<14} " + "   ".join(words))
    return "\n".join(lines)


def facts_of_the_machine() -> dict[str, Any]:
    """What the numbers depend on."""
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
    """Everything that was measured, and on what."""
    path.write_text(json.dumps({"machine": facts_of_the_machine(), **found}, indent=2) + "\n", encoding="utf-8")


def write_between_markers(path: Path, text: str) -> None:
    """Put the text in place of what stands between the two markers.

    Raises:
        ValueError: the file lacks the markers.
    """
    old = path.read_text(encoding="utf-8")
    before, begin, rest = old.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"{path.name} lacks the lines {BEGIN!r} and {END!r}, between which the table belongs")
    path.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")


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
