"""A row of the table of layers, and the small input shapes that most rows share."""

from __future__ import annotations

from typing import TypeAlias

from funcnn.aliases import Tree
from funcnn.protocol import Layer

__all__ = ["IMAGE", "SERIES", "VECTOR", "VOLUME", "Row"]

Row: TypeAlias = tuple[Layer, Tree]
"""A layer, and the shape of one example as ``init`` takes it."""

VECTOR, SERIES, IMAGE, VOLUME = (5,), (9, 2), (7, 6, 2), (5, 4, 6, 2)
