"""Losses between numbers: how far a prediction is from its target.

They differ in how much large errors count: squares, which the mean minimizes, follow a single outlier; absolute values,
which the median minimizes, do not; most others lie between.
"""

from __future__ import annotations

from funcnn.aliases import Array
from funcnn.losses.kinds import number_loss

__all__ = ["mean_squared_error"]


@number_loss
def mean_squared_error(y: Array, t: Array, careful: bool) -> tuple[Array, Array]:
    """value = mean((y - t)²);  dy = 2 (y - t) / n, with n the number of elements.

    Args:
        y: predictions, floats of shape (batch, ...).
        target: numbers of the shape of ``y``.
        {options}

    {returns}

    Example:
        >>> import numpy as np
        >>> mean_squared_error(np.array([[1.0], [3.0]]), [[0.0], [1.0]])
        (2.5, array([[1.],
               [2.]]))

    Reference:
        Bishop (2006), Pattern Recognition and Machine Learning, eq. 1.2, which is half of the sum.
    """
    error = y - t
    return error * error, 2 * error
