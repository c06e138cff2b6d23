"""Threads: tasks run in parallel without side effects, also when they fail, fork, nest or the interpreter ends."""

import gc
import os
import re
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from funcnn import cores
from funcnn.cores import num_threads, use_threads
from funcnn.engine import threads as threads_of_engine
from funcnn.engine.threads import run

TIMEOUT = 30
"""Seconds, far more than any test needs: after that a thread or process counts as stuck."""


def blas_threads() -> set[int]:
    """The numbers of threads of the BLAS libraries that funcnn limits; those that SciPy or PyTorch load are not."""
    ours = {library.filepath for library in cores._blas()}
    return {library["num_threads"] for library in threadpool_info() if library["filepath"] in ours}


def other_libraries_threads() -> list[int]:
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] != "blas"]


def workers() -> set[int | None]:
    return {thread.ident for thread in threading.enumerate() if thread.name.startswith("funcnn-")}


def with_barrier(parties: int, result: Callable[[], Any] = threading.get_ident) -> list[Callable[[], Any]]:
    """Tasks that wait for each other, so that each needs its own thread."""
    barrier = threading.Barrier(parties)

    def task() -> Any:
        barrier.wait(TIMEOUT)
        return result()

    return [task] * parties


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a new interpreter, which must end."""
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root, **environment}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=TIMEOUT, check=False
    )


@contextmanager
def in_threads(*functions: Callable[[], None]) -> Iterator[None]:
    """Call the functions in new threads, and wait for them at the end."""
    errors: list[BaseException] = []

    def guarded(function: Callable[[], None]) -> None:
        try:
            function()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(function,), daemon=True) for function in functions]
    for thread in threads:
        thread.start()
    yield
    for thread in threads:
        thread.join(TIMEOUT)
        assert not thread.is_alive(), "stuck"
    if errors:
        raise errors[0]


@pytest.mark.parametrize("threads", [1, 2, 4, 9])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 50])
def test_results_have_the_order_of_the_tasks(threads: int, count: int) -> None:
    def task(number: int) -> Callable[[], int]:
        # Early tasks end late.
        return lambda: time.sleep(0.002 if number < 3 else 0) or number

    with use_threads(threads):
        assert run([task(number) for number in range(count)]) == list(range(count))


def test_tasks_run_in_parallel_and_the_caller_runs_some() -> None:
    with use_threads(3):
        idents = run(with_barrier(3))
    assert len(set(idents)) == 3
    assert threading.get_ident() in idents
    # More threads than tasks do no harm.
    with use_threads(8):
        assert len(set(run(with_barrier(2)))) == 2


def test_no_more_threads_than_asked_for() -> None:
    lock, busy, most = threading.Lock(), 0, 0

    def task() -> None:
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        time.sleep(0.001)
        with lock:
            busy -= 1

    with use_threads(2):
        run([task] * 30)
    assert most == 2
    with use_threads(1):
        assert set(run([threading.get_ident] * 5)) == {threading.get_ident()}


def test_the_first_error_in_the_order_of_the_tasks_is_raised_and_the_rest_not_run() -> None:
    second_failed, started = threading.Event(), []

    def first() -> None:
        started.append(0)
        second_failed.wait(TIMEOUT)
        raise ValueError("first")

    def second() -> None:
        started.append(1)
        second_failed.set()
        raise KeyError("second")

    with use_threads(2), pytest.raises(ValueError, match="first"):
        run([first, second, *[lambda: started.append(2)] * 50])
    assert sorted(started) == [0, 1]


@pytest.mark.parametrize("threads", [1, 2])
def test_after_an_error_no_more_tasks_start(threads: int) -> None:
    started = []

    def fails() -> None:
        raise ZeroDivisionError

    with use_threads(threads), pytest.raises(ZeroDivisionError):
        run([fails, fails, lambda: started.append(2)])
    assert started == []


@pytest.mark.parametrize("threads", [1, 2])
def test_an_error_does_not_keep_the_arrays_of_its_task(threads: int) -> None:
    arrays: list[weakref.ref[np.ndarray]] = []

    def fails() -> None:
        x = np.ones(3)
        arrays.append(weakref.ref(x))
        raise ZeroDivisionError

    gc.collect()
    gc.disable()
    try:
        with use_threads(threads), pytest.raises(ZeroDivisionError) as error:
            run([fails, int])
        del error
        assert [array() for array in arrays] == [None]
    finally:
        gc.enable()


def test_a_group_that_is_done_keeps_no_results(monkeypatch: pytest.MonkeyPatch) -> None:
    groups: list[Any] = []

    class Watched(threads_of_engine._TaskGroup):
        def __init__(self, tasks: Any) -> None:
            super().__init__(tasks)
            groups.append(self)

    monkeypatch.setattr(threads_of_engine, "_TaskGroup", Watched)
    assert run([lambda: 1, lambda: 2]) == [1, 2]
    assert [group.results for group in groups] == [{}]


def test_workers_survive_errors_even_system_exit() -> None:
    def fails() -> None:
        raise SystemExit

    with use_threads(8):
        run(with_barrier(8))
        before = workers()
        for _ in range(5):
            with pytest.raises(SystemExit):
                run(with_barrier(8, fails))
        assert set(run(with_barrier(8))) == before | {threading.get_ident()}
    assert workers() == before


def test_the_callers_error_state_holds_in_the_workers_and_changes_stay_in_the_task() -> None:
    with np.errstate(divide="warn", over="ignore", under="raise", invalid="print"), use_threads(4):
        here = np.geterr()
        assert run(with_barrier(4, np.geterr)) == [here] * 4
        # What a task changes is not changed for others.
        run(with_barrier(4, lambda: np.seterr(all="ignore")))
        assert np.geterr() == here
        assert run(with_barrier(4, np.geterr)) == [here] * 4
    with np.errstate(divide="raise"), use_threads(4), pytest.raises(FloatingPointError, match="divide by zero"):
        run(with_barrier(4, lambda: np.ones(1) / 0))


def test_inside_a_task_all_tasks_run_in_sequence() -> None:
    def task() -> Any:
        inner = run([lambda: run([threading.get_ident] * 3)] * 3)
        return num_threads(), {ident for idents in inner for ident in idents}, threading.get_ident()

    with use_threads(3):
        results = run(with_barrier(3, task))
        assert num_threads() == 3
    assert all(threads == 1 and inner == {own} for threads, inner, own in results)


def test_a_task_that_asks_for_threads_cannot_get_stuck() -> None:
    def task(depth: int) -> int:
        if not depth:
            return 1
        with use_threads(8):
            return sum(run([lambda: task(depth - 1)] * 4))

    with in_threads(lambda: None if task(4) == 4**4 else pytest.fail("wrong")):
        pass


def test_more_callers_at_once_than_workers() -> None:
    barrier = threading.Barrier(12)

    def caller(number: int) -> Callable[[], None]:
        def work() -> None:
            barrier.wait(TIMEOUT)
            tasks = [lambda n=n: (number, sum(run([lambda: n] * 3))) for n in range(6)]
            with use_threads(4):
                for _ in range(30):
                    assert run(tasks) == [(number, 3 * n) for n in range(6)]

        return work

    with in_threads(*map(caller, range(12))):
        pass


def test_workers_are_started_once_when_first_needed() -> None:
    code = """
