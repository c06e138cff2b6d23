"""Layers that move, repeat, cut or resample pixels, as nodes of ONNX."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np

from funcnn import layers as fn
from funcnn.aliases import Array, Tree
from funcnn.interchange.onnx.exporting.graph import Tensor
from funcnn.interchange.onnx.exporting.site import Converter, Site
from funcnn.kernels.padding import as_border, border_of
from funcnn.kernels.resample import RULES, Along
from funcnn.kernels.windows import Geometry, as_window
from funcnn.layers.upsample import along

__all__ = ["CONVERTERS", "padded"]

MODES = {"edge": "edge", "replicate": "edge", "reflect": "reflect", "zero": "constant", "constant": "constant"}


def padded(at: Site, x: str, sides: Sequence[tuple[int, int]], mode: str, like: Tensor, value: float = 0.0) -> str:
    """(batch, *pixels, channels) with a border around its pixels."""
    if mode == "circular":
        for axis, (low, high) in enumerate(sides, 1):
            pixels = like.shape[axis - 1]
            around = np.arange(-low, pixels + high) % pixels
            x = at.op("Gather", x, at.constant(f"around_{axis}", around), axis=axis)
        return x
    pads = [0, *(low for low, _ in sides), 0, 0, *(high for _, high in sides), 0]
    found: str = at.op("Pad", x, at.graph.integers(pads), at.number(value, like), mode=MODES[mode])
    return found


def _pad(at: Site, x: Tensor, widths: Any, mode: str, value: float) -> Tree:
    return padded(at, x.name, _sides(at, x, widths), mode, x, value)


def _crop(at: Site, x: Tensor, widths: Any) -> Tree:
    sides, y = _sides(at, x, widths), x.name
    for axis, (low, high) in enumerate(sides, 1):
        y = at.slice(y, axis, low, x.shape[axis - 1] - high)
    return y


def _sides(at: Site, x: Tensor, widths: Any) -> Any:
    return border_of(at.layer.kind, "widths", as_border(at.layer.kind, "widths", widths), (1, *x.shape))


def _flatten(at: Site, x: Tensor) -> Tree:
    return at.reshape(x.name, [math.prod(x.shape)])


def _reshape(at: Site, x: Tensor, shape: Sequence[int]) -> Tree:
    return at.reshape(x.name, _known(shape, math.prod(x.shape)))


def _unflatten(at: Site, x: Tensor, axis: int, shape: Sequence[int]) -> Tree:
    place = axis % (len(x.shape) + 1) - 1
    return at.reshape(x.name, [*x.shape[:place], *_known(shape, x.shape[place]), *x.shape[place + 1 :]])


def _known(shape: Sequence[int], elements: int) -> list[int]:
    """A shape with the size that -1 stands for."""
    others = math.prod(n for n in shape if n != -1)
    return [elements // others if n == -1 else int(n) for n in shape]


def _permute(at: Site, x: Tensor, axes: Sequence[int]) -> Tree:
    order = [int(axis) % (len(x.shape) + 1) for axis in axes]
    return at.transpose(x.name, 0, *(axis for axis in order if axis))


def _squeeze(at: Site, x: Tensor, axis: int) -> Tree:
    return at.op("Squeeze", x.name, at.graph.integers([axis % (len(x.shape) + 1)]))


def _expand_dims(at: Site, x: Tensor, axis: int) -> Tree:
    return at.op("Unsqueeze", x.name, at.graph.integers([axis % (len(x.shape) + 2)]))


def _take(at: Site, x: Tensor, index: Any, axis: int) -> Tree:
    place = axis % (len(x.shape) + 1)
    if not isinstance(index, slice):
        number = at.constant("index", np.array(index % x.shape[place - 1], np.int64))
        return at.op("Gather", x.name, number, axis=place)
    chosen = np.arange(x.shape[place - 1])[index]
    return at.op("Gather", x.name, at.constant("index", chosen), axis=place)


def _upsample(at: Site, x: Tensor, factor: Any, size: Any, mode: str, align_corners: bool) -> Tree:
    rule = {"nearest": "nearest", "bicubic": "cubic"}.get(mode, "linear")
    plan = _plan(at, x, factor, size, rule, align_corners)
    axes = [axis for axis, one in enumerate(plan, 1) if one.size != one.pixels or rule == "cubic"]
    if rule == "nearest" and not all(_repeats(one) for one in plan):
        y = x.name
        for axis in axes:
            pixels = RULES["nearest"](plan[axis - 1])[0][:, 0].astype(np.int64)
            y = at.op("Gather", y, at.constant(f"pixels_{axis}", np.minimum(pixels, x.shape[axis - 1] - 1)), axis=axis)
        return y
    # onnxruntime has no cubic operator that makes fewer pixels.
    exact = all(_scaled(one) and (rule != "cubic" or one.size >= one.pixels) for one in plan)
    return _resize(at, x, plan, rule, align_corners) if exact else _matrices(at, x, plan, axes)


def _plan(at: Site, x: Tensor, factor: Any, size: Any, rule: str, align: bool) -> list[Along]:
    """How each axis of pixels is resampled, as the layer does it."""
    pixels = x.shape[:-1]
    factors = factor if isinstance(factor, tuple | list | np.ndarray) else [factor] * len(pixels)
    sizes = size if isinstance(size, tuple | list | np.ndarray) else [size] * len(pixels)
    return [along(rule, n, m, f, align) for n, m, f in zip(pixels, sizes, factors, strict=True)]


def _repeats(one: Along) -> bool:
    """Whether each pixel is repeated a whole number of times, so that no rounding decides."""
    return one.size % one.pixels == 0 and one.step[0] * one.size == one.step[1] * one.pixels


def _scaled(one: Along) -> bool:
    """Whether the size follows from the scale in float32, as ONNX computes it."""
    return int(np.floor(np.float32(one.pixels) * np.float32(_scale(one)))) == one.size


def _scale(one: Along) -> float:
    return one.step[1] / one.step[0]


def _resize(at: Site, x: Tensor, plan: list[Along], rule: str, align_corners: bool) -> str:
    """The node that ONNX has for it."""
    rank = len(plan)
    scales = np.array([1, 1, *map(_scale, plan)], np.float32)
    where = "asymmetric" if rule == "nearest" else "align_corners" if align_corners else "half_pixel"
    usual: dict[str, dict[str, Any]] = {"nearest": {"nearest_mode": "floor"}, "cubic": {"cubic_coeff_a": -0.75}}
    options = usual.get(rule, {})
    y = at.op(
        "Resize", at.channels_first(x.name, rank), "", at.constant("scales", scales), mode=rule,
        coordinate_transformation_mode=where, **options,
    )  # fmt: skip
    return at.channels_last(y, rank)


def _matrices(at: Site, x: Tensor, plan: list[Along], axes: Sequence[int]) -> str:
    """A product with the weights of the pixels along each axis."""
    y, letters = x.name, "nabcd"[: len(plan) + 2]
    for axis in axes:
        one = plan[axis - 1]
        pixels, weights = RULES[one.rule](one)
        matrix = np.zeros((one.size, one.pixels), x.dtype)
        columns = np.clip(pixels, 0, one.pixels - 1).astype(int)
        np.add.at(matrix, (np.arange(one.size)[:, None], columns), weights.astype(x.dtype))
        equation = f"{letters},s{letters[axis]}->{letters.replace(letters[axis], 's')}"
        y = at.op("Einsum", y, at.constant(f"weights_{axis}", matrix), equation=equation)
    return y


def _pixel_shuffle(at: Site, x: Tensor, factor: int) -> Tree:
    (*pixels, channels), f = x.shape, int(factor)
    rank = len(pixels)
    parts = at.reshape(x.name, [*pixels, channels // f**rank, *[f] * rank])
    order = chain.from_iterable((1 + axis, 2 + rank + axis) for axis in range(rank))
    return at.reshape(at.transpose(parts, 0, *order, 1 + rank), [*(n * f for n in pixels), channels // f**rank])


def _pixel_unshuffle(at: Site, x: Tensor, factor: int) -> Tree:
    (*pixels, channels), f = x.shape, int(factor)
    rank = len(pixels)
    parts = at.reshape(x.name, [*chain.from_iterable((n // f, f) for n in pixels), channels])
    order = (0, *range(1, 2 * rank, 2), 1 + 2 * rank, *range(2, 2 * rank + 1, 2))
    return at.reshape(at.transpose(parts, *order), [*(n // f for n in pixels), channels * f**rank])


def _channel_shuffle(at: Site, x: Tensor, groups: int) -> Tree:
    *before, channels = x.shape
    parts, rank = at.reshape(x.name, [*before, groups, channels // groups]), len(before)
    return at.reshape(at.transpose(parts, *range(rank + 1), rank + 2, rank + 1), x.shape)


def _unfold(at: Site, x: Tensor, size: Any, stride: Any, padding: Any, dilation: Any) -> Tree:
    rank, channels = len(x.shape) - 1, x.shape[-1]
    axes = ("depth", "height", "width")[-rank:]
    geometry = as_window("unfold", axes, size, stride, padding, dilation).fit("unfold", (1, *x.shape))
    y = padded(at, x.name, geometry.padding, "zero", x)
    for axis in range(rank, 0, -1):
        y = at.op("Gather", y, at.constant(f"windows_{axis}", _seen(geometry, axis - 1)), axis=axis)
    # (batch, counts_1, size_1, counts_2, size_2, ..., channels)
    y = at.transpose(y, 0, *range(1, 2 * rank, 2), 2 * rank + 1, *range(2, 2 * rank + 1, 2))
    return at.reshape(y, [math.prod(geometry.counts), channels * math.prod(geometry.size)])


def _fold(at: Site, x: Tensor, pixels: Any, size: Any, stride: Any, padding: Any, dilation: Any) -> Tree:
    image = at.probed(x).shape[1:]
    rank = len(image) - 1
    axes = ("depth", "height", "width")[-rank:]
    geometry = as_window("fold", axes, size, stride, padding, dilation).fit("fold", image)
    channels = x.shape[-1] // math.prod(geometry.size)
    y = at.reshape(x.name, [*geometry.counts, channels, *geometry.size])
    for axis in range(rank):
        whole = np.zeros(
            (geometry.pixels[axis] + sum(geometry.padding[axis]), geometry.counts[axis], geometry.size[axis])
        )
        seen = _seen(geometry, axis)
        for window, taps in enumerate(seen):
            whole[taps, window, np.arange(len(taps))] = 1
        low = geometry.padding[axis][0]
        places = whole[low : low + geometry.pixels[axis]].astype(x.dtype)
        # (done, windows, channels, taps) with windows and taps of the axes that are left.
        letters, taps = "abc"[: rank - axis], "uvw"[: rank - axis]
        done = "xyz"[:axis]
        equation = f"n{done}{letters}k{taps},p{letters[0]}{taps[0]}->n{done}p{letters[1:]}k{taps[1:]}"
        y = at.op("Einsum", y, at.constant(f"places_{axis}", places), equation=equation)
    return y


def _seen(geometry: Geometry, axis: int) -> Array:
    """(windows, taps), the pixels of the padded image that each window sees along an axis."""
    starts = np.arange(geometry.counts[axis]) * geometry.stride[axis]
    found: Array = starts[:, None] + np.arange(geometry.size[axis]) * geometry.dilation[axis]
    return found


def _local_response_norm(at: Site, x: Tensor, size: int, alpha: float, beta: float, k: float) -> Tree:
    """ONNX has ``size - 1`` halved up before a channel, so that an even size is mirrored."""
    squares = at.elementwise("Mul", x.name, x.name)
    channels, reach = x.shape[-1], np.arange(x.shape[-1])
    distance = reach[:, None] - reach  # from the channel that is damped to the one that is summed
    band = ((distance >= -((size - 1) // 2)) & (distance <= size // 2)).astype(x.dtype) * (alpha / size)
    total = at.op("MatMul", squares, at.constant("band", band.T.reshape(channels, channels)))
    d = at.op("Add", total, at.number(k, x))
    return at.op("Div", x.name, at.op("Pow", d, at.number(beta, x)))


CONVERTERS: dict[Any, Converter] = {
    fn.flatten.apply: _flatten, fn.reshape: _reshape, fn.unflatten: _unflatten, fn.permute: _permute,
    fn.squeeze: _squeeze, fn.expand_dims: _expand_dims, fn.take: _take, fn.pad: _pad, fn.crop: _crop,
    fn.upsample1d: _upsample, fn.upsample2d: _upsample, fn.upsample3d: _upsample, fn.pixel_shuffle: _pixel_shuffle,
    fn.pixel_unshuffle: _pixel_unshuffle, fn.channel_shuffle: _channel_shuffle, fn.unfold: _unfold, fn.fold: _fold,
    fn.local_response_norm: _local_response_norm,
}  # fmt: skip
