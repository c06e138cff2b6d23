"""The line at BLAS: calls that need one number of threads go together, others wait, and the user's setting stays."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

import funcnn as fn
from funcnn import cores
from funcnn.cores import is_small, num_threads, use_threads, with_blas_threads
from funcnn.engine.microbatch import cut
from funcnn.engine.threads import run

TIMEOUT = 30


def blas() -> int:
    (found,) = {get_threads() for get_threads in cores._getters()}
    return found


@pytest.fixture(autouse=True)
def _two_blas_threads() -> Iterator[None]:
    with threadpool_limits(2, "blas"):
        if {get_threads() for get_threads in cores._getters()} != {2}:
            pytest.skip("this BLAS has no threads")
        yield
        assert blas() == 2
        assert not cores._line


class Caller:
    """A thread that needs BLAS on some threads, and computes until it is told to leave."""

    def __init__(self, threads: int, inner: Callable[[], Any] = blas) -> None:
        self.entered, self.leave, self.seen = threading.Event(), threading.Event(), list[Any]()

        def compute() -> None:
            self.seen.append(inner())
            self.entered.set()
            self.leave.wait(TIMEOUT)
            self.seen.append(inner())

        self.thread = threading.Thread(target=with_blas_threads, args=(threads, compute), daemon=True)
        self.thread.start()

    def end(self) -> list[Any]:
        self.leave.set()
        self.thread.join(TIMEOUT)
        assert not self.thread.is_alive(), "stuck"
        return self.seen


def waits(caller: Caller) -> bool:
    return not caller.entered.wait(0.1)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_call_has_the_number_that_it_needs_and_restores_the_users(threads: int) -> None:
    assert with_blas_threads(threads, blas) == threads
    assert blas() == 2
    with pytest.raises(ZeroDivisionError):
        with_blas_threads(threads, divmod, 1, 0)
    assert blas() == 2


def test_calls_that_need_one_number_compute_together_and_another_waits_for_all_of_them() -> None:
    first = Caller(2)
    assert first.entered.wait(TIMEOUT)
    second = Caller(2)
    assert second.entered.wait(TIMEOUT)
    other = Caller(1)
    assert waits(other)
    # What came later does not go before the one that waits, though it could.
    late = Caller(2)
    assert waits(late)
    assert first.end() == [2, 2]
    assert waits(other)
    assert second.end() == [2, 2]
    assert other.entered.wait(TIMEOUT)
    assert waits(late)
    assert other.end() == [1, 1]
    assert late.entered.wait(TIMEOUT)
    assert late.end() == [2, 2]


def test_inside_a_call_on_one_thread_everything_is_on_one_thread() -> None:
    with use_threads(2):
        assert with_blas_threads(1, with_blas_threads, 2, blas) == 1
        assert with_blas_threads(1, run, [lambda: with_blas_threads(3, blas)] * 4) == [1] * 4


def test_a_call_inside_another_that_needs_another_number_waits_without_being_waited_for() -> None:
    def outer() -> list[int]:
        return [blas(), with_blas_threads(1, blas), blas(), *run([blas] * 2), blas()]

    assert with_blas_threads(2, outer) == [2, 1, 2, 1, 1, 2]
    # Two callers on two threads, each with a call on one thread inside: neither could let the other go first.
    callers = [Caller(2, outer) for _ in range(2)]
    for caller in callers:
        caller.leave.set()
    assert [caller.end() for caller in callers] == [[[2, 1, 2, 1, 1, 2]] * 2] * 2


def test_many_callers_see_only_their_own_number() -> None:
    wrong: list[tuple[int, int]] = []

    def work(seed: int) -> None:
        for number in np.random.default_rng(seed).integers(1, 4, 60).tolist():
            for inner in (number, 1):
                found = with_blas_threads(number, with_blas_threads, inner, lambda: (time.sleep(1e-4), blas())[1])
                if found != inner:
                    wrong.append((found, inner))

    threads = [threading.Thread(target=work, args=(seed,), daemon=True) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
        assert not thread.is_alive(), "stuck"
    assert wrong == []


@pytest.mark.parametrize(
    ("x", "small"),
    [
        (np.zeros((1, 784), np.float32), True),
        (np.zeros((64, 784), np.float32), False),
        (np.zeros((2, 3), int), False),  # tokens
        ({"a": np.zeros(3), "b": np.zeros(3)}, True),
        ({"a": np.zeros(3), "b": np.zeros(5000)}, False),
    ],
)
def test_a_batch_is_small_by_its_shape_and_dtype(x: Any, small: bool) -> None:
    assert is_small(x) is small


@fn.layer
def asking(seen: Any = None) -> Any:
    """A layer that looks how many threads BLAS has."""

    def apply(params: Any, x: Any) -> Any:
        SEEN.append(blas())
        return x, lambda dy: (SEEN.append(blas()), ({}, dy))[1]

    return (lambda shape, rng: {}), apply


SEEN: list[int] = []


@pytest.mark.parametrize("model", [asking(), fn.serial(asking()), fn.residual(fn.relu, fn.serial(asking()))])
@pytest.mark.parametrize(
    ("shape", "expected"), [((1, 784), 1), ((64, 784), 3), ((2, 28, 28, 1), 1), ((4, 28, 28, 1), 3)]
)
def test_apply_its_vjp_and_predict_have_the_same_number(model: Any, shape: Any, expected: int) -> None:
    x = np.ones(shape, np.float32)
    for threads in (1, 3):
        with use_threads(threads):
            SEEN.clear()
            y, vjp_fn = model.apply({}, x)
            vjp_fn(y)
            fn.predict(model, {}, x)
            fn.trace(model, {}, x)
        assert [min(expected, threads)] * 4 == SEEN


@pytest.mark.parametrize("channels", [1, 16])
@pytest.mark.parametrize("inside", [lambda layer: layer, fn.serial, fn.remat])
def test_images_have_one_thread_of_blas_in_each_layer_cut_or_not(channels: int, inside: Any) -> None:
    x = np.ones((80, 28, 28, channels), np.float32)
    layer, model = fn.avg_pool2d(2), fn.serial(inside(fn.serial(fn.avg_pool2d(2), fn.relu)), asking())
    assert (len(cut(x, layer.apply.working_set)) > 1) == (channels == 16)  # type: ignore[attr-defined]
    with use_threads(3):
        SEEN.clear()
        y, vjp_fn = model.apply({}, x)
        vjp_fn(y)
        fn.predict(model, {}, x)
    assert SEEN == [1, 1, 1]


@pytest.mark.skipif(not hasattr(time, "process_time"), reason="no processor time here")
def test_use_threads_1_uses_one_core() -> None:
    code = """
