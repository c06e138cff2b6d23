"""Losses between numbers: how far a prediction is from its target.

They differ in how much large errors count: squares, which the mean minimizes, follow a single outlier; absolute values,
which the median minimizes, do not; most others lie between.
"""

from __future__ import annotations

import math

import numpy as np

from funcnn import checks
from funcnn.aliases import Array
from funcnn.losses.core import NumberLoss, documented
from funcnn.losses.kinds import NUMBERS, number_loss
from funcnn.losses.targets import counted
from funcnn.recorded import recorded

__all__ = [
    "huber", "log_cosh", "mean_absolute_error", "mean_squared_error", "mean_squared_log_error", "quantile", "smooth_l1",
]  # fmt: skip


@number_loss
def mean_squared_error(y: Array, t: Array, careful: bool) -> tuple[Array, Array]:
    """value = mean((y - t)²);  dy = 2 (y - t) / n, with n the number of elements.

    Args:
        y: predictions, floats of shape (batch, ...).
        target: numbers of the shape of ``y``.
        {options}

    {returns}

    Example:
        >>> mean_squared_error(np.array([[1.0], [3.0]]), [[0.0], [1.0]])
        (2.5, array([[1.],
               [2.]]))

    Reference:
        Bishop (2006), Pattern Recognition and Machine Learning, eq. 1.2, which is half of the sum.
    """
    error = y - t
    return error * error, 2 * error


@number_loss
def mean_absolute_error(y: Array, t: Array, careful: bool) -> tuple[Array, Array]:
    """value = mean(|y - t|);  dy = sign(y - t) / n, with sign(0) = 0.

    The median of the targets minimizes it, and a single outlier does not move it.

    Args:
        y: predictions, floats of shape (batch, ...).
        target: numbers of the shape of ``y``.
        {options}

    {returns}

    Example:
        >>> mean_absolute_error(np.array([[1.0], [-3.0]]), [[0.0], [1.0]])
        (2.5, array([[ 0.5],
               [-0.5]]))

    Reference:
        Willmott & Matsuura (2005), Advantages of the mean absolute error over the root mean square error, equation 2.
    """
    error = y - t
    return np.abs(error), np.sign(error)


@recorded
@documented(NUMBERS)
def huber(delta: float = 1.0) -> NumberLoss:
    """value = mean(e²/2 if |e| <= delta else delta (|e| - delta/2)), e = y - t;  dy = clip(e, -delta, delta) / n.

    Args:
        delta: the error from which on it grows linearly, above 0; the unit is that of the targets.

    Returns:
        ``loss(y, target, *, {signature}`` with

        y: predictions, floats of shape (batch, ...).
        target: numbers of the shape of ``y``.
        {options}

    Raises:
        {raises}

    Example:
        >>> huber(1.0)(np.array([[0.5], [3.0]]), [[0.0], [0.0]])
        (1.3125, array([[0.25],
               [0.5 ]]))

    Reference:
        Huber (1964), Robust estimation of a location parameter, example (iii).
    """
    delta = checks.positive("huber", "delta", delta, usual="1.0")

    def formula(y: Array, t: Array, careful: bool) -> tuple[Array, Array]:
        error = y - t
        clipped = np.clip(error, -delta, delta)
        return clipped * (error - clipped / 2), clipped

    return number_loss(formula, "huber")


@recorded
@documented(NUMBERS)
def smooth_l1(beta: float = 1.0) -> NumberLoss:
    """value = mean(e²/(2 beta) if |e| <= beta else |e| - beta/2), e = y - t;  dy = clip(e / beta, -1, 1) / n.

    It is ``huber(beta)`` divided by beta: however small beta is, large errors count as in ``mean_absolute_error``,
    which ``smooth_l1(0)`` is.

    Args:
        beta: the error from which on it grows linearly, ``>= 0``; the unit is that of the targets.

    Returns:
        ``loss(y, target, *, {signature}`` with

        y: predictions, floats of shape (batch, ...).
        target: numbers of the shape of ``y``.
        {options}

    Raises:
        {raises}

    Example:
        >>> smooth_l1(2.0)(np.array([[1.0], [3.0]]), [[0.0], [0.0]])
        (1.125, array([[0.25],
               [0.5 ]]))

    Reference:
        Girshick (2015), Fast R-CNN, equation 3.
    """
    beta = checks.nonnegative("smooth_l1", "beta", beta)

    def formula(y: Array, t: Array, careful: bool) -> tuple[Array, Array]:
        error = y - t
        slope = np.clip(error / beta, -1, 1) if beta else np.sign(error)
        return slope * (error - beta / 2 * slope), slope

    return number_loss(formula, "smooth_l1")


