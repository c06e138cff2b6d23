"""Self-gated activations: x times a gate from 0 to 1 that x opens itself, so that y is 0 far below 0 and x far above.

Far below 0 the gate is 0, and x is limited, since 0 times infinity is NaN.
"""

from __future__ import annotations

import math

import numpy as np

from funcnn import checks
from funcnn.aliases import Array
from funcnn.kernels import softmax as stable
from funcnn.kernels.normal import distribution, distribution_and_density
from funcnn.layers.activation.row import ready, row
from funcnn.protocol import Layer, layer

__all__ = ["gelu", "hard_swish", "mish", "quick_gelu", "silu", "swish"]

SIGMOID_ENDS = 1000
"""From here on the sigmoid is 0 or 1 in every dtype; products with it are limited to this, since 0 * inf is NaN."""


def _swish(x: Array) -> Array:
    """y = x sigmoid(x), called swish or SiLU;  dx = dy * (s + y (1 - s)) with s = sigmoid(x).

    Example:
        >>> import funcnn as fn, numpy as np
        >>> y, vjp_fn = fn.swish.apply({}, np.array([[0.0, 100.0]]))
        >>> y
        array([[  0., 100.]])
        >>> vjp_fn(np.ones_like(y))[1]
        array([[0.5, 1. ]])

    Reference:
        Ramachandran, Zoph & Le 2017, "Searching for activation functions", arXiv 1710.05941; Elfwing, Uchibe & Doya
        2018, arXiv 1702.03118, equation 5.
    """
    y = stable.sigmoid(x)
    y *= np.clip(x, -SIGMOID_ENDS, np.inf)
    return y


def _swish_derivative(x: Array, y: Array) -> Array:
    """With s the sigmoid of x: (x s)' = s + x s (1 - s) = s + y (1 - s)."""
    s = stable.sigmoid(x)
    derivative = 1 - s
    derivative *= np.clip(y, -SIGMOID_ENDS, SIGMOID_ENDS)
    derivative += s
    return derivative


QUICK = 1.702


def _quick_gelu(x: Array) -> Array:
    """y = x sigmoid(1.702 x), near ``gelu``;  dx = dy * (s + 1.702 y (1 - s)) with s = sigmoid(1.702 x).

    Example:
        >>> import funcnn as fn, numpy as np
        >>> y, vjp_fn = fn.quick_gelu.apply({}, np.array([[-100.0, 0.0, 100.0]]))
        >>> y.round(3) + 0.0
        array([[  0.,   0., 100.]])
        >>> vjp_fn(np.ones_like(y))[1].round(3) + 0.0
        array([[0. , 0.5, 1. ]])

    Reference:
        Hendrycks & Gimpel 2016, "Gaussian error linear units (GELUs)", arXiv 1606.08415, section 2.
    """
    y = _quick_gate(x)
    y *= np.clip(x, -SIGMOID_ENDS, np.inf)
    return y


def _quick_gate(x: Array) -> Array:
    z = np.clip(x, -SIGMOID_ENDS, SIGMOID_ENDS)
    z *= QUICK
    return stable.sigmoid(z, z)


def _quick_gelu_derivative(x: Array, y: Array) -> Array:
    s = _quick_gate(x)
    derivative = 1 - s
    derivative *= np.clip(y, -SIGMOID_ENDS, SIGMOID_ENDS)
    derivative *= QUICK
    derivative += s
    return derivative


MISH_END = 20
"""From here on tanh(softplus(x)) is 1 in every dtype."""


def _mish(x: Array) -> Array:
    """y = x tanh(softplus(x));  dx = dy * (t + x (1 - t^2) sigmoid(x)) with t = tanh(softplus(x)).

    With e = e^x and n = e (e + 2), t = n / (n + 2), and the second term is 4 x e (e + 1) / (n + 2)^2.

    Example:
        >>> import funcnn as fn, numpy as np
        >>> y, vjp_fn = fn.mish.apply({}, np.array([[-1000.0, 0.0, 1000.0]]))
        >>> y + 0.0
        array([[   0.,    0., 1000.]])
        >>> vjp_fn(np.ones_like(y))[1].round(3)
        array([[0. , 0.6, 1. ]])

    Reference:
        Misra 2020, "Mish: a self regularized non-monotonic activation function", arXiv 1908.08681, equation 1.
    """
    e = np.exp(np.clip(x, -SIGMOID_ENDS, MISH_END))
    n: Array = e * (e + 2)
    n /= n + 2
    n *= np.clip(x, -SIGMOID_ENDS, np.inf)
    return n


