"""Convolution and its two gradients by oneDNN, for images of one to three axes whose channels lie innermost in memory.

The kernel is copied once a call into the order that the primitive is fastest with. A bias and a relu are computed with
the convolution; a scale and a shift become part of the kernel and of the bias. Another activation follows. A batch that
is too small to be cut into microbatches is computed in two halves, side by side, where that is worth it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import partial, reduce
from typing import NamedTuple

import numpy as np

import funcnn.kernels.onednn.codes as codes
import funcnn.kernels.onednn.scope as scope
from funcnn.aliases import Array
from funcnn.engine import threads
from funcnn.engine.memory import empty
from funcnn.kernels.epilogue import NO_EPILOGUE, Epilogue, finish
from funcnn.kernels.layout import channel_view
from funcnn.kernels.onednn.arrays import contiguous, image, low_and_high, strides_of
from funcnn.kernels.onednn.primitives import Handle, Primitive, compiled, description, descriptor, dims, reordering
from funcnn.kernels.tuning import TUNING, Tuning
from funcnn.kernels.windows import Geometry, Sizes

__all__ = ["convolve", "for_kernels", "input_gradient", "kernel_gradient"]


def for_kernels(x: Array, tuning: Tuning = TUNING) -> Array | None:
    """As ``layout.for_kernels``: the channels innermost."""
    return contiguous(x) if scope.computes(x) else None


def convolve(
    x: Array, w: Array, geometry: Geometry, groups: int = 1, epilogue: Epilogue = NO_EPILOGUE, tuning: Tuning = TUNING
) -> Array | None:
    """As ``convolution.convolve``."""
    if not (scope.convolves(x, w, geometry) and scope.repays(len(x), w.size, geometry)):
        return None
    fused = scope.post_ops(epilogue.activation, x, w, *[part for part in epilogue[:3] if part is not None])
    has_bias, parts = epilogue.bias is not None or epilogue.shift is not None, scope.parts(len(x), w.size, geometry)
    made = _forward((len(x) // parts, *x.shape[1:]), w.shape, geometry, groups, has_bias, fused)
    if made is None:
        return None
    w, bias = _scaled(w, epilogue)
    y = empty((len(x), *geometry.counts, w.shape[-1]), np.float32)
    biases, w = (contiguous(bias),) if bias is not None else (), made.ordered(w)
    _run([(x, w, y, *biases) for x, y in _cut(parts, contiguous(x), y)], made.primitive)
    if epilogue.activation is not None and not fused:
        epilogue.activation(y)
    return y


def kernel_gradient(x: Array, dy: Array, geometry: Geometry, groups: int = 1, tuning: Tuning = TUNING) -> Array | None:
    """As ``convolution.kernel_gradient``."""
    if not scope.convolves(x, dy, geometry):
        return None
    shape = (*geometry.size, x.shape[-1] // groups, dy.shape[-1])
    parts = scope.parts(len(x), math.prod(shape), geometry)
    made = _kernel_gradient((len(x) // parts, *x.shape[1:]), shape, geometry, groups)
    if made is None:
        return None
    found = [empty((made.size // 4,), np.float32) for _ in range(parts)]
    _run([(*pair, dw) for pair, dw in zip(_cut(parts, *map(contiguous, (x, dy))), found, strict=True)], made.primitive)
    total = reduce(np.add, found)
    if made.reorder is None:
        return total.reshape(shape)
    dw = empty(shape, np.float32)
    made.reorder(total, dw)
    return dw


def input_gradient(
    dy: Array, w: Array, geometry: Geometry, groups: int = 1, epilogue: Epilogue = NO_EPILOGUE, tuning: Tuning = TUNING
) -> Array | None:
    """As ``convolution.input_gradient``."""
    if not scope.convolves(dy, w, geometry):
        return None
    shape, parts = (*geometry.pixels, w.shape[-2] * groups), scope.parts(len(dy), w.size, geometry)
    made = _input_gradient((len(dy) // parts, *shape), w.shape, geometry, groups)
    if made is None:
        return None
    dx, w = empty((len(dy), *shape), np.float32), made.ordered(w)
    _run([(dy, w, dx) for dy, dx in _cut(parts, contiguous(dy), dx)], made.primitive)
    if any(part is not None for part in epilogue):
        finish(channel_view(dx), epilogue, tuning)
    return dx


def _cut(parts: int, *arrays: Array) -> Iterable[tuple[Array, ...]]:
    """The same examples of several arrays, in parts of equal size."""
    return zip(*[np.split(array, parts) for array in arrays], strict=True) if parts > 1 else [arrays]


def _run(calls: list[tuple[Array, ...]], primitive: Primitive) -> None:
    """Call a primitive with each of these arguments, side by side."""
    threads.run([partial(primitive, *arrays) for arrays in calls])


class _Convolution(NamedTuple):
    """A primitive and how its kernel gets into the order that it wants.

    Args:
        primitive: the convolution or a gradient.
        reorder: the primitive that copies the kernel, to the gradient's own order from it; None if it need not.
        size: the bytes of the kernel in the primitive's order.
    """

    primitive: Primitive
    reorder: Primitive | None
    size: int

    def ordered(self, w: Array) -> Array:
        """The kernel in the primitive's order."""
        w = contiguous(w)
        if self.reorder is None:
            return w
        copy = empty((self.size,), np.uint8)
        self.reorder(w, copy)
        return copy


