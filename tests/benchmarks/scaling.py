"""The cost of an example as batch, width and image grow: near-linear in the arithmetic, without jumps."""

from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tests.benchmarks.driver import measure
from tests.benchmarks.ours import multiply_adds_of, weights_of
from tests.benchmarks.sides import OURS
from tests.benchmarks.workloads import CLASSES, Conv, Dense, Flatten, MaxPool, Network, Workload

BATCHES = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256)
WIDTHS = (4, 8, 12, 16, 24, 32, 48, 64, 96)
SIZES = (12, 16, 20, 24, 28, 32, 40, 48, 64)


@dataclass(frozen=True)
class Point:
    """The cost of an example in a training step, and the multiply-adds of its prediction."""

    at: int
    seconds: float
    multiply_adds: int


def scaled_workload(batch: int = 32, width: int = 16, size: int = 32) -> Workload:
    """A small network with the chosen batch, width and image."""
    parts = (Conv(width), MaxPool(), Conv(2 * width), MaxPool(), Flatten(), Dense(CLASSES))
    name = f"batch {batch}, width {width}, image {size} x {size}"
    return Workload(name, "train", Network((size, size, 3), parts), batch)


def curves(rounds: int, seconds: float) -> dict[str, list[Point]]:
    """One curve for each size that grows."""
    growing = {
        "batch": [(n, scaled_workload(batch=n)) for n in BATCHES],
        "width (filters of the first convolution)": [(n, scaled_workload(width=n)) for n in WIDTHS],
        "image (pixels a side)": [(n, scaled_workload(size=n)) for n in SIZES],
    }
    return {what: [_point(n, one, rounds, seconds) for n, one in series] for what, series in growing.items()}


def _point(at: int, workload: Workload, rounds: int, seconds: float) -> Point:
    """Measure one point of a curve, and print it."""
    step = median(measure(workload, [], rounds, seconds).seconds[OURS])
    point = Point(at, step / workload.batch, sum(multiply_adds_of(workload, weights_of(workload))))
    print(
        f"{workload.name:<36} {1e6 * point.seconds:8.1f} us an example,"
        f" {1e12 * point.seconds / point.multiply_adds:6.1f} ps a multiply-add",
        flush=True,
    )
    return point


def plot(found: dict[str, list[Point]], path: Path) -> int:
    """Draw the curves, and beside each the curve of times in proportion to the arithmetic."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4), layout="constrained")
    for i, (what, points) in enumerate(found.items()):
        axes = figure.add_subplot(1, len(found), i + 1, xlabel=what, ylabel="µs an example", xscale="log", yscale="log")
        at, last = [point.at for point in points], points[-1]
        axes.plot(at, [1e6 * point.seconds for point in points], "o-", label="funcnn, training step")
        pace = 1e6 * last.seconds / last.multiply_adds
        axes.plot(at, [pace * point.multiply_adds for point in points], "--", label="in proportion to multiply-adds")
        axes.set_xticks(at, labels=[str(n) for n in at], minor=False, fontsize=7, rotation=60)
        axes.set_xticks([], minor=True)
        axes.legend()
    figure.savefig(path, dpi=120)
    return 0
