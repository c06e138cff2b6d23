"""Convolutions and pools as nodes of ONNX, which has channels first, and whose padding is always in pixels.

What the padding and the number of windows are is asked of the same ``Window`` that the layers use.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from funcnn import layers as fn
from funcnn.aliases import Array, Tree
from funcnn.interchange.onnx.exporting.graph import Tensor
from funcnn.interchange.onnx.exporting.shapes import padded
from funcnn.interchange.onnx.exporting.site import Converter, Site
from funcnn.kernels.windows import FLAT, LINE, SOLID, Axes, Geometry, Padding, Window, as_padding, as_window

__all__ = ["CONVERTERS"]

CONVS = {fn.conv1d: LINE, fn.conv2d: FLAT, fn.conv3d: SOLID, fn.depthwise_conv2d: FLAT}
TRANSPOSED = {fn.conv_transpose1d: LINE, fn.conv_transpose2d: FLAT, fn.conv_transpose3d: SOLID}


def _pads(padding: Padding) -> list[int]:
    """ONNX's order: all beginnings, then all ends."""
    return [low for low, _ in padding] + [high for _, high in padding]


def _conv(
    axes: Axes, at: Site, x: Tensor, kernel: Any, stride: Any, padding: Any, dilation: Any, bias: bool,
    activation: Any, pad_mode: str, groups: Any = None, **_: Any,
) -> Tree:  # fmt: skip
    rank, w = len(axes), at.params["w"]
    window = as_window(at.layer.kind, axes, kernel, stride, padding, dilation, causal=axes == LINE)
    geometry = window.fit(at.layer.kind, (1, *x.shape))
    image, pads = x.name, _pads(geometry.padding)
    if pad_mode != "zero" and any(pads):
        image, pads = padded(at, image, geometry.padding, pad_mode, x), [0] * 2 * rank
    inputs = [at.channels_first(image, rank), at.param("w", np.moveaxis(w, (-1, -2), (0, 1)))]
    z = at.op(
        "Conv", *inputs, *([at.param("b")] if bias else []), kernel_shape=geometry.size, strides=geometry.stride,
        dilations=geometry.dilation, pads=pads, group=x.shape[-1] if groups is None else int(groups),
    )  # fmt: skip
    return at.activated(at.channels_last(z, rank), x, (*geometry.counts, w.shape[-1]), activation)


def _conv_transpose(
    axes: Axes, at: Site, x: Tensor, filters: int, kernel: Any, stride: Any, padding: Any, output_padding: Any,
    dilation: Any, groups: int, bias: bool, activation: Any, **_: Any,
) -> Tree:  # fmt: skip
    rank = len(axes)
    extra = (output_padding,) * rank if np.ndim(output_padding) == 0 else tuple(output_padding)
    window = as_window(at.layer.kind, axes, kernel, stride, padding, dilation)
    geometry = window.fit_transposed(at.layer.kind, (1, *x.shape), tuple(map(int, extra)))
    w = np.moveaxis(at.params["w"], (-1, -2), (0, 1))
    # Negative padding: pixels behind the last window, which are 0. ONNX makes fewer of them than its stride.
    behind = [max(-high, 0) for _, high in geometry.padding]
    is_attribute = all(n < step for n, step in zip(behind, geometry.stride, strict=True))
    pads = tuple((low, max(high, 0)) for low, high in geometry.padding)
    z = at.op(
        "ConvTranspose", at.channels_first(x.name, rank), at.param("w", w), kernel_shape=geometry.size,
        strides=geometry.stride, dilations=geometry.dilation, pads=_pads(pads), group=int(groups),
        output_padding=behind if is_attribute else [0] * rank,
    )  # fmt: skip
    z = at.channels_last(z, rank)
    if not is_attribute:
        z = padded(at, z, [(0, n) for n in behind], "zero", x)
    z = at.op("Add", z, at.param("b")) if bias else z
    return at.activated(z, x, (*geometry.pixels, int(filters)), activation)


