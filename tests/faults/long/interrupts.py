"""Ctrl-C comes at a random moment of a step, a prediction, a run of ``fit`` or a save: it always arrives.

Afterwards no lock is held, and another thread computes the same bits as before. An interrupted ``fit`` gives its result
so far, and an interrupted save leaves a whole file.
"""

import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import funcnn as fn
from tests.faults.long.networks import TASKS, convolutional, mlp
from tests.faults.long.outcome import Outcome, Verdict
from tests.faults.long.processes import trials_side_by_side

LONGEST = 0.03
"""Seconds until Ctrl-C, at most."""
PATIENCE = 3.0
"""Seconds from then on, after which the interrupt is lost."""
DEADLINE = 20.0
"""Seconds for three steps, after which a lock is held."""


def scenario(count: int) -> Outcome:
    """Interrupt so many times."""
    return trials_side_by_side(interrupt, count, timeout=60 + 5 * count)


def interrupt(count: int, seed: int) -> Iterator[Verdict]:
    """Interrupt each kind of work in turn."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may start what is in the background without
    ignored: list[str] = []
    sys.unraisablehook = lambda found: ignored.append(f"{found.exc_type.__name__} in {found.object}")
    seconds = random.Random(seed)
    alone = {name: task() for name, task in TASKS.items()}
    with tempfile.TemporaryDirectory() as folder:
        works = all_works(Path(folder, "run.npz"))
        for trial in range(count):
            kind, name = list(works)[trial % len(works)], list(TASKS)[trial % len(TASKS)]
            lost = interrupted(works[kind], seconds.uniform(0, LONGEST)) or still_works(name, alone[name])
            if ignored:
                lost = f"an exception was ignored: {ignored.pop()}"
            yield lost and f"{kind}: {lost}"


def interrupted(work: Callable[[], Any], delay: float) -> Verdict:
    """Repeat some work until the interrupt comes."""
    # A signal to the process reaches the main thread, as that of a terminal does.
    timer = threading.Timer(delay, os.kill, (os.getpid(), signal.SIGINT))
    try:
        timer.start()
        end = time.monotonic() + delay + PATIENCE
        while time.monotonic() < end:
            work()
    except KeyboardInterrupt as error:
        if work is fit and not isinstance(getattr(error, "result", None), fn.Fit):
            return "the interrupt has no result"
        return None
    finally:
        timer.join()
    return "the interrupt did not come"


def still_works(name: str, expected: str) -> Verdict:
    """Compute in another thread, which would have to wait for a lock that the main thread left held."""
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(TASKS[name]()), daemon=True)
    thread.start()
    thread.join(DEADLINE)
    if not found:
        return f"{name} hangs afterwards"
    return None if found == [expected] else f"{name} has other bits afterwards"


def all_works(path: Path) -> dict[str, Callable[[], Any]]:
    """What is interrupted, by name."""
    numbers = iter(range(10**9))

    def save() -> None:
        # A whole file has one number everywhere, and load raises if it is not whole.
        fn.save(path, {"w": np.full(100_000, next(numbers))})
        if len(np.unique(fn.load(path)["w"])) != 1:
            raise AssertionError("the file has parts of two versions")

    return {"step": step(convolutional), "step of rows": step(mlp), "predict": predict(), "fit": fit, "save": save}


def step(network: Any) -> Callable[[], Any]:
    """A training step, forward and backward."""
    model, shape, batch = network()
    params, x = model.init(shape, rng=0), np.ones((batch, *shape), np.float32)
    gradient = fn.value_and_grad(model, fn.softmax_cross_entropy)
    return lambda: gradient(params, x, np.arange(batch) % 10, rng=0)


def predict() -> Callable[[], Any]:
    """A prediction."""
    model, shape, batch = convolutional()
    x = np.random.default_rng(0).standard_normal((batch, *shape)).astype(np.float32)
    params = fn.calibrate(model, model.init(shape, rng=0), x)
    return lambda: fn.predict(model, params, x)


def fit() -> None:
    """A run of an epoch or two."""
    model, shape, batch = mlp()
    x = np.ones((2 * batch, *shape), np.float32)
    data = (x, np.arange(len(x)) % 10)
    fn.fit(model, PARAMS, fn.adam(1e-3), data, fn.softmax_cross_entropy, 10, batch_size=64, verbose=False)


PARAMS = mlp()[0].init((400,), rng=0)
