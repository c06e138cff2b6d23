"""The comparisons with PyTorch are collected where PyTorch is installed, and only there."""

import importlib.util

_spec = importlib.util.find_spec("torch")
# This folder is called torch as well; without the real one it could be found as an empty package without a file.
collect_ignore_glob = [] if _spec is not None and _spec.origin is not None else ["*"]
