"""Reading a model: operator by operator, what is known is computed, and the rest becomes a graph of layers.

The batch is an axis of open size. It is read with two sizes in turn, which must give the same model, so that no shape
of the file can be taken for the batch by accident.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np

from funcnn import layers as fn
from funcnn.aliases import Array, Params, Tree
from funcnn.engine.children import INPUT
from funcnn.interchange.onnx.importing.activations import CONVERTERS as ACTIVATIONS
from funcnn.interchange.onnx.importing.arithmetic import CONVERTERS as ARITHMETIC
from funcnn.interchange.onnx.importing.assembly import assembled
from funcnn.interchange.onnx.importing.attention import CONVERTERS as ATTENTION
from funcnn.interchange.onnx.importing.builder import Builder, Node, node_name
from funcnn.interchange.onnx.importing.dense import CONVERTERS as DENSE
from funcnn.interchange.onnx.importing.operator import Converter, Operator
from funcnn.interchange.onnx.importing.preprocessing import CONVERTERS as PREPROCESSING
from funcnn.interchange.onnx.importing.reading import (
    attributes_of,
    evaluated,
    initializers,
    inputs_of,
    needed,
    outputs_of,
    read,
    read_by,
    read_inside,
)
from funcnn.interchange.onnx.importing.recurrent import CONVERTERS as RECURRENT
from funcnn.interchange.onnx.importing.scan import CONVERTERS as SCAN
from funcnn.interchange.onnx.importing.shapes import CONVERTERS as SHAPES
from funcnn.interchange.onnx.importing.values import BATCH, Operand, Unsupported, Value
from funcnn.interchange.onnx.importing.windows import CONVERTERS as WINDOWS
from funcnn.protocol import Layer

__all__ = ["model_of"]

FAMILIES = (ACTIVATIONS, ARITHMETIC, ATTENTION, DENSE, PREPROCESSING, RECURRENT, SCAN, SHAPES, WINDOWS)
CONVERTERS: dict[str, Converter] = {kind: one for family in FAMILIES for kind, one in family.items()}
SAME_ELEMENTS = ("Identity", "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Cast")
"""Operators of one array that keep its elements."""
DOMAINS = ("", "ai.onnx", "ai.onnx.ml")
BATCHES = (53, 61)
"""Sizes of the batch to read with: primes, which shapes of a file do not have as factors by accident."""


def model_of(path: Path, shape: Tree) -> tuple[Layer, Params]:
    """The model in a file, and its parameters."""
    file = read(path)
    constants = initializers(file.graph)
    models = [_Reader(file, constants, shape, batch).model() for batch in BATCHES]
    written = [repr([(name, node.layer, node.inputs) for name, node in reader.nodes.items()]) for reader in models]
    if written[0] != written[1]:
        raise ValueError(f"import_onnx: {path}: the layers of the model depend on the size of its batch")
    return _assembled(models[0])


def _kind(node: Any) -> str:
    """The operator of a node, with its domain in front if that is not one of ONNX's own."""
    return str(node.op_type if node.domain in DOMAINS else f"{node.domain}.{node.op_type}")


class _Model:
    """The nodes of a model that was read, and the names of its outputs."""

    def __init__(self, builder: Builder, outputs: list[str]) -> None:
        self.nodes, self.outputs = builder.nodes, outputs


