"""The validators of what layers of sequences take: tokens, masks, states and lengths.

Each raises an error that says what was expected, what came and how to make it right.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from funcnn.aliases import Array, Shape
from funcnn.checks.arguments import prefix
from funcnn.checks.arrays import PLAIN, plain
from funcnn.wording import what

__all__ = ["lengths", "mask", "state", "tokens"]


def tokens(kind: str, x: Any, count: int | None, rank: int | None = None) -> None:
    """Raise if x is not a batch of integers, in [0, count) and of ``rank`` axes if these are given.

    Example:
        >>> tokens("embedding", np.array([[2, 0]]), 3)
    """
    if type(x) not in PLAIN:
        plain(kind, x)
        raise TypeError(f"{kind}: expected an array of integer tokens, got {type(x).__name__}; use np.asarray(x)")
    if x.dtype.kind not in "iu":
        raise TypeError(
            f"{kind}: expected integer tokens, got {x.dtype}; use x.astype(np.int64), and fn.spec(shape, int) for init"
        )
    if not x.ndim or (rank is not None and x.ndim != rank):
        axes = "(batch, ...)" if rank is None else "(batch, tokens)"
        raise ValueError(f"{kind}: expected tokens of shape {axes}, got {x.shape}")
    if count is not None and x.size and (x.min() < 0 or x.max() >= count):
        position = tuple(int(n) for n in np.argwhere((x < 0) | (x >= count))[0])
        raise ValueError(f"{kind}: expected tokens from 0 to {count - 1}, got {x[position]} at position {position}")


def mask(kind: str, value: Any, shape: Shape, words: str = "batch, time") -> Array:
    """A boolean array of this shape, True where there is data.

    Example:
        >>> mask("lstm", np.array([[True, False]]), (1, 2))
        array([[ True, False]])
    """
    found: Array = value
    if type(value) in PLAIN and value.dtype == bool and value.shape == shape:
        return found
    expected = f"{prefix(kind)}expected a mask of bool, True where there is data, of shape ({words}) = {shape}"
    if type(value) not in PLAIN:
        plain(kind, value, "a mask")
        raise TypeError(f"{expected}, got {what(value)}; use np.asarray(mask, bool)")
    if value.dtype != bool:
        raise TypeError(f"{expected}, got {value.dtype}; use mask.astype(bool)")
    raise ValueError(f"{expected}, got {value.shape}")


def state(kind: str, name: str, value: Any, shape: Shape, dtype: np.dtype[Any]) -> Array:
    """A state of a recurrent layer, of this shape and of the dtype of its input.

    Example:
        >>> state("lstm", "h", np.zeros((1, 2)), (1, 2), np.dtype(float))
        array([[0., 0.]])
    """
    found: Array = value
    if type(value) in PLAIN and value.shape == shape and value.dtype.char == dtype.char:
        return found
    expected = f"{prefix(kind)}expected the state {name!r} as an array of shape {shape} and of {dtype.name}, like x"
    if type(value) not in PLAIN:
        plain(kind, value, f"the state {name!r}")
        raise TypeError(f"{expected}, got {what(value)}")
    if value.shape != shape:
        raise ValueError(f"{expected}, got shape {value.shape}")
    raise TypeError(f"{expected}, got {value.dtype}; use state.astype(np.{dtype.name})")


def lengths(kind: str, value: Any, batch: int, time: int) -> Array:
    """The lengths of the sequences of a batch: (batch,) integers from 0 to ``time``.

    Example:
        >>> lengths("lstm", np.array([2, 0]), 2, 3)
        array([2, 0])
    """
    expected = f"{prefix(kind)}expected lengths as integers of shape (batch,) = ({batch},)"
    if type(value) not in PLAIN:
        plain(kind, value, "lengths")
        raise TypeError(f"{expected}, got {what(value)}; use np.asarray(lengths)")
    if value.dtype.kind not in "iu":
        raise TypeError(f"{expected}, got {value.dtype}; use lengths.astype(np.int64)")
    if value.shape != (batch,):
        raise ValueError(f"{expected}, got {value.shape}")
    if value.size and (value.min() < 0 or value.max() > time):
        place = int(np.argmax((value < 0) | (value > time)))
        raise ValueError(
            f"{prefix(kind)}expected lengths from 0 to {time}, the length of the sequences, got {value[place]} at "
            f"position {place}"
        )
    found: Array = value
    return found
