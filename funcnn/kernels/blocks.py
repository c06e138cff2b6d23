"""A function of single elements that takes many passes makes them over one block after the other.

A block, its results and the scratch memory of a function stay in a core's cache, where a pass takes half of the time.
"""

from __future__ import annotations

from collections.abc import Callable

from funcnn.aliases import Array
from funcnn.engine.memory import axes_in_memory, empty, empty_like

__all__ = ["in_blocks"]

BLOCK_BYTES = 512 * 1024
"""The part of an array that is worked on at a time: some of them fit in a second-level cache. One thread would like a
quarter of it, but two threads wait for each other at each call, and shorter calls take twice as long."""


def in_blocks(fill: Callable[..., None], x: Array, results: int, scratch: int = 0) -> tuple[Array, ...]:
    """What a function makes of each element.

    Args:
        fill: ``fill(x, *results, *scratch)`` writes to its results for a part of the elements, all of one axis.
        x: any array.
        results: how many there are.
        scratch: how many arrays it gets besides, for what it needs in between.

    Returns:
        New arrays like ``x``, in its memory order.

    Example:
        >>> import numpy as np
        >>> def fill(x, double, square):
        ...     np.add(x, x, out=double)
        ...     np.multiply(x, x, out=square)
        >>> double, square = in_blocks(fill, np.array([[1.0, 3.0]]), 2)
        >>> double, square
        (array([[2., 6.]]), array([[1., 9.]]))
    """
    found = tuple(empty_like(x) for _ in range(results))
    order = list(range(x.ndim)) if x.flags.c_contiguous else axes_in_memory(x)
    flat = [array.transpose(order).reshape(-1) for array in (x, *found)]
    step = BLOCK_BYTES // x.itemsize
    rest = [empty((min(step, x.size),), x.dtype) for _ in range(scratch)]
    for first in range(0, x.size, step):
        parts = [array[first : first + step] for array in flat]
        fill(*parts, *(array[: len(parts[0])] for array in rest))
    return found
