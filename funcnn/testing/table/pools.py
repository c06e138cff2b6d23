"""Rows of layers that summarise each window of an image by one value, or lay it out as a row."""

from __future__ import annotations

import funcnn.layers as fn
from funcnn.testing.table.row import IMAGE, SERIES, VOLUME, Row

__all__ = ["ROWS"]

ROWS: list[Row] = [
    (fn.max_pool2d(2), IMAGE),
    (fn.max_pool2d(3, stride=2, padding="same"), IMAGE),
    (fn.max_pool2d((2, 3), stride=1, padding=((1, 0), (2, 1))), IMAGE),
    (fn.max_pool2d(2, stride=3, ceil_mode=True), IMAGE),
    (fn.min_pool2d(3, stride=2, ceil_mode=True), IMAGE),
    (fn.avg_pool2d(2), IMAGE),
    (fn.avg_pool2d(3, stride=2, padding="same"), IMAGE),
    (fn.avg_pool2d((3, 2), stride=(1, 3), padding=((2, 1), (0, 1)), ceil_mode=True), IMAGE),
    (fn.max_pool1d(3, stride=2, padding="same"), SERIES),
    (fn.min_pool1d(2, padding=(1, 0)), SERIES),
    (fn.avg_pool1d(3, stride=2, ceil_mode=True), SERIES),
    (fn.max_pool3d(2), VOLUME),
    (fn.min_pool3d((2, 1, 3), stride=2, padding="same"), VOLUME),
    (fn.avg_pool3d(3, stride=(1, 2, 2), padding=((1, 1), (0, 2), (1, 0))), VOLUME),
    (fn.max_pool2d(3, stride=2, dilation=(1, 2), padding="same"), IMAGE),
    (fn.min_pool1d(2, dilation=3), SERIES),
    (fn.max_pool3d((2, 1, 2), stride=1, dilation=2, padding=((1, 0), (0, 0), (0, 1)), ceil_mode=True), VOLUME),
    (fn.avg_pool2d(3, stride=2, padding=((1, 1), (0, 2)), ceil_mode=True, count_padding=True), IMAGE),
    (fn.avg_pool1d(4, padding="same", count_padding=True), SERIES),
    (fn.sum_pool1d(3, stride=1, padding=(2, 1)), SERIES),
    (fn.sum_pool2d((2, 3), stride=(1, 2), ceil_mode=True), IMAGE),
    (fn.sum_pool3d(2), VOLUME),
    (fn.lp_pool1d(1, 3, stride=2), SERIES),
    (fn.lp_pool2d(2, 3, stride=2, padding="same"), IMAGE),
    (fn.lp_pool3d(2.5, 2, ceil_mode=True), VOLUME),
    (fn.adaptive_avg_pool1d(4), SERIES),
    (fn.adaptive_avg_pool2d((3, None)), IMAGE),
    (fn.adaptive_avg_pool3d((2, 6, 1)), VOLUME),
    (fn.adaptive_max_pool1d(11), SERIES),
    (fn.adaptive_max_pool2d((None, 4)), IMAGE),
    (fn.adaptive_max_pool3d(2), VOLUME),
    (fn.global_avg_pool1d, SERIES),
    (fn.global_avg_pool2d, IMAGE),
    (fn.global_avg_pool3d, VOLUME),
    (fn.global_max_pool1d, SERIES),
    (fn.global_max_pool2d, IMAGE),
    (fn.global_max_pool3d, VOLUME),
    (fn.unfold((3, 2), stride=(2, 1), padding=((1, 0), (0, 2)), dilation=(1, 2)), IMAGE),
    (fn.unfold((2,), padding="same"), SERIES),
    (fn.fold((4, 5), (2, 3), dilation=(2, 1), padding=((1, 1), (0, 1)), stride=(1, 2)), (8, 12)),
    (fn.fold((4, 3, 2), 2), (6, 16)),
]
