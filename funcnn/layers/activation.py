"""An activation applies one nonlinear function to each element; without one, a stack of layers would be a linear map.

Each is a row: the function and its derivative. The backward pass multiplies ``dy`` by the derivative. Softmax is the
exception: it looks at all elements of the last axis together, so its derivative is a matrix, which is never built.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from funcnn import checks
from funcnn.aliases import Array
from funcnn.calls import explained
from funcnn.engine.memory import empty_like
from funcnn.kernels import epilogue
from funcnn.kernels import softmax as stable
from funcnn.kernels.selection import select
from funcnn.protocol import Layer, LayerLike, as_layer, declared, layer, stateless
from funcnn.signals import reraise_if_of_a_handler
from funcnn.wording import shown

__all__ = [
    "Activation", "elementwise", "identity", "leaky_relu", "log_softmax", "relu", "sigmoid", "softmax", "swish", "tanh",
]  # fmt: skip

Pull = Callable[[Array], Array]

ActivationName: TypeAlias = Literal[
    "identity", "leaky_relu", "log_softmax", "relu", "sigmoid", "softmax", "swish", "tanh"
]  # fmt: skip
Activation: TypeAlias = LayerLike | ActivationName | None
"""What is taken as an activation: a layer without parameters, the name of one, or None for none."""


class Nonlinearity(NamedTuple):
    """A row: a function of each element and its derivative.

    Args:
        function: ``function(x, out=None) -> y``; ``out`` may be ``x``.
        derivative: ``derivative(x, y) -> dy/dx``, as floats or, where it is 0 or 1, as bools.
        in_place: whether the derivative reads only y, so that y may take the place of x in memory.
        constants: the function's constants, for an implementation that goes by its name.
    """

    function: Callable[..., Array]
    derivative: Callable[[Array, Array], Array]
    in_place: bool = False
    constants: tuple[float, ...] = ()


@explained
def elementwise(
    forward: Callable[[Array], Array],
    derivative: Callable[[Array, Array], Array],
    name: str = "elementwise",
) -> Layer:
    """y = f(x) for each element;  dx = dy * f'(x).

    Args:
        forward: ``x -> y``, of the shape and the dtype of x.
        derivative: ``(x, y) -> f'(x)``, like y, or bools where it is 0 or 1, or one number; many derivatives are
            simplest in ``y``, which is there already.
        name: the layer's kind.

    Returns:
        A layer without parameters.

    Raises:
        TypeError: an argument is not such a function; or, from ``apply`` and its vjp, what it returns is no array, or
            of another dtype.
        ValueError: what it returns is of another shape.

    Example:
        >>> sine = elementwise(np.sin, lambda x, y: np.cos(x), name="sine")
        >>> y, vjp_fn = sine.apply({}, np.zeros((1, 2)))
        >>> vjp_fn(np.ones((1, 2)))[1]
        array([[1., 1.]])
    """
    if not isinstance(name, str) or not name or "/" in name:
        raise ValueError(f"elementwise: name is a string that is not empty and has no '/', got {shown(name)}")
    checks.function(name, "forward", forward, "x")
    checks.function(name, "derivative", derivative, "x, y")

    def function(x: Array, out: Array | None = None) -> Array:
        return checks.returned_array(f"{name}: the function", forward(x), x.shape, x.dtype)

    def checked_derivative(x: Array, y: Array) -> Any:
        found, returned = derivative(x, y), f"{name}: the derivative"
        if not isinstance(found, np.ndarray):
            return checks.returned_number(returned, found)
        return checks.returned_array(returned, found, y.shape, found.dtype if found.dtype.kind == "b" else y.dtype)

    return _row(name, function, checked_derivative, docstring=elementwise.__doc__)


def _row(
    kind: str,
    function: Callable[..., Array],
    derivative: Callable[[Array, Array], Array],
    in_place: bool = False,
    constants: tuple[float, ...] = (),
    docstring: str | None = None,
) -> Layer:
    """The layer of one row, with the docstring of its function."""

    def forward(x: Array) -> tuple[Array, Pull]:
        y = function(x)
        seen = y if in_place else x  # where the derivative reads only y, x need not stay alive
        return y, lambda dy: _times(dy, derivative(seen, y), empty_like(y))

    forward.__doc__ = docstring or function.__doc__
    made = stateless(kind, forward)
    made.apply.nonlinearity = Nonlinearity(function, derivative, in_place, constants)  # type: ignore[attr-defined]
    return made


def _times(dy: Array, derivative: Any, out: Array) -> Array:
    """dy * derivative; a derivative of booleans selects, so that an infinite dy does not count where it is False."""
    if isinstance(derivative, np.ndarray) and derivative.dtype == bool:
        return select(dy, derivative, out)
    dx: Array = np.multiply(dy, derivative, out=out)
    return dx


def _relu(x: Array, out: Array | None = None) -> Array:
    """y = max(x, 0);  dx = dy where x > 0, else 0.

    It is ready, without arguments: ``fn.relu``, or ``activation="relu"`` in another layer.

    Args:
        x: floats of any shape, (batch, ...).

    Returns:
        A layer without parameters; its y is like x.

    Raises:
        TypeError: from ``apply``, x is no plain array of float32 or float64.

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
    return np.maximum(x, 0, out=empty_like(x) if out is None else out)


