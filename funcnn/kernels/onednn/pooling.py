"""Max and mean pooling by oneDNN. The backward pass of a maximum reads which pixel won, not the image."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

import funcnn.kernels.onednn.codes as codes
import funcnn.kernels.onednn.scope as scope
from funcnn.aliases import Array
from funcnn.engine.memory import empty
from funcnn.kernels.onednn.arrays import contiguous, image, low_and_high
from funcnn.kernels.onednn.primitives import Primitive, compiled, description, dims
from funcnn.kernels.windows import Geometry, Padding, Sizes

__all__ = ["extreme_pooling", "mean_gradient", "mean_pool"]


def extreme_pooling(x: Array, pick: np.ufunc, geometry: Geometry) -> tuple[Array, Callable[[Array], Array]] | None:
    """As ``pooling.extreme_pooling``."""
    made = _pooling(codes.MAX_POOL, x.shape, geometry) if scope.picks(x, pick, geometry) else None
    if made is None:
        return None
    y, winners = empty((len(x), *geometry.counts, x.shape[-1]), np.float32), empty((made.workspace,), np.uint8)
    made.forward(contiguous(x), y, winners)
    shape = x.shape

    def pull(dy: Array) -> Array:
        dx = empty(shape, np.float32)
        made.backward(contiguous(dy), dx, winners)
        return dx

    return y, pull


def mean_pool(x: Array, geometry: Geometry, counted: Padding) -> Array | None:
    """As ``pooling.mean_pool``."""
    algorithm = _mean(geometry, counted)
    made = _pooling(algorithm, x.shape, geometry) if algorithm and scope.averages(x, geometry) else None
    if made is None:
        return None
    y = empty((len(x), *geometry.counts, x.shape[-1]), np.float32)
    made.forward(contiguous(x), y)
    return y


def mean_gradient(x: Array, dy: Array, geometry: Geometry, counted: Padding) -> Array | None:
    """As ``pooling.mean_gradient``."""
    algorithm = _mean(geometry, counted)
    made = _pooling(algorithm, x.shape, geometry) if algorithm and scope.pools(dy, geometry) else None
    if made is None:
        return None
    dx = empty(x.shape, np.float32)
    made.backward(contiguous(dy), dx)
    return dx


def _mean(geometry: Geometry, counted: Padding) -> int:
    """The algorithm that counts these pixels of the padding; 0 if there is none."""
    if not any(map(any, counted)):
        return codes.MEAN_POOL
    return codes.MEAN_POOL_WITH_PADDING if counted == geometry.padding else 0


class _Pooling(NamedTuple):
    """Both passes, and the bytes in which a maximum keeps which pixel won."""

    forward: Primitive
    backward: Primitive
    workspace: int


@compiled
def _pooling(algorithm: int, x: Sizes, geometry: Geometry) -> _Pooling:
    source, target = image(x), image((x[0], *geometry.counts, x[-1]))
    windows = geometry.stride, geometry.size, [n - 1 for n in geometry.dilation], *low_and_high(geometry)
    args = algorithm, source, target, *map(dims, windows)
    winners = {codes.WORKSPACE: codes.QUERY_WORKSPACE} if algorithm == codes.MAX_POOL else {}
    hint = description("pooling_forward", codes.TRAINING, *args)
    forward = Primitive(hint, {codes.SRC: source, codes.DST: target, **winners})
    back = description("pooling_backward", *args, hint)
    backward = Primitive(back, {codes.DIFF_DST: target, codes.DIFF_SRC: source, **winners})
    return _Pooling(forward, backward, forward.size(forward.queried(codes.QUERY_WORKSPACE)))
