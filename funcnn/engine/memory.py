"""A large array uses memory that an earlier one has released, since new memory may cost more than the arithmetic.

The system maps new memory page by page, with a page fault for each, and malloc aligns an array to 16 bytes, though
vector instructions are up to three times faster from the start of a cache line. So a large array gets a pooled buffer::

    array, its views, their views ... -> _PooledBuffer -> bytearray     When the last of them is deleted, so is the
                                               |              ^         _PooledBuffer, which puts its memory on a free
                                               +-> free list -+         list, for the next array of its size.

Memory is never used for two arrays at once: each view keeps the ``_PooledBuffer`` alive.
"""

import ctypes
import math
import os
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from funcnn.aliases import Array

__all__ = ["aligned", "axes_in_memory", "empty", "empty_like", "release_memory"]

MIN_POOLED_BYTES = 64 * 1024
"""The size of the smallest array that gets a pooled buffer; a smaller one stays in the cache wherever it is."""

MIN_POOLED_ELEMENTS = MIN_POOLED_BYTES // np.dtype(np.float64).itemsize
"""Arrays of fewer elements are small for every dtype of the library, so that their dtype need not be looked at."""

MAX_FREE_BYTES = 512 * 1024 * 1024
"""The most memory on the free lists; a buffer that would exceed it is returned to the system."""

CACHE_LINE = 64
"""Bytes in a cache line."""

_free_lists: dict[int, list[tuple[bytearray, int]]] = {}
"""For each size in bytes the free memory, and in it the address of the start of a cache line."""
_free_bytes = 0
_lock = threading.Lock()


class _PooledBuffer:
    """Owns the memory of an array: NumPy keeps it alive as the ``base`` of the array and of all views."""

    __slots__ = ("__array_interface__", "address", "memory")

    def __init__(self, memory: bytearray, address: int, shape: Sequence[int], typestr: str) -> None:
        self.memory, self.address = memory, address
        self.__array_interface__ = {"version": 3, "shape": tuple(shape), "typestr": typestr, "data": (address, False)}

    def __del__(self) -> None:
        global _free_bytes
        size = len(self.memory)
        # Never wait here: an array may be deleted anywhere, even by the thread that holds the lock. Without the lock
        # the memory is returned to the system.
        if _free_bytes + size <= MAX_FREE_BYTES and _lock.acquire(blocking=False):
            _free_lists.setdefault(size, []).append((self.memory, self.address))
            _free_bytes += size
            _lock.release()


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
    return np.asarray(_PooledBuffer(*_allocate(size), shape, dtype.str))


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


def aligned(a: Array) -> Array:
    """A copy that begins at the start of a cache line even if it is small: for an array that is read many times.

    Args:
        a: any array.

    Returns:
        A C-contiguous array with the elements of ``a``.

    Example:
        >>> aligned(np.ones(3)).ctypes.data % CACHE_LINE
        0
    """
    copy = empty([max(a.size, MIN_POOLED_BYTES // a.itemsize)], a.dtype)[: a.size].reshape(a.shape)
    copy[...] = a
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

    The free lists and, while tasks run, the number of threads of BLAS are the only process-wide state of funcnn. No
    result depends on either.

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
    global _free_bytes
    with _lock:
        released, _free_bytes = _free_bytes, 0
        _free_lists.clear()
    # glibc keeps much of what is freed for its own next arrays, unless it is asked to return it; others have no such
    # function, and Windows has no CDLL(None).
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
    return released


def _allocate(size: int) -> tuple[bytearray, int]:
    """Memory for an array of ``size`` bytes, and the address of the start of a cache line in it.

    It is the memory that was freed last, which may still be in the cache, or new memory. There are eight sizes from one
    power of two to the next, so that arrays of similar size can use the same memory.
    """
    global _free_bytes
    step = max(4096, 1 << size.bit_length() - 4)
    size = -(-size // step) * step + CACHE_LINE
    if _free_lists.get(size) and _lock.acquire(blocking=False):
        try:
            if free := _free_lists.get(size):
                _free_bytes -= size
                return free.pop()
        finally:
            _lock.release()
    memory = bytearray(size)
    address = np.frombuffer(memory, np.uint8).ctypes.data
    return memory, address + -address % CACHE_LINE


if hasattr(os, "register_at_fork"):
    # The forking thread holds the lock, so that the child's lock is free and its free lists are complete.
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)
