"""The four words that every signature in this library is written with.

A network is arrays and nothing else: arrays flow through it, and nested dicts of arrays are its parameters.
"""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
"""A NumPy array of any dtype and shape; the docstrings say which."""

Shape: TypeAlias = tuple[int, ...]
"""The shape of one example, without the batch axis: ``(height, width, channels)`` for an image."""

Tree: TypeAlias = Any
"""A nested dict whose leaves are arrays; one array alone is a tree too."""

Params: TypeAlias = dict[str, Any]
"""The tree of a model's parameters: plain nested dicts of arrays."""

Key: TypeAlias = tuple[int, ...]
"""Names one stream of random numbers; see ``funcnn.rng``."""

Rng: TypeAlias = int | np.integer[Any] | Key | np.random.Generator
"""Whatever may stand where a key is wanted."""
