"""Self-gated activations: x times a gate from 0 to 1 that x opens itself, so that y is 0 far below 0 and x far above.

Far below 0 the gate is 0, and x is limited, since 0 times infinity is NaN. Function and derivative share the gate,
which takes most of the time: both are computed at once, block by block, and the backward pass is one product.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from funcnn import checks
from funcnn.aliases import Array
from funcnn.kernels import softmax as stable
from funcnn.kernels.blocks import in_blocks
from funcnn.kernels.normal import distribution_and_density
from funcnn.layers.activation.row import ready, row
from funcnn.protocol import Layer, layer

__all__ = ["gelu", "hard_swish", "mish", "quick_gelu", "silu", "swish"]

SIGMOID_ENDS = 1000
"""From here on the sigmoid is 0 or 1 in every dtype; products with it are limited to this, since 0 * inf is NaN."""


def _swish(x: Array) -> tuple[Array, ...]:
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
    return in_blocks(partial(_gated_by_sigmoid, 1.0), x, 2, 2)


QUICK = 1.702


def _quick_gelu(x: Array) -> tuple[Array, ...]:
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
    return in_blocks(partial(_gated_by_sigmoid, QUICK), x, 2, 2)


def _gated_by_sigmoid(rate: float, x: Array, y: Array, slope: Array, bounded: Array, s: Array) -> None:
    """y = x s, and its derivative s + rate x s (1 - s); s = sigmoid(rate x)."""
    np.clip(x, -SIGMOID_ENDS, SIGMOID_ENDS, out=bounded)
    np.multiply(bounded, rate, out=s)
    stable.sigmoid(s, s)
    np.clip(x, -SIGMOID_ENDS, np.inf, out=y)
    y *= s
    np.subtract(1, s, out=slope)
    slope *= s
    bounded *= rate
    slope *= bounded
    slope += s


MISH_END = 20
"""From here on tanh(softplus(x)) is 1 in every dtype."""


def _mish(x: Array) -> tuple[Array, ...]:
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
    return in_blocks(_mish_block, x, 2, 3)


def _mish_block(x: Array, y: Array, slope: Array, e: Array, t: Array, inverse: Array) -> None:
    np.clip(x, -SIGMOID_ENDS, MISH_END, out=slope)
    np.exp(slope, out=e)
    np.add(e, 2, out=t)
    t *= e
    np.add(t, 2, out=inverse)
    np.divide(1, inverse, out=inverse)
    t *= inverse
    slope *= e
    e += 1
    slope *= e
    slope *= inverse  # one after the other: the square of n overflows in float32
    slope *= inverse
    slope *= 4
    slope += t
    np.clip(x, -SIGMOID_ENDS, np.inf, out=y)
    y *= t


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


swish = ready("swish", _swish, None)
silu = ready("silu", _swish, None)
quick_gelu = ready("quick_gelu", _quick_gelu, None)
mish = ready("mish", _mish, None)
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
    block = _gelu_by_tanh if checks.flag("gelu", "approximate", approximate) else _gelu
    return row("gelu", lambda x: in_blocks(block, x, 2, 3), None)


def _gelu(x: Array, y: Array, slope: Array, bounded: Array, probability: Array, scratch: Array) -> None:
    np.clip(x, -GELU_END, GELU_END, out=bounded)
    distribution_and_density(bounded, probability, slope, scratch)
    slope *= bounded
    slope += probability
    np.clip(x, -GELU_END, np.inf, out=y)
    y *= probability


def _gelu_by_tanh(x: Array, y: Array, slope: Array, bounded: Array, s: Array, scratch: Array) -> None:
    """(1 + tanh(u)) / 2 is s = sigmoid(2 u), in which nothing cancels;  (x s)' = s (1 + 2 x u' (1 - s))."""
    np.clip(x, -GELU_END, GELU_END, out=bounded)
    np.multiply(bounded, bounded, out=slope)
    np.multiply(slope, CUBIC, out=s)
    s += 1
    s *= bounded
    s *= SLOPE
    stable.sigmoid(s, s)
    slope *= 3 * CUBIC * SLOPE
    slope += SLOPE
    slope *= bounded
    np.subtract(1, s, out=scratch)
    slope *= scratch
    slope += 1
    slope *= s
    np.clip(x, -GELU_END, np.inf, out=y)
    y *= s
