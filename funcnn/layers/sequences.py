"""A sequence is (batch, time, ...), alone or in a tree that says which of its steps there are and where it starts.

The tree is ``{"x", "mask" or "lengths", "state"}``, all but ``x`` optional. Every layer of sequences reads it here, and
puts its output back in the place of ``x``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from funcnn import checks, contract
from funcnn.aliases import Array, Tree
from funcnn.layers.trees import input_gradient

__all__ = ["Sequence", "has_time", "sequence", "state_of", "value_of", "with_gradients", "with_outputs"]

NAMES = ("x", "mask", "lengths", "state")


class Sequence(NamedTuple):
    """What a tree of a sequence holds.

    Args:
        x: (batch, time, ...).
        mask: (batch, time), True where there is data; None if that is everywhere.
        state: the tree of the initial state, as it was given; None if none was.
    """

    x: Array
    mask: Array | None
    state: Tree


def sequence(kind: str, tree: Tree, check: Callable[[Any], object]) -> Sequence:
    """Read a sequence, or a tree that has one.

    Args:
        kind: the layer's kind, for messages.
        tree: an array, or ``{"x", "mask" or "lengths", "state"}``.
        check: raises if ``x`` does not fit, or has fewer than two axes.
    """
    if not isinstance(tree, dict):
        check(tree)
        return Sequence(tree, None, None)
    if "x" not in tree or not tree.keys() <= set(NAMES):
        raise ValueError(
            f"{kind}: expected an array or a dict with 'x' and, as needed, 'mask' or 'lengths', and 'state', got "
            f"{sorted(map(str, tree))}"
        )
    x, state = tree["x"], tree.get("state")
    check(x)
    return Sequence(x, _mask(kind, tree, x.shape[:2]), state)


def has_time(kind: str, x: Any, least: int = 1) -> None:
    """Raise unless x is a batch of sequences with at least one step, or another number of them, of any numbers."""
    contract.tree_of_arrays(kind, x)
    if isinstance(x, dict) or x.ndim < 2 or x.shape[1] < least:
        raise ValueError(
            f"{kind}: expected an input of axes (batch, time, ...) with time >= {least}, got {contract.shape_of(x)}"
        )


def _mask(kind: str, tree: dict[str, Any], shape: tuple[int, int]) -> Array | None:
    """The mask of a tree, or that of its lengths; None if all steps are there."""
    if "mask" in tree and "lengths" in tree:
        raise ValueError(f"{kind}: expected 'mask' or 'lengths', got both; leave one of them out")
    if "mask" in tree:
        mask = checks.mask(kind, tree["mask"], shape)
    elif "lengths" in tree:
        mask = np.arange(shape[1]) < checks.lengths(kind, tree["lengths"], *shape)[:, None]
    else:
        return None
    return None if mask.all() else mask


def value_of(tree: Tree) -> Any:
    """The sequence of a tree, or what is one itself."""
    return tree["x"] if isinstance(tree, dict) else tree


def state_of(tree: Tree) -> Any:
    """The state of a tree; None if it has none."""
    return tree.get("state") if isinstance(tree, dict) else None


def with_outputs(tree: Tree, y: Tree, state: Tree) -> Tree:
    """The tree with the output in place of ``x`` and the final state in place of ``state``; y alone for an array.

    Example:
        >>> with_outputs({"x": 1, "mask": 2}, 3, None)
        {'x': 3, 'mask': 2}
    """
    if not isinstance(tree, dict):
        return y
    return {**tree, "x": y, "state": state} if "state" in tree else {**tree, "x": y}


def with_gradients(tree: Tree, dx: Array | None, dstate: Tree = None) -> Tree:
    """The gradient of the tree: those of ``x`` and ``state``, zeros for None, and None at integers and booleans.

    Example:
        >>> with_gradients({"x": np.ones(2), "mask": np.ones(2, bool)}, np.zeros(2))
        {'x': array([0., 0.]), 'mask': None}
    """
    return input_gradient(tree, None, {"x": dx, "state": dstate}, ("x", "state"))
