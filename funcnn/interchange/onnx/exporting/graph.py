"""A graph of ONNX that is being built: nodes in the order of computation, constants, and names that are used once.

Every name begins with the path of the layer that it comes from. A transposition is moved behind the elementwise nodes
that follow it, and disappears where it meets its inverse, so that convolutions, which ONNX has channels-first, need
few.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from funcnn.aliases import Array, Shape
from funcnn.interchange.extras import package
from funcnn.tree import below

__all__ = ["BATCH", "Graph", "Tensor"]

BATCH = "batch"
"""The name of the batch axis, whose size is open."""


class Tensor(NamedTuple):
    """A value of the graph.

    Args:
        name: its name there.
        shape: of one example, without the batch axis.
        dtype: of its elements.
    """

    name: str
    shape: Shape
    dtype: np.dtype[Any]


class Graph:
    """The nodes and constants so far.

    Args:
        opset: the version of the operators.
    """

    def __init__(self, opset: int) -> None:
        self.onnx = package("onnx", "onnx", "export_onnx")
        self.opset = opset
        self.nodes: list[Any] = []
        self.constants: dict[str, Array] = {}
        self._parameters: dict[int, list[tuple[str, Array, Array]]] = {}
        self._names: set[str] = set()
        self._transposed: dict[str, tuple[str, tuple[int, ...]]] = {}

    def unique(self, name: str) -> str:
        """The name, with a number if it is taken."""
        found, number = name, 1
        while found in self._names:
            found, number = f"{name}_{number}", number + 1
        self._names.add(found)
        return found

    def constant(self, name: str, value: Array) -> str:
        """A constant; the same name and the same elements are one constant."""
        value = np.array(value, order="C")
        known = self.constants.get(name)
        if known is not None and known.dtype == value.dtype and np.array_equal(known, value, equal_nan=True):
            return name
        name = self.unique(name)
        self.constants[name] = value
        return name

    def parameter(self, path: str, name: str, own: Array | None, value: Array) -> str:
        """A constant that is made of an array of the parameters; the same array at several paths is one constant.

        A matrix at one path may be the transpose of that at another, as ``tied`` makes it.
        """
        if own is None:
            return self.constant(name, value)
        known = self._parameters.setdefault(own.__array_interface__["data"][0], [])
        for first, other, made in known:
            if other.size == own.size and np.array_equal(made, value):
                return first
            if other.size == own.size and value.ndim == 2 and np.array_equal(made, value.T):
                turned: str = self.op(path, "Transpose", [first], perm=[1, 0])
                return turned
        known.append((self.constant(name, value), own, value))
        return known[-1][0]

    def number(self, value: Any, dtype: Any) -> str:
        """A constant without axes, such as the 0.5 of a formula."""
        found = np.array(value, dtype)
        return self.constant(f"{found.dtype.name}/{found.item()}", found)

    def integers(self, values: Sequence[int]) -> str:
        """A constant vector of integers: a shape, axes, or pixels."""
        return self.constant(f"int64/{'_'.join(map(str, values))}", np.array(values, np.int64))

    def op(self, path: str, kind: str, inputs: Sequence[str], outputs: int = 1, **attributes: Any) -> Any:
        """Add a node and return the name of its output, or the names of several."""
        name = self.unique(below(path, kind))
        names = [self.unique(f"{name}:{number}") for number in range(outputs)]
        self.nodes.append(self.onnx.helper.make_node(kind, list(inputs), names, name, **attributes))
        return names[0] if outputs == 1 else names

    def transpose(self, path: str, x: str, order: Sequence[int]) -> str:
        """The axes of x in another order."""
        source, before = self._transposed.get(x, (x, tuple(range(len(order)))))
        whole = tuple(before[axis] for axis in order)
        if whole == tuple(range(len(whole))):
            return source
        found: str = self.op(path, "Transpose", [source], perm=whole)
        self._transposed[found] = (source, whole)
        return found

    def elementwise(self, path: str, kind: str, inputs: Sequence[str], **attributes: Any) -> str:
        """A node of elements, on arrays of one shape and on numbers: transposed inputs make a transposed output."""
        arrays = [x for x in inputs if x and (x not in self.constants or self.constants[x].ndim)]
        orders = {self._transposed.get(x, ("", ()))[1] for x in arrays}
        if len(orders) != 1 or orders == {()}:
            return self.op(path, kind, inputs, **attributes)  # type: ignore[no-any-return]
        sources = [self._transposed[x][0] if x in arrays else x for x in inputs]
        return self.transpose(path, self.op(path, kind, sources, **attributes), orders.pop())

    def reduce(self, path: str, kind: str, x: str, axes: Sequence[int], keepdims: bool) -> str:
        """A reduction over some axes; until opset 18 these were an attribute, but for the sum."""
        found: str = self.op(path, kind, [x, self.integers(axes)], keepdims=int(keepdims))
        return found

    @contextmanager
    def body(self) -> Iterator[list[Any]]:
        """The nodes that are added in this block are those of an inner graph, which a loop runs at each step."""
        outer, self.nodes = self.nodes, []
        try:
            yield self.nodes
        finally:
            self.nodes = outer

    def described(self, name: str, shape: Sequence[Any], dtype: Any) -> Any:
        """The name, type and shape of an input or an output; None and text stand for sizes that are open."""
        kind = self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return self.onnx.helper.make_tensor_value_info(name, kind, list(shape))

    def used(self, outputs: Sequence[str]) -> tuple[list[Any], dict[str, Array]]:
        """The nodes and constants that the outputs depend on."""
        wanted, nodes = set(outputs), []
        for node in reversed(self.nodes):
            if wanted & set(node.output):
                nodes.append(node)
                wanted |= _read(node)
        return nodes[::-1], {name: array for name, array in self.constants.items() if name in wanted}


def _read(node: Any) -> set[str]:
    """What a node reads, also inside of a loop."""
    inner = {name for a in node.attribute if a.HasField("g") for each in a.g.node for name in _read(each)}
    return inner | set(node.input)
