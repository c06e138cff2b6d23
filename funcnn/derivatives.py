"""Derivatives beyond the gradient of a batch: of each example, of each output, and products with curvature matrices.

All are built from the pair: ``apply`` returns the exact vjp of the first order. What needs a second derivative, or one
in the forward direction, is a central difference of exact first derivatives, computed in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np

from funcnn import checks, tree
from funcnn.aliases import Array, Arrays, Params, Rng, Tree
from funcnn.calls import explained
from funcnn.combinators.parameters import is_frozen
from funcnn.engine.examples import join
from funcnn.inspect.per_example import ExamplesVjp, each_example, is_alone
from funcnn.kernels.softmax import sigmoid, softmax
from funcnn.losses import Loss, mean_squared_error, sigmoid_cross_entropy, softmax_cross_entropy
from funcnn.protocol import Layer, LayerLike, as_layer
from funcnn.recorded import spelled
from funcnn.rng import as_key, generator
from funcnn.training.batching import check_examples, take
from funcnn.training.evaluate import CheckedLoss, checked_loss
from funcnn.wording import cast, shown

__all__ = [
    "fisher_diagonal", "gauss_newton_vector_product", "hessian_vector_product", "jacobian", "per_example_grads",
]  # fmt: skip

FISHER_EXAMPLES = 64
"""The number of examples whose gradients ``fisher_diagonal`` holds at a time."""


@explained
def per_example_grads(
    model: LayerLike, params: Params, x: Arrays, target: Arrays | None, loss: Loss, rng: Rng | None = None
) -> Params:
    """g[i] = d loss(f(params, x[i:i+1]), target[i:i+1]) / d params: the gradient of each example alone.

    With ``rng``, example i is computed in training mode with the key ``fold(rng, i)``. Without it, a chain is run on
    the whole batch once, and only the sums over the batch are left out: one forward and one backward pass for ``dense``
    and convolutions of one group, and one more forward and backward pass through any other layer that has parameters,
    example by example. Other models, and all in training mode, cost a forward and a backward pass for each example, as
    a loop does. The result takes as much memory as the parameters times the batch.

    Args:
        model: a layer or a pair. If it looks across the batch, each example is a batch of its own.
        params: its parameters.
        x: (batch, *shape), or a nested dict of such arrays.
        target: an array or a nested dict of arrays with the same batch axis; None for a loss that has no target.
        loss: ``loss(y, target) -> (value, dy)``; it is called for each example.
        rng: a key for training mode; None for inference.

    Returns:
        A tree like ``params`` with leaves of shape (batch, *parameter); None at integer, boolean and frozen leaves.

    Raises:
        TypeError: the model is not a layer, the loss not a function, or x or target are not arrays with a batch axis.
        ValueError: the arrays differ in length; or ``rng`` is given and the model has a batch norm, which has no
            statistics of one example.

    Example:
        >>> import funcnn as fn, numpy as np
        >>> params = {"w": np.array([[2.0]]), "b": np.array([0.0])}
        >>> x = np.array([[1.0], [3.0]])
        >>> per_example_grads(fn.dense(1), params, x, np.zeros((2, 1)), fn.mean_squared_error)["b"]
        array([[ 4.],
               [12.]])

    Reference:
        Goodfellow 2015, "Efficient per-example gradient computations", arXiv 1510.01799; Rochette et al. 2019, arXiv
        1912.06015, for convolutions.
    """
    kind = "per_example_grads"
    layer, checked = as_layer(model), checked_loss(kind, loss)
    check_examples(kind, (x,) if target is None else (x, target), least=0)
    y, pull = each_example(kind, layer, params, x, rng)
    found: Params = _loss_grads(y, pull, target, checked)
    return found


@explained
def jacobian(
    model: LayerLike, params: Params, x: Arrays, of: Literal["x", "params"] = "x", rng: Rng | None = None
) -> Tree:
    """J[i, k] = d y[i, k] / d x[i], or by the parameters: every derivative of each example's output.

    The cost is one forward pass, and one backward pass over the batch for each of the elements k of an example's
    output; where ``per_example_grads`` goes example by example, for each of these too.

    Args:
        model: a layer or a pair. If it looks across the batch, each example is a batch of its own.
        params: its parameters.
        x: (batch, *shape), or a nested dict of such arrays.
        of: ``"x"`` for derivatives by the input, ``"params"`` for those by the parameters.
        rng: a key for training mode, ``fold(rng, i)`` for example i; None for inference.

    Returns:
        For an output (batch, *out): a tree like x with leaves (batch, *out, *shape), or like ``params`` with leaves
        (batch, *out, *parameter); None at integer, boolean and frozen leaves. For an output that is a dict, a dict of
        such trees, None for an output of integers.

    Raises:
        TypeError: the model is not a layer, or x has no floats where derivatives by x are wanted.
        ValueError: ``of`` is neither word, or as ``per_example_grads``.

    Example:
        >>> import funcnn as fn, numpy as np
        >>> jacobian(fn.square, {}, np.array([[1.0, 3.0]]))
        array([[[2., 0.],
                [0., 6.]]])

    Reference:
        Baydin et al. 2018, "Automatic differentiation in machine learning: a survey", section 3.2.
    """
    layer = as_layer(model)
    check_examples("jacobian", (x,), least=0)
    if not isinstance(of, str) or of not in ("x", "params"):
        raise ValueError(f'jacobian: of must be "x" or "params", got {shown(of)}')
    if of == "x" and all(leaf.dtype.kind != "f" for leaf in tree.leaves(x)):
        raise TypeError('jacobian: x has no floats, so there is no derivative by x; write of="params"')
    pull: ExamplesVjp
    if of == "x" and rng is None and is_alone(layer):
        y, pull = layer.apply(params, x)
    else:
        y, pull = each_example("jacobian", layer, params, x, rng)

    def rows(path: str, leaf: Array) -> Tree:
        """The derivatives of one array of outputs."""
        if leaf.dtype.kind != "f":
            return None
        n, out = len(leaf), leaf.shape[1:]
        found = [(pull(dy, True)[1] if of == "x" else pull(dy, False)[0]) for dy in _one_hot(y, path)]
        if not found:  # outputs without elements
            found = [pull(tree.map(np.zeros_like, y), True)[1 if of == "x" else 0]]
            return tree.map(lambda g: np.zeros((n, *out, *g.shape[1:]), g.dtype), found[0])
        return tree.map(lambda *g: np.stack(g, axis=1).reshape(n, *out, *g[0].shape[1:]), *found)

    return tree.map_with_path(rows, y)


@explained
def hessian_vector_product(
    model: LayerLike, params: Params, x: Arrays, target: Arrays | None, loss: Loss, v: Params, rng: Rng | None = None
) -> Params:
    """H v with H = d² loss / d params²: the change of the gradient in the direction v.

    It is the central difference (g(p + h v) - g(p - h v)) / 2h of the exact gradient g in float64, with
    h = 6e-6 max(1, |p|) / |v|. Its error is h² |d³ loss| |v|³ / 6, plus rounding of about 1e-16 |g| / h: for smooth
    models of usual sizes below 1e-8 of |H| |v|. Where a ``relu`` is zero within the step, the difference sees its
    kink. The cost is two forward and two backward passes.

    Args:
        model: a layer or a pair.
        params: its parameters.
        x: (batch, *shape), or a nested dict of such arrays.
        target: what the loss compares with, or None.
        loss: ``loss(y, target) -> (value, dy)``.
        v: a tree like ``params``; None stands for zero, and leaves without gradient are not looked at.
        rng: a key for training mode, the same in both passes; None for inference. Draws are those of a float64 batch.

    Returns:
        A tree like ``params``, of the same dtypes; None at integer, boolean and frozen leaves.

    Raises:
        TypeError: an argument is of another kind, or a leaf of v is not an array of floats.
        ValueError: v is not like the parameters, or the arrays of x and target differ in length.

    Example:
        >>> import funcnn as fn, numpy as np
        >>> params, v = {"w": np.array([[2.0]])}, {"w": np.array([[1.0]])}
        >>> data = np.array([[3.0]]), np.array([[1.0]])
        >>> hv = hessian_vector_product(fn.dense(1, bias=False), params, *data, fn.mean_squared_error, v)
        >>> hv["w"].round(6)  # of (3 w - 1)²
        array([[18.]])

    Reference:
        Pearlmutter 1994, "Fast exact multiplication by the Hessian", equation 1; Dembo, Eisenstat & Steihaug 1982.
    """
    kind = "hessian_vector_product"
    layer, checked = as_layer(model), checked_loss(kind, loss)
    check_examples(kind, (x,) if target is None else (x, target))
    key, wide = None if rng is None else as_key(rng), tree.cast(x, np.float64)

    def gradient(p: Params) -> Params:
        y, vjp_fn = layer.apply(p, wide, key)
        return vjp_fn(checked(y, target, None)[1], input_grad=False)[0]

    point, direction = _in_float64(kind, layer, params, v)
    found: Params = _like(params, _derivative(gradient, point, direction))
    return found


@explained
def gauss_newton_vector_product(
    model: LayerLike, params: Params, x: Arrays, target: Arrays | None, loss: Loss, v: Params, rng: Rng | None = None
) -> Params:
    """G v = Jᵀ H J v, with J = dy / d params and H = d² loss / dy²: the curvature without that of the model.

    Jᵀ is the exact vjp. J v is the central difference of ``apply``, and H times it that of the gradient of the loss,
    both in float64 with the step of ``hessian_vector_product`` and its error: for smooth models of usual sizes below
    1e-8 of |G| |v|. For cross-entropies of logits and squared errors G is the Fisher matrix of the model's own
    distribution, up to a factor; it has no negative eigenvalues. The cost is three forward passes and one backward.

    Args:
        model: a layer or a pair.
        params: its parameters.
        x: (batch, *shape), or a nested dict of such arrays.
        target: what the loss compares with, or None.
        loss: ``loss(y, target) -> (value, dy)``.
        v: a tree like ``params``; None stands for zero, and leaves without gradient are not looked at.
        rng: a key for training mode, the same in all passes; None for inference. Draws are those of a float64 batch.

    Returns:
        A tree like ``params``, of the same dtypes; None at integer, boolean and frozen leaves.

    Raises:
        TypeError, ValueError: as ``hessian_vector_product``.

    Example:
        >>> import funcnn as fn, numpy as np
        >>> params, v = {"w": np.array([[2.0]])}, {"w": np.array([[1.0]])}
        >>> data = np.array([[3.0]]), np.array([[1.0]])
        >>> gv = gauss_newton_vector_product(fn.dense(1, bias=False), params, *data, fn.mean_squared_error, v)
        >>> gv["w"].round(6)
        array([[18.]])

    Reference:
        Schraudolph 2002, "Fast curvature matrix-vector products for second-order gradient descent", section 3;
        Martens 2020, "New insights and perspectives on the natural gradient method", arXiv 1412.1193, section 8.
    """
    kind = "gauss_newton_vector_product"
    layer, checked = as_layer(model), checked_loss(kind, loss)
    check_examples(kind, (x,) if target is None else (x, target))
    key, wide = None if rng is None else as_key(rng), tree.cast(x, np.float64)
    point, direction = _in_float64(kind, layer, params, v)
    y, vjp_fn = layer.apply(point, wide, key)
    dy = _derivative(lambda p: _floats(layer.apply(p, wide, key)[0]), point, direction)
    # The outputs that are not floats stay as they are.
    ddy = _derivative(lambda outputs: checked(outputs, target, None)[1], y, dy)
    found: Params = _like(params, vjp_fn(ddy, input_grad=False)[0])
    return found


@explained
def fisher_diagonal(
    model: LayerLike, params: Params, x: Arrays, target: Arrays | None, loss: Loss, rng: Rng | None = None,
    labels_rng: Rng | None = None,
) -> Params:  # fmt: skip
    """F_p = mean over the examples of (d loss / d p)²: how much the loss of an example depends on each parameter.

    With a target it is the empirical Fisher matrix's diagonal. The Fisher matrix itself takes labels from the model's
    own distribution: pass None as the target, and the key ``labels_rng`` by which one is drawn for each example. The
    loss says which distribution: classes for ``softmax_cross_entropy``, yes or no for ``sigmoid_cross_entropy``, and
    for ``mean_squared_error`` of m outputs a normal one around y with variance m / 2, of which it is the negative log
    likelihood. For another loss, draw labels yourself and pass them as the target. The cost is that of
    ``per_example_grads``, for 64 examples at a time, so that the memory is bounded.

    Args:
        model: a layer or a pair.
        params: its parameters.
        x: (batch, *shape), or a nested dict of such arrays; at least one example.
        target: an array or a nested dict of arrays with the same batch axis; or None to draw labels.
        loss: ``loss(y, target) -> (value, dy)``, a negative log likelihood.
        rng: a key for training mode, as for ``per_example_grads``; None for inference, which is usual.
        labels_rng: the key of the drawn labels.

    Returns:
        A tree like ``params``; None at integer, boolean and frozen leaves.

    Raises:
        TypeError: as ``per_example_grads``.
        ValueError: both a target and ``labels_rng`` are given, or neither; the loss has no distribution to draw from;
            there is no example; or as ``per_example_grads``.

    Example:
        >>> import funcnn as fn, numpy as np
        >>> params = {"w": np.array([[2.0]])}
        >>> data = np.array([[1.0], [3.0]]), np.zeros((2, 1))
        >>> fisher_diagonal(fn.dense(1, bias=False), params, *data, fn.mean_squared_error)
        {'w': array([[656.]])}

    Reference:
        Kunstner, Balles & Hennig 2019, "Limitations of the empirical Fisher approximation", arXiv 1905.12558, equations
        3 and 4; Kirkpatrick et al. 2017, arXiv 1612.00796, where it says which weights old tasks need.
    """
    kind = "fisher_diagonal"
    layer, checked = as_layer(model), checked_loss(kind, loss)
    n = check_examples(kind, (x,) if target is None else (x, target))
    if (target is None) == (labels_rng is None):
        got = "neither" if target is None else "both"
        raise ValueError(
            f"{kind}: expected either a target or labels_rng, the key of labels to draw, got {got}; "
            "write fisher_diagonal(model, params, x, None, loss, labels_rng=0) to draw them"
        )
    draw = None if labels_rng is None else _drawn(kind, loss)
    key, random = None if rng is None else as_key(rng), None if labels_rng is None else generator(labels_rng)

    def squares(first: int) -> Tree:
        part = slice(first, first + FISHER_EXAMPLES)
        y, pull = each_example(kind, layer, params, take(x, part), key, first)
        labels = draw(y, random) if draw else take(target, part)
        return tree.map(lambda g: np.square(g).sum(0), _loss_grads(y, pull, labels, checked))

    total = squares(0)
    for first in range(FISHER_EXAMPLES, n, FISHER_EXAMPLES):
        total = tree.map(np.add, total, squares(first))
    mean: Params = tree.map(lambda leaf: leaf / leaf.dtype.type(n), total)
    return mean


def _loss_grads(y: Tree, pull: ExamplesVjp, target: Tree, loss: CheckedLoss) -> Tree:
    """The gradients of the loss of each example alone."""
    n = len(tree.leaves(y)[0])
    one = [slice(i, i + 1) for i in range(n)]
    each = [loss(take(y, part), None if target is None else take(target, part), None)[1] for part in one]
    return pull(join(each) if each else tree.map(np.zeros_like, y), False)[0]


# Differences in float64


def _derivative(f: Callable[[Tree], Tree], point: Tree, direction: Tree) -> Tree:
    """The derivative of f at a point in a direction, by a central difference in float64; None is zero."""
    moved = [p[v != 0] for p, v in zip(tree.leaves(point), tree.leaves(direction), strict=True) if v is not None]
    length = _norm([v for v in tree.leaves(direction) if v is not None])
    # The cube root of the rounding error balances the two errors of a central difference.
    step = np.cbrt(np.finfo(np.float64).eps) * max(1.0, _norm(moved)) / (length or 1.0)

    def at(step: float) -> Tree:
        flat = tree.flatten(direction)
        return f(tree.map_with_path(lambda path, p: p if flat[path] is None else p + step * flat[path], point))

    return tree.map(lambda ahead, behind: (ahead - behind) / (2 * step), at(step), at(-step))


def _norm(leaves: list[Array]) -> float:
    """The Euclidean norm of all leaves together."""
    return math.hypot(*(float(np.linalg.norm(leaf)) for leaf in leaves))


def _one_hot(y: Tree, path: str) -> Iterator[Tree]:
    """Gradients like y: 1 at one element of each example's output at a path, all of these in turn, 0 elsewhere."""
    flat = {name: np.zeros_like(leaf) if leaf.dtype.kind == "f" else None for name, leaf in tree.flatten(y).items()}
    for index in np.ndindex(flat[path].shape[1:]):  # type: ignore[union-attr]
        leaf = np.zeros_like(flat[path])
        leaf[:, *index] = 1
        yield tree.unflatten({**flat, path: leaf})


