"""A row is an activation of single elements: a function and its derivative. The backward pass multiplies dy by it.

What a row may promise besides makes it fast: a derivative that reads only y lets y take the place of x in memory, and
booleans select instead of multiplying.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from funcnn import checks
from funcnn.aliases import Array
from funcnn.calls import explained
from funcnn.engine.memory import empty_like
from funcnn.kernels.selection import select
from funcnn.protocol import Layer, declared, stateless
from funcnn.wording import shown

__all__ = ["elementwise"]

Pull = Callable[[Array], Array]


def same(dy: Array) -> Array:
    """The pull of the identity."""
    return dy


class Nonlinearity(NamedTuple):
    """A row: a function of each element and its derivative.

    Args:
        function: ``function(x) -> y``; with ``in_place`` it also takes ``out``, which may be ``x``. Without a
            derivative it returns both, ``(y, dy/dx)``.
        derivative: ``derivative(x, y) -> dy/dx``, as floats or, where it is 0 or 1, as bools; None if it shares so much
            with the function that both are computed at once.
        in_place: whether the derivative reads only y, so that y may take the place of x in memory.
        constants: the function's constants, for an implementation that goes by its name.
        flat: whether there are intervals in which y is constant and dx is 0, also where dy is infinite. Bools say so
            by themselves.
    """

    function: Callable[..., Any]
    derivative: Callable[[Array, Array], Any] | None
    in_place: bool = False
    constants: tuple[float, ...] = ()
    flat: bool = False

    def evaluate(self, x: Array) -> tuple[Array, Callable[[], Any]]:
        """y, and a function that returns the derivative."""
        if self.derivative is None:
            y, slope = self.function(x)
            return y, lambda: slope
        y = self.function(x)
        return y, self.slope(x, y)

    def slope(self, x: Array, y: Array) -> Callable[[], Any]:
        """The function that returns the derivative; it keeps y alone alive where that is enough."""
        derivative, seen = self.derivative, y if self.in_place else x
        assert derivative is not None
        return lambda: derivative(seen, y)

    def gradient(self, dy: Array, derivative: Any, y: Array) -> Array:
        """dy * derivative, in the memory order of y; an infinite dy does not count where dx is 0 for certain."""
        out = empty_like(y)
        if isinstance(derivative, np.ndarray) and derivative.dtype == bool:
            return select(dy, derivative, out)
        if self.flat:
            dy = select(dy, derivative != 0)
        dx: Array = np.multiply(dy, derivative, out=out)
        return dx


def row(
    kind: str,
    function: Callable[..., Any],
    derivative: Callable[[Array, Array], Any] | None,
    in_place: bool = False,
    constants: tuple[float, ...] = (),
    flat: bool = False,
    docstring: str | None = None,
) -> Layer:
    """The layer of one row; the arguments are those of ``Nonlinearity``."""
    nonlinearity = Nonlinearity(function, derivative, in_place, constants, flat)

    def forward(x: Array) -> tuple[Array, Pull]:
        y, slope = nonlinearity.evaluate(x)
        return y, lambda dy: nonlinearity.gradient(dy, slope(), y)

    forward.__doc__ = docstring
    made = stateless(kind, forward, per_position=True)
    made.apply.nonlinearity = nonlinearity  # type: ignore[attr-defined]
    return made


def row_of(layer: Layer) -> Nonlinearity | None:
    """The row of a layer, or None if it is not an activation of single elements."""
    found: Nonlinearity | None = declared(layer.apply, "nonlinearity")
    return found


def ready(
    kind: str,
    function: Callable[..., Any],
    derivative: Callable[[Array, Array], Any] | None,
    in_place: bool = False,
    flat: bool = False,
) -> Layer:
    """The layer of a row without constants, with the docstring of its function."""
    return row(kind, function, derivative, in_place, flat=flat, docstring=ready_docstring(kind, function))


def ready_docstring(
    kind: str,
    function: Callable[..., Any],
    x: str = "floats of any shape, (batch, ...)",
    y: str = "like x",
    also: str = "",
) -> str:
    """The docstring of a layer that is ready: that of a function, with what all of them share before its example.

    Args:
        kind: the layer's kind.
        function: its docstring is the formula, what else is to be said, the example and the reference.
        x: the input in words.
        y: the output in words.
        also: a line of ``Raises``, besides the one that all share.
    """
    formula, example, rest = (function.__doc__ or "").partition("    Example:\n")
    raises = f"\n        {also}" if also else ""
    return f"""{formula}    It is ready, without arguments: ``fn.{kind}``, or ``activation="{kind}"`` in another layer.

    Args:
        x: {x}.

    Returns:
        A layer without parameters; its y is {y}.

    Raises:
        TypeError: from ``apply``, x is not a plain array of float32 or float64.{raises}

{example}{rest}"""


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
        TypeError: an argument is not such a function; or, from ``apply`` and its vjp, what it returns is not an array,
            or of another dtype.
        ValueError: what it returns is of another shape.

    Example:
        >>> bent = elementwise(np.sin, lambda x, y: np.cos(x), name="bent")
        >>> y, vjp_fn = bent.apply({}, np.zeros((1, 2)))
        >>> vjp_fn(np.ones((1, 2)))[1]
        array([[1., 1.]])
    """
    if not isinstance(name, str) or not name or "/" in name:
        raise ValueError(f"elementwise: name is a string that is not empty and has no '/', got {shown(name)}")
    checks.function(name, "forward", forward, "x")
    checks.function(name, "derivative", derivative, "x, y")

    def function(x: Array) -> Array:
        return checks.returned_array(f"{name}: the function", forward(x), x.shape, x.dtype)

    def checked_derivative(x: Array, y: Array) -> Any:
        found, returned = derivative(x, y), f"{name}: the derivative"
        if not isinstance(found, np.ndarray):
            return checks.returned_number(returned, found)
        return checks.returned_array(returned, found, y.shape, found.dtype if found.dtype.kind == "b" else y.dtype)

    return row(name, function, checked_derivative, docstring=elementwise.__doc__)
