"""Models and parameters as files: the architecture as JSON, checkpoints as ``.npz``.

A file holds names and numbers, never code. A new format is one file here that reads the recorded calls of a model.
"""

from funcnn.interchange.architecture import from_json, to_json
from funcnn.interchange.checkpoint import load, load_model, save, save_model
from funcnn.interchange.onnx import export_onnx, import_onnx

__all__ = ["export_onnx", "from_json", "import_onnx", "load", "load_model", "save", "save_model", "to_json"]
