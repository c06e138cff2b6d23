"""Training for thousands of steps takes no more memory at the end than after the first ones.

The resident memory of the process is measured, so that no leak escapes, whoever allocates: Python, NumPy or BLAS.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import funcnn as fn
from tests.faults.long.networks import convolutional, mlp, tiny
from tests.faults.long.outcome import Outcome, Verdict
from tests.faults.long.processes import trials

SCHEDULE = [convolutional, *[tiny] * 24, mlp, *[tiny] * 24]
"""Whose step comes next; most are of the fastest network, in which a leak of a few bytes shows soonest."""
EVERY = len(SCHEDULE)
"""Steps from one measurement to the next."""
WARM_UP = 2 * EVERY
"""Steps until all code has run."""
TO_COME_BACK = 3
"""Measurements in which memory may come back; a leak does not."""
NOISE = 4_000_000
"""Bytes of other growth. In 20,000 steps, a leak of 200 bytes a step is more."""


def scenario(count: int) -> Outcome:
    """Train for ``count`` steps; they survive if the memory after them is not above that of the beginning."""
    # Otherwise malloc has a pool for each of the eight threads, which takes thousands of steps to fill.
    return trials(train, count, timeout=60 + count, MALLOC_ARENA_MAX="1")


def train(count: int) -> Iterator[Verdict]:
    """Train the networks by turns, and measure from time to time."""
    runs = {network: Run(network) for network in (tiny, mlp, convolutional)}
    measured: list[int] = []
    pending = 0
    for number in range(WARM_UP + count):
        runs[SCHEDULE[number % len(SCHEDULE)]].step(number)
        pending += number >= WARM_UP
        if number % EVERY == EVERY - 1 or number == WARM_UP + count - 1:
            measured.append(resident_bytes())
            more = min(measured[-TO_COME_BACK:]) - max(measured[: WARM_UP // EVERY])
            verdict = None if more <= NOISE else f"after {number} steps: {more:,} bytes more than after {WARM_UP}"
            yield from [verdict] * pending
            pending = 0


class Run:
    """A network in training."""

    def __init__(self, network: Any) -> None:
        self.model, self.shape, self.batch = network()
        self.params = self.model.init(self.shape, rng=0)
        self.optimizer = fn.adam(1e-3)
        self.state = self.optimizer.init(self.params)
        self.gradient = fn.value_and_grad(self.model, fn.softmax_cross_entropy)

    def step(self, number: int) -> None:
        """One step on one of three sizes of a batch, and by turns a prediction and a call that raises."""
        n = self.batch - number % 3
        x = np.random.default_rng(number).standard_normal((n, *self.shape)).astype(np.float32)
        _, grads = self.gradient(self.params, x, np.arange(n) % 10, rng=number)
        self.params, self.state = self.optimizer.step(grads, self.state, self.params, donate=number % 5 > 0)
        if number % 50 in (0, 10, 25):
            fn.predict(self.model, fn.calibrate(self.model, self.params, x), x)
        if number % 25 in (0, 5):
            try:
                self.model.apply(self.params, x[..., :-1])
            except ValueError:
                return
            raise AssertionError("these are not the shapes of this model")


def resident_bytes() -> int:
    """The resident memory of this process, without what the pool keeps for the next arrays for some seconds."""
    fn.release_memory()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
