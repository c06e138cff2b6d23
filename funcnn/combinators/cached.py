"""A chain whose layers each keep a cache, so that a model continues a sequence from where it stopped.

``serial`` would pass one cache through all layers; here each layer has its own, under its name.
"""

# Annotations cost nothing where functions are defined at each call.
from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from funcnn.aliases import Key, Params
from funcnn.combinators.chains import serial
from funcnn.contract import form, shape_of
from funcnn.engine.children import Children, check_children, name_children, probing
from funcnn.engine.microbatch import Backward, Coroutine, as_coroutine, microbatched
from funcnn.layers.trees import input_gradient, leaf_gradient
from funcnn.protocol import Layer, LayerLike, declared, is_per_position, layer
from funcnn.rng import as_key
from funcnn.shapes import checked, probe

__all__ = ["cached"]


@layer
def cached(*layers: LayerLike) -> Layer:
    """``serial`` for an array; for a tree ``{"x", "cache"}`` the layers continue where the cache was left.

    Layers that take a cache, such as ``positions``, ``multi_head_attention`` and ``transformer_encoder_layer``, get the
    tree with their own part of it, ``cache[name]``; all others get x. The output is the tree with ``x`` and ``cache``
    replaced. At the start the cache is ``{}``. A tree raises unless each layer takes a cache or computes each position
    by itself, as ``dense``, ``layer_norm`` and a convolution of one step do: for a recurrent layer, a convolution or a
    pooling over time, attention without ``causal``, a ``serial``, ``repeat`` or ``residual`` of attention, and a layer
    of your own that is not declared ``@fn.layer(per_position=True)``. ``generate`` then computes the whole text at each
    step.

    Args:
        *layers: layers or pairs, as for ``serial``.

    Returns:
        A layer with the parameters of ``serial(*layers)``.

    Raises:
        TypeError: an argument is not a layer.
        ValueError: two children have one name; or, from ``init`` and ``apply``, the cache is that of other layers, or a
            layer may read other positions and takes no cache.

    Example:
        >>> import funcnn as fn, numpy as np
        >>> model = fn.cached(fn.positions("sinusoidal"), fn.multi_head_attention(1, causal=True), fn.dense(3))
        >>> x = np.random.default_rng(0).standard_normal((1, 6, 4), np.float32)
        >>> params = model.init((6, 4), rng=0)
        >>> y, _ = model.apply(params, x)
        >>> start, _ = model.apply(params, {"x": x[:, :4], "cache": {}})
        >>> end, _ = model.apply(params, {"x": x[:, 4:], "cache": start["cache"]})
        >>> bool(np.allclose(end["x"], y[:, 4:], atol=1e-6))
        True
    """
    children = name_children(layers)
    plain = serial(*layers)
    whole, inside = as_coroutine(plain), Children(children)
    streams = [name for name, child in children.items() if declared(child.apply, "streams")]
    blocked = [name for name, child in children.items() if name not in streams and not is_per_position(child)]

    def forward(params: Params, x: Any, key: Key | None, keep: bool) -> Coroutine[tuple[Any, Backward]]:
        if not isinstance(x, dict):
            return (yield from whole(params, x, key, keep))
        if blocked:
            raise _no_cache_for(blocked[0])
        check_children(params, children)
        cache = _checked(x, streams)

        def run(name: str, given: Any) -> Coroutine[tuple[Any, Any]]:
            return inside.forward(name, params, given, key, keep)

        h, new, links = yield from _continued(run, children, streams, x, cache)
        out = {**x, "x": h, "cache": new}
        like = form(out)

        def backward(dy: Any, input_grad: bool) -> Coroutine[tuple[Params, Any]]:
            grads, dx, dcache = yield from _pulled(links, leaf_gradient(dy, like), dy["cache"] or {}, input_grad)
            grads = {name: grads[name] for name in params}
            if not input_grad:
                return grads, None
            found = {"x": dx, "cache": {name: dcache[name] for name in cache}}
            return grads, input_gradient(x, dy, found, ("x", "cache"))

        return out, backward

    def init(shape: Any, rng: Any) -> Params:
        if not isinstance(shape, dict):
            return plain.init(shape, rng)
        x = probe(checked("cached", shape))
        _checked(x, streams)
        params = plain.init(shape["x"], rng)
        with probing():
            apply(params, x, as_key(rng))
        return params

    apply = microbatched(forward, "cached", declared(plain.apply, "working_set"), short_products=True)
    apply.streams, apply.per_position = bool(streams) and not blocked, is_per_position(plain)  # type: ignore[attr-defined]
    return Layer(init, apply, children=children, wiring=plain.wiring)