import os, time
import numpy as np
import funcnn as fn
model = fn.serial(fn.dense(512), fn.relu, fn.dense(10))
params = model.init((784,), 0)
x = np.ones((256, 784), np.float32)
def own(threads):
    with fn.use_threads(threads):
        before = time.thread_time(), time.process_time()
        for _ in range(30):
            y, vjp = model.apply(params, x, 0)
            vjp(y)
        return time.process_time() - before[1] - (time.thread_time() - before[0])
own(1)
print(own(1))
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(fn.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert float(done.stdout) < 0.02, "other threads worked too"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_waits_for_no_call_of_the_parent() -> None:
    other = Caller(1)
    assert other.entered.wait(TIMEOUT)
    child = os.fork()
    if not child:
        fine = blas() == 2 and with_blas_threads(2, blas) == 2 and with_blas_threads(1, blas) == 1 and blas() == 2
        os._exit(0 if fine else 1)
    try:
        deadline = time.monotonic() + TIMEOUT
        while not (done := os.waitpid(child, os.WNOHANG))[0]:
            assert time.monotonic() < deadline, "stuck"
            time.sleep(0.01)
        assert os.waitstatus_to_exitcode(done[1]) == 0
    finally:
        other.end()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_inside_a_call_stays_inside_it() -> None:
    def inside() -> int:
        child = os.fork()
        if not child:
            os._exit(0 if (blas(), with_blas_threads(1, blas), blas()) == (3, 1, 3) else 1)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    assert with_blas_threads(3, inside) == 0
    assert num_threads() >= 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_beside_products_on_several_threads_hangs_nobody() -> None:
    # OpenBLAS stops its threads for a fork, and a product of another thread that runs on them would wait for ever.
    code = """
import os, threading, warnings
import numpy as np
import funcnn as fn

warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of any fork beside threads
model = fn.serial(fn.dense(300, activation="relu"), fn.dense(10))
x, params = np.ones((256, 400), np.float32), model.init((400,), 0)
rounds = [0, 0]

def work(number):
    with fn.use_threads(2):
        while True:
            model.apply(params, x, rng=0)
            rounds[number] += 1

for number in range(2):
    threading.Thread(target=work, args=(number,), daemon=True).start()
for _ in range(40):
    if not (child := os.fork()):
        os._exit(0)
    os.waitpid(child, 0)
before = list(rounds)
while any(now == then for now, then in zip(rounds, before)):
    pass
print("both go on", flush=True)
os._exit(0)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(fn.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout == "both go on\n", done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_task_may_fork_while_another_call_waits() -> None:
    """The fork must not stand behind the call that waits for it."""
    started = threading.Event()

    def forks() -> int:
        started.set()
        time.sleep(0.1)  # the other call is in the line by then
        child = os.fork()
        if not child:
            os._exit(0 if blas() == 1 else 1)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    def other() -> None:
        started.wait(TIMEOUT)
        with_blas_threads(2, int)

    thread = threading.Thread(target=other, daemon=True)
    thread.start()
    with use_threads(2):
        assert run([forks] * 2) == [0, 0]
    thread.join(TIMEOUT)
    assert not thread.is_alive(), "stuck"
