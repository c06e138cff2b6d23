"""A large array uses memory that an earlier one has released, since new memory may cost more than the arithmetic.

The system maps new memory page by page, with a page fault for each, and malloc aligns an array to 16 bytes, though
vector instructions are up to three times faster from the start of a cache line. So a large array gets a pooled buffer::

    array, its views, their views ... -> _PooledBuffer -> bytearray     When the last of them is deleted, so is the
                                               |              ^         _PooledBuffer, which puts its memory on a free
                                               +-> free list -+         list, for the next array of its size.

Memory is never used for two arrays at once: each view keeps the ``_PooledBuffer`` alive. No Python code runs when that
is deleted, so no interrupt can come there and be lost: a weak reference with the memory is appended to the free list by
its callback, the ``append`` of a ``deque``. What is free for some seconds is returned to the system.
"""

from __future__ import annotations

import ctypes
import math
import threading
import time
import weakref
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from functools import cache, lru_cache
from typing import Any, TypeAlias

import numpy as np

from funcnn.aliases import Array
from funcnn.cores import hold_during_fork

__all__ = ["axes_in_memory", "copied", "empty", "empty_like", "release_memory"]

MIN_POOLED_BYTES = 128 * 1024
"""The size of the smallest array that gets a pooled buffer. glibc keeps the memory of smaller ones, which malloc takes
from it in a tenth of the time; they stay in the cache wherever they are."""

MIN_POOLED_ELEMENTS = MIN_POOLED_BYTES // np.dtype(np.float64).itemsize
"""Arrays of fewer elements are small for every dtype of the library, so that their dtype need not be looked at."""

MAX_FREE_BYTES = 512 * 1024 * 1024
"""The most memory on the free list of one size, and after a second on all of them; more is returned to the system."""

IDLE_SECONDS = 5
"""After this time free memory is returned to the system."""

MIN_WATCHED_BYTES = 16 * 1024 * 1024
"""Bytes allocated in all from which on a thread looks for memory that is free for long."""

CACHE_LINE = 64
"""Bytes in a cache line."""


class _PooledBuffer:
    """Owns the memory of an array: NumPy keeps it alive as the ``base`` of the array and of all views."""

    __slots__ = ("__array_interface__", "__weakref__", "memory", "when_deleted")
    when_deleted: _FreeMemory

    def __init__(self, memory: bytearray, address: int, shape: Sequence[int], typestr: str) -> None:
        self.memory = memory
        self.__array_interface__ = {"version": 3, "shape": tuple(shape), "typestr": typestr, "data": (address, False)}


class _FreeMemory(weakref.ref[_PooledBuffer]):
    """A weak reference to a ``_PooledBuffer``, which has its memory when it is deleted.

    Args:
        memory: the memory.
        address: the start of a cache line in it.
        seconds: for how long it has been free.
    """

    __slots__ = ("address", "memory", "seconds")
    memory: bytearray
    address: int
    seconds: int


FreeList: TypeAlias = "deque[_FreeMemory]"
_free_lists: dict[int, FreeList] = {}
"""For each size in bytes the free memory, what was freed last at the right; a full list drops what is at the left."""
_lock = threading.RLock()
"""Held while memory is returned to the system or a thread for that is started, but not while memory is taken or freed:
this is one call of a ``deque``, beside which no other thread runs."""
_allocated = 0
_watcher: threading.Thread | None = None


def empty(shape: Sequence[int], dtype: Any) -> Array:
    """An uninitialized array, as from ``np.empty``; a large one begins at the start of a cache line.

    Args:
        shape: its shape.
        dtype: its dtype.

    Returns:
        A C-contiguous array.

    Example:
        >>> empty((2, 3), np.float32).shape
        (2, 3)
    """
    elements = math.prod(shape)
    if elements < MIN_POOLED_ELEMENTS:
        return np.empty(shape, dtype)
    dtype = np.dtype(dtype)
    size = elements * dtype.itemsize
    if size < MIN_POOLED_BYTES:
        return np.empty(shape, dtype)
    memory, address, free = _allocate(size)
    buffer = _PooledBuffer(memory, address, shape, dtype.str)
    buffer.when_deleted = later = _FreeMemory(buffer, free.append)
    later.memory, later.address, later.seconds = memory, address, 0
    return np.asarray(buffer)


def empty_like(x: Array, shape: Sequence[int] | None = None, dtype: Any = None) -> Array:
    """An uninitialized array, with the axes in the order in which those of ``x`` lie in memory.

    Args:
        x: any array.
        shape: another shape of as many axes; that of ``x`` by default.
        dtype: another dtype; that of ``x`` by default.

    Returns:
        An array without gaps.

    Example:
        >>> empty_like(np.zeros((2, 3)).T).strides
        (8, 24)
    """
    shape, dtype = x.shape if shape is None else shape, x.dtype if dtype is None else dtype
    if x.flags.c_contiguous:
        return empty(shape, dtype)
    order = axes_in_memory(x)
    return empty([shape[axis] for axis in order], dtype).transpose([order.index(axis) for axis in range(x.ndim)])


