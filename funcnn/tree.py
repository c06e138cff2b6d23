"""A tree is a nested dict of arrays, and ``map`` applies a function to all leaves at once: that is all it takes.

Parameters, gradients and optimizer states are trees of one structure, so an optimizer step is a ``map`` over several
trees; a leaf is named by its path, ``stem/conv2d_0/w``, in every message, mask and file. A leaf may be None: the
gradient of an integer, boolean or frozen array.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from funcnn import checks, wording
from funcnn.aliases import Array, Arrays, Tree

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


def flatten(tree: Arrays) -> dict[str, Any]:
    """The leaves of a tree by their paths, in sorted order.

    Args:
        tree: a nested dict with non-empty string keys without ``/``; a single leaf has the path ``""``.

    Returns:
        ``{path: leaf}``, with leaves that are None. The keys of each dict are sorted, so that the leaves of two trees
        of one structure have the same order. Empty dicts leave no entry.

    Raises:
        TypeError: a key is not a string, or a list or a tuple stands where a dict should.
        ValueError: a key is empty or contains ``/``.

    Example:
        >>> flatten({"dense_0": {"w": 1.0, "b": 2.0}})
        {'dense_0/b': 2.0, 'dense_0/w': 1.0}
    """
    flat: dict[str, Any] = {}
    _add_leaves(flat, "", ("",), {"": tree})
    return flat


def unflatten(flat: dict[str, Any]) -> Tree:
    """The tree whose leaves have these paths: the inverse of ``flatten``.

    Args:
        flat: ``{path: leaf}``.

    Returns:
        The nested dict.

    Raises:
        TypeError: ``flat`` is not a dict, or a path is not a string.
        ValueError: one path is a leaf and a dict at once, or a part of a path is empty.

    Example:
        >>> unflatten({"dense_0/b": 2.0, "dense_0/w": 1.0})
        {'dense_0': {'b': 2.0, 'w': 1.0}}
    """
    if not isinstance(flat, dict):
        raise TypeError(f"tree.unflatten: expected a dict of leaves by their paths, got {checks.what(flat)}")
    if "" in flat and len(flat) == 1:
        return flat[""]
    tree: dict[str, Any] = {}
    for path, leaf in flat.items():
        if not isinstance(path, str):
            raise TypeError(f"tree.unflatten: paths are strings, got {wording.shown(path)}")
        *parents, name = path.split("/")
        if not name or not all(parents):
            raise ValueError(f"tree.unflatten: a key may not be empty, got the path {path!r}")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise ValueError(f"{path!r}: a part of this path is a leaf already")
        if name in node:
            raise ValueError(f"{path!r} is a leaf and a dict at once")
        node[name] = leaf
    return tree


def leaves(tree: Arrays) -> list[Any]:
    """The leaves in the order of their sorted paths.

    Args:
        tree: as for ``flatten``.

    Returns:
        The values of ``flatten(tree)``.

    Raises:
        TypeError, ValueError: as ``flatten``.

    Example:
        >>> leaves({"w": 1.0, "b": 2.0})
        [2.0, 1.0]
    """
    return list(flatten(tree).values())


def paths(tree: Arrays) -> list[str]:
    """The sorted paths of all leaves.

    Args:
        tree: as for ``flatten``.

    Returns:
        The keys of ``flatten(tree)``.

    Raises:
        TypeError, ValueError: as ``flatten``.

    Example:
        >>> paths({"dense_0": {"w": 1.0, "b": 2.0}})
        ['dense_0/b', 'dense_0/w']
    """
    return list(flatten(tree))


def map(f: Callable[..., Any], tree: Arrays, *others: Arrays) -> Tree:
    """Apply ``f`` to the leaves at each path of one or several trees; where one of them is None, the result is None.

    Args:
        f: ``f(leaf, *leaves_of_the_others) -> leaf``; it is not called for a path where any tree has None.
        tree: gives the result its structure.
        *others: trees with the same paths; their leaves follow as further arguments.

    Returns:
        The tree of the results.

    Raises:
        TypeError: a key of ``tree`` is not a string, or a list or a tuple stands where a dict should.
        ValueError: the trees differ, and the message names the first paths that do; or a key is empty or contains
            ``/``.

    Example:
        >>> map(lambda p, g: p - 0.1 * g, {"w": 1.0, "step": 3}, {"w": 5.0, "step": None})
        {'w': 0.5, 'step': None}
    """
    try:
        return _map(checks.function("tree.map", "f", f), False, "", {"": tree}, (others,))[""]
    except TypeError as error:
        if isinstance(f, np.ufunc) and type(error) is not TypeError:  # one of NumPy's own, about dtypes
            raise TypeError(f"tree.map: {f.__name__} does not take the dtypes of the leaves: {error}") from None
        raise


def map_with_path(f: Callable[..., Any], tree: Arrays, *others: Arrays) -> Tree:
    """Like ``map``, for a function that takes the path as well: ``f(path, leaf, *leaves_of_the_others) -> leaf``.

    Args:
        f: as for ``map``, with the path as its first argument.
        tree: gives the result its structure.
        *others: trees with the same paths.

    Returns:
        The tree of the results, None where a leaf is None.

    Raises:
        TypeError, ValueError: as ``map``.

    Example:
        >>> map_with_path(lambda path, leaf: path.endswith("w"), {"w": 1.0, "b": 2.0})
        {'w': True, 'b': False}
    """
    return _map(checks.function("tree.map_with_path", "f", f), True, "", {"": tree}, (others,))[""]


def ravel(tree: Arrays) -> tuple[Array, Callable[[Array], Tree]]:
    """All leaves as one vector, and the function that makes a vector a tree again.

    Args:
        tree: arrays of one dtype; leaves that are None have no place in the vector.

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
    flat = _numbers("ravel", tree)
    dtypes = {path: leaf.dtype for path, leaf in flat.items()}
    if len(set(dtypes.values())) > 1:
        raise ValueError(f"ravel needs leaves of one dtype, got { {p: str(d) for p, d in dtypes.items()} }")
    vector = np.concatenate([leaf.reshape(-1) for leaf in flat.values()] or [np.zeros(0, np.float32)])
    # `unravel` refers to shapes and paths only, so that it does not keep the leaves alive.
    size, shapes = vector.shape, {path: leaf.shape for path, leaf in flat.items()}
    path_tree = map_with_path(lambda path, _: path, tree)

    def unravel(new: Array) -> Tree:
        new = checks.array("unravel", new)
        if new.shape != size:
            raise ValueError(f"unravel: expected a vector of shape {size}, got {new.shape}")
        parts: dict[str, Any] = {}
        start = 0
        for path, shape in shapes.items():
            end = start + math.prod(shape)
            parts[path] = new[start:end].reshape(shape)
            start = end
        return map(parts.__getitem__, path_tree)

    return vector, unravel