def _fitted(
    axes: Axes, at: Site, x: Tensor, window: Any, stride: Any, padding: Any, ceil: bool, dilation: Any = 1
) -> Geometry:
    """The windows of a pool, with just the padding behind that the last one needs."""
    one = as_window(at.layer.kind, axes, window, window if stride is None else stride, padding, dilation)
    geometry = Window(one.size, one.stride, one.dilation, one.padding, bool(ceil)).fit(at.layer.kind, (1, *x.shape))
    ends = [
        (low, max((count - 1) * step + span - low - pixels, 0))
        for count, step, span, pixels, (low, _) in zip(
            geometry.counts, geometry.stride, geometry.effective_size, geometry.pixels, geometry.padding, strict=True
        )
    ]
    return geometry._replace(padding=tuple(ends))


def _pooled(at: Site, kind: str, x: str, geometry: Geometry, value: str, **options: Any) -> str:
    """A pooling node between transpositions; padding that may exceed what runtimes take is a node of its own."""
    rank, padding = len(geometry.size), geometry.padding
    z = at.channels_first(x, rank)
    if max(map(max, padding)) >= min(geometry.size):
        z = at.op("Pad", z, at.graph.integers([0, 0, *_pads(padding)[:rank], 0, 0, *_pads(padding)[rank:]]), value)
        padding = ((0, 0),) * rank
    if any(d > 1 for d in geometry.dilation):
        options["dilations"] = geometry.dilation
    z = at.op(kind, z, kernel_shape=geometry.size, strides=geometry.stride, pads=_pads(padding), **options)
    return at.channels_last(z, rank)


def _max_pool(
    axes: Axes, at: Site, x: Tensor, window: Any, stride: Any, padding: Any, ceil_mode: bool, dilation: Any
) -> Tree:
    geometry = _fitted(axes, at, x, window, stride, padding, ceil_mode, dilation)
    return _pooled(at, "MaxPool", x.name, geometry, at.number(-np.inf, x))


def _min_pool(
    axes: Axes, at: Site, x: Tensor, window: Any, stride: Any, padding: Any, ceil_mode: bool, dilation: Any
) -> Tree:
    geometry = _fitted(axes, at, x, window, stride, padding, ceil_mode, dilation)
    largest = _pooled(at, "MaxPool", at.elementwise("Neg", x.name), geometry, at.number(-np.inf, x))
    return at.elementwise("Neg", largest)


def _summed(at: Site, x: Tensor, name: str, geometry: Geometry, factor: Array) -> str:
    """The sum of each window, which is a mean that counts the padding, times a factor."""
    mean = _pooled(at, "AveragePool", name, geometry, at.number(0, x), count_include_pad=1)
    factor = (factor * math.prod(geometry.size)).astype(x.dtype)
    if (factor == factor.flat[0]).all():
        return mean if factor.flat[0] == 1 else at.elementwise("Mul", mean, at.number(factor.flat[0], x))
    found: str = at.op("Mul", mean, at.constant("factor", factor[..., None]))
    return found


def _counted(geometry: Geometry, border: Padding) -> Array:
    """How many pixels each window has, with those of a border around the image."""
    whole = np.ones([n + low + high for n, (low, high) in zip(geometry.pixels, border, strict=True)])
    rest = [
        (max(low - own, 0), max(high - end, 0))
        for (low, high), (own, end) in zip(geometry.padding, border, strict=True)
    ]
    cut = tuple(slice(max(own - low, 0), None) for (low, _), (own, _) in zip(geometry.padding, border, strict=True))
    image = np.pad(whole, rest)[cut][None, ..., None]
    return np.asarray(sum(image[tap] for tap in geometry.taps()))[0, ..., 0]


def _avg_pool(
    axes: Axes, at: Site, x: Tensor, window: Any, stride: Any, padding: Any, ceil_mode: bool, count_padding: bool
) -> Tree:
    geometry = _fitted(axes, at, x, window, stride, padding, ceil_mode)
    border: Padding = ((0, 0),) * len(axes)
    if count_padding:
        asked = as_padding(at.layer.kind, padding, axes)
        border = geometry.padding if asked == "same" else border if isinstance(asked, str) else asked
    return _summed(at, x, x.name, geometry, 1 / _counted(geometry, border))


def _sum_pool(axes: Axes, at: Site, x: Tensor, window: Any, stride: Any, padding: Any, ceil_mode: bool) -> Tree:
    return _summed(at, x, x.name, _fitted(axes, at, x, window, stride, padding, ceil_mode), np.ones(1))