def copied(x: Array, dtype: Any = None) -> Array:
    """A C-contiguous copy, in memory as from ``empty``.

    Args:
        x: any array.
        dtype: another dtype; that of ``x`` by default.

    Returns:
        The copy.

    Example:
        >>> copied(np.arange(4).reshape(2, 2).T).ravel("K")
        array([0, 2, 1, 3])
    """
    copy = empty(x.shape, x.dtype if dtype is None else dtype)
    copy[...] = x
    return copy


def axes_in_memory(x: Array) -> list[int]:
    """The axes of an array from the outermost in memory to the innermost.

    Args:
        x: any array.

    Returns:
        A permutation of its axes; axes of equal strides keep their order.

    Example:
        >>> axes_in_memory(np.zeros((2, 3)).T)
        [1, 0]
    """
    return sorted(range(x.ndim), key=[-abs(stride) for stride in x.strides].__getitem__)


def release_memory() -> int:
    """Return all free buffers to the system; arrays that are in use keep theirs.

    Without this call, free buffers are returned after some seconds. The free lists and, while layers compute, the
    number of threads of BLAS are the only process-wide state of funcnn. No result depends on either.

    Returns:
        The number of bytes that were free.

    Example:
        >>> x = empty((1024, 1024), np.float32)
        >>> del x
        >>> release_memory() >= 4 * 1024 * 1024
        True
        >>> release_memory()
        0
    """
    released = 0
    with _lock:
        for size, free in list(_free_lists.items()):
            while free:
                with suppress(IndexError):  # another thread took the last one
                    free.popleft()
                    released += size
    _trim()
    return released


def _allocate(size: int) -> tuple[bytearray, int, FreeList]:
    """Memory for an array of ``size`` bytes, the address of a cache line in it, and the free list to which it returns.

    It is the memory that was freed last, which may still be in the cache, or a larger one, or new memory.
    """
    step = max(4096, 1 << size.bit_length() - 4)
    fitting = _sizes_from(-(-size // step) * step)
    for size in fitting:
        free = _free_lists.get(size)
        if free:
            with suppress(IndexError):  # another thread took the last one
                found = free.pop()
                return found.memory, found.address, free
    size = fitting[0]
    free = _free_lists.setdefault(size, deque(maxlen=MAX_FREE_BYTES // size))
    try:
        memory = bytearray(size)
    except (MemoryError, OverflowError):
        raise MemoryError(f"there is no memory for an array of {size:,} bytes") from None
    address = np.frombuffer(memory, np.uint8).ctypes.data
    _watch(size)
    return memory, address + -address % CACHE_LINE, free


@lru_cache(maxsize=256)
def _sizes_from(least: int) -> tuple[int, ...]:
    """The sizes of memory from this one to half as much again, with what is needed to begin at a cache line.

    There are eight sizes from one power of two to the next. So arrays of similar size can use the same memory, and what
    is free is used before there is more.
    """
    sizes, size = [], least
    while 2 * size <= 3 * least:
        sizes.append(size + CACHE_LINE)
        size += max(4096, 1 << size.bit_length() - 4)
    return tuple(sizes)


def _watch(size: int) -> None:
    """Start the thread that returns free memory, once much has been allocated."""
    global _allocated, _watcher
    _allocated += size
    if _allocated < MIN_WATCHED_BYTES or (_watcher is not None and _watcher.is_alive()):
        return
    with _lock, suppress(RuntimeError):  # no thread starts when the interpreter ends
        if _watcher is None or not _watcher.is_alive():
            _watcher = threading.Thread(target=_return_idle_memory, name="memory-of-funcnn", daemon=True)
            _watcher.start()


def _return_idle_memory() -> None:
    """Return memory that has long been free; a thread does this, since the process may compute no more."""
    while True:
        time.sleep(1)
        with _lock:
            if _return_some():
                _trim()


def _return_some() -> int:
    """Return what has been free for some seconds, and the oldest of what is too much; how many bytes that were."""
    excess = sum(size * len(free) for size, free in list(_free_lists.items())) - MAX_FREE_BYTES
    released = 0
    for size, free in list(_free_lists.items()):
        kept = []
        for _ in range(len(free)):
            with suppress(IndexError):  # another thread took the last one
                found = free.popleft()
                found.seconds += 1
                if found.seconds <= IDLE_SECONDS and released >= excess:
                    kept.append(found)
                else:
                    released += size
        free.extendleft(reversed(kept))
    return released


def _trim() -> None:
    """Ask malloc to return to the system what was freed.

    glibc keeps much of it for its own next arrays otherwise; others have no such function, and Windows has no
    CDLL(None).
    """
    with suppress(AttributeError, OSError, TypeError):
        _c_library().malloc_trim(0)


@cache
def _c_library() -> ctypes.CDLL:
    """The functions of the C library, loaded once: ``ctypes`` makes classes for them that refer to themselves."""
    return ctypes.CDLL(None)


def _forget_watcher() -> None:
    """A forked child has no thread that watches."""
    global _watcher
    _watcher = None


hold_during_fork(_lock, _forget_watcher)
