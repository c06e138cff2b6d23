"""Matrix products into memory of ours, which BLAS fills faster than fresh memory."""

import numpy as np

from funcnn.aliases import Array
from funcnn.engine.memory import empty

__all__ = ["product"]


def product(a: Array, b: Array) -> Array:
    """a b, for matrices and stacks of matrices on the left.

    Args:
        a: (..., rows, inner).
        b: (inner, columns).

    Returns:
        (..., rows, columns).

    Example:
        >>> product(np.ones((2, 3)), np.ones((3, 1)))
        array([[3.],
               [3.]])
    """
    return np.matmul(a, b, out=empty((*a.shape[:-1], b.shape[1]), a.dtype))
