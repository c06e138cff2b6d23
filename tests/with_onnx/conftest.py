"""The tests of ONNX files are collected where onnx, its runtime and what writes such files are installed."""

from importlib.util import find_spec

NEEDED = ("onnx", "onnxruntime", "onnxscript", "skl2onnx", "torch")
collect_ignore_glob = [] if all(map(find_spec, NEEDED)) else ["*"]
