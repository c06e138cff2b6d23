"""Attention does not see the order of its input; positions tell it the place of each element.

They are added to the features (learned or sinusoidal), rotate the queries and keys (rotary), or lower the scores of
what is far away (alibi).
"""

# A vjp_fn is defined at each call of apply; like this its annotations cost nothing there.
from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np

from funcnn import checks, contract, shapes
from funcnn.aliases import Array, Params, Rng, Shape, Size, Tree
from funcnn.engine.examples import filled
from funcnn.engine.memory import empty_like
from funcnn.initializers import InitializerLike, as_initializer, normal
from funcnn.kernels.attention import alibi_bias
from funcnn.kernels.gather import added_rows
from funcnn.kernels.rotary import rotated, waves
from funcnn.layers.trees import check_axes, example_shape, input_gradient, leaf_gradient, leaves_of
from funcnn.protocol import Layer, Vjp, layer, per_example, probed, stateless
from funcnn.rng import check_rng, fold
from funcnn.wording import shown

__all__ = ["alibi", "positions"]

Kind: TypeAlias = Literal["learned", "sinusoidal", "rotary"]
NAMES = ("x", "mask", "context", "context_mask", "cache")
SMALL = normal(0.02)
KINDS = ("learned", "sinusoidal", "rotary")


@layer
def positions(
    kind: Kind = "learned", length: Size | None = None, base: float = 10000.0, w_init: InitializerLike = SMALL
) -> Layer:
    """y_t = x_t + w_t, or x_t rotated by angles that grow with t, so that the order of a sequence can be seen.

    With the angles a_ti = t base^(-2 i / features), ``"sinusoidal"`` has sin(a_ti) as feature 2 i of w_t and
    cos(a_ti) as feature 2 i + 1. ``"rotary"`` rotates feature i and feature i + features / 2 by a_ti, as one point of a
    plane; it is meant for queries and keys, whose products then depend on the distance of their places only.

    A tree ``{"x", "cache"}`` goes in and comes out where a text comes in parts: ``cache`` is ``{}`` at the start, and
    then ``{"time"}``, the place (batch,) of each example's next element. Other leaves of the tree pass.

    Args:
        kind: ``"learned"``, ``"sinusoidal"`` or ``"rotary"``.
        length: how many places are learned, ``>= 1``; by default those of the shape that ``init`` gets.
        base: the ratio of the longest wave to the shortest, ``> 0``; not for ``"learned"``.
        w_init: the initializer of ``w``, of shape (length, features); for ``"learned"`` only.

    Returns:
        A layer from (batch, time, features) to the same; rotary also takes (batch, time, heads, features).

    Raises:
        TypeError: an argument has the wrong type; or, from ``apply``, the input is not an array of floats.
        ValueError: the kind is unknown, ``length`` or ``base`` is out of range; or, from ``init`` and ``apply``, the
            input has other axes, more places than are learned, or, for rotary, an odd number of features.

    Example:
        >>> y, _ = positions("sinusoidal").apply({}, np.zeros((1, 2, 2)))
        >>> y.round(3)
        array([[[0.   , 1.   ],
                [0.841, 0.54 ]]])

    Reference:
        Vaswani et al. 2017, "Attention is all you need", arXiv 1706.03762, section 3.5; Su et al. 2021, "RoFormer",
        arXiv 2104.09864, equation 34.
    """
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"positions: unknown kind {shown(kind)}, expected one of {[*KINDS]}")
    most = None if length is None else checks.size("positions", "length", length)
    base = checks.positive("positions", "base", base, usual="10000")
    w_init = as_initializer("positions", "w_init", w_init)
    read = contract.parameters_only("positions", w=("places", "features"))

    def init(shape: Tree, rng: Rng) -> Params:
        own = example_shape(shapes.checked("positions", shape))
        _check_shape(kind, own)
        check_rng(rng)
        if kind != "learned":
            return {}
        places = most or own[0]
        if own[0] > places:
            raise ValueError(f"positions: expected at most length={places} places, got {own[0]}; give a larger length")
        return {"w": w_init((places, own[1]), fold(rng, "w"), own[1], own[1])}

    @per_example
    def apply(params: Params, x: Any, rng: Rng | None = None) -> tuple[Any, Vjp]:
        (w,) = read(params) if kind == "learned" else (None,)
        if w is None:
            contract.no_params("positions", params)
        given = leaves_of("positions", x, NAMES)
        values = given["x"]
        checks.float_array("positions", values)
        _check_shape(kind, values.shape[1:])
        if w is not None:
            contract.input_like("positions", values, w.shape[1], w.dtype)
        check_rng(rng)
        places = _places(given.get("cache"), values)
        y = _passed_on(x, _moved(kind, values, places, base) if w is None else _plus_rows(values, w, places))
        like = contract.form(y)

        def vjp_fn(dy: Any, input_grad: bool = True) -> tuple[Params, Any]:
            contract.gradient("positions", dy, like)
            dvalues = leaf_gradient(dy, like)
            grads: Params = {}
            if w is not None:
                grads["w"] = _summed_at(w, places, dvalues)
            if not input_grad:
                return grads, None
            dx = _moved(kind, dvalues, places, base, backward=True) if kind == "rotary" else dvalues
            return grads, input_gradient(x, dy, {"x": dx}, ("x", "cache"))

        return y, vjp_fn

    apply.streams = True  # type: ignore[attr-defined]
    return Layer(probed(init, apply), apply)


