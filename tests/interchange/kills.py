"""Saves under kill: a process that saves in a loop is killed at random points, many times.

``python -m tests.interchange.kills 500`` prints what was found; ``killed_saves`` is the same as a function. It forks,
so it runs in a process that has no threads.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import funcnn as fn

LONGEST_WAIT = 0.02
"""Seconds until the kill, at most; a save takes a few milliseconds."""


def killed_saves(folder: Path, count: int, seed: int = 0) -> Counter[str]:
    """Kill a saving process ``count`` times.

    Returns:
        Counts: ``kills``, ``new`` (the file was replaced in the meantime), ``leftovers`` (temporary files found after
        a kill, all removed by the next save).

    Raises:
        AssertionError: the file was not one whole version, an older one, or a leftover was there after the next save.
    """
    rng, path, seen = np.random.default_rng(seed), folder / "model.npz", Counter[str]()
    fn.save(path, tree_of(0))
    for _ in range(count):
        before = version_of(path)
        process = forked(lambda start=before: saves(path, start))
        time.sleep(rng.uniform(0, LONGEST_WAIT))
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        after = version_of(path)
        assert after >= before, f"version {before} became {after}"
        seen.update(kills=1, new=int(after > before), leftovers=len(os.listdir(folder)) - 1)
        fn.save(path, tree_of(after))
        assert os.listdir(folder) == [path.name], f"left behind: {os.listdir(folder)}"
    return seen


def several_writers(folder: Path, writers: int, seconds: float) -> Counter[str]:
    """Let several processes save to one file at once and read it all the time.

    Returns:
        Counts: ``reads``, and ``versions`` that were seen.

    Raises:
        AssertionError: a read was not one whole version, or something was left behind.
    """
    path, seen, versions = folder / "model.npz", Counter[str](), set()
    fn.save(path, tree_of(0))
    processes = [forked(lambda start=1_000_000 * n: saves(path, start)) for n in range(writers)]
    try:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            versions.add(version_of(path))
            seen["reads"] += 1
    finally:
        for process in processes:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
    fn.save(path, tree_of(0))
    assert os.listdir(folder) == [path.name], f"left behind: {os.listdir(folder)}"
    seen["versions"] = len(versions)
    return seen


def saves(path: Path, version: int) -> None:
    """Save one version after the other, for ever."""
    while True:
        version += 1
        fn.save(path, tree_of(version))


def tree_of(version: int) -> Any:
    """A tree whose every element tells its version."""
    sizes = {"a": 5000, "b": 3, "c": 20_000}
    return {name: {"w": np.full(size, version, np.int64)} for name, size in sizes.items()}


def version_of(path: Path) -> int:
    """The version of the tree in a file, which must be of one piece."""
    (version,) = {int(element) for leaf in fn.tree.leaves(fn.load(path, like=tree_of(0))) for element in leaf}
    return version


def forked(work: Callable[[], None]) -> int:
    """Start a process that does nothing but this, and return its number."""
    process = os.fork()
    if not process:
        try:
            work()
        finally:
            os._exit(1)
    return process


def in_a_process_of_its_own(*arguments: str) -> str:
    """Run this file as a program, without threads; what it printed."""
    single = {"OPENBLAS_NUM_THREADS": "1", "FUNCNN_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "tests.interchange.kills", *arguments],
        env=os.environ | single, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True, timeout=600,
    ).stdout  # fmt: skip


def main(count: str = "500") -> None:
    """Kill and write at once, and print the counts."""
    for found in (lambda folder: killed_saves(folder, int(count)), lambda folder: several_writers(folder, 3, 2.0)):
        with tempfile.TemporaryDirectory() as folder:
            print(dict(found(Path(folder))))


if __name__ == "__main__":
    main(*sys.argv[1:])
