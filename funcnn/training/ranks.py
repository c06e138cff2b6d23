"""The ranks of an MPI job that train one model together, and the messages that they exchange.

All ranks make the same exchanges in the same order, and each exchange says what it is for. A rank that fails says so in
place of its next exchange, so that the others raise an error too and none waits for ever.
"""

from __future__ import annotations

import atexit
import functools
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar
from zlib import crc32

import numpy as np

from funcnn import checks, cores, tree
from funcnn.aliases import Array, Params, Tree
from funcnn.engine.memory import empty
from funcnn.inspect.traverse import every_layer
from funcnn.protocol import Layer
from funcnn.training.run_file import checksum, text_of
from funcnn.tree import below

if TYPE_CHECKING:
    from mpi4py.MPI import Intracomm

__all__ = ["RankError", "Ranks", "digest_of", "on_all_ranks", "ranks_of"]

F = TypeVar("F", bound=Callable[..., Any])

FAILED, LEFT = "failed", "left"
"""What a rank says in place of an exchange: that it has raised an error, or that its program has come to its end."""

EARLY = "its program has come to its end, and this rank waits for its next step; all ranks make the same steps"
"""What that means for a rank that goes on."""

SECONDS_TO_PRINT = 0.5
"""How long an error that ends the job waits for ``mpiexec``, which loses what it has not yet read from a rank."""

SAME = "build the same model on all ranks, call init with the same key, and pass the same data and arguments"
"""What to do where ranks differ."""


class RankError(RuntimeError):
    """Another rank of the job has failed or has ended; the error that it raised is printed there.

    Example:
        >>> raise RankError("rank 1 has failed: ValueError: no data")
        Traceback (most recent call last):
        funcnn.training.ranks.RankError: rank 1 has failed: ValueError: no data
    """


def ranks_of(kind: str, comm: Intracomm) -> Ranks:
    """The ranks of a communicator, made once and kept with it; all of its processes call this.

    Args:
        kind: who asks, for messages.
        comm: a communicator of mpi4py.
    """
    try:
        from mpi4py import MPI
    except ImportError as error:
        message = f'{kind}: several ranks need mpi4py and an MPI library: pip install "funcnn[mpi]"'
        raise ModuleNotFoundError(message, name="mpi4py") from error
    expected = f"{kind}: expected comm as a communicator of mpi4py, such as MPI.COMM_WORLD"
    if not isinstance(comm, MPI.Intracomm):
        raise TypeError(f"{expected}, got {checks.what(comm)}")
    if comm == MPI.COMM_NULL:
        raise TypeError(f"{expected}, got COMM_NULL, which has no ranks")
    if comm.Get_size() > 1 and MPI.Query_thread() < MPI.THREAD_SERIALIZED:
        raise RuntimeError(
            f"{kind}: expected an MPI that takes calls of any thread, one at a time, got one for the main thread only; "
            "set mpi4py.rc.thread_level = 'serialized' before mpi4py.MPI is imported"
        )
    found: Any = comm.Get_attr(_keyval())
    if found is None:
        found = Ranks(comm)
        comm.Set_attr(_keyval(), found)
    ranks: Ranks = found
    return ranks


@cache
def _keyval() -> int:
    """The key under which communicators keep their ``Ranks``."""
    from mpi4py import MPI

    return MPI.Comm.Create_keyval()


