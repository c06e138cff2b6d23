"""Threads: pieces run side by side, and nobody else can tell, whatever fails, forks, nests or ends meanwhile."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from funcnn.engine import threads as funcnn_threads
from funcnn.engine.threads import num_threads, run, use_threads

# Far more than anything here needs: what takes so long is stuck.
PATIENCE = 30


def blas_threads() -> set[int]:
    """The threads of NumPy's BLAS; what others brought along, SciPy or PyTorch, is theirs and stays as it is."""
    ours = {library.filepath for library in funcnn_threads._blas()}
    return {library["num_threads"] for library in threadpool_info() if library["filepath"] in ours}


def others_threads() -> list[int]:
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] != "blas"]


def helpers() -> set[int | None]:
    return {thread.ident for thread in threading.enumerate() if thread.name.startswith("funcnn-")}


def meeting(parties: int, answer: Callable[[], Any] = threading.get_ident) -> list[Callable[[], Any]]:
    """Tasks that only end if all of them run at once, hence each in a thread of its own."""
    barrier = threading.Barrier(parties)

    def task() -> Any:
        barrier.wait(PATIENCE)
        return answer()

    return [task] * parties


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program in an interpreter of its own, which must come to its end."""
    root = str(Path(__file__).parent.parent)
    environment = {**os.environ, "PYTHONPATH": root, **environment}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )


@contextmanager
def elsewhere(*works: Callable[[], None]) -> Iterator[None]:
    """Do some work in threads of the user's own, and come back when all of it is done."""
    errors: list[BaseException] = []

    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    users = [threading.Thread(target=guarded, args=(work,), daemon=True) for work in works]
    for user in users:
        user.start()
    yield
    for user in users:
        user.join(PATIENCE)
        assert not user.is_alive(), "stuck"
    if errors:
        raise errors[0]


@pytest.mark.parametrize("threads", [1, 2, 4, 9])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 50])
def test_results_stand_in_the_order_of_the_tasks(threads: int, count: int) -> None:
    def task(number: int) -> Callable[[], int]:
        # Early tasks end late.
        return lambda: time.sleep(0.002 if number < 3 else 0) or number

    with use_threads(threads):
        assert run([task(number) for number in range(count)]) == list(range(count))


def test_pieces_run_side_by_side_the_caller_included() -> None:
    with use_threads(3):
        idents = run(meeting(3))
    assert len(set(idents)) == 3
    assert threading.get_ident() in idents
    # More threads than tasks do no harm.
    with use_threads(8):
        assert len(set(run(meeting(2)))) == 2


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


def test_the_first_error_in_the_order_of_the_tasks_is_raised_and_the_rest_left_out() -> None:
    second_failed, begun = threading.Event(), []

    def first() -> None:
        begun.append(0)
        second_failed.wait(PATIENCE)
        raise ValueError("first")

    def second() -> None:
        begun.append(1)
        second_failed.set()
        raise KeyError("second")

    with use_threads(2), pytest.raises(ValueError, match="first"):
        run([first, second, *[lambda: begun.append(2)] * 50])
    assert sorted(begun) == [0, 1]


@pytest.mark.parametrize("threads", [1, 2])
def test_after_an_error_nothing_more_begins(threads: int) -> None:
    begun = []

    def fails() -> None:
        raise ZeroDivisionError

    with use_threads(threads), pytest.raises(ZeroDivisionError):
        run([fails, fails, lambda: begun.append(2)])
    assert begun == []


def test_helpers_survive_errors_even_those_that_end_programs() -> None:
    def fails() -> None:
        raise SystemExit

    with use_threads(8):
        run(meeting(8))
        before = helpers()
        for _ in range(5):
            with pytest.raises(SystemExit):
                run(meeting(8, fails))
        assert set(run(meeting(8))) == before | {threading.get_ident()}
    assert helpers() == before


def test_the_callers_error_state_holds_in_the_helpers_and_nothing_leaks_out() -> None:
    with np.errstate(divide="warn", over="ignore", under="raise", invalid="print"), use_threads(4):
        here = np.geterr()
        assert run(meeting(4, np.geterr)) == [here] * 4
        # What a piece changes for itself stays with it.
        run(meeting(4, lambda: np.seterr(all="ignore")))
        assert np.geterr() == here
        assert run(meeting(4, np.geterr)) == [here] * 4
    with np.errstate(divide="raise"), use_threads(4), pytest.raises(FloatingPointError, match="divide by zero"):
        run(meeting(4, lambda: np.ones(1) / 0))


