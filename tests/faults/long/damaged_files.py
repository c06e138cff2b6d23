"""Files are damaged in many ways and read: each read gives the values of the whole file, or our error with its path.

That is all: no other error, no other value, no large memory, no long time. Text has no checksum, so a damaged one may
still be a model or a log.
"""

import gzip
import hashlib
import importlib
import logging
import os
import resource
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

import funcnn as fn
from tests.faults.long.outcome import Outcome, Verdict
from tests.faults.long.processes import trials_side_by_side
from tests.interchange import mutants

Format: TypeAlias = tuple[Path, bytes, Callable[[Path], Any]]
"""Where a damaged file is written, the bytes of the whole one, and what reads it."""

MEMORY = 2**30
"""Bytes that a process may have beyond those of its start; the files have thousands."""
SECONDS = 5.0
"""Longest time for a file, on a busy machine."""

MODEL = fn.serial(fn.dense(6, activation="relu"), fn.batch_norm(), fn.dense(2))
X = np.random.default_rng(0).standard_normal((40, 5)).astype(np.float32)
RECORDS = [{"epoch": epoch, "step": 10 * epoch, "train_loss": 1 / (epoch + 3)} for epoch in range(5)]


def scenario(count: int) -> Outcome:
    """Damage a file of each format ``count`` times."""
    with tempfile.TemporaryDirectory() as folder:
        kinds = len(formats(Path(folder)))
    return trials_side_by_side(damage, count * kinds, timeout=120 + count)


def damage(count: int, seed: int) -> Iterator[Verdict]:
    """Read mutants of one file of each format, by turns."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = formats(Path(folder))
        rng = np.random.default_rng(seed)
        damaged = {name: mutants.mutants(content, rng, count) for name, (_, content, _) in whole.items()}
        expected = {name: read(write(path, content)) for name, (path, content, read) in whole.items()}
        limit_memory()
        logging.disable()  # Pillow logs what it finds in damaged images
        for number in range(count):
            name = list(whole)[number % len(whole)]
            path, _, read = whole[name]
            mutant = next(damaged[name])
            with silent() if name == "TIFF" else nullcontext():
                lost = what_is_lost(write(path, mutant), read, expected[name])
            yield lost and f"{name} as {mutant.hex()[:400]}: {lost}"


@contextmanager
def silent() -> Iterator[None]:
    """Let a C library print nothing: libtiff writes to stderr what it finds in a damaged file."""
    before = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)


def write(path: Path, content: bytes) -> Path:
    """Write a file, and return its path."""
    path.write_bytes(content)
    return path


def what_is_lost(path: Path, read: Callable[[Path], Any], expected: Any) -> Verdict:
    """Read a damaged file."""
    started = time.perf_counter()
    try:
        found = read(path)
    except Exception as error:
        if type(error) is not ValueError:
            return f"{type(error).__name__}: {error}"
        if str(path) not in str(error):
            return f"the error does not name the file: {error}"
    else:
        if not mutants.same(found, expected):
            return "it was read as something else"
    seconds = time.perf_counter() - started
    return f"it took {seconds:.0f} s" if seconds > SECONDS else None


def limit_memory() -> None:
    """Let an allocation far beyond the size of the files fail."""
    status = Path("/proc/self/status").read_text()
    now = 1024 * int(status.partition("VmData:")[2].split()[0])
    resource.setrlimit(resource.RLIMIT_DATA, (now + MEMORY, resource.getrlimit(resource.RLIMIT_DATA)[1]))


def formats(folder: Path) -> dict[str, Format]:
    """Checkpoints, models and images, and beside them what is made of several files or of text."""
    text = fn.to_json(MODEL).encode()
    return mutants.formats(folder) | {
        "run": run_of_fit(folder / "run.npz"),
        "MNIST": small_mnist(folder),
        "log": log(folder / "log.csv"),
        "architecture": (folder / "architecture.json", text, read_architecture),
    }


def run_of_fit(path: Path) -> Format:
    """A file from which ``fit`` resumes a run that has ended."""

    def fit(**files: Path) -> Any:
        params, data = MODEL.init((5,), 0), (X, np.arange(len(X)) % 2)
        result = fn.fit(MODEL, params, fn.adam(0.1), data, fn.softmax_cross_entropy, 2, verbose=False, **files)
        records = [{name: record[name] for name in record if name != "seconds"} for record in result.history]
        return result.params, result.opt_state, records

    fit(checkpoint=path)
    return path, path.read_bytes(), lambda damaged: fit(resume=damaged)


def small_mnist(folder: Path) -> Format:
    """The first of four files of a few images, whose checksums take the place of those of MNIST."""
    known = importlib.import_module("funcnn.datasets.mnist").MNIST_SHA256
    for name, shape in zip(known, ((3, 4, 2), (3,), (1, 4, 2), (1,)), strict=True):
        sizes = b"".join(size.to_bytes(4, "big") for size in shape)
        content = bytes([0, 0, 8, len(shape)]) + sizes + bytes(range(int(np.prod(shape))))
        known[name] = hashlib.sha256(content).hexdigest()
        (folder / name).write_bytes(gzip.compress(content))
    first = folder / next(iter(known))
    return first, first.read_bytes(), lambda damaged: fn.datasets.mnist(damaged.parent)


def log(path: Path) -> Format:
    """A log of some epochs, which is completed; a file that is no log is left alone."""
    for number in range(len(RECORDS)):
        fn.callbacks.csv_log(path)(RECORDS[number], fn.Fit({}, {}, RECORDS[: number + 1]))

    def complete(damaged: Path) -> None:
        before = damaged.read_bytes()
        try:
            fn.callbacks.csv_log(damaged)(RECORDS[4], fn.Fit({}, {}, RECORDS[4:]))
        except ValueError:
            if damaged.read_bytes() != before:
                raise AssertionError("a file that is no log was changed") from None
            raise

    return path, path.read_bytes(), complete


def read_architecture(path: Path) -> None:
    """Read the text of a model, whose errors know no file."""
    try:
        fn.from_json(path.read_text(encoding="utf-8", errors="replace"))
    except ValueError as error:
        if type(error) is not ValueError:
            raise AssertionError(f"another kind of ValueError: {error!r}") from error
        raise ValueError(f"{path}: {error}") from error