def cast(tree: Arrays, dtype: DTypeLike) -> Tree:
    """The tree with its floating-point leaves in another dtype; integers, booleans and None are unchanged.

    Args:
        tree: a tree of arrays or numbers.
        dtype: the floating-point dtype of the result.

    Returns:
        A tree of new arrays, and of the given leaves where they are not floating-point.

    Raises:
        TypeError: ``dtype`` is not floating-point, or a leaf is not an array of real numbers.
        ValueError: as ``map``.

    Example:
        >>> cast({"w": np.ones(2, np.float32)}, np.float64)["w"].dtype
        dtype('float64')
    """
    if checks.dtype("tree.cast", dtype).kind != "f":
        raise TypeError(f"tree.cast: expected a floating-point dtype, got {wording.shown(dtype)}")

    def convert(path: str, leaf: Any) -> Any:
        array = _number(f"tree.cast, {path or 'the root'}", leaf)
        return array.astype(dtype) if array.dtype.kind == "f" else leaf

    return map_with_path(convert, tree)


def count(tree: Arrays) -> int:
    """The number of elements of all arrays of the tree.

    Args:
        tree: a tree of arrays or numbers; None counts as 0.

    Returns:
        The sum of their sizes.

    Raises:
        TypeError, ValueError: as ``flatten``.

    Example:
        >>> count({"w": np.ones((3, 4)), "b": np.zeros(4)})
        16
    """
    return sum(leaf.size for leaf in _numbers("count", tree).values())


