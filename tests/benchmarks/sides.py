"""The sides that are compared: funcnn, PyTorch in each of its settings, and steps written by hand in NumPy."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from tests.benchmarks.worker import Worker

OURS, BY_HAND = "funcnn", "by_hand"
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "FUNCNN_NUM_THREADS")


@dataclass(frozen=True)
class Setting:
    """How PyTorch runs; ``mode`` is that of ``torch.compile``."""

    channels_last: bool = False
    compiled: bool = False
    mode: str | None = None


SETTINGS = {
    "eager": Setting(),
    "channels_last": Setting(channels_last=True),
    "compile": Setting(channels_last=True, compiled=True),
    "max_autotune": Setting(channels_last=True, compiled=True, mode="max-autotune-no-cudagraphs"),
}
"""PyTorch's settings by name."""

PEERS = (*SETTINGS, BY_HAND)


@contextmanager
def workers(function: str, sides: list[str], *args: Any, threads: int | None = None) -> Iterator[dict[str, Worker]]:
    """A worker for each side; all of them live until the end of the ``with`` statement.

    Args:
        function: the name of the function that returns the commands, in ``ours``, ``peers`` and ``by_hand``.
        sides: the names of the sides.
        *args: the function's arguments, the same for all sides; PyTorch's setting comes before them.
        threads: the number of threads of every side. By default nothing is set, as in a user's process, and every
            library takes all cores.
    """
    for name in THREAD_VARIABLES:
        os.environ.pop(name, None)
        if threads is not None:
            os.environ[name] = str(threads)
    with ExitStack() as stack:
        yield {side: stack.enter_context(_worker(function, side, args)) for side in sides}


def _worker(function: str, side: str, args: tuple[Any, ...]) -> Worker:
    """The worker of a side."""
    if side in SETTINGS:
        return Worker(f"tests.benchmarks.peers:{function}", SETTINGS[side], *args)
    return Worker(f"tests.benchmarks.{'ours' if side == OURS else side}:{function}", *args)
