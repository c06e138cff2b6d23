"""Trials run in a process of their own, which may be killed or interrupted, and which cannot hang for ever.

The process gets the name of a function and its arguments as JSON, and prints each value that the function yields as
one line of JSON. After its timeout it ends with the stacks of its threads on stderr.
"""

import faulthandler
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from tests.faults.long.outcome import Outcome, judged, total

T = TypeVar("T")
Program: TypeAlias = Callable[..., Iterator[Any]]
"""A function at the top of its module, of arguments and with values that JSON can hold."""

ROOT = Path(__file__).parents[3]
# From Python 3.12 on, a fork warns of other threads: there are those of BLAS, and that of the timeout.
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore::DeprecationWarning"}
AT_A_TIME = 2
"""How many processes run side by side."""
STEP = "tests.step"
"""The audit event with which a program says that it has got further."""
FILE_EVENTS = {"open", "os.rename", "os.remove", "os.truncate", "os.chmod", "os.link", "os.listdir", "os.mkdir"}
GRACE = 10.0
"""Seconds from the timeout of a process until it is killed, if even the stacks of its threads do not come."""


def values_of(
    program: Program, *arguments: Any, timeout: float = 60, **environment: str
) -> tuple[list[Any], str | None]:
    """The values that a function yields in a new process, and what went wrong: a signal, an error, text on stderr."""
    command = [sys.executable, "-m", __name__, program.__module__, program.__name__, json.dumps([timeout, *arguments])]
    return read(command, timeout + GRACE, env=ENVIRONMENT | environment, cwd=ROOT)


def read(command: list[str], timeout: float, **options: Any) -> tuple[list[Any], str | None]:
    """The values that a command printed until its end, and what went wrong."""
    pipe = subprocess.PIPE
    # A session of its own: its children are killed with it, and would otherwise keep the pipes open.
    process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True, **options)
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
    problem = f"exit status {process.returncode}: {err.strip()[-2000:]}" if process.returncode or err else None
    return parsed(out), problem


def trials(program: Program, count: int, *arguments: Any, timeout: float = 60, **environment: str) -> Outcome:
    """The outcome of ``program(count, *arguments)``, which yields a verdict for each of its trials."""
    verdicts, problem = values_of(program, count, *arguments, timeout=timeout, **environment)
    found = judged(verdicts)
    if problem is None and found.tried != count:
        problem = f"{found.tried} verdicts of {count} trials"
    where = f"{program.__name__}{arguments}, after {found.tried} trials"
    return Outcome(count, found.survived, found.lost + ([] if problem is None else [f"{where}: {problem}"]))


def trials_side_by_side(program: Program, count: int, *arguments: Any, timeout: float = 60) -> Outcome:
    """The same in several processes, which share the trials: ``program(count, *arguments, seed)``."""
    parts = [(count + seed) // AT_A_TIME for seed in range(AT_A_TIME)]
    return total(
        side_by_side(
            lambda seed: trials(program, parts[seed], *arguments, seed, timeout=timeout),
            [seed for seed in range(AT_A_TIME) if parts[seed]],
        )
    )


def side_by_side(function: Callable[[Any], T], items: Iterable[Any]) -> list[T]:
    """``function(item)`` for all items, a few at a time: each starts processes and waits for them."""
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        return list(pool.map(function, items))


def killed_after(seconds: float, program: Program, *arguments: Any) -> list[Any]:
    """Fork, run a function in the child, and kill it some time after it has yielded its first value.

    Returns:
        The values that it yielded; all of them if it ended first.
    """
    child, ours = forked(program, *arguments)
    with open(ours) as pipe:
        first = pipe.readline()
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return parsed(first + pipe.read())


def killed_at(event: int, folder: Path, program: Program, *arguments: Any) -> list[str] | None:
    """Fork, run a function in the child, and let it kill itself right before one of its events.

    Args:
        event: its number, counted from 1; with 0 there is no kill.
        folder: the folder in which the function does something to files.
        program: the function.
        *arguments: its arguments.

    Returns:
        The names of all events if it ended first, None if it was killed.
    """

    def kill(number: int) -> None:
        if number == event:
            os.kill(os.getpid(), signal.SIGKILL)

    return with_events(kill, folder, program, *arguments)


def copied_at(events: Iterable[int], folder: Path, program: Program, *arguments: Any) -> dict[int, Path]:
    """Fork, run a function in the child, and copy the folder right before some events: a kill would leave the same.

    Returns:
        The copies, by the number of the event.
    """
    copies = {event: folder.with_suffix(f".{event}") for event in events}

    def copy(number: int) -> None:
        if number in copies:
            shutil.copytree(folder, copies[number])

    with_events(copy, folder, program, *arguments)
    return copies


def with_events(before: Callable[[int], None], folder: Path, program: Program, *arguments: Any) -> list[str] | None:
    """Fork, run a function in the child, and call ``before(number)`` right before each of its events.

    Events are what the function does to files in a folder, opening, renaming and removing for example, and each
    ``sys.audit(STEP)`` of its own.

    Returns:
        The names of all events, None if the child was killed.
    """

    def counted() -> Iterator[list[str]]:
        names: list[str] = []
        inside = False

        def hook(name: str, details: tuple[Any, ...]) -> None:
            nonlocal inside
            if not inside and (name == STEP or (name in FILE_EVENTS and str(folder) in str(details))):
                names.append(name)
                inside = True  # what ``before`` does is not an event
                before(len(names))
                inside = False

        sys.addaudithook(hook)
        for _ in program(*arguments):
            pass
        yield names

    child, ours = forked(counted)
    with open(ours) as pipe:
        values = parsed(pipe.read())
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) == bool(values):
        raise RuntimeError(f"{program.__name__}{arguments} neither ended nor was killed")
    return values[0] if values else None


def forked(program: Program, *arguments: Any) -> tuple[int, int]:
    """Fork, and run a function in the child: its process id, and the file from which the values it yields are read.

    A fork costs a few milliseconds, a new interpreter with NumPy a quarter of a second. Call it in a process of
    ``values_of``, which has the timeout.
    """
    ours, theirs = os.pipe()
    child = os.fork()
    if not child:
        try:
            for value in program(*arguments):
                os.write(theirs, f"{json.dumps({'value': value})}\n".encode())
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(theirs)
    return child, ours


def parsed(out: str) -> list[Any]:
    """The values in what a process printed; the last line may be incomplete."""
    return [json.loads(line)["value"] for line in out.splitlines() if line[:9] == '{"value":' and line[-1] == "}"]


def main(module: str, name: str, arguments: str) -> None:
    """Run a function in this process, and print what it yields."""
    timeout, *others = json.loads(arguments)
    faulthandler.dump_traceback_later(timeout, exit=True)
    for value in getattr(importlib.import_module(module), name)(*others):
        print(json.dumps({"value": value}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
