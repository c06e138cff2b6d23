"""The graph of layers that is being made of a file: nodes with their parameters, and arrays in the order they need.

A node's output shape is that of its layer for one example, as ``init`` finds it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from funcnn import layers as fn
from funcnn.aliases import Array, Params, Shape
from funcnn.combinators import frozen
from funcnn.engine.children import INPUT
from funcnn.interchange.onnx.example import one_example
from funcnn.interchange.onnx.importing.values import BATCH, Constant, Operand, Unsupported, Value, common_parts
from funcnn.protocol import Layer
from funcnn.shapes import spec

__all__ = ["Builder", "Node", "node_name"]


def node_name(name: str) -> str:
    """A name of the file as one of a node, which is a part of a path."""
    return re.sub(r"[^\w.:-]+", ".", name).strip(".")


@dataclass
class Node:
    """A layer of the graph.

    Args:
        layer: the layer.
        inputs: the names of its inputs.
        params: its parameters.
        y: its output for one example; a tree of a node that others select of.
        origins: the names of the arrays of the file that its parameters are made of.
    """

    layer: Layer
    inputs: tuple[str, ...]
    params: Params
    y: Any
    origins: frozenset[str]


@dataclass
class Builder:
    """The nodes so far.

    Args:
        batch: the size of the batch that is assumed while the file is read.
        name: what the next nodes are called after: the operator of the file.
        reserved: names that only outputs may have.
        origins: the names of the arrays that the operator of the file has as its inputs.
    """

    batch: int
    name: str = ""
    nodes: dict[str, Node] = field(default_factory=dict)
    sources: dict[str, Array] = field(default_factory=dict)
    converted: dict[str, str] = field(default_factory=dict)
    constants: dict[tuple[int, int | None, Any], tuple[Constant, Value]] = field(default_factory=dict)
    reserved: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()

    def source(self, name: str, shape: Shape, dtype: Any) -> Value:
        """An input of the model."""
        self.sources[name] = one_example(spec(shape, dtype))
        return Value.plain(name, shape, dtype, self.batch)

    def add(self, layer: Layer, inputs: Sequence[str], params: Params | None = None, suffix: str = "") -> str:
        """A node that applies a layer; its name."""
        base = node_name(f"{self.name}{suffix}") or layer.kind
        name, number = base, 1
        while name in self.nodes or name == INPUT or name in self.reserved:
            name, number = f"{base}_{number}", number + 1
        values = {source: self.example(source) for source in inputs}
        x: Any = values if len(inputs) > 1 else next(iter(values.values()))
        y = layer.apply(params or {}, x)[0]
        self.nodes[name] = Node(layer, tuple(inputs), params or {}, y, self.origins if params else frozenset())
        return name

    def example(self, name: str) -> Array:
        """The output of a node for one example."""
        found: Array = self.sources[name] if name in self.sources else self.nodes[name].y
        return found

    def shape(self, node: str) -> Shape:
        """The shape of one example of a node's output."""
        return self.example(node).shape[1:]

    def elementwise(self, layer: Layer, x: Value, params: Params | None = None) -> Value:
        """A layer of single elements, in whatever order they are."""
        return x.same(self.add(layer, [x.node], params))

    def floats(self, x: Value) -> Value:
        """The value in floats, as layers take it: True is 1."""
        if self.example(x.node).dtype.kind == "f":
            return x
        name = self.converted.get(x.node)
        if name is None:
            name = self.converted[x.node] = self.add(fn.to_float, [x.node], suffix=":to_float")
        return x.same(name)

    def arranged(self, x: Value, wanted: Sequence[Sequence[int]]) -> str:
        """The node with the parts of x in the wanted axes behind the batch."""
        if self.needs_no_move(x, wanted):
            return x.node
        x = self.floats(x)
        return self._arranged(x.node, dict(enumerate(x.sizes)), wanted)

    def needs_no_move(self, x: Value, wanted: Sequence[Sequence[int]]) -> bool:
        """Whether the array has the wanted axes already."""
        parts = [part for axis in wanted for part in axis]
        shape = tuple(math.prod(x.sizes[part] for part in axis) for axis in wanted)
        return parts == [*range(1, len(x.sizes))] and self.shape(x.node) == shape

    def _arranged(self, node: str, parts: Mapping[Any, int], wanted: Sequence[Sequence[Any]]) -> str:
        """The same for named parts, in the order of memory."""
        memory = [name for name, size in parts.items() if name != BATCH and size > 1]
        order = [name for axis in wanted for name in axis if parts[name] > 1]
        if sorted(map(memory.index, order)) != [*range(len(memory))]:
            raise Unsupported("an array in which the batch is not an axis of its own")
        target = [math.prod(parts[name] for name in axis) for axis in wanted]
        if order != memory:
            # Neighbours that stay neighbours move as one.
            runs = _runs(memory, order)
            node = self.reshaped(node, [math.prod(parts[name] for name in run) for run in runs])
            new = [next(place for place, run in enumerate(runs, 1) if run[0] == name) for name in order
                   if any(run[0] == name for run in runs)]  # fmt: skip
            node = self.add(fn.permute(tuple(new)), [node], suffix=":permute")
        return self.reshaped(node, target)

    def reshaped(self, node: str, shape: Sequence[int]) -> str:
        """The node with each example in another shape."""
        if self.shape(node) == tuple(shape):
            return node
        if len(shape) == 1:
            return self.add(fn.flatten, [node], suffix=":flatten")
        return self.add(fn.reshape(*shape), [node], suffix=":reshape")

    def in_file_order(self, x: Value) -> str:
        """The node with the axes of the file, of which the batch is the first."""
        if not x.axes or x.axes[0] != (BATCH,):
            raise Unsupported(f"a value of shape {x.file_shape} whose first axis is not the batch")
        return self.arranged(x, x.axes[1:])

    def channels_last(self, x: Value) -> str:
        """The node (batch, *pixels, channels) of a value (batch, channels, *pixels)."""
        if len(x.axes) < 2 or x.axes[0] != (BATCH,):
            raise Unsupported(f"images of shape {x.file_shape} whose first axis is not the batch")
        return self.arranged(x, [*x.axes[2:], x.axes[1]])

    def images(self, node: str, dtype: Any) -> Value:
        """The value (batch, channels, *pixels) of a node (batch, *pixels, channels)."""
        shape = self.shape(node)
        sizes: dict[Hashable, int] = dict(enumerate((self.batch, *shape)))
        return Value.of(node, dtype, sizes, [[BATCH], [len(shape)], *([n] for n in range(1, len(shape)))])

    def with_last(self, x: Value, last: Sequence[int]) -> tuple[str, list[int]]:
        """The node with some axes of the file at its end, joined to one; the parts in front of it.

        Where they are at the end already nothing moves.
        """
        parts = [part for axis in last for part in x.axes[axis]]
        if BATCH in parts:
            raise Unsupported("an operator along the batch")
        others = [part for part in range(1, len(x.sizes)) if part not in parts]
        in_place = [*others, *parts] == [*range(1, len(x.sizes))]
        size = math.prod(x.sizes[part] for part in parts)
        if in_place and self.shape(x.node)[-1:] == (size,):
            return x.node, others
        return self.arranged(x, [*([part] for part in others), parts]), others

    def after_last(self, x: Value, node: str, others: list[int], last: int, size: int) -> Value:
        """The value of a node that has made ``size`` elements of the last axis, which is one axis of the file."""
        parts: dict[Hashable, int] = {BATCH: self.batch, **{part: x.sizes[part] for part in others}, "new": size}
        axes: list[Sequence[Hashable]] = [axis if place != last else ["new"] for place, axis in enumerate(x.axes)]
        return Value.of(node, x.dtype, parts, axes)

    def constant(self, array: Constant, batch_axis: int | None = None, dtype: Any = np.float32) -> Value:
        """An array as a node: learned if it is of finite floats; masks, infinities and single numbers stay.

        The same array is the same node, wherever it is used. Integers and booleans become floats of a dtype.
        """
        key = (id(array), batch_axis, np.dtype(dtype))
        if key not in self.constants:  # it keeps the array, so that no other one gets its id
            self.constants[key] = array, self._constant(self.without_batch(array, batch_axis), dtype)
        return self.constants[key][1]

    def _constant(self, found: Constant, dtype: Any) -> Value:
        floats = found if found.dtype.kind == "f" else found.astype(dtype)
        layer, source = fn.parameter(*floats.shape), next(iter(self.sources))
        own = {"w": np.array(floats, order="C")}
        node = self.add(layer if _is_learned(found) else frozen(layer), [source], own, ":constant")
        parts: dict[Hashable, int] = {BATCH: self.batch, **dict(enumerate(floats.shape, 1))}
        return Value.of(node, floats.dtype, parts, [[n] for n in range(1, floats.ndim + 1)])

    def without_batch(self, array: Constant, batch_axis: int | None) -> Constant:
        """An array that is the same for all examples, with size 1 in place of the batch."""
        if batch_axis is None or array.shape[batch_axis] == 1:
            return array
        first = array.take([0], batch_axis)
        if not np.array_equal(np.broadcast_to(first, array.shape), array, equal_nan=array.dtype.kind == "f"):
            raise Unsupported("a constant that differs from example to example")
        return first

    def product(self, a: Value, b: Value) -> Value:
        """The product of the matrices on the last two axes of the file; the axes in front broadcast."""
        rank = max(len(a.axes), len(b.axes)) - 2
        outer = [x.with_axes([*[()] * (rank + 2 - len(x.axes)), *x.axes[:-2]]) for x in (a, b)]
        if any(BATCH in axis for x in (a, b) for axis in x.axes[-2:]):
            raise Unsupported("a product over the batch")
        parts, memories = _common(outer, rank)
        batches = {axis for x in outer for axis in _batch_axis(x, rank)}
        whole = {name: size for memory in memories for name, size in memory.items() if name[0] != "own"}  # type: ignore[index]
        nodes = []
        for x, memory in zip((a, b), memories, strict=True):
            matrix = [[("own", part) for part in axis] for axis in x.axes[-2:]]
            nodes.append(
                self._arranged(x.node, memory, [*([name] if name in memory else [] for name in whole), *matrix])
            )
        made = self.combine(fn.arithmetic, "matmul", nodes)
        axes = _axes_of(parts, next(iter(batches), None), whole)
        sizes: dict[Hashable, int] = {BATCH: self.batch, **whole, "m": a.file_shape[-2], "n": b.file_shape[-1]}
        return Value.of(made, a.dtype, sizes, [*axes, ["m"], ["n"]])

    def side_by_side(self, values: Sequence[Value], axis: int) -> Value:
        """The values joined along an axis of the file."""
        outer = [x.with_axes([*x.axes[:axis], *x.axes[axis + 1 :]]) for x in values]
        rank = len(outer[0].axes)
        parts, memories = _common(outer, rank)
        batches = {place for x in outer for place in _batch_axis(x, rank)}
        shared = [{name: n for name, n in memory.items() if name[0] != "own"} for memory in memories]  # type: ignore[index]
        if any(own.keys() != shared[0].keys() for own in shared):
            raise Unsupported(f"arrays of shapes {[x.file_shape for x in values]} side by side")
        nodes = [
            self._arranged(x.node, memory, [*([name] for name in shared[0]), [("own", part) for part in x.axes[axis]]])
            for x, memory in zip(values, memories, strict=True)
        ]
        made = self.combine(fn.merge, "concat", nodes)
        axes = _axes_of(parts, next(iter(batches), None), shared[0])
        sizes: dict[Hashable, int] = {BATCH: self.batch, **shared[0], "new": self.shape(made)[-1]}
        return Value.of(made, values[0].dtype, sizes, [*axes[:axis], ["new"], *axes[axis:]])

    def combine(self, maker: Callable[..., Layer], how: str, nodes: Sequence[str], suffix: str = "") -> str:
        """A node of several others, in their order."""
        names = list(nodes)
        for place, name in enumerate(names):
            if name in names[:place]:  # a graph takes each input once
                names[place] = self.add(fn.identity, [name], suffix=":again")
        return self.add(maker(how, *names), names, suffix=suffix)

    def aligned(self, operands: Sequence[Operand]) -> tuple[list[str], Value]:
        """Nodes whose arrays broadcast against each other, and what the value of their result is, but for its node.

        Axes are those of the file, counted from the last, as NumPy broadcasts.
        """
        operands = [self.floats(x) if isinstance(x, Value) else x for x in operands]
        rank = max(_rank(x) for x in operands)
        parts, memories = _common(operands, rank)
        batches = {axis for x in operands if isinstance(x, Value) for axis in _batch_axis(x, rank)}
        if len(batches) > 1:
            raise Unsupported("values whose batches are on different axes")
        batch_axis = next(iter(batches), None)
        dtype = next((self.example(x.node).dtype for x in operands if isinstance(x, Value)), np.float32)
        values = [
            x if isinstance(x, Value) else self.constant(x, _of_constant(x, batch_axis, rank), dtype) for x in operands
        ]
        memories = [
            memory if isinstance(x, Value) else _memory(value, rank, parts)
            for x, value, memory in zip(operands, values, memories, strict=True)
        ]
        primary = max(memories, key=lambda memory: math.prod(memory.values()))
        order = [*dict.fromkeys(name for memory in (primary, *memories) for name in memory)]
        whole = {name: size for memory in memories for name, size in memory.items()}
        runs = _joined(order, memories)
        nodes = [
            self._arranged(value.node, memory, [[name for name in run if name in memory] for run in runs])
            for value, memory in zip(values, memories, strict=True)
        ]
        axes = _axes_of(parts, batch_axis, whole)
        sizes: dict[Hashable, int] = {BATCH: self.batch, **{name: whole[name] for name in order}}
        return nodes, Value.of("", values[0].dtype, sizes, axes)