def _in_float64(kind: str, layer: Layer, params: Params, v: Params) -> tuple[Params, Params]:
    """The parameters and the direction in float64; None in the direction where there is no gradient."""
    tree.check_parameters(params, kind)
    theirs, ours = tree.flatten({} if not isinstance(v, dict) else v), tree.flatten(params)
    if not isinstance(v, dict) or theirs.keys() != ours.keys():
        got = sorted(theirs) if isinstance(v, dict) else checks.what(v)
        raise ValueError(f"{kind}: expected v like params, with leaves {sorted(ours)}, got {got}")
    for path, leaf in theirs.items():
        if leaf is None:
            continue
        checks.plain(kind, leaf, f"v at {path!r}")
        if not isinstance(leaf, np.ndarray):
            raise TypeError(f"{kind}: expected v at {path!r} as an array, got {checks.what(leaf)}; use {cast(leaf)}")
        if leaf.shape != ours[path].shape:
            raise ValueError(f"{kind}: expected v at {path!r} of shape {ours[path].shape}, got {leaf.shape}")
        if ours[path].dtype.kind == "f" and leaf.dtype.kind not in "fiu":
            raise TypeError(f"{kind}: expected v at {path!r} as an array of floats, got {leaf.dtype}")

    def learned(path: str, p: Array) -> Array | None:
        leaf = theirs[path]
        has_gradient = p.dtype.kind == "f" and not is_frozen(layer, path)
        return leaf.astype(np.float64) if has_gradient and leaf is not None else None

    return tree.cast(params, np.float64), tree.map_with_path(learned, params)


