"""Activations that are linear, or quadratic, by pieces: the rectifiers, and what clips, shrinks or replaces.

Their derivatives choose. Where one is 0, dx is 0, and no infinite dy counts there.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from funcnn import checks
from funcnn.aliases import Array
from funcnn.engine.memory import empty_like
from funcnn.kernels.selection import select
from funcnn.layers.activation.row import Pull, ready, row, same
from funcnn.protocol import Layer, layer, stateless

__all__ = [
    "hard_shrink", "hard_sigmoid", "hard_tanh", "identity", "leaky_relu", "relu", "relu6", "relu_squared",
    "soft_shrink", "threshold",
]  # fmt: skip


def _identity(x: Any) -> tuple[Any, Pull]:
    """y = x;  dx = dy.

    It is the branch of a combinator that changes nothing: ``fn.add(fn.identity, fn.dense(3))``.

    Args:
        x: an array or a tree of arrays of any numbers.

    Returns:
        A layer without parameters; its y is x itself.

    Raises:
        TypeError: from ``apply``, x is not a tree of plain arrays.

    Example:
        >>> import funcnn as fn, numpy as np
        >>> y, vjp_fn = fn.identity.apply({}, np.array([[-1.0, 2.0]]))
        >>> y
        array([[-1.,  2.]])
    """
    return x, same


def _relu(x: Array, out: Array | None = None) -> Array:
    """y = max(x, 0);  dx = dy where x > 0, else 0.

    Example:
        >>> import funcnn as fn, numpy as np
        >>> y, vjp_fn = fn.relu.apply({}, np.array([[-1.0, 2.0]]))
        >>> y
        array([[0., 2.]])
        >>> vjp_fn(np.ones_like(y))[1]
        array([[0., 1.]])

    Reference:
        Nair & Hinton 2010, "Rectified linear units improve restricted Boltzmann machines".
    """
    # A clip is vectorized, a maximum with a number is not: it takes four times as long.
    return x.clip(0, np.inf, out=empty_like(x) if out is None else out)


def _not_zero(x: Array, y: Array) -> Array:
    """1 where y is not 0; NaN is not, so that its gradient is not hidden."""
    derivative: Array = y != 0
    return derivative


def _relu_squared(x: Array) -> Array:
    """y = max(x, 0)^2;  dx = 2 dy max(x, 0).

    Example:
        >>> import funcnn as fn, numpy as np
        >>> y, vjp_fn = fn.relu_squared.apply({}, np.array([[-1.0, 3.0]]))
        >>> y
        array([[0., 9.]])
        >>> vjp_fn(np.ones_like(y))[1]
        array([[0., 6.]])

    Reference:
        So et al. 2021, "Primer: searching for efficient transformers", arXiv 2109.08668.
    """
    positive = _relu(x)
    with np.errstate(over="ignore"):
        return np.multiply(positive, positive, out=positive)


def _relu_squared_derivative(x: Array, y: Array) -> Array:
    positive = _relu(x)
    with np.errstate(over="ignore"):
        return np.multiply(positive, 2, out=positive)


def _relu6(x: Array, out: Array | None = None) -> Array:
    """y = min(max(x, 0), 6);  dx = dy where 0 < x < 6, else 0.

    Example:
        >>> import funcnn as fn, numpy as np
        >>> y, vjp_fn = fn.relu6.apply({}, np.array([[-1.0, 2.0, 7.0]]))
        >>> y
        array([[0., 2., 6.]])
        >>> vjp_fn(np.ones_like(y))[1]
        array([[0., 1., 0.]])

    Reference:
        Krizhevsky 2010, "Convolutional deep belief networks on CIFAR-10"; Howard et al. 2017, "MobileNets", arXiv
        1704.04861.
    """
    return np.clip(x, 0, 6, out=empty_like(x) if out is None else out)


def _relu6_derivative(x: Array, y: Array) -> Array:
    derivative: Array = (y != 0) & (y != 6)
    return derivative


identity = stateless("identity", _identity, floats=False, per_position=True)
relu = ready("relu", _relu, _not_zero, in_place=True)
relu6 = ready("relu6", _relu6, _relu6_derivative, in_place=True)
relu_squared = ready("relu_squared", _relu_squared, _relu_squared_derivative, flat=True)


@layer
def leaky_relu(slope: float = 0.01) -> Layer:
    """y = x where x > 0, else slope * x.

    Args:
        slope: of the negative half, finite.

    Returns:
        A layer without parameters.

    Raises:
        TypeError: ``slope`` is not a number.
        ValueError: ``slope`` is not finite.

    Example:
        >>> y, _ = leaky_relu(0.1).apply({}, np.array([[-1.0, 2.0]]))
        >>> y
        array([[-0.1,  2. ]])

    Reference:
        Maas, Hannun & Ng 2013, "Rectifier nonlinearities improve neural network acoustic models".
    """
    slope = checks.number("leaky_relu", "slope", slope)
    if slope == 0:  # 0 times infinity would be NaN
        return row("leaky_relu", _relu, _not_zero, in_place=True, constants=(slope,))

    def function(x: Array, out: Array | None = None) -> Array:
        scaled = np.multiply(x, slope, out=empty_like(x))
        if 0 < slope <= 1:
            return np.maximum(x, scaled, out=scaled if out is None else out)
        y: Array = np.where(x > 0, x, scaled)
        if out is None:
            return y
        out[...] = y
        return out

    def derivative(x: Array, y: Array) -> Array:
        positive, one = (y if slope > 0 else x) > 0, y.dtype.type(1)
        if not 0 < slope <= 1:
            found: Array = np.where(positive, one, one * slope)
            return found
        found = positive.astype(y.dtype)
        return found.clip(slope, np.inf, out=found)

    return row("leaky_relu", function, derivative, in_place=slope > 0, constants=(slope,))


@layer
def hard_tanh(low: float = -1.0, high: float = 1.0) -> Layer:
    """y = min(max(x, low), high);  dx = dy where low < x < high, else 0.

    Args:
        low: the smallest output, finite.
        high: the largest output, finite and larger than ``low``.

    Returns:
        A layer without parameters.

    Raises:
        TypeError: ``low`` or ``high`` is not a number.
        ValueError: one is not finite, or ``low`` is not below ``high``.

    Example:
        >>> y, vjp_fn = hard_tanh().apply({}, np.array([[-3.0, 0.5, 2.0]]))
        >>> y
        array([[-1. ,  0.5,  1. ]])
        >>> vjp_fn(np.ones_like(y))[1]
        array([[0., 1., 0.]])

    Reference:
        Collobert 2004, "Large scale machine learning", section 6.1.2; PyTorch's ``Hardtanh``.
    """
    low, high = checks.number("hard_tanh", "low", low), checks.number("hard_tanh", "high", high)
    if not low < high:
        raise ValueError(f"hard_tanh: low must be below high, got {low} and {high}; write hard_tanh(low, high)")

    def function(x: Array, out: Array | None = None) -> Array:
        return np.clip(x, low, high, out=empty_like(x) if out is None else out)

    def derivative(x: Array, y: Array) -> Array:
        inside: Array = (y != low) & (y != high)
        return inside

    return row("hard_tanh", function, derivative, in_place=True, constants=(low, high))


@layer
def hard_sigmoid(slope: float = 1 / 6) -> Layer:
    """y = min(max(slope * x + 1/2, 0), 1);  dx = slope * dy where 0 < y < 1, else 0.

    Args:
        slope: positive; 1/6 makes it relu6(x + 3) / 6, as PyTorch and Keras 3 have it, and 0.2 is that of Keras 2 and
            the default of ONNX.

    Returns:
        A layer without parameters.

    Raises:
        TypeError: ``slope`` is not a number.
        ValueError: ``slope`` is not positive and finite.

    Example:
        >>> y, vjp_fn = hard_sigmoid(slope=0.2).apply({}, np.array([[-4.0, 0.0, 1.0]]))
        >>> y
        array([[0. , 0.5, 0.7]])
        >>> vjp_fn(np.ones_like(y))[1]
        array([[0. , 0.2, 0.2]])

    Reference:
        Courbariaux, Bengio & David 2015, "BinaryConnect", arXiv 1511.00363; Howard et al. 2019, "Searching for
        MobileNetV3", arXiv 1905.02244, section 5.2.
    """
    slope = checks.positive("hard_sigmoid", "slope", slope, usual="1/6")

    def function(x: Array, out: Array | None = None) -> Array:
        with np.errstate(over="ignore"):
            y = np.multiply(x, slope, out=empty_like(x) if out is None else out)
        y += 0.5
        return np.clip(y, 0, 1, out=y)

    def derivative(x: Array, y: Array) -> Array:
        inside = (y > 0) & (y < 1)
        found: Array = np.multiply(inside, y.dtype.type(slope), out=empty_like(y))
        return found

    return row("hard_sigmoid", function, derivative, in_place=True, constants=(slope,), flat=True)


@layer
def hard_shrink(limit: float = 0.5) -> Layer:
    """y = x where |x| > limit, else 0;  dx = dy where |x| > limit, else 0.

    Args:
        limit: not negative; PyTorch's ``lambd``.

    Returns:
        A layer without parameters.

    Raises:
        TypeError: ``limit`` is not a number.
        ValueError: ``limit`` is negative or not finite.

    Example:
        >>> y, vjp_fn = hard_shrink(0.5).apply({}, np.array([[-2.0, 0.3, 1.0]]))
        >>> y
        array([[-2.,  0.,  1.]])
        >>> vjp_fn(np.ones_like(y))[1]
        array([[1., 0., 1.]])

    Reference:
        Donoho & Johnstone 1994, "Ideal spatial adaptation by wavelet shrinkage", section 2.1.
    """
    limit = checks.nonnegative("hard_shrink", "limit", limit)

    def function(x: Array, out: Array | None = None) -> Array:
        return select(x, ~(np.abs(x) <= limit), out)

    return row("hard_shrink", function, _not_zero, in_place=True, constants=(limit,))


@layer
def soft_shrink(limit: float = 0.5) -> Layer:
    """y = x - limit where x > limit, x + limit where x < -limit, else 0;  dx = dy where |x| > limit, else 0.

    Args:
        limit: not negative; PyTorch's ``lambd``.

    Returns:
        A layer without parameters.

    Raises:
        TypeError: ``limit`` is not a number.
        ValueError: ``limit`` is negative or not finite.

    Example:
        >>> y, vjp_fn = soft_shrink(0.5).apply({}, np.array([[-2.0, 0.25, 1.0]]))
        >>> y
        array([[-1.5,  0. ,  0.5]])
        >>> vjp_fn(np.ones_like(y))[1]
        array([[1., 0., 1.]])

    Reference:
        Donoho 1995, "De-noising by soft-thresholding", equation 2.
    """
    limit = checks.nonnegative("soft_shrink", "limit", limit)

    def function(x: Array, out: Array | None = None) -> Array:
        y: Array = np.subtract(x, np.clip(x, -limit, limit), out=empty_like(x) if out is None else out)
        return y

    return row("soft_shrink", function, _not_zero, in_place=True, constants=(limit,))


@layer
def threshold(threshold: float, value: float = 0.0) -> Layer:
    """y = x where x > threshold, else value;  dx = dy where x > threshold, else 0.

    Args:
        threshold: what x must exceed, finite.
        value: what stands in place of all other elements, finite.

    Returns:
        A layer without parameters.

    Raises:
        TypeError: an argument is not a number.
        ValueError: an argument is not finite.

    Example:
        >>> y, vjp_fn = threshold(0.5, -1.0).apply({}, np.array([[0.2, 2.0]]))
        >>> y
        array([[-1.,  2.]])
        >>> vjp_fn(np.ones_like(y))[1]
        array([[0., 1.]])

    Reference:
        PyTorch's ``Threshold``; with 1 and 0 it is the thresholded rectifier of Konda, Memisevic & Krueger 2014, arXiv
        1402.3337.
    """
    threshold = checks.number("threshold", "threshold", threshold)
    value = checks.number("threshold", "value", value)

    def function(x: Array, out: Array | None = None) -> Array:
        below = x <= threshold
        y = select(x, ~below, out)
        if value:
            y += np.multiply(below, x.dtype.type(value))
        return y

    def derivative(x: Array, y: Array) -> Array:
        above: Array = ~((y if value <= threshold else x) <= threshold)
        return above

    return row("threshold", function, derivative, in_place=value <= threshold, constants=(threshold, value))
