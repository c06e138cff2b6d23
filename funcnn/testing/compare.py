"""Trees compared as the laws need it: bit by bit, or by the largest difference; and arrays that cannot be written to.

Leaves may be None, where there is no gradient.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from funcnn import tree
from funcnn.aliases import Array, Tree

__all__ = ["differing", "distance", "dtype_of", "floats", "read_only", "unlike"]


def floats(*trees: Tree) -> list[tuple[Any, ...]]:
    """The float leaves of trees of one structure, side by side."""
    columns = zip(*(tree.flatten(one).values() for one in trees), strict=True)
    return [leaves for leaves in columns if all(leaf is not None and leaf.dtype.kind == "f" for leaf in leaves)]


def read_only(array: Array) -> Array:
    """A copy that cannot be written to."""
    copy = np.array(array)
    copy.setflags(write=False)
    return copy


def differing(expected: Tree, got: Tree) -> float:
    """How many leaves differ in any bit."""
    a, b = tree.flatten(expected), tree.flatten(got)
    wrong = len(a.keys() ^ b.keys())
    for path in a.keys() & b.keys():
        one, other = a[path], b[path]
        if one is None or other is None:
            wrong += one is not other
        else:
            wrong += not np.array_equal(one, other, equal_nan=np.asarray(one).dtype.kind == "f")
    return float(wrong)


def distance(one: Tree, other: Tree) -> float:
    """The largest difference of any leaf, relative to its largest element (at least 1)."""
    a, b = tree.flatten({"of": one}), tree.flatten({"of": other})
    if a.keys() != b.keys():
        return math.inf
    return max((_leaf_distance(a[path], b[path]) for path in a), default=0.0)


def _leaf_distance(a: Any, b: Any) -> float:
    """The same of two arrays."""
    if a is None or b is None:
        return 0.0 if a is b else math.inf
    if a.shape != b.shape:
        return math.inf
    if a.dtype.kind != "f":
        return 0.0 if np.array_equal(a, b) else math.inf
    largest = float(np.max(np.abs(a - b)) / max(1.0, float(np.max(np.abs(a))))) if a.size else 0.0
    return math.inf if math.isnan(largest) else largest  # a maximum of errors would pass over NaN


def dtype_of(leaf: Any) -> str:
    """The name of a dtype, also of a number."""
    return str(np.asarray(leaf).dtype)


def unlike(expected: dict[str, Any], got: Tree, what: Callable[[Any], Any]) -> float:
    """How many leaves are missing, extra, or differ in shape or dtype, or in being None."""
    found = tree.flatten(got)
    wrong = len(expected.keys() ^ found.keys())
    for path in expected.keys() & found.keys():
        a, b = expected[path], found[path]
        wrong += (a is None) != (b is None) or (a is not None and what(a) != what(b))
    return float(wrong)
