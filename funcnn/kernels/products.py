"""Matrix products into memory of ours, which BLAS fills faster than fresh memory; sums are products with ones."""

import math
from functools import lru_cache
from typing import Any

import numpy as np

from funcnn.aliases import Array
from funcnn.engine.memory import empty
from funcnn.kernels.epilogue import Activation
from funcnn.kernels.implementations import accelerated

__all__ = ["last_axis_sum", "product", "row_sum", "wide_sum"]

MIN_COLUMNS_FOR_BLAS = 9


@accelerated
def product(a: Array, b: Array, plus: Array | None = None, activation: Activation | None = None) -> Array:
    """f(a b + plus), for matrices and stacks of matrices on the left.

    Args:
        a: (..., rows, inner).
        b: (inner, columns).
        plus: (columns,), added to each row; None for nothing.
        activation: f; None for the identity.

    Returns:
        (..., rows, columns).

    Example:
        >>> product(np.ones((2, 3)), np.ones((3, 1)))
        array([[3.],
               [3.]])
    """
    y = empty((*a.shape[:-1], b.shape[1]), a.dtype)
    if a.ndim > 2 and a.flags.c_contiguous:  # one product instead of many short ones
        np.matmul(a.reshape(math.prod(a.shape[:-1]), a.shape[-1]), b, out=y.reshape(-1, b.shape[1]))
    elif a.ndim == 2 and a.dtype == b.dtype and a.dtype.isnative:
        np.dot(a, b, out=y)  # as np.matmul, whose call takes longer
    else:
        np.matmul(a, b, out=y)
    if plus is not None:
        y += plus
    if activation is not None:
        activation(y)
    return y


def row_sum(x: Array) -> Array:
    """The sum over the rows of a matrix, as a product with ones: BLAS takes a third of the time of ``sum``.

    Args:
        x: (rows, columns).

    Returns:
        (columns,).

    Example:
        >>> row_sum(np.array([[1.0, 2.0], [3.0, 4.0]]))
        array([4., 6.])
    """
    total: Array = _ones(len(x), x.dtype).dot(x)  # the call takes half the time of np.dot
    return total


def last_axis_sum(x: Array) -> Array:
    """The sum over the last axis, which stays with size 1; as a product with ones, which takes a fifth of the time.

    Args:
        x: (..., columns).

    Returns:
        (..., 1).

    Example:
        >>> last_axis_sum(np.array([[1.0, 2.0], [3.0, 4.0]]))
        array([[3.],
               [7.]])
    """
    # Images have longer runs than the last axis. A few columns are added one by one, in any memory order.
    if not x.flags.c_contiguous or x.shape[-1] < MIN_COLUMNS_FOR_BLAS:
        return np.add.reduce(x, axis=-1, keepdims=True)
    total: Array = x.dot(_ones(x.shape[-1], x.dtype))
    return total[..., None]


def wide_sum(x: Array, axis: int | tuple[int, ...], keepdims: bool = False) -> Array:
    """The sum over some axes, in float64 at least: one by one, float32 counts no further than 2^24.

    NumPy adds neighbours in pairs, which keeps the digits, but the rows of any other axis one after the other.

    Args:
        x: floats.
        axis: those that are summed over.
        keepdims: whether they stay with size 1.

    Returns:
        Floats as wide as they were added, so that a mean of numbers whose sum is too large for float32 is none.

    Example:
        >>> wide_sum(np.ones((3, 2), np.float32), 0)
        array([3., 3.])
    """
    total: Array = x.sum(axis, np.result_type(x.dtype, np.float64), keepdims=keepdims)
    return total


@lru_cache(maxsize=64)
def _ones(n: int, dtype: np.dtype[Any]) -> Array:
    """A row of n ones, made once."""
    ones = np.ones(n, dtype)
    ones.flags.writeable = False
    return ones
