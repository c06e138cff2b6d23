"""Models and parameters as files and in other libraries: JSON, ``.npz``, safetensors, PyTorch, Keras.

A file holds names and numbers, never code. A new format is one file here that reads the recorded calls of a model.
Weights of another library need a table of what it calls the parameters of each kind of layer, as ``torch_forms`` is.
"""

from funcnn.interchange.architecture import from_json, to_json
from funcnn.interchange.checkpoint import load, load_model, save, save_model
from funcnn.interchange.keras import keras_names, params_from_keras
from funcnn.interchange.onnx import export_onnx, import_onnx
from funcnn.interchange.safetensors import load_safetensors, save_safetensors
from funcnn.interchange.torch import params_from_torch, params_to_torch, torch_names

__all__ = [
    "export_onnx",
    "from_json",
    "import_onnx",
    "keras_names",
    "load",
    "load_model",
    "load_safetensors",
    "params_from_keras",
    "params_from_torch",
    "params_to_torch",
    "save",
    "save_model",
    "save_safetensors",
    "to_json",
    "torch_names",
]  # fmt: skip
