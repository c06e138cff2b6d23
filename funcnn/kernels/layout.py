"""How the axes of an array lie in memory, and how to see all channels of it as one axis.

Arrays are logically channels-last, ``(batch, height, width, channels)``, and their memory order is free. Kernels that
do the same to all elements of a channel see an array as its memory lies, as its *channel view*::

    (outer, channels, inner)      images, whose memory is (h, c, w, n):  (h, c, w * n)      rows (n, c):  (n, c, 1)
"""

import math

from funcnn.aliases import Array
from funcnn.engine.memory import axes_in_memory

__all__ = ["BLOCK_BYTES", "blocks", "channel_view", "per_channel", "tiled_channels"]

BLOCK_BYTES = 512 * 1024
"""How much of one array is worked on at a time; three or four such blocks are about a second-level cache."""

MIN_RUN = 1024
"""Elements in a run that is long enough for a ufunc to be fast."""

SMALL_MAX = 16 * 1024
"""Elements up to which short runs cost less than to make them longer."""


def channel_view(x: Array, like: Array | None = None) -> Array:
    """x as (outer, channels, inner): the axes that lie outside the channels in memory, and those inside.

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
        return x.reshape(math.prod(x.shape[:-1]), x.shape[-1], 1)
    order = axes_in_memory(model)
    middle = order.index(x.ndim - 1)
    sizes = [x.shape[axis] for axis in order]
    return x.transpose(order).reshape(math.prod(sizes[:middle]), sizes[middle], math.prod(sizes[middle + 1 :]))


def blocks(x: Array) -> list[slice]:
    """Slices that cut a channel view into parts of ``BLOCK_BYTES``; each part has all channels.

    Example:
        >>> import numpy as np
        >>> blocks(np.zeros((4, 2, 1)))
        [slice(0, 4, None)]
    """
    if x.nbytes <= BLOCK_BYTES:
        return [slice(0, len(x))]
    step = max(1, len(x) * BLOCK_BYTES // x.nbytes)
    return [slice(first, min(first + step, len(x))) for first in range(0, len(x), step)]


def per_channel(values: Array) -> Array:
    """One value for a channel, in the shape that broadcasts over a channel view."""
    return values[:, None]


def tiled_channels(x: Array, *values: Array) -> tuple[Array, ...]:
    """A channel view and, to go with it, values of which there is one for a channel.

    Channels that lie innermost are short runs, so the channels of several pixels are taken side by side.

    Args:
        x: a channel view.
        *values: arrays of one value for a channel.

    Returns:
        A view of ``x``, or ``x`` itself if it has gaps or long runs, and the values in the shape that fits it.

    Example:
        >>> import numpy as np
        >>> x, values = tiled_channels(np.zeros((20000, 2, 1)), np.array([1.0, 2.0]))
        >>> x.shape, values.ravel()[:4]
        ((625, 64, 1), array([1., 2., 1., 2.]))
    """
    outer, channels, inner = x.shape
    if inner != 1 or not x.flags.c_contiguous:
        return x, *[value[:, None] for value in values]
    # A power of two: most images have that many pixels, or a few times it.
    times = 1 if x.size <= SMALL_MAX else math.gcd(outer, 1 << max(1, MIN_RUN // max(channels, 1)).bit_length() - 1)
    if times <= 1:
        return x.reshape(outer, channels), *values
    return x.reshape(outer // times, times * channels, 1), *(
        per_channel(n[None].repeat(times, 0).reshape(-1)) for n in values
    )
