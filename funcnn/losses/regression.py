"""Losses between numbers: how far a prediction is from its target.

With weights w, the mean of the losses l is Σ w l / Σ w, over the losses with a weight above 0: what stands beside a
weight of 0, a missing target or NaN, counts nothing.
"""

from __future__ import annotations

from numpy.typing import ArrayLike

from funcnn.aliases import Array
from funcnn.calls import explained
from funcnn.losses.targets import check_prediction, mean_and_gradient, normalized_weights, target_like

__all__ = ["mean_squared_error"]


@explained
def mean_squared_error(y: Array, target: ArrayLike, *, weights: ArrayLike | None = None) -> tuple[float, Array]:
    """value = mean((y - t)²);  dy = 2 (y - t) / n, with n the number of elements.

    Args:
        y: predictions, floats of shape (batch, ...).
        target: numbers of the shape of ``y``.
        weights: how much each example counts, of shape (batch,), or of the shape of more leading axes of ``y``; by
            default all count the same.

    Returns:
        ``(value, dy)``: a Python float, the mean over all n elements, and an array like ``y``.

    Raises:
        TypeError: ``y`` is not an array of floats, or the target or the weights are not numbers.
        ValueError: the shapes differ, the batch is empty, or weights are negative, not finite or all zero.

    Example:
        >>> import numpy as np
        >>> mean_squared_error(np.array([[1.0], [3.0]]), [[0.0], [1.0]])
        (2.5, array([[1.],
               [2.]]))

    Reference:
        Bishop (2006), Pattern Recognition and Machine Learning, eq. 1.2, which is half of the sum.
    """
    check_prediction("mean_squared_error", y)
    t = target_like("mean_squared_error", y, target)
    w = normalized_weights("mean_squared_error", weights, y.shape, y.dtype)
    return mean_and_gradient(_squares, y, t, w)


def _squares(y: Array, t: Array, careful: bool) -> tuple[Array, Array]:
    error = y - t
    return error * error, 2 * error
