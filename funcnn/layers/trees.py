"""A tree around a sequence: ``{"x", "mask", "cache", ...}`` goes in, and comes out with ``x`` and ``cache`` replaced.

Layers of sequences take the array x alone as well. What a layer does not use passes, and so does its gradient.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from funcnn import checks
from funcnn.aliases import Array, Shape, Tree
from funcnn.engine.examples import added, filled

__all__ = ["check_axes", "example_shape", "input_gradient", "key_mask", "leaf_gradient", "leaves_of", "same_batch"]


def leaves_of(kind: str, x: Any, names: Collection[str], required: Collection[str] = ("x",)) -> dict[str, Any]:
    """The leaves of an input tree, or the array as ``{"x": x}``; an error for a name that the layer does not know.

    Example:
        >>> leaves_of("attention", {"x": 1, "maks": 2}, ["x", "mask"])
        Traceback (most recent call last):
        ValueError: attention: expected a tree with some of ['x', 'mask'], got ['maks', 'x']
    """
    if not isinstance(x, dict):
        if "x" not in required or len(required) > 1:
            raise ValueError(f"{kind}: expected a dict with {[*required]}, got {checks.what(x)}")
        return {"x": x}
    if not x.keys() <= set(names):
        raise ValueError(f"{kind}: expected a tree with some of {[*names]}, got {sorted(map(str, x))}")
    if missing := [name for name in required if name not in x]:
        raise ValueError(f"{kind}: expected a tree with {missing}, got {sorted(x)}")
    return x


def check_axes(kind: str, x: Any, name: str = "", axes: str = "batch, time, features") -> None:
    """Raise if a leaf is not a batch of floats with these axes."""
    where = f"{kind}, input {name!r}" if name else kind
    checks.float_array(where, x)
    if x.ndim != axes.count(",") + 1:
        one = "; of one example, use x[None]" if x.ndim == axes.count(",") else ""
        raise ValueError(f"{where}: expected an input of axes ({axes}), got shape {x.shape}{one}")


def same_batch(kind: str, x: Array, name: str, leaf: Array) -> None:
    """Raise if a leaf has another dtype or batch than x."""
    if leaf.dtype.char != x.dtype.char:
        raise TypeError(f"{kind}, input {name!r}: expected {x.dtype}, which x has, got {leaf.dtype}; use .astype")
    if len(leaf) != len(x):
        raise ValueError(f"{kind}, input {name!r}: expected {len(x)} examples, which x has, got {len(leaf)}")


def key_mask(kind: str, name: str, mask: Any, batch: int, queries: int, keys: int) -> None:
    """Raise if a mask is not boolean, of shape (batch, keys) or (batch, queries, keys)."""
    if type(mask) not in checks.PLAIN or mask.dtype.kind != "b":
        got = mask.dtype if isinstance(mask, np.ndarray) else type(mask).__name__
        raise TypeError(
            f"{kind}, input {name!r}: expected booleans, True where there is data, got {got}; use mask.astype(bool)"
        )
    if mask.shape not in ((batch, keys), (batch, queries, keys)):
        raise ValueError(
            f"{kind}, input {name!r}: expected a mask of keys {(batch, keys)} or of pairs of query and key "
            f"{(batch, queries, keys)}, got {mask.shape}"
        )


def example_shape(shape: Tree) -> Shape:
    """The shape of x in a tree of shapes."""
    found: Shape = shape.get("x", ()) if isinstance(shape, dict) else shape
    return found


def input_gradient(x: Tree, dy: Tree, found: Mapping[str, Any], replaced: Collection[str] = ("x",)) -> Tree:
    """The gradient of an input: that of what the layer used, and that of what it passed on.

    Args:
        x: the input, an array or a tree.
        dy: the gradient of the output, whose ``x`` is another one than that of the input.
        found: the gradients of the leaves that were used.
        replaced: the leaves that are others in the output than in the input, so that their gradients do not pass.

    Example:
        >>> one = np.ones(1)
        >>> input_gradient({"x": one, "context": one}, {"x": one, "context": one}, {"x": 2 * one, "context": one})
        {'x': array([2.]), 'context': array([2.])}
    """
    if not isinstance(x, dict):
        return found["x"]
    passed = {name: None if name in replaced or not isinstance(dy, dict) else dy.get(name) for name in x}
    return filled({name: added([passed[name], found.get(name)]) for name in x}, x)


def leaf_gradient(dy: Tree, like: Any) -> Array:
    """The gradient of the output's x, with zeros for None."""
    found: Array | None = dy["x"] if isinstance(dy, dict) else dy
    return np.zeros(*like["x"]) if found is None else found
