"""The packages behind the extra ``onnx``, imported where they are used.

Without them the rest of funcnn works, and asking for ONNX says what to install.
"""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["onnx_package"]


def onnx_package(who: str) -> Any:
    """The package ``onnx``.

    Args:
        who: the function that needs it, for the message.

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    try:
        return importlib.import_module("onnx")
    except ModuleNotFoundError as error:
        if error.name != "onnx":
            raise
        raise ModuleNotFoundError(
            f'{who} needs the package onnx; install it with: pip install "funcnn[onnx]"', name="onnx"
        ) from None
