"""Writing a model as a file of ONNX: its recorded calls say which operators, its parameters are the constants.

A layer is found by the constructor that was recorded, never by its name. All layers that cannot be written are
reported at once, each with its path and the reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from funcnn.aliases import Params, Tree
from funcnn.interchange.extras import package
from funcnn.interchange.onnx.example import one_example
from funcnn.interchange.onnx.exporting.activations import CONVERTERS as ACTIVATIONS
from funcnn.interchange.onnx.exporting.attention import CONVERTERS as ATTENTION
from funcnn.interchange.onnx.exporting.combinators import CONVERTERS as COMBINATORS
from funcnn.interchange.onnx.exporting.dense import CONVERTERS as DENSE
from funcnn.interchange.onnx.exporting.graph import BATCH, Graph, Tensor
from funcnn.interchange.onnx.exporting.norms import CONVERTERS as NORMS
from funcnn.interchange.onnx.exporting.operators import CONVERTERS as OPERATORS
from funcnn.interchange.onnx.exporting.sequences import CONVERTERS as SEQUENCES
from funcnn.interchange.onnx.exporting.shapes import CONVERTERS as SHAPES
from funcnn.interchange.onnx.exporting.site import Converter, NotExpressible, Site
from funcnn.interchange.onnx.exporting.windows import CONVERTERS as WINDOWS
from funcnn.protocol import Layer
from funcnn.tree import below

__all__ = ["written"]

OPSETS = range(18, 27)
"""The versions of the operators that are written: in 18 reductions got their axes as an input."""
MAX_BYTES = 2**31 - 2**20
"""Of all parameters: a file is one message of protobuf, with room for the nodes."""
INPUT, OUTPUT = "input", "output"
FAMILIES = (ACTIVATIONS, ATTENTION, COMBINATORS, DENSE, NORMS, OPERATORS, SEQUENCES, SHAPES, WINDOWS)
CONVERTERS: dict[Any, Converter] = {key: one for family in FAMILIES for key, one in family.items()}


def written(model: Layer, params: Params, shape: Tree, opset: int) -> bytes:
    """The bytes of the file of a model."""
    newest = min(OPSETS[-1], package("onnx", "onnx", "export_onnx").defs.onnx_opset_version())
    if not OPSETS[0] <= opset <= newest:
        raise ValueError(f"export_onnx: opset must be {OPSETS[0]} to {newest}, got {opset}")
    found: bytes = _proto(Graph(opset), model, params, shape).SerializeToString()
    return found


def _proto(graph: Graph, model: Layer, params: Params, shape: Tree) -> Any:
    """The model in ONNX's terms."""
    onnx = graph.onnx
    y, _ = model.apply(params, one_example(shape))  # raises if parameters do not fit, or a norm is not measured
    x = _tensors(shape, INPUT, graph)
    writer = _Writer(graph)
    found = writer.write(model, params, x, "")
    if writer.failures:
        lines = "".join(f"\n  {path or 'the model'}: {kind}, since {why}" for path, kind, why in writer.failures)
        raise ValueError(f"export_onnx: ONNX cannot express these layers:{lines}")
    inputs = [graph.described(t.name, [BATCH, *t.shape], t.dtype) for _, t in _leaves(x, INPUT)]
    outputs = []
    for (name, tensor), (_, like) in zip(_leaves(found, OUTPUT), _leaves(y, OUTPUT), strict=True):
        graph.nodes.append(onnx.helper.make_node("Identity", [tensor.name], [graph.unique(name)], f"{name}/Identity"))
        outputs.append(graph.described(name, [BATCH, *like.shape[1:]], like.dtype))
    nodes, constants = graph.used([output.name for output in outputs])
    if (size := sum(array.nbytes for array in constants.values())) >= MAX_BYTES:
        raise ValueError(f"export_onnx: a file of ONNX holds less than 2 GB, and the parameters have {size} bytes")
    own = [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()]
    opset = onnx.helper.make_opsetid("", graph.opset)
    return onnx.helper.make_model(
        onnx.helper.make_graph(nodes, model.name or model.kind, inputs, outputs, own),
        producer_name="funcnn",
        opset_imports=[opset],
        ir_version=onnx.helper.find_min_ir_version_for([opset]),
    )


def _tensors(shape: Tree, name: str, graph: Graph) -> Tree:
    """The inputs, by the paths of their leaves."""
    if isinstance(shape, dict):
        return {key: _tensors(leaf, below(name, key), graph) for key, leaf in shape.items()}
    return Tensor(graph.unique(name), tuple(shape), getattr(shape, "dtype", np.dtype(np.float32)))


def _leaves(tree: Tree, name: str) -> Iterator[tuple[str, Any]]:
    """The leaves of a tree in its order, with their paths."""
    if not isinstance(tree, dict):
        yield name, tree
        return
    for key, leaf in tree.items():
        yield from _leaves(leaf, below(name, key))


class _Writer:
    """Writes layers into a graph; ``failures`` are those that could not be."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.failures: list[tuple[str, str, str]] = []

    def write(self, layer: Layer, params: Params, x: Tree, path: str) -> Tree:
        """The tensors of a layer's output."""
        site = Site(self.graph, path, layer, params, self.write)
        try:
            convert, arguments = _found(layer, path)
            y = convert(site, x, **arguments)
        except NotExpressible as error:
            self.failures.append((path, layer.spelling(), str(error)))
            return _with_shapes("", site.probed(x))
        return y if _is_whole(y) else _with_shapes(y, site.probed(x))


def _found(layer: Layer, path: str) -> tuple[Converter, dict[str, Any]]:
    """The converter of a layer, and the arguments of the call that made it, with their defaults."""
    if layer.apply in CONVERTERS:
        return CONVERTERS[layer.apply], {}
    call = layer.recorded_call(path)
    while call is not None and call.inner is not None:  # a constructor that returned the layer of another one
        call = call.inner
    if call is None or call.constructor not in CONVERTERS:
        raise NotExpressible("its functions are of Python, which ONNX cannot hold; make it of funcnn's own layers")
    return CONVERTERS[call.constructor], call.with_defaults()


def _is_whole(y: Tree) -> bool:
    """Whether shapes are known, since other layers returned it."""
    return all(map(_is_whole, y.values())) if isinstance(y, dict) else isinstance(y, Tensor)


def _with_shapes(y: Tree, like: Tree) -> Tree:
    """The tensors of an output of which some leaves are names, with the shapes of an example of it."""
    if isinstance(like, dict):
        return {name: _with_shapes(y.get(name, "") if isinstance(y, dict) else "", leaf) for name, leaf in like.items()}
    return y if isinstance(y, Tensor) else Tensor(str(y), like.shape[1:], like.dtype)
