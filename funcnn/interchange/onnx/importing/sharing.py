"""Parameters that a file has once and uses at several places become one parameter here, so that training keeps them so.

Exporters store the transpose of a matrix as an array of its own, so a matrix that is the transpose of another one,
element for element, is taken for the same. They also store all norms that are as they started once, as ones and zeros,
so a vector of one number is shared only where the other parameters of its layer are.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import NamedTuple

import numpy as np

from funcnn import combinators, tree
from funcnn.aliases import Array, Params
from funcnn.combinators.parameters import is_frozen
from funcnn.interchange.onnx.importing.builder import Node
from funcnn.protocol import Layer

__all__ = ["with_shared"]

STATISTICS = ("mean", "var")


class _Leaf(NamedTuple):
    """A parameter that is learned: its path, the node that has it, and the arrays of the file that this is made of."""

    path: str
    node: str
    value: Array
    origins: frozenset[str]

    @property
    def is_plain(self) -> bool:
        """Whether it is a vector of one number."""
        return self.value.ndim == 1 and bool((self.value == self.value[0]).all())


def with_shared(model: Layer, params: Params, nodes: Mapping[str, Node]) -> tuple[Layer, Params]:
    """The model with parameters that are one in the file tied together, and the parameters without the others."""
    leaves = [*_learned(params, nodes)]
    same: dict[str, str] = {}
    turned: dict[str, str] = {}
    shared: set[tuple[str, str]] = set()  # pairs of nodes
    for plain in (False, True):
        for a, b in combinations([leaf for leaf in leaves if leaf.is_plain == plain], 2):
            if a.node == b.node or {a.path, b.path} & {*same, *turned} or (plain and (a.node, b.node) not in shared):
                continue
            is_one = bool(a.origins & b.origins)
            if is_one and np.array_equal(a.value, b.value):
                same[b.path] = a.path
            elif a.value.ndim == 2 and (is_one or _is_distinct(a.value)) and np.array_equal(a.value, b.value.T):
                turned[b.path] = a.path
            elif is_one and not plain and a.value.size == b.value.size and _is_multiple(a.value, b.value):
                _warn(a, b)
                continue
            else:
                continue
            shared.add((a.node, b.node))
    for ties, transpose in ((same, False), (turned, True)):
        if ties:
            model = combinators.tied(model, ties, transpose)
    flat = {path: leaf for path, leaf in tree.flatten(params).items() if path not in same and path not in turned}
    own: Params = tree.unflatten(flat)
    return model, own


def _learned(params: Params, nodes: Mapping[str, Node]) -> Iterator[_Leaf]:
    """The parameters that training changes."""
    for name, own in params.items():  # in the order of computation
        node = nodes[name]
        for path, value in tree.flatten({name: own}).items():
            measured = node.layer.measure is not None and path.split("/")[-1] in STATISTICS
            stays = measured or is_frozen(node.layer, path.partition("/")[2])
            if not stays and value.size > 1 and value.dtype.kind == "f":
                yield _Leaf(path, name, value, node.origins)


def _is_distinct(matrix: Array) -> bool:
    """Whether most elements of a matrix are different, so that it is not the transpose of another one by chance."""
    return 2 * len(np.unique(matrix)) > matrix.size


def _is_multiple(a: Array, b: Array) -> bool:
    """Whether the elements of two arrays are those of one, in another order or times a number."""
    one, other = (np.sort(np.abs(x), axis=None) for x in (a, b))
    return bool(other[-1]) and np.allclose(one, other * (one[-1] / other[-1]), rtol=1e-4)


def _warn(a: _Leaf, b: _Leaf) -> None:
    names = ", ".join(sorted(a.origins & b.origins))
    warnings.warn(
        f"import_onnx: the file has {names} once, which is the parameters {a.path} of shape {a.value.shape} and "
        f"{b.path} of shape {b.value.shape} here, since their layers need it in two forms; training changes each alone",
        stacklevel=_depth(),
    )


def _depth() -> int:
    """How far above a function here the user's line is; a graph inside of another is read further down."""
    frame, depth = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals["__name__"].partition(".")[0] == "funcnn":
        frame, depth = frame.f_back, depth + 1
    return depth
