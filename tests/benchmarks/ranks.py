"""How training scales with the number of MPI ranks: measured on 1 and 2, and a cost model of these to 1,024.

python -m tests.benchmarks.ranks --plot FILE.png           measure, fit, print the assumptions, plot
python -m tests.benchmarks.ranks --latency 20e-6 --bandwidth 3e9   the same for a network of these
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import funcnn as fn

IMAGES, CLASSES = (28, 28, 1), 10
MODELS = {
    "small": fn.serial(
        fn.conv2d(8, 5, activation="relu"), fn.max_pool2d(2), fn.conv2d(16, 5, activation="relu"), fn.max_pool2d(2),
        fn.flatten, fn.dense(64, activation="relu"), fn.dense(CLASSES),
    ),
    "medium": fn.serial(fn.flatten, *[fn.dense(512, activation="relu")] * 3, fn.dense(CLASSES)),
    "large": fn.serial(fn.flatten, *[fn.dense(1536, activation="relu")] * 4, fn.dense(CLASSES)),
}  # fmt: skip
BATCH = 64
"""Examples a rank where the batch grows with the ranks."""

GLOBAL_BATCH = 4096
"""Examples of all ranks where it does not."""

BATCHES = (32, 64, 128)
"""Those of which the cost of an example is fitted."""

BUFFERS = tuple(4**k for k in range(4, 13))
"""Elements of the buffers whose all-reduce is timed, of 4 bytes each."""

WARM_UP = 8
"""Calls that are not counted."""

RANKS = tuple(2**k for k in range(11))
EXCHANGES = 3
"""Messages to all of a step beside the gradients: lengths, outputs for the loss, and that all are ready."""

ASSUMPTIONS = """The cost model and what it assumes:
- step = (1 + wait) (fixed + example * (examples a rank) + loss * (examples of all ranks)) + exchanges + all-reduce
- fixed, example and loss are fitted to steps of one rank with one thread; each rank has a core as fast
- wait is what steps on 2 ranks take longer: they share caches and memory, and the slower one is waited for; more ranks
  are taken to wait as long, though the slowest of many is slower
