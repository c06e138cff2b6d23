"""Processes are forked and spawned while other threads train: each child trains with the bits of its parent, and ends.

A fork copies the memory but only one thread, so it must find no lock held, no worker expected and BLAS as it was. What
goes wrong in a worker of a pool reaches the parent, with the result so far.
"""

import multiprocessing
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

import funcnn as fn
from tests.faults.long.networks import TASKS
from tests.faults.long.outcome import Outcome, Verdict
from tests.faults.long.processes import trials

DEADLINE = 20.0
"""Seconds until a child counts as hanging."""
KINDS = [*["fork"] * 10, "spawn", "pool"]
"""Which child comes next: a spawned process starts a new interpreter, which takes as long as many forks."""


def scenario(count: int) -> Outcome:
    """Start ``count`` children."""
    return trials(children, count, timeout=60 + count)


def children(count: int) -> Iterator[Verdict]:
    """Fork and spawn children, and let the worker of a pool fail, while two threads train."""
    alone = {name: task() for name, task in TASKS.items()}
    done = threading.Event()
    busy = [threading.Thread(target=keep_training, args=(done, name)) for name in ("mlp", "convolutional")]
    for thread in busy:
        thread.start()
    try:
        for trial in range(count):
            kind, name = KINDS[-1 - trial % len(KINDS)], list(TASKS)[trial % len(TASKS)]
            yield failing_worker() if kind == "pool" else child(kind, name, alone[name])
    finally:
        done.set()
        for thread in busy:
            thread.join()


def keep_training(done: threading.Event, name: str) -> None:
    """Train until told otherwise."""
    while not done.is_set():
        TASKS[name]()


def child(kind: str, name: str, expected: str) -> Verdict:
    """Train in a child and, at the same time, here."""
    context: Any = multiprocessing.get_context(kind)
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=send_digest, args=(there, name), daemon=True)
    process.start()
    there.close()
    try:
        if TASKS[name]() != expected:
            return f"{kind}, {name}: the parent has other bits than before"
        if not here.poll(DEADLINE):
            return f"{kind}, {name}: the child hangs"
        return None if here.recv() == expected else f"{kind}, {name}: the child has other bits than the parent"
    except EOFError:
        process.join()
        return f"{kind}, {name}: the child ended with {process.exitcode}"
    finally:
        process.kill()
        process.join()


def send_digest(pipe: Any, name: str) -> None:
    """What a child computes."""
    pipe.send(TASKS[name]())


def failing_worker() -> Verdict:
    """Train in a pool of two with a good and a bad learning rate."""
    pool = multiprocessing.get_context("fork").Pool(2)
    try:
        found = pool.map_async(final_loss, [0.1, 1e30]).get(DEADLINE)
    except fn.NonFiniteLossError as error:
        pool.terminate()
        return None if len(error.result.history) else "pool: the error of a worker has no result"
    except multiprocessing.TimeoutError:
        return "pool: the error of a worker does not come"  # nor can the pool be terminated
    return f"pool: a diverging worker returned {found}"


def final_loss(rate: float) -> float:
    """Train a line."""
    x = np.linspace(-1, 1, 64, dtype=np.float32)[:, None]
    model = fn.dense(1)
    with np.errstate(all="ignore"):
        params = model.init((1,), 0)
        result = fn.fit(model, params, fn.sgd(rate), (x, 2 * x), fn.mean_squared_error, 30, verbose=False)
    return result.history[-1]["train_loss"]
