"""Layer norm and softmax by oneDNN: each row, the last axis of an array, is computed by itself."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import funcnn.kernels.onednn.codes as codes
import funcnn.kernels.onednn.scope as scope
from funcnn.aliases import Array
from funcnn.engine.memory import empty
from funcnn.kernels.normalize import FAR
from funcnn.kernels.onednn.arrays import constant, contiguous
from funcnn.kernels.onednn.primitives import Primitive, compiled, description, descriptor

__all__ = ["normalization", "softmax"]


def normalization(
    x: Array,
    scale: Array | None,
    shift: Array | None,
    eps: float,
    groups: int | None = None,
    centred: bool = True,
) -> tuple[Array, Callable[..., tuple[Array, Array, Array | None]]] | None:
    """As ``normalize.normalization``; where a mean is far from 0, NumPy computes it all."""
    channels, shape = x.shape[-1], x.shape
    made = _layer_norm(x.size // channels, channels, eps) if scope.normalizes_rows(x, groups, centred) else None
    if made is None:
        return None
    forward, backward = made
    x, y, (mean, var) = contiguous(x), empty(shape, np.float32), np.empty((2, x.size // channels), np.float32)
    factor = constant(1, channels) if scale is None else contiguous(scale)
    offset = constant(0, channels) if shift is None else contiguous(shift)
    forward(x, y, factor, offset, mean, var)
    with np.errstate(over="ignore", invalid="ignore"):
        if not ((mean * mean <= FAR * FAR * var) & (var < np.inf)).all():
            return None

    def pull(dy: Array, input_grad: bool = True) -> tuple[Array, Array, Array | None]:
        dx, (dscale, dshift) = empty(shape, np.float32), np.empty((2, channels), np.float32)
        backward(x, contiguous(dy), factor, offset, mean, var, dx, dscale, dshift)
        return dscale, dshift, dx if input_grad else None

    return y, pull


@compiled
def _layer_norm(rows: int, channels: int, eps: float) -> tuple[Primitive, Primitive]:
    """Both passes."""
    whole = descriptor((rows, channels), (channels, 1))
    by_row, by_channel = descriptor((rows,), (1,)), descriptor((channels,), (1,))
    flags = codes.SCALED | codes.SHIFTED
    hint = description("layer_normalization_forward", codes.TRAINING, whole, whole, by_row, eps, flags)
    args = codes.BACKWARD, whole, whole, whole, by_row, eps, flags, hint
    given = dict.fromkeys((codes.SCALE, codes.SHIFT), by_channel) | dict.fromkeys((codes.MEAN, codes.VAR), by_row)
    outputs = {codes.DIFF_SRC: whole, **dict.fromkeys((codes.DIFF_SCALE, codes.DIFF_SHIFT), by_channel)}
    forward = Primitive(hint, {codes.SRC: whole, codes.DST: whole, **given})
    described = description("layer_normalization_backward", *args)
    return forward, Primitive(described, {codes.SRC: whole, codes.DIFF_DST: whole, **given, **outputs})


def softmax(x: Array) -> Array | None:
    """As ``softmax.softmax``; rows with infinities, whose limit oneDNN does not know, are NumPy's."""
    made = _softmax(x.size // x.shape[-1], x.shape[-1]) if scope.softens(x) else None
    if made is None:
        return None
    y = empty(x.shape, np.float32)
    made(contiguous(x), y)
    return y if scope.are_tame(y) else None


@compiled
def _softmax(rows: int, classes: int) -> Primitive:
    """The softmax of each row."""
    whole = descriptor((rows, classes), (classes, 1))
    args = codes.INFERENCE, codes.SOFTMAX, whole, whole, 1
    return Primitive(description("softmax_forward", *args), {codes.SRC: whole, codes.DST: whole})
