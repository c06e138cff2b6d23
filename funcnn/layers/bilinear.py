"""The bilinear layer is linear in each of two inputs: each output is a weighted sum of all products of their elements.

For one example it is a dense layer of the first input whose weights the second one makes. So the products of all pairs
are never formed: x_a meets all weights in one matrix product, and x_b sums up the result.
"""

# A vjp_fn is defined at each call of apply; like this its annotations cost nothing there.
from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from funcnn import checks, contract
from funcnn.aliases import Array, Params, Rng, Size, Tree
from funcnn.initializers import InitializerLike, he_normal, zeros
from funcnn.kernels.products import product, row_sum
from funcnn.layers.activation import Activation, fuse
from funcnn.layers.merge import check_one_dtype
from funcnn.layers.weights import Weights, weights
from funcnn.protocol import Layer, Vjp, layer, per_example, per_position, probed
from funcnn.rng import check_rng

__all__ = ["bilinear"]


@layer
def bilinear(
    units: Size,
    bias: bool = True,
    activation: Activation = None,
    w_init: InitializerLike = he_normal,
    b_init: InitializerLike = zeros,
) -> Layer:
    """y_k = activation(sum over i, j of a_i w_ijk b_j + b_k), of a tree {"a": a, "b": b} of two inputs.

    In the backward pass, with dz the gradient before the activation::

        dw_ijk = sum of a_i b_j dz_k over the batch    da_i = sum of w_ijk b_j dz_k    db_j = sum of a_i w_ijk dz_k

    Args:
        units: the number of outputs, ``>= 1``.
        bias: whether to add ``b``.
        activation: a layer without parameters, or its name, applied at once; None for none.
        w_init: the initializer of ``w``, of shape (inputs of a, inputs of b, units).
        b_init: the initializer of ``b``, of shape (units,).

    Returns:
        A layer from {"a": (batch, ..., inputs of a), "b": (batch, ..., inputs of b)} to (batch, ..., units).

    Raises:
        TypeError: a flag is not a bool, or an initializer or an activation is not one; or the inputs are not plain
            arrays of one dtype, float32 or float64.
        ValueError: ``units`` is not a whole number ``>= 1``, the activation is unknown; or the input is not such a
            tree, its arrays differ in more than the last axis, or they do not fit ``w``.

    Example:
        >>> model = bilinear(1, bias=False)
        >>> params = {"w": np.array([[[1.0], [2.0]], [[3.0], [4.0]]])}
        >>> y, vjp_fn = model.apply(params, {"a": np.array([[1.0, 0.0]]), "b": np.array([[5.0, 6.0]])})
        >>> y
        array([[17.]])
        >>> vjp_fn(np.ones_like(y))[1]
        {'a': array([[17., 39.]]), 'b': array([[1., 2.]])}

    Reference:
        Socher, Chen, Manning & Ng 2013, "Reasoning with neural tensor networks for knowledge base completion", section
        3.1; PyTorch's ``Bilinear``, whose weights are (units, inputs of a, inputs of b).
    """
    units = checks.size("bilinear", "units", units)
    activate = fuse("bilinear", activation)

    @cache
    def own(inputs_of_a: int) -> Weights:
        return weights("bilinear", "batch, ..., inputs of b", (inputs_of_a, None, units), bias, w_init, b_init)

    own(1)  # the arguments are checked now

    def init(shape: Tree, rng: Rng) -> Params:
        _check_tree("the shape of one example", shape, shape)
        a, b = (checks.channels("bilinear", shape[name], f"inputs of {name}") for name in ("a", "b"))
        return own(a).init((a, b, units), rng, a * b, units)

    @per_example
    def apply(params: Params, x: Tree, rng: Rng | None = None) -> tuple[Array, Vjp]:
        w, bias_of = _read(own, params, x)
        check_rng(rng)
        a, b = x["a"], x["b"]
        flat, a_rows, b_rows = w.reshape(len(w), -1), a.reshape(-1, a.shape[-1]), b.reshape(-1, 1, b.shape[-1])
        # For each example, the weights of a dense layer from b to the units.
        inner = product(a_rows, flat).reshape(-1, *w.shape[1:])
        z = np.matmul(b_rows, inner).reshape(*a.shape[:-1], units)
        if bias_of is not None:
            z += bias_of
        y, pull = activate(z)
        like = contract.form(y)

        def vjp_fn(dy: Array, input_grad: bool = True) -> tuple[Params, Tree]:
            contract.gradient("bilinear", dy, like)
            dz = pull(dy).reshape(-1, 1, units)
            dinner = (b_rows.swapaxes(1, 2) * dz).reshape(len(a_rows), flat.shape[1])
            dw = product(a_rows.T, dinner).reshape(w.shape)
            grads = own(len(w)).gradients(dw, lambda: row_sum(dz[:, 0]))
            if not input_grad:
                return grads, None
            da, db = product(dinner, flat.T), np.matmul(dz, inner.swapaxes(1, 2))
            return grads, {"a": da.reshape(a.shape), "b": db.reshape(b.shape)}

        return y, vjp_fn

    def multiply_adds(params: Params, x: Tree, y: Array) -> int:
        return int(x["a"].size * x["b"].shape[-1] * units + y.size * x["b"].shape[-1])

    per_position(apply, activate.per_position)
    return Layer(probed(init, apply), apply, multiply_adds=multiply_adds)


def _read(own: Callable[[int], Weights], params: Params, x: Tree) -> tuple[Array, Array | None]:
    """The weights and the bias, checked together with the input; ``own`` reads those for a number of inputs of a."""
    leaf = params.get("w") if isinstance(params, dict) else None
    rows = leaf.shape[0] if isinstance(leaf, np.ndarray) and leaf.ndim else 1
    try:
        w, b = own(rows).read(params, x["b"] if isinstance(x, dict) else x)
    except contract.OtherParameters:
        raise
    except (KeyError, TypeError, ValueError):
        _check_input(x)
        raise
    _check_input(x)
    if x["a"].shape[-1] != len(w):
        raise ValueError(
            f"bilinear: expected {len(w)} channels on the last axis of 'a' (the parameters have that many), got "
            f"{x['a'].shape[-1]} in an input of shape {x['a'].shape}"
        )
    return w, b


def _check_input(x: Tree) -> None:
    """Raise unless x is a tree of two float arrays that fit each other."""
    _check_tree("an input", x, contract.shape_of(x))
    check_one_dtype("bilinear", x)


def _check_tree(of: str, x: Tree, shapes: Tree) -> None:
    """Raise unless x is a tree of two, "a" and "b", whose shapes differ in the last axis only."""
    if not isinstance(x, dict) or x.keys() != {"a", "b"}:
        got = sorted(map(str, x)) if isinstance(x, dict) else checks.what(x)
        raise ValueError(f"bilinear: expected {of} as a dict of 'a' and 'b', got {got}")
    a, b = shapes["a"], shapes["b"]
    if isinstance(a, dict) or isinstance(b, dict) or len(a) != len(b) or tuple(a[:-1]) != tuple(b[:-1]):
        raise ValueError(f"bilinear: expected 'a' and 'b' of shapes that differ in the last axis only, got {a} and {b}")