import threading
from funcnn.cores import default_threads, use_threads
from funcnn.engine import threads
assert threading.active_count() == 1, "too early"
barrier = threading.Barrier(6)
def user():
    barrier.wait()
    with use_threads(2):
        threads.run([int, int])
users = [threading.Thread(target=user) for _ in range(6)]
for user in users: user.start()
for user in users: user.join()
workers = sum(t.name.startswith("funcnn-") for t in threading.enumerate())
print(workers - max(threads.MIN_WORKERS, default_threads() - 1))
"""
    done = python(code)
    assert (done.stdout, done.stderr, done.returncode) == ("0\n", "", 0)


def test_use_threads_chooses_the_number() -> None:
    default = num_threads()
    with use_threads(3):
        assert num_threads() == 3
        with use_threads(1):
            assert num_threads() == 1
        assert num_threads() == 3
        with use_threads(np.int64(2)):  # type: ignore[arg-type]
            assert num_threads() == 2
            assert type(num_threads()) is int
        with pytest.raises(KeyError), use_threads(2):
            raise KeyError
        assert num_threads() == 3

        def in_another_thread() -> None:
            assert num_threads() == default

        with in_threads(in_another_thread):
            pass
    assert num_threads() == default


@pytest.mark.parametrize("count", [0, -1, True, np.True_, 2.0, np.float32(2), "2", None])
def test_other_numbers_of_threads_raise(count: Any) -> None:
    message = rf"use_threads: expected a number of threads >= 1, got {re.escape(repr(count))}"
    before = num_threads()
    with pytest.raises(ValueError, match=message), use_threads(count):
        pass
    assert num_threads() == before


def test_the_environment_chooses_the_default() -> None:
    code = """
