"""The sides take turns, round after round, so that whatever slows the machine slows them all alike.

Between the rounds a plain product of matrices is timed: its spread says how steady the machine was.
"""

from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from tests.benchmarks import by_hand
from tests.benchmarks.ours import multiply_adds_of, weights_of
from tests.benchmarks.sides import BY_HAND, OURS, SETTINGS, workers
from tests.benchmarks.worker import WorkerError
from tests.benchmarks.workloads import Workload, operations


@dataclass(frozen=True)
class Row:
    """The measurements of a workload; lists have an entry for each round.

    Args:
        workload: its name.
        threads: the number of threads of every side; None for all cores.
        seconds: of a step, by side.
        matmul: the rate of a plain product in our process, in GFLOP/s.
        memory: the bytes that the first steps took, by side; None where that could not be measured.
        operations: of a step's products; None where they are not most of the work.
        failures: why a side did not run, by side.
    """

    workload: str
    threads: int | None
    seconds: dict[str, list[float]]
    matmul: list[float]
    memory: dict[str, int | None]
    operations: int | None = None
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def best_setting(self) -> str | None:
        """PyTorch's setting with the shortest median time; None if PyTorch did not run."""
        settings = [side for side in self.seconds if side in SETTINGS]
        return min(settings, key=lambda side: median(self.seconds[side]), default=None)

    def ratios_to(self, peer: str | None) -> list[float]:
        """A peer's time divided by ours, in each round: above 1 we are faster. Empty if the peer did not run."""
        if peer is None or peer not in self.seconds:
            return []
        return [theirs / own for theirs, own in zip(self.seconds[peer], self.seconds[OURS], strict=True)]

    @property
    def ratios(self) -> list[float]:
        """The time of PyTorch's best setting divided by ours, in each round."""
        return self.ratios_to(self.best_setting)

    @property
    def matmul_fraction(self) -> float | None:
        """The rate of our step's products divided by that of the plain product beside it."""
        if self.operations is None:
            return None
        rates = [1e-9 * self.operations / seconds for seconds in self.seconds[OURS]]
        return median(rate / peak for rate, peak in zip(rates, self.matmul, strict=True))

    @property
    def pytorch_memory(self) -> int | None:
        """The memory of PyTorch's setting that took the least."""
        known = [size for side, size in self.memory.items() if side in SETTINGS and size is not None]
        return min(known, default=None)

    def as_dict(self) -> dict[str, Any]:
        """The measurements and what is derived from them, for JSON."""
        return asdict(self) | {
            "best_setting": self.best_setting,
            "ratios": self.ratios,
            "by_hand_ratios": self.ratios_to(BY_HAND),
            "matmul_fraction": self.matmul_fraction,
        }


def measure(workload: Workload, peers: list[str], rounds: int, seconds: float) -> Row:
    """Time a workload on our side and on some peers.

    Args:
        workload: the row.
        peers: names among ``PEERS``; one that has no step of its own for this workload is left out.
        rounds: the number of turns of each side.
        seconds: the length of a turn, roughly.
    """
    weights = weights_of(workload)
    work = operations(workload, multiply_adds_of(workload, weights))
    row = Row(workload.name, workload.threads, {}, [], {}, work)
    sides = [OURS, *(peer for peer in peers if takes_part(peer, workload))]
    with workers("stepping", sides, workload, weights, threads=workload.threads) as alive:
        for side, worker in alive.items():
            try:
                row.memory[side] = worker.call("prepare")
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
    return row


def takes_part(peer: str, workload: Workload) -> bool:
    """Whether a peer has a step of its own for a workload."""
    if peer == BY_HAND:
        return workload.name in by_hand.ROWS
    # Without images, channels-last is the same as eager.
    return peer != "channels_last" or (workload.network is not None and workload.network.is_convolutional)