def _lp_pool(
    axes: Axes, at: Site, x: Tensor, p: float, window: Any, stride: Any, padding: Any, ceil_mode: bool
) -> Tree:
    geometry = _fitted(axes, at, x, window, stride, padding, ceil_mode)
    size = at.elementwise("Abs", x.name)
    if p == math.inf:
        return _pooled(at, "MaxPool", size, geometry, at.number(-np.inf, x))
    if p == 1:
        return _summed(at, x, x.name, geometry, np.ones(1))
    power = at.elementwise("Pow", size, at.number(p, x))
    odd = p % 2 == 1
    if odd:
        power = at.elementwise("Mul", power, at.elementwise("Sign", x.name))
    total = _summed(at, x, power, geometry, np.ones(1))
    root = at.elementwise("Pow", at.elementwise("Abs", total) if odd else total, at.number(1 / p, x))
    return at.elementwise("Mul", root, at.elementwise("Sign", total)) if odd else root


def _windows(pixels: int, size: int) -> Array:
    """The pixels of each window of an adaptive pool, (size, longest); shorter ones repeat their last pixel."""
    starts, ends = np.arange(size) * pixels // size, -(-(np.arange(size) + 1) * pixels // size)
    found: Array = np.minimum(starts[:, None] + np.arange((ends - starts).max()), ends[:, None] - 1)
    return found


def _adaptive_pool(rank: int, largest: bool, at: Site, x: Tensor, size: Any) -> Tree:
    y = x.name
    sizes = size if isinstance(size, tuple | list) else (size,) * rank
    for axis, (wanted, pixels) in enumerate(zip(sizes, x.shape, strict=False), 1):
        if wanted is None or wanted == pixels:
            continue
        rows = _windows(pixels, int(wanted))
        if largest:
            y = at.reduce(
                "ReduceMax", at.op("Gather", y, at.constant(f"windows_{axis}", rows), axis=axis), [axis + 1], False
            )
            continue
        weights = np.zeros((int(wanted), pixels))
        for row, own in zip(weights, rows, strict=True):
            row[np.unique(own)] = 1 / len(np.unique(own))
        before, behind = "ncde"[:axis], "wxyz"[: rank + 1 - axis]
        equation = f"{before}p{behind},sp->{before}s{behind}"
        y = at.op("Einsum", y, at.constant(f"weights_{axis}", weights.astype(x.dtype)), equation=equation)
    return y if y != x.name else at.op("Identity", y)


def _global_pool(rank: int, kind: str, at: Site, x: Tensor) -> Tree:
    return at.reduce(kind, x.name, range(1, rank + 1), keepdims=False)


def _by_rank(name: str, converter: Any, *options: Sequence[Any]) -> dict[Any, Converter]:
    """A converter for the three layers of a name, whose first argument tells the axes."""
    made = [getattr(fn, f"{name}{rank}d") for rank in (1, 2, 3)]
    return {layer: partial(converter, first, *options) for layer, first in zip(made, (LINE, FLAT, SOLID), strict=True)}


CONVERTERS: dict[Any, Converter] = {
    **{layer: partial(_conv, axes) for layer, axes in CONVS.items()},
    **{layer: partial(_conv_transpose, axes) for layer, axes in TRANSPOSED.items()},
    **_by_rank("max_pool", _max_pool),
    **_by_rank("min_pool", _min_pool),
    **_by_rank("avg_pool", _avg_pool),
    **_by_rank("sum_pool", _sum_pool),
    **_by_rank("lp_pool", _lp_pool),
    **{getattr(fn, f"adaptive_avg_pool{n}d"): partial(_adaptive_pool, n, False) for n in (1, 2, 3)},
    **{getattr(fn, f"adaptive_max_pool{n}d"): partial(_adaptive_pool, n, True) for n in (1, 2, 3)},
    **{getattr(fn, f"global_avg_pool{n}d").apply: partial(_global_pool, n, "ReduceMean") for n in (1, 2, 3)},
    **{getattr(fn, f"global_max_pool{n}d").apply: partial(_global_pool, n, "ReduceMax") for n in (1, 2, 3)},
}