def nbytes(tree: Arrays) -> int:
    """The number of bytes of all arrays of the tree.

    Args:
        tree: a tree of arrays or numbers; None counts as 0.

    Returns:
        The sum of their sizes in bytes.

    Raises:
        TypeError, ValueError: as ``flatten``.

    Example:
        >>> nbytes({"w": np.ones((3, 4), np.float32)})
        48
    """
    return sum(leaf.nbytes for leaf in _numbers("nbytes", tree).values())


def norms(tree: Arrays) -> dict[str, float]:
    """The Euclidean norm of each leaf by its path, such as the norms of all gradients or updates.

    Args:
        tree: a tree of arrays or numbers; None has no norm and leaves no entry.

    Returns:
        ``{path: norm}``, with the squares summed in float64.

    Raises:
        TypeError, ValueError: as ``flatten``.

    Example:
        >>> norms({"dense_0": {"w": np.array([[3.0], [4.0]]), "b": np.zeros(1)}})
        {'dense_0/b': 0.0, 'dense_0/w': 5.0}
    """
    return {
        path: math.sqrt(np.square(leaf, dtype=np.float64).sum())
        for path, leaf in _numbers("norms", tree, kinds="fiub").items()
    }


def check_parameters(params: Any, kind: str = "", call: str = "") -> None:
    """Raise if parameters are not nested dicts of plain arrays, all of float32 or all of float64.

    Integers and booleans, which have no gradient, may stand beside the floats. Names are strings that can be part of a
    path. Whether a layer has these parameters is another question, see ``contract.parameters``.

    Args:
        params: what is given as parameters.
        kind: who asks, for messages.
        call: how that is called, for the message about arguments in another order.

    Raises:
        TypeError: something is not a dict, not a plain array, or of another dtype; or float32 and float64 are mixed.
        ValueError: a name is empty or contains ``/``.

    Example:
        >>> check_parameters({"dense_0": {"w": np.ones((3, 2)), "b": np.zeros(2)}})
    """
    if not isinstance(params, dict):
        hint = wording.not_parameters(params, call)
        raise TypeError(f"{checks.prefix(kind)}expected a dict of parameters, got {checks.what(params)}{hint}")
    floats: dict[str, str] = {}
    for path, leaf in flatten(params).items():
        where = f"{checks.prefix(kind)}parameter {path!r}"
        if type(leaf) not in checks.PLAIN:
            checks.plain(where, leaf)
            use = wording.cast(leaf, path.rpartition("/")[2], "")
            raise TypeError(f"{where}: expected an array, got {checks.what(leaf)}; use {use}")
        if leaf.dtype.kind not in "iub":
            if leaf.dtype.char not in "fd":
                raise TypeError(
                    f"{where}: expected float32 or float64, got {leaf.dtype}; use tree.cast(params, np.float32)"
                )
            floats.setdefault(leaf.dtype.char, path)
    if len(floats) > 1:
        raise TypeError(
            f"{checks.prefix(kind)}the parameters have different dtypes: {floats['f']!r} is of float32, "
            f"{floats['d']!r} of float64; use tree.cast(params, np.float32)"
        )


# The recursive functions are not closures: a closure that calls itself is a reference cycle, which keeps the leaves
# alive until the garbage collector runs. Each takes a dict whose keys are checked, and `prefix`, its path and a "/".


def below(path: str, name: str) -> str:
    """The path of ``name`` below a path; the root is ``""``, as a path and as a name."""
    return f"{path}/{name}" if path and name else path or name


def is_below(path: str, branch: str) -> bool:
    """Whether a path is a branch or lies under it; all paths lie under the root, ``""``."""
    return not branch or path == branch or path.startswith(f"{branch}/")