def _sigmoid(x: Array, out: Array | None = None) -> Array:
    """y = 1 / (1 + e^-x);  dx = dy * y (1 - y).

    It is ready, without arguments: ``fn.sigmoid``, or ``activation="sigmoid"`` in another layer.
    For training, end the model with logits and use ``sigmoid_cross_entropy``, which contains it.

    Args:
        x: floats of any shape, (batch, ...).

    Returns:
        A layer without parameters; its y is like x.

    Raises:
        TypeError: from ``apply``, x is no plain array of float32 or float64.

    Example:
        >>> import funcnn as fn, numpy as np
        >>> y, vjp_fn = fn.sigmoid.apply({}, np.array([[0.0, 1000.0]]))
        >>> y
        array([[0.5, 1. ]])
        >>> vjp_fn(np.ones_like(y))[1]
        array([[0.25, 0.  ]])

    Reference:
        Bishop 2006, "Pattern Recognition and Machine Learning", eq. 4.59 and 4.88.
    """
    return stable.sigmoid(x, out)


def _tanh(x: Array, out: Array | None = None) -> Array:
    """y = tanh(x);  dx = dy * (1 - y^2).

    It is ready, without arguments: ``fn.tanh``, or ``activation="tanh"`` in another layer.

    Args:
        x: floats of any shape, (batch, ...).

    Returns:
        A layer without parameters; its y is like x.

    Raises:
        TypeError: from ``apply``, x is no plain array of float32 or float64.

    Example:
        >>> import funcnn as fn, numpy as np
        >>> y, vjp_fn = fn.tanh.apply({}, np.array([[0.0, 100.0]]))
        >>> y
        array([[0., 1.]])
        >>> vjp_fn(np.ones_like(y))[1]
        array([[1., 0.]])

    Reference:
        LeCun, Bottou, Orr & Müller 1998, "Efficient backprop", section 4.4.
    """
    return np.tanh(x, out=empty_like(x) if out is None else out)


SIGMOID_ENDS = 1000
"""From here on the sigmoid is 0 or 1 in every dtype; products with it are limited to this, since 0 * inf is NaN."""


def _swish(x: Array, out: Array | None = None) -> Array:
    """y = x sigmoid(x), also called SiLU;  dx = dy * (s + y (1 - s)) with s = sigmoid(x).

    It is ready, without arguments: ``fn.swish``, or ``activation="swish"`` in another layer.

    Args:
        x: floats of any shape, (batch, ...).

    Returns:
        A layer without parameters; its y is like x.

    Raises:
        TypeError: from ``apply``, x is no plain array of float32 or float64.

    Example:
        >>> import funcnn as fn, numpy as np
        >>> y, vjp_fn = fn.swish.apply({}, np.array([[0.0, 100.0]]))
        >>> y
        array([[  0., 100.]])
        >>> vjp_fn(np.ones_like(y))[1]
        array([[0.5, 1. ]])

    Reference:
        Ramachandran, Zoph & Le 2017, "Searching for activation functions", arXiv 1710.05941.
    """
    s = stable.sigmoid(x)
    return np.multiply(np.maximum(x, -SIGMOID_ENDS), s, out=out)


