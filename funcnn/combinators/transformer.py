"""A transformer layer is two or three sublayers: attention and a feed-forward network, each around a skip connection.

Sublayers pass trees on, so that ``serial`` chains them with their masks, contexts and caches; ``cached`` chains whole
layers, each with a cache of its own.
"""

# Annotations cost nothing where functions are defined at each call.
from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from funcnn import checks
from funcnn.aliases import Key, Params, Rng, Size, Tree
from funcnn.combinators.chains import serial
from funcnn.contract import form
from funcnn.engine.children import Children, check_children, name_children, probing
from funcnn.engine.examples import added
from funcnn.engine.microbatch import Backward, Coroutine, microbatched
from funcnn.layers.activation import Activation
from funcnn.layers.dense import dense
from funcnn.layers.dropout import dropout as dropout_layer
from funcnn.layers.multi_head_attention import NAMES, Positions, multi_head_attention
from funcnn.layers.norm import layer_norm
from funcnn.layers.sequences import value_of
from funcnn.layers.trees import check_axes, input_gradient, leaf_gradient, leaves_of
from funcnn.protocol import Layer, LayerLike, as_layer, declared, is_per_position, layer, named
from funcnn.rng import as_key, fold
from funcnn.shapes import probe
from funcnn.wording import shown

__all__ = ["sublayer", "transformer_decoder_layer", "transformer_encoder_layer"]


@layer
def sublayer(
    norm: LayerLike,
    layer: LayerLike,
    dropout: LayerLike | None = None,
    norm_first: bool = True,
    inputs: Collection[str] = (),
) -> Layer:
    """y = x + dropout(layer(norm(x))), or y = norm(x + dropout(layer(x))): a layer with a skip connection and a norm.

    The input is an array, or a tree of which ``x`` is replaced, and all else passes. The layer gets x, together with
    those of the leaves ``inputs`` that are in the tree; if it returns a ``cache``, that replaces the one of the tree.

    Args:
        norm: a layer that keeps the shape, such as ``layer_norm()``.
        layer: a layer that keeps the shape of x.
        dropout: a layer without parameters that keeps the shape; None for none.
        norm_first: whether the norm stands before the layer, or after the sum, as it did at first.
        inputs: what the layer gets beside x, of ``mask``, ``context``, ``context_mask`` and ``cache``; a context
            is required then.

    Returns:
        A layer between arrays, or between trees. The children are called by kind and count.

    Raises:
        TypeError: an argument is not a layer.
        ValueError: ``inputs`` has an unknown name; or, from ``apply``, the layer changes the shape, or there is no
            context.

    Example:
        >>> import funcnn as fn, numpy as np
        >>> block = fn.sublayer(fn.layer_norm(), fn.multi_head_attention(2), inputs=["mask"])
        >>> x = {"x": np.ones((1, 3, 4), np.float32), "mask": np.ones((1, 3), bool)}
        >>> y, _ = block.apply(block.init(fn.specs(x), rng=0), x)
        >>> sorted(y)
        ['mask', 'x']

    Reference:
        Xiong et al. 2020, "On layer normalization in the transformer architecture", arXiv 2002.04745, table 1.
    """
    norm_first = checks.flag("sublayer", "norm_first", norm_first)
    if isinstance(inputs, str) or not set(inputs) <= set(NAMES[1:]):
        raise ValueError(f"sublayer: inputs: expected some of {[*NAMES[1:]]}, got {shown(inputs)}")
    children = name_children([norm, layer] if dropout is None else [norm, layer, dropout])
    names = [*children]
    first, own, branch = names[0], names[1], names if norm_first else names[1:]
    inside = Children(children)
    required = ("x", "context") if "context" in inputs else ("x",)

    def init(shape: Any, rng: Rng) -> Params:
        leaves, key = leaves_of("sublayer", shape, NAMES, required), as_key(rng)
        shapes = [leaves["x"], _wanted(shape, leaves["x"], inputs), leaves["x"]]
        made = {}
        for name, part in zip(names, shapes, strict=False):
            if params := children[name].init(part, fold(key, name)):
                made[name] = params
        with probing():
            apply(made, probe(shape), key)
        return made

    def forward(params: Params, x: Any, key: Key | None, keep: bool) -> Coroutine[tuple[Any, Backward]]:
        check_children(params, children)
        h = leaves_of("sublayer", x, NAMES, required)["x"]
        check_axes("sublayer", h, "x" if isinstance(x, dict) else "", axes="batch, time, features")

        def run(name: str, z: Any) -> Coroutine[tuple[Any, Any]]:
            return inside.forward(name, params, z, key, keep)

        z, out, pull = yield from _branch(run, branch, own, x, h, inputs)
        if z.shape != h.shape:
            raise ValueError(f"sublayer: the layer must keep the shape {h.shape}, which is added, got {z.shape}")
        total = added([h, z])
        z, pull_norm = (total, None) if norm_first else (yield from run(first, total))
        replaced = {"x": z} | ({"cache": out["cache"]} if isinstance(out, dict) and "cache" in out else {})
        y: Any = {**x, **replaced} if isinstance(x, dict) else z
        like = form(y)

        def backward(dy: Any, input_grad: bool) -> Coroutine[tuple[Params, Any]]:
            grads: Params = {}
            dz = leaf_gradient(dy, like)
            if pull_norm is not None:
                grads[first], dz = yield from pull_norm(dz, True)
            of_branch, found = yield from pull(dz, dy.get("cache") if "cache" in replaced else None, input_grad)
            grads |= of_branch
            grads = {name: grads[name] for name in params if name in grads}
            if not input_grad:
                return grads, None
            return grads, input_gradient(x, dy, {**found, "x": added([dz, found["x"]])}, replaced)

        return y, backward

    working_set = declared(children[own].apply, "working_set")
    apply = microbatched(forward, "sublayer", working_set, short_products=True)
    # A cache goes to the layer, or passes if that needs none: with a context, a query reads no other query.
    inner, others = children[own], [child for name, child in children.items() if name != own]
    continues = "cache" in inputs and declared(inner.apply, "streams")
    crosses = "context" in inputs and declared(inner.apply, "per_query")
    streams = bool(continues or crosses or is_per_position(inner)) and all(map(is_per_position, others))
    apply.streams, apply.per_position = streams, all(map(is_per_position, children.values()))  # type: ignore[attr-defined]
    return Layer(init, apply, children=children)


