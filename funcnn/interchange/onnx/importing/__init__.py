"""Files of ONNX as models: each operator becomes a layer, and the whole a ``graph``.

``model`` traverses the file, ``values`` and ``builder`` know where the axes of a value are, and the families of
operators are a file each. A new operator is a function and a row in ``CONVERTERS`` of its family.
"""

from funcnn.interchange.onnx.importing.model import model_of

__all__ = ["model_of"]
