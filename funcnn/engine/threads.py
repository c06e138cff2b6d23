"""Independent tasks run on several threads, without any effect on the caller's BLAS, threads or forks.

NumPy releases the global interpreter lock inside its loops and matrix products, and layers are pure functions; so the
calling thread and a few workers take tasks from one queue until it is empty. The result of a task does not depend on
the thread that runs it, hence one thread and eight give the same bits.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from functools import cache, partial
from importlib.util import find_spec
from queue import SimpleQueue
from typing import Any, TypeVar

from funcnn import checks

__all__ = ["num_threads", "use_threads"]

T = TypeVar("T")

MIN_WORKERS = 7
"""The least number of workers to start, since ``use_threads`` may ask for more threads than there are cores."""

_num_threads: ContextVar[int | None] = ContextVar("num_threads", default=None)
_lock = threading.RLock()
_runs = 0
"""How many calls of ``run`` need BLAS on one thread now."""
_limited: list[tuple[Callable[[int], Any], int]] = []
"""For each limited BLAS library the function that sets its number of threads, and the number to restore."""


def num_threads() -> int:
    """The number of threads that ``run`` uses here: 1 inside a task, and elsewhere what ``use_threads`` chose.

    Returns:
        The number, the calling thread included.

    Raises:
        ValueError: the environment variable ``FUNCNN_NUM_THREADS`` is not a whole number ``>= 1``.

    Example:
        >>> with use_threads(3):
        ...     num_threads()
        3
    """
    chosen = _num_threads.get()
    return _default() if chosen is None else chosen


@contextmanager
def use_threads(count: int) -> Iterator[None]:
    """Choose the number of threads for everything called inside the ``with``, in this thread only.

    The default is the environment variable ``FUNCNN_NUM_THREADS``, and without it the number of cores that the process
    may use; or 1 if threadpoolctl is not installed, since the threads of BLAS cannot be limited then.

    Args:
        count: the number of threads, the calling one included; 1 runs everything in the calling thread.

    Returns:
        A context manager.

    Raises:
        ValueError: ``count`` is not a whole number ``>= 1``.

    Example:
        >>> with use_threads(1):
        ...     run([lambda: 1, lambda: 2])
        [1, 2]
    """
    token = _num_threads.set(_checked("use_threads", count))
    try:
        yield
    finally:
        _num_threads.reset(token)


def run(tasks: Sequence[Callable[[], T]]) -> list[T]:
    """Call all the functions, several at a time, and return their results in order.

    Args:
        tasks: functions without arguments, in any number; a single one is just called.

    Returns:
        Their results, in the order of the functions.

    Raises:
        Exception: the error of the first task, in their order, that failed; tasks that had not started are not run.

    Example:
        >>> run([lambda: "a", lambda: "b"])
        ['a', 'b']
    """
    if len(tasks) <= 1:
        return [task() for task in tasks]
    group = _TaskGroup(tasks)
    # Also for a single thread: BLAS rounds differently when it splits a product among threads of its own.
    _limit_blas()
    try:
        for _ in range(min(num_threads(), len(tasks)) - 1):
            # A copied context has the caller's np.errstate, and what run_tasks() sets in it stays in it.
            _task_queue().put(partial(copy_context().run, group.run_in_worker))
        copy_context().run(group.run_tasks)
        group.wait()
    finally:
        _unlimit_blas()
    if group.errors:
        raise group.first_error()
    return [group.results[number] for number in range(len(tasks))]


class _TaskGroup:
    """The tasks of one call of ``run``: each thread that is free takes the next."""

    def __init__(self, tasks: Sequence[Callable[[], Any]]) -> None:
        self.queue = deque(enumerate(tasks))
        self.results: dict[int, Any] = {}
        self.errors: dict[int, BaseException] = {}
        self.lock, self.workers, self.closed = threading.Lock(), 0, False
        self.finished: SimpleQueue[None] = SimpleQueue()

    def run_tasks(self) -> None:
        """Run tasks until none is left, and after an error none of the others."""
        _num_threads.set(1)
        while self.queue:
            try:
                number, task = self.queue.popleft()
            except IndexError:  # another thread took the last one
                return
            try:
                self.results[number] = task()
            except BaseException as error:
                self.errors[number] = error
                self.queue.clear()

    def run_in_worker(self) -> None:
        """Run tasks, unless the group is closed: a worker that was busy may come to it late."""
        with self.lock:
            if self.closed:
                return
            self.workers += 1
        self.run_tasks()
        self.finished.put(None)

    def first_error(self) -> BaseException:
        """The error of the first task that failed. The group keeps none: their tracebacks refer to it, in a cycle."""
        errors, self.errors = self.errors, {}
        return errors[min(errors)]

    def wait(self) -> None:
        """Close the group to further workers, and wait for those that run its tasks."""
        with self.lock:
            self.closed = True
        for _ in range(self.workers):
            self.finished.get()


def _limit_blas() -> None:
    """Limit BLAS to one thread while tasks run: two tasks on two BLAS threads each would compete for the cores."""
    global _runs
    with _lock:
        if not _runs:
            for get_threads, set_threads in _blas_functions():
                if (threads := get_threads()) != 1:
                    _limited.append((set_threads, threads))
                    set_threads(1)
        _runs += 1


def _unlimit_blas() -> None:
    """Restore the numbers of threads of BLAS at the end of the last call of ``run``."""
    global _runs
    with _lock:
        _runs -= 1
        if not _runs:
            _restore_blas()


def _restore_blas() -> None:
    """Give each limited BLAS library the number of threads that it had."""
    for set_threads, threads in _limited:
        set_threads(threads)
    _limited.clear()


@cache
def _blas_functions() -> list[tuple[Callable[[], int], Callable[[int], Any]]]:
    """For each BLAS library the functions that get and set its number of threads."""
    return [(library.get_num_threads, _setter(library)) for library in _blas()]


def _setter(library: Any) -> Callable[[int], Any]:
    """The function that sets a library's number of threads, whichever thread calls it.

    From version 3.8 on, ``set_num_threads`` of threadpoolctl ignores all threads but the first that called it, until
    that thread is cleared. The last call of ``run`` to end need not be in the thread of the first, and ``_lock``
    already lets one thread at a time set a number; so the function behind it is called, five times as fast.
    """
    if hasattr(library, "_real_set_num_threads"):
        direct: Callable[[int], Any] = library._real_set_num_threads
        return direct
    clear_thread = getattr(library, "clear_controlling_thread", lambda force=False: None)

    def set_threads(threads: int) -> None:
        clear_thread(force=True)
        library.set_num_threads(threads)
        clear_thread()

    return set_threads


@cache
def _blas() -> list[Any]:
    """The BLAS libraries in this process, found once; none without threadpoolctl, which predicting does not need."""
    if not find_spec("threadpoolctl"):
        return []
    from threadpoolctl import ThreadpoolController

    return [library for library in ThreadpoolController().lib_controllers if library.user_api == "blas"]


def _task_queue() -> "SimpleQueue[Callable[[], Any]]":
    """The queue of the workers, which are started when they are first needed; two threads must not do so at once."""
    with _lock:
        return _start_workers()


@cache
def _start_workers() -> "SimpleQueue[Callable[[], Any]]":
    """Start the workers, and return the queue from which they take what to call."""
    queue: SimpleQueue[Callable[[], Any]] = SimpleQueue()
    for number in range(max(_default() - 1, MIN_WORKERS)):
        threading.Thread(target=_work, args=(queue,), name=f"funcnn-{number}", daemon=True).start()
    return queue


def _work(queue: "SimpleQueue[Callable[[], Any]]") -> None:
    """Call what is in the queue, for as long as the process lives."""
    while True:
        queue.get()()


@cache
def _default() -> int:
    """The number of threads that the environment chooses, or the number of cores that this process may use."""
    setting = os.environ.get("FUNCNN_NUM_THREADS")
    if setting is not None:
        return _checked("FUNCNN_NUM_THREADS", int(setting) if setting.isdecimal() else setting)
    if not find_spec("threadpoolctl"):
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _checked(source: str, count: Any) -> int:
    """A number of threads as a Python int, or an error that names where it came from."""
    try:
        return checks.size(source, "count", count)
    except ValueError:
        raise ValueError(f"{source}: expected a number of threads >= 1, got {count!r}") from None


def _reset_in_child() -> None:
    """Start anew in a forked child, which has no workers and no other thread that needs BLAS limited."""
    global _runs
    _start_workers.cache_clear()
    _runs = 0
    _restore_blas()
    _lock.release()


if hasattr(os, "register_at_fork"):
    # The forking thread holds the lock, so that no other thread is setting BLAS's number of threads during the fork.
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_reset_in_child)
