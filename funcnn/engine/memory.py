"""A large array moves into memory that an earlier one has left, since fresh memory may cost more than the arithmetic.

The system hands out fresh memory page by page, at a fault each, and malloc lets an array begin anywhere, though vector
instructions are up to three times faster from the start of a cache line on. So a large array borrows a block of ours::

    array, its views, their views ... -> lease -> block     When the last of them dies the lease dies, and
                                           |        ^       its block waits for the next array of its size.
                                           +-> _idle +

Nobody can see memory that is used again: whoever still looks at it keeps the lease alive.
"""

import math
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from funcnn.aliases import Array

__all__ = ["aligned", "axes_in_memory", "empty", "empty_like"]

LEAST = 64 * 1024
"""Bytes from which on an array gets a block; smaller ones stay in the cache wherever they are."""

MOST = 512 * 1024 * 1024
"""Bytes that may lie idle; what comes back beyond them goes to the system."""

CACHE_LINE = 64

_idle: dict[int, list[tuple[bytearray, int]]] = {}
_held = 0
_lock = threading.Lock()


class _Lease:
    """Stands between an array and its block: NumPy keeps it alive, as the ``base`` of the array and of all views."""

    __slots__ = ("__array_interface__", "address", "block")

    def __init__(self, block: bytearray, address: int, shape: Sequence[int], typestr: str) -> None:
        self.block, self.address = block, address
        self.__array_interface__ = {"version": 3, "shape": tuple(shape), "typestr": typestr, "data": (address, False)}

    def __del__(self) -> None:
        global _held
        size = len(self.block)
        # Never wait here: arrays die anywhere, even in the thread that holds the lock. Then the system has the block.
        if _held + size <= MOST and _lock.acquire(blocking=False):
            _idle.setdefault(size, []).append((self.block, self.address))
            _held += size
            _lock.release()


def empty(shape: Sequence[int], dtype: Any) -> Array:
    """An array of any content, as from ``np.empty``; a large one begins at the start of a cache line.

    Args:
        shape: its shape.
        dtype: its dtype.

    Returns:
        A C-contiguous array.

    Example:
        >>> empty((2, 3), np.float32).shape
        (2, 3)
    """
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    if size < LEAST:
        return np.empty(shape, dtype)
    return np.asarray(_Lease(*_block(size), shape, dtype.str))


def aligned(a: Array) -> Array:
    """A copy that begins at the start of a cache line, though it may be small: for what is read many times.

    Example:
        >>> aligned(np.ones(3)).ctypes.data % CACHE_LINE
        0
    """
    copy = empty([max(a.size, LEAST // a.itemsize)], a.dtype)[: a.size].reshape(a.shape)
    copy[...] = a
    return copy


def empty_like(x: Array, shape: Sequence[int] | None = None, dtype: Any = None) -> Array:
    """An array of any content, with the axes in the order in which those of ``x`` lie in memory.

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
    return empty([shape[axis] for axis in order], dtype).transpose(np.argsort(order))


def axes_in_memory(x: Array) -> list[int]:
    """The axes of an array from the outermost in memory to the innermost.

    Example:
        >>> axes_in_memory(np.zeros((2, 3)).T)
        [1, 0]
    """
    return sorted(range(x.ndim), key=lambda axis: (-abs(x.strides[axis]), axis))


def _block(size: int) -> tuple[bytearray, int]:
    """A block for so many bytes and the address of a cache line in it.

    It is the one that came back last, which may be in the cache still, or a new one. There are eight sizes from one
    power of two to the next, so that arrays of about one size may follow each other.
    """
    global _held
    step = max(4096, 1 << size.bit_length() - 4)
    size = -(-size // step) * step + CACHE_LINE
    if _idle.get(size) and _lock.acquire(blocking=False):
        try:
            if waiting := _idle[size]:
                _held -= size
                return waiting.pop()
        finally:
            _lock.release()
    block = bytearray(size)
    address = np.frombuffer(block, np.uint8).ctypes.data
    return block, address + -address % CACHE_LINE
