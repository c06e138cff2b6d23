"""Combinators that compute the weights of a layer from other parameters, which are learned in their place.

Every leaf ``w`` of the layer, at any depth, is replaced by what is stored for it; all other parameters stay. The chain
rule carries the gradient of a computed weight to what it is computed from.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from funcnn import checks, contract, tree
from funcnn.aliases import Array, Key, Params, Rng, Size
from funcnn.combinators.parameters import in_order_of, transparent
from funcnn.engine.microbatch import Backward, Coroutine, as_coroutine
from funcnn.protocol import Layer, LayerLike, as_layer, layer
from funcnn.rng import fold, generator
from funcnn.tree import below
from funcnn.wording import shown

__all__ = ["spectral_norm", "weight_norm"]

Stored: TypeAlias = dict[str, Array]
Pull: TypeAlias = Callable[[Array], dict[str, Array | None]]
Compute: TypeAlias = Callable[[Stored], tuple[Array, Pull]]
"""``compute(stored) -> (w, pull)``, with ``pull(dw)`` like ``stored``."""

ITERATIONS_AT_INIT = 15
"""As in PyTorch: a random vector is brought near to the singular vector once."""

TINY = 1e-12
"""A shorter vector is divided by this and not by its length, as in PyTorch."""


@layer
def weight_norm(layer: LayerLike) -> Layer:
    """The layer with each weight as w = g v / |v|: the length and the direction of a unit's weights are learned apart.

    |v| is taken for each output unit, that is for each place on the last axis of ``w``, over all other axes. It is
    PyTorch's ``weight_norm`` with ``dim=0``: its weights have the units first. In the backward pass, with u = v / |v|::

        dg = sum of dw u        dv = g / |v| * (dw - u dg)

    Args:
        layer: a layer or a pair with at least one parameter ``w``, at any depth.

    Returns:
        A layer whose parameters have ``g``, of shape (units,), and ``v`` in place of each ``w``. From ``init`` they
        are such that the weights are those of the layer alone. A unit whose ``v`` is 0 has weights 0, and no gradient.

    Raises:
        TypeError: ``layer`` is not a layer.
        ValueError: from ``init``, there is no parameter ``w``, or there is one called ``g`` or ``v``; from
            ``apply``, the parameters lack ``g`` or ``v``.

    Example:
        >>> import funcnn as fn
        >>> model = fn.weight_norm(fn.serial(fn.dense(4), fn.relu, fn.dense(2)))
        >>> fn.tree.paths(model.init((3,), rng=0))
        ['dense_0/b', 'dense_0/g', 'dense_0/v', 'dense_1/b', 'dense_1/g', 'dense_1/v']

    Reference:
        Salimans & Kingma 2016, "Weight normalization", arXiv 1602.07868, equations 2 and 3.
    """

    def store(w: Array, key: Key) -> Stored:
        return {"g": np.sqrt(np.sum(w * w, axis=tuple(range(w.ndim - 1)))), "v": w}

    def compute(stored: Stored) -> tuple[Array, Pull]:
        g, v = stored["g"], stored["v"]
        others = tuple(range(v.ndim - 1))
        length = np.sqrt(np.sum(v * v, axis=others))
        inverse = np.divide(1, length, out=np.zeros_like(length), where=length > 0)
        factor = g * inverse

        def pull(dw: Array) -> dict[str, Array | None]:
            along = np.sum(dw * v, axis=others) * inverse
            return {"g": along, "v": factor * (dw - v * (along * inverse))}

        return v * factor, pull

    inner = as_layer(layer)
    return _reparametrized("weight_norm", inner, ("g", "v"), store, compute, lambda part, which: weight_norm(part))


@layer
def spectral_norm(layer: LayerLike, iterations: Size = 5) -> Layer:
    """The layer with each weight divided by its largest singular value, so that it stretches no vector.

    The weight is taken as a matrix M of shape (rest, units), with the units on the last axis of ``w``. From the stored
    vector u, ``iterations`` times v = M u / |M u| and then u = M^T v / |M^T v|; the singular value is s = v^T M u, and
    the weight M / s. In the backward pass u and v count as constants, as in PyTorch. With N = M / s::

        dM = (dN - (sum of dN N) v u^T) / s

    It differs from PyTorch in what becomes of u. There a training step takes one iteration and writes u back, so that
    u follows the weight; here nothing is written, in training and in predicting alike, and each call iterates from
    the u of the parameters, which stays as ``init`` made it, near to the singular vector of the first weight. So more
    iterations are worth their time where training moves the weight far. The gradient of u is None.

    Args:
        layer: a layer or a pair with at least one parameter ``w``, at any depth.
        iterations: the number of iterations, ``>= 1``.

    Returns:
        A layer whose parameters have ``u``, of shape (units,), beside each ``w``. A weight of zeros stays one, and has
        no gradient.

    Raises:
        TypeError: ``layer`` is not a layer.
        ValueError: ``iterations`` is not a whole number ``>= 1``; from ``init``, there is no parameter ``w``, or
            there is one called ``u``; from ``apply``, the parameters lack ``u``.

    Example:
        >>> import funcnn as fn
        >>> model = fn.spectral_norm(fn.dense(2, bias=False))
        >>> params = {"w": np.diag([2.0, 4.0]), "u": np.array([0.0, 1.0])}
        >>> model.apply(params, np.array([[1.0, 1.0]]))[0]
        array([[0.5, 1. ]])

    Reference:
        Miyato et al. 2018, "Spectral normalization for generative adversarial networks", arXiv 1802.05957, algorithm 1.
    """
    iterations = checks.size("spectral_norm", "iterations", iterations)

    def store(w: Array, key: Key) -> Stored:
        start = generator(key).standard_normal(w.shape[-1:], np.float32).astype(w.dtype, copy=False)
        return {"w": w, "u": _iterated(w.reshape(-1, w.shape[-1]), _unit(start), ITERATIONS_AT_INIT)[1]}

    def compute(stored: Stored) -> tuple[Array, Pull]:
        w = stored["w"]
        matrix = w.reshape(-1, w.shape[-1])
        v, u = _iterated(matrix, stored["u"], iterations)
        size = v @ (matrix @ u) or np.inf  # so that zeros stay zeros
        normed = w / size

        def pull(dw: Array) -> dict[str, Array | None]:
            along = np.outer(v * np.vdot(dw, normed), u).reshape(w.shape)
            return {"w": (dw - along) / size, "u": None}

        return normed, pull

    return _reparametrized(
        "spectral_norm", as_layer(layer), ("u", "w"), store, compute,
        lambda part, which: spectral_norm(part, iterations), constants=("u",),
    )  # fmt: skip


def _iterated(matrix: Array, u: Array, iterations: int) -> tuple[Array, Array]:
    """The singular vectors v and u of the largest singular value, after some steps of the power iteration."""
    for _ in range(iterations):
        v = _unit(matrix @ u)
        u = _unit(v @ matrix)
    return v, u


def _unit(vector: Array) -> Array:
    """The vector with length 1."""
    unit: Array = vector / max(np.sqrt(vector @ vector), vector.dtype.type(TINY))
    return unit


def _reparametrized(
    kind: str,
    inner: Layer,
    names: tuple[str, str],
    store: Callable[[Array, Key], Stored],
    compute: Compute,
    around: Callable[[Layer, Any], Layer],
    constants: tuple[str, ...] = (),
) -> Layer:
    """A layer around another one, whose weights are computed from what is stored.

    Args:
        kind: the combinator.
        inner: the layer inside.
        names: those of what is stored for a weight: a vector with a number for each unit, and an array like it.
        store: ``store(w, key)``, what is stored for a weight at the start.
        compute: makes a weight of it.
        around: the layer that a child or a slice becomes.
        constants: which of the names have no gradient.
    """
    run = as_coroutine(inner)

    def init(shape: Any, rng: Rng) -> Params:
        params = inner.init(shape, rng)
        if not any(path.split("/")[-1] == "w" for path in tree.paths(params)):
            raise ValueError(
                f"{kind}: expected a layer with a parameter 'w', got {shown(inner)} with {tree.paths(params)}; "
                "choose one such as dense or conv2d"
            )
        return _stored(kind, params, names, store, fold(rng, kind))

    def forward(params: Params, x: Any, key: Key | None, keep: bool) -> Coroutine[tuple[Any, Backward]]:
        full, pull = _computed(kind, params, names, compute)
        y, back = yield from run(full, x, key, keep)

        def backward(dy: Any, input_grad: bool) -> Coroutine[tuple[Params, Any]]:
            grads, dx = yield from back(dy, input_grad)
            return in_order_of(params, pull(grads)), dx

        return y, backward

    def full(params: Params) -> Params:
        return _computed(kind, params, names, compute)[0]

    def measure(params: Params, x: Any) -> Params:
        own = full(params)
        found = inner.measure(own, x)  # type: ignore[misc]
        return params | {name: leaf for name, leaf in found.items() if leaf is not own.get(name)}

    count = inner.multiply_adds
    return transparent(
        inner, forward, kind, around, init=init, constants=constants, computes=full,
        measure=None if inner.measure is None else measure,
        multiply_adds=None if count is None else lambda params, x, y: count(full(params), x, y),
    )  # fmt: skip


def _stored(
    kind: str, params: Params, names: tuple[str, str], store: Callable[[Array, Key], Stored], key: Key
) -> Params:
    """The parameters of a layer with what is stored in place of each weight."""
    stored: Params = {}
    for name, leaf in params.items():
        if isinstance(leaf, dict):
            stored[name] = _stored(kind, leaf, names, store, fold(key, name))
        elif name == "w":
            stored |= store(leaf, key)
        elif name in names:
            raise ValueError(f"{kind}: the layer has a parameter {name!r} itself, which would be that of its weights")
        else:
            stored[name] = leaf
    return stored


def _computed(
    kind: str, params: Params, names: tuple[str, str], compute: Compute, path: str = ""
) -> tuple[Params, Callable[[Params], Params]]:
    """The parameters of the layer inside, and the map from their gradients to those of what is stored."""
    where = f"{kind}, at {path}" if path else kind
    contract.params_dict(where, params)
    full, pulls = dict[str, Any](), dict[str, Callable[[Any], Any]]()
    for name, leaf in params.items():
        if isinstance(leaf, dict):
            full[name], pulls[name] = _computed(kind, leaf, names, compute, below(path, name))
        elif name not in names:
            full[name] = leaf
    stored = {name: params[name] for name in (*names, "w") if name in params and not isinstance(params[name], dict)}
    if stored and stored.keys() != set(names):
        raise contract.OtherParameters(
            f"{where}: expected {[*names]} for each weight, got {sorted(stored)} beside {sorted(params)}; are these "
            "parameters of the layer without it?"
        )
    if stored:
        _check(where, stored, names)
        full["w"], pull_w = compute(stored)

    def pull(grads: Params) -> Params:
        found = {name: pulls[name](own) if name in pulls else own for name, own in grads.items()}
        if stored and "w" in found:
            dw = found.pop("w")
            found |= dict.fromkeys(names) if dw is None else pull_w(dw)
        return found

    return full, pull


def _check(kind: str, stored: Stored, names: tuple[str, str]) -> None:
    """Raise if what is stored for a weight is not an array of floats and a vector that fits it."""
    for name in names:
        contract.plain_parameter(kind, name, stored[name])
    contract.one_float_dtype(kind, stored)
    vector, weight = (stored[name] for name in names)
    if not weight.ndim or vector.shape != weight.shape[-1:]:
        raise contract.OtherParameters(
            f"{kind}: expected parameter {names[0]!r} with a number for each unit of {names[1]!r}, of shape "
            f"{weight.shape[-1:]}, got {vector.shape}; are these parameters of another model?"
        )