MASKED = -1e3
"""What is added to the scores of keys that are masked is less."""


def _is_learned(array: Constant) -> bool:
    """Whether training changes an array: no single number, no infinities, and no mask of zeros and one number."""
    if array.dtype.kind != "f" or array.size == 1 or not np.isfinite(array).all():
        return False
    low = array.min(initial=0)
    return bool(low > MASKED or not ((array == 0) | (array == low)).all())


def _rank(x: Operand) -> int:
    return len(x.axes) if isinstance(x, Value) else x.ndim


def _batch_axis(x: Value, rank: int) -> list[int]:
    """The axis of the batch among ``rank`` axes, as a list of one or none."""
    first = rank - len(x.axes)
    return [first + place for place, axis in enumerate(x.axes) if BATCH in axis]


def _of_constant(x: Constant, batch_axis: int | None, rank: int) -> int | None:
    """The axis of a constant that stands for the batch, if it has one."""
    place = None if batch_axis is None else batch_axis - (rank - x.ndim)
    return place if place is not None and place >= 0 else None


def _common(operands: Sequence[Operand], rank: int) -> tuple[list[list[int]], list[dict[Hashable, int]]]:
    """For each axis the parts that all operands can be divided into, and the parts of each in the order of memory."""
    parts: list[list[int]] = []
    for axis in range(rank):
        ways = []
        for x in operands:
            place = axis - (rank - _rank(x))
            if place < 0:
                continue
            own = [x.sizes[part] for part in x.axes[place]] if isinstance(x, Value) else [x.shape[place]]
            if math.prod(own) > 1:
                ways.append(own)
        parts.append(common_parts(ways) if ways else [])
    return parts, [_memory(x, rank, parts) if isinstance(x, Value) else {} for x in operands]


