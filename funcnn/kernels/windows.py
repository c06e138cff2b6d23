"""Where windows stand on an image: how many fit, what padding they need, and which pixels each tap of them sees.

Convolution and pooling slide a window over an image of one to three axes. A *tap* is one cell of the window, and the
pixels that one tap meets in all windows are a plain strided slice of the image. All of both layers is arithmetic on
such slices. The axes are independent of each other, so their number does not matter here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from typing import Any, NamedTuple, TypeAlias

from funcnn import checks
from funcnn.wording import shown

__all__ = [
    "FLAT", "LINE", "SOLID", "Axes", "Geometry", "Padding", "Sizes", "TapRange", "Window", "as_padding", "as_window",
    "inside",
]  # fmt: skip

Axes: TypeAlias = tuple[str, ...]
Sizes: TypeAlias = tuple[int, ...]
"""One number for each axis of an image."""

Padding: TypeAlias = tuple[tuple[int, int], ...]
"""Pixels before and after the image, for each of its axes."""

LINE: Axes = ("width",)
FLAT: Axes = ("height", "width")
SOLID: Axes = ("depth", "height", "width")
"""The axes of images that windows slide over, by their number."""

SIDES = {"depth": "(front, back)", "height": "(top, bottom)", "width": "(left, right)"}


class TapRange(NamedTuple):
    """Which windows of a row of them have a tap on the image, and on which pixels."""

    windows: slice
    pixels: slice


class Geometry(NamedTuple):
    """A window on an image of known size; every field has one entry for each axis.

    Args:
        size: of the window, in taps.
        stride: from one window to the next, in pixels.
        dilation: from one tap to the next, in pixels.
        pixels: of the image.
        counts: how many windows there are.
        padding: pixels before and after the image; negative ones cut pixels off.
    """

    size: Sizes
    stride: Sizes
    dilation: Sizes
    pixels: Sizes
    counts: Sizes
    padding: Padding

    @lru_cache(maxsize=256)  # noqa: B019, it keeps a few numbers
    def as_volume(self) -> Geometry:
        """The same windows on an image of three axes, with depth and height 1 where it has none."""
        if len(self.size) == 3:
            return self
        ones = (1,) * (3 - len(self.size))
        size, stride, dilation, pixels, counts = (ones + sizes for sizes in self[:5])
        return Geometry(size, stride, dilation, pixels, counts, ((0, 0),) * len(ones) + self.padding)

    @property
    def effective_size(self) -> Sizes:
        """The pixels from the first tap to the last, both included."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.size, self.dilation, strict=True))

    @property
    def is_one_pixel(self) -> bool:
        """Whether each window is one pixel, and the windows are the image."""
        return max(self.size) == max(self.stride) == 1 and not any(map(any, self.padding))

    @lru_cache(maxsize=256)  # noqa: B019
    def along(self, axis: int) -> list[slice]:
        """For each tap along one axis, the pixels of the padded image that it meets."""
        step, count, apart = self.stride[axis], self.counts[axis], self.dilation[axis]
        return [slice(tap * apart, tap * apart + step * (count - 1) + 1, step) for tap in range(self.size[axis])]

    @lru_cache(maxsize=256)  # noqa: B019
    def taps(self) -> list[tuple[slice, ...]]:
        """For each tap the index that picks its pixels in all windows from a padded (batch, *pixels, channels)."""
        return list(product([slice(None)], *map(self.along, range(len(self.size)))))

    @lru_cache(maxsize=256)  # noqa: B019
    def has_empty_window(self) -> bool:
        """Whether a window has all of its taps on the padding: a dilated one may step over an image."""
        return any(
            not any(0 <= first + tap * apart < pixels for tap in range(size))
            for size, step, apart, pixels, count, (low, _) in zip(*self, strict=True)
            for first in range(-low, count * step - low, step)
        )

    def tap_range(self, axis: int, tap: int, first: int, count: int) -> TapRange:
        """Which of ``count`` windows from the ``first`` on have a tap on the image along an axis, on which pixels."""
        step = self.stride[axis]
        start = first * step + tap * self.dilation[axis] - self.padding[axis][0]
        return inside(start, step, count, self.pixels[axis])


