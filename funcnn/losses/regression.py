"""Losses between numbers: how far a prediction is from its target.

The gradient is the direction in which the loss grows; minus it leads to better predictions.
"""

from typing import Any

from funcnn.aliases import Array

__all__ = ["mean_squared_error"]


def mean_squared_error(y: Array, target: Any, *, weights: Any = None) -> tuple[float, Array]:
    """value = mean((y - t)²);  dy = 2 (y - t) / n, with n the number of elements.

    Args:
        y: predictions, floats of shape (batch, ...).
        target: numbers of exactly that shape.
        weights: how much each example counts, of shape (batch,), or of more of the first axes of ``y``; all the same
            by default.

    Returns:
        ``(value, dy)``: a Python float, the mean over all elements, and an array like ``y``.

    Raises:
        TypeError: ``y`` is no array of floats, or the target or the weights are no numbers.
        ValueError: the shapes differ, the batch is empty, or weights are negative, not finite or all zero.

    Example:
        >>> mean_squared_error(np.array([[1.0], [3.0]]), [[0.0], [1.0]])
        (2.5, array([[1.],
               [2.]]))

    Reference:
        Bishop (2006), Pattern Recognition and Machine Learning, eq. 1.2, there as half of a sum.
    """
    t = _target_like("mean_squared_error", y, target)
    shares = _shares(weights, y.shape, y.dtype)
    error = y - t
    return _mean(error * error, 2 * error, shares)