def _memory(x: Value, rank: int, parts: list[list[int]]) -> dict[Hashable, int]:
    """The parts of a value in the order of memory, by names (axis, number) that all operands share."""
    names: dict[int, list[tuple[Hashable, int]]] = {}
    for place, axis in enumerate(x.axes):
        at = rank - len(x.axes) + place
        pieces: list[tuple[Hashable, int]] = [((at, k), size) for k, size in enumerate(parts[at])]
        for part in axis:
            own, left = [], x.sizes[part]
            while left > 1:
                name, size = pieces.pop(0)
                own.append((name, size))
                left //= size
            names[part] = own
    found: dict[Hashable, int] = {}
    for part in range(1, len(x.sizes)):
        found |= dict(names.get(part, [(("own", part), x.sizes[part])]))
    return found


def _axes_of(parts: list[list[int]], batch_axis: int | None, whole: Mapping[Hashable, int]) -> list[list[Hashable]]:
    """For each axis of the result the names of its parts; the part that no array has behind its batch is the batch."""
    found: list[list[Hashable]] = []
    for axis, sizes in enumerate(parts):
        names: list[Hashable] = [(axis, k) for k in range(len(sizes))]
        if axis == batch_axis:
            names = [name if name in whole else BATCH for name in names]
        found.append(names)
    return found


def _joined(order: list[Any], memories: Sequence[Mapping[Hashable, int]]) -> list[list[Any]]:
    """Neighbours that all arrays have side by side, or not at all, are one axis."""
    runs: list[list[Any]] = []
    for name in order:
        joins = bool(runs)
        for memory in memories:
            own = [*memory]
            before = runs[-1][-1] if runs else None
            has = (before in memory, name in memory)
            joins = joins and (has == (False, False) or (all(has) and own.index(name) == own.index(before) + 1))
        if joins:
            runs[-1].append(name)
        else:
            runs.append([name])
    return runs


def _runs(memory: list[Any], order: list[Any]) -> list[list[Any]]:
    """The longest runs of neighbours in memory that are neighbours in another order too."""
    following = dict(pairwise(order))
    runs = [[memory[0]]]
    for name in memory[1:]:
        if following.get(runs[-1][-1]) == name:
            runs[-1].append(name)
        else:
            runs.append([name])
    return runs
