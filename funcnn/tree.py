"""A tree is a nested dict of arrays, and ``map`` applies a function to all leaves at once: that is all it takes.

Parameters, gradients and optimizer states are trees of one structure, so an optimizer step is a ``map`` over several
trees; a leaf is named by its path, ``stem/conv2d_0/w``, in every message, mask and file.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from funcnn.aliases import Array, Tree

__all__ = [
    "cast",
    "count",
    "flatten",
    "leaves",
    "map",
    "map_with_path",
    "nbytes",
    "norms",
    "paths",
    "ravel",
    "unflatten",
]


def flatten(tree: Tree) -> dict[str, Any]:
    """The leaves of a tree by their paths, in sorted order.

    Args:
        tree: a nested dict with non-empty string keys that hold no ``/``; a lone leaf has the path ``""``.

    Returns:
        ``{path: leaf}``. The order is that of the sorted keys, not of insertion, so that two trees of one structure
        always line up. Empty dicts leave no entry.

    Raises:
        TypeError: a key is not a string, or a list or a tuple stands where a dict should.
        ValueError: a key is empty or contains ``/``.

    Example:
        >>> flatten({"dense_0": {"w": 1.0, "b": 2.0}})
        {'dense_0/b': 2.0, 'dense_0/w': 1.0}
    """
    flat: dict[str, Any] = {}

    def visit(path: str, node: Tree) -> None:
        if not isinstance(node, dict):
            flat[path] = _leaf(path, node)
            return
        prefix = f"{path}/" if path else ""
        for key in sorted(node, key=lambda key: _check_key(path, key)):
            visit(prefix + key, node[key])

    visit("", tree)
    return flat


def unflatten(flat: dict[str, Any]) -> Tree:
    """The tree whose leaves have these paths: the inverse of ``flatten``.

    Args:
        flat: ``{path: leaf}``.

    Returns:
        The nested dict.

    Raises:
        ValueError: one path is a leaf and a branch at once.

    Example:
        >>> unflatten({"dense_0/b": 2.0, "dense_0/w": 1.0})
        {'dense_0': {'b': 2.0, 'w': 1.0}}
    """
    if "" in flat and len(flat) == 1:
        return flat[""]
    tree: dict[str, Any] = {}
    for path, leaf in flat.items():
        *branches, name = path.split("/")
        node = tree
        for branch in branches:
            node = node.setdefault(branch, {})
            if not isinstance(node, dict):
                raise ValueError(f"{path!r}: a part of this path is a leaf already")
        if name in node:
            raise ValueError(f"{path!r} is a leaf and a branch at once")
        node[name] = leaf
    return tree


def leaves(tree: Tree) -> list[Any]:
    """The leaves in the order of their sorted paths.

    Example:
        >>> leaves({"w": 1.0, "b": 2.0})
        [2.0, 1.0]
    """
    return list(flatten(tree).values())


def paths(tree: Tree) -> list[str]:
    """The sorted paths of all leaves.

    Example:
        >>> paths({"dense_0": {"w": 1.0, "b": 2.0}})
        ['dense_0/b', 'dense_0/w']
    """
    return list(flatten(tree))


def map(f: Callable[..., Any], tree: Tree, *others: Tree) -> Tree:
    """Apply ``f`` to the leaves at each path of one or several trees.

    Args:
        f: ``f(leaf, *leaves_of_the_others) -> leaf``.
        tree: gives the result its structure.
        *others: trees with the same paths; their leaves follow as further arguments.

    Returns:
        The tree of the results.

    Raises:
        ValueError: the trees differ; the message names the first paths that do.

    Example:
        >>> map(lambda p, g: p - 0.1 * g, {"w": 1.0}, {"w": 5.0})
        {'w': 0.5}
    """
    return map_with_path(lambda _, *leaf: f(*leaf), tree, *others)


def map_with_path(f: Callable[..., Any], tree: Tree, *others: Tree) -> Tree:
    """Like ``map``, for a function that wants to know where it is: ``f(path, leaf, *leaves)``.

    Example:
        >>> map_with_path(lambda path, leaf: path.endswith("w"), {"w": 1.0, "b": 2.0})
        {'w': True, 'b': False}
    """

    def visit(path: str, node: Tree, rest: tuple[Tree, ...]) -> Tree:
        if not isinstance(node, dict):
            if any(isinstance(other, dict) for other in rest):
                raise ValueError(f"trees differ: {path or 'the root'} is a leaf in one and a dict in another")
            return f(path, _leaf(path, node), *rest)
        for other in rest:
            _check_same_keys(path, node, other)
        return {
            _check_key(path, key): visit(f"{path}/{key}" if path else key, child, tuple(o[key] for o in rest))
            for key, child in node.items()
        }

    return visit("", tree, others)


def ravel(tree: Tree) -> tuple[Array, Callable[[Array], Tree]]:
    """All leaves as one vector, and the way back.

    Args:
        tree: arrays of one dtype.

    Returns:
        ``(vector, unravel)``; ``unravel(vector)`` is the tree again, and takes any vector of that size.

    Raises:
        ValueError: the leaves have different dtypes, or ``unravel`` is given a vector of another size.

    Example:
        >>> vector, unravel = ravel({"w": np.ones((2, 2)), "b": np.zeros(2)})
        >>> vector
        array([0., 0., 1., 1., 1., 1.])
        >>> unravel(2 * vector)["w"]
        array([[2., 2.],
               [2., 2.]])
    """
    flat = {path: np.asarray(leaf) for path, leaf in flatten(tree).items()}
    dtypes = {path: leaf.dtype for path, leaf in flat.items()}
    if len(set(dtypes.values())) > 1:
        raise ValueError(f"ravel needs leaves of one dtype, got { {p: str(d) for p, d in dtypes.items()} }")
    vector = np.concatenate([leaf.reshape(-1) for leaf in flat.values()] or [np.zeros(0, np.float32)])

    def unravel(new: Array) -> Tree:
        if new.shape != vector.shape:
            raise ValueError(f"unravel: expected a vector of shape {vector.shape}, got {new.shape}")
        parts: dict[str, Any] = {}
        start = 0
        for path, leaf in flat.items():
            parts[path] = new[start : start + leaf.size].reshape(leaf.shape)
            start += leaf.size
        return map_with_path(lambda path, _: parts[path], tree)

    return vector, unravel


def cast(tree: Tree, dtype: DTypeLike) -> Tree:
    """The tree with its floating-point leaves in another dtype; integers (step counts) stay what they are.

    Example:
        >>> cast({"w": np.ones(2, np.float32)}, np.float64)["w"].dtype
        dtype('float64')
    """

    def convert(leaf: Any) -> Any:
        array = np.asarray(leaf)
        return array.astype(dtype) if np.issubdtype(array.dtype, np.floating) else leaf

    return map(convert, tree)


def count(tree: Tree) -> int:
    """How many numbers the tree holds.

    Example:
        >>> count({"w": np.ones((3, 4)), "b": np.zeros(4)})
        16
    """
    return sum(np.size(leaf) for leaf in leaves(tree))


def nbytes(tree: Tree) -> int:
    """How many bytes its arrays take.

    Example:
        >>> nbytes({"w": np.ones((3, 4), np.float32)})
        48
    """
    return sum(np.asarray(leaf).nbytes for leaf in leaves(tree))


def norms(tree: Tree) -> dict[str, float]:
    """The Euclidean norm of each leaf by its path, added up in float64: of gradients or updates, how large they are.

    Example:
        >>> norms({"dense_0": {"w": np.array([[3.0], [4.0]]), "b": np.zeros(1)}})
        {'dense_0/b': 0.0, 'dense_0/w': 5.0}
    """
    return {path: float(np.sqrt(np.square(leaf, dtype=np.float64).sum())) for path, leaf in flatten(tree).items()}


def _check_key(path: str, key: object) -> str:
    """Refuse a key that could not be part of a path."""
    where = path or "the root of the tree"
    if not isinstance(key, str):
        raise TypeError(f"{where}: keys are strings, got {key!r}")
    if not key or "/" in key:
        raise ValueError(f"{where}: a key may not be empty or contain '/', got {key!r}")
    return key


def _leaf(path: str, node: object) -> object:
    """Refuse containers that are not dicts: they would have no name in a path."""
    if isinstance(node, list | tuple):
        raise TypeError(f"{path or 'the root of the tree'}: a tree is made of dicts, got a {type(node).__name__}")
    return node


def _check_same_keys(path: str, node: dict[str, Any], other: Tree) -> None:
    """Name what one dict has and the other lacks."""
    if not isinstance(other, dict):
        raise ValueError(f"trees differ: {path or 'the root'} is a dict in one and a leaf in another")
    if node.keys() != other.keys():
        prefix = f"{path}/" if path else ""
        missing, extra = sorted(node.keys() - other.keys()), sorted(other.keys() - node.keys())
        raise ValueError(
            "trees differ: "
            + "; ".join(
                f"only {where} has {', '.join(f'{prefix}{key}' for key in keys)}"
                for where, keys in (("the first", missing), ("another", extra))
                if keys
            )
        )
