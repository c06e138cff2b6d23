"""How the axes of an array lie in memory, which the kernels choose for speed and nobody else needs to know.

Arrays are logically channels-last, ``(batch, [[depth,] height,] width, channels)``, and their memory order is free.
Convolution and pooling take slices of an image, and a slice is fast if it is made of long runs of neighbours. With the
channels innermost a run has ``channels`` elements, in the first layer a single one. So the kernels put the batch
innermost, and the rows outermost, where a product finds those of a window one after the other::

    logical (n, d, h, w, c)   ->   memory (h, c, d, w, n)       a slice along d or w is made of runs of n elements or
                                                                more, one along h of runs of c * d * w * n

An image of fewer axes has depth 1, or depth and height 1. Elementwise ufuncs keep the order that they meet, so only
convolution and ``flatten`` enter and leave it. Kernels that do the same to all elements of a channel see an array as
its memory lies, as its *channel view*::

    (outer, channels, inner)    images, whose memory is (h, c, d, w, n):  (h, c, d * w * n)
    (rows, channels)            where the channels lie innermost
"""

import math
from functools import lru_cache

import numpy as np

from funcnn.aliases import Array
from funcnn.engine.memory import axes_in_memory, empty
from funcnn.kernels.implementations import accelerated
from funcnn.kernels.tuning import TUNING, Tuning

__all__ = [
    "as_image", "as_volume", "batch_first", "batch_innermost", "blocks", "channel_view", "for_kernels", "per_channel",
    "tiled_channels",
]  # fmt: skip


def as_volume(x: Array) -> Array:
    """An image of one to three axes as one of three, with depth and height 1 where it has none; a view.

    Example:
        >>> as_volume(np.zeros((2, 5, 4))).shape
        (2, 1, 1, 5, 4)
    """
    return x[:, None, None] if x.ndim == 3 else x[:, None] if x.ndim == 4 else x


def as_image(volume: Array, rank: int) -> Array:
    """The inverse of ``as_volume``, for an image of ``rank`` axes.

    Example:
        >>> as_image(np.zeros((2, 1, 1, 5, 4)), 1).shape
        (2, 5, 4)
    """
    return volume[:, 0, 0] if rank == 1 else volume[:, 0] if rank == 2 else volume


def batch_innermost(x: Array) -> Array:
    """The memory (h, c, d, w, n) of an image (n, [[d,] h,] w, c); a view if that is its order already, else a copy.

    Example:
        >>> batch_innermost(np.zeros((2, 3, 5, 4))).shape
        (3, 4, 1, 5, 2)
    """
    turned = as_volume(x).transpose(2, 4, 1, 3, 0)
    if turned.flags.c_contiguous:
        return turned
    memory = empty(turned.shape, x.dtype)
    np.copyto(memory, turned)
    return memory


@accelerated
def for_kernels(x: Array, tuning: Tuning = TUNING) -> Array:
    """An image in the order of axes in memory that kernels work in, so that they need not copy it each by themselves.

    Example:
        >>> for_kernels(np.zeros((8, 3, 5, 4))).strides == np.zeros((3, 4, 5, 8)).transpose(3, 0, 2, 1).strides
        True
    """
    return x if len(x) <= tuning.small_batch_max else batch_first(batch_innermost(x), x.ndim - 2)


def batch_first(memory: Array, rank: int) -> Array:
    """The image of ``rank`` axes whose memory is (h, c, d, w, n): the inverse of ``batch_innermost``, a view.

    Example:
        >>> batch_first(np.zeros((3, 4, 1, 5, 2)), 2).shape
        (2, 3, 5, 4)
    """
    return as_image(memory.transpose(4, 2, 0, 3, 1), rank)


def channel_view(x: Array, like: Array | None = None) -> Array:
    """x as (outer, channels, inner): the axes that lie outside the channels in memory, and those inside.

    C-contiguous arrays, and what is taken in their order, have nothing inside: (rows, channels).

    Args:
        x: (..., channels).
        like: an array of the same shape in whose order the axes are taken; ``x`` itself by default.

    Returns:
        A view, unless axes that come together lie apart in the memory of ``x``; then a copy.

    Example:
        >>> import numpy as np
        >>> channel_view(np.zeros((2, 3, 4, 5)).transpose(0, 2, 3, 1)).shape
        (2, 3, 20)
    """
    model = x if like is None else like
    if model.flags.c_contiguous:
        return x if x.ndim == 2 else x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    order = axes_in_memory(model)
    middle = order.index(x.ndim - 1)
    sizes = [x.shape[axis] for axis in order]
    return x.transpose(order).reshape(math.prod(sizes[:middle]), sizes[middle], math.prod(sizes[middle + 1 :]))


def blocks(*views: Array, tuning: Tuning = TUNING) -> list[tuple[Array, ...]]:
    """Cut channel views of one shape into blocks of ``tuning.block_bytes``; each block has all channels.

    Args:
        *views: the channel views; the first decides where they are cut.
        tuning: the tuning constants.

    Returns:
        For each block its part of every view.

    Example:
        >>> import numpy as np
        >>> [x.shape for x, _ in blocks(np.zeros((5, 2)), np.ones((5, 2)), tuning=Tuning(block_bytes=48))]
        [(3, 2), (2, 2)]
    """
    x = views[0]
    if x.nbytes <= tuning.block_bytes:
        return [views]
    step = max(1, len(x) * tuning.block_bytes // x.nbytes)
    return [tuple([view[first : first + step] for view in views]) for first in range(0, len(x), step)]


def per_channel(values: Array, view: Array) -> Array:
    """One value for a channel, in the shape that broadcasts over a channel view."""
    return values if view.ndim == 2 else values[:, None]


def tiled_channels(x: Array, *values: Array, tuning: Tuning = TUNING) -> tuple[Array, ...]:
    """A channel view and, to go with it, values of which there is one for a channel.

    Channels that lie innermost are short runs, so the channels of several pixels are taken side by side.

    Args:
        x: a channel view.
        *values: arrays of one value for a channel.
        tuning: the tuning constants.

    Returns:
        A view of ``x``, or ``x`` itself if it has gaps or long runs, and the values in the shape that fits it.

    Example:
        >>> import numpy as np
        >>> x, values = tiled_channels(np.zeros((20000, 2)), np.array([1.0, 2.0]))
        >>> x.shape, values[:4]
        ((40, 1000), array([1., 2., 1., 2.]))
    """
    if not x.flags.c_contiguous or (x.ndim == 3 and x.shape[2] != 1):
        return x, *[per_channel(n, x) for n in values]
    rows, channels = x.shape[:2]
    times = 1
    if x.size > tuning.small_array_max:
        times = _largest_divisor(rows, max(1, tuning.min_run // max(channels, 1)))
    if times > 1:
        values = tuple([n[None].repeat(times, 0).reshape(-1) for n in values])  # as np.tile, in a fifth of its time
    return x if times == 1 and x.ndim == 2 else x.reshape(rows // times, times * channels), *values


@lru_cache(maxsize=256)
def _largest_divisor(n: int, most: int) -> int:
    """The largest divisor of n that is at most ``most``."""
    return next(divisor for divisor in range(min(n, most), 0, -1) if n % divisor == 0)
