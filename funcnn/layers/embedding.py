"""An embedding gives each token a row of learned numbers; a bag of tokens is the sum, mean or maximum of its rows.

Only the rows of the tokens that came have a gradient, and a token that came twice has the sum of both.
"""

# A vjp_fn is defined at each call of apply; like this its annotations cost nothing there.
from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

import numpy as np

from funcnn import checks, contract, shapes
from funcnn.aliases import Array, Params, Rng, Shape, Size, Tree
from funcnn.initializers import InitializerLike, as_initializer, normal
from funcnn.kernels.gather import added_rows, taken_rows
from funcnn.kernels.over_time import max_over_time, mean_over_time, sum_over_time
from funcnn.layers.sequences import sequence, with_gradients
from funcnn.protocol import Layer, Vjp, layer, per_example, per_position, probed
from funcnn.rng import check_rng, fold
from funcnn.wording import shown

__all__ = ["embedding", "embedding_bag"]

How: TypeAlias = Literal["sum", "mean", "max"]
POOLS = {"sum": sum_over_time, "mean": mean_over_time, "max": max_over_time}


@layer
def embedding(count: Size, units: Size, w_init: InitializerLike = normal(1.0)) -> Layer:  # noqa: B008, it has no state
    """y = w[x]: the row of each token.

    In the backward pass ``dw[i]`` is the sum of dy over the places where the token is i; tokens have no gradient.

    Args:
        count: the number of different tokens, ``>= 1``; they are called 0 to ``count - 1``.
        units: the elements of a row, ``>= 1``.
        w_init: the initializer of ``w``, of shape (count, units).

    Returns:
        A layer from integers (batch, ...) to (batch, ..., units). The shape for ``init`` is ``fn.spec(shape, int)``.

    Raises:
        TypeError: the input is not an array of integers, or the initializer is not one.
        ValueError: ``count`` or ``units`` is not a whole number ``>= 1``; or a token is outside [0, count), which the
            message names with its position.

    Example:
        >>> init, apply = embedding(3, 2)
        >>> params = {"w": np.array([[0.0, 0.0], [1.0, 2.0], [3.0, 4.0]])}
        >>> y, vjp_fn = apply(params, np.array([[1, 1, 2]]))
        >>> y.tolist()
        [[[1.0, 2.0], [1.0, 2.0], [3.0, 4.0]]]
        >>> vjp_fn(np.ones_like(y))[0]["w"].tolist()
        [[0.0, 0.0], [2.0, 2.0], [1.0, 1.0]]

    Reference:
        Bengio, Ducharme, Vincent & Jauvin 2003, "A neural probabilistic language model", section 2; PyTorch's
        ``Embedding``, whose weight has the same shape.
    """
    count, init, read = _table("embedding", count, units, w_init)

    @per_position
    @per_example
    def apply(params: Params, x: Array, rng: Rng | None = None) -> tuple[Array, Vjp]:
        (w,) = read(params)
        checks.tokens("embedding", x, count)
        check_rng(rng)
        y = taken_rows(w, x)
        like = contract.form(y)

        def vjp_fn(dy: Array, input_grad: bool = True) -> tuple[Params, None]:
            contract.gradient("embedding", dy, like)
            return {"w": added_rows(dy.reshape(x.size, dy.shape[-1]), x.ravel(), count)}, None

        return y, vjp_fn

    return Layer(probed(init, apply), apply)


@layer
def embedding_bag(count: Size, units: Size, how: How = "mean", w_init: InitializerLike = normal(1.0)) -> Layer:  # noqa: B008
    """y = the sum, the mean or the maximum of w[x_t] over the tokens x_t of each example.

    The gradient of the maximum goes to the first token that has it.

    Args:
        count: the number of different tokens, ``>= 1``.
        units: the elements of a row, ``>= 1``.
        how: ``"sum"``, ``"mean"`` or ``"max"``.
        w_init: the initializer of ``w``, of shape (count, units).

    Returns:
        A layer from integers (batch, tokens), or a tree {"x": these, "mask": (batch, tokens)} for bags of several
        sizes, to (batch, units). An empty bag gives zeros.

    Raises:
        TypeError: the tokens are not integers, or the mask is not boolean.
        ValueError: ``how`` is unknown, a token is outside [0, count), or the mask has another shape.

    Example:
        >>> params = {"w": np.array([[0.0, 0.0], [1.0, 2.0], [3.0, 4.0]])}
        >>> embedding_bag(3, 2).apply(params, np.array([[1, 2]]))[0]
        array([[2., 3.]])

    Reference:
        PyTorch's ``EmbeddingBag``, whose weight has the same shape.
    """
    if not isinstance(how, str) or how not in POOLS:
        raise ValueError(f"embedding_bag: how must be one of {[*POOLS]}, got {shown(how)}")
    pool = POOLS[how]
    count, init, read = _table("embedding_bag", count, units, w_init)

    @per_example
    def apply(params: Params, tree: Tree, rng: Rng | None = None) -> tuple[Array, Vjp]:
        (w,) = read(params)
        x, mask, _ = sequence("embedding_bag", tree, lambda x: checks.tokens("embedding_bag", x, None, 2))
        x = x if mask is None else np.where(mask, x, 0)
        checks.tokens("embedding_bag", x, count, 2)
        check_rng(rng)
        y, pull = pool(taken_rows(w, x), mask)
        like = contract.form(y)

        def vjp_fn(dy: Array, input_grad: bool = True) -> tuple[Params, Tree]:
            contract.gradient("embedding_bag", dy, like)
            grads = {"w": added_rows(pull(dy).reshape(x.size, dy.shape[-1]), x.ravel(), count)}
            return grads, with_gradients(tree, None) if input_grad else None

        return y, vjp_fn

    return Layer(probed(init, apply), apply)


def _table(
    kind: str, count: Size, units: Size, w_init: InitializerLike
) -> tuple[int, Callable[[Shape, Rng], Params], Callable[[Params], list[Array]]]:
    """The checked count, the ``init``, and the function that reads the table from the parameters and checks it."""
    count, units = checks.size(kind, "count", count), checks.size(kind, "units", units)
    initialize = as_initializer(kind, "w_init", w_init)

    def init(shape: Shape, rng: Rng) -> Params:
        shapes.checked(kind, shape)
        return {"w": initialize((count, units), fold(rng, "w"), count, units)}

    return count, init, contract.parameters_only(kind, w=(count, units))
