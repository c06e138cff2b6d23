"""Kernels computed by oneDNN, under the names of NumPy's: whoever asks for them by ``use_kernels`` gets them.

``library`` finds and loads the shared library, ``primitives`` compiles and runs what it computes. ``scope`` is the one
place where it is decided which calls oneDNN takes. The other files are the kernels: functions with the arguments of
those in ``kernels/``, that return None for what NumPy is to compute.
"""

from collections.abc import Callable
from typing import Any

import funcnn.kernels.onednn.convolution as convolution
import funcnn.kernels.onednn.norms as norms
import funcnn.kernels.onednn.pooling as pooling
import funcnn.kernels.onednn.products as products
import funcnn.kernels.onednn.rows as rows
from funcnn.kernels.onednn.library import load

__all__ = ["description", "kernels"]


def kernels() -> dict[str, Callable[..., Any]]:
    """The kernels by name; an ImportError if there is no oneDNN."""
    load()
    return {
        name: getattr(file, name) for file in (convolution, norms, pooling, products, rows) for name in file.__all__
    }


def description() -> str:
    """The library in words: its version, how it was found, and where."""
    own = load()
    return f"oneDNN {own.version} ({own.runtime}, one thread a call), found by {own.source}: {own.path}"
