"""Independent tasks run on several threads, without any effect on the caller's BLAS, threads or forks.

NumPy releases the global interpreter lock inside its loops and matrix products, and layers are pure functions; so the
calling thread and a few workers take tasks from one queue until it is empty. The result of a task does not depend on
the thread that runs it, so one thread and eight give the same bits.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import ContextVar, copy_context
from functools import cache, partial
from queue import SimpleQueue
from typing import Any, TypeVar

from funcnn import cores

__all__ = ["in_task", "run"]

T = TypeVar("T")

MIN_WORKERS = 7
"""The least number of workers to start, since ``use_threads`` may ask for more threads than there are cores."""

_lock = threading.RLock()
_in_task: ContextVar[bool] = ContextVar("in_task", default=False)


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
    # Also for a single thread: BLAS rounds differently when it splits a product among threads of its own.
    return cores.with_blas_threads(1, _run, tasks)


def in_task() -> bool:
    """Whether this code runs inside one of several tasks, where others keep the other cores busy.

    Example:
        >>> in_task(), run([in_task, in_task])
        (False, [True, True])
    """
    return _in_task.get()


def _run(tasks: Sequence[Callable[[], T]]) -> list[T]:
    """``run`` while BLAS has one thread."""
    group = _TaskGroup(tasks)
    try:
        for _ in range(min(cores.num_threads(), len(tasks)) - 1):
            # A copied context has the caller's np.errstate, and what run_tasks() sets in it stays in it.
            _task_queue().put(partial(copy_context().run, group.run_in_worker))
        copy_context().run(group.run_tasks)
    finally:
        group.close()
    if group.errors:
        raise group.first_error()
    # A worker that is slow to go back to sleep still has the group, which must not keep results alive.
    return [group.results.pop(number) for number in range(len(tasks))]


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
        cores.one_thread_here()
        _in_task.set(True)
        while self.queue:
            try:
                number, task = self.queue.popleft()
            except IndexError:  # another thread took the last one
                return
            try:
                self.results[number] = task()
            except BaseException as error:
                # Without this frame the traceback does not refer to the group, which would be a cycle.
                self.errors[number] = error.with_traceback(error.__traceback__ and error.__traceback__.tb_next)
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
        """The error of the first task that failed. The group keeps none, since it is in the frame that raises it."""
        errors, self.errors = self.errors, {}
        return errors[min(errors)]

    def close(self) -> None:
        """Start no more tasks, and wait for the workers that run some, also when an interrupt has come."""
        self.queue.clear()
        with self.lock:
            self.closed = True
        for _ in range(self.workers):
            self.finished.get()


def _task_queue() -> "SimpleQueue[Callable[[], Any]]":
    """The queue of the workers, which are started when they are first needed; two threads must not do so at once."""
    with _lock:
        return _start_workers()


@cache
def _start_workers() -> "SimpleQueue[Callable[[], Any]]":
    """Start the workers, and return the queue from which they take what to call."""
    queue: SimpleQueue[Callable[[], Any]] = SimpleQueue()
    for number in range(max(cores.default_threads() - 1, MIN_WORKERS)):
        threading.Thread(target=_work, args=(queue,), name=f"funcnn-{number}", daemon=True).start()
    return queue


def _work(queue: "SimpleQueue[Callable[[], Any]]") -> None:
    """Call what is in the queue, for as long as the process lives."""
    while True:
        queue.get()()


# A forked child has no workers.
cores.hold_during_fork(_lock, _start_workers.cache_clear)
