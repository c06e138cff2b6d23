"""Operators between arrays of a graph: arithmetic with broadcasting, reductions, and learned arrays as inputs.

They are what other programs write where there is no layer, and an imported file of ONNX is made of them. Axes are
counted with the batch, axis 0, which stays.
"""

# A vjp_fn is defined at each call of apply; like this its annotations cost nothing there.
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from funcnn import checks, contract, shapes
from funcnn.aliases import Array, Params, Rng, Size, Tree
from funcnn.engine.examples import filled
from funcnn.initializers import InitializerLike, as_initializer, zeros
from funcnn.kernels.products import wide_sum
from funcnn.layers.activation import Pull
from funcnn.layers.merge import check_one_dtype
from funcnn.protocol import Layer, Vjp, elements_of, is_after_time, layer, per_example, probed, stateless
from funcnn.rng import check_rng, fold
from funcnn.wording import shown

__all__ = ["arithmetic", "parameter", "reduce", "to_float", "top_k", "where"]

Operation: TypeAlias = Literal[
    "add", "subtract", "multiply", "divide", "power", "maximum", "minimum", "matmul", "equal", "greater",
    "greater_equal", "less", "less_equal",
]  # fmt: skip
Reduction: TypeAlias = Literal["sum", "mean", "prod", "max", "min"]
Pulled: TypeAlias = Callable[[Array], tuple[Array, Array]]


@layer
def arithmetic(operation: Operation, *names: str) -> Layer:
    """y = a op b for two arrays that broadcast as in NumPy: along an axis where one has size 1, it is repeated.

    ``merge`` takes arrays of one shape only, which is safer, and any number of them.

    Args:
        operation: ``"add"``, ``"subtract"``, ``"multiply"``, ``"divide"``, ``"power"``, ``"maximum"``, ``"minimum"``,
            element by element; ``"equal"``, ``"greater"``, ``"greater_equal"``, ``"less"``, ``"less_equal"``, which are
            1 where a op b and else 0, and have no gradient; or ``"matmul"``, the product of the matrices on the last
            two axes.
        *names: those of a and of b among the inputs; by default sorted.

    Returns:
        A layer without parameters, from a dict of two arrays with the same number of axes to an array.

    Raises:
        TypeError: the inputs differ in dtype.
        ValueError: the operation is unknown, or there are not two names; or, from ``init`` and ``apply``, there are
            other inputs, or their shapes do not broadcast.

    Example:
        >>> x = {"a": np.array([[1.0, 2.0]]), "b": np.array([[10.0]])}
        >>> y, vjp_fn = arithmetic("multiply").apply({}, x)
        >>> y, vjp_fn(np.ones((1, 2)))[1]
        (array([[10., 20.]]), {'a': array([[10., 10.]]), 'b': array([[3.]])})
    """
    if not isinstance(operation, str) or operation not in OPERATIONS:
        raise ValueError(f"arithmetic: unknown operation {shown(operation)}, expected one of {[*OPERATIONS]}")
    kind, operate = f"arithmetic({operation!r})", OPERATIONS[operation]
    if len(names) not in (0, 2) or not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise ValueError(f"{kind}: expected the names of two inputs, got {[*names]}")

    def forward(xs: Tree) -> tuple[Array, Pull]:
        if not isinstance(xs, dict) or len(xs) != 2 or (names and xs.keys() != set(names)):
            raise ValueError(f"{kind}: expected a dict of {[*names] or 'two arrays'}, got {contract.shape_of(xs)}")
        check_one_dtype(kind, xs)
        a, b = (xs[name] for name in names or sorted(xs))
        _check_shapes(kind, a.shape, b.shape, 2 if operation == "matmul" else 0)
        with np.errstate(all="ignore"):
            y, split = operate(a, b)

        def pull(dy: Array) -> Tree:
            with np.errstate(all="ignore"):
                da, db = split(dy)
            return dict(zip(names or sorted(xs), (_summed(da, a.shape), _summed(db, b.shape)), strict=True))

        return y, pull

    return stateless("arithmetic", forward, floats=False, per_position=operation != "matmul")