def _mish_derivative(x: Array, y: Array) -> Array:
    bounded = np.clip(x, -SIGMOID_ENDS, MISH_END)
    e = np.exp(bounded)
    n: Array = e * (e + 2)
    inverse = 1 / (n + 2)
    n *= inverse
    bounded *= e
    e += 1
    bounded *= e
    bounded *= inverse  # one after the other: the square of n overflows in float32
    bounded *= inverse
    bounded *= 4
    n += bounded
    return n


def _hard_swish(x: Array) -> Array:
    """y = x relu6(x + 3) / 6;  dx = 0 where x <= -3, dy where x >= 3, else dy * (x / 3 + 1/2).

    Example:
        >>> import funcnn as fn, numpy as np
        >>> y, vjp_fn = fn.hard_swish.apply({}, np.array([[-3.5, 0.0, 1.5, 4.0]]))
        >>> y + 0.0
        array([[0.   , 0.   , 1.125, 4.   ]])
        >>> vjp_fn(np.ones_like(y))[1]
        array([[0. , 0.5, 1. , 1. ]])

    Reference:
        Howard et al. 2019, "Searching for MobileNetV3", arXiv 1905.02244, section 5.2.
    """
    gate = x / 6
    gate += 0.5
    np.clip(gate, 0, 1, out=gate)
    gate *= np.clip(x, -3, np.inf)
    return gate


def _hard_swish_derivative(x: Array, y: Array) -> Array:
    half = x.dtype.type(0.5)
    found = np.clip(x, -3, 3)
    found /= 3
    found += half
    found += np.multiply(x <= -3, half)
    found -= np.multiply(x >= 3, half)
    return found


swish = ready("swish", _swish, _swish_derivative)
silu = ready("silu", _swish, _swish_derivative)
quick_gelu = ready("quick_gelu", _quick_gelu, _quick_gelu_derivative)
mish = ready("mish", _mish, _mish_derivative)
hard_swish = ready("hard_swish", _hard_swish, _hard_swish_derivative, flat=True)

GELU_END = 40
"""From here on the normal distribution function and the sigmoid of the cubic are 0 or 1 in every dtype."""
SLOPE, CUBIC = 2 * math.sqrt(2 / math.pi), 0.044715


@layer
def gelu(approximate: bool = False) -> Layer:
    """y = x Φ(x) with Φ the normal distribution function;  dx = dy * (Φ(x) + x φ(x)) with φ its density.

    Approximately, Φ(x) = (1 + tanh(√(2/π) (x + 0.044715 x^3))) / 2, as GPT-2 and T5 have it.

    Args:
        approximate: whether to take that in place of Φ; it is PyTorch's ``approximate="tanh"`` and ``gelu_new``.

    Returns:
        A layer without parameters.

    Raises:
        TypeError: ``approximate`` is not a bool.

    Example:
        >>> y, vjp_fn = gelu().apply({}, np.array([[-100.0, 0.0, 1.0]]))
        >>> y.round(4) + 0.0
        array([[0.    , 0.    , 0.8413]])
        >>> vjp_fn(np.ones_like(y))[1].round(4)
        array([[0.    , 0.5   , 1.0833]])

    Reference:
        Hendrycks & Gimpel 2016, "Gaussian error linear units (GELUs)", arXiv 1606.08415, section 2.
    """
    return _gelu_by_tanh() if checks.flag("gelu", "approximate", approximate) else _gelu()


def _gelu() -> Layer:
    def function(x: Array) -> Array:
        y = distribution(x)
        y *= np.clip(x, -GELU_END, np.inf)
        return y

    def derivative(x: Array, y: Array) -> Array:
        found, density = distribution_and_density(x)
        density *= np.clip(x, -GELU_END, GELU_END)
        found += density
        return found

    return row("gelu", function, derivative)


def _gelu_by_tanh() -> Layer:
    """(1 + tanh(u)) / 2 is sigmoid(2 u), in which nothing cancels."""

    def gate(bounded: Array) -> tuple[Array, Array]:
        square = bounded * bounded
        z = CUBIC * square
        z += 1
        z *= bounded
        z *= SLOPE
        return stable.sigmoid(z, z), square

    def function(x: Array) -> Array:
        s, _ = gate(np.clip(x, -GELU_END, GELU_END))
        s *= np.clip(x, -GELU_END, np.inf)
        return s

    def derivative(x: Array, y: Array) -> Array:
        bounded = np.clip(x, -GELU_END, GELU_END)
        s, square = gate(bounded)
        square *= 3 * CUBIC * SLOPE
        square += SLOPE
        square *= bounded
        square *= 1 - s
        square += 1
        square *= s
        return square

    return row("gelu", function, derivative)