def _add_leaves(flat: dict[str, Any], prefix: str, keys: Iterable[str], node: dict[str, Any]) -> None:
    """Add the leaves of a dict to ``flat``, in the order of ``keys``."""
    for key in keys:
        child = node[key]
        if type(child) is np.ndarray:
            flat[prefix + key] = child
        elif isinstance(child, dict):
            path = prefix + key
            _check_keys(path, child)
            _add_leaves(flat, path and f"{path}/", sorted(child), child)
        else:
            _check_leaf(prefix + key, child)
            flat[prefix + key] = child


def _map(
    f: Callable[..., Any], with_path: bool, prefix: str, node: dict[str, Any], others: Iterable[tuple[Any, ...]]
) -> dict[str, Any]:
    """Map a dict; ``others`` has a tuple for each key, the children of the other trees."""
    result: dict[str, Any] = {}
    for (key, leaf), rest in zip(node.items(), others):  # noqa: B905  `strict` takes 0.1 us a dict
        if type(leaf) is not np.ndarray:
            path = prefix + key
            if isinstance(leaf, dict):
                result[key] = _map(f, with_path, path and f"{path}/", leaf, _aligned(path, leaf, rest))
                continue
            _check_leaf(path, leaf)
        for other in rest:
            if type(other) is not np.ndarray and _is_none(prefix + key, other):
                leaf = None
        if leaf is None:
            result[key] = None
        elif with_path:
            result[key] = f(prefix + key, leaf, *rest)
        else:
            result[key] = f(leaf, *rest)
    return result


def _aligned(path: str, node: dict[str, Any], others: tuple[Tree, ...]) -> Iterable[tuple[Any, ...]]:
    """For each key of a dict the children of the other dicts."""
    _check_keys(path, node)
    if not others:
        return repeat(())
    keys = [*node]
    columns: list[Iterable[Any]] = []
    for other in others:
        if isinstance(other, dict) and [*other] == keys:
            columns.append(other.values())
        else:
            _check_same_keys(path, node, other)
            columns.append([other[key] for key in keys])
    return zip(*columns)  # noqa: B905  as above


def _check_keys(path: str, node: dict[str, Any]) -> None:
    """Raise an error that names the first key that cannot be part of a path."""
    for key in node:
        if not isinstance(key, str):
            raise TypeError(f"{path or 'the root of the tree'}: keys are strings, got {wording.shown(key)}")
        if not key or "/" in key:
            where = path or "the root of the tree"
            raise ValueError(f"{where}: a key may not be empty or contain '/', got {wording.shown(key)}")


def _is_none(path: str, other: Tree) -> bool:
    """Whether another tree has None where the first has a leaf; an error if it has a dict there."""
    if isinstance(other, dict):
        raise ValueError(f"trees differ: {path or 'the root'} is a leaf in one and a dict in another")
    return other is None


def _numbers(kind: str, tree: Tree, kinds: str = "fiubc") -> dict[str, Array]:
    """The leaves as arrays of numbers, without those that are None."""
    return {
        path: _number(f"tree.{kind}, {path or 'the root'}", leaf, kinds)
        for path, leaf in flatten(tree).items()
        if leaf is not None
    }


def _number(where: str, leaf: Any, kinds: str = "fiub") -> Array:
    """A leaf as an array of real numbers or booleans."""
    found = checks.array(where, leaf)
    if found.dtype.kind not in kinds:
        advice = "; use its .real" if found.dtype.kind == "c" else ""
        raise TypeError(f"{where}: expected real numbers, got {found.dtype}{advice}")
    return found


def _check_leaf(path: str, leaf: Any) -> None:
    """Raise an error for a list or a tuple: its items would have no name in a path."""
    if isinstance(leaf, list | tuple):
        where, hint = path or "the root of the tree", wording.not_parameters(leaf, "")
        raise TypeError(f"{where}: a tree is made of dicts, got a {type(leaf).__name__}{hint}")


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
