"""The tables: as text for the terminal, in Markdown for the pages that show them, as JSON for programs."""

import json
import platform
import re
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from statistics import geometric_mean, median
from typing import Any

import numpy as np

from tests.benchmarks.driver import Row
from tests.benchmarks.ours import MATMUL_SIZE
from tests.benchmarks.sides import EAGER, OURS, SIDES
from tests.benchmarks.worker import cores
from tests.benchmarks.workloads import OTHER_ROWS

PACKAGES = ("numpy", "scipy", "torch", "jax", "jaxlib", "scikit-learn")
BEGIN, END = "<!-- benchmark table -->", "<!-- end -->"
COMMAND = 'pip install -e ".[bench]" && python -m tests.benchmarks --readme'

HIGHLIGHTS = {
    "mlp": "train a dense network",
    "deep": "train a dense network of many layers",
    "autoencoder": "train an autoencoder",
    "lenet": "train LeNet, a small convolutional network",
    "keras_mnist": "train a convolutional network of 64 channels",
    "cifar_bn": "train one with batch norm, on colour images",
    "resnet8": "train a residual network",
    "predict_1_mlp": "predict one example, dense network",
    "predict_1_cifar_bn": "predict one image, convolutions and batch norm",
    "predict_256_mlp": "predict 256 examples, dense network",
    "predict_256_cifar_bn": "predict 256 images, convolutions and batch norm",
    "adam": "update 10 million parameters with Adam",
}
"""The rows of the short table, in words: of each kind one or two, those that funcnn loses among them."""

SUMMARY = ("workload", "ratio", "lowest to highest")
"""The first columns; the time of each side follows."""


def head(peers: list[str]) -> tuple[str, ...]:
    """The titles of the columns, for the peers that were asked for."""
    return *SUMMARY, *(SIDES[side].title for side in (OURS, *peers)), "times products", "MB"


def cells(row: Row, peers: list[str]) -> tuple[str, ...]:
    """A row of the table as text."""
    ratios = (f"{median(row.ratios):.2f}", spread_of(row.ratios)) if row.ratios else ("", "")
    times = (milliseconds(row.seconds.get(side, [])) for side in (OURS, *peers))
    products = "" if row.times_products is None else f"{row.times_products:.1f}"
    memory = f"{megabytes(row.pytorch_memory)}, {megabytes(row.memory[OURS])}"
    return row.workload, *ratios, *times, products, memory


def control_cells(rows: list[Row], peers: list[str]) -> tuple[str, ...]:
    """The last row: the plain product that was timed beside all others, whose spread is that of the machine."""
    seconds = controls(rows)
    spread = spread_of([median(seconds) / s for s in seconds])
    return "control: np.matmul", "1.00", spread, milliseconds(seconds), *[""] * len(peers), "1.0", ""


def controls(rows: list[Row]) -> list[float]:
    """The seconds of the control in all rounds, on all cores where a row used them."""
    most = max(row.threads[OURS] for row in rows)
    return [seconds for row in rows if row.threads[OURS] == most for seconds in row.matmul]


def aligned(texts: tuple[str, ...], titles: tuple[str, ...]) -> str:
    """One line of the table for a terminal: names to the left, numbers to the right."""
    widths = [max(len(title), 7) for title in titles[1:]]
    return "  ".join([texts[0].ljust(23), *(text.rjust(n) for text, n in zip(texts[1:], widths, strict=True))])


def as_markdown(titles: tuple[str, ...], lines: list[tuple[str, ...]]) -> str:
    """A table in Markdown: names to the left, numbers to the right."""
    rule = ("---", *["---:"] * (len(titles) - 1))
    return "\n".join(f"| {' | '.join(texts)} |" for texts in (titles, rule, *lines))


def markdown(rows: list[Row], peers: list[str], facts: dict[str, Any]) -> str:
    """The whole table, with the machine it was measured on and the command that reproduces it."""
    lines = [*(cells(row, peers) for row in rows), control_cells(rows, peers)]
    facts_below = closing(rows, facts).replace("\n", "\n\n")  # a paragraph each
    return f"{as_markdown(head(peers), lines)}\n\n{facts_below}\n\nThis table is written by `{COMMAND}`."


def short_markdown(rows: list[Row]) -> str:
    """The table of a dozen lines: our time, that of the faster of PyTorch's eager settings, and their ratio."""
    titles = ("", "funcnn", "PyTorch", "ratio")
    by_name = {row.workload: row for row in rows if row.best_setting}
    lines = [
        (words, *(milliseconds(row.seconds[side]) for side in (OURS, row.best_setting)), f"{median(row.ratios):.2f}")
        for name, words in HIGHLIGHTS.items()
        if (row := by_name.get(name)) and row.best_setting
    ]
    return as_markdown(titles, lines)