def _floats(y: Tree) -> Tree:
    """The outputs, None in place of those that have no derivative."""
    return tree.map(lambda leaf: leaf if leaf.dtype.kind == "f" else None, y)


def _like(params: Params, found: Tree) -> Tree:
    """Gradients in the dtypes of the parameters."""
    return tree.map(lambda p, g: g.astype(p.dtype, copy=False), params, found)


# Labels that the model draws itself


def _drawn(kind: str, loss: Loss) -> Callable[[Tree, Any], Tree]:
    """``draw(y, random) -> target`` from the distribution that a loss is the negative log likelihood of."""
    draws = {softmax_cross_entropy: _classes, sigmoid_cross_entropy: _yes_or_no, mean_squared_error: _normal}
    for known, draw in draws.items():
        if loss is known:
            return draw
    raise ValueError(
        f"{kind}: labels can be drawn for softmax_cross_entropy, sigmoid_cross_entropy and mean_squared_error, got "
        f"{spelled(loss)}; draw labels from your own distribution and pass them as the target"
    )


def _classes(y: Array, random: np.random.Generator) -> Array:
    chances = np.cumsum(softmax(y.astype(np.float64)), axis=-1)
    labels: Array = (chances > random.random(y.shape[:-1])[..., None] * chances[..., -1:]).argmax(-1)
    return labels


def _yes_or_no(y: Array, random: np.random.Generator) -> Array:
    return (random.random(y.shape) < sigmoid(y.astype(np.float64))).astype(y.dtype)


def _normal(y: Array, random: np.random.Generator) -> Array:
    std = math.sqrt(math.prod(y.shape[1:]) / 2)
    return (y + std * random.standard_normal(y.shape)).astype(y.dtype)
