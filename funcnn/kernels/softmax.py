"""The sigmoid and the softmax family in their stable forms, over the last axis; layers and losses share them.

The exponential of a large positive number overflows. In the sigmoid that is right, since 1 / (1 + inf) = 0. The softmax
subtracts the maximum of each row first, which changes nothing in the quotient::

    softmax(x)_i = e^(x_i - m) / Σ_j e^(x_j - m)        log Σ_j e^x_j = m + log Σ_j e^(x_j - m)        m = max_j x_j

An element of -inf is a class that cannot be. One of inf is certain: its probability is 1. A row of nothing but -inf,
or with several inf, has no probabilities; they are NaN.
"""

from collections.abc import Callable

import numpy as np

from funcnn.aliases import Array
from funcnn.engine.memory import copied, empty_like
from funcnn.kernels.implementations import accelerated
from funcnn.kernels.products import last_axis_sum

__all__ = [
    "by_class_is_faster", "limits", "log1p", "log1p_exp", "log_softmax", "log_sum_exp", "shifted_exponentials",
    "sigmoid", "sigmoid_of", "softmax", "sparsemax",
]  # fmt: skip

FEW_CLASSES, MIN_SIZE_TO_TURN = 16, 1 << 15
"""Many short rows are laid out with the classes outermost in memory: a reduction takes a tenth of the time there."""


def sigmoid(x: Array, out: Array | None = None) -> Array:
    """y = 1 / (1 + e^-x).

    Args:
        x: floats of any shape.
        out: an array like ``x`` that receives the result; it may be ``x`` itself. A new one by default.

    Returns:
        y, an array like ``x``.

    Example:
        >>> sigmoid(np.array([-1000.0, 0.0, 1000.0]))
        array([0. , 0.5, 1. ])
    """
    y: Array = np.negative(x, out=out)
    with np.errstate(over="ignore"):
        np.exp(y, out=y)
    y += 1
    return np.divide(1, y, out=y)


def sigmoid_of(positive: Array, e: Array, out: Array | None = None) -> Array:
    """The sigmoid of an x of which e^-|x| is known already.

    Args:
        positive: whether x >= 0, booleans like ``e``.
        e: e^-|x|.
        out: an array like ``e`` that receives the result. A new one by default.

    Returns:
        y, an array like ``e``.

    Example:
        >>> sigmoid_of(np.array([True, False]), np.array([0.25, 0.25]))
        array([0.8, 0.2])
    """
    # 1 where x >= 0, else e: e is at most 1, and np.where takes ten times as long.
    y: Array = np.divide(np.maximum(e, positive), 1 + e, out=out)
    return y


def log1p_exp(size: Array) -> Array:
    """log(1 + e^-size), of which the softplus and the logarithm of the sigmoid are made; see ``log1p``.

    Args:
        size: floats ``>= 0`` of any shape.

    Returns:
        A new array like ``size``.

    Example:
        >>> log1p_exp(np.array([0.0, 40.0, np.inf]))
        array([6.93147181e-01, 4.24835426e-18, 0.00000000e+00])
    """
    e = np.negative(size, out=empty_like(size))
    return log1p(np.exp(e, out=e))


def log1p(e: Array) -> Array:
    """log(1 + e), exact for small e.

    NumPy's ``log1p`` takes ten times as long in float32. With u = 1 + e rounded, log(1 + e) = log u + (e - (u - 1)) /
    u, where the second term is what the rounding lost.

    Args:
        e: floats from 0 to 1 of any shape.

    Returns:
        A new array like ``e``.

    Example:
        >>> log1p(np.array([0.0, 1e-20, 1.0])).round(4)
        array([0.    , 0.    , 0.6931])
    """
    u, found = empty_like(e), empty_like(e)
    np.add(e, 1, out=u)
    np.subtract(e, np.subtract(u, 1, out=found), out=found)
    found /= u
    found += np.log(u, out=u)
    return found


@accelerated
def softmax(x: Array) -> Array:
    """y_i = e^x_i / Σ_j e^x_j over the last axis.

    Args:
        x: floats of shape (..., classes).

    Returns:
        y, an array like ``x``, whose rows sum to 1.

    Example:
        >>> softmax(np.array([[1000.0, 1000.0]]))
        array([[0.5, 0.5]])

    Reference:
        Bridle (1990), Probabilistic interpretation of feedforward classification network outputs.
    """
    return _with_limits(_softmax, x)


def _softmax(x: Array) -> Array:
    _, e, total = shifted_exponentials(x)
    e /= total
    return e


def log_softmax(x: Array) -> Array:
    """y_i = x_i - log Σ_j e^x_j over the last axis.

    Args:
        x: floats of shape (..., classes).

    Returns:
        y, an array like ``x``.

    Example:
        >>> log_softmax(np.array([[1000.0, 0.0]]))
        array([[    0., -1000.]])
    """
    return _with_limits(_log_softmax, x)