import os
from funcnn.cores import num_threads, use_threads
for bad in ["0", "-1", "two", "2.5", ""]:
    os.environ["FUNCNN_NUM_THREADS"] = bad
    try:
        num_threads()
    except ValueError as error:
        print(error)
os.environ["FUNCNN_NUM_THREADS"] = "3"
print(num_threads())
with use_threads(2):
    print(num_threads())
"""
    done = python(code)
    bad = ["0", "'-1'", "'two'", "'2.5'", "''"]
    wrong = [f"FUNCNN_NUM_THREADS: expected a number of threads >= 1, got {value}" for value in bad]
    assert (done.stdout.splitlines(), done.stderr) == ([*wrong, "3", "2"], "")


def test_without_it_the_default_is_the_number_of_cores_of_the_process() -> None:
    code = """
import os
os.environ.pop("FUNCNN_NUM_THREADS", None)
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
from funcnn.cores import num_threads
print(num_threads() - (1 if hasattr(os, "sched_setaffinity") else os.cpu_count()))
"""
    done = python(code)
    assert (done.stdout, done.stderr) == ("0\n", "")


@pytest.fixture
def two_blas_threads() -> Iterator[None]:
    with threadpool_limits(2, "blas"):
        if blas_threads() != {2}:
            pytest.skip("this BLAS has no threads")
        yield


@pytest.mark.usefixtures("two_blas_threads")
@pytest.mark.parametrize("threads", [1, 2, 4])
def test_blas_has_one_thread_while_tasks_run_and_afterwards_what_it_had(threads: int) -> None:
    # Also with one thread, or the last bits would depend on the number of threads.
    before = threadpool_info()
    with use_threads(threads):
        assert run([blas_threads, lambda: run([blas_threads] * 2)[1]]) == [{1}, {1}]
        assert run([other_libraries_threads] * 2) == [other_libraries_threads()] * 2
        assert threadpool_info() == before
        with pytest.raises(ZeroDivisionError):
            run([lambda: 1 / 0] * 3)
        assert threadpool_info() == before
        # The limit is read at each call.
        with threadpool_limits(3, "blas"):
            assert run([blas_threads] * 2) == [{1}, {1}]
            assert blas_threads() == {3}
        # A single task may use all threads of BLAS.
        assert run([blas_threads]) == [{2}]
    assert threadpool_info() == before


@pytest.mark.usefixtures("two_blas_threads")
@pytest.mark.parametrize("out", [(0, 1), (1, 0)], ids=["first in first out", "first in last out"])
def test_blas_stays_limited_until_the_last_caller_is_done(out: tuple[int, int]) -> None:
    inside, leave, left = [[threading.Event() for _ in range(2)] for _ in range(3)]

    def caller(number: int) -> Callable[[], None]:
        def lasting() -> set[int]:
            inside[number].set()
            leave[number].wait(TIMEOUT)
            return blas_threads()

        def work() -> None:
            with use_threads(2):
                assert run([lasting, blas_threads]) == [{1}, {1}]
            left[number].set()

        return work

    with in_threads(caller(0)):
        inside[0].wait(TIMEOUT)
        with in_threads(caller(1)):
            inside[1].wait(TIMEOUT)
            for number, threads in zip(out, (1, 2), strict=True):
                leave[number].set()
                left[number].wait(TIMEOUT)
                assert blas_threads() == {threads}


@pytest.mark.usefixtures("two_blas_threads")
def test_blas_gets_its_threads_back_even_if_workers_cannot_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def cannot() -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("funcnn.engine.threads._start_workers", cannot)
    with use_threads(2), pytest.raises(RuntimeError, match="can't start"):
        run([int] * 2)
    assert blas_threads() == {2}


def test_the_users_other_threads_may_limit_blas_before_and_after() -> None:
    before = blas_threads()

    def user() -> None:
        with threadpool_limits(2, "blas"):
            limited = blas_threads()
            assert limited in ({2}, set())
            with use_threads(2):
                assert run([blas_threads] * 2) == [{1} if limited else set()] * 2
            assert blas_threads() == limited
        assert blas_threads() == before

    # threadpoolctl obeys one thread at a time: `run` must not be that thread.
    for _ in range(2):
        with use_threads(2):
            run([int] * 2)
        with in_threads(user):
            pass


class Library:
    """A BLAS library as some version of threadpoolctl presents it."""

    def __init__(self, threads: int) -> None:
        self.threads, self.calls = threads, list[Any]()

    def get_num_threads(self) -> int:
        return self.threads

    def set_num_threads(self, threads: int) -> None:
        self.calls.append(threads)
        self.threads = threads


class ControlledLibrary(Library):
    """Like OpenBLAS from threadpoolctl 3.8 on, without the function behind: only one thread may set the number."""

    controlling: int | None = -1

    def clear_controlling_thread(self, force: bool = False) -> None:
        if force or self.controlling == threading.get_ident():
            self.controlling = None

    def set_num_threads(self, threads: int) -> None:
        if self.controlling in (None, threading.get_ident()):
            self.controlling = threading.get_ident()
            super().set_num_threads(threads)


@pytest.mark.parametrize("kind", [Library, ControlledLibrary])
def test_any_version_of_threadpoolctl_is_obeyed(kind: type[Library], monkeypatch: pytest.MonkeyPatch) -> None:
    library, single = kind(3), kind(1)
    monkeypatch.setattr(cores, "_getters", lambda: [each.get_num_threads for each in (library, single)])
    monkeypatch.setattr(cores, "_setters", lambda: [cores._setter(each) for each in (library, single)])

    def caller() -> None:
        with use_threads(2):
            assert run([library.get_num_threads] * 2) == [1, 1]

    for _ in range(2):
        caller()
        with in_threads(caller):
            pass
    assert library.calls == [1, 3] * 4
    # What has one thread already is left alone.
    assert single.calls == []
    if isinstance(library, ControlledLibrary):
        assert library.controlling is None


@pytest.mark.usefixtures("two_blas_threads")
def test_run_leaves_the_thread_that_controls_blas_in_control() -> None:
    def caller() -> None:
        assert run([blas_threads] * 2) == [{1}] * 2

    with in_threads(caller):
        pass
    # This thread has set the number, and another has limited it for a while; this thread still may.
    with threadpool_limits(3, "blas"):
        assert blas_threads() == {3}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_runs_tasks_whatever_the_parent_did() -> None:
    code = """
