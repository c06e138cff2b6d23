"""Attention of several learned heads: dense layers make queries, keys and values, and one more joins what is read.

A cache of keys and values goes in and comes out, so that a text can be continued without computing its start again.
"""

# A vjp_fn is defined at each call of apply; like this its annotations cost nothing there.
from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from funcnn import checks, contract
from funcnn.aliases import Array, Params, Rng, Size, Tree
from funcnn.engine.examples import added
from funcnn.engine.microbatch import of_sequences
from funcnn.initializers import InitializerLike, glorot_uniform, zeros
from funcnn.kernels.attention import alibi_bias
from funcnn.kernels.rotary import rotated, waves
from funcnn.layers.attention import Options, as_options, scores
from funcnn.layers.dense import dense
from funcnn.layers.trees import (
    check_axes,
    example_shape,
    input_gradient,
    key_mask,
    leaf_gradient,
    leaves_of,
    same_batch,
)  # fmt: skip
from funcnn.protocol import Layer, Vjp, layer, per_example, probed
from funcnn.rng import as_key, check_rng, fold
from funcnn.wording import shown

__all__ = ["multi_head_attention"]

Positions: TypeAlias = Literal["rotary", "alibi"]
NAMES = ("x", "context", "mask", "context_mask", "cache")
WEIGHTS: dict[str, tuple[str, ...]] = {
    "query": ("features", "heads * width"),
    "key": ("context features", "key_heads * width"),
    "value": ("context features", "key_heads * width"),
    "output": ("heads * width", "units"),
}
"""The shapes of the weights of the four dense layers."""
ROTARY_BASE = 10000.0