def _wanted(x: Tree, h: Any, inputs: Collection[str]) -> Tree:
    """The input of the layer: h, and what it gets beside."""
    own = {name: x[name] for name in x if name in inputs} if isinstance(x, dict) else {}
    return {"x": h, **own} if own else h


def _branch(
    run: Callable[[str, Any], Coroutine[tuple[Any, Any]]], names: Sequence[str], own: str, x: Any, h: Any,
    inputs: Collection[str],
) -> Coroutine[tuple[Any, Any, Callable[..., Coroutine[tuple[Params, dict[str, Any]]]]]]:  # fmt: skip
    """h through the children, of which ``own`` gets more of x: ``(z, its output, pull)``.

    ``pull(dz, dcache, input_grad)`` returns the gradients by child, and those of the leaves of x.
    """
    z, out, backs = h, None, {}
    for name in names:
        z, backs[name] = yield from run(name, _wanted(x, z, inputs) if name == own else z)
        if name == own:
            out, z = z, value_of(z)

    def pull(dz: Any, dcache: Any, input_grad: bool) -> Coroutine[tuple[Params, dict[str, Any]]]:
        grads, found, through = dict[str, Params](), dict[str, Any](), dz
        for name in reversed(names):
            if name == own and isinstance(out, dict):
                through = dict.fromkeys(sorted(out)) | {"x": through} | ({"cache": dcache} if "cache" in out else {})
            grads[name], through = yield from backs[name](through, input_grad or name != names[0])
            if name == own:
                found, through = through if isinstance(through, dict) else {}, value_of(through)
        return grads, {**found, "x": through}

    return z, out, pull


@layer
def transformer_encoder_layer(
    units: Size,
    heads: Size,
    hidden: Size | None = None,
    dropout: float = 0.0,
    activation: Activation = "relu",
    norm_first: bool = True,
    causal: bool = False,
    feed_forward: LayerLike | None = None,
    norm: LayerLike | None = None,
    key_heads: Size | None = None,
    bias: bool = True,
    positions: Positions | None = None,
) -> Layer:
    """Self-attention and a feed-forward network, each a ``sublayer``: z = x + attention(norm(x)), y = z + f(norm(z)).

    It is ``serial`` of two sublayers called ``attention`` and ``feed_forward``. The input is an array (batch, time,
    units), or a tree ``{"x", "mask", "cache"}`` as ``multi_head_attention`` takes it; the output is like the input,
    with ``x`` and ``cache`` replaced. With ``causal`` a stack of them is a language model such as GPT.

    Args:
        units: the features of x.
        heads: how many heads the attention has; they divide ``units``.
        hidden: the units of the hidden layer of f; by default 4 * units.
        dropout: the probability of dropping a weight of the attention, a hidden unit, and a unit of what is added.
        activation: that of the hidden layer.
        norm_first: whether the norms stand before the layers, or after the sums, which is the default of PyTorch.
        causal: whether an element may look at itself and at what came before only.
        feed_forward: f, any layer that keeps the shape; by default two dense layers.
        norm: the layer in place of ``layer_norm()``, with parameters of its own in each sublayer.
        key_heads: see ``multi_head_attention``.
        bias: whether the dense layers inside have a ``b``.
        positions: see ``multi_head_attention``.

    Returns:
        A layer.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of range, or the heads do not divide the units; or as the layers inside.

    Example:
        >>> import funcnn as fn, numpy as np
        >>> block = fn.transformer_encoder_layer(8, 2, causal=True)
        >>> y, _ = block.apply(block.init((5, 8), rng=0), np.ones((3, 5, 8), np.float32))
        >>> y.shape
        (3, 5, 8)

    Reference:
        Vaswani et al. 2017, "Attention is all you need", arXiv 1706.03762, section 3.1.
    """
    kind = "transformer_encoder_layer"
    attend = _attention(kind, units, heads, key_heads, causal, bias, dropout, positions)
    f = _feed_forward(kind, units, hidden, dropout, activation, bias) if feed_forward is None else feed_forward
    inputs = {"attention": (attend, ("mask", "cache")), "feed_forward": (f, ())}
    return _chain_of_sublayers(inputs, norm, dropout, norm_first)