def _swish_derivative(x: Array, y: Array) -> Array:
    """With s the sigmoid of x: (x s)' = s + x s (1 - s) = s + y (1 - s)."""
    s = stable.sigmoid(x)
    derivative: Array = s + np.minimum(y, SIGMOID_ENDS) * (1 - s)
    return derivative


def _relu_derivative(x: Array, y: Array) -> Array:
    """1 where y is not 0; NaN is not, so that its gradient is not hidden."""
    derivative: Array = y != 0
    return derivative


relu = _row("relu", _relu, _relu_derivative, in_place=True)
sigmoid = _row("sigmoid", _sigmoid, lambda x, y: y * (1 - y), in_place=True)
tanh = _row("tanh", _tanh, lambda x, y: 1 - y * y, in_place=True)
swish = _row("swish", _swish, _swish_derivative)


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
        return _row("leaky_relu", _relu, _relu_derivative, in_place=True, constants=(slope,))

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
        found: Array = np.maximum(positive, one * slope) if 0 < slope <= 1 else np.where(positive, one, one * slope)
        return found

    return _row("leaky_relu", function, derivative, in_place=slope > 0, constants=(slope,))


def _softmax(x: Array) -> tuple[Array, Pull]:
    """y_i = e^x_i / sum_j e^x_j over the last axis;  dx = y * (dy - <y, dy>).

    It is ready, without arguments: ``fn.softmax``, or ``activation="softmax"`` in another layer.
    For training, end the model with logits and use ``softmax_cross_entropy``, which contains it.

    Args:
        x: floats of shape (batch, ..., classes).

    Returns:
        A layer without parameters; its y is like x.

    Raises:
        TypeError: from ``apply``, x is no plain array of float32 or float64.

    Example:
        >>> import funcnn as fn, numpy as np
        >>> y, vjp_fn = fn.softmax.apply({}, np.array([[1000.0, 1000.0]]))
        >>> y
        array([[0.5, 0.5]])
        >>> vjp_fn(np.array([[1.0, 0.0]]))[1]
        array([[ 0.25, -0.25]])

    Reference:
        Bridle 1990; the product with the Jacobian diag(y) - y y^T takes one inner product, no matrix.
    """
    y = stable.softmax(x)

    def pull(dy: Array) -> Array:
        dy = select(dy, y != 0)  # a class that cannot be has no gradient, whatever its dy is
        dx: Array = y * (dy - (y * dy).sum(-1, keepdims=True))
        return dx

    return y, pull


def _log_softmax(x: Array) -> tuple[Array, Pull]:
    """y_i = x_i - log sum_j e^x_j over the last axis;  dx = dy - softmax(x) * sum(dy).

    It is ready, without arguments: ``fn.log_softmax``, or ``activation="log_softmax"`` in another layer.

    Args:
        x: floats of shape (batch, ..., classes).

    Returns:
        A layer without parameters; its y is like x.

    Raises:
        TypeError: from ``apply``, x is no plain array of float32 or float64.

    Example:
        >>> import funcnn as fn, numpy as np
        >>> y, vjp_fn = fn.log_softmax.apply({}, np.array([[1000.0, 0.0]]))
        >>> y
        array([[    0., -1000.]])
        >>> vjp_fn(np.array([[0.0, 1.0]]))[1]
        array([[-1.,  1.]])

    Reference:
        Bishop 2006, "Pattern Recognition and Machine Learning", eq. 4.104, its logarithm.
    """
    y = stable.log_softmax(x)
    return y, lambda dy: dy - np.exp(y) * dy.sum(-1, keepdims=True)


