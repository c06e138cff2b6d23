"""The sides that are compared, as data: funcnn, PyTorch in each of its settings, JAX, scikit-learn, NumPy by hand."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import util
from typing import Any

from funcnn.kernels.onednn.library import load
from tests.benchmarks.worker import Worker

OURS, PURE, ONEDNN, JAX, SKLEARN, BY_HAND = "funcnn", "pure", "onednn", "jax", "sklearn", "by_hand"
THREAD_VARIABLES = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "FUNCNN_NUM_THREADS", "PJRT_NPROC",
)  # fmt: skip
"""What the libraries read when they are imported; PJRT_NPROC is JAX's."""


@dataclass(frozen=True)
class Setting:
    """How PyTorch runs; ``mode`` is that of ``torch.compile``."""

    channels_last: bool = False
    compiled: bool = False
    mode: str | None = None


def has_onednn() -> bool:
    """Whether there is a oneDNN that funcnn can use."""
    try:
        load()
    except ImportError:
        return False
    return True


@dataclass(frozen=True)
class Side:
    """Where a side is written.

    Args:
        title: the name in the table.
        package: what must be installed.
        module: the file in this folder.
        arguments: the first arguments of its functions.
    """

    title: str
    package: str
    module: str
    arguments: tuple[Any, ...] = ()

    @property
    def is_installed(self) -> bool:
        """Whether its package can be imported, and what it needs besides."""
        return util.find_spec(self.package) is not None and (self.module != "with_onednn" or has_onednn())


SETTINGS = {
    "eager": Setting(),
    "channels_last": Setting(channels_last=True),
    "compile": Setting(channels_last=True, compiled=True),
    "max_autotune": Setting(channels_last=True, compiled=True, mode="max-autotune-no-cudagraphs"),
}
"""PyTorch's settings by name."""

EAGER = ("eager", "channels_last")
"""The settings that are not compiled: the ratio is to the faster of them."""

SIDES = {
    OURS: Side("funcnn", "funcnn", "ours", (True,)),
    PURE: Side("funcnn, pure", "funcnn", "ours", (False,)),
    ONEDNN: Side("on oneDNN", "funcnn", "with_onednn"),
    "eager": Side("eager", "torch", "with_torch", (SETTINGS["eager"],)),
    "channels_last": Side("channels last", "torch", "with_torch", (SETTINGS["channels_last"],)),
    "compile": Side("compiled", "torch", "with_torch", (SETTINGS["compile"],)),
    "max_autotune": Side("autotuned", "torch", "with_torch", (SETTINGS["max_autotune"],)),
    JAX: Side("JAX", "jax", "with_jax"),
    SKLEARN: Side("sklearn", "sklearn", "with_sklearn"),
    BY_HAND: Side("by hand", "numpy", "by_hand"),
}
"""All sides by name. ``pure`` is funcnn with updates that write to nothing that they were given; ``onednn`` is funcnn
with oneDNN's kernels."""

PEERS = tuple(side for side in SIDES if side not in (OURS, PURE))


@contextmanager
def workers(function: str, sides: list[str], *args: Any, threads: int | None = None) -> Iterator[dict[str, Worker]]:
    """A worker for each side; all of them live until the end of the ``with`` statement.

    Args:
        function: the name of the function that returns the commands, in the module of each side.
        sides: the names of the sides.
        *args: the function's arguments, the same for all sides, after those of the side.
        threads: the number of threads of every side. By default nothing is set, as in a user's process, and every
            library takes all cores.
    """
    before = {name: os.environ.pop(name, None) for name in THREAD_VARIABLES}
    if threads is not None:
        os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
    try:
        with ExitStack() as stack:
            yield {name: stack.enter_context(_worker(function, SIDES[name], args)) for name in sides}
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _worker(function: str, side: Side, args: tuple[Any, ...]) -> Worker:
    """The worker of a side."""
    return Worker(f"tests.benchmarks.{side.module}:{function}", *side.arguments, *args)
