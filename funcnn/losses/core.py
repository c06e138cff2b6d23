"""What all losses share: the mean, the sum or each of the losses, with weights, and the gradient of that.

A loss is written as a formula, ``formula(y, t, careful) -> (losses, gradients)`` of each element or of each row; what
is made of it reads the target, weighs and reduces, in the same way for all.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Iterable
from typing import Any, Literal, Protocol, TypeAlias, TypeVar, get_args, overload

import numpy as np
from numpy.typing import ArrayLike

from funcnn import checks, tree
from funcnn.aliases import Array, Number, Shape, Tree
from funcnn.calls import explained
from funcnn.wording import cast, shown

__all__ = [
    "ClassLoss", "Formula", "Loss", "NumberLoss", "Reduction", "TreeLoss", "check_prediction", "check_reduction",
    "check_tree", "documented", "factors", "published", "read_weights", "reduced",
]  # fmt: skip

Reduction: TypeAlias = Literal["mean", "sum", "none"]
"""What a loss returns of the losses of all examples: their weighted mean, their weighted sum, or each of them."""

F = TypeVar("F", bound=Callable[..., Any])


class Loss(Protocol):
    """The type ``loss(y, target) -> (value, dy)``: a mean over the batch, and its gradient with respect to y."""

    def __call__(self, y: Any, target: Any, /) -> tuple[Number, Tree]:
        """The loss and its gradient."""


class NumberLoss(Protocol):
    """A loss of an array, with weights."""

    @overload
    def __call__(
        self, y: Array, target: ArrayLike, *, weights: ArrayLike | None = None,
        reduction: Literal["mean", "sum"] = "mean",
    ) -> tuple[float, Array]: ...  # fmt: skip
    @overload
    def __call__(
        self, y: Array, target: ArrayLike, *, weights: ArrayLike | None = None, reduction: Literal["none"]
    ) -> tuple[Array, Array]: ...


class TreeLoss(Protocol):
    """A loss of several outputs, a dict of arrays, with weights."""

    @overload
    def __call__(
        self, y: dict[str, Any], target: Any, *, weights: ArrayLike | None = None,
        reduction: Literal["mean", "sum"] = "mean",
    ) -> tuple[float, dict[str, Any]]: ...  # fmt: skip
    @overload
    def __call__(
        self, y: dict[str, Any], target: Any, *, weights: ArrayLike | None = None, reduction: Literal["none"]
    ) -> tuple[Array, dict[str, Any]]: ...


class ClassLoss(Protocol):
    """A loss of predicted classes: weights of classes, labels to ignore and smoothed labels, too."""

    @overload
    def __call__(
        self, y: Array, target: ArrayLike, *, weights: ArrayLike | None = None, class_weights: ArrayLike | None = None,
        ignore_index: int | None = None, label_smoothing: float = 0.0, reduction: Literal["mean", "sum"] = "mean",
    ) -> tuple[float, Array]: ...  # fmt: skip
    @overload
    def __call__(
        self, y: Array, target: ArrayLike, *, weights: ArrayLike | None = None, class_weights: ArrayLike | None = None,
        ignore_index: int | None = None, label_smoothing: float = 0.0, reduction: Literal["none"],
    ) -> tuple[Array, Array]: ...  # fmt: skip


Formula: TypeAlias = Callable[..., tuple[Array, Any]]
"""``formula(y, *targets, careful) -> (losses, gradients)``: new arrays, the gradients like y, which may be a dict.

