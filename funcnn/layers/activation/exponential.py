"""Exponential linear units: the identity above 0, and below it an exponential that levels off.

Their negative outputs bring the mean of the activations near 0. All three are one function with other constants.
"""

from __future__ import annotations

import numpy as np

from funcnn import checks
from funcnn.aliases import Array
from funcnn.layers.activation.row import ready_docstring, row
from funcnn.protocol import Layer, layer

__all__ = ["celu", "elu", "selu"]

LEVEL = 1000
"""From here on e^-x is 0 in every dtype, and the exponential of a smaller quotient need not be formed."""

SELU_SCALE = 1.0507009873554804934193349852946
SELU_ALPHA = 1.6732632423543772848170429916717


def _row(
    kind: str, scale: float, alpha: float, width: float, constants: tuple[float, ...] = (), docstring: str | None = None
) -> Layer:
    """y = scale * x where x > 0, else alpha * (e^(x / width) - 1)."""

    def below(x: Array) -> Array:
        """min(x, 0) / width, and no less than where its exponential is 0."""
        found = np.clip(x, -LEVEL * width, 0)
        if width != 1:
            found /= width
        return found

    def function(x: Array) -> Array:
        y = below(x)
        np.expm1(y, out=y)
        if alpha != 1:
            y *= alpha
        positive = np.clip(x, 0, np.inf)
        if scale != 1:
            with np.errstate(over="ignore"):
                positive *= scale
        y += positive
        return y

    def derivative(x: Array, y: Array) -> Array:
        # It could be made of y, as (y + alpha) / width, which far below 0 is nothing but rounding.
        found = below(x)
        np.exp(found, out=found)
        if alpha != width:
            found *= alpha / width
        if scale != alpha / width:
            found += np.multiply(x > 0, x.dtype.type(scale - alpha / width))
        return found

    return row(kind, function, derivative, constants=constants, docstring=docstring)


@layer
def elu(alpha: float = 1.0) -> Layer:
    """y = x where x > 0, else alpha * (e^x - 1);  dx = dy where x > 0, else dy * alpha * e^x.

    Args:
        alpha: not negative; y is above ``-alpha``.

    Returns:
        A layer without parameters.

    Raises:
        TypeError: ``alpha`` is not a number.
        ValueError: ``alpha`` is negative or not finite.

    Example:
        >>> y, vjp_fn = elu().apply({}, np.array([[-1000.0, 0.0, 2.0]]))
        >>> y
        array([[-1.,  0.,  2.]])
        >>> vjp_fn(np.ones_like(y))[1]
        array([[0., 1., 1.]])

    Reference:
        Clevert, Unterthiner & Hochreiter 2016, "Fast and accurate deep network learning by exponential linear units",
        arXiv 1511.07289, equation 15.
    """
    alpha = checks.nonnegative("elu", "alpha", alpha)
    return _row("elu", 1.0, alpha, 1.0, (alpha,))


@layer
def celu(alpha: float = 1.0) -> Layer:
    """y = x where x > 0, else alpha * (e^(x / alpha) - 1);  dx = dy where x > 0, else dy * e^(x / alpha).

    Unlike that of ``elu``, its derivative is continuous for every alpha.

    Args:
        alpha: positive; y is above ``-alpha``.

    Returns:
        A layer without parameters.

    Raises:
        TypeError: ``alpha`` is not a number.
        ValueError: ``alpha`` is not positive and finite.

    Example:
        >>> y, vjp_fn = celu(2.0).apply({}, np.array([[-1000.0, 0.0, 2.0]]))
        >>> y
        array([[-2.,  0.,  2.]])
        >>> vjp_fn(np.ones_like(y))[1].round(4)
        array([[0., 1., 1.]])

    Reference:
        Barron 2017, "Continuously differentiable exponential linear units", arXiv 1704.07483, equation 2.
    """
    alpha = checks.positive("celu", "alpha", alpha, usual="1.0")
    return _row("celu", 1.0, alpha, alpha, (alpha,))


def _selu() -> None:
    """y = 1.0507 x where x > 0, else 1.7581 (e^x - 1);  dx = 1.0507 dy where x > 0, else 1.7581 dy e^x.

    With these constants, and weights of ``initializers.lecun_normal``, layer after layer keeps mean 0 and variance 1.

    Example:
        >>> import funcnn as fn, numpy as np
        >>> y, vjp_fn = fn.selu.apply({}, np.array([[-1000.0, 0.0, 1.0]]))
        >>> y.round(4)
        array([[-1.7581,  0.    ,  1.0507]])

    Reference:
        Klambauer, Unterthiner, Mayr & Hochreiter 2017, "Self-normalizing neural networks", arXiv 1706.02515, equations
        2 and 14.
    """


selu = _row("selu", SELU_SCALE, SELU_SCALE * SELU_ALPHA, 1.0, docstring=ready_docstring("selu", _selu))
