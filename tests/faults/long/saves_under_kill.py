"""A process that saves version after version is killed at a random moment: its file must hold a whole version.

That is the last version that was saved, or the next one, and the next save removes what the killed one left behind.
"""

import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import funcnn as fn
from tests.faults.long.outcome import Outcome, Verdict
from tests.faults.long.processes import killed_after, trials_side_by_side

MODEL = fn.serial(fn.dense(250, activation="relu"), fn.dense(2))
LONGEST = 0.02
"""Seconds from the first save to the kill, at most: several saves."""


def scenario(count: int) -> Outcome:
    """Kill ``count`` processes, half of which save trees and half models."""
    return trials_side_by_side(kill, count, timeout=60 + count)


def kill(count: int, seed: int) -> Iterator[Verdict]:
    """Kill processes that save over one file, and look at what is in the folder."""
    seconds = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "run.npz")
        for trial in range(count):
            as_model = bool(trial % 2)
            save(path, 0, as_model)
            last = max(killed_after(seconds.uniform(0, LONGEST), keep_saving, path, as_model))
            yield what_is_lost(path, last, as_model)


def keep_saving(path: Path, as_model: bool) -> Iterator[int]:
    """Save versions 1, 2, 3 ..., until killed."""
    for number in range(1, 1000):
        save(path, number, as_model)
        yield number


def what_is_lost(path: Path, last: int, as_model: bool) -> Verdict:
    """Read the file of a process that was killed after it had saved the version ``last``."""
    try:
        found = version(path, as_model)
    except Exception as error:
        return f"version {last} was saved, and reading the file raises {type(error).__name__}: {error}"
    if found not in (last, last + 1):
        return f"version {last} was saved, and the file holds version {found}"
    save(path, last + 2, as_model)
    left = sorted(set(os.listdir(path.parent)) - {path.name})
    for name in left:
        path.with_name(name).unlink()
    return f"after the next save, there is still {left}" if left else None


def save(path: Path, number: int, as_model: bool) -> None:
    """Save a version: 0.25 MB in which each element is its number."""
    params = fn.tree.map(lambda leaf: np.full_like(leaf, number), MODEL.init((250,), rng=0))
    if as_model:
        fn.save_model(path, MODEL, params)
    else:
        fn.save(path, params)


def version(path: Path, as_model: bool) -> float:
    """The version in a file, if all elements of all arrays say the same."""
    params = fn.load_model(path)[1] if as_model else fn.load(path, like=MODEL.init((250,), rng=0))
    (number,) = {float(element) for leaf in fn.tree.leaves(params) for element in np.unique(leaf)}
    return number
