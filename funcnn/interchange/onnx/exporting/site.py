"""A layer that is being written as nodes: its recorded arguments, its parameters, and how nodes are added at its path.

A converter is a function ``(at, x, **arguments) -> y`` for one kind of layer, with ``at`` a site, x the tree of its
input and y the tree of the names of its output. What ONNX has no operators for raises ``NotExpressible``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from funcnn.aliases import Array, Params, Tree
from funcnn.interchange.onnx.example import one_example
from funcnn.interchange.onnx.exporting.graph import Graph, Tensor
from funcnn.layers.activation import as_activation
from funcnn.protocol import Layer
from funcnn.shapes import spec
from funcnn.tree import below

__all__ = ["Converter", "NotExpressible", "Site", "specs_of"]

Converter: TypeAlias = Callable[..., Tree]
"""``converter(at, x, **arguments) -> y``: names, or the tensors that other layers returned."""


def specs_of(x: Tree) -> Tree:
    """The shapes of one example of a tree of tensors."""
    if isinstance(x, dict):
        return {name: specs_of(leaf) for name, leaf in x.items()}
    return spec(x.shape, x.dtype)


class NotExpressible(Exception):
    """A layer that ONNX cannot express, and why."""


@dataclass(frozen=True)
class Site:
    """One layer at its path.

    Args:
        graph: the graph so far.
        path: of the layer.
        layer: the layer.
        params: its parameters.
        convert: ``convert(layer, params, x, path) -> y``, which writes a layer inside.
    """

    graph: Graph
    path: str
    layer: Layer
    params: Params
    convert: Callable[[Layer, Params, Tree, str], Tree]

    def op(self, kind: str, *inputs: str, **attributes: Any) -> Any:
        """Add a node."""
        return self.graph.op(self.path, kind, inputs, **attributes)

    def elementwise(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node of single elements."""
        return self.graph.elementwise(self.path, kind, inputs, **attributes)

    def param(self, name: str, value: Array | None = None) -> str:
        """A parameter as a constant, which is called by its path; ``value`` is it in ONNX's layout."""
        own, made = self.params.get(name.split("/")[0]), self.params[name] if value is None else value
        return self.graph.parameter(self.path, below(self.path, name), own, made)

    def constant(self, name: str, value: Array) -> str:
        """An array that belongs to the layer."""
        return self.graph.constant(below(self.path, name), value)

    def number(self, value: Any, x: Tensor) -> str:
        """A number of the dtype of x."""
        return self.graph.number(value, x.dtype)

    def transpose(self, x: str, *order: int) -> str:
        """Another order of axes, counted with the batch."""
        return self.graph.transpose(self.path, x, order)

    def channels_first(self, x: str, rank: int) -> str:
        """(batch, *pixels, channels) as (batch, channels, *pixels)."""
        return self.transpose(x, 0, rank + 1, *range(1, rank + 1))

    def channels_last(self, x: str, rank: int) -> str:
        """The reverse."""
        return self.transpose(x, 0, *range(2, rank + 2), 1)

    def reshape(self, x: str, shape: Sequence[int]) -> str:
        """Each example in another shape; the batch stays."""
        found: str = self.op("Reshape", x, self.graph.integers([0, *shape]))
        return found

    def reduce(self, kind: str, x: str, axes: Sequence[int], keepdims: bool = True) -> str:
        """The sum, the mean or the maximum over some axes."""
        return self.graph.reduce(self.path, kind, x, axes, keepdims)

    def slice(self, x: str, axis: int, start: int, stop: int, step: int = 1) -> str:
        """A part of one axis."""
        integers = self.graph.integers
        found: str = self.op("Slice", x, integers([start]), integers([stop]), integers([axis]), integers([step]))
        return found

    def cast(self, x: str, dtype: Any) -> str:
        """The elements in another dtype."""
        found: str = self.op("Cast", x, to=self.graph.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
        return found

    def zeros(self, like: str, shape: Sequence[int], dtype: Any) -> str:
        """Zeros (batch, *shape), with the batch of another value."""
        batch = self.op("Shape", like, start=0, end=1)
        size = self.op("Concat", batch, self.graph.integers(shape), axis=0)
        value = self.graph.onnx.numpy_helper.from_array(np.zeros(1, dtype))
        found: str = self.op("ConstantOfShape", size, value=value)
        return found

    def inside(self, layer: Layer, params: Params, x: Tree, name: str) -> Tree:
        """Write a layer inside, under its name."""
        return self.convert(layer, params, x, below(self.path, name))

    def child(self, name: str, x: Tree, params: Params | None = None) -> Tree:
        """Write a child of a combinator."""
        own = self.params if params is None else params
        return self.inside(self.layer.children[name], own.get(name, {}), x, name)

    def probed(self, x: Tree) -> Tree:
        """The layer's output for one example, which tells shapes and dtypes."""
        return self.layer.apply(self.params, one_example(specs_of(x)))[0]

    def activated(self, z: str, like: Tensor, shape: Sequence[int], activation: Any) -> Tree:
        """z of a shape, behind the ``activation=`` argument of a layer."""
        chosen = as_activation(self.layer.kind, activation)
        return self.convert(chosen, {}, Tensor(z, tuple(shape), like.dtype), self.path)