If ``careful``, 0 times infinity is 0, and infinite numbers have their limits.
"""

WIDER = {"f": np.float64, "d": np.longdouble}
"""The floats with a larger range; not every machine has such a longdouble."""

WEIGHTS = """weights: how much each example counts, of shape (batch,), or of the shape of more leading axes of the
            losses; by default all count the same. What stands beside a weight of 0, a missing target or NaN, counts
            nothing."""

REDUCTION = """reduction: ``"mean"``, the mean Σ w l / Σ w of the losses l with weights w; ``"sum"``, Σ w l; or
            ``"none"``, the array of all w l, where dy is the gradient of their sum."""

RETURNS = """Returns:
        ``(value, dy)``: a Python float, or an array for ``"none"``; and the gradient, an array like ``y``."""

RAISES = """TypeError: ``y`` is not an array of floats, or the target or the weights are not numbers.
        ValueError: the shapes do not fit, the batch is empty, a target is out of range, weights are negative or not
            finite, nothing has a weight above 0 and there is no mean, or there is no such reduction."""

TEXTS = {
    "weights": WEIGHTS, "reduction": REDUCTION, "returns": f"{RETURNS}\n\n    Raises:\n        {RAISES}",
    "raises": RAISES, "options": f"{WEIGHTS}\n        {REDUCTION}",
    "signature": 'weights=None, reduction="mean") -> (value, dy)',
}  # fmt: skip


def documented(texts: dict[str, str] = TEXTS) -> Callable[[F], F]:
    """Let the docstring of a loss, or of its constructor, have the texts that it shares with others.

    Args:
        texts: what stands for ``{name}`` in the docstring, by name.

    Returns:
        A decorator, which returns the same function.
    """

    def fill(function: F) -> F:
        text = function.__doc__ or ""
        for name, shared in texts.items():
            text = text.replace(f"{{{name}}}", shared)
        function.__doc__ = text or None
        return function

    return fill


def published(loss: Callable[..., Any], formula: Formula, kind: str, texts: dict[str, str]) -> Any:
    """The public function that is made of a formula: it has its name and docstring, and explains wrong calls.

    Args:
        loss: ``loss(y, target, *, ...) -> (value, dy)``.
        formula: what it computes.
        kind: the name.
        texts: what its docstring shares with others, as in ``documented``.
    """
    loss.__signature__ = inspect.signature(loss)  # type: ignore[attr-defined]
    functools.update_wrapper(loss, documented(texts)(formula), ("__module__", "__doc__"), ())
    loss.__name__ = loss.__qualname__ = kind
    return explained(loss)


def check_reduction(kind: str, reduction: Any) -> None:
    """Raise an error if there is no such reduction."""
    if type(reduction) is not str or reduction not in get_args(Reduction):
        raise ValueError(
            f'{kind}: reduction must be "mean", "sum" or "none", got {shown(reduction)}; "mean" is the default'
        )


def read_weights(kind: str, weights: Any, shape: Shape, reduction: Reduction) -> Array | None:
    """The weights of losses of this shape, float64 that broadcasts to it, of a mean up to 1; None for equal ones.

    Args:
        kind: the name of the loss, for messages.
        weights: what the caller passed, or None.
        shape: the shape of the losses that the mean is over.
        reduction: what the caller passed.
    """
    if type(reduction) is not str or reduction != "mean":
        check_reduction(kind, reduction)
    if weights is None:
        return None
    w = checks.weights(weights, shape, kind, reduction == "mean")
    if reduction == "mean":  # of which only the ratio matters
        w /= w.max()
    return w.reshape(w.shape + (1,) * (len(shape) - w.ndim))


def factors(
    kind: str, weights: Array | None, shape: Shape, dtype: np.dtype[Any], reduction: Reduction, used: Any = None
) -> Array | None:
    """What each loss is multiplied with before all are added: its weight, and for a mean that over the sum of weights.

    Args:
        kind: the name of the loss, for messages.
        weights: of ``read_weights``, where what is ignored has got 0.
        shape: the shape of the losses.
        dtype: that of y.
        reduction: what the caller passed.
        used: the weights of classes that a mean is divided by too, of the shape of the losses; by default 1.

    Returns:
        An array that broadcasts to the losses; None if all count the same, and the mean is over their number.
    """
    if weights is None:
        if used is None or reduction != "mean":
            return None
        weights = np.ones((1,) * len(shape))
    if reduction != "mean":
        found: Array = weights
    else:
        if used is None:
            total = weights.sum() * math.prod(n for n, w in zip(shape, weights.shape, strict=True) if w == 1)
        else:
            total = (weights * used).sum()
        if not total > 0:
            raise ValueError(
                f"{kind}: nothing is left that counts, so there is no mean: each target is ignored or has a weight of "
                '0; leave out such batches, or use reduction="sum"'
            )
        found = weights / total
    with np.errstate(over="ignore"):
        found = found.astype(dtype)
    if reduction != "mean" and not np.isfinite(found).all():
        raise ValueError(f"{kind}: expected weights that {dtype} can hold, got up to {weights.max()}")
    return found


def reduced(
    formula: Formula, y: Tree, targets: tuple[Any, ...], factors: Array | None, reduction: Reduction = "mean"
) -> tuple[Any, Tree]:
    """The mean or the sum of the losses, or all of them, and the gradient: the one place that divides by n.

    NumPy reports where finite numbers overflow and where infinities cancel. Then, and beside NaN, all is computed again
    in wider floats, with limits for infinities, and without the losses of weight 0.

    Args:
        formula: see ``Formula``.
        y: what ``check_prediction`` or ``check_tree`` has let pass.
        targets: what the formula takes after y: labels, or numbers in the dtype of y; arrays, or trees of them.
        factors: the result of ``factors``.
        reduction: what the caller passed.

    Returns:
        ``(value, dy)``.
    """
    value: Any = math.nan
    try:
        with np.errstate(divide="raise", over="raise", invalid="raise"):
            value, dy = _combined(*formula(y, *targets, False), factors, reduction)
    except FloatingPointError:
        pass
    dtype = (y if type(y) is np.ndarray else tree.leaves(y)[0]).dtype
    if math.isnan(value) if type(value) is float else np.isnan(value).any():
        with np.errstate(all="ignore"):
            wide = [_in(WIDER[dtype.char], part) for part in (y, *targets)]
            losses, gradients = formula(*wide, True)
            if factors is not None:
                losses = np.where(factors > 0, losses, 0)
                gradients = _each(lambda g: np.where(_over(g, losses, factors) > 0, g, 0), gradients)
            value, dy = _combined(losses, gradients, factors, reduction)
            dy = _in(dtype, dy)
    if type(value) is not float:
        value = value.astype(dtype, copy=False)
    return value, dy if type(dy) is np.ndarray and dy.dtype == dtype else _in(dtype, dy)


def _combined(losses: Array, gradients: Tree, factors: Array | None, reduction: Reduction) -> tuple[Any, Tree]:
    """What the losses add up to, and the gradients of that, in place of their own."""
    if factors is None:
        if reduction == "none":
            return losses, gradients
        total = float(np.add.reduce(losses, axis=None))
        if reduction == "sum":
            return total, gradients
        for gradient in (gradients,) if type(gradients) is np.ndarray else tree.leaves(gradients):
            if gradient is not None:  # the loss does not depend on this leaf
                gradient /= losses.size
        return total / losses.size, gradients
    dy = _each(lambda g: np.multiply(g, _over(g, losses, factors), out=g), gradients)
    weighted = factors * losses
    return weighted if reduction == "none" else float(weighted.sum()), dy


def _over(gradients: Array, losses: Array, factors: Array) -> Array:
    """The factors of losses, broadcastable to their gradients, which may have an axis of classes more."""
    return factors.reshape(factors.shape + (1,) * (gradients.ndim - losses.ndim))


def _each(f: Callable[[Array], Array], gradients: Tree) -> Tree:
    """A function of each leaf; the array alone costs no tree."""
    return f(gradients) if type(gradients) is np.ndarray else tree.map(f, gradients)


def _in(dtype: Any, arrays: Tree) -> Tree:
    """An array or a tree with its floats in a dtype."""
    return _each(lambda x: x.astype(dtype, copy=False) if x.dtype.kind == "f" else x, arrays)


def check_prediction(kind: str, y: Array, name: str = "y") -> None:
    """Raise an error if y is not a batch of float32 or float64 numbers with at least one example."""
    if type(y) is np.ndarray and y.dtype.char in "fd" and y.ndim and y.size:
        return
    checks.plain(kind, y, f"{name}, the model's output")
    if not isinstance(y, np.ndarray) or y.dtype.kind != "f":
        got, write = type(y).__name__, f"use {cast(y, name)}"
        if isinstance(y, np.ndarray):
            got, write = str(y.dtype), "a loss takes (y, target), the predictions first"
        elif isinstance(y, tuple):
            write = "apply returns a pair: y, vjp_fn = model.apply(params, x)"
        raise TypeError(f"{kind}: expected {name}, the model's output, as an array of floats, got {got}; {write}")
    if y.ndim == 0 or y.size == 0:
        raise ValueError(
            f"{kind}: expected at least one example, got {name} of shape {y.shape}; a mean needs something to average"
        )
    checks.float_dtype(kind, y.dtype, name)


def check_tree(kind: str, y: Any, names: Iterable[str]) -> tuple[Array, ...]:
    """The leaves of an output that must be a dict with these names, checked arrays of one dtype."""
    names = tuple(names)
    written = "{" + ", ".join(f'"{name}": ...' for name in names) + "}"
    if not isinstance(y, dict):
        raise TypeError(f"{kind}: expected y as a dict {written}, got {checks.what(y)}; fn.branch(...) makes one")
    if set(y) != set(names):
        raise ValueError(f"{kind}: expected y as a dict {written}, got one with {shown(sorted(map(str, y)))}")
    leaves = tuple(y[name] for name in names)
    for name, leaf in zip(names, leaves, strict=True):
        check_prediction(kind, leaf, f'y["{name}"]')
        if leaf.dtype != leaves[0].dtype:
            raise TypeError(
                f'{kind}: expected y["{name}"] of the dtype of y["{names[0]}"], {leaves[0].dtype}, got {leaf.dtype}'
            )
    return leaves
