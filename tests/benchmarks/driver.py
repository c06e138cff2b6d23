"""The sides take turns, round after round, so that whatever slows the machine slows them all alike.

Between the rounds a plain product of matrices is timed: its spread says how steady the machine was.
"""

from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from tests.benchmarks import by_hand
from tests.benchmarks.ours import weights_of
from tests.benchmarks.sides import BY_HAND, EAGER, OURS, PURE, SETTINGS, SKLEARN, workers
from tests.benchmarks.worker import WorkerError
from tests.benchmarks.workloads import Workload

SKLEARN_ROWS = ("mlp",)
"""What scikit-learn can express with our losses and optimizers."""

MAX_PRODUCT_SECONDS = 0.1
"""The length of a turn of the bare products, at most: they are steadier than steps."""


@dataclass(frozen=True)
class Row:
    """The measurements of a workload; lists have an entry for each round.

    Args:
        workload: its name.
        seconds: of a step, by side.
        matmul: the seconds of the control, a plain product in our process.
        products: the seconds of our step's bare products; empty if it has none.
        memory: the bytes that the first steps took, by side; None where that was not measured.
        threads: how many threads each side uses.
        failures: why a side did not run, by side.
    """

    workload: str
    seconds: dict[str, list[float]] = field(default_factory=dict)
    matmul: list[float] = field(default_factory=list)
    products: list[float] = field(default_factory=list)
    memory: dict[str, int | None] = field(default_factory=dict)
    threads: dict[str, int] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def best_setting(self) -> str | None:
        """PyTorch's setting with the shorter median time, eager or channels-last; None if neither ran."""
        return min(
            (side for side in EAGER if side in self.seconds), key=lambda side: median(self.seconds[side]), default=None
        )

    def ratios_to(self, peer: str | None) -> list[float]:
        """A peer's time divided by ours, in each round: above 1 we are faster. Empty if the peer did not run."""
        if peer is None or peer not in self.seconds:
            return []
        return [theirs / own for theirs, own in zip(self.seconds[peer], self.seconds[OURS], strict=True)]

    @property
    def ratios(self) -> list[float]:
        """The time of the better of PyTorch eager and channels-last divided by ours, in each round."""
        return self.ratios_to(self.best_setting)

    @property
    def times_products(self) -> float | None:
        """Our time divided by that of the bare products beside it; None if the step has none."""
        if not self.products:
            return None
        return median(own / bare for own, bare in zip(self.seconds[OURS], self.products, strict=True))

    @property
    def pytorch_memory(self) -> int | None:
        """The memory of PyTorch's setting that took the least."""
        known = [size for side, size in self.memory.items() if side in SETTINGS and size is not None]
        return min(known, default=None)

    def as_dict(self) -> dict[str, Any]:
        """The measurements and what is derived from them, for JSON."""
        return asdict(self) | {
            "medians": {side: median(seconds) for side, seconds in self.seconds.items()},
            "best_setting": self.best_setting,
            "ratios": {side: self.ratios_to(side) for side in self.seconds if side != OURS},
            "times_products": self.times_products,
        }


def measure(workload: Workload, peers: list[str], rounds: int, seconds: float) -> Row:
    """Time a workload on our side and on some peers.

    Args:
        workload: the row.
        peers: names of sides; one that has no step of its own for this workload is left out.
        rounds: the number of turns of each side.
        seconds: the length of a turn, roughly.
    """
    row = Row(workload.name)
    sides = [OURS, *(peer for peer in peers if takes_part(peer, workload))]
    with workers("stepping", sides, workload, weights_of(workload), threads=workload.threads) as alive:
        for side, worker in alive.items():
            try:
                row.threads[side], row.memory[side] = worker.call("prepare")
                row.seconds[side] = []
            except WorkerError as error:
                # Only a compiler may be missing; anything else is a fault of the benchmark.
                if side not in SETTINGS or not SETTINGS[side].compiled:
                    raise
                row.failures[side] = str(error)
        for _ in range(rounds):
            row.matmul.append(alive[OURS].call("matmul"))
            for side, times in row.seconds.items():
                times.append(alive[side].call("burst", seconds))
                if side == OURS and (bare := alive[OURS].call("products", min(seconds, MAX_PRODUCT_SECONDS))):
                    row.products.append(bare)
    return row


def takes_part(peer: str, workload: Workload) -> bool:
    """Whether a peer has a step of its own for a workload."""
    if peer == "channels_last":
        # Without images, channels-last is the same as eager.
        return workload.is_convolutional
    if peer == PURE:
        return workload.task != "predict"
    rows = {BY_HAND: by_hand.ROWS, SKLEARN: SKLEARN_ROWS}.get(peer, (workload.name,))
    return workload.name in rows
