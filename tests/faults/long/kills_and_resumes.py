"""A run is killed at a random moment and resumed, perhaps killed again: it ends with the bits of one that never was.

The runs are those of ``fit`` with and without early stopping, with files that callbacks write, and of the example that
trains a convolutional network in a loop of its own.
"""

import contextlib
import csv
import io
import json
import random
import runpy
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import funcnn as fn
from tests.faults.long.networks import digest
from tests.faults.long.outcome import Outcome, Verdict
from tests.faults.long.processes import ROOT, killed_after, trials_side_by_side

KINDS = [*["plain", "early stopping", "files"] * 3, "example"]
"""Whose kill comes next; the example takes as long as several of the other runs."""
RUN, TIMES = {"run.npz", "training.npz"}, {"seconds"}
"""What may differ: the files from which a run is resumed have the times of its records too."""


def scenario(count: int) -> Outcome:
    """Kill ``count`` runs."""
    return trials_side_by_side(kill, count, timeout=120 + 5 * count)


def kill(count: int, seed: int) -> Iterator[Verdict]:
    """Kill runs of each kind, by turns; every other one is a run that was killed before, and resumed."""
    random_numbers = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        killed = {}
        for trial in range(count):
            kind = KINDS[trial % len(KINDS)]
            if kind not in killed:
                killed[kind] = Killed(kind, Path(name, kind))
            yield killed[kind].again(random_numbers)


class Killed:
    """A run that is killed again and again, and what an uninterrupted one has written."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind, self.folder, straight = kind, folder, folder.with_suffix(".straight")
        run(kind, straight)  # whose time is also that of imports
        self.expected = contents(straight)
        shutil.rmtree(straight)
        started = time.perf_counter()
        run(kind, straight)
        self.seconds = time.perf_counter() - started

    def again(self, random_numbers: random.Random) -> Verdict:
        """Start the run or go on with it, kill it, and resume it to its end; leave it as the kill has left it."""
        if random_numbers.random() < 0.5:
            shutil.rmtree(self.folder, ignore_errors=True)
        killed_after(random_numbers.uniform(0, self.seconds), keep_running, self.kind, self.folder)
        copy = self.folder.with_suffix(".copy")
        shutil.copytree(self.folder, copy)
        lost = what_is_lost(self.kind, self.folder, self.expected)
        shutil.rmtree(self.folder)
        copy.rename(self.folder)
        return lost


def keep_running(kind: str, folder: Path) -> Iterator[str]:
    """Start or resume a run."""
    folder.mkdir(exist_ok=True)
    yield "started"
    run(kind, folder)


def what_is_lost(kind: str, folder: Path, expected: dict[str, str]) -> Verdict:
    """Resume the run that was killed, to its end, and compare what it has written."""
    there = sorted(path.name for path in folder.iterdir())
    try:
        run(kind, folder)
        found = contents(folder)
    except (Exception, SystemExit) as error:
        return f"{kind}: resuming with {there} raises {type(error).__name__}: {error}"
    different = [name for name in found.keys() | expected if found.get(name) != expected.get(name)]
    return f"{kind}: resumed with {there}, other contents of {sorted(different)}" if different else None


def run(kind: str, folder: Path) -> None:
    """Start a run in a folder or, if there is one, resume it, and write its results."""
    folder.mkdir(exist_ok=True)
    with contextlib.redirect_stdout(io.StringIO()):
        if kind == "example":
            run_example(folder)
        else:
            run_fit(kind, folder)


def run_fit(kind: str, folder: Path) -> None:
    """A run of ``fit`` with everything that has a state: batch norm, dropout, Adam, a schedule, a random split."""
    file = folder / "run.npz"
    early_stopping = fn.callbacks.early_stopping("validation_loss", patience=3)
    callbacks = {
        "plain": [],
        "early stopping": [early_stopping],
        "files": [fn.callbacks.csv_log(folder / "log.csv"), fn.callbacks.checkpoints(folder, metric="validation_loss")],
    }[kind]
    model = fn.serial(fn.dense(16), fn.batch_norm(), fn.relu, fn.dropout(0.3), fn.dense(3))
    result = fn.fit(
        model, model.init((5,), rng=1), fn.adam(fn.cosine_decay(0.1, steps=60)), examples(), fn.softmax_cross_entropy,
        epochs=12, batch_size=25, rng=2, validation_split=0.3, callbacks=callbacks, verbose=False,
        checkpoint=file, resume=file if file.exists() else None,
    )  # fmt: skip
    fn.save(folder / "result.npz", {"params": result.params, "opt_state": result.opt_state})
    (folder / "history.json").write_text(json.dumps(result.history))


@cache
def examples() -> tuple[Any, Any]:
    """Examples in which the labels are mostly noise, so that the validation loss goes up and down."""
    random_numbers = np.random.default_rng(0)
    x = random_numbers.standard_normal((150, 5)).astype(np.float32)
    noise = random_numbers.integers(0, 3, len(x))
    return x, np.where(random_numbers.random(len(x)) < 0.3, (x[:, 0] > 0).astype(np.int64), noise)


def run_example(folder: Path) -> None:
    """The example as a user runs it, on few of its images."""
    with few_digits(tuple((x[:100], labels[:100]) for x, labels in all_digits())):
        options = ["--epochs", "3", "--batch", "30", "--out", str(folder)]
        sys.argv = ["mnist_cnn.py", *options, *(["--resume"] if (folder / "training.npz").exists() else [])]
        runpy.run_path(str(ROOT / "examples" / "mnist_cnn.py"), run_name="__main__")


@contextlib.contextmanager
def few_digits(data: Any) -> Iterator[None]:
    """Let ``digits()`` return these."""
    before = fn.datasets.digits
    fn.datasets.digits = lambda: data
    try:
        yield
    finally:
        fn.datasets.digits = before


@cache
def all_digits() -> Any:
    """The digits, read once."""
    return fn.datasets.digits()


def contents(folder: Path) -> dict[str, str]:
    """What the files of a run say, without the times."""
    readers: dict[str, Callable[[Path], str]] = {
        ".npz": lambda path: digest(fn.load(path)),
        ".csv": lambda path: repr([without_times(row) for row in csv.DictReader(path.read_text().splitlines())]),
        ".json": lambda path: repr([without_times(record) for record in json.loads(path.read_text())]),
        ".png": lambda path: digest(np.frombuffer(path.read_bytes(), np.uint8)),
    }
    # What a killed save left stays until the next save of that file, which a run that had ended does not make.
    files = [path for path in folder.iterdir() if path.name not in RUN and path.suffix != ".tmp"]
    return {path.name: readers[path.suffix](path) for path in files}


def without_times(record: dict[str, Any]) -> dict[str, Any]:
    """A record without what a clock measured."""
    return {name: value for name, value in record.items() if name not in TIMES}