@layer
def transformer_decoder_layer(
    units: Size,
    heads: Size,
    hidden: Size | None = None,
    dropout: float = 0.0,
    activation: Activation = "relu",
    norm_first: bool = True,
    causal: bool = True,
    feed_forward: LayerLike | None = None,
    norm: LayerLike | None = None,
    key_heads: Size | None = None,
    bias: bool = True,
    positions: Positions | None = None,
) -> Layer:
    """Self-attention, attention to a context and a feed-forward network, each a ``sublayer``.

    It is ``serial`` of three sublayers called ``attention``, ``cross`` and ``feed_forward``. The input is a
    tree ``{"x", "context", "mask", "context_mask", "cache"}`` of which x and the context must be there; the output is
    the same tree with ``x`` and ``cache`` replaced. The cache is that of the self-attention.

    Args:
        units: the features of x.
        heads: how many heads each attention has; they divide ``units``.
        hidden: the units of the hidden layer of f; by default 4 * units.
        dropout: the probability of dropping a weight of an attention, a hidden unit, and a unit of what is added.
        activation: that of the hidden layer.
        norm_first: whether the norms stand before the layers, or after the sums, which is the default of PyTorch.
        causal: whether an element may look at itself and at what came before only, in the self-attention.
        feed_forward: f, any layer that keeps the shape; by default two dense layers.
        norm: the layer in place of ``layer_norm()``, with parameters of its own in each sublayer.
        key_heads: see ``multi_head_attention``.
        bias: whether the dense layers inside have a ``b``.
        positions: see ``multi_head_attention``; for the self-attention.

    Returns:
        A layer between trees.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of range, or the heads do not divide the units; or, from ``init`` and ``apply``,
            there is no context; or as the layers inside.

    Example:
        >>> import funcnn as fn, numpy as np
        >>> block = fn.transformer_decoder_layer(8, 2)
        >>> x = {"x": np.ones((3, 5, 8), np.float32), "context": np.ones((3, 7, 8), np.float32)}
        >>> y, _ = block.apply(block.init(fn.specs(x), rng=0), x)
        >>> y["x"].shape
        (3, 5, 8)

    Reference:
        Vaswani et al. 2017, "Attention is all you need", arXiv 1706.03762, section 3.1.
    """
    kind = "transformer_decoder_layer"
    attend = _attention(kind, units, heads, key_heads, causal, bias, dropout, positions)
    cross = _attention(kind, units, heads, key_heads, False, bias, dropout, None)
    f = _feed_forward(kind, units, hidden, dropout, activation, bias) if feed_forward is None else feed_forward
    inputs = {
        "attention": (attend, ("mask", "cache")),
        "cross": (cross, ("context", "context_mask")),
        "feed_forward": (f, ()),
    }
    return _chain_of_sublayers(inputs, norm, dropout, norm_first)


def _attention(
    kind: str, units: Size, heads: Size, key_heads: Size | None, causal: bool, bias: bool, dropout: float,
    positions: Positions | None,
) -> Layer:  # fmt: skip
    """Attention of which the heads divide the units."""
    units, heads = checks.size(kind, "units", units), checks.size(kind, "heads", heads)
    if units % heads:
        raise ValueError(f"{kind}: heads must divide units, got {heads} heads for {units} units")
    made = multi_head_attention(
        heads, units, units // heads, key_heads, causal=causal, bias=bias, dropout=dropout, positions=positions
    )
    return named("heads", made)


def _feed_forward(
    kind: str, units: Size, hidden: Size | None, dropout: float, activation: Activation, bias: bool
) -> Layer:
    """Two dense layers, with dropout between."""
    between = [dropout_layer(dropout)] if dropout else []
    hidden = 4 * units if hidden is None else checks.size(kind, "hidden", hidden)
    return serial(dense(hidden, bias, activation), *between, dense(units, bias))


def _chain_of_sublayers(
    inputs: Mapping[str, tuple[LayerLike, Collection[str]]], norm: LayerLike | None, dropout: float, norm_first: bool
) -> Layer:
    """A chain of sublayers, by name the layer and what it gets beside x; it tells ``cached`` that it takes a cache."""
    own, drop = as_layer(layer_norm() if norm is None else norm), dropout_layer(dropout) if dropout else None
    found = serial(*(named(name, sublayer(own, made, drop, norm_first, also)) for name, (made, also) in inputs.items()))
    found.apply.streams = all(declared(child.apply, "streams") for child in found.children.values())  # type: ignore[attr-defined]
    return found
