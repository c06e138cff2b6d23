"""How many cores a call uses: the threads of funcnn, and those of BLAS, which rounds differently on another number.

Each call of a layer decides by its input alone how many threads BLAS has, one or ``num_threads()``. The number of
threads of BLAS belongs to the whole process, so calls stand in line: those that need one number compute at the same
time, and a call that needs another number waits for all that came before it. Hence no thread changes the bits of
another one, and no call waits for ever.
"""

from __future__ import annotations

import operator
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, partial
from importlib.util import find_spec
from itertools import repeat
from typing import Any, TypeVar

import numpy as np

from funcnn import checks
from funcnn.aliases import Tree
from funcnn.calls import explained
from funcnn.wording import shown

__all__ = ["num_threads", "use_threads"]

T = TypeVar("T")

SMALL_INPUT_MAX = 2048
"""Floats of an input whose products gain nothing from several threads, such as those of one row or ten short ones."""

WAKE_SECONDS = 0.05
"""After this time a waiting call looks again by itself: an interrupt may have kept another one from waking it."""

_num_threads: ContextVar[int | None] = ContextVar("num_threads", default=None)


def num_threads() -> int:
    """The number of threads that a call uses here: 1 inside a task, and elsewhere what ``use_threads`` chose.

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
    return default_threads() if chosen is None else chosen


@contextmanager
@explained
def use_threads(count: int) -> Iterator[None]:
    """Choose the number of threads for everything called inside the ``with``, in this thread only.

    The default is the environment variable ``FUNCNN_NUM_THREADS``, and without it the number of cores that the process
    may use; or 1 if threadpoolctl is not installed, since the threads of BLAS cannot be limited then. The products of a
    batch that is not cut have this number of threads in BLAS, which may round differently on another number; a batch
    that is cut gives the same bits on any number.

    Args:
        count: the number of threads, the calling one included; 1 runs everything in the calling thread, BLAS included,
            and gives the same bits on machines that differ in their number of cores only.

    Returns:
        A context manager.

    Raises:
        ValueError: ``count`` is not a whole number ``>= 1``.

    Example:
        >>> with use_threads(1):
        ...     num_threads()
        1
    """
    with set_inside(_num_threads, _checked("use_threads", count)):
        yield


@contextmanager
def set_inside(variable: ContextVar[T], value: T) -> Iterator[None]:
    """Give a context variable a value inside the ``with``, and then what it had, whenever an interrupt comes.

    Example:
        >>> word = ContextVar("word", default="a")
        >>> with set_inside(word, "b"):
        ...     word.get()
        'b'
        >>> word.get()
        'a'
    """
    before = variable.get()
    try:
        variable.set(value)  # inside of try: an interrupt may come after it
        yield
    finally:
        variable.set(before)


def one_thread_here() -> None:
    """Choose one thread for the rest of this context, which is that of a task."""
    _num_threads.set(1)


def is_small(x: Tree) -> bool:
    """Whether BLAS needs one thread only for a batch of this size. An integer may stand for a row of a table.

    Example:
        >>> is_small(np.zeros((1, 784))), is_small(np.zeros((64, 784)))
        (True, False)
    """
    if type(x) is np.ndarray:
        return x.size < SMALL_INPUT_MAX and x.dtype.kind == "f"
    return isinstance(x, dict) and all(is_small(leaf) for leaf in x.values())


def blas_threads(one: bool) -> int:
    """The number of threads that BLAS has in a call here: one, or those of the calling thread."""
    return 1 if one else num_threads()


class _Call:
    """A call that needs BLAS on some number of threads, waits for it, or computes.

    Args:
        threads: the number.
    """

    __slots__ = ("present", "threads", "wake")

    def __init__(self, threads: int) -> None:
        self.threads, self.present = threads, True
        self.wake: Any = None
        """While it waits, a lock that is released to wake it."""


_current: ContextVar[_Call | None] = ContextVar("current_call", default=None)
"""The call inside which this code runs; tasks on other threads inherit it."""
_lock = threading.RLock()
"""Held while the line or the number of threads of BLAS is read or changed, for a moment only."""
_line: list[_Call] = []
"""The calls that wait or compute, in the order in which they came; those that are not ``present`` count no more."""
_found: tuple[int, ...] | None = None
"""The number of threads that each BLAS library had before the first call in the line, to be restored after the last."""
_now: tuple[int, ...] = ()
"""The number that each has while there are calls in the line; nothing while it changes: an interrupt may come then."""


def with_blas_threads(threads: int, function: Callable[..., T], *args: Any) -> T:
    """Call a function while BLAS has this number of threads, and restore the number that it had.

    A call inside a call on one thread is on one thread too. Inside a call on more threads, the outer call leaves the
    line until an inner call that needs another number returns; so no call waits while others wait for it.

    Args:
        threads: the number.
        function: what to call; it must not wait for another thread that calls funcnn.
        args: its arguments.

    Returns:
        What the function returns.

    Example:
        >>> with_blas_threads(1, max, 2, 3)
        3
    """
    outer, lent = _current.get(), None
    if outer is not None and outer.present:
        if outer.threads == threads or outer.threads == 1:
            return function(*args)
        outer.present, lent = False, outer
        _leave()
    call = _Call(threads)
    try:
        _current.set(call)
        _arrive(call)
        return function(*args)
    finally:
        # An interrupt cannot come before the first statement. If it comes between the others, the next call does
        # what they would have done.
        call.present = False
        _current.set(outer)
        _leave()
        if lent is not None:
            lent.present = True
            _arrive(lent)


def _arrive(call: _Call) -> None:
    """Stand in line until BLAS has the number of threads that a call needs."""
    with _lock:
        _line.append(call)
        if _may_go(call):
            return
    while True:
        with _lock:
            if _may_go(call):
                return
            call.wake = threading.Lock()
            call.wake.acquire()
        call.wake.acquire(timeout=WAKE_SECONDS)


def _may_go(call: _Call) -> bool:
    """Give BLAS the number of threads that a call needs, unless one before it needs another number."""
    global _found, _now
    if _line[0] is not call:
        _line[:] = [other for other in _line if other.present]
        for other in _line:
            if other is call:
                break
            if other.threads != call.threads:
                return False
    if _found is None:
        _now = _found = tuple(map(operator.call, _getters()))
    if _now.count(call.threads) < len(_now) or not _now:
        _set_blas((call.threads,) * len(_found))
    return True


def _leave() -> None:
    """Wake the calls that wait, or restore what BLAS had after the last one."""
    global _found
    with _lock:
        if len(_line) > 1:
            _line[:] = [call for call in _line if call.present]
            for call in _line:
                if call.wake is not None and call.wake.locked():
                    call.wake.release()
        elif _line and not _line[0].present:
            _line.clear()
        if _found is not None and not _line:
            if _now != _found:
                _set_blas(_found)
            _found = None


def _set_blas(wanted: tuple[int, ...]) -> None:
    """Set the number of threads of each BLAS library. If an interrupt comes, what they have is unknown."""
    global _now
    before, _now = _now, ()
    for set_threads, now, threads in zip(_setters(), before or repeat(None), wanted, strict=False):
        if now != threads:
            set_threads(threads)
    _now = wanted


@cache
def _getters() -> list[Callable[[], int]]:
    """For each BLAS library the function that returns its number of threads."""
    return [_symbol(library, "get") or library.get_num_threads for library in _blas()]


@cache
def _setters() -> list[Callable[[int], Any]]:
    """For each BLAS library the function that sets its number of threads, whichever thread calls it."""
    return [_symbol(library, "set") or _setter(library) for library in _blas()]


def _symbol(library: Any, verb: str) -> Any:
    """OpenBLAS's own function, which takes a third of the time of threadpoolctl's; None for other libraries."""
    if library.internal_api != "openblas" or getattr(library, "threading_layer", "") == "openmp":
        return None
    find = getattr(library, "_get_symbol", lambda name: None)
    return find(f"openblas_{verb}_num_threads")


def _setter(library: Any) -> Callable[[int], Any]:
    """A function of threadpoolctl that sets a library's number of threads.

    From version 3.8 on, ``set_num_threads`` ignores all threads but the first that called it, until that thread is
    cleared. The last call to end need not be in the thread of the first, and ``_lock`` already lets one thread at a
    time set a number.
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