def _check_shapes(kind: str, a: Sequence[int], b: Sequence[int], inner: int) -> None:
    """Raise unless two shapes broadcast, of which the last axes are those of matrices."""
    outer = len(a) - inner
    fits = len(a) == len(b) and outer > 0 and a[0] == b[0]
    fits = fits and all(m == n or 1 in (m, n) for m, n in zip(a[1:outer], b[1:outer], strict=True))
    if not fits or (inner and a[-1] != b[-2]):
        what = "matrices that fit, after axes" if inner else "arrays"
        raise ValueError(f"{kind}: expected {what} with as many axes, each of one size or 1, got {a} and {b}")


def _summed(gradient: Array, shape: Sequence[int]) -> Array:
    """The gradient of an array that was repeated: the sum over its copies."""
    axes = tuple(axis for axis, (n, m) in enumerate(zip(gradient.shape, shape, strict=True)) if m == 1 < n)
    return wide_sum(gradient, axes, keepdims=True).astype(gradient.dtype) if axes else gradient


def _power(a: Array, b: Array) -> tuple[Array, Pulled]:
    y: Array = np.power(a, b)

    def split(dy: Array) -> tuple[Array, Array]:
        # a^0 is 1 and 0^b is 0 or 1 all around, where the products would be 0 * inf.
        da, db = np.where(b == 0, 0, dy * b * np.power(a, b - 1)), np.where((a == 0) & (b >= 0), 0, dy * y * np.log(a))
        return da.astype(dy.dtype, copy=False), db.astype(dy.dtype, copy=False)

    return y, split


def _chosen(pick: np.ufunc, better: np.ufunc) -> Callable[[Array, Array], tuple[Array, Pulled]]:
    """The larger or the smaller one, which gets the gradient; a, if both are the same."""

    def operate(a: Array, b: Array) -> tuple[Array, Pulled]:
        def split(dy: Array) -> tuple[Array, Array]:
            first = better(a, b)
            return np.where(first, dy, 0).astype(dy.dtype), np.where(first, 0, dy).astype(dy.dtype)

        return pick(a, b), split

    return operate


def _matmul(a: Array, b: Array) -> tuple[Array, Pulled]:
    return np.matmul(a, b), lambda dy: (np.matmul(dy, b.swapaxes(-1, -2)), np.matmul(a.swapaxes(-1, -2), dy))


def _compared(holds: np.ufunc) -> Callable[[Array, Array], tuple[Array, Pulled]]:
    """1 where a comparison holds, and 0 elsewhere: a function of steps."""

    def operate(a: Array, b: Array) -> tuple[Array, Pulled]:
        return holds(a, b).astype(a.dtype), lambda dy: (np.zeros_like(dy), np.zeros_like(dy))

    return operate


OPERATIONS: dict[str, Callable[[Array, Array], tuple[Array, Pulled]]] = {
    "add": lambda a, b: (a + b, lambda dy: (dy, dy)),
    "subtract": lambda a, b: (a - b, lambda dy: (dy, -dy)),
    "multiply": lambda a, b: (a * b, lambda dy: (dy * b, dy * a)),
    "divide": lambda a, b: (a / b, lambda dy: (dy / b, -dy * a / (b * b))),
    "power": _power,
    "maximum": _chosen(np.maximum, np.greater_equal),
    "minimum": _chosen(np.minimum, np.less_equal),
    "matmul": _matmul,
    "equal": _compared(np.equal),
    "greater": _compared(np.greater),
    "greater_equal": _compared(np.greater_equal),
    "less": _compared(np.less),
    "less_equal": _compared(np.less_equal),
}
"""``operate(a, b) -> (y, split)``; ``split(dy)`` are the gradients, before those of copies are added up."""


