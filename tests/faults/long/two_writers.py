"""Two processes save to one file at the same time and read it after each save: a read finds a whole version of one.

What remains in the end is the last version of one of them, and nothing else is in the folder.
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import funcnn as fn
from tests.faults.long.outcome import Outcome, Verdict, judged, total
from tests.faults.long.processes import side_by_side, trials

WRITERS = (0, 1)


def scenario(count: int) -> Outcome:
    """Save ``count`` versions with each writer."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "run.npz"))
        save(path, writer=0, version=0)
        outcomes = side_by_side(lambda writer: trials(keep_saving, count, path, writer, timeout=300), WRITERS)
        return total([*outcomes, judged([what_remains(path, count)])])


def keep_saving(count: int, path: str, writer: int) -> Iterator[Verdict]:
    """Save ``count`` versions, and read after each one."""
    latest = dict.fromkeys(WRITERS, 0)
    for version in range(1, count + 1):
        save(path, writer, version)
        latest[writer] = version
        found = fn.load(path)
        whole = bool((found["w"] == version_number(found["writer"], found["version"])).all())
        # Of my own, nothing but the last; of the other's, nothing before what I have seen.
        author, seen = int(found["writer"]), int(found["version"])
        in_order = seen == version if author == writer else seen >= latest[author]
        latest[author] = seen
        yield None if whole and in_order else f"writer {writer} saved {version} and read {seen} of writer {author}"


def what_remains(path: str, count: int) -> Verdict:
    """What is lost when both have ended."""
    found = fn.load(path)
    if int(found["version"]) != count:
        return f"the last version is {count}, and the file holds {found['version']} of writer {found['writer']}"
    left = sorted(set(os.listdir(Path(path).parent)) - {Path(path).name})
    return f"both writers have ended, and there is still {left}" if left else None


def save(path: str, writer: int, version: int) -> None:
    """Save a version: 0.25 MB of one number, which says whose it is."""
    w = np.full(30_000, version_number(writer, version), np.float64)
    fn.save(path, {"w": w, "writer": np.int64(writer), "version": np.int64(version)})


def version_number(writer: int, version: int) -> int:
    """A number for each version of each writer."""
    return 2 * int(version) + int(writer)