@number_loss
def log_cosh(y: Array, t: Array, careful: bool) -> tuple[Array, Array]:
    """value = mean(log cosh(y - t));  dy = tanh(y - t) / n.

    Like ``huber(1.0)``, but smooth: e²/2 for small errors e, |e| - log 2 for large ones.

    Args:
        y: predictions, floats of shape (batch, ...).
        target: numbers of the shape of ``y``.
        {options}

    {returns}

    Example:
        >>> value, dy = log_cosh(np.array([[0.0], [1000.0]]), [[0.0], [0.0]])
        >>> round(value, 4), dy
        (499.6534, array([[0. ],
               [0.5]]))

    Reference:
        Saleh & Saleh (2022), Statistical properties of the log-cosh loss function used in machine learning, equation 4.
    """
    error = y - t
    size = np.abs(error)
    # cosh e = 1 + 2 sinh²(e/2), which is exact for small errors, and does not overflow up to 1.
    small = np.log1p(2 * np.square(np.sinh(np.minimum(size, 1) / 2)))
    return np.where(size < 1, small, size + np.log1p(np.exp(-2 * size)) - math.log(2)), np.tanh(error)


def _above_minus_one(kind: str, y: Array, t: Array, weights: Array | None) -> None:
    """Raise an error where log(1 + y) or log(1 + t) is not a number."""
    for name, x, use in (("y", y, "let the model end with fn.softplus or fn.relu"), ("target", t, "shift the targets")):
        if not np.logical_and.reduce(x > -1, axis=None) and counted(x <= -1, weights).any():
            raise ValueError(f"{kind}: expected {name} above -1, got values from {x.min()} to {x.max()}; {use}")


@number_loss(check=_above_minus_one)
def mean_squared_log_error(y: Array, t: Array, careful: bool) -> tuple[Array, Array]:
    """value = mean((log(1 + y) - log(1 + t))²);  dy = 2 (log(1 + y) - log(1 + t)) / (1 + y) / n.

    It measures relative errors of counts and amounts, which are not negative.

    Args:
        y: predictions above -1, floats of shape (batch, ...).
        target: numbers above -1 of the shape of ``y``.
        {options}

    {returns}

    Example:
        >>> value, dy = mean_squared_log_error(np.array([[9.0]]), [[99.0]])
        >>> round(value, 4), dy.round(4)
        (5.3019, array([[-0.4605]]))

    Reference:
        Box & Cox (1964), An analysis of transformations, equation 2: squares after the logarithm, with a shift of 1.
    """
    error = np.log1p(y) - np.log1p(t)
    return error * error, 2 * error / (1 + y)


@recorded
@documented(NUMBERS)
def quantile(q: float) -> NumberLoss:
    """value = mean(q (t - y) if t > y else (1 - q) (y - t));  dy = -q / n if t > y, and (1 - q) / n if t < y.

    The q-quantile of the targets minimizes it: with q = 0.9 an output is learned below which nine targets of ten lie.
    ``quantile(0.5)`` is half of ``mean_absolute_error``. It is also called the pinball loss.

    Args:
        q: the quantile, between 0 and 1.

    Returns:
        ``loss(y, target, *, {signature}`` with

        y: predictions, floats of shape (batch, ...).
        target: numbers of the shape of ``y``.
        {options}

    Raises:
        {raises}

    Example:
        >>> value, dy = quantile(0.75)(np.array([[0.0], [4.0]]), [[2.0], [0.0]])
        >>> value, dy
        (1.25, array([[-0.375],
               [ 0.125]]))

    Reference:
        Koenker & Bassett (1978), Regression quantiles, equation 3.1.
    """
    q = checks.proper_fraction("quantile", "q", q)

    def formula(y: Array, t: Array, careful: bool) -> tuple[Array, Array]:
        error = y - t
        sign = np.sign(error)
        slope = sign / 2 + (0.5 - q) * np.abs(sign)  # 1 - q above the target, -q below it
        return slope * error, slope

    return number_loss(formula, "quantile")