def _log_softmax(x: Array) -> Array:
    shifted, _, total = shifted_exponentials(x)
    shifted -= np.log(total)
    return shifted


def log_sum_exp(x: Array) -> Array:
    """y = log Σ_j e^x_j over the last axis, which stays with size 1.

    Args:
        x: floats of shape (..., classes) with at least one class.

    Returns:
        y: (..., 1).

    Example:
        >>> log_sum_exp(np.array([[1000.0, 1000.0]]))
        array([[1000.69314718]])
    """
    highest = np.maximum.reduce(x, axis=-1, keepdims=True)
    # Beside inf nothing else counts, and the sum of nothing but e^-inf is 0.
    y: Array = np.where(np.isinf(highest), highest, highest + _with_limits(_log_total, x))
    return y


def _log_total(x: Array) -> Array:
    _, _, total = shifted_exponentials(x)
    return np.log(total)


def sparsemax(x: Array) -> Array:
    """y = max(x - t, 0) over the last axis, with the t for which each row sums to 1.

    With x sorted so that x_1 is the largest, t = (x_1 + ... + x_k - 1) / k for the last k with 1 + k x_k > x_1 + ... +
    x_k.

    Args:
        x: floats of shape (..., classes).

    Returns:
        y, an array like ``x``.

    Example:
        >>> sparsemax(np.array([[1.0, 0.5, -1.0], [3.0, 0.0, 0.0]]))
        array([[0.75, 0.25, 0.  ],
               [1.  , 0.  , 0.  ]])

    Reference:
        Martins & Astudillo (2016), From softmax to sparsemax, algorithm 1.
    """
    return _with_limits(_sparsemax, x)


def _sparsemax(x: Array) -> Array:
    if not x.size:
        return x.copy()
    shifted = x - np.maximum.reduce(x, axis=-1, keepdims=True)
    descending = -np.sort(-shifted, axis=-1)
    sums = np.cumsum(descending, axis=-1)
    places = np.arange(1, x.shape[-1] + 1, dtype=x.dtype)
    k = (1 + places * descending > sums).sum(-1, keepdims=True)
    t = (np.take_along_axis(sums, np.maximum(k, 1) - 1, -1) - 1) / np.maximum(k, 1).astype(x.dtype)
    y: Array = np.maximum(shifted - t, 0)
    return y


def shifted_exponentials(x: Array) -> tuple[Array, Array, Array]:
    """What the functions of this family are made of: x - m, e^(x - m) and Σ e^(x - m), with m the maximum of a row.

    Args:
        x: floats of shape (..., classes).

    Returns:
        ``(shifted, exponentials, total)``, three new arrays: two like ``x``, and one of shape (..., 1).

    Example:
        >>> shifted_exponentials(np.array([[7.0, 7.0]]))
        (array([[0., 0.]]), array([[1., 1.]]), array([[2.]]))
    """
    if by_class_is_faster(x):
        x = np.moveaxis(copied(np.moveaxis(x, -1, 0)), 0, -1)
    # The ufunc's own reduction: ``x.max`` takes twice as long on a small batch, as without a start some long rows do.
    highest = np.maximum.reduce(x, axis=-1, keepdims=True, initial=-np.inf) if x.size else x
    shifted = np.subtract(x, highest, out=empty_like(x))
    e = np.exp(shifted, out=empty_like(x))
    return shifted, e, last_axis_sum(e)


def by_class_is_faster(x: Array) -> bool:
    """Whether an array has many short rows, which are laid out with the classes outermost in memory.

    Example:
        >>> by_class_is_faster(np.zeros((4000, 10))), by_class_is_faster(np.zeros((4000, 20)))
        (True, False)
    """
    return x.size >= MIN_SIZE_TO_TURN and x.shape[-1] <= FEW_CLASSES and x.flags.c_contiguous


def limits(x: Array) -> Array:
    """x with 0 and -inf in place of each row that has one inf: it has the same softmax, the limit for a growing x.

    Example:
        >>> limits(np.array([[np.inf, 3.0], [1.0, 2.0]]))
        array([[  0., -inf],
               [  1.,   2.]])
    """
    certain = (x == np.inf).sum(-1, keepdims=True) == 1
    certain &= ~np.isnan(x).any(-1, keepdims=True)
    zero, impossible = x.dtype.type(0), x.dtype.type(-np.inf)
    return np.where(certain, np.where(x == np.inf, zero, impossible), x)


def _with_limits(f: Callable[[Array], Array], x: Array) -> Array:
    """f(x); the differences of infinities, which NumPy reports, get their limits."""
    try:
        # Differences that overflow are -inf, and their exponentials 0, which is right to rounding.
        with np.errstate(over="ignore", invalid="raise"):
            return f(x)
    except FloatingPointError:
        with np.errstate(all="ignore"):
            return f(limits(x))
