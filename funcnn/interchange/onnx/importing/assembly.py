"""The nodes that were made of a file, or of a graph inside of it, as one layer."""

from __future__ import annotations

from collections.abc import Mapping

from funcnn import combinators
from funcnn.aliases import Params
from funcnn.interchange.onnx.importing.builder import Node
from funcnn.interchange.onnx.importing.sharing import with_shared
from funcnn.protocol import Layer

__all__ = ["assembled"]


def assembled(nodes: Mapping[str, Node], output: str) -> tuple[Layer, Params]:
    """The ``graph`` of the nodes that the output depends on, and its parameters."""
    wanted = {output}
    for name in reversed([*nodes]):
        if name in wanted:
            wanted |= {*nodes[name].inputs}
    used = {name: node for name, node in nodes.items() if name in wanted}
    params = {name: node.params for name, node in used.items() if node.params}
    layer = combinators.graph({name: (node.layer, node.inputs) for name, node in used.items()}, output)
    return with_shared(layer, params, nodes)
