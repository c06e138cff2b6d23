"""Rows of a table by their numbers, and the sums of gradients that come back to the same row.

Taking rows is a product with a matrix of zeros and ones, a single one in each row, that is never written out. Its
transpose adds the gradients up, and SciPy does this as a sparse product: one pass, in the order of the numbers, so that
the bits are always the same. A long sum in float32 loses its last digits, so those of frequent numbers are cut.
"""

from __future__ import annotations

import numpy as np

from funcnn.aliases import Array
from funcnn.engine.memory import empty

__all__ = ["added_rows", "taken_rows"]

MAX_TERMS = 2**16
"""The longest sum in float32, whose error is below 1e-3; shorter inputs need not even be counted."""


def taken_rows(table: Array, numbers: Array) -> Array:
    """The rows of a table.

    Args:
        table: (count, units).
        numbers: integers in [0, count) of any shape.

    Returns:
        (*numbers.shape, units).

    Example:
        >>> taken_rows(np.array([[1.0], [2.0]]), np.array([[1, 1, 0]])).tolist()
        [[[2.0], [2.0], [1.0]]]
    """
    found = empty((*numbers.shape, *table.shape[1:]), table.dtype)
    np.take(table, numbers, axis=0, out=found, mode="clip")  # another mode would copy what it has taken
    return found


def added_rows(rows: Array, numbers: Array, count: int) -> Array:
    """A table to which each row was added at its number: the vjp of ``taken_rows``.

    Args:
        rows: (n, units).
        numbers: (n,), integers in [0, count).
        count: the rows of the table.

    Returns:
        (count, units).

    Example:
        >>> added_rows(np.array([[1.0], [2.0], [4.0]]), np.array([1, 1, 0]), 3).tolist()
        [[4.0], [3.0], [0.0]]
    """
    if rows.dtype.itemsize < 8 and len(numbers) > MAX_TERMS:
        counts = np.bincount(numbers.astype(np.intp, copy=False), minlength=count)
        if counts.max() > MAX_TERMS:
            return _added_in_blocks(rows, numbers, count, np.flatnonzero(counts > MAX_TERMS))
    return _added(rows, numbers, count)


def _added_in_blocks(rows: Array, numbers: Array, count: int, frequent: Array) -> Array:
    """The same; frequent numbers have a row for each block of ``MAX_TERMS`` rows, and these are added up in the end."""
    places = np.full(count, -1)
    places[frequent] = np.arange(len(frequent))
    place, block = places[numbers], np.arange(len(numbers)) // MAX_TERMS
    blocks = int(block[-1]) + 1
    own = np.where(place < 0, numbers.astype(np.intp, copy=False), count + place * blocks + block)
    total, parts = np.split(_added(rows, own, count + len(frequent) * blocks), [count])
    with np.errstate(over="ignore", invalid="ignore"):  # as SciPy adds
        total[frequent] = parts.reshape(len(frequent), blocks, -1).sum(1, dtype=np.float64)
    return total


def _added(rows: Array, numbers: Array, count: int) -> Array:
    """The same, in one pass."""
    from scipy.sparse import csc_array  # type: ignore[import-untyped]

    # Column i has its single one in row numbers[i].
    ones, places = np.ones(len(numbers), rows.dtype), np.arange(len(numbers) + 1)
    total: Array = csc_array((ones, numbers, places), shape=(count, len(numbers))) @ rows
    return total
