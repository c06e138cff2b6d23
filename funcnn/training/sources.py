"""Data sets larger than memory: arrays in HDF5, Zarr and mapped files, columns of tables, whatever can be indexed.

``Rows`` stands for such a data set where an array could stand. It reads the examples of a batch when they are asked
for, in the order in which they lie in the file, and never more than these and the chunks that hold them.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from funcnn import tree
from funcnn.aliases import Array
from funcnn.wording import what

__all__ = ["Rows", "readable", "subset"]

NO_SOURCE = (np.ndarray, np.generic, list, tuple, str, bytes, bytearray, range, Mapping)
"""What has a length and can be indexed, and is an array, or has no examples."""


class Rows:
    """Some or all examples of something that has a length and can be indexed, by slices or one by one.

    Args:
        source: what is read.
        shape: the number of examples in it, and the shape of one.
        dtype: that of an example.
        by_slice: whether it can be read by slices.
        index: the examples that are meant, and their order; None for all.
    """

    def __init__(
        self, source: Any, shape: tuple[int, ...], dtype: np.dtype[Any], by_slice: bool = True, index: Any = None
    ) -> None:
        self.source, self.by_slice, self.index, self.dtype = source, by_slice, index, dtype
        self.shape = shape if index is None else (len(index), *shape[1:])
        chunks = getattr(source, "chunks", None)
        self.chunk = int(chunks[0]) if isinstance(chunks, tuple) and chunks and isinstance(chunks[0], int) else 1

    @property
    def ndim(self) -> int:
        """The number of axes, with that of the examples."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> Any:
        """The examples at an int, a slice, an array of ints or a mask, as a plain array."""
        chosen = self.chosen(index)
        return self.read(np.atleast_1d(chosen))[0] if chosen.ndim == 0 else self.read(chosen)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        return np.asarray(self[:], dtype)

    def __repr__(self) -> str:
        return f"<Rows: {self.dtype} of shape {self.shape}, in a {type(self.source).__name__}>"

    def chosen(self, index: Any) -> Array:
        """The examples of the source at an index."""
        if isinstance(index, slice) and self.index is None:
            return np.arange(*index.indices(len(self)))
        found: Array = (np.arange(len(self)) if self.index is None else self.index)[index]
        return found

    def read(self, order: Array) -> Array:
        """These examples of the source: each once, sorted, with one read for all that are neighbours or in a chunk."""
        if isinstance(self.source, np.ndarray):
            return np.asarray(self.source[order])
        if not self.by_slice:
            found = np.empty((len(order), *self.shape[1:]), self.dtype)
            for row, i in enumerate(order):
                found[row] = self.checked(self.source[int(i)], self.shape[1:], int(i))
            return found
        wanted, place = np.unique(order, return_inverse=True)
        found = np.empty((len(wanted), *self.shape[1:]), self.dtype)
        starts = (np.diff(wanted) > 1) & (np.diff(wanted // self.chunk) > 0)
        bounds = [0, *(np.flatnonzero(starts) + 1), len(wanted)] if len(wanted) else []
        for i, j in pairwise(bounds):
            first, last = int(wanted[i]), int(wanted[j - 1])
            part = self.checked(self.source[first : last + 1], (last + 1 - first, *self.shape[1:]), first)
            found[i:j] = part[wanted[i:j] - first]
        return found[place]

    def checked(self, examples: Any, shape: tuple[int, ...], first: int) -> Array:
        """Examples from this one on, which are as the source's first one said that all are."""
        found = np.asarray(examples)
        if found.shape != shape or not np.can_cast(found.dtype, self.dtype, "same_kind"):
            raise ValueError(
                f"the examples of a {type(self.source).__name__} are {self.dtype} of shape {self.shape[1:]} by its "
                f"first one, but from index {first} on expected {shape}, got {found.dtype} of shape {found.shape}"
            )
        return found


def readable(kind: str, data: Any, name: str = "x") -> Any:
    """The same data, with a ``Rows`` for each leaf that is not an array, but has a length and can be indexed."""
    if isinstance(data, tuple):
        names = ("x", "target", "weights", *(f"data[{number}]" for number in range(3, len(data))))
        return tuple(readable(kind, part, name) for name, part in zip(names, data, strict=False))
    if isinstance(data, dict):
        return {key: readable(kind, part, f"{name}/{key}") for key, part in data.items()}
    return _rows(kind, data, name) if _is_source(data) else data


def subset(data: Any, index: Array) -> Any:
    """Some examples of all arrays; of what lies in a file, without reading it."""
    if isinstance(data, tuple):
        return tuple(subset(part, index) for part in data)
    return tree.map(lambda leaf: _subset(leaf, index), data)


def _subset(leaf: Any, index: Array) -> Any:
    """Some examples of one array."""
    if isinstance(leaf, Rows):
        return Rows(leaf.source, leaf.shape, leaf.dtype, leaf.by_slice, leaf.chosen(index))
    if isinstance(leaf, np.memmap):
        return Rows(leaf, leaf.shape, leaf.dtype, index=index)
    return leaf[index]


def _is_source(value: Any) -> bool:
    """Whether something is read by its indices. Frames and tensors are not: which axis is meant is not clear."""
    if isinstance(value, (Rows, *NO_SOURCE)) or hasattr(value, "iloc"):
        return False
    if not hasattr(type(value), "__getitem__"):
        return False
    if isinstance(getattr(value, "dtype", None), np.dtype):
        return isinstance(getattr(value, "shape", None), tuple) and len(value.shape) > 0
    return hasattr(type(value), "__len__") and not hasattr(value, "__array__")


def _rows(kind: str, source: Any, name: str) -> Rows:
    """The ``Rows`` of a source, whose first example is read."""
    expected = f"{kind}: expected {name} as an array or something that returns examples for x[a:b] or x[i]"
    last: Exception | None = None
    for by_slice in (True, False):
        try:
            n = source.shape[0] if isinstance(getattr(source, "shape", None), tuple) else len(source)
            first = np.asarray(source[0:1]) if by_slice else np.asarray(source[0])[None]
        except (OSError, MemoryError):
            raise
        except Exception as error:  # whatever it raises for an index of another kind, or if it is empty
            last = error
            continue
        if first.dtype.kind in "biuf" and (not by_slice or (first.ndim and len(first) == min(n, 1))):
            return Rows(source, (n, *first.shape[1:]), first.dtype, by_slice)
        raise TypeError(f"{expected}, got {what(source)}, whose examples are {_said(first)}; use one column of numbers")
    raise TypeError(f"{expected}, got {what(source)}, which raises {type(last).__name__}: {last}") from last


def _said(first: Array) -> str:
    """What examples are that are not numbers."""
    return f"{first.dtype} of shape {first.shape[1:]}" if first.ndim else "not arrays"
