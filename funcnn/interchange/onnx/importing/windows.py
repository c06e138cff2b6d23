"""Convolutions, pools and resampling of a file, as layers with channels last."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

from funcnn import layers as fn
from funcnn.aliases import Array
from funcnn.interchange.extras import package
from funcnn.interchange.onnx.importing.dense import mixed
from funcnn.interchange.onnx.importing.operator import Converter, Operator
from funcnn.interchange.onnx.importing.reading import evaluated
from funcnn.interchange.onnx.importing.values import BATCH, Operand, Unsupported, Value

__all__ = ["CONVERTERS"]


def _images(op: Operator) -> tuple[Value, str, int]:
    """The first input, its node with channels last, and its number of axes of pixels."""
    x = op.value()
    rank = len(x.axes) - 2
    if rank not in (1, 2, 3):
        raise Unsupported(f"images of {rank} axes of pixels")
    return x, op.builder.channels_last(x), rank


def _padding(
    op: Operator, size: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...], pixels: Any
) -> Any:
    """The padding in pixels before and behind each axis."""
    auto = op.attribute("auto_pad", "NOTSET")
    if auto in ("NOTSET", ""):
        pads = [int(n) for n in op.attribute("pads", [0] * 2 * len(size))]
        return tuple(zip(pads[: len(size)], pads[len(size) :], strict=True))
    if auto == "VALID":
        return ((0, 0),) * len(size)
    found = []
    for k, s, d, n in zip(size, stride, dilation, pixels, strict=True):
        total = max((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0)
        less, more = total // 2, total - total // 2
        found.append((less, more) if auto == "SAME_UPPER" else (more, less))
    return tuple(found)


def _window(op: Operator, rank: int, size: Any, pixels: Any) -> dict[str, Any]:
    """The arguments that convolutions and pools share."""
    stride = tuple(int(n) for n in op.attribute("strides", [1] * rank))
    dilation = tuple(int(n) for n in op.attribute("dilations", [1] * rank))
    padding = _padding(op, size, stride, dilation, pixels)
    if any(n < 0 for pair in padding for n in pair):
        raise Unsupported("negative padding")
    found: dict[str, Any] = {"stride": stride, "padding": padding}
    return found | ({"dilation": dilation} if any(d > 1 for d in dilation) else {})


def _plain(options: dict[str, Any]) -> dict[str, Any]:
    """The arguments as one would write them: without those that are the defaults."""
    padding, stride = options.get("padding", ()), options.get("stride", ())
    found = {name: value for name, value in options.items() if not (name == "padding" and not any(map(any, padding)))}
    if "stride" in found and set(stride) == {1}:
        del found["stride"]
    return {name: value[0] if isinstance(value, tuple) and value and isinstance(value[0], int) and len(set(value)) == 1
            else value for name, value in found.items()}  # fmt: skip


def _one(size: tuple[Any, ...]) -> Any:
    """A size as one would write it."""
    return size[0] if len(set(size)) == 1 else size


def _conv(op: Operator) -> Operand:
    x, node, rank = _images(op)
    w, groups = op.constant(1), int(op.attribute("group", 1))
    size = w.shape[2:]
    options = _plain(_window(op, rank, size, x.file_shape[2:]))
    has_bias = op.operand(2) is not None
    params = {"w": np.ascontiguousarray(np.moveaxis(w, (0, 1), (-1, -2)))}
    params |= {"b": op.constant(2)} if has_bias else {}
    options |= {} if has_bias else {"bias": False}
    channels = x.file_shape[1]
    if rank == 2 and groups == channels > 1 and w.shape[0] % channels == 0:
        multiplier = w.shape[0] // channels
        options |= {"multiplier": multiplier} if multiplier > 1 else {}
        layer = fn.depthwise_conv2d(_one(size), **options)
    else:
        options |= {"groups": groups} if groups > 1 else {}
        layer = getattr(fn, f"conv{rank}d")(w.shape[0], _one(size), **options)
    return op.builder.images(op.builder.add(layer, [node], params), x.dtype)


def _conv_transpose(op: Operator) -> Operand:
    x, node, rank = _images(op)
    w, groups = op.constant(1), int(op.attribute("group", 1))
    size, filters = w.shape[2:], w.shape[1] * groups
    extra = tuple(int(n) for n in op.attribute("output_padding", [0] * rank))
    window = _window(op, rank, size, x.file_shape[2:])
    if op.attribute("output_shape") or op.attribute("auto_pad", "NOTSET") in ("SAME_UPPER", "SAME_LOWER"):
        window["padding"] = _transposed_padding(op, size, extra, window, x.file_shape[2:])
    options = _plain(window)
    options |= {"output_padding": _one(extra)} if any(extra) else {}
    options |= {"groups": groups} if groups > 1 else {}
    has_bias = op.operand(2) is not None
    params = {"w": np.ascontiguousarray(np.moveaxis(w, (0, 1), (-1, -2)))}
    params |= {"b": op.constant(2)} if has_bias else {}
    options |= {} if has_bias else {"bias": False}
    layer = getattr(fn, f"conv_transpose{rank}d")(filters, _one(size), **options)
    return op.builder.images(op.builder.add(layer, [node], params), x.dtype)


def _transposed_padding(
    op: Operator, size: tuple[int, ...], extra: tuple[int, ...], window: dict[str, Any], pixels: tuple[int, ...]
) -> Any:
    """The padding that makes the output of the size that is asked for, or of the pixels times the stride."""
    stride, dilation = window["stride"], window.get("dilation", (1,) * len(size))
    asked = op.attribute("output_shape") or [n * step for n, step in zip(pixels, stride, strict=True)]
    found = []
    for n, k, s, d, more, m in zip(pixels, size, stride, dilation, extra, asked[-len(size) :], strict=True):
        total = s * (n - 1) + more + (k - 1) * d + 1 - int(m)
        if total < 0:
            raise Unsupported(f"an output of {list(asked)} pixels, more than its windows reach")
        less, rest = total // 2, total - total // 2
        found.append((less, rest) if op.attribute("auto_pad", "NOTSET") == "SAME_UPPER" else (rest, less))
    return tuple(found)


def _pool(kind: str, op: Operator) -> Operand | list[Operand | None]:
    if len(op.used) > 1 and op.used[1]:
        raise Unsupported("the places of the maxima")
    x, node, rank = _images(op)
    size = tuple(int(n) for n in op.attribute("kernel_shape"))
    options = _window(op, rank, size, x.file_shape[2:])
    options |= {"ceil_mode": True} if op.attribute("ceil_mode", 0) else {}
    options |= {"count_padding": True} if op.attribute("count_include_pad", 0) else {}
    if kind == "avg_pool" and "dilation" in options:
        raise Unsupported("a mean with dilation")
    stride = _one(options.pop("stride"))
    layer = getattr(fn, f"{kind}{rank}d")(_one(size), stride, **_plain(options))
    return op.builder.images(op.builder.add(layer, [node]), x.dtype)


def _lp_pool(op: Operator) -> Operand:
    x, node, rank = _images(op)
    size, p = tuple(int(n) for n in op.attribute("kernel_shape")), int(op.attribute("p", 2))
    if p % 2:  # there ONNX has |x|^p, and the layer x^p
        node = op.builder.add(fn.unary("abs"), [node])
    options = _window(op, rank, size, x.file_shape[2:])
    options |= {"ceil_mode": True} if op.attribute("ceil_mode", 0) else {}
    if "dilation" in options:
        raise Unsupported("dilation")
    stride = _one(options.pop("stride"))
    layer = getattr(fn, f"lp_pool{rank}d")(p, _one(size), stride, **_plain(options))
    return op.builder.images(op.builder.add(layer, [node]), x.dtype)


def _global(kind: str, op: Operator) -> Operand:
    x, node, rank = _images(op)
    made = op.builder.add(getattr(fn, f"global_{kind}_pool{rank}d"), [node])
    parts: dict[Any, int] = {BATCH: op.builder.batch, "channels": x.file_shape[1]}
    return Value.of(made, x.dtype, parts, [[BATCH], ["channels"], *[[]] * rank])


def _resize(op: Operator) -> Operand:
    """Resize, and Upsample, which was its name until opset 10."""
    x = op.value()
    shape = x.file_shape
    axes = [x.axis(int(a)) for a in op.attribute("axes", range(len(shape)))]
    sizes = None
    if op.kind == "Resize" and op.operand(3) is not None:
        sizes = dict(zip(axes, (int(n) for n in op.constant(3)), strict=True))
        # The batch that a file has in its sizes may be any here.
        wanted = {a: 1.0 if BATCH in x.axes[a] and m == op.fixed else m / shape[a] for a, m in sizes.items()}
    else:
        number = 1 if op.kind == "Upsample" or op.opset < 11 else 2
        scales = op.attribute("scales") or op.constant(number)
        wanted = {a: float(n) for a, n in zip(axes, scales, strict=True)}
    factors = [wanted.get(axis, 1.0) for axis in range(len(shape))]
    options = _mode(op, shape, factors) if len(shape) in (3, 4, 5) else None
    if options is None:
        return _by_weights(op, x, factors, sizes)
    _, node, rank = _images(op)
    if sizes is not None:
        options["size"] = _one(tuple(sizes[axis] for axis in sorted(sizes) if axis > 1))
    else:
        options["factor"] = _one(tuple(factors[2:]))
    made = op.builder.add(getattr(fn, f"upsample{rank}d")(**options), [node])
    return op.builder.images(made, x.dtype)


def _by_weights(op: Operator, x: Value, factors: list[float], sizes: dict[int, int] | None) -> Value:
    """A product with the weights of the pixels along each axis that changes."""
    by_size = sizes is not None or op.attribute("coordinate_transformation_mode", "") == "align_corners"
    if op.attribute("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise Unsupported("keep_aspect_ratio_policy")
    for axis, factor in enumerate(factors):
        if factor == 1:
            continue
        if BATCH in x.axes[axis]:
            raise Unsupported("resampling of the batch")
        n = x.file_shape[axis]
        m = int(np.floor(np.float32(n * factor))) if sizes is None else sizes[axis]
        x = mixed(op, x, axis, _weights(op, n, m, None if by_size else factor, x.dtype), (m,))
    return x


def _weights(op: Operator, n: int, m: int, scale: float | None, dtype: Any) -> Array:
    """(n, m), how much of each pixel of an axis there is in those of the output: what becomes of single pixels."""
    onnx = package("onnx", "onnx", "import_onnx")
    attributes = {name: op.attribute(name) for name in op.attributes if name not in ("axes", "scales")}
    values = {
        "x": np.eye(n, dtype=np.float32),
        "s": np.array([n, m]) if scale is None else np.array([1, scale], np.float32),
    }
    node = onnx.helper.make_node("Resize", ["x", "", "", "s"] if scale is None else ["x", "", "s"], ["y"], **attributes)
    (found,) = evaluated(node, values, [onnx.helper.make_opsetid("", max(op.opset, 13))])
    if found.shape != (n, m):
        raise Unsupported(f"an axis of {n} pixels that becomes one of {found.shape[1]} and not of {m}")
    return found.astype(dtype)


def _mode(op: Operator, shape: tuple[int, ...], wanted: list[float]) -> dict[str, Any] | None:
    """The arguments of an upsampling layer that say which pixels it takes; None if no such layer takes those."""
    mode, rank, factors = op.attribute("mode", "nearest"), len(shape) - 2, wanted[2:]
    modern = op.kind == "Resize" and op.opset > 10
    where = op.attribute("coordinate_transformation_mode", "half_pixel" if modern else "asymmetric")
    if wanted[:2] != [1.0, 1.0] or op.attribute("antialias", 0) or op.attribute("exclude_outside", 0):
        return None
    if mode == "nearest":
        down = op.attribute("nearest_mode", "round_prefer_floor") == "floor" or not modern
        whole = all(n == int(n) for n in factors)
        # With whole factors, half-pixel centres that are rounded to the nearest are in the same pixel.
        is_nearest = op.attribute("nearest_mode", "round_prefer_floor").startswith("round")
        return {} if (where == "asymmetric" and down) or (where == "half_pixel" and whole and is_nearest) else None
    names = {"linear": {1: "linear", 2: "bilinear", 3: "trilinear"}, "cubic": {2: "bicubic"}}
    found = names.get(mode, {}).get(rank)
    if found is None or where not in ("half_pixel", "pytorch_half_pixel", "align_corners"):
        return None
    single = any(n > 1 and int(n * factor) <= 1 for n, factor in zip(shape[2:], factors, strict=True))
    if where == "pytorch_half_pixel" and single:  # then it takes the first pixel
        return None
    if mode == "cubic" and not math.isclose(float(op.attribute("cubic_coeff_a", -0.75)), -0.75):
        return None
    return {"mode": found} | ({"align_corners": True} if where == "align_corners" else {})


def _batch_norm(op: Operator) -> Operand | list[Operand | None]:
    if op.attribute("training_mode", 0):
        raise Unsupported("training_mode")
    x = op.value()
    if len(x.axes) < 2 or BATCH in x.axes[1]:
        raise Unsupported(f"a value of shape {x.file_shape}")
    node, others = op.builder.with_last(x, [1])
    params = dict(zip(("scale", "shift", "mean", "var"), (op.constant(n) for n in range(1, 5)), strict=True))
    made = op.builder.add(fn.batch_norm(op.number("epsilon", 1e-5)), [node], params)
    return op.builder.after_last(x, made, others, 1, x.file_shape[1])


def _layer_norm(op: Operator) -> Operand | list[Operand | None]:
    x = op.value()
    if any(op.used[1:]):
        raise Unsupported("the mean or the standard deviation as outputs")
    first = x.axis(int(op.attribute("axis", -1)))
    last = [*range(first, len(x.axes))]
    node, others = op.builder.with_last(x, last)
    has_shift = op.operand(2) is not None
    params = {"scale": op.constant(1).reshape(-1)} | ({"shift": op.constant(2).reshape(-1)} if has_shift else {})
    made = op.builder.add(fn.layer_norm(eps=op.number("epsilon", 1e-5), shift=has_shift), [node], params)
    if len(last) == 1:
        return op.builder.after_last(x, made, others, first, x.file_shape[first])
    parts: dict[Any, int] = dict(enumerate(x.sizes))
    order = [BATCH, *others, *(part for axis in last for part in x.axes[axis])]
    return Value.of(made, x.dtype, {part: parts[part] for part in order}, x.axes)


def _rms_norm(op: Operator) -> Operand:
    x = op.value()
    if x.axis(int(op.attribute("axis", -1))) != len(x.axes) - 1:
        raise Unsupported("several axes")
    last = len(x.axes) - 1
    node, others = op.builder.with_last(x, [last])
    made = op.builder.add(fn.rms_norm(eps=op.number("epsilon", 1e-5)), [node], {"scale": op.constant(1).reshape(-1)})
    return op.builder.after_last(x, made, others, last, x.file_shape[last])


def _instance_norm(op: Operator) -> Operand:
    x, node, _ = _images(op)
    params: dict[str, Array] = {"scale": op.constant(1), "shift": op.constant(2)}
    made = op.builder.add(fn.instance_norm(op.number("epsilon", 1e-5), affine=True), [node], params)
    return op.builder.images(made, x.dtype)


def _group_norm(op: Operator) -> Operand:
    x, node, _ = _images(op)
    groups, params = int(op.attribute("num_groups")), {"scale": op.constant(1), "shift": op.constant(2)}
    if op.opset < 21:  # then these were for groups
        params = {name: np.repeat(array, x.file_shape[1] // groups) for name, array in params.items()}
    made = op.builder.add(fn.group_norm(groups, op.number("epsilon", 1e-5)), [node], params)
    return op.builder.images(made, x.dtype)


def _local_response(op: Operator) -> Operand:
    x, node, _ = _images(op)
    size = int(op.attribute("size"))
    if size % 2 == 0:
        raise Unsupported("an even size")
    numbers = [float(op.attribute(name, usual)) for name, usual in (("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0))]
    return op.builder.images(op.builder.add(fn.local_response_norm(size, *numbers), [node]), x.dtype)


def _col2im(op: Operator) -> Operand:
    """(batch, channels * taps, windows) as images; the rows of ``fold`` are (windows, channels * taps)."""
    x = op.value()
    image, size = (tuple(int(n) for n in op.constant(number)) for number in (1, 2))
    options = _plain(_window(op, len(image), size, image))
    node = op.builder.arranged(x, [x.axes[2], x.axes[1]])
    return op.builder.images(op.builder.add(fn.fold(image, size, **options), [node]), x.dtype)


CONVERTERS: dict[str, Converter] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "MaxPool": partial(_pool, "max_pool"),
    "AveragePool": partial(_pool, "avg_pool"),
    "LpPool": _lp_pool,
    "GlobalAveragePool": partial(_global, "avg"),
    "GlobalMaxPool": partial(_global, "max"),
    "Resize": _resize,
    "Upsample": _resize,
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "RMSNormalization": _rms_norm,
    "InstanceNormalization": _instance_norm,
    "GroupNormalization": _group_norm,
    "LRN": _local_response,
    "Col2Im": _col2im,
}
