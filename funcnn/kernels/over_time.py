"""What a sequence is reduced to: its sum, mean, maximum or last step, each as ``(y, pull)`` with its vjp.

A mask says which steps there are. The others take no part, whatever stands there, and a sequence without any step
gives zeros.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from funcnn.aliases import Array
from funcnn.kernels.products import wide_sum
from funcnn.kernels.selection import select

__all__ = ["Pull", "last_step", "max_over_time", "mean_over_time", "sum_over_time", "under_mask"]

Pull: TypeAlias = Callable[[Array], Array]


def under_mask(x: Array, mask: Array | None) -> Array:
    """x with zeros where the mask, which has its first axes, is False.

    Example:
        >>> under_mask(np.array([[[1.0], [np.nan]]]), np.array([[True, False]])).tolist()
        [[[1.0], [0.0]]]
    """
    return x if mask is None else select(x, _like(mask, x))


def sum_over_time(x: Array, mask: Array | None) -> tuple[Array, Pull]:
    """y = the sum of x_t over the steps t.

    Args:
        x: (batch, time, ...).
        mask: (batch, time), or None if all steps are there.

    Returns:
        ``(y, pull)``: (batch, ...), and ``pull(dy) -> dx``.

    Example:
        >>> sum_over_time(np.array([[[1.0], [2.0]]]), None)[0]
        array([[3.]])
    """
    total, pull = _sum(x, mask)
    return total.astype(x.dtype), pull


def mean_over_time(x: Array, mask: Array | None) -> tuple[Array, Pull]:
    """y = the mean of x_t over the steps t; arguments and result are those of ``sum_over_time``.

    Example:
        >>> mean_over_time(np.array([[[1.0], [2.0]]]), None)[0]
        array([[1.5]])
    """
    counts = np.full(len(x), x.shape[1]) if mask is None else mask.sum(1)
    weight = (1 / np.maximum(counts, 1)).reshape(-1, *[1] * (x.ndim - 2))
    total, pull = _sum(x, mask)
    return (total * weight).astype(x.dtype), lambda dy: pull(dy * weight.astype(x.dtype))


def _sum(x: Array, mask: Array | None) -> tuple[Array, Pull]:
    """``sum_over_time`` as it was added up, in wide floats."""

    def pull(dy: Array) -> Array:
        return under_mask(np.repeat(dy[:, None], x.shape[1], 1), mask)

    return wide_sum(under_mask(x, mask), 1), pull


def max_over_time(x: Array, mask: Array | None) -> tuple[Array, Pull]:
    """y = the largest x_t; its gradient goes to the first step that has it. The rest is as for ``sum_over_time``.

    Example:
        >>> max_over_time(np.array([[[1.0], [2.0]]]), None)[0]
        array([[2.]])
    """
    if not x.shape[1]:
        return sum_over_time(x, mask)  # zeros
    if mask is None:
        return _taken(x, np.argmax(x, 1)[:, None], None)
    found = np.argmax(np.where(_like(mask, x), x, -np.inf), 1)[:, None]
    # Where all steps are -inf, the first one that is there.
    first = _like(mask.argmax(1)[:, None], x)
    there = np.take_along_axis(np.broadcast_to(_like(mask, x), x.shape), found, 1)
    return _taken(x, np.where(there, found, first), np.any(mask, 1))


def last_step(x: Array, mask: Array | None) -> tuple[Array, Pull]:
    """y = the last x_t that is there; arguments and result are those of ``sum_over_time``.

    Example:
        >>> last_step(np.array([[[1.0], [2.0]]]), np.array([[True, False]]))[0]
        array([[1.]])
    """
    if mask is None:
        mask = np.ones(x.shape[:2], bool)
    place = x.shape[1] - 1 - mask[:, ::-1].argmax(1)
    return _taken(x, np.broadcast_to(_like(place[:, None], x), (len(x), 1, *x.shape[2:])), np.any(mask, 1))


def _taken(x: Array, places: Array, there: Array | None) -> tuple[Array, Pull]:
    """The elements of x at places along time; zeros for examples that have no step."""

    def pull(dy: Array) -> Array:
        dx = np.zeros_like(x)
        np.put_along_axis(dx, places, under_mask(dy, there)[:, None], 1)
        return dx

    return under_mask(np.take_along_axis(x, places, 1)[:, 0], there), pull


def _like(mask: Array, x: Array) -> Array:
    """A mask of the first axes with as many axes as x."""
    return mask.reshape(*mask.shape, *[1] * (x.ndim - mask.ndim))
