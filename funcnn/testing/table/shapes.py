"""Rows of layers that move, repeat or cut elements and compute nothing with them."""

from __future__ import annotations

from funcnn.layers import flatten, reshape, upsample1d, upsample2d, upsample3d
from funcnn.testing.table.row import IMAGE, SERIES, VOLUME, Row

__all__ = ["ROWS"]

ROWS: list[Row] = [
    (flatten, IMAGE),
    (reshape(3, -1), IMAGE),
    (upsample1d(3), SERIES),
    (upsample2d((2, 3)), IMAGE),
    (upsample3d((2, 1, 3)), VOLUME),
]
