"""Who takes part: funcnn, and PyTorch in each of its settings."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from tests.benchmarks.worker import Worker

OURS = "funcnn"
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "FUNCNN_NUM_THREADS")


@dataclass(frozen=True)
class Setting:
    """How PyTorch is run; ``mode`` is that of ``torch.compile``."""

    channels_last: bool = False
    compiled: bool = False
    mode: str | None = None


PEERS = {
    "eager": Setting(),
    "channels_last": Setting(channels_last=True),
    "compile": Setting(channels_last=True, compiled=True),
    "max_autotune": Setting(channels_last=True, compiled=True, mode="max-autotune-no-cudagraphs"),
}


@contextmanager
def workers(orders: str, sides: list[str], *args: Any) -> Iterator[dict[str, Worker]]:
    """A worker for each side, all alive until the end of the ``with`` statement.

    Args:
        orders: the name of the function that makes the orders; ``ours`` and ``peers`` both have it.
        sides: who takes part.
        *args: its arguments, the same for all.
    """
    # Workers find the machine as a user's process finds it: left alone, every library takes all cores.
    for name in THREAD_VARIABLES:
        os.environ.pop(name, None)
    with ExitStack() as stack:
        yield {
            side: stack.enter_context(
                Worker(f"tests.benchmarks.ours:{orders}", *args)
                if side == OURS
                else Worker(f"tests.benchmarks.peers:{orders}", PEERS[side], *args)
            )
            for side in sides
        }
