"""Rows of layers that slide a window: convolutions and pooling."""

from __future__ import annotations

from funcnn.layers import (
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
    conv1d,
    conv2d,
    conv3d,
    global_avg_pool1d,
    global_avg_pool2d,
    global_avg_pool3d,
    max_pool1d,
    max_pool2d,
    max_pool3d,
    min_pool1d,
    min_pool2d,
    min_pool3d,
    relu,
    softmax,
)
from funcnn.testing.table.row import IMAGE, SERIES, VOLUME, Row

__all__ = ["ROWS"]

ROWS: list[Row] = [
    (conv2d(3, 3), IMAGE),
    (conv2d(3, (2, 3), stride=(2, 1), padding="same"), IMAGE),
    (conv2d(3, 1, bias=False), IMAGE),
    (conv2d(4, 3, dilation=2, activation=relu), IMAGE),
    (conv2d(4, (3, 2), dilation=(2, 1), stride=2, padding="same", groups=2), IMAGE),
    (conv2d(2, 3, groups=2, padding=((0, 2), (1, 0))), IMAGE),
    (conv2d(4, 3, groups=2, stride=(1, 2)), IMAGE),
    (conv2d(3, 3, padding="same", pad_mode="edge", activation="tanh"), IMAGE),
    (conv2d(3, 2, stride=3, padding=((4, 0), (0, 5)), pad_mode="edge"), IMAGE),
    (conv1d(3, 3), SERIES),
    (conv1d(4, 3, dilation=2, groups=2, padding=(4, 0), activation=relu), SERIES),
    (conv1d(3, 4, stride=3, padding="same", pad_mode="edge", bias=False), SERIES),
    (conv3d(3, (2, 3, 2)), VOLUME),
    (conv3d(4, 2, stride=(1, 2, 2), dilation=(2, 1, 2), groups=2, padding="same"), VOLUME),
    (conv3d(2, 3, padding=((1, 1), (2, 0), (0, 1)), pad_mode="edge", activation="tanh"), VOLUME),
    (max_pool2d(2), IMAGE),
    (max_pool2d(3, stride=2, padding="same"), IMAGE),
    (max_pool2d((2, 3), stride=1, padding=((1, 0), (2, 1))), IMAGE),
    (max_pool2d(2, stride=3, ceil_mode=True), IMAGE),
    (min_pool2d(3, stride=2, ceil_mode=True), IMAGE),
    (avg_pool2d(2), IMAGE),
    (avg_pool2d(3, stride=2, padding="same"), IMAGE),
    (avg_pool2d((3, 2), stride=(1, 3), padding=((2, 1), (0, 1)), ceil_mode=True), IMAGE),
    (max_pool1d(3, stride=2, padding="same"), SERIES),
    (min_pool1d(2, padding=(1, 0)), SERIES),
    (avg_pool1d(3, stride=2, ceil_mode=True), SERIES),
    (max_pool3d(2), VOLUME),
    (min_pool3d((2, 1, 3), stride=2, padding="same"), VOLUME),
    (avg_pool3d(3, stride=(1, 2, 2), padding=((1, 1), (0, 2), (1, 0))), VOLUME),
    (global_avg_pool1d, SERIES),
    (global_avg_pool2d, IMAGE),
    (global_avg_pool3d, VOLUME),
    (conv2d(3, 3, activation=softmax), IMAGE),
]