def test_inside_a_piece_all_runs_in_sequence() -> None:
    def piece() -> Any:
        inner = run([lambda: run([threading.get_ident] * 3)] * 3)
        return num_threads(), {ident for idents in inner for ident in idents}, threading.get_ident()

    with use_threads(3):
        answers = run(meeting(3, piece))
        assert num_threads() == 3
    assert all(threads == 1 and inner == {own} for threads, inner, own in answers)


def test_a_piece_that_asks_for_threads_again_cannot_get_stuck() -> None:
    def piece(depth: int) -> int:
        if not depth:
            return 1
        with use_threads(8):
            return sum(run([lambda: piece(depth - 1)] * 4))

    with elsewhere(lambda: None if piece(4) == 4**4 else pytest.fail("wrong")):
        pass


def test_more_callers_at_once_than_helpers() -> None:
    barrier = threading.Barrier(12)

    def caller(number: int) -> Callable[[], None]:
        def work() -> None:
            barrier.wait(PATIENCE)
            tasks = [lambda n=n: (number, sum(run([lambda: n] * 3))) for n in range(6)]
            with use_threads(4):
                for _ in range(30):
                    assert run(tasks) == [(number, 3 * n) for n in range(6)]

        return work

    with elsewhere(*map(caller, range(12))):
        pass


def test_helpers_are_started_once_when_first_needed() -> None:
    code = """
import threading
from funcnn.engine import threads
assert threading.active_count() == 1, "too early"
barrier = threading.Barrier(6)
def user():
    barrier.wait()
    with threads.use_threads(2):
        threads.run([int, int])
users = [threading.Thread(target=user) for _ in range(6)]
for user in users: user.start()
for user in users: user.join()
print(sum(t.name.startswith("funcnn-") for t in threading.enumerate()) - max(threads.HELPERS, threads._default() - 1))
"""
    done = python(code)
    assert (done.stdout, done.stderr, done.returncode) == ("0\n", "", 0)


def test_the_threads_is_the_users_choice() -> None:
    default = num_threads()
    with use_threads(3):
        assert num_threads() == 3
        with use_threads(1):
            assert num_threads() == 1
        assert num_threads() == 3
        with pytest.raises(KeyError), use_threads(2):
            raise KeyError
        assert num_threads() == 3

        def look() -> None:
            # It holds in this thread only.
            assert num_threads() == default

        with elsewhere(look):
            pass
    assert num_threads() == default


@pytest.mark.parametrize("count", [0, -1, True, 2.0, "2", None])
def test_a_threads_that_is_none(count: Any) -> None:
    message = rf"use_threads: expected a number of threads >= 1, got {count!r}"
    before = num_threads()
    with pytest.raises(ValueError, match=message), use_threads(count):
        pass
    assert num_threads() == before


def test_the_environment_decides_where_the_user_does_not() -> None:
    code = """
import os
import funcnn as fn
for bad in ["0", "-1", "two", "2.5", ""]:
    os.environ["FUNCNN_NUM_THREADS"] = bad
    try:
        fn.num_threads()
    except ValueError as error:
        print(error)
os.environ["FUNCNN_NUM_THREADS"] = "3"
print(fn.num_threads())
with fn.use_threads(2):
    print(fn.num_threads())
"""
    done = python(code)
    bad = ["0", "'-1'", "'two'", "'2.5'", "''"]
    wrong = [f"FUNCNN_NUM_THREADS: expected a number of threads >= 1, got {value}" for value in bad]
    assert (done.stdout.splitlines(), done.stderr) == ([*wrong, "3", "2"], "")


