"""An activation bends each number by a fixed curve; without one, a stack of layers would be a single linear map.

Going back, ``dy`` is multiplied by the curve's slope where the number stood. Softmax is the exception: it looks at
all numbers of the last axis together, and so its slope is a whole matrix, which is never built.
"""

# A vjp_fn is defined at each call of apply; like this its annotations cost nothing there.
from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from funcnn.aliases import Array, Params, Rng
from funcnn.protocol import InPlace, Layer, Vjp, as_layer, check_float, check_gradient, elementwise, layer, no_params
from funcnn.engine.memory import empty_like

__all__ = [
    "as_activation", "identity", "leaky_relu", "log_softmax", "relu", "sigmoid", "softmax", "swish", "tanh",
]  # fmt: skip


def _logistic(x: Array, out: Array | None = None) -> Array:
    """1 / (1 + e^-x), with the exponential of a number that is never positive, so it cannot overflow."""
    e = np.exp(-np.abs(x))
    y: Array = np.divide(np.where(x >= 0, x.dtype.type(1), e), 1 + e, out=out)
    return y


def _identity(params: Params, x: Array, rng: Rng | None = None) -> tuple[Array, Vjp]:
    """y = x;  dx = dy.

    Example:
        >>> _identity({}, np.ones(2))[0]
        array([1., 1.])
    """
    return x, lambda dy, input_grad=True: ({}, dy if input_grad else None)


identity = Layer(no_params, _identity, kind="identity")
"""y = x."""


def _in_place(name: str, write: Callable[[Array, Array], Any], slope: Callable[[Array], Array]) -> Layer:
    """An elementwise layer that can be fused: its slope is told by its answer."""
    plain = elementwise(lambda x: write(x, empty_like(x)), lambda x, y: slope(y), name)
    return replace(plain, in_place=InPlace(write, slope))


relu = _in_place("relu", lambda x, out: np.maximum(x, 0, out=out), lambda y: y > 0)
"""y = max(x, 0);  dx = dy where x > 0, else 0."""

sigmoid = _in_place("sigmoid", _logistic, lambda y: y * (1 - y))
"""y = 1 / (1 + e^-x);  dx = dy * y (1 - y)."""

tanh = _in_place("tanh", lambda x, out: np.tanh(x, out=out), lambda y: 1 - y * y)
"""y = tanh(x);  dx = dy * (1 - y^2)."""


def _swish_slope(x: Array, y: Array) -> Array:
    """With s the sigmoid of x: (x s)' = s + x s (1 - s) = s + y (1 - s)."""
    s = _logistic(x)
    slope: Array = s + y * (1 - s)
    return slope


swish = elementwise(lambda x: x * _logistic(x), _swish_slope, name="swish")
"""y = x sigmoid(x), also called SiLU (Ramachandran et al. 2017, arXiv 1710.05941)."""


@layer
def leaky_relu(slope: float = 0.01) -> Layer:
    """y = x where x > 0, else slope * x.

    Args:
        slope: of the negative half, finite.

    Returns:
        A layer without parameters.

    Raises:
        ValueError: ``slope`` is not a finite number.

    Example:
        >>> y, _ = leaky_relu(0.1).apply({}, np.array([[-1.0, 2.0]]))
        >>> y
        array([[-0.1,  2. ]])

    Reference:
        Maas, Hannun & Ng 2013, "Rectifier nonlinearities improve neural network acoustic models".
    """
    if not np.isfinite(slope):
        raise ValueError(f"leaky_relu: slope must be a finite number, got {slope!r}")

    def curve(x: Array) -> Array:
        return np.where(x > 0, x, slope * x)

    return elementwise(curve, lambda x, y: np.where(x > 0, x.dtype.type(1), x.dtype.type(slope)))


