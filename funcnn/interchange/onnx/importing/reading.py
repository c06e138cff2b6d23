"""Reading a file of ONNX: its bytes become nodes and constants, and what depends on constants alone is computed.

The package onnx computes it, with its reference implementation of every operator. Nothing in a file is run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from funcnn import checks
from funcnn.aliases import Array, Tree
from funcnn.interchange.extras import package
from funcnn.interchange.files import blamed_on, opened
from funcnn.interchange.onnx.importing.values import Unsupported
from funcnn.shapes import spec
from funcnn.signals import reraise_if_of_a_handler

__all__ = [
    "attributes_of",
    "evaluated",
    "initializers",
    "inputs_of",
    "needed",
    "outputs_of",
    "read",
    "read_by",
    "read_inside",
]

DTYPES = (np.float32, np.float64, np.int64, np.int32, np.bool_)
"""Those of inputs."""


def read(path: Path) -> Any:
    """The model in a file, with tensors that stand in files beside it."""
    onnx = package("onnx", "onnx", "import_onnx")
    with opened(path) as file:
        content = file.read()
    with blamed_on(path, "damaged, or no model of ONNX"):
        model = onnx.load_model_from_string(content)
        onnx.external_data_helper.load_external_data_for_model(model, str(path.parent))
        onnx.checker.check_model(model)
        for tensor in _tensors(model.graph):
            checks.declared_shape(f"the constant {tensor.name!r}", tensor.dims, _dtype(tensor.data_type))
        if model.functions:
            model = import_module("onnx.inliner").inline_local_functions(model)
    if not model.graph.output:
        raise ValueError(f"{path} is no model of ONNX: it has no outputs")
    return model


def _tensors(graph: Any) -> Iterator[Any]:
    """All constants of a graph, also those of its nodes and of graphs inside of it."""
    yield from graph.initializer
    for attribute in (attribute for node in graph.node for attribute in node.attribute):
        yield from ([attribute.t] if attribute.HasField("t") else attribute.tensors)
        for inner in [attribute.g] if attribute.HasField("g") else attribute.graphs:
            yield from _tensors(inner)


def _dtype(number: int) -> np.dtype[Any]:
    """The dtype of an element type of ONNX."""
    onnx = package("onnx", "onnx", "import_onnx")
    try:
        found: np.dtype[Any] = onnx.helper.tensor_dtype_to_np_dtype(number)
    except KeyError:
        raise ValueError(f"{number} is no type of elements that the package onnx knows") from None
    return found


def initializers(graph: Any) -> dict[str, Array]:
    """The constants that a graph brings."""
    onnx = package("onnx", "onnx", "import_onnx")
    if graph.sparse_initializer:
        raise ValueError("import_onnx: the file has sparse constants, which are not supported")
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}


def attributes_of(node: Any) -> dict[str, Any]:
    """The attributes of a node; text as str."""
    onnx = package("onnx", "onnx", "import_onnx")
    found = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    return {name: _text(value) for name, value in found.items()}


def _text(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return [_text(item) for item in value] if isinstance(value, list) else value


def inputs_of(graph: Any, constants: dict[str, Array], shape: Tree) -> Iterator[tuple[str, tuple[int, ...], int]]:
    """The name, the shape of one example and the batch size of each input; 0 where the batch is open."""
    inputs = [value for value in graph.input if value.name not in constants]
    for value in inputs:
        tensor = value.type.tensor_type
        dims = [d.dim_value if d.HasField("dim_value") else 0 for d in tensor.shape.dim]
        if not value.type.HasField("tensor_type") or not dims:
            raise ValueError(f"import_onnx: input {value.name!r} is no array with a batch, so no layer takes it")
        dtype = _dtype(tensor.elem_type)
        if dtype not in DTYPES:
            raise ValueError(f"import_onnx: input {value.name!r} is of {dtype}, expected float32, float64, or integers")
        own = shape if len(inputs) == 1 and not isinstance(shape, dict) else (shape or {}).get(value.name)
        example = tuple(dims[1:]) if own is None else tuple(own)
        fits = len(example) == len(dims) - 1 and all(n in (0, m) for n, m in zip(dims[1:], example, strict=True))
        if not fits or not all(example):
            names = [d.dim_param or d.dim_value or "?" for d in tensor.shape.dim]
            given = "" if own is None else f", got {example}"
            raise ValueError(
                f"import_onnx: input {value.name!r} has the shape {names} in the file, with sizes that are open behind "
                f"the batch; pass shape=, that of one example{given}"
            )
        checks.declared_shape(f"import_onnx: input {value.name!r}", (1, *example), dtype)
        yield value.name, spec(example, dtype), dims[0]


def outputs_of(graph: Any) -> list[str]:
    """The outputs that a model here has: those of floats, if there are any."""
    onnx = package("onnx", "onnx", "import_onnx")
    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE)
    found = [
        value.name
        for value in graph.output
        if not value.type.HasField("tensor_type") or value.type.tensor_type.elem_type in floats
    ]
    return found or [value.name for value in graph.output]


def needed(graph: Any, outputs: Sequence[str]) -> list[Any]:
    """The nodes that these outputs depend on, in the order of computation."""
    wanted, nodes = set(outputs), []
    for node in reversed(graph.node):
        if wanted & set(node.output):
            nodes.append(node)
            wanted.update(read_by(node))
    return nodes[::-1]


def read_by(node: Any) -> Iterator[str]:
    """The values that a node reads, also those of graphs inside of it."""
    yield from node.input
    yield from read_inside(node)


def read_inside(node: Any) -> Iterator[str]:
    """The values that graphs inside of a node read, and those that they return."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            for inner in attribute.g.node:
                yield from read_by(inner)
            yield from (output.name for output in attribute.g.output)


def evaluated(node: Any, values: dict[str, Array], opsets: Any) -> list[Array]:
    """The outputs of a node whose inputs are all known."""
    onnx = package("onnx", "onnx", "import_onnx")
    names = [name for name in dict.fromkeys(node.input) if name]
    described = [
        onnx.helper.make_tensor_value_info(
            name, onnx.helper.np_dtype_to_tensor_dtype(values[name].dtype), values[name].shape
        )
        for name in names
    ]
    outputs = [onnx.helper.make_empty_tensor_value_info(name) for name in node.output if name]
    graph = onnx.helper.make_graph([node], "constant", described, outputs)
    model = onnx.helper.make_model(graph, opset_imports=opsets)
    try:
        with np.errstate(all="ignore"):
            found = (
                import_module("onnx.reference")
                .ReferenceEvaluator(model)
                .run(None, {name: values[name] for name in names})
            )
    except Exception as error:
        reraise_if_of_a_handler(error)
        raise Unsupported(f"constants that cannot be computed, {str(error) or type(error).__name__}") from error
    whole = iter(found)
    return [np.asarray(next(whole)) if name else np.zeros(0) for name in node.output]