def closing(rows: list[Row], facts: dict[str, Any]) -> str:
    """What the columns mean, the means, how steady the machine was, what it is, and which sides did not run."""
    matmul, versions = controls(rows), ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    gflops = sorted(2e-9 * MATMUL_SIZE**3 / seconds for seconds in matmul)
    sentences = [
        f"Times are milliseconds, the medians over {len(rows[0].matmul)} rounds in which all sides take turns. The "
        "ratio is the time of the faster of PyTorch eager and channels last divided by ours, above 1 where we are "
        "faster: the median, and the lowest to the highest of all rounds.",
        geometric_means(rows),
        "Times products is the time of our step divided by that of its matrix products alone: the same calls of "
        "`np.matmul` and `np.dot`, forward and for both gradients, on arrays that are ready and on as many threads.",
        "MB is what a step adds to the memory of each process: that of PyTorch's setting that adds least, then ours.",
        threads_of(rows),
        f"Control: a product of two matrices of {MATMUL_SIZE} x {MATMUL_SIZE} elements ran at {median(gflops):.0f} "
        f"GFLOP/s, {gflops[0]:.0f} to {gflops[-1]:.0f} between rounds.",
        f"{facts['cpu']}, {facts['cores']} cores; Python {facts['python']}, {versions}, {facts['blas']}.",
    ]
    failures = {f"{side} did not run: {reason}" for row in rows for side, reason in row.failures.items()}
    return "\n".join([*sentences, *sorted(failures)])


def geometric_means(rows: list[Row]) -> str:
    """The geometric mean of the ratios, with and without the rows of other kinds, and of those to each other peer."""
    ratios = {row.workload: median(row.ratios) for row in rows if row.ratios}
    sentences = []
    if ratios:
        others = [workload.name for workload in OTHER_ROWS if workload.name in ratios]
        main = [ratio for name, ratio in ratios.items() if name not in others]
        without = f", {geometric_mean(main):.2f} without the rows {', '.join(others)}" if others and main else ""
        sentences.append(f"Geometric mean of the ratios: {geometric_mean(ratios.values()):.2f}{without}.")
    beside = {side: [median(row.ratios_to(side)) for row in rows if row.ratios_to(side)] for side in SIDES}
    means = [
        f"{SIDES[side].title} {geometric_mean(found):.2f} ({len(found)} row{'s' * (len(found) > 1)})"
        for side, found in beside.items()
        if found and side not in (OURS, *EAGER)
    ]
    if means:
        sentences.append(f"Geometric means of the other peers' times divided by ours: {', '.join(means)}.")
    return " ".join(sentences) or "No peer ran."


def threads_of(rows: list[Row]) -> str:
    """How many threads each side used."""
    by_count: dict[str, list[str]] = {}
    for row in rows:
        counts = set(row.threads.values())
        text = f"{counts.pop()} on every side" if len(counts) == 1 else named(row.threads)
        by_count.setdefault(text, []).append(row.workload)
    usual = max(by_count, key=lambda text: len(by_count[text]))
    rest = [f"; {', '.join(names)}: {text}" for text, names in by_count.items() if text != usual]
    return f"Threads: {usual}{''.join(rest)}."


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
        "versions": {name: version for name in PACKAGES if (version := _version(name))},
        "blas": f"{blas['name']} {blas['version']}",
    }


def write_json(path: Path, found: dict[str, Any]) -> None:
    """Write the results and the facts of the machine."""
    text = json.dumps({"machine": facts_of_the_machine(), **found}, indent=2, default=asdict)
    path.write_text(f"{text}\n", encoding="utf-8")


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


def milliseconds(seconds: list[float]) -> str:
    """The median; with three decimals where two would round away too much, and nothing for a side that did not run."""
    if not seconds:
        return ""
    median_ms = 1e3 * median(seconds)
    return f"{median_ms:.2f}" if median_ms >= 1 else f"{median_ms:.3f}"


def spread_of(ratios: list[float]) -> str:
    return f"{min(ratios):.2f} to {max(ratios):.2f}"


def named(threads: dict[str, int]) -> str:
    return ", ".join(f"{SIDES[side].title} {count}" for side, count in threads.items())


def megabytes(size: int | None) -> str:
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
