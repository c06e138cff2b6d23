"""A metric of numbers: how much better the predictions are than the mean of the targets.

Unlike a mean squared error it has no unit, so that it can be compared between data sets.
"""

from __future__ import annotations

import numpy as np

from funcnn.aliases import Array
from funcnn.metrics.inputs import numbers, relative_weights

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
    w, _, counts = relative_weights("r2", weights, len(t))
    p, t = _finite("predictions", p[counts]), _finite("targets", t[counts])
    if len(t) < 2:
        raise ValueError("r2 is undefined for fewer than two examples that count: one has no variance to explain")
    w = w / w.sum()
    # Relative to one of the examples, a constant target is exactly 0, and so is its variance.
    centred = t - t[w.argmax()]
    unexplained, error_exponent = _mean_square(t - p, w)
    variance, spread_exponent = _mean_square(centred - w @ centred, w)
    constant = variance == 0
    with np.errstate(over="ignore"):
        fraction = np.ldexp(unexplained / np.where(constant, 1, variance), 2 * (error_exponent - spread_exponent))
        return float(np.mean(1 - np.where(constant, unexplained > 0, fraction)))


def _mean_square(x: Array, w: Array) -> tuple[Array, Array]:
    """Σ w x² of each column in units of 4**exponent, so that squares neither overflow nor vanish; and the exponents."""
    exponent = np.frexp(np.abs(x).max(0))[1]
    scaled = np.ldexp(x, -exponent)
    return w @ (scaled * scaled), exponent


def _numbers(what: str, values: Array) -> Array:
    """Numbers as an array with an axis of examples."""
    array = numbers("r2", values, what)
    if array.dtype.kind == "b":
        raise TypeError(f"r2: expected {what} as numbers, got an array of {array.dtype}")
    if not array.ndim:
        raise ValueError(f"r2: expected {what} of shape (n, ...), got a single number")
    return array


def _finite(what: str, array: Array) -> Array:
    """Finite numbers as half of their values in float64, of which no difference overflows: (n, outputs)."""
    if not np.isfinite(array).all():
        raise ValueError(f"r2: the {what} contain NaN or infinity; has training diverged?")
    return 0.5 * array.reshape(len(array), -1).astype(np.float64)
