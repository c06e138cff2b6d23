"""Matrix products into memory of ours, which BLAS fills faster than fresh memory."""

import numpy as np

from funcnn.aliases import Array
from funcnn.engine.memory import empty

__all__ = ["product"]


def product(a: Array, b: Array, plus: Array | None = None) -> Array:
    """a b + plus, for matrices and stacks of matrices on the left.

    Args:
        a: (..., rows, inner).
        b: (inner, columns).
        plus: (columns,), added to each row; None for nothing.

    Returns:
        (..., rows, columns).

    Example:
        >>> product(np.ones((2, 3)), np.ones((3, 1)))
        array([[3.],
               [3.]])
    """
    y = np.matmul(a, b, out=empty((*a.shape[:-1], b.shape[1]), a.dtype))
    if plus is not None:
        y += plus
    return y
