"""Max and mean pooling by oneDNN. The backward pass of a maximum reads which pixel won, not the image."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from funcnn.aliases import Array
from funcnn.engine.memory import empty
from funcnn.kernels.onednn import scope
from funcnn.kernels.onednn.arrays import contiguous, image, low_and_high
from funcnn.kernels.onednn.primitives import (
    DIFF_DST,
    DIFF_SRC,
    DST,
    QUERY_WORKSPACE,
    SRC,
    TRAINING,
    WORKSPACE,
    Handle,
    Primitive,
    attributes,
    compiled,
    dims,
    engine,
)
from funcnn.kernels.windows import Geometry, Padding, Sizes

__all__ = ["extreme_pooling", "mean_gradient", "mean_pool"]

MAX, MEAN_WITH_PADDING, MEAN = 0x1FF, 0x2FF, 0x3FF


def extreme_pooling(x: Array, pick: np.ufunc, geometry: Geometry) -> tuple[Array, Callable[[Array], Array]] | None:
    """As ``pooling.extreme_pooling``."""
    made = _pooling(MAX, x.shape, geometry) if scope.picks(x, pick, geometry) else None
    if made is None:
        return None
    y, winners = empty((len(x), *geometry.counts, x.shape[-1]), x.dtype), empty((made.workspace,), np.uint8)
    made.forward(contiguous(x), y, winners)
    shape = x.shape

    def pull(dy: Array) -> Array:
        dx = empty(shape, dy.dtype)
        made.backward(contiguous(dy), dx, winners)
        return dx

    return y, pull


def mean_pool(x: Array, geometry: Geometry, counted: Padding) -> Array | None:
    """As ``pooling.mean_pool``."""
    algorithm = _mean(geometry, counted)
    made = _pooling(algorithm, x.shape, geometry) if algorithm and scope.averages(x, geometry) else None
    if made is None:
        return None
    y = empty((len(x), *geometry.counts, x.shape[-1]), x.dtype)
    made.forward(contiguous(x), y)
    return y


def mean_gradient(x: Array, dy: Array, geometry: Geometry, counted: Padding) -> Array | None:
    """As ``pooling.mean_gradient``."""
    algorithm = _mean(geometry, counted)
    made = _pooling(algorithm, x.shape, geometry) if algorithm and scope.pools(dy, geometry) else None
    if made is None:
        return None
    dx = empty(x.shape, dy.dtype)
    made.backward(contiguous(dy), dx)
    return dx


def _mean(geometry: Geometry, counted: Padding) -> int:
    """The algorithm that counts these pixels of the padding; 0 if there is none."""
    if not any(map(any, counted)):
        return MEAN
    return MEAN_WITH_PADDING if counted == geometry.padding else 0


class _Pooling(NamedTuple):
    """Both passes, and the bytes in which a maximum notes which pixel won."""

    forward: Primitive
    backward: Primitive
    workspace: int


@compiled
def _pooling(algorithm: int, x: Sizes, geometry: Geometry) -> _Pooling:
    source, target = image(x), image((x[0], *geometry.counts, x[-1]))
    windows = [geometry.stride, geometry.size, [n - 1 for n in geometry.dilation], *low_and_high(geometry)]
    described = (algorithm, source, target, *map(dims, windows))
    args = (engine(), TRAINING, *described, attributes())
    hint = Handle("primitive_desc", *args, create="pooling_forward_primitive_desc_create")
    noted = {WORKSPACE: QUERY_WORKSPACE} if algorithm == MAX else {}
    forward = Primitive("pooling_forward", args, {SRC: source, DST: target, **noted})
    back = (engine(), *described, hint, attributes())
    backward = Primitive("pooling_backward", back, {DIFF_DST: target, DIFF_SRC: source, **noted})
    return _Pooling(forward, backward, forward.size(forward.queried(QUERY_WORKSPACE)))