@layer
def multi_head_attention(
    heads: Size,
    units: Size | None = None,
    width: Size | None = None,
    key_heads: Size | None = None,
    causal: bool = False,
    bias: bool = True,
    dropout: float = 0.0,
    scale: float | None = None,
    positions: Positions | None = None,
    w_init: InitializerLike = glorot_uniform,
    b_init: InitializerLike = zeros,
) -> Layer:
    """y = attention(x query, c key, c value) output: attention of several learned heads, c the context or x itself.

    The four are dense layers with the parameters ``query_w``, ``query_b``, ``key_w`` and so on. ``query_w`` is
    (features, heads * width), head after head, ``key_w`` and ``value_w`` are (context features, key_heads * width), and
    ``output_w`` is (heads * width, units). PyTorch's ``in_proj_weight`` is the three first ones, transposed, one below
    the other, and its ``out_proj.weight`` is ``output_w`` transposed.

    The input is an array x (batch, time, features), or a tree ``{"x", "context", "mask", "context_mask", "cache"}`` of
    which all but x are optional; the output is an array, or the tree with ``x`` and ``cache`` replaced. Masks are
    boolean, True where there is data, (batch, keys) or (batch, queries, keys): ``mask`` is that of x as its own
    context, ``context_mask`` that of the context. A ``cache`` is ``{}`` at the start, and then ``{"k", "v"}`` of shape
    (batch, earlier time, key_heads, width), keys and values of what came before x; a mask counts them too.

    Args:
        heads: how many there are, ``>= 1``.
        units: the number of output features; by default those of x.
        width: the features of a head; by default the features of x divided by the heads, which must divide them.
        key_heads: the heads of keys and values, which divide ``heads``; 1 is multi-query attention; all by default.
        causal: whether an element may look at itself and at what came before only.
        bias: whether the four layers have a ``b``.
        dropout: the probability of dropping a weight in training, in [0, 1).
        scale: what the products are multiplied by; by default 1 / sqrt(width).
        positions: ``"rotary"`` rotates queries and keys by their places, see ``positions``; ``"alibi"`` lowers the
            scores of what is far away, see ``alibi``; None for neither.
        w_init: the initializer of each ``w``.
        b_init: the initializer of each ``b``.

    Returns:
        A layer from (batch, time, features) to (batch, time, units), or between trees.

    Raises:
        TypeError: an argument has the wrong type; or, from ``apply``, a mask is not boolean or the dtypes differ.
        ValueError: an argument is out of range; or, from ``init`` and ``apply``, the heads do not divide the features,
            or names or shapes do not fit.

    Example:
        >>> model = multi_head_attention(2, causal=True)
        >>> params = model.init((5, 8), rng=0)
        >>> x = np.random.default_rng(0).standard_normal((1, 5, 8), np.float32)
        >>> y, _ = model.apply(params, x)
        >>> start, _ = model.apply(params, {"x": x[:, :3], "cache": {}})
        >>> end, _ = model.apply(params, {"x": x[:, 3:], "cache": start["cache"]})
        >>> bool(np.allclose(end["x"], y[:, 3:], atol=1e-6))
        True

    Reference:
        Vaswani et al. 2017, "Attention is all you need", arXiv 1706.03762, section 3.2.2; Ainslie et al. 2023, "GQA",
        arXiv 2305.13245.
    """
    kind = "multi_head_attention"
    options = as_options(kind, causal, scale, dropout)
    size = _sizes(kind, heads, units, width, key_heads, positions)
    layers = _projections(kind, size, bias, w_init, b_init)

    def init(shape: Tree, rng: Rng) -> Params:
        features = _features(kind, example_shape(shape))
        source = _features(kind, shape["context"]) if isinstance(shape, dict) and "context" in shape else features
        return layers.init(features, source, rng)

    @per_example
    def apply(params: Params, x: Any, rng: Rng | None = None) -> tuple[Any, Vjp]:
        layers.read(params)
        leaves = leaves_of(kind, x, NAMES)
        target, source = _sequences(kind, leaves, isinstance(x, dict))
        check_rng(rng)
        project, pulls = layers.start(params, target.shape[-1])
        q = _parted(project("query", target), size.heads)
        k, v = (_parted(project(name, source), size.key_heads) for name in ("key", "value"))
        z, new, pull = _attended(options, positions, leaves, q, k, v, rng)
        out = project("output", _joined(z))
        y: Any = out
        if isinstance(x, dict):
            y = {**x, "x": out} | ({} if new is None else {"cache": new})
        like = contract.form(y)

        def vjp_fn(dy: Any, input_grad: bool = True) -> tuple[Params, Any]:
            contract.gradient(kind, dy, like)
            grads, found = dict[str, Params](), dict[str, Any]()
            grads["output"], dz = pulls["output"](leaf_gradient(dy, like))
            dq, dk, dv, found["cache"] = pull(_parted(dz, size.heads), None if new is None else dy["cache"])
            for name, gradient in (("query", dq), ("key", dk), ("value", dv)):
                grads[name], dvalues = pulls[name](_joined(gradient), input_grad)
                leaf = "context" if "context" in leaves and name != "query" else "x"
                found[leaf] = added([found.get(leaf), dvalues])
            flat = {name: grads[name[:-2]][name[-1]] for name in params}
            return flat, input_gradient(x, dy, found, ("x", "cache")) if input_grad else None

        return y, vjp_fn

    apply.working_set = of_sequences(lambda x: scores(x, size.heads))  # type: ignore[attr-defined]
    # Without ``causal`` what comes later changes all outputs, so a cache of the past is not enough.
    apply.streams, apply.per_query = options.causal, not options.causal  # type: ignore[attr-defined]
    return Layer(probed(init, apply), apply, multiply_adds=_products)


class Sizes(NamedTuple):
    """The sizes of the heads; those that are None follow from the number of features."""

    heads: int
    key_heads: int
    units: int | None
    width: int | None
    even: bool

    def outputs(self, kind: str, features: int) -> dict[str, int]:
        """The units of the four dense layers for a number of features."""
        if self.width is None and features % self.heads:
            raise ValueError(f"{kind}: heads must divide the features, got {self.heads} heads for {features} features")
        width = self.width or features // self.heads
        if self.even and width % 2:
            raise ValueError(f"{kind}: rotary positions need heads of even width, got {width}")
        of_keys = self.key_heads * width
        return {"query": self.heads * width, "key": of_keys, "value": of_keys, "output": self.units or features}


def _sizes(kind: str, heads: Size, units: Any, width: Any, key_heads: Any, positions: Any) -> Sizes:
    """The sizes of the heads, checked."""
    heads = checks.size(kind, "heads", heads)
    key_heads = heads if key_heads is None else checks.size(kind, "key_heads", key_heads)
    if heads % key_heads:
        raise ValueError(f"{kind}: key_heads must divide heads, got {key_heads} key heads for {heads} heads")
    if positions is not None and (not isinstance(positions, str) or positions not in ("rotary", "alibi")):
        raise ValueError(f"{kind}: positions must be 'rotary', 'alibi' or None, got {shown(positions)}")
    width = None if width is None else checks.size(kind, "width", width)
    units = None if units is None else checks.size(kind, "units", units)
    found = Sizes(heads, key_heads, units, width, positions == "rotary")
    if width is not None:
        found.outputs(kind, heads)  # raises for an odd width
    return found


