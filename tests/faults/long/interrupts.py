"""Ctrl-C comes at a random moment of a step, a prediction, a run of ``fit`` or a save: it always arrives.

Afterwards no lock is held, and another thread computes the same bits as before. An interrupted ``fit`` gives its result
so far and resumes with the same bits, and an interrupted save leaves a whole file.
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
from typing import Any, NamedTuple

import numpy as np

import funcnn as fn
from tests.faults.long.networks import TASKS, convolutional, digest, mlp
from tests.faults.long.outcome import Outcome, Verdict
from tests.faults.long.processes import trials_side_by_side

LONGEST = 0.03
"""Seconds until Ctrl-C, at most."""
PATIENCE = 3.0
"""Seconds from then on, after which the interrupt is lost."""
DEADLINE = 20.0
"""Seconds for three steps, after which a lock is held."""


def scenario(count: int) -> Outcome:
    """Interrupt ``count`` times."""
    return trials_side_by_side(interrupt, count, timeout=60 + 5 * count)


class Work(NamedTuple):
    """What is interrupted, and what is lost when it was."""

    run: Callable[[], Any]
    lost: Callable[[KeyboardInterrupt], Verdict] = lambda error: None


def interrupt(count: int, seed: int) -> Iterator[Verdict]:
    """Interrupt each kind of work in turn."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may start what is in the background without
    ignored: list[str] = []
    sys.unraisablehook = lambda found: ignored.append(f"{found.exc_type.__name__} in {found.object}")
    seconds = random.Random(seed)
    alone = {name: task() for name, task in TASKS.items()}
    with tempfile.TemporaryDirectory() as folder:
        works = {
            "step": step(convolutional),
            "step of rows": step(mlp),
            "predict": predict(),
            "fit": fit(Path(folder, "run.npz")),
            "save": save(Path(folder, "saved.npz")),
        }
        for trial in range(count):
            kind, name = list(works)[trial % len(works)], list(TASKS)[trial % len(TASKS)]
            lost = interrupted(works[kind], seconds.uniform(0, LONGEST)) or still_works(name, alone[name])
            if ignored:
                lost = f"an exception was ignored: {ignored.pop()}"
            yield lost and f"{kind}: {lost}"


def interrupted(work: Work, delay: float) -> Verdict:
    """Repeat some work until the interrupt comes."""
    # A signal to the process reaches the main thread, as that of a terminal does.
    timer = threading.Timer(delay, os.kill, (os.getpid(), signal.SIGINT))
    try:
        timer.start()
        end = time.monotonic() + delay + PATIENCE
        while time.monotonic() < end:
            work.run()
    except KeyboardInterrupt as error:
        return work.lost(error)
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


def step(network: Any) -> Work:
    """A training step, forward and backward."""
    model, shape, batch = network()
    params, x = model.init(shape, rng=0), np.ones((batch, *shape), np.float32)
    gradient = fn.value_and_grad(model, fn.softmax_cross_entropy)
    return Work(lambda: gradient(params, x, np.arange(batch) % 10, rng=0))


def predict() -> Work:
    """A prediction."""
    model, shape, batch = convolutional()
    x = np.random.default_rng(0).standard_normal((batch, *shape)).astype(np.float32)
    params = fn.calibrate(model, model.init(shape, rng=0), x)
    return Work(lambda: fn.predict(model, params, x))


def fit(path: Path) -> Work:
    """A run with a checkpoint, which is resumed after the interrupt."""
    model, shape, batch = mlp()
    x = np.random.default_rng(0).standard_normal((batch, *shape)).astype(np.float32)
    params, data = model.init(shape, rng=0), (x, np.arange(batch) % 10)

    def run(**resumed: Any) -> Any:
        EVALUATED.clear()
        result = fn.fit(
            model, params, fn.adam(1e-3), data, loss, 3, batch_size=64, verbose=False, checkpoint=path, **resumed
        )
        EVALUATED.clear()  # an interrupt after the end, or before the next run starts, has nothing to carry
        return result

    straight = digest(run().params)

    def lost(error: KeyboardInterrupt) -> Verdict:
        if EVALUATED and not isinstance(getattr(error, "result", None), fn.Fit):
            return "the interrupt has no result"
        return None if digest(run(resume=path).params) == straight else "resumed, it ends with other bits"

    return Work(run, lost)


EVALUATED: list[bool] = []
"""Whether a run has got as far as to its first loss; before that, it has no result."""


def loss(y: Any, target: Any) -> Any:
    """The loss of a run, which says that it has started."""
    EVALUATED[:] = [True]
    return fn.softmax_cross_entropy(y, target)


def save(path: Path) -> Work:
    """A save of one version after the other; a whole file has one number everywhere."""
    numbers = iter(range(10**9))

    def whole(error: KeyboardInterrupt) -> Verdict:
        return None if len(np.unique(fn.load(path)["w"])) == 1 else "the file has parts of two versions"

    fn.save(path, {"w": np.zeros(100_000)})
    return Work(lambda: fn.save(path, {"w": np.full(100_000, next(numbers))}), whole)
