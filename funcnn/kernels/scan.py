"""A recurrence takes one step after the other, and its reverse pass takes the steps back from the last to the first.

Whatever the recurrence, its states are arrays of (batch, units) that a step replaces. At a step that
is masked for an example the state stays, and in the reverse pass its gradient passes unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from funcnn.aliases import Array
from funcnn.kernels.selection import select

__all__ = ["Held", "held_at", "scan", "scan_back", "time_first"]

States: TypeAlias = tuple[Array, ...]
Held: TypeAlias = Sequence[Array | None]
"""For each step the examples whose state stays, (batch, 1); None if there are none."""


def time_first(x: Array, mask: Array | None = None) -> Array:
    """(batch, time, n) as memory of (time, batch, n), with zeros where the mask is False.

    Example:
        >>> time_first(np.array([[[1.0], [np.nan]]]), np.array([[True, False]])).tolist()
        [[[1.0]], [[0.0]]]
    """
    moved = np.ascontiguousarray(x.swapaxes(0, 1), x.dtype.newbyteorder("="))
    return moved if mask is None else select(moved, mask.T[:, :, None])


def held_at(mask: Array | None, steps: int) -> Held:
    """What a mask (batch, time) says for each step.

    Example:
        >>> held_at(np.array([[True, False]]), 2)
        [None, array([[ True]])]
    """
    if mask is None:
        return [None] * steps
    return [~mask[:, step, None] if not mask[:, step].all() else None for step in range(steps)]


def scan(step: Callable[..., States], states: States, held: Held) -> States:
    """The states after the last step.

    Args:
        step: ``step(t, *states) -> states``, in new memory, into which held states are then written.
        states: those before the first step.
        held: one for each step.

    Example:
        >>> scan(lambda t, total: (total + t,), (np.zeros((1, 1)),), [None] * 4)
        (array([[6.]]),)
    """
    for t, stays in enumerate(held):
        new = step(t, *states)
        if stays is not None:
            for after, before in zip(new, states, strict=True):
                np.copyto(after, before, where=stays.reshape(-1, *[1] * (after.ndim - 1)))
        states = new
    return states


def scan_back(pull: Callable[..., States], gradients: States, held: Held) -> States:
    """The gradients of the states before the first step: the vjp of ``scan``.

    Args:
        pull: ``pull(t, *gradients) -> gradients``, the vjp of a step; it is linear, and zeros stay zeros.
        gradients: those of the states after the last step; ``pull`` may write to what it returned before.
        held: as in ``scan``.

    Example:
        >>> scan_back(lambda t, d: (2 * d,), (np.ones((1, 1)),), [None] * 4)
        (array([[16.]]),)
    """
    for t in range(len(held) - 1, -1, -1):
        stays = held[t]
        if stays is None:
            gradients = pull(t, *gradients)
            continue
        masks = [stays.reshape(-1, *[1] * (d.ndim - 1)) for d in gradients]
        kept = [select(d, where) for d, where in zip(gradients, masks, strict=True)]
        moved = pull(t, *(select(d, ~where) for d, where in zip(gradients, masks, strict=True)))
        gradients = tuple(np.add(d, stayed) for d, stayed in zip(moved, kept, strict=True))
    return gradients