def _softmax(params: Params, x: Array, rng: Rng | None = None) -> tuple[Array, Vjp]:
    """y_i = e^x_i / sum_j e^x_j over the last axis;  dx = y * (dy - <y, dy>).

    Example:
        >>> _softmax({}, np.array([[1000.0, 1000.0]]))[0]
        array([[0.5, 0.5]])

    Reference:
        Bridle 1990; the product with the Jacobian diag(y) - y y^T takes one inner product, no matrix.
    """
    check_float("softmax", x)
    # Subtracting the largest changes nothing in the quotient and keeps every exponential at 1 or below.
    e = np.exp(x - x.max(-1, keepdims=True)) if x.size else x
    y = e / e.sum(-1, keepdims=True)

    def vjp_fn(dy: Array, input_grad: bool = True) -> tuple[Params, Array | None]:
        check_gradient("softmax", dy, y)
        return {}, y * (dy - (y * dy).sum(-1, keepdims=True)) if input_grad else None

    return y, vjp_fn


softmax = Layer(no_params, _softmax, kind="softmax")
"""y_i = e^x_i / sum_j e^x_j over the last axis."""


def _log_softmax(params: Params, x: Array, rng: Rng | None = None) -> tuple[Array, Vjp]:
    """y_i = x_i - log sum_j e^x_j over the last axis;  dx = dy - softmax(x) * sum(dy).

    Example:
        >>> _log_softmax({}, np.array([[1000.0, 0.0]]))[0]
        array([[    0., -1000.]])
    """
    check_float("log_softmax", x)
    shifted = x - x.max(-1, keepdims=True) if x.size else x
    y = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))

    def vjp_fn(dy: Array, input_grad: bool = True) -> tuple[Params, Array | None]:
        check_gradient("log_softmax", dy, y)
        return {}, dy - np.exp(y) * dy.sum(-1, keepdims=True) if input_grad else None

    return y, vjp_fn


log_softmax = Layer(no_params, _log_softmax, kind="log_softmax")
"""y_i = x_i - log sum_j e^x_j over the last axis."""


def as_activation(kind: str, activation: Any) -> Layer:
    """The layer behind an ``activation=`` argument.

    Args:
        kind: the kind of the layer that takes the argument, for messages.
        activation: None for the identity, a layer without parameters such as ``relu``, or its name.

    Returns:
        The layer.

    Raises:
        ValueError: no activation has that name.
        TypeError: it is neither a layer nor a name.

    Example:
        >>> as_activation("dense", "relu")
        relu
    """
    if activation is None:
        return identity
    if not isinstance(activation, str):
        return as_layer(activation)
    if activation == "leaky_relu":
        return leaky_relu()
    known = {value.kind: value for value in globals().values() if isinstance(value, Layer)}
    if activation not in known:
        close = difflib.get_close_matches(activation, known, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ValueError(
            f"{kind}: unknown activation {activation!r}, expected one of {sorted([*known, 'leaky_relu'])}{hint}"
        )
    return known[activation]


@dataclass(frozen=True)
class Fused:
    """An activation at the end of another layer, which owns z and lets it be overwritten.

    Args:
        part: ``part(z)`` does in place what can be done to a part of z alone, while it is in the cache.
        finish: ``finish(z) -> (y, pull)`` does the rest to the whole; ``pull(dy) -> dz`` is the way back.
        rest: whether there is a rest, and ``finish`` changes z.
    """

    part: Callable[[Array], Any]
    finish: Callable[[Array], tuple[Array, Callable[[Array], Array]]]
    rest: bool = False

    def __call__(self, z: Array) -> tuple[Array, Callable[[Array], Array]]:
        """All of it at once."""
        self.part(z)
        return self.finish(z)


def fuse(kind: str, activation: Any) -> Fused:
    """What an ``activation=`` argument does to a layer's z; the arguments are those of ``as_activation``."""
    layer = as_activation(kind, activation)
    in_place = layer.in_place
    if layer is identity:
        return Fused(lambda z: None, lambda z: (z, lambda dy: dy))
    if in_place is not None:
        return Fused(
            lambda z: in_place.write(z, z),
            lambda y: (y, lambda dy: np.multiply(dy, in_place.slope(y), out=empty_like(y))),
        )

    def finish(z: Array) -> tuple[Array, Callable[[Array], Array]]:
        y, vjp_fn = layer.apply({}, z)

        def pull(dy: Array) -> Array:
            _, dz = vjp_fn(dy)
            if dz is None:
                raise TypeError(f"{kind}: an activation's vjp_fn must return (dparams, dx), got None for dx")
            return dz

        return y, pull

    return Fused(lambda z: None, finish, rest=True)
