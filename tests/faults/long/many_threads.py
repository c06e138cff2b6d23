"""Eight threads train and predict different networks at the same time: each gets the bits that it gets alone.

They share the workers, the buffer pool and the threads of BLAS, and none may change what another computes.
"""

import itertools
import threading
from collections.abc import Iterator
from queue import SimpleQueue

import funcnn as fn
from tests.faults.long.networks import TASKS
from tests.faults.long.outcome import Outcome, Verdict
from tests.faults.long.processes import trials

THREADS = 8
JOBS = list(itertools.product(TASKS, (1, 2, 3)))
"""A network, and the number of threads that ``use_threads`` chooses for it."""


def scenario(count: int) -> Outcome:
    """Train and predict ``count`` times in all."""
    return trials(train_at_once, count, timeout=60 + count)


def train_at_once(count: int) -> Iterator[Verdict]:
    """Compare what each thread computes with what was computed before there was another thread."""
    alone = {job: digest_of(*job) for job in JOBS}
    numbers, verdicts = iter(range(count)), SimpleQueue[Verdict]()

    def work() -> None:
        # The next number of an iterator over a range is one step of the interpreter: no two threads get the same.
        for number in numbers:
            job = JOBS[number % len(JOBS)]
            try:
                verdicts.put(None if digest_of(*job) == alone[job] else f"{job}, {number}: other bits than alone")
            except Exception as error:
                verdicts.put(f"{job}, {number}: {type(error).__name__}: {error}")

    for _ in range(THREADS):
        threading.Thread(target=work, daemon=True).start()
    for _ in range(count):
        yield verdicts.get()


def digest_of(name: str, threads: int) -> str:
    """What a network computes on some number of threads."""
    with fn.use_threads(threads):
        return TASKS[name]()
