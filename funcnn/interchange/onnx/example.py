"""One example of an input, of the dtype that its shape says.

``probe`` makes floats of float32, as ``init`` needs them; a file may be of float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from funcnn.aliases import Tree

__all__ = ["one_example"]


def one_example(shape: Any) -> Tree:
    """Zeros (1, *shape), or True where the dtype is bool."""
    if isinstance(shape, dict):
        return {name: one_example(leaf) for name, leaf in shape.items()}
    dtype = getattr(shape, "dtype", np.dtype(np.float32))
    return np.ones((1, *shape), dtype) if dtype.kind == "b" else np.zeros((1, *shape), dtype)
