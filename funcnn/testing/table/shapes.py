"""Rows of layers that move, repeat or cut elements, and of those that resample images."""

from __future__ import annotations

from funcnn.layers import (
    channel_shuffle,
    crop,
    expand_dims,
    flatten,
    pad,
    permute,
    pixel_shuffle,
    pixel_unshuffle,
    reshape,
    squeeze,
    take,
    unflatten,
    upsample1d,
    upsample2d,
    upsample3d,
)
from funcnn.testing.table.row import IMAGE, SERIES, VECTOR, VOLUME, Row

__all__ = ["ROWS"]

ROWS: list[Row] = [
    (flatten, IMAGE),
    (reshape(3, -1), IMAGE),
    (permute((3, 1, -2)), IMAGE),
    (squeeze(1), (1, 5)),
    (expand_dims(-1), VECTOR),
    (unflatten(1, (3, -1)), SERIES),
    (take(-1, axis=1), SERIES),
    (take(slice(1, None, 2), axis=-2), IMAGE),
    (pad(2), SERIES),
    (pad(((1, 0), (0, 2)), "constant", value=1.5), IMAGE),
    (pad(((0, 3), (2, 0)), "replicate"), IMAGE),
    (pad(((6, 1), (0, 3)), "reflect"), IMAGE),
    (pad(((1, 0), (4, 2), (0, 3)), "circular"), VOLUME),
    (crop(((1, 0), (2, 1))), IMAGE),
    (upsample1d(3), SERIES),
    (upsample2d((2, 3)), IMAGE),
    (upsample3d((2, 1, 3)), VOLUME),
    (upsample1d(size=5), SERIES),
    (upsample1d(1.7, mode="linear"), SERIES),
    (upsample2d((2, 0.5), mode="bilinear", align_corners=True), IMAGE),
    (upsample2d(size=(4, 9), mode="bicubic"), IMAGE),
    (upsample3d((1, 2, 1.5), mode="trilinear"), VOLUME),
    (pixel_shuffle(2), (3, 2, 8)),
    (pixel_unshuffle(2), (4, 6, 1)),
    (channel_shuffle(2), (3, 6)),
]
