"""Operators of a file that move, cut or pad axes: most only change the record of a value's axes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from funcnn import layers as fn
from funcnn.interchange.onnx.importing.arithmetic import chosen
from funcnn.interchange.onnx.importing.dense import take
from funcnn.interchange.onnx.importing.operator import Converter, Operator
from funcnn.interchange.onnx.importing.values import BATCH, Operand, Unsupported, Value

__all__ = ["CONVERTERS", "regrouped"]


def _same(op: Operator) -> Operand | list[Operand | None]:
    if any(op.used[1:]):
        raise Unsupported("a second output")
    return op.value()


def _dropout(op: Operator) -> Operand | list[Operand | None]:
    """Nothing, when predicting."""
    if op.operand(2) is not None and op.constant(2).any():
        raise Unsupported("training_mode")
    return _same(op)


def _cast(op: Operator) -> Operand:
    """Integers and booleans become floats; floats stay as precise as they are, and do not become integers."""
    kinds = {1: np.float32, 6: np.int32, 7: np.int64, 9: np.bool_, 11: np.float64}
    x, dtype = op.value(), np.dtype(kinds.get(int(op.attribute("to")), np.object_))
    if dtype == x.dtype or (dtype.kind in "iu" and x.dtype.kind in "iu"):
        return x
    if dtype == np.float32 and x.dtype.kind in "iub":
        return op.builder.floats(x).same(op.builder.floats(x).node, dtype)
    if dtype.kind == "b" and x.dtype.kind in "iuf":
        return x.same(x.node, dtype)  # a condition holds where it is not 0
    raise Unsupported(f"a cast from {x.dtype} to {dtype}")


def _transpose(op: Operator) -> Operand:
    x = op.value()
    order = op.attribute("perm", [*range(len(x.axes))][::-1])
    return x.with_axes([x.axes[int(axis)] for axis in order])


def _reshape(op: Operator) -> Operand:
    x, target = op.value(), op.ints("shape", 1) or []
    if not op.attribute("allowzero", 0):
        target = [x.file_shape[place] if n == 0 else n for place, n in enumerate(target)]
    return regrouped(op, x, target)


def regrouped(op: Operator, x: Value, target: list[int]) -> Value:
    """The value with other axes; ``target`` may have one -1, and the batch size that the file was written with."""
    ways = _with_batch(op, x, target)
    found = [one for one in map(x.reshaped, ways) if one is not None]
    if op.fixed:  # of the ways to read it, one with the batch as an axis of its own, or the only one
        alone = [one for one in found if (BATCH,) in one.axes]
        found = alone or (found if len(found) == 1 else [])
    if found:
        return found[0]
    for sizes in ways:
        if sizes and sizes[0] == x.sizes[BATCH] and x.axes[0] == (BATCH,):
            node = op.builder.in_file_order(x)
            return Value.plain(op.builder.reshaped(node, sizes[1:]), tuple(sizes[1:]), x.dtype, op.builder.batch)
    raise Unsupported(f"a shape {target} of a value of shape {x.file_shape}, across examples")


def _with_batch(op: Operator, x: Value, target: list[int]) -> list[list[int]]:
    """The target with whole numbers; where the file has a batch size in it, with the one that is assumed."""
    total = math.prod(x.file_shape)
    ways = [target]
    if op.fixed:
        batch = x.sizes[BATCH]
        ways += [
            [*target[:place], n // op.fixed * batch, *target[place + 1 :]]
            for place, n in enumerate(target)
            if n > 0 and n % op.fixed == 0
        ]
    found = []
    for sizes in ways:
        known = math.prod(n for n in sizes if n != -1)
        whole = [total // known if n == -1 and known else n for n in sizes]
        if math.prod(whole) == total:
            found.append(whole)
    return found


def _flatten(op: Operator) -> Operand:
    x = op.value()
    axis = int(op.attribute("axis", 1))
    place = axis if axis == len(x.axes) else x.axis(axis)
    shape = x.file_shape
    return regrouped(op, x, [math.prod(shape[:place]), math.prod(shape[place:])])


def _squeeze(op: Operator) -> Operand:
    x = op.value()
    axes = op.ints("axes", 1)
    places = [n for n, size in enumerate(x.file_shape) if size == 1] if axes is None else [x.axis(a) for a in axes]
    if any(x.axes[place] for place in places):
        raise Unsupported(f"axes {axes} of shape {x.file_shape}")
    return x.with_axes([axis for place, axis in enumerate(x.axes) if place not in places])


def _unsqueeze(op: Operator) -> Operand:
    x, axes = op.value(), op.ints("axes", 1) or []
    rank = len(x.axes) + len(axes)
    places, rest = {axis % rank for axis in axes}, iter(x.axes)
    return x.with_axes([() if place in places else next(rest) for place in range(rank)])


def _slice(op: Operator) -> Operand:
    x = op.value()
    starts, ends = op.ints("starts", 1) or [], op.ints("ends", 2) or []
    axes = op.ints("axes", 3, range(len(starts))) or []
    steps = op.ints("steps", 4, [1] * len(starts)) or []
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        place = x.axis(axis)
        size = x.file_shape[place]
        # NumPy's slices stop where ONNX's do, but for an end in front of the first element.
        stop = None if step < 0 and end < -size else end
        if BATCH in x.axes[place] and [*range(size)[start:stop:step]] == [*range(size)]:
            continue
        x = take(op, x, place, _written(slice(start, stop, step), size))
    return x


def _written(part: slice, size: int) -> slice:
    """A slice as one would write it: without ends beyond the axis."""
    start, stop, step = part.start, part.stop, part.step
    if step > 0:
        start = None if start == 0 or start <= -size else start
        stop = None if stop is None or stop >= size else stop
        return slice(start, stop, None if step == 1 else step)
    return slice(None if start >= size - 1 else start, stop, step)


def _split(op: Operator) -> Operand | list[Operand | None]:
    x, axis = op.value(), int(op.attribute("axis", 0))
    place = x.axis(axis)
    size, count = x.file_shape[place], len(op.used)
    sizes = op.ints("split", 1)
    if sizes is None:
        each = -(-size // count)
        sizes = [min(each, size - n * each) for n in range(count)]
    ends = np.cumsum(sizes)
    found: list[Operand | None] = []
    for n, (end, own) in enumerate(zip(ends, sizes, strict=True)):
        part = slice(int(end - own) or None, int(end) if end < size else None)
        found.append(take(op, x, place, part) if op.used[n] else None)
    return found


def _pad(op: Operator) -> Operand:
    x, mode = op.value(), op.attribute("mode", "constant")
    pads = op.ints("pads", 1) or []
    value = float(op.attribute("value", 0.0)) if op.operand(2) is None else float(op.constant(2).ravel()[0])
    rank = len(x.axes)
    axes = [x.axis(a) for a in op.ints("axes", 3, range(rank)) or []]
    sides = [(0, 0)] * rank
    for n, axis in enumerate(axes):
        sides[axis] = (pads[n], pads[n + len(axes)])
    if not any(map(any, sides)):
        return x
    for axis, (low, high) in enumerate(sides):  # what is negative is cut off
        if low < 0 or high < 0:
            x = take(op, x, axis, slice(max(-low, 0) or None, x.file_shape[axis] + high if high < 0 else None))
    sides = [(max(low, 0), max(high, 0)) for low, high in sides]
    moved = [axis for axis in range(rank) if any(sides[axis])]
    if not moved:
        return x
    if any(BATCH in x.axes[axis] for axis in moved):
        raise Unsupported("padding of the batch")
    if len(moved) > 3:
        raise Unsupported("padding of more than three axes")
    return _padded(op, x, moved, [sides[axis] for axis in moved], mode, value)


def _padded(op: Operator, x: Value, moved: list[int], sides: list[tuple[int, int]], mode: str, value: float) -> Value:
    """The axes that grow take the place of pixels, and all others that of channels."""
    others = [part for part in range(1, len(x.sizes)) if not any(part in x.axes[axis] for axis in moved)]
    node = op.builder.arranged(x, [*(x.axes[axis] for axis in moved), others])
    modes = {"constant": "constant" if value else "zero", "edge": "replicate", "reflect": "reflect", "wrap": "circular"}
    options = {"value": value} if value and mode == "constant" else {}
    made = op.builder.add(fn.pad(tuple(sides), modes[mode], **options), [node])  # type: ignore[arg-type]
    shape = op.builder.shape(made)
    sizes: dict[Any, int] = {BATCH: x.sizes[BATCH], **{("new", axis): shape[n] for n, axis in enumerate(moved)}}
    sizes |= {part: x.sizes[part] for part in others}
    axes: list[Any] = [[("new", n)] if n in moved else axis for n, axis in enumerate(x.axes)]
    return Value.of(made, x.dtype, sizes, axes)


def _expand(op: Operator) -> Operand:
    """Only what has the shape already, or gets more axes of size 1: what is repeated broadcasts by itself later."""
    x, target = op.value(), [int(n) for n in op.constant(1)]
    rank = max(len(target), len(x.axes))
    own = (1,) * (rank - len(x.axes)) + x.file_shape
    wanted = [1] * (rank - len(target)) + target
    if op.fixed and wanted[0] == op.fixed:
        wanted[0] = own[0]
    if any(m not in (1, n) for n, m in zip(own, wanted, strict=True)):
        return _repeated(op, x, own, wanted)
    return x.with_axes([*[()] * (rank - len(x.axes)), *x.axes])


def _repeated(op: Operator, x: Value, own: tuple[int, ...], wanted: list[int]) -> Value:
    """A sum with zeros of the wanted shape."""
    sizes = [1 if n == x.sizes[BATCH] == own[place] else n for place, n in enumerate(wanted)]
    nodes, like = op.builder.aligned([x, np.zeros(sizes, bool)])
    made = op.builder.combine(fn.arithmetic, "add", nodes)
    return Value(made, like.dtype, like.sizes, like.axes)


def _tile(op: Operator) -> Operand:
    """Each axis that is repeated gets another one in front, which is then joined with it."""
    x, repeats = op.value(), [int(n) for n in op.constant(1)]
    for axis, count in enumerate(repeats):
        if count == 1:
            continue
        if BATCH in x.axes[axis]:
            raise Unsupported("examples that are repeated")
        apart = x.with_axes([*x.axes[:axis], (), *x.axes[axis:]])
        shape = apart.file_shape
        many = _repeated(op, apart, shape, [*shape[:axis], count, *shape[axis + 1 :]])
        joined = [*many.axes[axis], *many.axes[axis + 1]]
        x = many.with_axes([*many.axes[:axis], joined, *many.axes[axis + 2 :]])
    return x


def _triangle(op: Operator) -> Operand:
    """The elements on one side of a diagonal, and zeros on the other."""
    x = op.value()
    k = 0 if op.operand(1) is None else int(op.constant(1).ravel()[0])
    cut = np.triu if op.attribute("upper", 1) else np.tril
    return chosen(op, cut(np.ones(x.file_shape[-2:], bool), k), x, np.zeros((), x.dtype))


def _depth_to_space(op: Operator) -> Operand:
    x, block = op.value(), int(op.attribute("blocksize"))
    n, c, h, w = x.file_shape
    if op.attribute("mode", "DCR") == "CRD":
        parts, order = [n, c // block**2, block, block, h, w], [0, 1, 4, 2, 5, 3]
    else:
        parts, order = [n, block, block, c // block**2, h, w], [0, 3, 4, 1, 5, 2]
    divided = regrouped(op, x, parts)
    moved = divided.with_axes([divided.axes[axis] for axis in order])
    return regrouped(op, moved, [n, c // block**2, h * block, w * block])


def _space_to_depth(op: Operator) -> Operand:
    x, block = op.value(), int(op.attribute("blocksize"))
    n, c, h, w = x.file_shape
    divided = regrouped(op, x, [n, c, h // block, block, w // block, block])
    order = (0, 1, 3, 5, 2, 4) if op.attribute("mode", "DCR") == "CRD" else (0, 3, 5, 1, 2, 4)
    moved = divided.with_axes([divided.axes[axis] for axis in order])
    return regrouped(op, moved, [n, c * block**2, h // block, w // block])


CONVERTERS: dict[str, Converter] = {
    "Identity": _same,
    "Dropout": _dropout,
    "ZipMap": _same,
    "Cast": _cast,
    "Transpose": _transpose,
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Slice": _slice,
    "Split": _split,
    "Pad": _pad,
    "Expand": _expand,
    "Tile": _tile,
    "Trilu": _triangle,
    "DepthToSpace": _depth_to_space,
    "SpaceToDepth": _space_to_depth,
}
