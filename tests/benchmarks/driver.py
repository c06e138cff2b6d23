"""The sides take turns, round after round, so that whatever slows the machine slows them all alike.

Between the rounds a plain product of matrices is timed: its spread says how steady the machine was.
"""

from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from tests.benchmarks.ours import multiply_adds_of, weights_of
from tests.benchmarks.sides import OURS, PEERS, workers
from tests.benchmarks.worker import WorkerError
from tests.benchmarks.workloads import Workload, operations


@dataclass(frozen=True)
class Row:
    """What was measured of a workload; lists have an entry for each round.

    Args:
        workload: its name.
        seconds: those of a step, by side.
        matmul: the rate of a plain product in our process, in GFLOP/s.
        memory: the bytes that the first steps took, by side; None where that could not be told.
        operations: those of a step's products; None where they are not the bulk of it.
        failures: why a side did not take part, by side.
    """

    workload: str
    seconds: dict[str, list[float]]
    matmul: list[float]
    memory: dict[str, int | None]
    operations: int | None = None
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def best_peer(self) -> str | None:
        """The peer whose median time is the shortest; None if no peer could run."""
        peers = [side for side in self.seconds if side != OURS]
        return min(peers, key=lambda side: median(self.seconds[side]), default=None)

    @property
    def ratios(self) -> list[float]:
        """The best peer's time by ours, in each round: above 1 we are faster."""
        if self.best_peer is None:
            return []
        return [peer / own for peer, own in zip(self.seconds[self.best_peer], self.seconds[OURS], strict=True)]

    @property
    def matmul_share(self) -> float | None:
        """The rate of our step's products by that of the plain product beside it."""
        if self.operations is None:
            return None
        rates = [1e-9 * self.operations / seconds for seconds in self.seconds[OURS]]
        return median(rate / peak for rate, peak in zip(rates, self.matmul, strict=True))

    @property
    def peer_memory(self) -> int | None:
        """The memory of the peer that took the least."""
        return min(
            (bytes_ for side, bytes_ in self.memory.items() if side != OURS and bytes_ is not None), default=None
        )

    def as_dict(self) -> dict[str, Any]:
        """All that was measured and what follows from it, for JSON."""
        derived = {"best_peer": self.best_peer, "ratios": self.ratios, "matmul_share": self.matmul_share}
        return asdict(self) | derived


def measure(workload: Workload, peers: list[str], rounds: int, seconds: float) -> Row:
    """Time a workload on our side and on some peers.

    Args:
        workload: what to do.
        peers: the names of the settings of PyTorch that take part.
        rounds: how often each side has its turn.
        seconds: how long a turn takes, roughly.
    """
    weights = weights_of(workload)
    row = Row(workload.name, {}, [], {}, operations(workload, multiply_adds_of(workload, weights)))
    images = workload.network is not None and workload.network.is_convolutional
    # Without images, channels-last is what eager is anyway.
    sides = [OURS, *(peer for peer in peers if images or peer != "channels_last")]
    with workers("stepping", sides, workload, weights) as alive:
        for side, worker in alive.items():
            try:
                row.memory[side] = worker.ask("prepare")
                row.seconds[side] = []
            except WorkerError as error:
                # Only a compiler may be missing; anything else is a fault of the benchmark.
                if side == OURS or not PEERS[side].compiled:
                    raise
                row.failures[side] = str(error)
        for _ in range(rounds):
            row.matmul.append(alive[OURS].ask("matmul"))
            for side, times in row.seconds.items():
                times.append(alive[side].ask("burst", seconds))
    return row