@dataclass(frozen=True, eq=False)  # one is known by itself: a hash of all fields would be computed at each call
class Window:
    """A window and how it moves, whatever the image; every field has one entry for each axis.

    Args:
        size: of the window, in taps.
        stride: from one window to the next, in pixels.
        dilation: from one tap to the next, in pixels.
        padding: "valid" for none, "same" for as many windows as pixels / stride, or explicit pixels.
        ceil_mode: whether a last window that hangs over the edge counts.
    """

    size: Sizes
    stride: Sizes
    dilation: Sizes
    padding: str | Padding = "valid"
    ceil_mode: bool = False

    @property
    def effective_size(self) -> Sizes:
        """The effective kernel size: the pixels from the first tap to the last, both included."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.size, self.dilation, strict=True))

    @lru_cache(maxsize=256)  # noqa: B019
    def fit(self, kind: str, shape: tuple[int, ...]) -> Geometry:
        """How many windows stand on an image, and the padding in pixels that lets them.

        Args:
            kind: the layer's kind, for the message.
            shape: (..., *pixels, channels) of the image.

        Returns:
            The geometry. With "same", rows = ceil(height / stride), and where the padding is odd the extra pixel is at
            the end. With ``ceil_mode`` the padding after the image may grow.

        Raises:
            ValueError: the window is larger than the padded image.
        """
        pixels = shape[-1 - len(self.size) : -1]
        counts, padding = zip(*(self._along(axis, n) for axis, n in enumerate(pixels)), strict=True)
        if min(counts) < 1 or min(pixels) < 1:
            raise ValueError(
                f"{kind}: a window of {self.effective_size} pixels is larger than its input of {pixels} pixels "
                f"with padding {self.padding!r}; use a smaller window or more padding"
            )
        # A step from the only window, or from the only tap, leads nowhere: kernels need not compute with a huge one.
        whole = [n + low + high for n, (low, high) in zip(pixels, padding, strict=True)]
        stride = tuple(map(min, self.stride, whole))
        dilation = tuple(min(d, n) if k == 1 else d for k, d, n in zip(self.size, self.dilation, whole, strict=True))
        return Geometry(self.size, stride, dilation, pixels, counts, padding)

    @lru_cache(maxsize=256)  # noqa: B019
    def fit_transposed(self, kind: str, shape: tuple[int, ...], output_padding: Sizes) -> Geometry:
        """The windows of a transposed convolution: they stand on its output, one for each pixel of its input.

        Args:
            kind: the layer's kind, for the message.
            shape: (..., *counts, channels) of the input.
            output_padding: pixels added after the output, for each axis.

        Returns:
            The geometry on the output. With "same" the output has ``stride`` times the pixels of the input, and where
            the padding is odd the extra pixel is cut off its end.

        Raises:
            ValueError: the padding cuts off all of the output.
        """
        counts = shape[-1 - len(self.size) : -1]
        each = (self._along_transposed(axis, n, output_padding[axis]) for axis, n in enumerate(counts))
        pixels, padding = zip(*each, strict=True)
        if min(pixels) < 1 or min(counts) < 1:
            raise ValueError(
                f"{kind}: an input of {counts} pixels makes an output of {pixels} pixels with padding "
                f"{self.padding!r}; use less padding or a larger input"
            )
        return Geometry(self.size, self.stride, self.dilation, pixels, counts, padding)

    def _along_transposed(self, axis: int, count: int, extra: int) -> tuple[int, tuple[int, int]]:
        """The pixels of the output along one axis, and the padding with which exactly ``count`` windows fit on it."""
        step, span = self.stride[axis], self.effective_size[axis]
        whole = (count - 1) * step + span
        if self.padding == "same":
            pixels, low = count * step, max(span - step, 0) // 2
        else:
            low, high = (0, 0) if isinstance(self.padding, str) else self.padding[axis]
            pixels = whole - low - high + extra
        return pixels, (low, whole - low - pixels)

    def _along(self, axis: int, pixels: int) -> tuple[int, tuple[int, int]]:
        """The number of windows along one axis, and the padding before and after the image."""
        step, span = self.stride[axis], self.effective_size[axis]
        if self.padding == "same":
            count = -(-pixels // step)
            total = max((count - 1) * step + span - pixels, 0)
            return count, (total // 2, total - total // 2)
        low, high = (0, 0) if isinstance(self.padding, str) else self.padding[axis]
        room = pixels + low + high - span
        count = room // step + 1
        if self.ceil_mode and room % step and count * step < pixels + low:
            # One more window, hanging over the edge; it must at least begin on the image.
            return count + 1, (low, high + step - room % step)
        return count, (low, high)


def as_window(
    kind: str, axes: Axes, size: Any, stride: Any, padding: Any, dilation: Any = 1, causal: bool = False
) -> Window:
    """The window that the arguments of a convolution ask for, or an error that names the argument.

    Where ``causal`` is set, "causal" is a padding too: all before the series, so that no window sees what comes later.

    Example:
        >>> as_window("conv1d", LINE, 3, 1, "causal", 2, causal=True).padding
        ((4, 0),)
    """
    window = Window(
        checks.sizes(kind, "kernel", size, axes),
        checks.sizes(kind, "stride", stride, axes),
        checks.sizes(kind, "dilation", dilation, axes),
    )
    if causal and isinstance(padding, str) and padding == "causal":
        return replace(window, padding=tuple((span - 1, 0) for span in window.effective_size))
    words = ("valid", "same", "causal") if causal else ("valid", "same")
    return replace(window, padding=as_padding(kind, padding, axes, words))


def as_padding(kind: str, value: Any, axes: Axes = FLAT, words: Sequence[str] = ("valid", "same")) -> str | Padding:
    """One of some words, or pixels before and after each axis; of a single axis (left, right) will do.

    Example:
        >>> as_padding("conv2d", [[1, 0], [0, 2]]), as_padding("conv1d", (2, 0), LINE)
        (((1, 0), (0, 2)), ((2, 0),))
    """
    if isinstance(value, str) and value in words:
        return value
    try:
        if not isinstance(value, tuple | list):
            raise TypeError
        sides = [value] if len(axes) == 1 and len(value) == 2 else value
        pairs = [[checks.size(kind, "padding", n, 0) for n in ends] for ends in sides]
        found = tuple((low, high) for low, high in pairs)
        if len(found) != len(axes):
            raise ValueError
    except (TypeError, ValueError):
        ends_of = ", ".join(SIDES[axis] for axis in axes)
        expected = f"{', '.join(map(repr, words))} or {ends_of if len(axes) == 1 else f'({ends_of})'} in pixels"
        one = f"({value}, {value})"
        each = one if len(axes) == 1 else f"({', '.join([one] * len(axes))})"
        fix = f"; write {each}" if type(value) is int and value >= 0 else ""
        raise ValueError(f"{kind}: unknown padding {shown(value)}, expected {expected}{fix}") from None
    return found


def inside(first: int, step: int, count: int, size: int) -> TapRange:
    """Which of the ``count`` pixels first, first + step, ... lie in [0, size).

    Example:
        >>> inside(-3, 2, 4, 3)
        TapRange(windows=slice(2, 3, None), pixels=slice(1, 3, 2))
    """
    lo = min(max(-(first // step), 0), count)
    hi = max(min(-((first - size) // step), count), lo)
    return TapRange(slice(lo, hi), slice(first + lo * step, first + hi * step, step) if hi > lo else slice(0, 0))
