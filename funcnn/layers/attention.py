"""Attention lets each place of a sequence read from all others, or from those of another sequence, the context.

``attention`` has no parameters; ``multi_head_attention`` learns what is asked (queries), what it is compared with
(keys) and what is read (values), in several heads at once. A cache of keys and values goes in and comes out, so
that a text can be continued without computing its start again.
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
from funcnn.engine import shards
from funcnn.engine.microbatch import added, of_sequences
from funcnn.initializers import InitializerLike, glorot_uniform, zeros
from funcnn.kernels.attention import alibi_bias, allowed_keys, attend, attention_gradients
from funcnn.kernels.rotary import rotated, waves
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
from funcnn.protocol import Layer, Vjp, layer, no_params, per_example
from funcnn.rng import as_key, check_rng, fold
from funcnn.wording import shown

__all__ = ["attention", "multi_head_attention"]

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


class Options(NamedTuple):
    """The options of attention that both layers have."""

    kind: str
    causal: bool
    scale: float | None
    rate: float

    def attend(
        self, q: Array, k: Array, v: Array, mask: Array | None, bias: Array | None, offset: int, rng: Rng | None
    ) -> tuple[Array, Callable[..., tuple[Array, Array, Array, Array | None]]]:
        """``(y, pull)`` of checked arrays (batch, time, heads, width), with ``pull(dy, bias_gradient)``."""
        batch, queries, heads, width = q.shape
        keys = k.shape[1]
        allowed = allowed_keys(mask, self.causal, queries, keys, offset)
        scale = 1 / math.sqrt(width) if self.scale is None else self.scale
        kept = None
        if rng is not None and self.rate:
            kept = shards.uniform(rng, (batch, heads, queries, keys)) >= self.rate
        y, attended = attend(q, k, v, scale, allowed, bias, kept, self.rate)
        return y, lambda dy, bias_gradient=False: attention_gradients(dy, attended, bias_gradient)


def _options(kind: str, causal: bool, scale: float | None, dropout: float) -> Options:
    """The options, checked."""
    own_scale = None if scale is None else checks.number(kind, "scale", scale)
    return Options(kind, checks.flag(kind, "causal", causal), own_scale, checks.drop_rate(kind, dropout, "dropout"))


@layer
def attention(causal: bool = False, scale: float | None = None, dropout: float = 0.0) -> Layer:
    """y_i = sum over j of p_ij v_j, with p_i = softmax over j of scale q_i k_j: scaled dot-product attention.

    In the backward pass, with dp_ij = dy_i v_j and ds_ij = p_ij (dp_ij - dy_i y_i)::

        dv_j = sum of p_ij dy_i     dq_i = scale sum of ds_ij k_j     dk_j = scale sum of ds_ij q_i

    The input is one of three:

    - ``{"q", "k", "v"}``, each (batch, time, heads, width) or (batch, time, width) of one head, with ``mask`` and
      ``bias`` if wanted; k and v may have fewer heads, each for a group of neighbouring heads of q. y is an array.
    - an array x (batch, time, features), which is q, k and v at once. y is an array.
    - ``{"x"}`` with ``context``, ``mask`` and ``context_mask`` if wanted: the context, if it is there, is k and v. y is
      the same tree with ``x`` replaced.

    A mask is boolean, True where there is data: (batch, keys), or (batch, queries, keys) for pairs; ``mask`` is that of
    the keys, or of x as its own context, and ``context_mask`` that of the context. A query that may look at no key
    gives 0. ``bias`` (batch, heads or 1, queries, keys) is added to the scores; ``alibi`` makes one.

    Args:
        causal: whether query i may look at the keys 0 to i only.
        scale: what the products are multiplied by; by default 1 / sqrt(width).
        dropout: the probability of dropping a weight p_ij in training, in [0, 1).

    Returns:
        A layer without parameters; y is like q, with the width of v.

    Raises:
        TypeError: an argument has the wrong type; or, from ``apply``, a mask is not boolean or the dtypes differ.
        ValueError: an argument is out of range; or, from ``apply``, names or shapes do not fit.

    Example:
        >>> x = np.array([[[1.0, 0.0], [0.0, 1.0]]])
        >>> attention(causal=True).apply({}, x)[0].round(2)
        array([[[1.  , 0.  ],
                [0.33, 0.67]]])

    Reference:
        Vaswani et al. 2017, "Attention is all you need", arXiv 1706.03762, equation 1.
    """
    options = _options("attention", causal, scale, dropout)

    @per_example
    def apply(params: Params, x: Any, rng: Rng | None = None) -> tuple[Any, Vjp]:
        contract.no_params("attention", params)
        check_rng(rng)
        arrays, names, mask, bias = _arguments(x)
        q, k, v = (a[:, :, None] if a.ndim == 3 else a for a in arrays)
        out, pull = options.attend(q, k, v, mask, bias, 0, rng)
        out = out.reshape(*arrays[0].shape[:-1], v.shape[-1])
        y = {**x, "x": out} if names[0] == "x" and isinstance(x, dict) else out
        like, has_bias = contract.form(y), bias is not None

        def vjp_fn(dy: Any, input_grad: bool = True) -> tuple[Params, Any]:
            contract.gradient("attention", dy, like)
            if not input_grad:
                return {}, None
            *gradients, dbias = pull(leaf_gradient(dy, like).reshape(*q.shape[:-1], v.shape[-1]), has_bias)
            found: dict[str, Any] = {"bias": dbias}
            for name, array, gradient in zip(names, arrays, gradients, strict=True):
                own = gradient.reshape(array.shape)
                found[name] = found[name] + own if name in found else own
            return {}, input_gradient(x, dy, found)

        return y, vjp_fn

    apply.working_set = of_sequences(_scores)  # type: ignore[attr-defined]
    return Layer(no_params, apply)


def _arguments(x: Any) -> tuple[list[Array], tuple[str, str, str], Array | None, Array | None]:
    """q, k and v, the names of the leaves that they are, the mask and the bias of an input, checked."""
    kind, names = "attention", ("x", "x", "x")
    if isinstance(x, dict) and "x" not in x:
        names = ("q", "k", "v")
        leaves = leaves_of(kind, x, (*names, "mask", "bias"), names)
    else:
        leaves = leaves_of(kind, x, ("x", "context", "mask", "context_mask"))
        if "context" in leaves:
            names = ("x", "context", "context")
    arrays = [leaves[name] for name in names]
    rank = 4 if getattr(arrays[0], "ndim", 3) == 4 else 3
    axes = "batch, time, heads, width" if rank == 4 else "batch, time, features"
    for name, array in zip(names, arrays, strict=True):
        check_axes(kind, array, name if isinstance(x, dict) else "", axes)
        same_batch(kind, arrays[0], name, array)
    q, k, v = arrays
    if k.shape[-1] != q.shape[-1] or k.shape[:-1] != v.shape[:-1] or (rank == 4 and q.shape[2] % max(k.shape[2], 1)):
        shapes = {name: array.shape for name, array in zip(names, arrays, strict=True)}
        raise ValueError(
            f"{kind}: expected keys as wide as queries, a value for each key, and heads of the keys that divide those "
            f"of the queries, got {shapes}"
        )
    mask_name = "context_mask" if names[1] == "context" else "mask"
    mask, bias = leaves.get(mask_name), leaves.get("bias")
    batch, queries, keys = len(q), q.shape[1], k.shape[1]
    if mask is not None:
        key_mask(kind, mask_name, mask, batch, queries, keys)
    if bias is not None:
        check_axes(kind, bias, "bias", "batch, heads, queries, keys")
        same_batch(kind, q, "bias", bias)
        heads = q.shape[2] if rank == 4 else 1
        if bias.shape not in ((batch, heads, queries, keys), (batch, 1, queries, keys)):
            raise ValueError(f"{kind}, input 'bias': expected shape {(batch, heads, queries, keys)}, got {bias.shape}")
    return arrays, names, mask, bias


def _scores(x: Any, heads: int = 1) -> int:
    """The number of scores: the working set of attention."""
    leaves: dict[str, Any] = x if isinstance(x, dict) else {"x": x}
    q: Array = leaves["x"] if "x" in leaves else leaves["q"]
    k: Array = leaves.get("context", leaves.get("k", q))
    return int(q.size // max(q.shape[-1], 1) * k.shape[1] * heads) if q.ndim > 2 and k.ndim > 2 else 0


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
    options = _options(kind, causal, scale, dropout)
    size = _sizes(kind, heads, units, width, key_heads, positions)
    dense(1, bias, None, w_init, b_init)  # raises for what is not an initializer or a bool
    leaf_names = ("w", "b") if bias else ("w",)
    shapes = {f"{name}_w": shape for name, shape in WEIGHTS.items()}
    shapes |= {f"{name}_b": shape[1:] for name, shape in WEIGHTS.items() if bias}
    read = contract.parameters_only(kind, **shapes)

    @cache
    def projections(features: int) -> dict[str, Layer]:
        """The four dense layers for a number of features."""
        return {name: dense(n, bias, None, w_init, b_init) for name, n in size.outputs(kind, features).items()}

    def init(shape: Tree, rng: Rng) -> Params:
        features = _features(kind, example_shape(shape))
        source = _features(kind, shape["context"]) if isinstance(shape, dict) and "context" in shape else features
        layers, key = projections(features), as_key(rng)
        inputs = {"query": features, "key": source, "value": source}
        found = {name: layers[name].init((n,), fold(key, name)) for name, n in inputs.items()}
        found["output"] = layers["output"].init((found["query"]["w"].shape[1],), fold(key, "output"))
        return {f"{name}_{leaf}": array for name, part in found.items() for leaf, array in part.items()}

    @per_example
    def apply(params: Params, x: Any, rng: Rng | None = None) -> tuple[Any, Vjp]:
        read(params)
        leaves = leaves_of(kind, x, NAMES)
        target, source = _sequences(kind, leaves, isinstance(x, dict))
        check_rng(rng)
        layers, pulls = projections(target.shape[-1]), dict[str, Vjp]()

        def project(name: str, values: Array) -> Array:
            own = {leaf: params[f"{name}_{leaf}"] for leaf in leaf_names}
            projected: Array
            projected, pulls[name] = _located(name, layers[name].apply, own, values)
            return projected

        q = _parted(project("query", target), size.heads)
        k, v = (_parted(project(name, source), size.key_heads) for name in ("key", "value"))
        past = _past(kind, leaves, k)
        offset = 0 if past is None else past["k"].shape[1]
        angles = _angles(offset, q, k) if positions == "rotary" else None
        if angles is not None:
            q, k = (rotated(a, cos, sin) for a, (cos, sin) in zip((q, k), angles, strict=True))
        if past is not None:
            k, v = np.concatenate((past["k"], k), 1), np.concatenate((past["v"], v), 1)
        mask = _mask(kind, leaves, q, k)
        slopes = alibi_bias(size.heads, q.shape[1], k.shape[1], offset, q.dtype) if positions == "alibi" else None
        z, pull = options.attend(q, k, v, mask, slopes, offset, rng)
        out = project("output", _joined(z))
        y: Any = out
        if isinstance(x, dict):
            y = {**x, "x": out} | ({} if past is None else {"cache": {"k": k, "v": v}})
        like = contract.form(y)

        def vjp_fn(dy: Any, input_grad: bool = True) -> tuple[Params, Any]:
            contract.gradient(kind, dy, like)
            grads, found = dict[str, Params](), dict[str, Any]()
            grads["output"], dz = pulls["output"](leaf_gradient(dy, like))
            dq, dk, dv, _ = pull(_parted(dz, size.heads))
            if past is not None:
                # What came out of the cache is used by later parts too, and its start came from earlier ones.
                later = dy["cache"] or {}
                dk, dv = (added([a, later.get(name)]) for name, a in (("k", dk), ("v", dv)))
                found["cache"] = {"k": dk[:, :offset], "v": dv[:, :offset]} if leaves["cache"] else {}
                dk, dv = dk[:, offset:], dv[:, offset:]
            if angles is not None:  # a rotation's adjoint rotates back
                dq, dk = (rotated(a, cos, -sin) for a, (cos, sin) in zip((dq, dk), angles, strict=True))
            for name, gradient in (("query", dq), ("key", dk), ("value", dv)):
                grads[name], dvalues = pulls[name](_joined(gradient), input_grad)
                leaf = "context" if "context" in leaves and name != "query" else "x"
                found[leaf] = added([found.get(leaf), dvalues])
            flat = {name: grads[name[:-2]][name[-1]] for name in params}
            return flat, input_gradient(x, dy, found, ("x", "cache")) if input_grad else None

        return y, vjp_fn

    apply.working_set = of_sequences(lambda x: _scores(x, size.heads))  # type: ignore[attr-defined]
    # Without ``causal`` what comes later changes all outputs, so a cache of the past is not enough.
    apply.streams, apply.per_query = options.causal, not options.causal  # type: ignore[attr-defined]
    return Layer(init, apply, multiply_adds=_products)


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
    if positions is not None and positions not in ("rotary", "alibi"):
        raise ValueError(f"{kind}: positions must be 'rotary', 'alibi' or None, got {shown(positions)}")
    width = None if width is None else checks.size(kind, "width", width)
    units = None if units is None else checks.size(kind, "units", units)
    found = Sizes(heads, key_heads, units, width, positions == "rotary")
    if width is not None:
        found.outputs(kind, heads)  # raises for an odd width
    return found


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
    ends = (offset + q.shape[1], offset + k.shape[1])
    return [tuple(table[offset:end, None].astype(q.dtype) for table in tables) for end in ends]  # type: ignore[misc]


def _products(params: Params, x: Any, y: Any) -> int:
    """Multiply-adds of the four layers, of the scores and of the mean of the values."""
    leaves: dict[str, Any] = x if isinstance(x, dict) else {"x": x}
    target: Array = leaves["x"]
    source: Array = leaves.get("context", target)
    rows = {name: (target if name in ("query", "output") else source) for name in WEIGHTS}
    dense_products = sum(math.prod(rows[name].shape[:2]) * params[f"{name}_w"].size for name in WEIGHTS)
    scores = math.prod(target.shape[:2]) * source.shape[1] * params["query_w"].shape[1]
    return int(dense_products + 2 * scores)
