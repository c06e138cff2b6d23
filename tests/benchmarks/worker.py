"""A worker is a process that does the work of one side, and nothing else, when it gets a command.

Two libraries in one process disturb each other: their thread pools spin for the same cores, and the one that allocates
first decides how memory lies. So each side has a process of its own; a pipe carries commands there and results back.
"""

import gc
import multiprocessing
import os
import pkgutil
import re
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias

Step: TypeAlias = Callable[[int], None]
"""Does one step; the step's number chooses the batch."""

Commands: TypeAlias = dict[str, Callable[..., Any]]
"""What a worker can do, by name."""

PAUSE = 0.1
"""Idle seconds after each command: OpenBLAS's threads spin for some 30 ms before they sleep, OpenMP's for less."""

MEMORY_STEPS = 3


class WorkerError(RuntimeError):
    """A worker's command failed; the message is the reason in one line."""


class Worker:
    """A process of its own, to be used in a ``with`` statement.

    Args:
        maker: the name, ``"package.module:function"``, of the function that returns the commands; only the worker
            imports it.
        *args: its arguments, anything that can be pickled.
    """

    def __init__(self, maker: str, *args: Any) -> None:
        # A fresh interpreter: a fork would inherit what the parent has imported and allocated.
        context = multiprocessing.get_context("spawn")
        self._connection, far_end = context.Pipe()
        self._process = context.Process(target=_serve, args=(far_end,))
        self._process.start()
        far_end.close()
        self._connection.send((maker, args))

    def call(self, command: str, *args: Any) -> Any:
        """Send a command, wait until it is done, return its result.

        Raises:
            WorkerError: it failed.
        """
        try:
            self._connection.send((command, args))
            done, result = self._connection.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError) as error:
            raise WorkerError("the process died") from error
        if not done:
            raise WorkerError(result)
        return result

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._connection.close()
        self._process.join(10)
        if self._process.is_alive():
            self._process.terminate()
            self._process.join()


def _serve(connection: Connection) -> None:
    """The main loop of a worker: make the commands, then run them until the pipe closes."""
    commands, failure = _made(*connection.recv())
    while True:
        try:
            command, arguments = connection.recv()
        except EOFError:
            return
        try:
            result = (False, failure) if failure else (True, commands[command](*arguments))
        except Exception as error:
            result = (False, _in_one_line(error))
        time.sleep(PAUSE)
        connection.send(result)


def _made(maker: str, args: tuple[Any, ...]) -> tuple[Commands, str]:
    """The commands, and the reason if they could not be made."""
    try:
        return pkgutil.resolve_name(maker)(*args), ""
    except Exception as error:
        return {}, _in_one_line(error)


def _in_one_line(error: Exception) -> str:
    """The error in one line; the whole traceback goes to the terminal."""
    traceback.print_exception(error)
    return f"{type(error).__name__}: {error}".splitlines()[0]


def timed(steps: list[Step], before: int | None, threads: int, kept: Any = None) -> Commands:
    """The commands of a worker that is timed: ``prepare`` once, then ``burst`` again and again.

    Args:
        steps: different ways to do the same; the fastest is kept.
        before: the memory held before the steps were made; None if the memory of the steps is not measured.
        threads: the number of threads that the side uses.
        kept: what was in memory before and the steps do not use; it stays, since to free it would hide what they take.
    """
    chosen: list[tuple[float, int]] = []

    def prepare() -> tuple[int, int | None]:
        """Warm up, and return the number of threads, and the memory that the first steps took, in bytes."""
        nonlocal kept
        for i in range(MEMORY_STEPS):
            steps[0](i)
        after, kept = peak_memory(), None
        for step in steps:
            run_for(step, 0.2)
        chosen.append(min((min(run_for(step, 0.1) for _ in range(3)), i) for i, step in enumerate(steps)))
        return threads, None if before is None or after is None else max(after - before, 0)

    def burst(seconds: float) -> float:
        """Seconds per step, over about this many seconds, after one step that is not timed."""
        expected, index = chosen[0]
        step, count = steps[index], max(round(seconds / expected), 2)
        step(0)
        started = time.perf_counter()
        for i in range(count):
            step(i)
        return (time.perf_counter() - started) / count

    return {"prepare": prepare, "burst": burst}


def run_for(step: Step, seconds: float) -> float:
    """Run steps for some time, at least one; seconds per step."""
    started, count = time.perf_counter(), 0
    while not count or time.perf_counter() - started < seconds:
        step(count)
        count += 1
    return (time.perf_counter() - started) / count


def peak_memory(restart: bool = False) -> int | None:
    """The most memory this process has held, in bytes, without the code and files it maps; None outside Linux.

    Args:
        restart: forget the peak so far, which imports have left behind.
    """
    process = Path("/proc/self")
    if not os.access(process / "clear_refs", os.W_OK):
        return None
    if restart:
        gc.collect()
        (process / "clear_refs").write_text("5")
    status = (process / "status").read_text()
    kilobytes = {name: int(n) for name, n in re.findall(r"^(\w+):\s+(\d+) kB$", status, re.MULTILINE)}
    # Libraries are read in page by page as they are used; that is not the memory of a step.
    return 1024 * (kilobytes["VmHWM"] - kilobytes["RssFile"])


def cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