@layer
def where(*names: str) -> Layer:
    """y = a where the condition holds, else b, with broadcasting;  da = dy there, db = dy elsewhere, and 0.

    Args:
        *names: those of the condition, of a and of b among the inputs; by default sorted.

    Returns:
        A layer without parameters, from a dict of three arrays with the same number of axes to an array. The condition
        is of booleans, or of any numbers, and holds where it is not 0; it has no gradient, or zeros.

    Raises:
        TypeError: a and b differ in dtype.
        ValueError: there are not three names; or, from ``init`` and ``apply``, there are other inputs, or shapes do not
            broadcast.

    Example:
        >>> x = {"a": np.array([[True, False]]), "b": np.array([[1.0, 2.0]]), "c": np.array([[-1.0]])}
        >>> where().apply({}, x)[0]
        array([[ 1., -1.]])
    """
    if len(names) not in (0, 3) or not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise ValueError(f"where: expected the names of a condition and two inputs, got {[*names]}")

    def forward(xs: Tree) -> tuple[Array, Pull]:
        if not isinstance(xs, dict) or len(xs) != 3 or (names and xs.keys() != set(names)):
            raise ValueError(f"where: expected a dict of {[*names] or 'three arrays'}, got {contract.shape_of(xs)}")
        order = names or sorted(xs)
        condition, a, b = (xs[name] for name in order)
        check_one_dtype("where", {name: xs[name] for name in order[1:]})
        for one in (a, b):
            _check_shapes("where", condition.shape, one.shape, 0)
        _check_shapes("where", a.shape, b.shape, 0)
        chosen = condition != 0

        def pull(dy: Array) -> Tree:
            found = (None, np.where(chosen, dy, 0).astype(dy.dtype), np.where(chosen, 0, dy).astype(dy.dtype))
            sums = [None if d is None else _summed(d, xs[name].shape) for name, d in zip(order, found, strict=True)]
            return filled(dict(zip(order, sums, strict=True)), xs)

        return np.where(chosen, a, b), pull

    return stateless("where", forward, floats=False, per_position=True)


def _to_float(x: Array) -> tuple[Array, Pull]:
    """y = x in float32, from integers or booleans, of which True is 1;  there is no dx.

    It is ready, without arguments: ``fn.to_float``. Floats stay what they are.

    Args:
        x: numbers of any shape, (batch, ...).

    Returns:
        A layer without parameters, from (batch, ...) to the same shape.

    Raises:
        TypeError: from ``apply``, x is not an array of numbers.

    Example:
        >>> import funcnn as fn, numpy as np
        >>> fn.to_float.apply({}, np.array([[True, False]]))[0]
        array([[1., 0.]], dtype=float32)
    """
    if isinstance(x, dict):
        raise TypeError(f"to_float: expected an array, got a dict of {sorted(x)}")
    if x.dtype.kind == "f":
        return x, lambda dy: dy
    return x.astype(np.float32), lambda dy: filled(None, x)


to_float = stateless("to_float", _to_float, floats=False, per_position=True)


