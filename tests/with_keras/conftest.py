"""Collect the tests of Keras files only where h5py and Keras are installed; Keras computes with PyTorch here."""

import os
from importlib.util import find_spec

os.environ.setdefault("KERAS_BACKEND", "torch")
collect_ignore_glob = [] if all(map(find_spec, ("h5py", "keras", "torch"))) else ["*"]
