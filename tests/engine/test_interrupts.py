"""Ctrl-C arrives whenever it comes, and leaves nothing behind: no lock, no call in the line, no setting of BLAS."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import funcnn as fn
from funcnn import cores
from funcnn.engine import memory, threads
from funcnn.engine.children import is_probing, probing
from funcnn.engine.microbatch import cut

pytestmark = [
    pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers here"),
    pytest.mark.usefixtures("alarm_is_ctrl_c"),
]

MODEL = fn.serial(fn.conv2d(4, 3, activation="relu"), fn.batch_norm(), fn.flatten, fn.dropout(0.1), fn.dense(10))
IMAGES = np.random.default_rng(0).random((64, 28, 28, 1), np.float32)
LABELS = np.arange(64) % 10
MLP = fn.serial(fn.dense(64, activation="relu"), fn.dense(10))


def train(model: Any, x: Any, steps: int) -> Any:
    params = model.init(x.shape[1:], 0)
    optimizer = fn.adam(1e-3)
    state, step = optimizer.init(params), fn.value_and_grad(model, fn.softmax_cross_entropy)
    for number in range(steps):
        _, grads = step(params, x, LABELS, rng=(0, number))
        params, state = optimizer.step(grads, state, params)
    return params


def interrupted(work: Callable[[], Any], times: int, seconds: float) -> int:
    """How many of some interrupts, at different times after the start of the work, arrived."""
    caught = 0
    for number in range(times):
        try:
            signal.setitimer(signal.ITIMER_REAL, seconds * (number + 1) / times)
            work()
            time.sleep(10)
        except KeyboardInterrupt:
            caught += 1
    return caught


def is_free(lock: Any) -> bool:
    """Whether another thread can take a lock."""
    found: list[bool] = []

    def take() -> None:
        found.append(lock.acquire(timeout=5))
        if found[0]:
            lock.release()

    thread = threading.Thread(target=take)
    thread.start()
    thread.join()
    return found[0]


@pytest.mark.parametrize("use", [1, 2])
def test_each_interrupt_of_training_arrives_and_nothing_is_left(use: int) -> None:
    blas = [get_threads() for get_threads in cores._getters()]
    with fn.use_threads(use):
        expected = train(MODEL, IMAGES, 3)

        def work() -> None:
            train(MLP, IMAGES.reshape(64, -1), 2)
            train(MODEL, IMAGES, 1000)

        assert interrupted(work, 80, 0.03) == 80
        assert all(is_free(lock) for lock in (cores._lock, memory._lock, threads._lock))
        again = train(MODEL, IMAGES, 3)
    for one, other in zip(fn.tree.leaves(again), fn.tree.leaves(expected), strict=True):
        assert np.array_equal(one, other, equal_nan=True)
    assert [get_threads() for get_threads in cores._getters()] == blas


def test_interrupts_at_the_gate_leave_nothing_behind() -> None:
    def work() -> None:
        while True:
            for number in (2, 1, 3):
                cores.with_blas_threads(number, cores.with_blas_threads, 1, int)

    blas = [get_threads() for get_threads in cores._getters()]
    assert interrupted(work, 1000, 0.001) == 1000
    assert cores.with_blas_threads(2, int) == 0
    assert not cores._line
    assert [get_threads() for get_threads in cores._getters()] == blas
    assert is_free(cores._lock)


def test_what_is_chosen_in_a_with_ends_with_it_whenever_an_interrupt_comes() -> None:
    def work() -> None:
        while True:
            with fn.use_threads(3), fn.testing.microbatches(1), probing():
                pass

    before = fn.num_threads()
    assert interrupted(work, 1000, 0.002) == 1000
    assert (fn.num_threads(), len(cut(IMAGES[:2])), is_probing()) == (before, 1, False)


def test_an_interrupt_reaches_a_call_that_waits_and_the_next_does_not_wait_for_it() -> None:
    if not cores._getters():
        pytest.skip("this BLAS has no threads")
    inside, leave, done = threading.Event(), threading.Event(), threading.Event()

    def hold() -> None:
        inside.set()
        leave.wait(30)

    holder = threading.Thread(target=lambda: cores.with_blas_threads(2, hold), daemon=True)
    holder.start()
    inside.wait(30)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    with pytest.raises(KeyboardInterrupt):
        cores.with_blas_threads(1, int)
    # It needs the number that BLAS has; only the interrupted call would be in its way.
    threading.Thread(target=lambda: cores.with_blas_threads(2, done.set), daemon=True).start()
    assert done.wait(30)
    leave.set()
    holder.join()


def test_ctrl_c_ends_a_program_that_trains() -> None:
    code = """
import numpy as np, funcnn as fn
model = fn.serial(fn.conv2d(4, 3), fn.flatten, fn.dense(10))
params = model.init((28, 28, 1), 0)
print("ready", flush=True)
while True:
    y, vjp = model.apply(params, np.ones((80, 28, 28, 1), np.float32), 0)
    vjp(y)
"""
    for seconds in (0.05, 0.1, 0.2):
        program = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )  # fmt: skip
        assert program.stdout is not None
        program.stdout.readline()
        time.sleep(seconds)
        program.send_signal(signal.SIGINT)
        _, errors = program.communicate(timeout=30)
        assert errors.rstrip().endswith(b"KeyboardInterrupt")
        assert program.returncode == -signal.SIGINT
