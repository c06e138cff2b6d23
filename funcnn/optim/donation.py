"""What must hold before a step writes into arrays that it was given: they are writeable, and their memory is theirs.

An array that is written while another one reads or writes the same memory would give other numbers than the pure step.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy import ndarray
from numpy.lib.array_utils import byte_bounds

from funcnn.aliases import Array
from funcnn.engine.memory import _PooledBuffer

__all__ = ["check_donated", "copied_where_shared"]

OWNERS = (_PooledBuffer, bytearray, bytes)
"""What owns memory and is known by one name: unpickled arrays, for example, are in bytes of their own."""

Place = tuple[int, int]
"""The number of a tree and of a leaf in it."""


def check_donated(leaves: Sequence[Sequence[Any]], written: Sequence[int], name: Callable[[Place], str]) -> None:
    """Raise if a leaf that will be written is read-only or shares memory with another leaf.

    Args:
        leaves: the leaves of parameters, gradients and slots, None where there is none.
        written: the numbers of the trees that are written, where there is a gradient.
        name: what the leaf at a place is, for messages.

    Raises:
        ValueError: as said.
    """
    for number in written:
        for i, (leaf, g) in enumerate(zip(leaves[number], leaves[1], strict=True)):
            if leaf is None or g is None:
                continue
            flags = leaf.flags
            if flags.carray:  # writeable, without gaps: the usual case in one look
                continue
            if not flags.writeable:
                raise ValueError(f"{name((number, i))} is read-only, so it cannot be donated; use a copy")
            if _overlaps_itself(leaf):
                raise ValueError(f"{name((number, i))} overlaps itself, so it cannot be donated; use a copy")
    for one, other in _sharing(leaves, written):
        if any(number in written and leaves[1][i] is not None for number, i in (one, other)):
            raise ValueError(f"{name(one)} and {name(other)} share memory, so they cannot be donated; use copies")


def copied_where_shared(leaves: Sequence[Any], written: Sequence[Any]) -> list[Any]:
    """The leaves, with a copy of each that shares memory with one that will be written."""
    shared = {place[1] for pair in _sharing([leaves, written], [1]) for place in pair if pair[0][0] != pair[1][0]}
    return [leaf.copy() if i in shared and leaf is not None else leaf for i, leaf in enumerate(leaves)]


def _sharing(leaves: Sequence[Sequence[Any]], written: Collection[int]) -> Iterator[tuple[Place, Place]]:
    """The pairs of places whose arrays share memory, one of them in a tree that is written."""
    to_write: list[int | None] = []
    to_read: set[int | None] = set()
    for number, column in enumerate(leaves):
        owners = [id(leaf) if leaf.base is None else _owner(leaf) for leaf in column if isinstance(leaf, ndarray)]
        (to_write.extend if number in written else to_read.update)(owners)
    if None not in to_read and None not in to_write and len({*to_write, *to_read}) == len(to_write) + len(to_read):
        return  # as nearly always: each array that is written is in memory of its own
    groups: dict[int | None, list[tuple[Place, Array]]] = {}
    for number, column in enumerate(leaves):
        for i, leaf in enumerate(column):
            if isinstance(leaf, ndarray):
                groups.setdefault(_owner(leaf), []).append(((number, i), leaf))
    if None in groups:
        groups = {None: [place for group in groups.values() for place in group]}
    for group in groups.values():
        if len(group) > 1 and any(place[0] in written for place, _ in group):
            yield from _overlapping(group)


def _owner(array: Any) -> int | None:
    """What tells whose memory an array is in; None for that of another library, which may be known by two names."""
    base = array.base
    while isinstance(base, ndarray | memoryview):
        array, base = base, base.base if isinstance(base, ndarray) else base.obj
    if base is None:
        return id(array) if isinstance(array, ndarray) else None
    return id(base) if isinstance(base, OWNERS) else None


def _overlapping(group: Sequence[tuple[Place, Array]]) -> Iterator[tuple[Place, Place]]:
    """The pairs of arrays whose elements overlap, found by their addresses."""
    ranges = sorted(((*_bounds(array), place, array) for place, array in group if array.size), key=lambda r: r[:3])
    if all(stop <= start for (_, stop, *_), (start, *_) in pairwise(ranges)):
        return
    for n, (_, stop, place, array) in enumerate(ranges):
        for start, _, other_place, other in ranges[n + 1 :]:
            if start >= stop:
                break
            if np.shares_memory(array, other):
                yield place, other_place


def _bounds(array: Array) -> tuple[int, int]:
    """The addresses of an array's first byte, and of the one after its last."""
    if array.flags.c_contiguous:
        first: int = array.__array_interface__["data"][0]
        return first, first + array.nbytes
    return byte_bounds(array)


def _overlaps_itself(array: Array) -> bool:
    """Whether two elements may have one address, as in a broadcast array."""
    end = array.itemsize
    for stride, size in sorted((abs(stride), size) for stride, size in zip(array.strides, array.shape, strict=True)):
        if size > 1 and stride < end:
            return array.size > 0
        end += stride * (size - 1) if size > 1 else 0
    return False
