"""Collect the tests of Keras files only where h5py and Keras are installed; Keras computes with PyTorch here."""

import os
from importlib.util import find_spec

os.environ.setdefault("KERAS_BACKEND", "torch")


def _installed(name: str) -> bool:
    """Whether a package is there: this folder has a name of its own, but others are called as packages are."""
    spec = find_spec(name)
    return spec is not None and spec.origin is not None


collect_ignore_glob = [] if all(map(_installed, ("h5py", "keras", "torch"))) else ["*"]
