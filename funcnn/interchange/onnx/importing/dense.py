"""Products with matrices, look-ups and recurrences of a file, as layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from funcnn import layers as fn
from funcnn.aliases import Array
from funcnn.combinators import frozen
from funcnn.interchange.onnx.importing.arithmetic import pair, reduced
from funcnn.interchange.onnx.importing.operator import Converter, Operator
from funcnn.interchange.onnx.importing.values import BATCH, Operand, Unsupported, Value

__all__ = ["CONVERTERS", "dense", "mixed"]


def dense(op: Operator, x: Value, w: Array, b: Array | None) -> Value:
    """x w + b over the last axis of the file."""
    last = len(x.axes) - 1
    node, others = op.builder.with_last(x, [last])
    params = {"w": np.ascontiguousarray(w)} | ({} if b is None else {"b": np.ascontiguousarray(b)})
    made = op.builder.add(fn.dense(w.shape[1], bias=b is not None), [node], params)
    return op.builder.after_last(x, made, others, last, w.shape[1])


def _gemm(op: Operator) -> Operand:
    """alpha A B + beta C, of which A or B may be transposed."""
    alpha, beta = float(op.attribute("alpha", 1.0)), float(op.attribute("beta", 1.0))
    a, b = (_turned(x) if op.attribute(f"trans{name}", 0) else x for name, x in zip("AB", op.inputs, strict=False))
    c = op.operand(2)
    if isinstance(a, Value) and isinstance(b, np.ndarray) and (c is None or _is_row(c, b.shape[1])):
        row = None if c is None else np.broadcast_to(c * b.dtype.type(beta), (1, b.shape[1])).reshape(-1)
        return dense(op, a, b * b.dtype.type(alpha), row)
    y = _times(op, _product(op, a, b), alpha)
    if c is not None:
        y = pair(op, "add", y, c * c.dtype.type(beta) if isinstance(c, np.ndarray) else _times(op, c, beta))
    return y  # type: ignore[no-any-return]


def _times(op: Operator, x: Value, number: float) -> Any:
    return pair(op, "multiply", x, np.array(number, np.float32))


def _turned(x: Any) -> Any:
    return x.with_axes(x.axes[::-1]) if isinstance(x, Value) else x.T


def _is_row(c: Operand, columns: int) -> bool:
    return isinstance(c, np.ndarray) and (c.size == 1 or c.shape[-1] == c.size == columns)


def _matmul(op: Operator) -> Operand:
    """A vector is a matrix of one row in front, and of one column behind."""
    a, b = op.inputs
    first, second = (_rank(x) == 1 for x in (a, b))
    y = _product(op, _expanded(a, 0) if first else a, _expanded(b, 1) if second else b)
    axes = list(y.axes)
    if second:
        del axes[-1]
    if first:
        del axes[-1 if second else -2]
    return y.with_axes(axes)


def _rank(x: Any) -> int:
    return len(x.axes) if isinstance(x, Value) else np.ndim(x)


def _expanded(x: Any, axis: int) -> Any:
    if isinstance(x, Value):
        return x.with_axes([*x.axes[:axis], (), *x.axes[axis:]])
    return np.expand_dims(x, axis)


def _product(op: Operator, a: Any, b: Any) -> Value:
    if isinstance(a, Value) and isinstance(b, np.ndarray) and b.ndim == 2:
        return dense(op, a, b, None)
    return op.builder.product(*(x if isinstance(x, Value) else op.builder.constant(np.asarray(x)) for x in (a, b)))


def _einsum(op: Operator) -> Operand:
    """Products of two arrays after each other; an axis that only one of them has, and nothing needs, is summed over."""
    equation = str(op.attribute("equation")).replace(" ", "")
    values = [x if isinstance(x, Value) else op.builder.constant(np.asarray(x)) for x in op.inputs]
    terms, target = _letters(equation, [len(x.axes) for x in values])
    if any(len({*term}) < len(term) for term in terms):
        raise Unsupported(f"the equation {equation!r} with a diagonal")
    y, own = values[0], terms[0]
    for place, (x, term) in enumerate(zip(values[1:], terms[1:], strict=True), 1):
        later = {*target, *(name for other in terms[place + 1 :] for name in other)}
        y, own = _summed(op, y, own, later | {*term})
        x, term = _summed(op, x, term, later | {*own})
        kept = [name for name in dict.fromkeys([*own, *term]) if name in later]
        y, own = _contracted(op, y, own, x, term, kept), kept
    y, own = _summed(op, y, own, {*target})
    return y.with_axes([y.axes[own.index(name)] for name in target])


def _letters(equation: str, ranks: list[int]) -> tuple[list[list[str]], list[str]]:
    """The names of the axes of each operand and of the result, with numbers for those that ``...`` stands for."""
    given, _, target = equation.partition("->")
    parts = given.split(",")
    counts = [rank - len(part.replace("...", "")) for part, rank in zip(parts, ranks, strict=True)]
    if any(count < 0 or (count and "..." not in part) for part, count in zip(parts, counts, strict=True)):
        raise Unsupported(f"the equation {equation!r} for arrays of {ranks} axes")
    most = max(counts)

    def names(part: str, count: int) -> list[str]:
        ahead, dots, behind = part.partition("...")
        return [*ahead, *(str(n) for n in range(most - count, most) if dots), *behind]

    if "->" not in equation:
        flat = given.replace("...", "").replace(",", "")
        target = "..." * ("..." in given) + "".join(name for name in sorted({*flat}) if flat.count(name) == 1)
    return [names(part, count) for part, count in zip(parts, counts, strict=True)], names(target, most)


def _summed(op: Operator, x: Value, own: list[str], needed: set[str]) -> tuple[Value, list[str]]:
    """The sum over the axes that nothing needs."""
    places = [place for place, name in enumerate(own) if name not in needed]
    return reduced(op, "sum", x, places) if places else x, [name for name in own if name in needed]


def _contracted(op: Operator, a: Value, in_a: list[str], b: Value, in_b: list[str], target: list[str]) -> Value:
    """A product: axes of both that are kept are outer ones, and those that are not are summed over."""
    axes = [dict(zip(own, x.axes, strict=True)) for own, x in ((in_a, a), (in_b, b))]
    sizes = {name: n for own, x in ((in_a, a), (in_b, b)) for name, n in zip(own, x.file_shape, strict=True) if n > 1}
    batch = [name for own in axes for name, axis in own.items() if BATCH in axis]
    outer = [name for name in target if name in batch or all(name in own for own in axes)]
    inner = [name for name in in_a if name in in_b and name not in target]
    alone = [[name for name in target if name in own and name not in outer] for own in axes]
    joined = [
        [part for name in names for part in axes[place][name]]
        for place, names in ((0, alone[0]), (0, inner), (1, inner), (1, alone[1]))
    ]
    first, second = (
        x.with_axes([*(own.get(name, ()) for name in outer), *matrix])
        for x, own, matrix in zip((a, b), axes, (joined[:2], joined[2:]), strict=True)
    )
    y = op.builder.product(first, second)
    order = [*outer, *alone[0], *alone[1]]
    divided = y.reshaped([sizes.get(name, 1) for name in order])
    assert divided is not None  # the axes of a product are divided as they were joined
    return divided.with_axes([divided.axes[order.index(name)] for name in target])


def _cumulative_sum(op: Operator) -> Operand:
    """A product with a triangle of ones, which stays as it is."""
    x = op.value()
    place = x.axis(int(op.constant(1).ravel()[0]))
    n = x.file_shape[place]
    w = np.tri(n, n, -1 if op.attribute("exclusive", 0) else 0, dtype=x.dtype)
    return mixed(op, x, place, w if op.attribute("reverse", 0) else w.T.copy(), (n,))


def _gather(op: Operator) -> Operand:
    x, index = op.inputs[0], op.inputs[1]
    axis = int(op.attribute("axis", 0))
    if isinstance(x, np.ndarray) and isinstance(index, Value):
        if axis != 0 or x.ndim != 2:
            raise Unsupported(f"a look-up in a constant of shape {x.shape} along axis {axis}")
        node = op.builder.in_file_order(index)
        made = op.builder.add(fn.embedding(*x.shape), [node], {"w": x})
        shape = op.builder.shape(made)
        return Value.plain(made, shape, x.dtype, op.builder.batch)
    x, chosen = op.value(0), op.constant(1)
    place = x.axis(axis)
    if chosen.ndim == 0:
        return take(op, x, place, int(chosen))
    numbers = [int(n) % x.file_shape[place] for n in chosen.ravel()]
    steps = set(np.diff(numbers).tolist()) or {1}
    if chosen.ndim > 1 or len(steps) != 1 or 0 in steps:
        return _looked_up(op, x, place, chosen)
    step = steps.pop()
    stop: int | None = numbers[-1] + step
    return take(op, x, place, slice(numbers[0], None if stop is not None and stop < 0 else stop, step))


def _looked_up(op: Operator, x: Value, place: int, index: Array) -> Value:
    """Elements of one axis in any order: a product with a matrix of zeros and ones."""
    w = np.zeros((x.file_shape[place], index.size), x.dtype)
    w[index.ravel() % len(w), np.arange(index.size)] = 1
    return mixed(op, x, place, w, index.shape)


def mixed(op: Operator, x: Value, place: int, w: Array, shape: tuple[int, ...]) -> Value:
    """Sums of the elements of one axis, by the columns of a matrix that stays as it is; the axis gets a shape."""
    node, others = op.builder.with_last(x, [place])
    made = op.builder.add(frozen(fn.dense(w.shape[1], bias=False)), [node], {"w": w})
    sizes: dict[Any, int] = {part: x.sizes[part] for part in (BATCH, *others)}
    sizes |= {("new", n): size for n, size in enumerate(shape)}
    axes: list[Any] = [*x.axes]
    axes[place : place + 1] = [[("new", n)] for n in range(len(shape))]
    return Value.of(made, x.dtype, sizes, axes)


def _one_hot(op: Operator) -> Operand:
    """Rows of a matrix of two numbers, one of them on the diagonal, which stays as it is; on an axis of its own."""
    index, depth, values = op.value(), int(op.constant(1).ravel()[0]), op.constant(2)
    axis = int(op.attribute("axis", -1)) % (len(index.axes) + 1)
    if index.dtype.kind not in "iu" or values.dtype.kind != "f":
        raise Unsupported(f"indices of {index.dtype} and values of {values.dtype}; expected integers and floats")
    w = np.full((depth, depth), values[0])
    np.fill_diagonal(w, values[1])
    node = op.builder.in_file_order(index)
    made = op.builder.add(frozen(fn.embedding(depth, depth)), [node], {"w": w})
    y = Value.plain(made, op.builder.shape(made), w.dtype, op.builder.batch)
    *axes, last = y.axes
    return y.with_axes([*axes[:axis], last, *axes[axis:]])


def _gather_nd(op: Operator) -> Operand:
    """Elements at known places on the first axes, which are joined to one."""
    x, index = op.value(), op.constant(1)
    count = index.shape[-1]
    if op.attribute("batch_dims", 0) or any(BATCH in axis for axis in x.axes[:count]):
        raise Unsupported("batch_dims, or places along the batch")
    size = x.file_shape[:count]
    places = np.ravel_multi_index(tuple(index[..., n] % size[n] for n in range(count)), size)
    joined = x.with_axes([[part for axis in x.axes[:count] for part in axis], *x.axes[count:]])
    return _looked_up(op, joined, 0, np.asarray(places))


def take(op: Operator, x: Value, place: int, index: int | slice) -> Value:
    """An element or a slice of one axis of the file."""
    x = op.builder.floats(x)
    own = x.axes[place]
    if BATCH in own:
        raise Unsupported("an index along the batch")
    size = x.file_shape[place]
    if isinstance(index, slice) and len(range(size)[index]) == size and (index.step or 1) > 0:
        return x
    if not own:
        kept = [axis for n, axis in enumerate(x.axes) if n != place or isinstance(index, slice)]
        return x.with_axes(kept)
    order = [part for part in range(1, len(x.sizes)) if part not in own[1:]]
    node = op.builder.arranged(x, [own if part == own[0] else [part] for part in order])
    made = op.builder.add(fn.take(index, axis=1 + order.index(own[0])), [node])
    axes: list[Any] = [*x.axes]
    sizes: dict[Any, int] = {BATCH: x.sizes[BATCH], **{part: x.sizes[part] for part in order}}
    if isinstance(index, slice):
        sizes[own[0]], axes[place] = len(range(size)[index]), [own[0]]
    else:
        del axes[place], sizes[own[0]]
    return Value.of(made, x.dtype, sizes, axes)


CONVERTERS: dict[str, Converter] = {
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Gather": _gather,
    "GatherND": _gather_nd,
    "Einsum": _einsum,
    "OneHot": _one_hot,
    "CumSum": _cumulative_sum,
}