def _identity(x: Any) -> tuple[Any, Pull]:
    """y = x;  dx = dy.

    It is the branch of a combinator that changes nothing: ``fn.add(fn.identity, fn.dense(3))``.

    Args:
        x: an array or a tree of arrays of any numbers.

    Returns:
        A layer without parameters; its y is x itself.

    Raises:
        TypeError: from ``apply``, x is no tree of plain arrays.

    Example:
        >>> import funcnn as fn, numpy as np
        >>> y, vjp_fn = fn.identity.apply({}, np.array([[-1.0, 2.0]]))
        >>> y
        array([[-1.,  2.]])
    """
    return x, _same


softmax = stateless("softmax", _softmax)
log_softmax = stateless("log_softmax", _log_softmax)
identity = stateless("identity", _identity, floats=False)


def as_activation(kind: str, activation: Activation) -> Layer:
    """The layer behind an ``activation=`` argument.

    Args:
        kind: the kind of the layer that takes the argument, for messages.
        activation: None for the identity, a layer without parameters such as ``relu``, or its name.

    Returns:
        The layer.

    Raises:
        ValueError: no activation has that name, or the layer has parameters or takes an rng.
        TypeError: it is neither a layer nor a name.

    Example:
        >>> as_activation("dense", "relu")
        relu
    """
    if activation is None:
        return identity
    if not isinstance(activation, str):
        try:
            chosen = as_layer(activation)
        except TypeError as error:
            raise TypeError(f"{kind}: expected an activation, a layer or its name; {error}") from None
        if not _is_plain(chosen):
            raise ValueError(
                f"{kind}: expected an activation without parameters that draws nothing, got {shown(activation)}, which "
                f"gets neither parameters nor rng here; put it after {kind} in a serial"
            )
        return chosen
    name: str = activation
    if name == "leaky_relu":
        return leaky_relu()
    known = {value.kind: value for value in globals().values() if isinstance(value, Layer)}
    if name not in known:
        close = difflib.get_close_matches(name.lower(), known, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else "; did you mean 'swish'?" if name == "silu" else ""
        raise ValueError(f"{kind}: unknown activation {name!r}, expected one of {sorted([*known, 'leaky_relu'])}{hint}")
    return known[name]


def _is_plain(layer: Layer) -> bool:
    """Whether a layer has no parameters and draws nothing, and so needs to be given neither."""
    if layer.children:
        return all(map(_is_plain, layer.children.values()))
    if declared(layer.apply, "written") is None:
        return bool(declared(layer.apply, "is_stateless"))
    try:
        return not (layer.apply.takes_rng or layer.init((1,), 0))  # type: ignore[attr-defined]
    except Exception as error:  # an init of one's own that wants another shape has something to make of it
        reraise_if_of_a_handler(error)
        return False


class Fused(NamedTuple):
    """An activation at the end of another layer, which owns z and lets it be overwritten.

    Args:
        in_place: what can be done to a part of z while it is in the cache, by ``in_place(z)``; None for nothing. It is
            the ``activation`` of an epilogue.
        complete: ``complete(z) -> (y, pull)`` does the rest to the whole; ``pull(dy) -> dz`` is the backward pass.
    """

    in_place: epilogue.Activation | None
    complete: Callable[[Array], tuple[Array, Pull]]

    def __call__(self, z: Array) -> tuple[Array, Pull]:
        """Both, one after the other."""
        if self.in_place is not None:
            self.in_place(z)
        return self.complete(z)


def fuse(kind: str, activation: Activation) -> Fused:
    """What an ``activation=`` argument does to a layer's z; the arguments are those of ``as_activation``."""
    chosen = as_activation(kind, activation)
    row: Nonlinearity | None = declared(chosen.apply, "nonlinearity")
    if chosen is identity:
        return Fused(None, lambda z: (z, _same))
    if row is not None and row.in_place:
        return Fused(
            epilogue.Activation(chosen.kind, row.function, row.constants),
            lambda y: (y, lambda dy: _times(dy, row.derivative(y, y), empty_like(y))),
        )

    def complete(z: Array) -> tuple[Array, Pull]:
        y, vjp_fn = chosen.apply({}, z)
        return y, lambda dy: vjp_fn(dy)[1]

    return Fused(None, complete)


def _same(dy: Array) -> Array:
    return dy