@layer
def reduce(how: Reduction, axes: Size | Sequence[Size], keepdims: bool = False) -> Layer:
    """y = the sum, the mean, the product, the maximum or the minimum over some axes.

    The gradient of an extreme goes to the first element that has it; that of a factor is dy times all others.

    Args:
        how: ``"sum"``, ``"mean"``, ``"prod"``, ``"max"`` or ``"min"``.
        axes: counted with the batch: 1 is the first of an example, -1 the last, never 0; one or several.
        keepdims: whether these axes stay, with size 1.

    Returns:
        A layer without parameters.

    Raises:
        TypeError: ``keepdims`` is not a bool.
        ValueError: ``how`` is unknown, an axis is not a whole number, is 0 or comes twice; or, from ``init`` and
            ``apply``, there is no such axis, or an extreme is that of no elements.

    Example:
        >>> y, vjp_fn = reduce("mean", 1).apply({}, np.array([[1.0, 2.0, 6.0]]))
        >>> y, vjp_fn(np.array([3.0]))[1]
        (array([3.]), array([[1., 1., 1.]]))
    """
    if not isinstance(how, str) or how not in get_args(Reduction):
        raise ValueError(f"reduce: unknown way {shown(how)}, expected 'sum', 'mean', 'prod', 'max' or 'min'")
    given = axes if isinstance(axes, tuple | list) else (axes,)
    found = [checks.size("reduce", "an axis", axis, None) for axis in given]
    keepdims = checks.flag("reduce", "keepdims", keepdims)
    if not found or 0 in found:
        raise ValueError(f"reduce: expected axes after the batch, which is axis 0 and stays, got {shown(axes)}")

    def forward(x: Array) -> tuple[Array, Pull]:
        own = sorted({axis % x.ndim for axis in found if -x.ndim < axis < x.ndim} - {0})
        if len(own) < len(found):
            raise ValueError(f"reduce: axes {[*found]} are not different axes 1 to {x.ndim - 1} of shape {x.shape}")
        if how in ("max", "min") and not all(x.shape[axis] for axis in own):
            raise ValueError(f"reduce: there is no {how} of no elements, in shape {x.shape} along {[*found]}")
        return _reduced(how, x, own, keepdims)

    return stateless("reduce", forward, working_set=elements_of, per_position=all(map(is_after_time, found)))


def _reduced(how: str, x: Array, axes: list[int], keepdims: bool) -> tuple[Array, Pull]:
    """The axes that are left come first, and those that are reduced are joined to one."""
    order = [axis for axis in range(x.ndim) if axis not in axes] + axes
    left = [x.shape[axis] for axis in order[: -len(axes)]]
    moved = x.transpose(order)
    rows = moved.reshape(*left, int(np.prod([x.shape[axis] for axis in axes])))
    count = rows.shape[-1]
    kept = [1 if axis in axes else n for axis, n in enumerate(x.shape)]
    picked = None
    if how in ("max", "min"):
        picked = (rows.argmax if how == "max" else rows.argmin)(-1)[..., None]
        y = np.take_along_axis(rows, picked, -1)[..., 0]
    else:
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            total = rows.prod(-1) if how == "prod" else wide_sum(rows, -1)
            y = (total / max(count, 1) if how == "mean" else total).astype(x.dtype)

    def pull(dy: Array) -> Array:
        each = dy.reshape(left)[..., None]
        if how == "prod":
            with np.errstate(over="ignore", under="ignore", invalid="ignore"):
                drows = each * _product_of_others(rows)
        elif picked is None:
            drows = np.broadcast_to(each / count if how == "mean" else each, rows.shape)
        else:
            drows = np.zeros(rows.shape, dy.dtype)
            np.put_along_axis(drows, picked, each, -1)
        return np.ascontiguousarray(drows.reshape(moved.shape).transpose(np.argsort(order)))

    return y.reshape(kept) if keepdims else y, pull


def _product_of_others(rows: Array) -> Array:
    """For each element of a row the product of the others, which no division finds where one of them is 0."""
    ahead, behind = np.ones_like(rows), np.ones_like(rows)
    np.cumprod(rows[..., :-1], -1, out=ahead[..., 1:])
    np.cumprod(rows[..., :0:-1], -1, out=behind[..., -2::-1])
    return ahead * behind