@cache
def default_threads() -> int:
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
        raise ValueError(f"{source}: expected a number of threads >= 1, got {shown(count)}") from None


_held_during_fork: list[tuple[Any, Callable[[], Any]]] = []
"""The locks that the forking thread holds, so that the child finds them free, and what a child does first."""
_forking: tuple[_Call | None, _Call] | None = None
"""While a process forks, the call inside which it does, and the one that waited for it."""


def hold_during_fork(lock: Any, reset: Callable[[], Any]) -> None:
    """Let a process fork only while no other thread has this lock, and call a function in the child."""
    _held_during_fork.append((lock, reset))


def _before_fork() -> None:
    """Wait until BLAS has one thread: OpenBLAS ends its threads at a fork, and a product of several would never end."""
    global _forking
    own, call = _current.get(), _Call(1)
    outer = own if own is not None and own.present else None
    has_one = outer is not None and outer.threads == 1
    if outer is not None and not has_one:
        outer.present = False
    locks = [*(lock for lock, _ in _held_during_fork), _lock]
    while True:
        for lock in locks:
            lock.acquire()
        if has_one or _found is None or call in _line:
            break
        # Without the locks: the calls that came before may need them.
        for lock in locks:
            lock.release()
        _arrive(call)
    _forking = None if has_one else outer, call


def _after_fork(in_child: bool) -> None:
    """Go on as before, in the child without the calls of other threads."""
    global _forking
    (outer, call), _forking = _forking or (None, _Call(1)), None
    call.present = False
    if in_child:
        own = _current.get()
        _line[:] = [own] if own is not None and own.present else []
    _lock.release()
    for lock, reset in _held_during_fork:
        if in_child:
            reset()
        lock.release()
    _leave()
    if outer is not None:
        outer.present = True
        _arrive(outer)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=partial(_after_fork, False), after_in_child=partial(_after_fork, True)
    )
