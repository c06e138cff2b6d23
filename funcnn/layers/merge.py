"""Merging makes one array of several: their sum, product or mean, side by side, or their inner products.

Each way is a row: ``merge(kind, ys) -> (y, split)``, where ``split(dy)`` is the vjp, the gradients of all inputs.
``add`` and ``concat`` use these rows for their branches, ``merge`` for a dict of inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any, Literal, TypeAlias

import numpy as np

from funcnn import checks
from funcnn.aliases import Array, Tree
from funcnn.engine.examples import added
from funcnn.engine.memory import empty_like
from funcnn.kernels.selection import multiplied
from funcnn.layers.activation import Pull
from funcnn.protocol import Layer, layer, stateless
from funcnn.wording import shown

__all__ = ["merge"]

How: TypeAlias = Literal["add", "multiply", "average", "concat", "dot"]
Merged: TypeAlias = tuple[Array, Callable[[Array], list[Array]]]


@layer
def merge(how: How, *names: str) -> Layer:
    """One array made of a dict of arrays: what joins the branches of a ``graph``.

    Args:
        how: ``"add"``, ``"multiply"`` or ``"average"``, element by element, for arrays of one shape; ``"concat"``, side
            by side on the last axis; ``"dot"``, for two arrays of one shape, the sum of products over the last axis,
            which stays with size 1.
        *names: the inputs in the order in which they are merged; by default all that come, sorted by name.

    Returns:
        A layer without parameters, from a dict of arrays to an array.

    Raises:
        TypeError: the inputs differ in dtype.
        ValueError: ``how`` is unknown or a name is given twice; or the inputs are others than the names, or of shapes
            that do not fit.

    Example:
        >>> y, vjp_fn = merge("multiply").apply({}, {"a": np.array([[2.0]]), "b": np.array([[5.0]])})
        >>> y, vjp_fn(np.ones((1, 1)))[1]
        (array([[10.]]), {'a': array([[5.]]), 'b': array([[2.]])})
    """
    if not isinstance(how, str) or how not in MERGES:
        raise ValueError(f"merge: unknown way {shown(how)}, expected one of {list(MERGES)}")
    kind = f"merge({how!r})"
    if not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise ValueError(f"{kind}: expected the names of different inputs, got {[*names]}")
    if how == "dot" and len(names) not in (0, 2):
        raise ValueError(f"{kind}: expected two inputs, got {len(names)}, {[*names]}")

    def forward(xs: Tree) -> tuple[Array, Pull]:
        if not isinstance(xs, dict) or (names and xs.keys() != set(names)) or not xs:
            got = sorted(xs) if isinstance(xs, dict) else f"a {type(xs).__name__}"
            raise ValueError(f"{kind}: expected a dict of the inputs {[*names] or 'to merge'}, got {got}")
        order = names or sorted(xs)
        check_one_dtype(kind, {name: xs[name] for name in order})
        y, split = MERGES[how](kind, [xs[name] for name in order])
        return y, lambda dy: dict(zip(order, split(dy), strict=True))  # type: ignore[return-value]

    return stateless("merge", forward, floats=False, per_position=True)


def check_one_dtype(kind: str, xs: Mapping[Any, Any]) -> None:
    """Raise unless the inputs, by name or number, are float arrays of one dtype: one of float64 would win."""
    for name, x in xs.items():
        if isinstance(x, dict):
            raise TypeError(f"{kind}: expected arrays, got a dict of {sorted(x)} as input {name!r}")
        checks.float_array(f"{kind}, input {name!r}", x)
    if len({x.dtype.char for x in xs.values()}) > 1:
        found = {name: x.dtype.name for name, x in xs.items()}
        raise TypeError(f"{kind}: expected inputs of one dtype, got {found}; use x.astype")


def add(kind: str, ys: list[Array]) -> Merged:
    """y = y_1 + ... + y_n;  each dy_i = dy."""
    _one_shape(kind, ys)
    count = len(ys)  # the arrays themselves must not be kept for the backward pass
    return added(ys), lambda dy: [dy] * count


def multiply(kind: str, ys: list[Array]) -> Merged:
    """y = y_1 ... y_n;  dy_i = dy times all others, and 0 where dy is 0, whatever the others are."""
    _one_shape(kind, ys)

    def split(dy: Array) -> list[Array]:
        return [multiplied(dy, [*ys[:number], *ys[number + 1 :]]) for number in range(len(ys))]

    return reduce(np.multiply, ys), split


def average(kind: str, ys: list[Array]) -> Merged:
    """y = (y_1 + ... + y_n) / n;  each dy_i = dy / n."""
    _one_shape(kind, ys)
    count = len(ys)
    try:
        with np.errstate(over="raise"):
            mean = added(ys) / count
    except FloatingPointError:  # the sum overflows, the mean does not
        mean = added([y / count for y in ys])
    return mean, lambda dy: [dy / count] * count


def concat(kind: str, ys: list[Array], axis: int = -1) -> Merged:
    """y = [y_1, ..., y_n] along an axis;  dy is cut where they were joined."""
    if -ys[0].ndim >= axis or axis >= ys[0].ndim:
        raise ValueError(f"{kind}: no axis {axis} to join in arrays of shape {ys[0].shape}")
    shapes = {(*y.shape[:axis], *y.shape[axis:][1:]) for y in ys}
    if len({y.ndim for y in ys}) > 1 or len(shapes) > 1:
        raise ValueError(f"{kind}: shapes {[y.shape for y in ys]} differ in more than axis {axis}")
    borders = np.cumsum([y.shape[axis] for y in ys])
    shape = list(ys[0].shape)
    shape[axis] = int(borders[-1])
    joined = np.concatenate(ys, axis, out=empty_like(ys[0], shape))
    return joined, lambda dy: np.split(dy, borders[:-1], axis)


def dot(kind: str, ys: list[Array]) -> Merged:
    """y = sum of a b over the last axis;  da = dy b,  db = dy a, and 0 where dy is 0, whatever a and b are."""
    _one_shape(kind, ys)
    if len(ys) != 2:
        raise ValueError(f"{kind}: expected two inputs, got {len(ys)}")
    a, b = ys
    if a.ndim < 2:
        raise ValueError(f"{kind}: expected arrays (batch, ..., features), got shape {a.shape}")

    def split(dy: Array) -> list[Array]:
        return [multiplied(dy, [b]), multiplied(dy, [a])]

    return (a * b).sum(-1, keepdims=True), split


def _one_shape(kind: str, ys: list[Array]) -> None:
    """Raise if the shapes differ: broadcasting would hide a mistake."""
    if len({y.shape for y in ys}) > 1:
        raise ValueError(f"{kind}: the branches return different shapes, {[y.shape for y in ys]}")


MERGES: dict[str, Callable[[str, list[Array]], Merged]] = {
    "add": add, "multiply": multiply, "average": average, "concat": concat, "dot": dot,
}  # fmt: skip
