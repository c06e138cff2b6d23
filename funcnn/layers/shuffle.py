"""Shuffling moves elements between the channels and the pixels of an image, or from one channel to another.

Nothing is computed, so the vjp moves each gradient back. The order of the channels is that of PyTorch.
"""

from __future__ import annotations

from itertools import chain

from funcnn import checks
from funcnn.aliases import Array, Size
from funcnn.layers.activation import Pull
from funcnn.protocol import Layer, elements_of, layer, stateless

__all__ = ["channel_shuffle", "pixel_shuffle", "pixel_unshuffle"]


def _rank(kind: str, x: Array) -> int:
    """The number of axes of pixels of an image, at least one."""
    if x.ndim < 3:
        raise ValueError(f"{kind}: expected an input of axes (batch, *pixels, channels), got shape {x.shape}")
    return x.ndim - 2


def _to_pixels(x: Array, f: int) -> Array:
    """(batch, *pixels, c f^rank) as (batch, *(pixels f), c)."""
    batch, *pixels, channels = x.shape
    rank = len(pixels)
    split = x.reshape(batch, *pixels, channels // f**rank, *[f] * rank)
    order = chain.from_iterable((1 + axis, 2 + rank + axis) for axis in range(rank))
    return split.transpose(0, *order, 1 + rank).reshape(batch, *[n * f for n in pixels], channels // f**rank)


def _to_channels(x: Array, f: int) -> Array:
    """(batch, *(pixels f), c) as (batch, *pixels, c f^rank)."""
    batch, *pixels, channels = x.shape
    rank = len(pixels)
    split = x.reshape(batch, *chain.from_iterable((n // f, f) for n in pixels), channels)
    order = (0, *range(1, 2 * rank, 2), 1 + 2 * rank, *range(2, 2 * rank + 1, 2))
    return split.transpose(order).reshape(batch, *[n // f for n in pixels], channels * f**rank)


@layer
def pixel_shuffle(factor: Size) -> Layer:
    """y[n, r*f + i, s*f + j, c] = x[n, r, s, (c*f + i)*f + j], channels become pixels;  dx = dy moved back.

    It is PyTorch's ``pixel_shuffle``, for images of any number of axes. TensorFlow's ``depth_to_space`` takes the
    channels in another order, (i*f + j)*C + c with C the number of channels of y.

    Args:
        factor: f, along each axis of pixels.

    Returns:
        A layer without parameters, from (batch, height, width, channels * f * f) to
        (batch, height * f, width * f, channels), and likewise for other numbers of axes.

    Raises:
        ValueError: ``factor`` is not a whole number ``>= 1``; or, from ``init`` and ``apply``, the input is not an
            image, or the channels are not a multiple of f to the power of the number of axes of pixels.

    Example:
        >>> import numpy as np
        >>> y, _ = pixel_shuffle(2).apply({}, np.arange(4.0).reshape(1, 1, 1, 4))
        >>> y[0, :, :, 0]
        array([[0., 1.],
               [2., 3.]])

    Reference:
        Shi et al. 2016, "Real-time single image and video super-resolution using an efficient sub-pixel convolutional
        neural network", arXiv 1609.05158, equation 4.
    """
    f = checks.size("pixel_shuffle", "factor", factor)

    def forward(x: Array) -> tuple[Array, Pull]:
        times = f ** _rank("pixel_shuffle", x)
        if x.shape[-1] % times:
            raise ValueError(
                f"pixel_shuffle: expected a multiple of {times} channels, factor {f} for each axis of pixels, "
                f"got {x.shape[-1]}"
            )
        return _to_pixels(x, f), lambda dy: _to_channels(dy, f)

    return stateless("pixel_shuffle", forward, working_set=elements_of)


@layer
def pixel_unshuffle(factor: Size) -> Layer:
    """y[n, r, s, (c*f + i)*f + j] = x[n, r*f + i, s*f + j, c], pixels become channels;  dx = dy moved back.

    It is the inverse of ``pixel_shuffle``, and PyTorch's ``pixel_unshuffle``, for images of any number of axes.

    Args:
        factor: f, along each axis of pixels.

    Returns:
        A layer without parameters, from (batch, height, width, channels) to
        (batch, height / f, width / f, channels * f * f), and likewise for other numbers of axes.

    Raises:
        ValueError: ``factor`` is not a whole number ``>= 1``; or, from ``init`` and ``apply``, the input is not an
            image, or f does not divide its pixels.

    Example:
        >>> import numpy as np
        >>> y, _ = pixel_unshuffle(2).apply({}, np.arange(4.0).reshape(1, 2, 2, 1))
        >>> y
        array([[[[0., 1., 2., 3.]]]])

    Reference:
        Shi et al. 2016, arXiv 1609.05158, equation 4, inverted.
    """
    f = checks.size("pixel_unshuffle", "factor", factor)

    def forward(x: Array) -> tuple[Array, Pull]:
        _rank("pixel_unshuffle", x)
        pixels = x.shape[1:-1]
        if any(n % f for n in pixels):
            raise ValueError(f"pixel_unshuffle: factor {f} does not divide an image of {pixels} pixels")
        return _to_channels(x, f), lambda dy: _to_pixels(dy, f)

    return stateless("pixel_unshuffle", forward, working_set=elements_of)


@layer
def channel_shuffle(groups: Size) -> Layer:
    """y[..., j*g + i] = x[..., i*(C/g) + j], the channels of each group spread over all;  dx = dy moved back.

    Between convolutions with groups, it lets each group of the next one see all groups of the one before.

    Args:
        groups: g, the number of groups into which the C channels are cut.

    Returns:
        A layer without parameters, from (batch, ..., channels) to the same shape.

    Raises:
        ValueError: ``groups`` is not a whole number ``>= 1``; or, from ``init`` and ``apply``, the channels do not
            divide into groups.

    Example:
        >>> import numpy as np
        >>> channel_shuffle(2).apply({}, np.arange(6.0).reshape(1, 6))[0]
        array([[0., 3., 1., 4., 2., 5.]])

    Reference:
        Zhang, Zhou, Lin & Sun 2018, "ShuffleNet", arXiv 1707.01083, section 3.1.
    """
    g = checks.size("channel_shuffle", "groups", groups)

    def shuffled(x: Array, groups: int) -> Array:
        return x.reshape(*x.shape[:-1], groups, x.shape[-1] // groups).swapaxes(-1, -2).reshape(x.shape)

    def forward(x: Array) -> tuple[Array, Pull]:
        channels = x.shape[-1]
        if x.ndim < 2 or channels % g or not channels:
            raise ValueError(f"channel_shuffle: {channels} channels do not divide into {g} groups, in shape {x.shape}")
        return shuffled(x, g), lambda dy: shuffled(dy, channels // g)

    return stateless("channel_shuffle", forward, working_set=elements_of, per_position=True)