class Projections(NamedTuple):
    """The four dense layers: what reads their parameters, makes them, and starts them for one call.

    Args:
        read: ``read(params)`` raises unless the parameters are theirs.
        init: ``init(features, context features, rng) -> params``.
        start: ``start(params, features) -> (project, pulls)``; ``project(name, values)`` applies one of them and keeps
            its vjp in ``pulls``.
    """

    read: Callable[[Params], Any]
    init: Callable[[int, int, Rng], Params]
    start: Callable[[Params, int], tuple[Callable[[str, Array], Array], dict[str, Vjp]]]


def _projections(kind: str, size: Sizes, bias: bool, w_init: InitializerLike, b_init: InitializerLike) -> Projections:
    """The four dense layers, for any number of features."""
    dense(1, bias, None, w_init, b_init)  # raises for what is not an initializer or a bool
    leaf_names = ("w", "b") if bias else ("w",)
    shapes = {f"{name}_w": shape for name, shape in WEIGHTS.items()}
    shapes |= {f"{name}_b": shape[1:] for name, shape in WEIGHTS.items() if bias}

    @cache
    def of(features: int) -> dict[str, Layer]:
        return {name: dense(n, bias, None, w_init, b_init) for name, n in size.outputs(kind, features).items()}

    def init(features: int, source: int, rng: Rng) -> Params:
        layers, key = of(features), as_key(rng)
        inputs = {"query": features, "key": source, "value": source}
        found = {name: layers[name].init((n,), fold(key, name)) for name, n in inputs.items()}
        found["output"] = layers["output"].init((found["query"]["w"].shape[1],), fold(key, "output"))
        return {f"{name}_{leaf}": array for name, part in found.items() for leaf, array in part.items()}

    def start(params: Params, features: int) -> tuple[Callable[[str, Array], Array], dict[str, Vjp]]:
        layers, pulls = of(features), dict[str, Vjp]()

        def project(name: str, values: Array) -> Array:
            own = {leaf: params[f"{name}_{leaf}"] for leaf in leaf_names}
            projected: Array
            projected, pulls[name] = _located(name, layers[name].apply, own, values)
            return projected

        return project, pulls

    return Projections(contract.parameters_only(kind, **shapes), init, start)


def _attended(
    options: Options, positions: Positions | None, leaves: dict[str, Any], q: Array, k: Array, v: Array,
    rng: Rng | None,
) -> tuple[Array, Any, Callable[[Array, Any], tuple[Array, Array, Array, Any]]]:  # fmt: skip
    """What queries read from keys and values and from those of the cache: ``(z, new cache, pull)``.

    ``pull(dz, dcache)`` returns the gradients of q, k, v and of the cache.
    """
    heads, past = q.shape[2], _past(options.kind, leaves, k)
    offset = 0 if past is None else past["k"].shape[1]
    angles = _angles(offset, q, k) if positions == "rotary" else None
    if angles is not None:
        q, k = (rotated(a, cos, sin) for a, (cos, sin) in zip((q, k), angles, strict=True))
    if past is not None:
        k, v = np.concatenate((past["k"], k), 1), np.concatenate((past["v"], v), 1)
    mask = _mask(options.kind, leaves, q, k)
    slopes = alibi_bias(heads, q.shape[1], k.shape[1], offset, q.dtype) if positions == "alibi" else None
    z, pull = options.attend(q, k, v, mask, slopes, offset, rng)

    def pulled(dz: Array, dcache: Any) -> tuple[Array, Array, Array, Any]:
        dq, dk, dv, _ = pull(dz)
        dpast = None
        if past is not None:
            # What came out of the cache is used by later parts too, and its start came from earlier ones.
            later = dcache or {}
            dk, dv = (added([a, later.get(name)]) for name, a in (("k", dk), ("v", dv)))
            dpast = {"k": dk[:, :offset], "v": dv[:, :offset]} if leaves["cache"] else {}
            dk, dv = dk[:, offset:], dv[:, offset:]
        if angles is not None:  # a rotation's adjoint rotates back
            dq, dk = (rotated(a, cos, -sin) for a, (cos, sin) in zip((dq, dk), angles, strict=True))
        return dq, dk, dv, dpast

    return z, None if past is None else {"k": k, "v": v}, pulled