- the all-reduce is a ring, 2 (R - 1) latency + 2 (R - 1) / R bytes / bandwidth, after the backward pass, not beside it
- an exchange takes log2(R) times its time on 2 ranks, and the bytes of all ranks' outputs at that bandwidth
- latency and bandwidth are those between two processes of this machine, or as given, with no contention"""


@dataclass(frozen=True)
class Costs:
    """What a step of a model costs.

    Args:
        fixed: seconds of a step without examples, the update included.
        example: seconds of an example, forward and backward.
        loss: seconds of the loss of an example, which each rank computes for all.
        size: bytes of the gradients.
        latency: seconds of a message of the ring.
        bandwidth: bytes a second of the ring.
        exchange: seconds of a message to all on 2 ranks.
        wait: the part of its work that a rank waits for memory and for others, if there are several.
    """

    fixed: float
    example: float
    loss: float
    size: float
    latency: float
    bandwidth: float
    exchange: float
    wait: float = 0.0

    def communication(self, ranks: int, examples: float) -> float:
        """The seconds of a step in which ranks wait for messages."""
        if ranks == 1:
            return 0.0
        outputs = examples * ranks * CLASSES * 4 / self.bandwidth
        exchanges = EXCHANGES * np.log2(ranks) * self.exchange
        ring = 2 * (ranks - 1) * self.latency + 2 * (ranks - 1) / ranks * self.size / self.bandwidth
        return float(outputs + exchanges + ring)

    def step(self, ranks: int, examples: float) -> float:
        """The seconds of a step with this many examples a rank."""
        work = self.fixed + (self.example + self.loss * ranks) * examples
        return work * (1 + self.wait if ranks > 1 else 1) + self.communication(ranks, examples)


def line(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """Intercept and slope, not negative, of the line with the least relative errors."""
    from scipy.optimize import nnls

    weights = 1 / np.asarray(y)
    (intercept, slope), _ = nnls(np.stack([weights, np.asarray(x) * weights], 1), np.ones(len(weights)))
    return float(intercept), float(slope)


def costs(one: dict[str, Any], two: dict[str, Any], name: str) -> Costs:
    """The costs of a model, fitted to the measurements on one rank and on two."""
    fixed, example = line(BATCHES, [one["steps"][name][str(batch)] for batch in BATCHES])
    # On 2 ranks the ring takes 2 latencies and passes each byte once.
    latency, per_byte = line([4 * n for n in BUFFERS], [two["buffers"][str(n)] for n in BUFFERS])
    loss = one["loss"]
    size, exchange = one["bytes"][name], two["exchange"]
    cost = Costs(fixed, example - loss, loss, size, latency / 2, 1 / per_byte, exchange)
    slower = [
        (two["steps"][name][str(batch)] - cost.communication(2, batch))
        / (cost.step(2, batch) - cost.communication(2, batch))
        for batch in BATCHES
    ]
    return replace(cost, wait=max(0.0, median(slower) - 1))


def measure(seconds: float) -> dict[str, Any]:
    """On each rank: the seconds of steps, of all-reduces, of an exchange, and of the loss of an example."""
    from mpi4py import MPI

    from funcnn.training.ranks import ranks_of

    comm, found = MPI.COMM_WORLD, {"steps": {}, "bytes": {}, "buffers": {}}
    rows = np.random.default_rng(comm.rank)
    for name, model in MODELS.items():
        params = model.init(IMAGES, rng=0)
        found["bytes"][name], found["steps"][name] = fn.tree.nbytes(params), {}
        for batch in BATCHES:
            step = stepping(model, params, rows, batch, comm)
            found["steps"][name][batch] = timed(step, seconds, comm)
    for n in BUFFERS:
        buffer = np.zeros(n, np.float32)
        found["buffers"][n] = timed(lambda buffer=buffer: comm.Allreduce(MPI.IN_PLACE, buffer), seconds / 4, comm)
    ranks, y = ranks_of("benchmark", comm), np.zeros((BATCH, CLASSES), np.float32)
    found["exchange"] = timed(lambda: ranks.exchange("loss", (y, None, None)), seconds / 4, comm)
    y, labels = np.zeros((64 * BATCH, CLASSES), np.float32), np.zeros(64 * BATCH, int)
    found["loss"] = timed(lambda: fn.softmax_cross_entropy(y, labels), seconds / 4, comm) / len(y)
    return found


def stepping(model: fn.Layer, params: Any, rows: np.random.Generator, batch: int, comm: Any) -> Callable[[], None]:
    """A training step with its update."""
    x, labels = rows.random((batch, *IMAGES), np.float32), rows.integers(0, CLASSES, batch)
    optimizer, compute = fn.adam(1e-3), fn.distributed.value_and_grad(model, fn.softmax_cross_entropy, comm)
    params = fn.tree.map(np.copy, params)
    state = optimizer.init(params)

    def step() -> None:
        nonlocal params, state
        _, grads = compute(params, x, labels, rng=0)
        params, state = optimizer.step(grads, state, params, donate=True)

    return step


def timed(call: Callable[[], Any], seconds: float, comm: Any) -> float:
    """The median of the seconds of a call, as many calls on all ranks, once memory and caches are warm."""
    found: list[float] = []
    enough = WARM_UP + 3
    while len(found) < enough:
        started = time.perf_counter()
        call()
        found.append(time.perf_counter() - started)
        if len(found) == WARM_UP:
            enough += comm.bcast(min(1000, int(seconds / median(found))))
    return median(found[WARM_UP:])


def on(ranks: int, seconds: float) -> dict[str, Any]:
    """The measurements of a job of some ranks, each with one thread."""
    here = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    mpiexec = shutil.which("mpiexec", path=here)
    if mpiexec is None:
        raise SystemExit("this needs MPI and mpi4py: pip install mpich mpi4py")
    command = [mpiexec, "-n", str(ranks), sys.executable, "-m", "tests.benchmarks.ranks", "--measure", str(seconds)]
    text = subprocess.run(
        command, env=os.environ | {"FUNCNN_NUM_THREADS": "1"}, check=True, capture_output=True, text=True, timeout=300
    ).stdout
    found: dict[str, Any] = json.loads(text)
    return found


def measured(rounds: int, seconds: float) -> tuple[dict[str, Any], dict[str, Any]]:
    """The least of the measurements of several rounds, on 1 rank and on 2: what slows the machine only adds."""
    one, two = on(1, seconds), on(2, seconds)
    for _ in range(rounds - 1):
        one, two = fn.tree.map(min, one, on(1, seconds)), fn.tree.map(min, two, on(2, seconds))
    return one, two


def report(one: dict[str, Any], two: dict[str, Any], fitted: dict[str, Costs]) -> str:
    """What was measured on 2 ranks beside what the model says, and what it says for more."""
    some = next(iter(fitted.values()))
    lines = [
        f"latency {1e6 * some.latency:.1f} us, bandwidth {some.bandwidth / 1e9:.2f} GB/s, "
        f"exchange {1e6 * some.exchange:.0f} us, loss {1e9 * some.loss:.0f} ns an example",
        f"{'model':<8} {'parameters':>11} {'1 rank':>9} {'2 ranks':>9} {'model says':>11} {'wait':>5} {'weak':>6} "
        f"{'strong':>7}   weak efficiency at 16, 128, 1,024 ranks",
    ]
    for name, cost in fitted.items():
        before, after = one["steps"][name][str(BATCH)], two["steps"][name][str(BATCH)]
        halved = one["steps"][name][str(2 * BATCH)] / after
        later = ", ".join(f"{cost.step(1, BATCH) / cost.step(n, BATCH):.0%}" for n in (16, 128, 1024))
        lines.append(
            f"{name:<8} {int(cost.size) // 4:>11,} {1e3 * before:>6.2f} ms {1e3 * after:>6.2f} ms "
            f"{1e3 * cost.step(2, BATCH):>8.2f} ms {cost.wait:>5.0%} {before / after:>6.0%} {halved:>6.2f}x   {later}"
        )
    lines.append(f"weak: {BATCH} examples a rank, time on 1 rank / time on 2")
    lines.append(f"strong: {2 * BATCH} examples, time on 1 rank / time on 2")
    return "\n".join([*lines, "", ASSUMPTIONS])


def plot(one: dict[str, Any], two: dict[str, Any], fitted: dict[str, Costs], path: Path) -> None:
    """Draw the efficiency with as many examples a rank, and the speedup with as many examples of all ranks."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    weak = figure.add_subplot(1, 2, 1, title=f"{BATCH} examples a rank", xlabel="ranks", ylabel="efficiency")
    strong = figure.add_subplot(1, 2, 2, title=f"{GLOBAL_BATCH:,} examples in all", xlabel="ranks", ylabel="speedup")
    for number, (name, cost) in enumerate(fitted.items()):
        label, color = f"{name}, {int(cost.size) // 4:,} parameters", f"C{number}"
        weak.plot(RANKS, [cost.step(1, BATCH) / cost.step(n, BATCH) for n in RANKS], color=color, label=label)
        measured = one["steps"][name][str(BATCH)] / two["steps"][name][str(BATCH)]
        weak.plot([1, 2], [1, measured], "o", color=color)
        whole = cost.step(1, GLOBAL_BATCH)
        strong.plot(RANKS, [whole / cost.step(n, GLOBAL_BATCH / n) for n in RANKS], color=color, label=label)
    weak.plot([], [], "ko", label="measured")
    strong.plot(RANKS, RANKS, "k:", label="ideal")
    for axes in (weak, strong):
        axes.set_xscale("log", base=2)
        axes.set_xticks(RANKS[::2], [f"{n:,}" for n in RANKS[::2]])
        axes.legend()
    weak.set_ylim(0, 1.1)
    strong.set_yscale("log", base=2)
    strong.set_yticks(RANKS[::2], [f"{n:,}" for n in RANKS[::2]])
    figure.savefig(path, dpi=120)


def main() -> None:
    """Measure, fit, print and plot."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.ranks", description=__doc__)
    parser.add_argument("--plot", type=Path, metavar="FILE.png")
    parser.add_argument("--rounds", type=int, default=3, help="jobs of 1 and of 2 ranks, in turn (%(default)s)")
    parser.add_argument("--seconds", type=float, default=0.2, help="of each measurement (%(default)s)")
    parser.add_argument("--latency", type=float, help="seconds, in place of the fitted one")
    parser.add_argument("--bandwidth", type=float, help="bytes a second, in place of the fitted one")
    parser.add_argument("--measure", type=float, metavar="SECONDS", help="what each rank of a job does")
    options = parser.parse_args()
    if options.measure is not None:
        from mpi4py import MPI

        found = measure(options.measure)
        if MPI.COMM_WORLD.rank == 0:
            print(json.dumps(found))
        return
    one, two = measured(options.rounds, options.seconds)
    given = {name: value for name in ("latency", "bandwidth") if (value := getattr(options, name)) is not None}
    fitted = {name: replace(costs(one, two, name), **given) for name in MODELS}
    print(report(one, two, fitted))
    if options.plot is not None:
        plot(one, two, fitted, options.plot)


if __name__ == "__main__":
    main()
