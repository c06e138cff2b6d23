"""The disk is full in the middle of a file: the error names the file, and the old file is as it was.

The system limits the size of a file to a random number of bytes, which cuts a write short, or the last call, fsync,
fails. When there is space again, the next version can be written.
"""

import errno
import os
import random
import resource
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import funcnn as fn
from tests.faults.long.outcome import Outcome, Verdict
from tests.faults.long.processes import trials_side_by_side

MODEL = fn.dense(50)
CAUSES = {errno.EFBIG, errno.ENOSPC}


class Kind(NamedTuple):
    """How version after version is written to a file, and how the version in it is read."""

    write: Callable[[Path, int], None]
    read: Callable[[Path], Any]


def scenario(count: int) -> Outcome:
    """Fill the disk ``count`` times."""
    return trials_side_by_side(fill, count, timeout=60 + count)


def fill(count: int, seed: int) -> Iterator[Verdict]:
    """Write versions of each kind of file, with too little space for most of them."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # then a write returns an error, as on a full disk
    random_numbers = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        last = dict.fromkeys(KINDS, 0)
        for name, kind in KINDS.items():
            kind.write(Path(folder, name), 0)
        for trial in range(count):
            name = list(KINDS)[trial % len(KINDS)]
            path = Path(folder, name)
            lost, last[name] = next_version(KINDS[name], path, last[name], random_numbers)
            left = sorted(set(os.listdir(folder)) - set(KINDS))
            yield lost or (f"{name}: there is still {left}" if left else None)


def next_version(kind: Kind, path: Path, last: int, random_numbers: random.Random) -> tuple[Verdict, int]:
    """Write the next version with too little space and, if that fails as it must, again with space."""
    try:
        with little_space(path, random_numbers):
            kind.write(path, last + 1)
    except OSError as error:
        if error.errno not in CAUSES or str(path) not in str(error):
            return f"{path.name}: the error does not say what happened to this file: {error}", last
        if (found := version(kind, path)) != last:
            return f"{path.name}: version {last} was there, and now {found}", last
        kind.write(path, last + 1)
    found = version(kind, path)
    return None if found == last + 1 else f"{path.name}: version {last + 1} was written, and {found} read", last + 1


def version(kind: Kind, path: Path) -> Any:
    """The version in a file, or what is wrong with it."""
    try:
        return kind.read(path)
    except Exception as error:
        return f"{type(error).__name__} {error}"


@contextmanager
def little_space(path: Path, random_numbers: random.Random) -> Iterator[None]:
    """Let writing fail: after some bytes, or when all are written."""
    limits, fsync = resource.getrlimit(resource.RLIMIT_FSIZE), os.fsync
    if random_numbers.random() < 0.2:
        os.fsync = no_space
    else:
        most = path.stat().st_size
        # A log grows by one row, and is not written from its beginning.
        least = most if path.name == "log.csv" else 0
        resource.setrlimit(resource.RLIMIT_FSIZE, (random_numbers.randint(least, most + 60), limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        os.fsync = fsync


def no_space(descriptor: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def params(number: int) -> Any:
    """Parameters in which each element is the number of the version."""
    return fn.tree.map(lambda leaf: np.full_like(leaf, number), MODEL.init((50,), rng=0))


def number_in(params: Any) -> float:
    """The number, if all elements are the same."""
    (number,) = {float(element) for leaf in fn.tree.leaves(params) for element in np.unique(leaf)}
    return number


def record(epoch: int) -> dict[str, float]:
    """What ``fit`` records of an epoch."""
    return {"epoch": epoch, "step": 10 * epoch, "train_loss": epoch + 0.125, "validation_loss": epoch + 0.25}


def write_row(path: Path, epoch: int) -> None:
    """The row of an epoch, in a run with all epochs before it."""
    history = [record(number) for number in range(epoch + 1)]
    fn.callbacks.csv_log(path)(history[-1], fn.Fit({}, {}, history))


def last_row(path: Path) -> float:
    """The last epoch in a log, if all rows before it are there and complete."""
    header, *rows = path.read_text().splitlines()
    assert header.split(",") == list(record(0))
    assert [list(map(float, row.split(","))) for row in rows] == [list(record(n).values()) for n in range(len(rows))]
    return len(rows) - 1


KINDS = {
    "tree.npz": Kind(lambda path, number: fn.save(path, params(number)), lambda path: number_in(fn.load(path))),
    "model.npz": Kind(
        lambda path, number: fn.save_model(path, MODEL, params(number)),
        lambda path: number_in(fn.load_model(path)[1]),
    ),
    "log.csv": Kind(write_row, last_row),
}
