"""Metrics of numbers: how far the predictions are from the targets, and how much better they are than the mean.

``mae`` and ``rmse`` have the unit of the targets; ``r2`` has none, so that it can be compared between data sets. Like
all metrics they take predictions first, then targets: ``r2`` of swapped arguments is another number.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, overload

import numpy as np

from funcnn.aliases import Array
from funcnn.calls import explained
from funcnn.metrics.inputs import numbers, relative_weights
from funcnn.wording import shown

__all__ = ["mae", "r2", "rmse"]

OutputAverage: TypeAlias = Literal["uniform"]


@overload
def mae(y: Array, target: Array, average: OutputAverage = "uniform", *, weights: Array | None = None) -> float: ...
@overload
def mae(y: Array, target: Array, average: None, *, weights: Array | None = None) -> Array: ...
@explained
def mae(y: Array, target: Array, average: OutputAverage | None = "uniform", *, weights: Array | None = None) -> Any:
    """Mean absolute error: Σ |t - y| / n.

    Args:
        y: predictions of shape (n, ...).
        target: numbers of the shape of ``y``.
        average: "uniform", the mean over several outputs; None, one number for each output.
        weights: how much each example counts, of shape (n,); by default all count the same.

    Returns:
        A number ``>= 0``, in the unit of the targets; for None float64 of the shape of one example.

    Raises:
        TypeError: predictions, targets or weights are not numbers.
        ValueError: the shapes differ, a number is not finite, weights are negative, not finite or all zero, there is no
            example, or there is no such average.

    Example:
        >>> mae(np.array([[2.5, 1.0], [0.0, 3.0]]), np.array([[3.0, 1.0], [-0.5, 1.0]]))
        0.75
        >>> mae(np.array([[2.5, 1.0], [0.0, 3.0]]), np.array([[3.0, 1.0], [-0.5, 1.0]]), average=None)
        array([0.5, 1. ])

    Reference:
        Willmott & Matsuura (2005), Advantages of the mean absolute error over the root mean square error, equation 2.
    """
    p, t, w, shape = _arguments("mae", y, target, average, weights)
    error = np.abs(t - p)
    exponent = np.frexp(error.max(0))[1]
    return _over_outputs(w @ np.ldexp(error, -exponent), exponent, average, shape)


@overload
def rmse(y: Array, target: Array, average: OutputAverage = "uniform", *, weights: Array | None = None) -> float: ...
@overload
def rmse(y: Array, target: Array, average: None, *, weights: Array | None = None) -> Array: ...
@explained
def rmse(y: Array, target: Array, average: OutputAverage | None = "uniform", *, weights: Array | None = None) -> Any:
    """Root mean squared error: √(Σ (t - y)² / n).

    Large errors count more than in ``mae``. With several outputs, it is the mean of their errors, not the root of the
    mean of all squares.

    Args:
        y, target, average, weights: as in ``mae``.

    Returns:
        A number ``>= 0``, in the unit of the targets; for None float64 of the shape of one example.

    Raises:
        TypeError, ValueError: as ``mae``.

    Example:
        >>> rmse(np.array([1.0, 2.0]), np.array([1.0, 8.0]), weights=np.array([3, 1]))
        3.0

    Reference:
        Hyndman & Koehler (2006), Another look at measures of forecast accuracy, section 2.1.
    """
    p, t, w, shape = _arguments("rmse", y, target, average, weights)
    square, exponent = _mean_square(t - p, w)
    return _over_outputs(np.sqrt(square), exponent, average, shape)


@overload
def r2(y: Array, target: Array, average: OutputAverage = "uniform", *, weights: Array | None = None) -> float: ...
@overload
def r2(y: Array, target: Array, average: None, *, weights: Array | None = None) -> Array: ...
@explained
def r2(y: Array, target: Array, average: OutputAverage | None = "uniform", *, weights: Array | None = None) -> Any:
    """R² = 1 - Σ (t - y)² / Σ (t - mean(t))², the coefficient of determination.

    With several outputs, it is averaged over them. If a target is the same in all examples, there is no variance to
    explain: R² is 1 if every prediction is exact, and 0 otherwise.

    Args:
        y, target, average, weights: as in ``mae``.

    Returns:
        1 if all predictions are exact, 0 if they are no better than the mean; there is no lower bound. For None float64
        of the shape of one example.

    Raises:
        TypeError: as ``mae``.
        ValueError: as ``mae``, or fewer than two examples count: one has no variance to explain.

    Example:
        >>> r2(np.array([[2.5], [0.0], [2.0], [8.0]]), np.array([[3.0], [-0.5], [2.0], [7.0]]))
        0.9486081370449679

    Reference:
        Draper & Smith, Applied Regression Analysis (1998), equation 1.3.9.
    """
    p, t, w, shape = _arguments("r2", y, target, average, weights)
    if len(t) < 2:
        raise ValueError("r2 is undefined for fewer than two examples that count: one has no variance to explain")
    # Relative to one of the examples, a constant target is exactly 0, and so is its variance.
    centred = t - t[w.argmax()]
    unexplained, error_exponent = _mean_square(t - p, w)
    variance, spread_exponent = _mean_square(centred - w @ centred, w)
    constant = variance == 0
    with np.errstate(over="ignore"):
        fraction = np.ldexp(unexplained / np.where(constant, 1, variance), 2 * (error_exponent - spread_exponent))
        return _averaged(1 - np.where(constant, unexplained > 0, fraction), average, shape)


def _over_outputs(values: Array, exponent: Array, average: OutputAverage | None, shape: tuple[int, ...]) -> Any:
    """Errors that were computed of half the numbers, in units of a power of 2, as they are, or their mean."""
    with np.errstate(over="ignore"):
        return _averaged(np.ldexp(values, exponent + 1), average, shape)


def _averaged(values: Array, average: OutputAverage | None, shape: tuple[int, ...]) -> Any:
    """The mean over the outputs, or their values in the shape of an example."""
    return values.reshape(shape) if average is None else float(np.mean(values))


def _arguments(
    kind: str, y: Array, target: Array, average: Any, weights: Array | None
) -> tuple[Array, Array, Array, tuple[int, ...]]:
    """Half the predictions and targets that count, (n, outputs), weights with a sum of 1, the shape of an example."""
    if average is not None and not (isinstance(average, str) and average == "uniform"):
        raise ValueError(f'{kind}: expected average to be "uniform" or None, got {shown(average)}')
    p, t = _numbers(kind, "predictions", y), _numbers(kind, "targets", target)
    if p.shape != t.shape or not p.size:
        raise ValueError(
            f"{kind}: expected predictions and a target of one shape (n, ...), got {p.shape} and {t.shape}"
        )
    w, _, counts = relative_weights(kind, weights, len(t))
    return _finite(kind, "predictions", p[counts]), _finite(kind, "targets", t[counts]), w / w.sum(), p.shape[1:]


def _mean_square(x: Array, w: Array) -> tuple[Array, Array]:
    """Σ w x² of each column in units of 4**exponent, so that squares neither overflow nor vanish; and the exponents."""
    exponent = np.frexp(np.abs(x).max(0))[1]
    scaled = np.ldexp(x, -exponent)
    return w @ (scaled * scaled), exponent


def _numbers(kind: str, what: str, values: Array) -> Array:
    """Numbers as an array with an axis of examples."""
    array = numbers(kind, values, what)
    if array.dtype.kind == "b":
        raise TypeError(f"{kind}: expected {what} as numbers, got an array of {array.dtype}")
    if not array.ndim:
        raise ValueError(f"{kind}: expected {what} of shape (n, ...), got a single number")
    return array


def _finite(kind: str, what: str, array: Array) -> Array:
    """Finite numbers as half of their values in float64, of which no difference overflows: (n, outputs)."""
    if not np.isfinite(array).all():
        raise ValueError(f"{kind}: the {what} contain NaN or infinity; has training diverged?")
    return 0.5 * array.reshape(len(array), -1).astype(np.float64)
