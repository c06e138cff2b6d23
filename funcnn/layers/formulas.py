"""Formulas of single elements with fixed numbers: what other programs write as operators between their layers.

They have no parameters. An imported file of ONNX is made of them where no layer fits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import numpy as np

from funcnn import checks
from funcnn.aliases import Array
from funcnn.engine.memory import empty_like
from funcnn.layers.activation.row import row
from funcnn.protocol import Layer, layer
from funcnn.wording import shown

__all__ = ["affine", "power", "unary"]

Function: TypeAlias = Literal[
    "abs", "acos", "acosh", "asin", "asinh", "atan", "atanh", "ceil", "cos", "cosh", "erf", "floor", "log", "round",
    "sign", "sinh", "tan",
]  # fmt: skip


@layer
def affine(scale: float = 1.0, shift: float = 0.0) -> Layer:
    """y = scale * x + shift, with two fixed numbers;  dx = scale * dy.

    ``scale_and_shift`` learns a scale and a shift for each channel.

    Args:
        scale: what x is multiplied by, finite.
        shift: what is added, finite.

    Returns:
        A layer without parameters.

    Raises:
        TypeError: an argument is not a number.
        ValueError: an argument is not finite.

    Example:
        >>> affine(2.0, 1.0).apply({}, np.array([[3.0, -1.0]]))[0]
        array([[ 7., -1.]])
    """
    scale, shift = checks.number("affine", "scale", scale), checks.number("affine", "shift", shift)

    def function(x: Array) -> Array:
        with np.errstate(over="ignore", invalid="ignore"):
            y = np.multiply(x, scale, out=empty_like(x))
        if shift:
            y += shift
        return y

    return row("affine", function, lambda x, y: scale, constants=(scale, shift))


@layer
def power(exponent: float) -> Layer:
    """y = x^p;  dx = dy * p x^(p - 1).

    Where x is negative and p is not whole, y is NaN; where x is 0 and p is negative, it is infinite.

    Args:
        exponent: p, finite; 0.5 is the square root, -1 the reciprocal.

    Returns:
        A layer without parameters.

    Raises:
        TypeError: ``exponent`` is not a number.
        ValueError: ``exponent`` is not finite.

    Example:
        >>> y, vjp_fn = power(0.5).apply({}, np.array([[4.0, 9.0]]))
        >>> y
        array([[2., 3.]])
        >>> vjp_fn(np.ones_like(y))[1].round(4)
        array([[0.25  , 0.1667]])
    """
    p = checks.number("power", "exponent", exponent)

    def function(x: Array) -> Array:
        return _raised(x, p)

    def derivative(x: Array, y: Array) -> Array:
        if p == 0:  # y is 1, also at 0, where the product is 0 * inf
            return np.zeros(x.shape, bool)
        found = _raised(x, p - 1)
        with np.errstate(over="ignore", invalid="ignore"):
            found *= p
        return found

    return row("power", function, derivative, constants=(p,))


def _raised(x: Array, p: float) -> Array:
    with np.errstate(over="ignore", invalid="ignore", divide="ignore", under="ignore"):
        y: Array = np.power(x, x.dtype.type(p))
    return y


@layer
def unary(function: Function) -> Layer:
    """y = f(x) for a function of one element that is not an activation;  dx = dy * f'(x).

    Args:
        function: ``"abs"``; ``"cos"``, ``"tan"``, ``"cosh"``, ``"sinh"`` and the inverse functions ``"acos"``,
            ``"asin"``, ``"atan"``, ``"acosh"``, ``"asinh"``, ``"atanh"``; ``"erf"`` for the error function; ``"log"``;
            or ``"ceil"``, ``"floor"``, ``"round"`` (halves to the even number) and ``"sign"``, whose derivative is 0.
            Where a function has no value it is NaN.

    Returns:
        A layer without parameters.

    Raises:
        ValueError: the function is unknown.

    Example:
        >>> y, vjp_fn = unary("abs").apply({}, np.array([[-2.0, 3.0]]))
        >>> y, vjp_fn(np.ones_like(y))[1]
        (array([[2., 3.]]), array([[-1.,  1.]]))
    """
    if not isinstance(function, str) or function not in FUNCTIONS:
        raise ValueError(f"unary: unknown function {shown(function)}, expected one of {[*FUNCTIONS]}")
    forward, derivative = FUNCTIONS[function]
    return row("unary", forward, derivative)


def _quiet(function: Callable[..., Array]) -> Callable[..., Array]:
    """A function whose infinities and NaN are not errors."""

    def quiet(*arrays: Array) -> Array:
        with np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore"):
            return function(*arrays)

    return quiet


def _erf(x: Array) -> Array:
    """SciPy's: 2 Φ(√2 x) - 1 would have no digit left near 0."""
    from scipy.special import erf  # type: ignore[import-untyped]

    y: Array = erf(x)
    return y


def _erf_derivative(x: Array) -> Array:
    bounded = np.clip(x, -ERF_END, ERF_END)  # its square does not overflow
    derivative: Array = np.exp(-bounded * bounded) * x.dtype.type(2 / math.sqrt(math.pi))
    return derivative


ERF_END = 30
"""From here on the error function is 1 in every dtype, and its derivative 0."""


def _flat(x: Array, y: Array) -> float:
    """The derivative of a function of steps."""
    return 0.0


FUNCTIONS: dict[str, tuple[Callable[[Array], Array], Callable[[Array, Array], Any]]] = {
    "abs": (np.abs, lambda x, y: np.sign(x)),
    "acos": (_quiet(np.arccos), _quiet(lambda x, y: -1 / np.sqrt(1 - x * x))),
    "acosh": (_quiet(np.arccosh), _quiet(lambda x, y: 1 / np.sqrt(x * x - 1))),
    "asin": (_quiet(np.arcsin), _quiet(lambda x, y: 1 / np.sqrt(1 - x * x))),
    "asinh": (_quiet(np.arcsinh), _quiet(lambda x, y: 1 / np.sqrt(1 + x * x))),
    "atan": (_quiet(np.arctan), _quiet(lambda x, y: 1 / (1 + x * x))),
    "atanh": (_quiet(np.arctanh), _quiet(lambda x, y: 1 / (1 - x * x))),
    "ceil": (np.ceil, _flat),
    "cos": (_quiet(np.cos), lambda x, y: -_quiet(np.sin)(x)),
    "cosh": (_quiet(np.cosh), lambda x, y: _quiet(np.sinh)(x)),
    "erf": (_erf, lambda x, y: _erf_derivative(x)),
    "floor": (np.floor, _flat),
    "log": (_quiet(np.log), lambda x, y: _quiet(np.reciprocal)(x)),
    "round": (np.rint, _flat),
    "sign": (np.sign, _flat),
    "sinh": (_quiet(np.sinh), lambda x, y: _quiet(np.cosh)(x)),
    "tan": (_quiet(np.tan), _quiet(lambda x, y: 1 + y * y)),
}
