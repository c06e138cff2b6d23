"""A run is killed at some event and resumed, perhaps killed again: it ends with the bits of one that never was.

Events are each evaluation of its loss, and all that it does to its files. The runs are those of ``fit`` with and
without early stopping, with files that callbacks write, and of the example that trains a convolutional network in a
loop of its own.
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
from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

import funcnn as fn
from tests.faults.long.networks import digest
from tests.faults.long.outcome import Outcome, Verdict
from tests.faults.long.processes import ROOT, STEP, copied_at, killed_at, trials_side_by_side

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


def kill_in(part: str, every: int) -> Iterator[Verdict]:
    """Kill runs with all files, which are saved every few epochs: at each event of a part, or at several in turn."""
    with tempfile.TemporaryDirectory() as name:
        killed = Killed("files", Path(name, "killed"), every)
        n = len(killed.events)
        if part == "several":
            several = (2, 5), (n // 2, 4, 9), (n // 2, n // 3, n // 4), (n - 3, 2, 1), (n // 3, n // 3, n // 3, 7)
            for events in several:
                yield killed.at(*events)
        else:
            yield from killed.at_each({"end": list(range(n - 23, n + 1)), "middle": one_save(killed.events)}[part])


def one_save(names: list[str]) -> list[int]:
    """The events of the files that are written after the middle evaluation, with the one before and the one after."""
    files = [0, *(event for event, name in enumerate(names, 1) if name != STEP)]
    starts = [i for i in range(1, len(files)) if files[i] > files[i - 1] + 1]  # there was a step between
    parts = [files[start:end] for start, end in pairwise(starts)]
    middle = max(parts[1:-1], key=len)  # of every second epoch
    return [middle[0] - 1, *middle, middle[-1] + 1]


class Killed:
    """A run that is killed again and again, what an uninterrupted one has written, and the names of its events."""

    def __init__(self, kind: str, folder: Path, every: int = 1) -> None:
        self.kind, self.folder, self.every, straight = kind, folder, every, folder.with_suffix(".straight")
        events = killed_at(0, straight, keep_running, kind, straight, every)
        assert events is not None
        self.events, self.expected = events, contents(straight)
        shutil.rmtree(straight)

    def again(self, random_numbers: random.Random) -> Verdict:
        """Start the run or go on with it, kill it, and resume it to its end; leave it as the kill has left it."""
        if random_numbers.random() < 0.5:
            shutil.rmtree(self.folder, ignore_errors=True)
        self.kill(random_numbers.randint(1, len(self.events)))
        copy = self.folder.with_suffix(".copy")
        shutil.copytree(self.folder, copy)
        lost = what_is_lost(self.kind, self.folder, self.expected, self.every)
        shutil.rmtree(self.folder)
        copy.rename(self.folder)
        return lost

    def kill(self, event: int) -> None:
        """Start the run or go on with it, and kill it at this event, if it does not end before."""
        self.folder.mkdir(exist_ok=True)
        killed_at(event, self.folder, keep_running, self.kind, self.folder, self.every)

    def at(self, *events: int) -> Verdict:
        """Start the run, kill it at each of these events in turn, and resume it to its end."""
        for event in events:
            self.kill(event)
        return self.resumed(*events)

    def at_each(self, events: list[int]) -> Iterator[Verdict]:
        """Run once, and resume to its end what a kill at each of these events would leave."""
        copies = copied_at(events, self.folder, keep_running, self.kind, self.folder, self.every)
        shutil.rmtree(self.folder)
        for event, copy in copies.items():
            copy.rename(self.folder)
            yield self.resumed(event)

    def resumed(self, *events: int) -> Verdict:
        """Resume the run that was killed at these events to its end."""
        lost = what_is_lost(self.kind, self.folder, self.expected, self.every)
        shutil.rmtree(self.folder)
        return lost and f"killed at {events} of {len(self.events)} events: {lost}"


def keep_running(kind: str, folder: Path, every: int) -> Iterator[None]:
    """Start or resume a run."""
    run(kind, folder, every)
    yield


def what_is_lost(kind: str, folder: Path, expected: dict[str, str], every: int) -> Verdict:
    """Resume the run that was killed, to its end, and compare what it has written."""
    there = sorted(path.name for path in folder.iterdir())
    try:
        run(kind, folder, every)
        found = contents(folder)
    except (Exception, SystemExit) as error:
        return f"{kind}: resuming with {there} raises {type(error).__name__}: {error}"
    different = [name for name in found.keys() | expected if found.get(name) != expected.get(name)]
    return f"{kind}: resumed with {there}, other contents of {sorted(different)}" if different else None


def run(kind: str, folder: Path, every: int) -> None:
    """Start a run in a folder or, if there is one, resume it, and write its results."""
    folder.mkdir(exist_ok=True)
    with contextlib.redirect_stdout(io.StringIO()):
        if kind == "example":
            run_example(folder)
        else:
            run_fit(kind, folder, every)


def run_fit(kind: str, folder: Path, every: int) -> None:
    """A run of ``fit`` with everything that has a state: batch norm, dropout, Adam, a schedule, a random split."""
    file = folder / "run.npz"
    early_stopping = fn.callbacks.early_stopping("validation_loss", patience=3)
    log = fn.callbacks.csv_log(folder / "log.csv")
    checkpoints = fn.callbacks.checkpoints(folder, every=2, metric="validation_loss", keep=2)
    callbacks = {"plain": [], "early stopping": [early_stopping], "files": [log, checkpoints, early_stopping]}[kind]
    model = fn.serial(fn.dense(16), fn.batch_norm(), fn.relu, fn.dropout(0.3), fn.dense(3))
    result = fn.fit(
        model, model.init((5,), rng=1), fn.adam(fn.cosine_decay(0.1, steps=60)), examples(), softmax_cross_entropy,
        epochs=12, batch_size=25, rng=2, validation_split=0.3, callbacks=callbacks, verbose=False,
        checkpoint=file, every=every, resume=file if file.exists() else None,
    )  # fmt: skip
    fn.save(folder / "result.npz", {"params": result.params, "opt_state": result.opt_state})
    (folder / "history.json").write_text(json.dumps(result.history))


def softmax_cross_entropy(y: Any, target: Any) -> Any:
    """The loss, each evaluation of which is an event."""
    sys.audit(STEP)
    return fn.softmax_cross_entropy(y, target)


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
        ".tmp": lambda path: "left by a killed save",
        ".png": lambda path: digest(np.frombuffer(path.read_bytes(), np.uint8)),
    }
    files = [path for path in folder.iterdir() if path.name not in RUN]
    return {path.name: readers[path.suffix](path) for path in files}


def without_times(record: dict[str, Any]) -> dict[str, Any]:
    """A record without what a clock measured."""
    return {name: value for name, value in record.items() if name not in TIMES}
