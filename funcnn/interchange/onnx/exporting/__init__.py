"""Models as graphs of ONNX: one converter for each kind of layer, in a file for each family.

``model`` traverses a model and joins the tables of converters; ``graph`` holds the nodes, and ``site`` is what a
converter sees of its layer. A new kind of layer is a function and a row in ``CONVERTERS`` of its family's file.
"""

from funcnn.interchange.onnx.exporting.model import written

__all__ = ["written"]