@layer
def top_k(k: Size, axis: Size = -1) -> Layer:
    """y = the k largest elements along an axis, the largest first;  dx = dy at their places, 0 elsewhere.

    Of equal elements the first are taken. NaN is larger than all numbers, as in PyTorch.

    Args:
        k: how many, ``>= 1``; all of them sorts.
        axis: counted with the batch: 1 is the first of an example, -1 the last, never 0.

    Returns:
        A layer without parameters, from (batch, ...) to the same with k elements on that axis.

    Raises:
        ValueError: ``k`` is not a whole number ``>= 1``, or ``axis`` not a whole number or 0; or, from ``init`` and
            ``apply``, there is no such axis, or it has fewer than k elements.

    Example:
        >>> y, vjp_fn = top_k(2).apply({}, np.array([[1.0, 9.0, 3.0]]))
        >>> y, vjp_fn(np.array([[10.0, 20.0]]))[1]
        (array([[9., 3.]]), array([[ 0., 10., 20.]]))

    Reference:
        Kalchbrenner, Grefenstette & Blunsom 2014, arXiv 1404.2188, section 3.3, who keep the order of the elements;
        PyTorch's ``topk``.
    """
    count, place = checks.size("top_k", "k", k), checks.size("top_k", "axis", axis, None)
    if not place:
        raise ValueError("top_k: expected an axis after the batch, which is axis 0 and stays, got 0")

    def forward(x: Array) -> tuple[Array, Pull]:
        own = place % x.ndim if -x.ndim <= place < x.ndim else 0
        if not own or x.shape[own] < count:
            raise ValueError(f"top_k: expected at least {count} elements on axis {place}, got shape {x.shape}")
        size = x.shape[own]
        # Sorted backwards, equal elements end with the first, and NaN.
        order = size - 1 - np.argsort(np.flip(x, own), own, kind="stable")
        picked = np.flip(order, own).take(range(count), own)

        def pull(dy: Array) -> Array:
            dx = np.zeros(x.shape, dy.dtype)
            np.put_along_axis(dx, picked, dy, own)
            return dx

        return np.take_along_axis(x, picked, own), pull

    return stateless("top_k", forward, working_set=elements_of, per_position=is_after_time(place))


@layer
def parameter(*shape: Size, w_init: InitializerLike = zeros) -> Layer:
    """y = w for each example, whatever x is: a learned array as an input of a graph;  dw = the sum of dy.

    Class tokens and relative biases are such arrays; ``frozen(parameter(...))`` is one that stays.

    Args:
        *shape: that of w and of one example of y.
        w_init: the initializer of ``w``.

    Returns:
        A layer from an array or a tree, of which only the batch counts, to (batch, *shape).

    Raises:
        ValueError: a size is not a whole number ``>= 1``; or, from ``apply``, ``w`` has another shape.

    Example:
        >>> y, vjp_fn = parameter(2).apply({"w": np.array([3.0, 4.0])}, np.zeros((2, 7)))
        >>> y, vjp_fn(y)[0]["w"]
        (array([[3., 4.],
               [3., 4.]]), array([6., 8.]))
    """
    sizes = tuple(checks.size("parameter", "a size", n) for n in shape)
    initialize = as_initializer("parameter", "w_init", w_init)
    read = contract.parameters_only("parameter", w=sizes)
    inputs, units = int(np.prod(sizes[:-1])), int(np.prod(sizes[-1:]))

    def init(x: Any, rng: Rng) -> Params:
        shapes.checked("parameter", x)
        return {"w": initialize(sizes, fold(rng, "w"), inputs, units)}

    @per_example
    def apply(params: Params, x: Tree, rng: Rng | None = None) -> tuple[Array, Vjp]:
        (w,) = read(params)
        contract.tree_of_arrays("parameter", x)
        check_rng(rng)
        y = np.empty((len(_first_leaf(x)), *sizes), w.dtype)
        y[...] = w
        like = contract.form(y)

        def vjp_fn(dy: Array, input_grad: bool = True) -> tuple[Params, Tree]:
            contract.gradient("parameter", dy, like)
            return {"w": dy.sum(0)}, filled(None, x) if input_grad else None

        return y, vjp_fn

    return Layer(probed(init, apply), apply)


def _first_leaf(x: Tree) -> Array:
    while isinstance(x, dict):
        if not x:
            raise ValueError("parameter: expected an input with a batch, got an empty dict")
        x = next(iter(x.values()))
    found: Array = x
    return found