class Link(NamedTuple):
    """A layer that has run on new steps.

    Args:
        name: its name.
        back: its backward pass.
        leaves: the names of its output's leaves if that is a tree with its cache; None if it is an array.
    """

    name: str
    back: Backward
    leaves: list[str] | None


def _continued(
    run: Callable[[str, Any], Coroutine[tuple[Any, Any]]], names: Iterable[str], streams: Collection[str],
    x: dict[str, Any], cache: dict[str, Any],
) -> Coroutine[tuple[Any, dict[str, Any], list[Link]]]:  # fmt: skip
    """x through the layers, each with its own part of the cache: ``(y, the new cache, links)``."""
    others = {name: leaf for name, leaf in x.items() if name not in ("x", "cache")}
    h, new, links = x["x"], dict[str, Any](), list[Link]()
    for name in names:
        if name in streams:
            y, back = yield from run(name, {**others, "x": h, "cache": cache.get(name, {})})
            h, new[name] = y["x"], y["cache"]
            links.append(Link(name, back, sorted(y)))
            continue
        if getattr(h, "ndim", 3) < 3 and h.dtype.kind == "f":  # time would be its last axis
            raise ValueError(f"cached: {name} must get features, (batch, time, ..., features), got shape {h.shape}")
        h, back = yield from run(name, h)
        links.append(Link(name, back, None))
    return h, new, links


def _pulled(
    links: Sequence[Link], dh: Any, dcache: Mapping[str, Any], input_grad: bool
) -> Coroutine[tuple[dict[str, Params], Any, dict[str, Any]]]:
    """The gradients of the parameters by layer, of x, and of the cache by layer, from those of y and the new cache."""
    grads, dpast = dict[str, Params](), dict[str, Any]()
    for name, back, leaves in reversed(links):
        dy = dh
        if leaves is not None:
            dy = dict.fromkeys(leaves) | {"x": dh, "cache": dcache.get(name)}
        needed = input_grad or name != links[0].name
        grads[name], dh = yield from back(dy, needed)
        if leaves is not None and needed:
            dh, dpast[name] = dh["x"], dh["cache"]
    return grads, dh, dpast


def _no_cache_for(name: str) -> ValueError:
    """The error for a layer that cannot run on new steps alone."""
    return ValueError(
        f"cached: {name} may read other positions than its own, and cannot get them from a cache; put layers that take "
        "one into this chain itself, or into fn.cached(...), attention with causal=True; declare a layer of your own "
        "that reads only its own with @fn.layer(per_position=True); or pass the whole text without a cache"
    )


def _checked(x: dict[str, Any], streams: list[str]) -> dict[str, Any]:
    """The cache of a tree, with entries of these layers only."""
    if "x" not in x or "cache" not in x:
        raise ValueError(f"cached: expected an array, or a tree with 'x' and 'cache', got {sorted(x)}")
    cache = x["cache"]
    if not isinstance(cache, dict) or (cache and cache.keys() != set(streams)):
        raise ValueError(
            f"cached, input 'cache': expected {{}} or what the model returned, a dict of {streams}, "
            f"got {shape_of(cache)}"
        )
    return cache