import os, threading, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of any fork beside threads
from threadpoolctl import threadpool_info, threadpool_limits
from funcnn.cores import use_threads
from funcnn.engine.threads import run

def blas():
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}

threadpool_limits(2, "blas")
has_threads = blas() == {2}

def child_of_a_fork(threads=2):
    child = os.fork()
    if child:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.002)
        os.kill(child, 9)
        os.waitpid(child, 0)
        return "stuck"
    # The limits of threads that the child does not have are gone, and its own work.
    fine = blas() == {threads} or not has_threads
    barrier = threading.Barrier(2)
    def task():
        barrier.wait(5)
    results = []
    def user():
        with use_threads(2):
            run([task] * 2)  # needs a worker in the child
            results.extend(run([lambda n=n: n for n in range(9)]))
    another = threading.Thread(target=user, daemon=True)
    another.start()
    another.join(8)
    fine = fine and results == list(range(9))
    with use_threads(2):
        fine = fine and (run([blas] * 2) == [{1}] * 2 or not has_threads)
        fine = fine and (blas() == {threads} or not has_threads)
    os._exit(0 if fine else 1)

print(child_of_a_fork())  # before the first worker
with use_threads(3):
    run([int] * 5)
    with threadpool_limits(3, "blas"):
        print(child_of_a_fork(3))  # with idle workers
    stop = False
    def busy():
        with use_threads(3):
            while not stop:
                run([lambda: sum(range(100))] * 9)
    users = [threading.Thread(target=busy) for _ in range(3)]
    for user in users: user.start()
    print([child_of_a_fork() for _ in range(10)])  # while other threads run tasks
    stop = True
    for user in users: user.join()
    # A task that forks: its child is still inside a task, so it runs tasks in sequence.
    def forks():
        child = os.fork()
        if not child:
            os._exit(0 if run([lambda: 1, lambda: 2]) == [1, 2] else 1)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(run([forks] * 4))
    print(run([lambda: 1, lambda: 2]), blas() == {2} or not has_threads)
"""
    done = python(code)
    expected = ["0", "0", str([0] * 10), str([0] * 4), "[1, 2] True"]
    assert (done.stdout.splitlines(), done.stderr) == (expected, "")


@pytest.mark.parametrize("end", ["", "sys.exit(0)", "atexit.register(lambda: print(run([int, int])))"])
def test_an_interpreter_ends(end: str) -> None:
    code = f"""
import atexit, sys
from funcnn.cores import use_threads
from funcnn.engine.threads import run
with use_threads(4):
    print(run([int, int]))
{end}
"""
    done = python(code)
    times = 2 if "atexit" in end else 1
    assert (done.stdout, done.stderr, done.returncode) == ("[0, 0]\n" * times, "", 0)