class _Reader:
    """Reads a file with one size of the batch; ``failures`` are the operators that could not be."""

    def __init__(self, file: Any, constants: Mapping[str, Array], shape: Tree, batch: int) -> None:
        self.graph, self.opsets = file.graph, file.opset_import
        self.opset = next((int(one.version) for one in self.opsets if one.domain in ("", "ai.onnx")), 1)
        self.builder = Builder(batch)
        self.operands: dict[str, Operand | None] = dict(constants)
        self.origins = {name: frozenset([name]) for name, array in constants.items() if array.size > 1}
        self.outputs = outputs_of(self.graph)
        if len(self.outputs) > 1:
            self.builder.reserved = frozenset(map(node_name, self.outputs))
        self.nodes = needed(self.graph, self.outputs)
        self.uses = Counter(name for node in self.nodes for name in read_by(node)) + Counter(self.outputs)
        self.unknown: list[str] = []
        self.failures: list[str] = []
        self.fixed = 0
        given = {name: array for name, array in self.operands.items() if isinstance(array, np.ndarray)}
        inputs = [*inputs_of(self.graph, given, shape)]
        if not inputs:
            raise ValueError("import_onnx: the file has no input, so it is no model")
        for name, example, size in inputs:
            source = INPUT if len(inputs) == 1 else f"{INPUT}/{node_name(name)}"
            if source in self.builder.sources:
                raise ValueError(
                    f"import_onnx: two inputs are called {node_name(name)!r} here, of which one is {name!r}"
                )
            try:
                self.operands[name] = self.builder.source(source, example, example.dtype)  # type: ignore[attr-defined]
            except MemoryError as error:
                raise ValueError(
                    f"import_onnx: input {name!r} has the shape {(1, *example)} for one example, which does not fit "
                    f"into memory, {error}; write the file with smaller sizes, or with open ones and pass shape="
                ) from error
            self.fixed = size

    def model(self) -> _Model:
        """The layers, or an error that names all operators that are not supported."""
        for node in self.nodes:
            self.read(node)
        if self.unknown or self.failures:
            unknown = f"unsupported operators {sorted(set(self.unknown))}" if self.unknown else ""
            hint = (
                f"the file has a batch of {self.fixed} in its shapes, write it with an open one" if self.fixed else ""
            )
            raise ValueError("import_onnx: " + "; ".join(filter(None, [unknown, *self.failures, hint])))
        return _Model(self.builder, [self.output(name) for name in self.outputs])

    def read(self, node: Any) -> None:
        """One operator: computed, written as layers, or a failure."""
        inputs = [self.operands[name] if name else None for name in node.input if not name or name in self.operands]
        whole = len(inputs) == len(node.input) and not any(name and self.operands[name] is None for name in node.input)
        kind = _kind(node)
        if kind == "If" and whole and isinstance(inputs[0], np.ndarray):
            self.inline(node, bool(inputs[0].any()))
            return
        around = {name: self.operands[name] for name in read_inside(node) if name in self.operands}
        captured = {name: x for name, x in around.items() if isinstance(x, Value)}
        whole = whole and not any(x is None for x in around.values())
        known = whole and not captured and not any(isinstance(x, Value) for x in inputs)
        has_graph = any(attribute.HasField("g") for attribute in node.attribute)
        if kind not in CONVERTERS and (has_graph or (kind not in ("Shape", "Size") and not known)):
            self.unknown.append(kind)
            whole = False
        results: Any = [None] * len(node.output)
        if whole:
            try:
                results = self.computed(node, inputs) if known else self.results(node, inputs, captured)
            except Unsupported as error:
                self.failures.append(f"{node.op_type} {node.name!r} has {error}, which is not supported")
        for name, result in zip(node.output, results, strict=False):
            if name:
                self.operands[name] = result

    def inline(self, node: Any, condition: bool) -> None:
        """The branch that is taken, in place of the choice."""
        branch = attributes_of(node)["then_branch" if condition else "else_branch"]
        constants = initializers(branch)
        self.operands |= constants
        self.origins |= {name: frozenset([name]) for name, array in constants.items() if array.size > 1}
        names = [output.name for output in branch.output]
        for inner in needed(branch, names):
            self.read(inner)
        self.operands |= {outer: self.operands[name] for outer, name in zip(node.output, names, strict=True)}

    def inside(self, graph: Any, builder: Builder, given: Mapping[str, Operand]) -> list[Operand | None]:
        """The outputs of a graph inside of the file's, whose nodes go into a builder of their own."""
        reader, constants = copy(self), initializers(graph)
        around = {name: x for name, x in self.operands.items() if not isinstance(x, Value)}
        reader.builder, reader.operands = builder, {**around, **constants, **given}
        self.origins |= {name: frozenset([name]) for name, array in constants.items() if array.size > 1}
        names = [output.name for output in graph.output]
        for node in needed(graph, names):
            reader.read(node)
        return [reader.operands[name] for name in names]

    def computed(self, node: Any, inputs: list[Operand | None]) -> list[Operand | None]:
        """The outputs of an operator whose inputs are known."""
        known = {name: x for name, x in zip(node.input, inputs, strict=True) if isinstance(x, np.ndarray)}
        if node.op_type in SAME_ELEMENTS and node.input[0] in self.origins:
            self.origins[node.output[0]] = self.origins[node.input[0]]
        return list(evaluated(node, known, self.opsets))

    def results(self, node: Any, inputs: list[Operand | None], captured: Mapping[str, Value]) -> list[Operand | None]:
        """The outputs of an operator, as layers."""
        attributes = attributes_of(node)
        if node.op_type in ("Shape", "Size"):
            (x,) = (x for x in inputs if isinstance(x, Value))
            found = np.array(x.file_shape, np.int64)
            part = found[attributes.get("start", 0) : attributes.get("end", len(found))]
            return [part if node.op_type == "Shape" else np.array(found.prod())]
        self.builder.name = node.name or node.op_type
        self.builder.origins = frozenset().union(*(self.origins.get(name, ()) for name in node.input))
        used = [bool(name) and self.uses[name] > 0 for name in node.output]
        alone = [self.uses[name] == 1 for name in node.input]
        operator = Operator(
            self.builder, node.op_type, inputs, attributes, self.opset, used, alone, self.fixed, captured, self.inside
        )
        try:
            made = CONVERTERS[node.op_type](operator)
        except (TypeError, ValueError, KeyError, IndexError, MemoryError) as error:
            raise Unsupported(f"arguments that no layer takes, {error}") from error
        outputs: list[Operand | None] = [*made] if isinstance(made, list) else [made]
        if any(one is not None for one in outputs):  # else something inside of the node was not read
            operator.check_attributes()
        return outputs

    def output(self, name: str) -> str:
        """The node of an output, with the axes of the file."""
        x = self.operands[name]
        self.builder.name = name
        try:
            found = self.finished(x)
        except Unsupported as error:
            raise ValueError(f"import_onnx: output {name!r}: {error}") from error
        # A dict of several outputs has the names of its nodes, and an input is no node.
        if found in self.builder.sources or len(self.outputs) > 1:
            self.builder.reserved -= {node_name(name)}
            return self.builder.add(fn.identity, [found])
        return found

    def finished(self, x: Operand | None) -> str:
        """The node of a value, or of a constant that is the same for each example."""
        if isinstance(x, np.ndarray) and x.shape[:1] == (self.builder.batch,):
            return self.builder.constant(self.builder.without_batch(x, 0)[0]).node
        if not isinstance(x, Value):
            raise Unsupported("a constant, which has no batch")
        return self.builder.in_file_order(_unjoined(x))


def _unjoined(x: Value) -> Value:
    """A value whose first axis joins the batch with others, as one with a row for each example.

    A column does not count as an axis.
    """
    if not x.axes or x.axes[0][:1] != (BATCH,) or x.axes[0] == (BATCH,):
        return x
    others = x.axes[1:] if any(x.axes[1:]) else ()
    return x.with_axes([(BATCH,), x.axes[0][1:], *others])


def _assembled(model: _Model) -> tuple[Layer, Params]:
    """The nodes as a layer; several outputs are a dict."""
    nodes, output = dict(model.nodes), model.outputs[0]
    if len(model.outputs) > 1:
        output = "outputs"
        while output in nodes:
            output += "_"
        y = {name: nodes[name].y for name in model.outputs}
        nodes[output] = Node(fn.identity, tuple(model.outputs), {}, y, frozenset())
    return assembled(nodes, output)