@layer
def alibi(heads: Size) -> Layer:
    """Adds ``bias``, -slope_h |place of the query - place of the key|, to the tree of queries and keys of attention.

    The slopes are 2^(-8 h / heads) for h = 1, ..., heads. Where the number of heads is not a power of two, those of the
    next smaller one come first, then every other one of the next larger one, as in the authors' program.

    Args:
        heads: how many there are, ``>= 1``.

    Returns:
        A layer without parameters from a tree with ``q`` and ``k``, (batch, time, heads, width), to the same tree with
        ``bias``, (batch, heads, queries, keys), as ``attention`` takes it.

    Raises:
        ValueError: ``heads`` is not a whole number ``>= 1``; or, from ``init`` and ``apply``, the input has no ``q`` or
            ``k``.

    Example:
        >>> q = np.zeros((1, 2, 1, 4), np.float32)
        >>> alibi(1).apply({}, {"q": q, "k": q, "v": q})[0]["bias"].tolist()
        [[[[-0.0, -0.00390625], [-0.00390625, -0.0]]]]

    Reference:
        Press, Smith & Lewis 2021, "Train short, test long", arXiv 2108.12409, section 3.
    """
    heads = checks.size("alibi", "heads", heads)

    def forward(x: Any) -> tuple[Any, Any]:
        given = leaves_of("alibi", x, ("q", "k", "v", "mask"), ("q", "k"))
        q, k = given["q"], given["k"]
        for name in ("q", "k"):
            check_axes("alibi", given[name], name, "batch, time, heads, width")
        bias = alibi_bias(heads, q.shape[1], k.shape[1], 0, q.dtype)
        y = {**given, "bias": np.broadcast_to(bias, (len(q), *bias.shape[1:]))}
        return y, lambda dy: filled({name: dy[name] for name in given}, given)

    return stateless("alibi", forward, floats=False)


def _check_shape(kind: str, shape: Shape) -> None:
    """Raise if the shape of an example does not fit."""
    axes = "(time, features) or (time, heads, features)" if kind == "rotary" else "(time, features)"
    if isinstance(shape, dict) or len(shape) not in ((2, 3) if kind == "rotary" else (2,)):
        raise ValueError(f"positions: expected an example of shape {axes}, got {shape}")
    if kind == "rotary" and shape[-1] % 2:
        raise ValueError(f"positions: rotary needs an even number of features, got {shape[-1]} in {shape}")


def _places(cache: Any, x: Array) -> Array:
    """(batch or 1, time), where the elements stand."""
    places = np.arange(x.shape[1])[None]
    if not cache and (cache is None or isinstance(cache, dict)):
        return places
    if not isinstance(cache, dict) or cache.keys() != {"time"}:
        raise ValueError(f"positions, input 'cache': expected {{}} or a dict of 'time', got {contract.shape_of(cache)}")
    start = cache["time"]
    if not isinstance(start, np.ndarray) or start.shape != x.shape[:1] or start.dtype.kind not in "iu":
        raise ValueError(
            f"positions, input 'cache/time': expected integers of shape {x.shape[:1]}, got {checks.what(start)}"
        )
    if start.size and start.min() < 0:
        raise ValueError(f"positions, input 'cache/time': expected places >= 0, got {start.min()}")
    return places + start[:, None]


def _passed_on(x: Any, moved: Array) -> Any:
    """The output: in a tree, the next element's place stands in the cache, if there is one."""
    if not isinstance(x, dict):
        return moved
    y = {**x, "x": moved}
    if (cache := x.get("cache")) is not None:
        y["cache"] = {"time": cache.get("time", np.zeros(len(moved), np.int64)) + moved.shape[1]}
    return y


def _plus_rows(x: Array, w: Array, places: Array) -> Array:
    """x with the learned row of each place added."""
    if places.size and (last := int(places.max())) >= len(w):
        raise ValueError(
            f"positions: place {last} is not learned, there are {len(w)}; give a larger length, or shorten the sequence"
        )
    return np.add(x, w[places], out=empty_like(x))


def _moved(kind: str, x: Array, places: Array, base: float, backward: bool = False) -> Array:
    """x with waves added, or rotated; ``backward`` rotates it back."""
    if not places.size:
        return x.copy()
    cos, sin = (table[places] for table in waves(int(places.max()) + 1, x.shape[-1], base))
    if kind == "sinusoidal":
        both = np.stack((sin, cos), -1).reshape(*places.shape, -1)[..., : x.shape[-1]]
        moved: Array = x + both.astype(x.dtype)
        return moved
    cos, sin = (a.astype(x.dtype).reshape(*a.shape[:2], *(1,) * (x.ndim - 3), a.shape[-1]) for a in (cos, sin))
    turned: Array = rotated(x, cos, -sin if backward else sin)
    return turned


def _summed_at(w: Array, places: Array, dy: Array) -> Array:
    """The gradient of learned positions: what comes to each place, summed over the batch."""
    if len(places) > 1:
        return added_rows(dy.reshape(-1, w.shape[1]), places.ravel(), len(w))
    dw: Array = np.zeros(w.shape, dy.dtype)
    dw[: dy.shape[1]] = dy.sum(0)
    return dw