class Ranks:
    """The processes of one communicator.

    Args:
        comm: the communicator, of which ``rank`` is the number of this process and ``size`` that of all.
    """

    def __init__(self, comm: Intracomm) -> None:
        self.comm, self.rank, self.size = comm, comm.Get_rank(), comm.Get_size()
        self.ended = False
        self.threads = self._threads()
        if self.size > 1:
            _end_job_on_errors()
            atexit.register(self._leave, os.getpid())

    def exchange(self, what: str, value: Any = None) -> list[Any]:
        """The values of all ranks, in their order.

        Args:
            what: what the exchange is for, the same on all ranks.
            value: that of this rank.
        """
        if self.size == 1:
            return [value]
        found = self.comm.allgather((what, value))
        for rank, (said, detail) in enumerate(found):
            if said in (FAILED, LEFT):
                raise RankError(f"rank {rank} has {said}: {detail}")
        if any(said != what for said, _ in found):
            places = ", ".join(f"rank {rank} at {said!r}" for rank, (said, _) in enumerate(found))
            raise RuntimeError(f"all ranks must make the same calls in the same order, but there is {places}")
        return [value for _, value in found]

    def from_first(self, what: str, compute: Callable[[], Any]) -> Any:
        """What rank 0 computes, on all ranks."""
        return self.exchange(what, compute() if self.rank == 0 else None)[0]

    @contextmanager
    def raising_on_all(self) -> Iterator[None]:
        """An error inside the ``with``, on any rank, is an error on all ranks, and leaves it when all know of it."""
        try:
            with cores.use_threads(min(cores.num_threads(), self.threads)):
                yield
        except BaseException as error:
            if self.size > 1:
                self.ended = True
                if not isinstance(error, RankError):
                    self.comm.allgather((FAILED, f"{type(error).__name__}: {error}"))
                self.comm.Barrier()  # all have saved what they want to save before one ends the job
            raise

    def check_same(self, kind: str, digest: Mapping[str, str]) -> None:
        """Raise the same error on all ranks, with the first path, unless all have the same texts by path."""
        if len(set(self.exchange(f"the start of {kind}", crc32(repr(digest).encode())))) == 1:
            return
        first, *others = self.exchange(f"the paths of {kind}", dict(digest))
        for rank, other in enumerate(others, 1):
            for path in {**first, **other}:
                here, there = first.get(path, "nothing"), other.get(path, "nothing")
                if here != there:
                    raise ValueError(
                        f"{kind}: the ranks differ in {path}: {here} on rank 0, {there} on rank {rank}; {SAME}"
                    )

    def all_sum(self, params: Params, grads: Params) -> Params:
        """The sums of gradients over all ranks: one flat buffer for each dtype, and one all-reduce in place.

        Args:
            params: the parameters, with all paths.
            grads: the gradients of this rank; what is missing counts as zero.

        Returns:
            The sums, the same bits on all ranks.
        """
        found, shapes = tree.flatten(grads), tree.flatten(params)
        missing = [path for path in shapes if path not in found]
        said = self.exchange("gradients", (bool(missing), tree.count(params)))
        if len({size for _, size in said}) > 1:
            raise ValueError(f"the ranks have different parameters, of {[size for _, size in said]} elements; {SAME}")
        if any(lacks for lacks, _ in said):
            # Rank 0 has the gradient of a layer that got the whole batch.
            present = set().union(*self.exchange("paths of gradients", [p for p in found if found[p] is not None]))
            found |= {path: np.zeros_like(shapes[path]) for path in missing if path in present}
        views = self._all_reduced({path: found[path] for path in shapes if found.get(path) is not None})
        summed: Params = tree.map_with_path(lambda path, _: views.get(path), params)
        return summed

    def _all_reduced(self, leaves: Mapping[str, Array]) -> dict[str, Array]:
        """The sums of some arrays over all ranks."""
        from mpi4py import MPI

        views: dict[str, Array] = {}
        for dtype in sorted({leaf.dtype.char for leaf in leaves.values()}):
            own = {path: leaf for path, leaf in leaves.items() if leaf.dtype.char == dtype}
            buffer, start = empty((sum(leaf.size for leaf in own.values()),), np.dtype(dtype)), 0
            for path, leaf in own.items():
                views[path] = buffer[start : start + leaf.size].reshape(leaf.shape)
                views[path][...] = leaf
                start += leaf.size
            if self.size > 1:
                self.comm.Allreduce(MPI.IN_PLACE, buffer, MPI.SUM)
        return views

    def _threads(self) -> int:
        """The number of threads of this rank: ranks on one machine share its cores, unless the environment says."""
        from mpi4py import MPI

        if "FUNCNN_NUM_THREADS" in os.environ:
            return cores.default_threads()
        own = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
        name = MPI.Get_processor_name()
        others = [set(usable) for where, usable in self.comm.allgather((name, [*own])) if where == name]
        return max(1, int(sum(1 / sum(core in usable for usable in others) for core in own) + 1e-9))

    def _leave(self, process: int) -> None:
        """At the end of the program: a rank that waits for this one must not wait for ever."""
        from mpi4py import MPI

        if self.ended or os.getpid() != process or MPI.Is_finalized():
            return
        try:
            if any(said != LEFT for said, _ in self.comm.allgather((LEFT, EARLY))):
                self.comm.Barrier()
        except MPI.Exception:  # the communicator has been freed
            pass


def on_all_ranks(function: F) -> F:
    """Let a function with the keyword ``comm`` raise on all ranks if it raises on one."""

    @functools.wraps(function)
    def call(*args: Any, comm: Any = None, **keywords: Any) -> Any:
        if comm is None:
            return function(*args, **keywords)
        with ranks_of(function.__name__, comm).raising_on_all():
            return function(*args, comm=comm, **keywords)

    return call  # type: ignore[return-value]


def digest_of(layer: Layer, trees: Mapping[str, Tree], **others: Any) -> dict[str, str]:
    """What ranks must have in common, as texts by path: layers, arrays and functions.

    Args:
        layer: the model.
        trees: trees of arrays by name.
        others: functions by name.
    """
    digest: dict[str, str] = {}
    for name, arrays in trees.items():  # in the order of the layers

        def add(path: str, leaf: Any, name: str = name) -> None:
            digest[below(name, path)] = f"{leaf.dtype}{leaf.shape}, checksum {checksum(leaf):08x}"

        tree.map_with_path(add, arrays)
    digest |= {below("model", path): text_of(inner) for path, inner in every_layer(layer) if not inner.children}
    return digest | {name: text_of(value) for name, value in others.items()}


@cache
def _end_job_on_errors() -> None:
    """Let an error that ends this program end the whole job; another rank would wait for this one."""
    from mpi4py import MPI

    before = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        before(kind, error, trace)
        if not isinstance(error, RankError):  # the rank that failed ends the job, after it has printed its error
            sys.stdout.flush()
            sys.stderr.flush()
            time.sleep(SECONDS_TO_PRINT)
            MPI.COMM_WORLD.Abort(1)

    sys.excepthook = hook