def test_without_any_wish_there_are_as_many_threads_as_cores_for_the_process() -> None:
    code = """
import os
os.environ.pop("FUNCNN_NUM_THREADS", None)
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
import funcnn as fn
print(fn.num_threads() - (1 if hasattr(os, "sched_setaffinity") else os.cpu_count()))
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
def test_blas_has_one_thread_while_pieces_run_and_afterwards_what_it_had(threads: int) -> None:
    # Also where only one thread works on the pieces, or the last bits would tell.
    before = threadpool_info()
    with use_threads(threads):
        assert run([blas_threads, lambda: run([blas_threads] * 2)[1]]) == [{1}, {1}]
        assert run([others_threads] * 2) == [others_threads()] * 2
        assert threadpool_info() == before
        with pytest.raises(ZeroDivisionError):
            run([lambda: 1 / 0] * 3)
        assert threadpool_info() == before
        # The user changes his mind.
        with threadpool_limits(3, "blas"):
            assert run([blas_threads] * 2) == [{1}, {1}]
            assert blas_threads() == {3}
        # What is not cut may have all that there are.
        assert run([blas_threads]) == [{2}]
    assert threadpool_info() == before


@pytest.mark.usefixtures("two_blas_threads")
@pytest.mark.parametrize("out", [(0, 1), (1, 0)], ids=["first in first out", "first in last out"])
def test_blas_stays_limited_until_the_last_caller_is_done(out: tuple[int, int]) -> None:
    inside, leave, left = [[threading.Event() for _ in range(2)] for _ in range(3)]

    def caller(number: int) -> Callable[[], None]:
        def lasting() -> set[int]:
            inside[number].set()
            leave[number].wait(PATIENCE)
            return blas_threads()

        def work() -> None:
            with use_threads(2):
                assert run([lasting, blas_threads]) == [{1}, {1}]
            left[number].set()

        return work

    with elsewhere(caller(0)):
        inside[0].wait(PATIENCE)
        with elsewhere(caller(1)):
            inside[1].wait(PATIENCE)
            for number, threads in zip(out, (1, 2), strict=True):
                leave[number].set()
                left[number].wait(PATIENCE)
                assert blas_threads() == {threads}


@pytest.mark.usefixtures("two_blas_threads")
def test_blas_gets_its_threads_back_even_if_helpers_cannot_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def cannot() -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("funcnn.threads._started", cannot)
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

    # threadpoolctl obeys one thread at a time: after ours, it is free to obey any other.
    for _ in range(2):
        with use_threads(2):
            run([int] * 2)
        with elsewhere(user):
            pass


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_works_on_its_own_wherever_the_parent_was() -> None:
    code = """
import os, threading, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of any fork beside threads
from threadpoolctl import threadpool_info, threadpool_limits
from funcnn.engine.threads import run, use_threads

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
    # Free of the limits of those who did not come along, and limited by its own.
    fine = blas() == {threads} or not has_threads
    barrier = threading.Barrier(2)
    def together():
        barrier.wait(5)
    answers = []
    def user():
        with use_threads(2):
            run([together] * 2)  # needs a helper of the child's own
            answers.extend(run([lambda n=n: n for n in range(9)]))
    another = threading.Thread(target=user, daemon=True)
    another.start()
    another.join(8)
    fine = fine and answers == list(range(9))
    with use_threads(2):
        fine = fine and (run([blas] * 2) == [{1}] * 2 or not has_threads)
        fine = fine and (blas() == {threads} or not has_threads)
    os._exit(0 if fine else 1)

print(child_of_a_fork())  # before the first helper
with use_threads(3):
    run([int] * 5)
    with threadpool_limits(3, "blas"):
        print(child_of_a_fork(3))  # with helpers at rest
    stop = False
    def busy():
        with use_threads(3):
            while not stop:
                run([lambda: sum(range(100))] * 9)
    users = [threading.Thread(target=busy) for _ in range(3)]
    for user in users: user.start()
    print([child_of_a_fork() for _ in range(10)])  # while others are inside
    stop = True
    for user in users: user.join()
    # A piece that forks: its child is still inside a piece, so it works in sequence.
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
def test_an_interpreter_comes_to_its_end(end: str) -> None:
    code = f"""
import atexit, sys
from funcnn.engine.threads import run, use_threads
with use_threads(4):
    print(run([int, int]))
{end}
"""
    done = python(code)
    times = 2 if "atexit" in end else 1
    assert (done.stdout, done.stderr, done.returncode) == ("[0, 0]\n" * times, "", 0)
