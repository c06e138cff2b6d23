"""Independent pieces of work run on all cores, and nobody notices: not the caller's BLAS, not his threads, not a fork.

NumPy lets go of the interpreter's lock inside its loops and products, and layers are pure functions; so the calling
thread and a few helpers may each take the next piece until none is left. What a piece computes never depends on who
computes it, hence one thread and eight give the same bits.
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

__all__ = ["num_threads", "use_threads"]

T = TypeVar("T")

HELPERS = 7
"""How many helpers there are at least, since ``use_threads`` may ask for more threads than there are cores."""

_chosen: ContextVar[int | None] = ContextVar("threads", default=None)
_lock = threading.RLock()
_limited = 0
_restore: list[tuple[Any, int]] = []


def num_threads() -> int:
    """How many threads work on a piece list here: inside one of its pieces 1, elsewhere as ``use_threads`` says.

    Example:
        >>> with use_threads(3):
        ...     num_threads()
        3
    """
    chosen = _chosen.get()
    return _default() if chosen is None else chosen


@contextmanager
def use_threads(count: int) -> Iterator[None]:
    """Choose the number of threads for everything called inside the ``with``, in this thread only.

    Without it, the environment variable ``FUNCNN_NUM_THREADS`` decides, and without that the number of cores that
    the process may use; or 1 if threadpoolctl is not installed, since BLAS then keeps the threads that it has.

    Args:
        count: threads, the calling one included; 1 forbids all others.

    Raises:
        ValueError: ``count`` is not a whole number ``>= 1``.

    Example:
        >>> with use_threads(1):
        ...     run([lambda: 1, lambda: 2])
        [1, 2]
    """
    token = _chosen.set(_checked("use_threads", count))
    try:
        yield
    finally:
        _chosen.reset(token)


def run(tasks: Sequence[Callable[[], T]]) -> list[T]:
    """Call all the functions, some at a time, and return their results in order.

    Args:
        tasks: functions without arguments, in any number.

    Returns:
        What they returned, in their order.

    Raises:
        Exception: whatever the first of them to fail raised; those not yet begun are left out.

    Example:
        >>> run([lambda: "a", lambda: "b"])
        ['a', 'b']
    """
    threads = min(num_threads(), len(tasks))
    if len(tasks) <= 1:
        return [task() for task in tasks]
    errand = _Errand(tasks)
    # Also for a single thread: BLAS rounds differently when it shares a product out among threads of its own.
    with _one_blas_thread():
        for _ in range(threads - 1):
            # A copied context brings the caller's np.errstate along, and keeps what work() sets to itself.
            _helpers().put(partial(copy_context().run, errand.help))
        copy_context().run(errand.work)
        errand.wait()
    if errand.errors:
        raise errand.errors[min(errand.errors)]
    return [errand.results[number] for number in range(len(tasks))]


class _Errand:
    """A list of tasks on its way: whoever is free takes the next."""

    def __init__(self, tasks: Sequence[Callable[[], Any]]) -> None:
        self.queue = deque(enumerate(tasks))
        self.results: dict[int, Any] = {}
        self.errors: dict[int, BaseException] = {}
        self.lock, self.begun, self.closed = threading.Lock(), 0, False
        self.finished: SimpleQueue[None] = SimpleQueue()

    def work(self) -> None:
        """Take tasks until none is left."""
        _chosen.set(1)
        while self.queue:
            try:
                number, task = self.queue.popleft()
            except IndexError:  # another thread was quicker
                return
            try:
                self.results[number] = task()
            except BaseException as error:
                self.errors[number] = error
                self.queue.clear()

    def help(self) -> None:
        """Work, unless all is done already: a helper may come late, if it was busy elsewhere."""
        with self.lock:
            if self.closed:
                return
            self.begun += 1
        self.work()
        self.finished.put(None)

    def wait(self) -> None:
        """Let no more helpers in, and wait for those that came."""
        with self.lock:
            self.closed = True
        for _ in range(self.begun):
            self.finished.get()


@contextmanager
def _one_blas_thread() -> Iterator[None]:
    """Hold BLAS to one thread while pieces run: two threads that each start two would stand in each other's way."""
    global _limited
    with _lock:
        if not _limited:
            _restore[:] = [(library, library.get_num_threads()) for library in _blas()]
            for library, _ in _restore:
                _set(library, 1)
        _limited += 1
    try:
        yield
    finally:
        with _lock:
            _limited -= 1
            if not _limited:
                _give_back()


def _give_back() -> None:
    """Let BLAS have as many threads as it had."""
    for library, threads in _restore:
        _set(library, threads)
    _restore.clear()


def _set(library: Any, threads: int) -> None:
    """Set a library's number of threads, for all threads and from any.

    From version 3.8 on, threadpoolctl obeys only the thread that set a number first, until that thread steps back. The
    last of our callers need not be the first, and the user's own threads want their turn after us.
    """
    step_back = getattr(library, "clear_controlling_thread", lambda force=False: None)
    step_back(force=True)
    library.set_num_threads(threads)
    step_back()


@cache
def _blas() -> list[Any]:
    """The BLAS libraries in this process, found once; none without threadpoolctl, which predicting can do without."""
    if not find_spec("threadpoolctl"):
        return []
    from threadpoolctl import ThreadpoolController

    return [library for library in ThreadpoolController().lib_controllers if library.user_api == "blas"]


def _helpers() -> "SimpleQueue[Callable[[], Any]]":
    """Where the helpers, started when they are first needed, fetch what they are to do."""
    with _lock:
        return _started()


@cache
def _started() -> "SimpleQueue[Callable[[], Any]]":
    """Start the helpers; two threads must not do so at once."""
    orders: SimpleQueue[Callable[[], Any]] = SimpleQueue()

    def serve() -> None:
        while True:
            orders.get()()

    for number in range(max(_default(), HELPERS + 1) - 1):
        threading.Thread(target=serve, name=f"funcnn-{number}", daemon=True).start()
    return orders


@cache
def _default() -> int:
    """What the environment says, or the number of cores this process may use."""
    setting = os.environ.get("FUNCNN_NUM_THREADS")
    if setting is not None:
        return _checked("FUNCNN_NUM_THREADS", int(setting) if setting.isdecimal() else setting)
    if not find_spec("threadpoolctl"):
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _checked(name: str, count: Any) -> int:
    """Refuse what is not a number of threads."""
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ValueError(f"{name}: expected a number of threads >= 1, got {count!r}")
    return count


def _after_fork() -> None:
    """A forked child has none of the helpers, and must not inherit a limit that someone else needed."""
    global _limited
    _started.cache_clear()
    _limited = 0
    _give_back()
    _lock.release()


if hasattr(os, "register_at_fork"):
    # Whoever forks holds the lock: no other thread is then at BLAS, and threadpoolctl's own lock is free in the child.
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_after_fork)
