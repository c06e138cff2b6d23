"""The cost of a training step as batch, width, depth and image grow: no size may cost much more than its arithmetic.

Where a size doubles the arithmetic and more than trebles the time, there is a cliff.
"""

from dataclasses import dataclass
from math import log2
from pathlib import Path
from statistics import median

from tests.benchmarks.driver import measure
from tests.benchmarks.ours import multiply_adds_of, weights_of
from tests.benchmarks.sides import OURS
from tests.benchmarks.workloads import CLASSES, Conv, Dense, Flatten, MaxPool, Network, Part, Workload

CLIFF = 3.0
"""The growth of the time, where the arithmetic doubles, from which on there is a cliff."""

BATCHES = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256)
FILTERS = (4, 8, 12, 16, 24, 32, 48, 64, 96)
UNITS = (16, 32, 64, 96, 128, 192, 256, 512, 1024)
DEPTHS = (1, 2, 4, 8, 16)
SIZES = (12, 16, 20, 24, 28, 32, 40, 48, 64)


@dataclass(frozen=True)
class Point:
    """A training step of a certain size.

    Args:
        size: what grows.
        batch: the number of examples.
        seconds: of the step.
        multiply_adds: of the prediction of the batch.
    """

    size: int
    batch: int
    seconds: float
    multiply_adds: int


def convolutional(batch: int = 32, width: int = 16, depth: int = 1, size: int = 32) -> Workload:
    """A network that convolves an image once, and after a pooling ``depth`` times with twice as many filters."""
    inner = (Conv(2 * width, padding=1),) * depth
    parts: tuple[Part, ...] = (Conv(width), MaxPool(), *inner, MaxPool(), Flatten(), Dense(CLASSES))
    name = f"conv: batch {batch}, {width} filters, depth {depth}, {size} x {size}"
    return Workload(name, "train", Network((size, size, 3), parts), batch)


def dense(batch: int = 32, width: int = 128, depth: int = 2) -> Workload:
    """A network of ``depth`` hidden layers."""
    parts: tuple[Part, ...] = (*(Dense(width, "relu"),) * depth, Dense(CLASSES))
    return Workload(f"dense: batch {batch}, {width} units, depth {depth}", "train", Network((256,), parts), batch)


def curves(rounds: int, seconds: float) -> dict[str, list[Point]]:
    """One curve for each size that grows."""
    growing = {
        "batch, convolutional": [(n, convolutional(batch=n)) for n in BATCHES],
        "filters": [(n, convolutional(width=n)) for n in FILTERS],
        "convolutions": [(n, convolutional(depth=n)) for n in DEPTHS],
        "pixels a side": [(n, convolutional(size=n)) for n in SIZES],
        "batch, dense": [(n, dense(batch=n)) for n in BATCHES],
        "units": [(n, dense(width=n)) for n in UNITS],
        "dense layers": [(n, dense(depth=n)) for n in DEPTHS],
    }
    return {what: [_point(n, one, rounds, seconds) for n, one in series] for what, series in growing.items()}


def _point(size: int, workload: Workload, rounds: int, seconds: float) -> Point:
    """Measure one point of a curve, and print it."""
    step = median(measure(workload, [], rounds, seconds).seconds[OURS])
    multiply_adds = workload.batch * multiply_adds_of(workload, weights_of(workload))
    print(
        f"{workload.name:<44} {1e3 * step:8.3f} ms, {1e6 * step / workload.batch:8.1f} us an example,"
        f" {1e12 * step / multiply_adds:6.1f} ps a multiply-add",
        flush=True,
    )
    return Point(size, workload.batch, step, multiply_adds)


def growth(small: Point, large: Point) -> float:
    """How many times as much a step costs when its arithmetic doubles, between two points."""
    doublings = log2(large.multiply_adds / small.multiply_adds)
    return float((large.seconds / small.seconds) ** (1 / doublings))


def steepest(points: list[Point]) -> tuple[float, Point, Point]:
    """The largest growth from a point to the next one that has at least twice its arithmetic, and the two points."""
    pairs = []
    for i, small in enumerate(points):
        large = next((p for p in points[i:] if p.multiply_adds >= 2 * small.multiply_adds), None)
        if large is not None:
            pairs.append((growth(small, large), small, large))
    return max(pairs, key=lambda pair: pair[0])


def cliffs(found: dict[str, list[Point]]) -> str:
    """For each curve where it is steepest, and whether that is a cliff."""
    lines = [f"The largest growth of the time where the arithmetic doubles; a cliff is more than {CLIFF:.0f} times:"]
    for what, points in found.items():
        factor, small, large = steepest(points)
        verdict = "A CLIFF" if factor > CLIFF else "no cliff"
        lines.append(f"{what:<22} {factor:5.2f} times, from {small.size} to {large.size}: {verdict}")
    return "\n".join(lines)


def plot(found: dict[str, list[Point]], path: Path) -> None:
    """Draw the curves, and with each the curve of times in proportion to the arithmetic."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(16, 8), layout="constrained")
    for i, (what, points) in enumerate(found.items()):
        axes = figure.add_subplot(2, 4, i + 1, xlabel=what, ylabel="µs an example", xscale="log", yscale="log")
        sizes, last = [point.size for point in points], points[-1]
        axes.plot(sizes, [1e6 * point.seconds / point.batch for point in points], "o-", label="funcnn, training step")
        pace = last.seconds / last.multiply_adds
        proportional = [1e6 * pace * point.multiply_adds / point.batch for point in points]
        axes.plot(sizes, proportional, "--", label="in proportion to multiply-adds")
        axes.set_xticks(sizes, labels=[str(n) for n in sizes], minor=False, fontsize=7, rotation=60)
        axes.set_xticks([], minor=True)
        axes.legend()
    figure.savefig(path, dpi=120)
