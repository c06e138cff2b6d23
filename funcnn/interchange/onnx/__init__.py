"""Models to and from files of ONNX, which other programs run and write.

``exporting`` writes a model's recorded calls as nodes, ``importing`` makes a ``graph`` of layers of a file. Both need
the extra ``onnx``, which ``package`` imports or asks for.
"""

from funcnn.interchange.onnx.exporting import export_onnx
from funcnn.interchange.onnx.importing import import_onnx

__all__ = ["export_onnx", "import_onnx"]
