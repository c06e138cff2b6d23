"""A metric of numbers: how much better the predictions are than the mean of the targets.

Unlike a mean squared error it has no unit, so that it can be compared between data sets.
"""

import numpy as np

from funcnn import checks
from funcnn.aliases import Array

__all__ = ["r2"]


def r2(y: Array, target: Array, *, weights: Array | None = None) -> float:
    """R² = 1 - Σ (t - y)² / Σ (t - mean(t))², the coefficient of determination.

    With several outputs, it is averaged over them. If a target is the same in all examples, there is no variance to
    explain: R² is 1 if every prediction is exact, and 0 otherwise.

    Args:
        y: predictions of shape (n, ...).
        target: numbers of the shape of ``y``.
        weights: how much each example counts, of shape (n,); by default all count the same.

    Returns:
        1 if all predictions are exact, 0 if they are no better than the mean; there is no lower bound.

    Raises:
        TypeError: predictions, targets or weights are not numbers.
        ValueError: the shapes differ, a number is not finite, weights are negative, not finite or all zero, or fewer
            than two examples count: one has no variance to explain.

    Example:
        >>> r2(np.array([[2.5], [0.0], [2.0], [8.0]]), np.array([[3.0], [-0.5], [2.0], [7.0]]))
        0.9486081370449679

    Reference:
        Draper & Smith, Applied Regression Analysis (1998), equation 1.3.9.
    """
    p, t = _numbers("predictions", y), _numbers("targets", target)
    if p.shape != t.shape or not p.size:
        raise ValueError(f"r2: expected predictions and a target of one shape (n, ...), got {p.shape} and {t.shape}")
    p, t = p.reshape(len(p), -1), t.reshape(len(t), -1)
    w = checks.weights(weights, (len(t),), "r2")
    if np.count_nonzero(w) < 2:
        raise ValueError("R² is undefined for fewer than two examples that count: one has no variance to explain")
    w /= w.sum()
    # Relative to one of the examples, a constant target is exactly 0, and so is its variance.
    centred = t - t[w.argmax()]
    unexplained, variance = w @ (t - p) ** 2, w @ (centred - w @ centred) ** 2
    constant = variance == 0
    fraction = np.where(constant, unexplained > 0, unexplained / np.where(constant, 1, variance))
    return float(np.mean(1 - fraction))


def _numbers(what: str, values: Array) -> Array:
    """Finite numbers as float64, with an axis of examples."""
    array: Array = np.asarray(values)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"r2: expected {what} as numbers, got an array of {array.dtype}")
    if not array.ndim:
        raise ValueError(f"r2: expected {what} of shape (n, ...), got a single number")
    if not np.isfinite(array).all():
        raise ValueError(f"r2: the {what} contain NaN or infinity; has training diverged?")
    return array.astype(np.float64)