@compiled
def _forward(x: Sizes, w: Sizes, geometry: Geometry, groups: int, bias: bool, fused: scope.PostOps) -> _Convolution:
    biases = {codes.BIAS: descriptor(w[-1:], (1,))} if bias else {}
    described = _description(x, w, geometry, groups, biases.get(codes.BIAS), fused)
    arrays = {codes.SRC: image(x), codes.WEIGHTS: codes.QUERY_WEIGHTS, codes.DST: image(_counted(x, w, geometry))}
    return _reading(w, groups, Primitive(described, arrays | biases))


@compiled
def _input_gradient(x: Sizes, w: Sizes, geometry: Geometry, groups: int) -> _Convolution:
    source, kernel, target = image(x), _kernel(w, groups), image(_counted(x, w, geometry))
    args = codes.DIRECT, source, kernel, target, *_windows(geometry), _description(x, w, geometry, groups)
    arrays = {codes.DIFF_DST: target, codes.WEIGHTS: codes.QUERY_WEIGHTS, codes.DIFF_SRC: source}
    return _reading(w, groups, Primitive(description("convolution_backward_data", *args), arrays))


@compiled
def _kernel_gradient(x: Sizes, w: Sizes, geometry: Geometry, groups: int) -> _Convolution:
    source, kernel, target = image(x), _kernel(w, groups), image(_counted(x, w, geometry))
    args = codes.DIRECT, source, kernel, None, target, *_windows(geometry), _description(x, w, geometry, groups)
    arrays = {codes.SRC: source, codes.DIFF_DST: target, codes.DIFF_WEIGHTS: codes.QUERY_DIFF_WEIGHTS}
    primitive = Primitive(description("convolution_backward_weights", *args), arrays)
    order = primitive.queried(codes.QUERY_DIFF_WEIGHTS)
    return _Convolution(primitive, reordering(order, _plain_kernel(w, groups)), primitive.size(order))


def _reading(w: Sizes, groups: int, primitive: Primitive) -> _Convolution:
    """A primitive that reads the kernel, and how that gets into its order."""
    order = primitive.queried(codes.QUERY_WEIGHTS)
    return _Convolution(primitive, reordering(_plain_kernel(w, groups), order), primitive.size(order))


def _description(
    x: Sizes, w: Sizes, geometry: Geometry, groups: int, bias: Handle | None = None, fused: scope.PostOps = ()
) -> Handle:
    """The description of the convolution; those of its gradients need it too."""
    arrays = image(x), _kernel(w, groups), bias, image(_counted(x, w, geometry))
    return description("convolution_forward", codes.TRAINING, codes.DIRECT, *arrays, *_windows(geometry), after=fused)


def _counted(x: Sizes, w: Sizes, geometry: Geometry) -> Sizes:
    """The shape of y."""
    return x[0], *geometry.counts, w[-1]


def _windows(geometry: Geometry) -> tuple[object, ...]:
    """Stride, dilation and padding as oneDNN takes them: a dilation of 0 is none."""
    return tuple(map(dims, (geometry.stride, [n - 1 for n in geometry.dilation], *low_and_high(geometry))))


def _kernel_sizes(w: Sizes, groups: int) -> Sizes:
    """The logical axes of a kernel (*size, channels / groups, filters)."""
    *size, channels, filters = w
    return (groups, filters // groups, channels, *size) if groups > 1 else (filters, channels, *size)


def _kernel(w: Sizes, groups: int) -> Handle:
    """The descriptor of a kernel in any order."""
    return descriptor(_kernel_sizes(w, groups))


def _plain_kernel(w: Sizes, groups: int) -> Handle:
    """The descriptor of a kernel as it lies in a C-contiguous array."""
    *size, channel, one = strides_of(w)
    by_filter = (w[-1] // groups, one) if groups > 1 else (one,)
    return descriptor(_kernel_sizes(w, groups), (*by_filter, channel, *size))


def _scaled(w: Array, epilogue: Epilogue) -> tuple[Array, Array | None]:
    """The kernel and the bias with which (z + bias) * scale + shift is one convolution."""
    bias, scale, shift, _ = epilogue
    if scale is not None:
        w, bias = w * scale, None if bias is None else bias * scale
    return w, shift if bias is None else bias if shift is None else bias + shift
