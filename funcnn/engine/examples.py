"""A batch is an array of examples, or a nested dict of such arrays: it is cut, joined, and its gradients are added.

The arrays of a dict have the same examples in the same order, so every function here does to each array what it does to
one.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from funcnn import tree
from funcnn.aliases import Array, Tree
from funcnn.engine.memory import empty_like

__all__ = [
    "added", "arrays_of", "check_one_length", "ends_of", "filled", "join", "slices", "split_at", "split_like",
]  # fmt: skip


def join(parts: Sequence[Tree]) -> Tree:
    """The batch again.

    Example:
        >>> join([np.zeros((2, 3)), np.ones((1, 3))]).shape
        (3, 3)
    """
    first = parts[0]
    if len(parts) == 1 or first is None:
        return first
    if isinstance(first, dict):
        return {name: join([part[name] for part in parts]) for name in first}
    return np.concatenate(parts, out=empty_like(first, (sum(map(len, parts)), *first.shape[1:])))


def split_like(whole: Tree, parts: Sequence[Tree]) -> list[Tree]:
    """A batch cut as these microbatches were.

    Example:
        >>> [part.tolist() for part in split_like(np.arange(3), [np.zeros(2), np.zeros(1)])]
        [[0, 1], [2]]
    """
    return split_at(whole, ends_of(parts))


def ends_of(parts: Sequence[Tree]) -> list[int]:
    """Where microbatches end in the batch, but for the last one."""
    return list(accumulate(len(arrays_of(part)[0]) for part in parts[:-1]))


def split_at(whole: Tree, ends: list[int]) -> list[Tree]:
    """A batch cut at these places."""
    if not ends or whole is None:
        return [whole] * (len(ends) + 1)
    if isinstance(whole, dict):
        columns = {name: split_at(leaf, ends) for name, leaf in whole.items()}
        return [{name: column[number] for name, column in columns.items()} for number in range(len(ends) + 1)]
    return np.split(whole, ends)


def slices(x: Tree, size: int) -> list[Tree]:
    """Microbatches of this size; the last one may be smaller."""
    leaves = arrays_of(x)
    n = len(leaves[0]) if leaves else 0
    return [_sliced(x, slice(first, first + size)) for first in range(0, n, size)] if n > size else [x]


def _sliced(x: Tree, part: slice) -> Tree:
    """Some examples of a batch."""
    return {name: _sliced(leaf, part) for name, leaf in x.items()} if isinstance(x, dict) else x[part]


def added(trees: Sequence[Tree]) -> Tree:
    """The sum of gradients, in their order; None stands for zero, and what only some bring stays as it is.

    Example:
        >>> added([{"w": np.ones(2)}, {"w": np.ones(2)}])
        {'w': array([2., 2.])}
    """
    present = [tree for tree in trees if tree is not None]
    if len(present) < 2:
        return present[0] if present else None
    first, *others = present
    if isinstance(first, dict):
        names = dict.fromkeys(name for tree in present for name in tree)
        return {name: added([tree.get(name) for tree in present]) for name in names}
    total = np.add(first, others[0], out=empty_like(first))
    for other in others[1:]:
        # The first sum is new memory of ours, and the others may go into it.
        np.add(total, other, out=total)
    return total


def filled(dx: Tree, x: Tree) -> Tree:
    """The gradient of an input with zeros where None stands for them; None stays at integers and booleans.

    Example:
        >>> filled({"a": None, "tokens": None}, {"a": np.ones(2), "tokens": np.ones(2, int)})
        {'a': array([0., 0.]), 'tokens': None}
    """
    if isinstance(x, dict):
        return {name: filled(None if dx is None else dx[name], leaf) for name, leaf in x.items()}
    return np.zeros_like(x) if dx is None and x.dtype.kind == "f" else dx


def arrays_of(x: Tree) -> list[Array]:
    """The arrays of a batch."""
    if isinstance(x, dict):
        return [leaf for child in x.values() for leaf in arrays_of(child)]
    return [x] if isinstance(x, np.ndarray) and x.ndim else []


def check_one_length(x: Tree) -> None:
    """Raise if the arrays of a batch have different numbers of examples."""
    if len({len(leaf) for leaf in arrays_of(x)}) > 1:
        lengths = {path: len(leaf) for path, leaf in tree.flatten(x).items() if np.ndim(leaf)}
        raise ValueError(f"expected inputs with the same number of examples, got {lengths}")