def _parted(z: Array, heads: int) -> Array:
    """(batch, time, heads * width) as (batch, time, heads, width)."""
    found: Array = z.reshape(*z.shape[:2], heads, z.shape[2] // heads)
    return found


def _joined(z: Array) -> Array:
    """(batch, time, heads, width) as (batch, time, heads * width)."""
    found: Array = z.reshape(*z.shape[:2], z.shape[2] * z.shape[3])
    return found


def _sequences(kind: str, leaves: dict[str, Any], named: bool) -> tuple[Array, Array]:
    """x and its context, which may be x itself, checked."""
    target = leaves["x"]
    check_axes(kind, target, "x" if named else "")
    if "context" not in leaves:
        return target, target
    check_axes(kind, leaves["context"], "context")
    same_batch(kind, target, "context", leaves["context"])
    return target, leaves["context"]


def _mask(kind: str, leaves: dict[str, Any], q: Array, k: Array) -> Array | None:
    """The mask of the keys, checked; None if there is none."""
    name = "context_mask" if "context" in leaves else "mask"
    mask: Array | None = leaves.get(name)
    if mask is not None:
        key_mask(kind, name, mask, len(q), q.shape[1], k.shape[1])
    return mask


def _features(kind: str, shape: Any) -> int:
    """The features of an example (time, features)."""
    features = checks.channels(kind, shape, "features")
    if len(shape) != 2:
        raise ValueError(f"{kind}: expected an example of shape (time, features), got {shape}")
    return features


def _located(name: str, apply: Callable[..., Any], params: Params, x: Array) -> Any:
    """What ``apply`` returns; its errors carry the name of the inner layer."""
    try:
        return apply(params, x)
    except Exception as error:
        contract.add_path(error, name, x)
        raise


def _past(kind: str, leaves: dict[str, Any], k: Array) -> dict[str, Array] | None:
    """The keys and values that came before, none at the start; None if there is no cache."""
    if "cache" not in leaves:
        return None
    cache = leaves["cache"]
    if "context" in leaves:
        raise ValueError(f"{kind}: a cache holds what came before x, so it cannot stand beside a context")
    if not isinstance(cache, dict) or (cache and cache.keys() != {"k", "v"}):
        raise ValueError(
            f"{kind}, input 'cache': expected {{}} or a dict of 'k' and 'v', got {contract.shape_of(cache)}"
        )
    batch, _, heads, width = k.shape
    if not cache:
        empty = np.empty((batch, 0, heads, width), k.dtype)
        return {"k": empty, "v": empty}
    time = cache["k"].shape[1] if np.ndim(cache["k"]) == 4 else "time"
    for name, leaf in cache.items():
        checks.float_array(f"{kind}, input 'cache/{name}'", leaf)
        if leaf.shape != (batch, time, heads, width):
            raise ValueError(
                f"{kind}, input 'cache/{name}': expected shape {(batch, time, heads, width)}, got {leaf.shape}; "
                "a cache is what the same layer returned for the same examples"
            )
        same_batch(kind, k, f"cache/{name}", leaf)
    return cache


def _angles(offset: int, q: Array, k: Array) -> list[tuple[Array, Array]]:
    """cos and sin for the places of queries and of keys."""
    tables = waves(offset + max(q.shape[1], k.shape[1]), q.shape[-1], ROTARY_BASE)
    cos, sin = (table[offset:, None].astype(q.dtype) for table in tables)
    return [(cos[:steps], sin[:steps]) for steps in (q.shape[1], k.shape[1])]


def _products(params: Params, x: Any, y: Any) -> int:
    """Multiply-adds of the four layers, of the scores and of the mean of the values."""
    leaves: dict[str, Any] = x if isinstance(x, dict) else {"x": x}
    target: Array = leaves["x"]
    source: Array = leaves.get("context", target)
    rows = {name: (target if name in ("query", "output") else source) for name in WEIGHTS}
    dense_products = sum(math.prod(rows[name].shape[:2]) * params[f"{name}_w"].size for name in WEIGHTS)
    scores = math.prod(target.shape[:2]) * source.shape[1] * params["query_w"].shape[1]
    return int(dense_products + 2 * scores)
