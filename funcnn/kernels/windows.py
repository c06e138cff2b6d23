"""Where windows stand on an image: how many fit, what padding they need, and which pixels each tap of them sees.

Convolution and pooling slide a window over height and width; *tap* (i, j) is one cell of it, and the pixels that one
tap meets in all windows are a plain strided slice of the image. All of both layers is arithmetic on such slices.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from funcnn import checks
from funcnn.aliases import Array
from funcnn.engine.memory import empty_like

__all__ = ["NO_PADDING", "Padding", "Pair", "Window", "as_padding", "pad", "pad_edges", "strided", "unpad_edges"]

Pair: TypeAlias = tuple[int, int]
Padding: TypeAlias = tuple[Pair, Pair]

NO_PADDING: Padding = ((0, 0), (0, 0))


@dataclass(frozen=True)
class Window:
    """A window and how it moves; every field is a pair (height, width), padding a pair of (low, high).

    Args:
        size: of the window, in taps.
        stride: from one window to the next, in pixels.
        dilation: from one tap to the next, in pixels.
        padding: "valid" for none, "same" for as many windows as pixels / stride, or explicit pixels.
        ceil_mode: whether a last window that hangs over the edge counts.
    """

    size: Pair
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    padding: str | Padding = "valid"
    ceil_mode: bool = False

    @property
    def effective_size(self) -> Pair:
        """The effective kernel size: the pixels from the first tap to the last, both included."""
        (kh, kw), (dh, dw) = self.size, self.dilation
        return dh * (kh - 1) + 1, dw * (kw - 1) + 1

    def fit(self, kind: str, shape: tuple[int, ...]) -> tuple[Pair, Padding]:
        """How many windows stand on an image, and the padding in pixels that lets them.

        Args:
            kind: the layer's kind, for the message.
            shape: (..., height, width, channels) of the image.

        Returns:
            ``((rows, columns), ((top, bottom), (left, right)))``. With "same", rows = ceil(height / stride), and where
            the padding is odd the extra pixel is at the end. With ``ceil_mode`` the high side may grow.

        Raises:
            ValueError: the window is larger than the padded image.
        """
        counts, paddings = [], []
        for axis, pixels in enumerate(shape[-3:-1]):
            step, span = self.stride[axis], self.effective_size[axis]
            if self.padding == "same":
                count = -(-pixels // step)
                total = max((count - 1) * step + span - pixels, 0)
                low, high = total // 2, total - total // 2
            else:
                low, high = (0, 0) if isinstance(self.padding, str) else self.padding[axis]
                room = pixels + low + high - span
                count = room // step + 1
                if self.ceil_mode and room % step and count * step < pixels + low:
                    # One more window, hanging over the edge; it must at least begin on the image.
                    high += step - room % step
                    count += 1
            if count < 1 or pixels < 1:
                raise ValueError(
                    f"{kind}: a window of {self.effective_size} pixels is larger than its input of {shape[-3:-1]} "
                    f"pixels with padding {self.padding!r}; use a smaller window or more padding"
                )
            counts.append(count)
            paddings.append((low, high))
        return (counts[0], counts[1]), (paddings[0], paddings[1])

    def taps(self, counts: Pair) -> Iterator[tuple[int, int, tuple[slice, slice, slice]]]:
        """For each tap (i, j) the index that picks its pixels in all windows from a padded (batch, h, w, c)."""
        for i in range(self.size[0]):
            for j in range(self.size[1]):
                rows = _every(i * self.dilation[0], self.stride[0], counts[0])
                columns = _every(j * self.dilation[1], self.stride[1], counts[1])
                yield i, j, (slice(None), rows, columns)


def as_padding(kind: str, value: Any) -> str | Padding:
    """Either "valid", "same", or ((top, bottom), (left, right)) in pixels."""
    if isinstance(value, str) and value in ("valid", "same"):
        return value
    try:
        (top, bottom), (left, right) = ([checks.size(kind, "padding", n, 0) for n in ends] for ends in value)
    except (TypeError, ValueError):
        raise ValueError(
            f"{kind}: unknown padding {value!r}, expected 'valid', 'same' or ((top, bottom), (left, right)) in pixels"
        ) from None
    return (top, bottom), (left, right)


def pad(x: Array, padding: Padding, value: float = 0.0) -> Array:
    """An image with a border of ``value``; negative padding cuts pixels off. The memory order stays."""
    (top, bottom), (left, right) = padding
    if not (top or bottom or left or right):
        return x
    n, h, w, c = x.shape
    core = x[:, max(-top, 0) : h - max(-bottom, 0), max(-left, 0) : w - max(-right, 0)]
    top, bottom, left, right = (max(p, 0) for p in (top, bottom, left, right))
    padded = empty_like(x, (n, core.shape[1] + top + bottom, core.shape[2] + left + right, c))
    padded[:, :top] = padded[:, padded.shape[1] - bottom :] = value
    padded[:, :, :left] = padded[:, :, padded.shape[2] - right :] = value
    padded[:, top : padded.shape[1] - bottom, left : padded.shape[2] - right] = core
    return padded


def strided(x: Array, shape: tuple[int, ...], steps: tuple[int, ...]) -> Array:
    """A view of an array without gaps, with steps in bytes; one that would reach beyond its memory is refused.

    Example:
        >>> strided(np.arange(4), (3, 2), (8, 8)).tolist()
        [[0, 1], [1, 2], [2, 3]]
    """
    return np.ndarray(shape, x.dtype, x, 0, steps)


def pad_edges(x: Array, padding: Padding) -> Array:
    """An image with its edge pixels repeated outwards."""
    return x[:, _clipped(x.shape[1], padding[0])][:, :, _clipped(x.shape[2], padding[1])]


def unpad_edges(dy: Array, padding: Padding) -> Array:
    """The vjp of ``pad_edges``: what a repeated pixel caused is counted for the pixel itself."""
    for axis, (low, high) in ((1, padding[0]), (2, padding[1])):
        dy = np.moveaxis(dy, axis, 0)
        inner = dy[low : dy.shape[0] - high].copy()
        inner[0] += dy[:low].sum(0)
        inner[-1] += dy[dy.shape[0] - high :].sum(0)
        dy = np.moveaxis(inner, 0, axis)
    return dy


def _every(first: int, step: int, count: int) -> slice:
    """The slice of ``count`` indices from ``first`` on."""
    return slice(first, first + step * (count - 1) + 1, step)


def _clipped(size: int, padding: Pair) -> Array:
    """Indices from -low to size + high, held inside the image."""
    return np.clip(np.arange(-padding[0], size + padding[1]), 0, size - 1)
