"""Rows of convolutions, which slide a window with learned kernels."""

from __future__ import annotations

from funcnn.combinators import separable_conv2d
from funcnn.layers import (
    conv1d,
    conv2d,
    conv3d,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
    depthwise_conv2d,
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
    (conv2d(3, 3, activation=softmax), IMAGE),
    (conv1d(2, 3, stride=2, dilation=2, padding="causal", pad_mode="edge"), SERIES),
    (conv_transpose1d(3, 3, padding=(1, 0), dilation=2, output_padding=1), SERIES),
    (conv_transpose2d(3, 2, stride=2, activation=relu), IMAGE),
    (conv_transpose2d(4, (3, 2), stride=(2, 3), padding="same", groups=2, bias=False), IMAGE),
    (
        conv_transpose3d(2, (2, 3, 1), stride=(1, 2, 2), padding=((0, 1), (2, 1), (0, 0)), output_padding=(0, 1, 1)),
        VOLUME,
    ),
    (depthwise_conv2d(3, padding="same", activation="tanh"), IMAGE),
    (depthwise_conv2d((2, 3), multiplier=2, stride=2, pad_mode="edge", padding=((1, 0), (0, 2)), bias=False), IMAGE),
    (separable_conv2d(3, 3, multiplier=2, dilation=2, activation=relu), IMAGE),
]
