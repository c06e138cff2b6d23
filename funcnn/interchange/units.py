"""The layers of a model that have parameters of their own, and what their shapes are as far as the recorded calls say.

Weights of other libraries are matched with these units: each has a path, a kind and leaves. A size that the record does
not have, such as the inputs of a dense layer, is None, unless the shape of an example is given and ``init`` tells it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from funcnn import checks, combinators, layers
from funcnn import tree as trees
from funcnn.aliases import Params
from funcnn.combinators.parameters import expanded
from funcnn.protocol import Layer, LayerLike, as_layer, declared
from funcnn.tree import below

__all__ = ["Pattern", "Unit", "arguments", "core", "expanded_below", "parallel", "units"]

Pattern: TypeAlias = tuple[int | None, ...]
"""A shape, with None for a size that is not known."""

AROUND_ONE = ("frozen", "remat", "tied", "weight_norm", "spectral_norm")
"""Combinators with the parameters and paths of the layer inside."""

GATES = {"rnn": 1, "gru": 3, "lstm": 4}


@dataclass(frozen=True)
class Unit:
    """A layer with parameters of its own.

    Args:
        path: its path in the model.
        kind: its constructor, ``"dense"``; one of the user's own has the kind ``"layer"``.
        arguments: those of the recorded call, with defaults.
        shapes: the shape of each leaf; empty if nothing is known of them, as of a user's own layer.
        direction: ``"forward"`` or ``"backward"`` inside ``bidirectional``.
        wrapped: ``"weight_norm"`` or ``"spectral_norm"`` if that is around it; ``shapes`` are those without it.
    """

    path: str
    kind: str
    arguments: Mapping[str, Any]
    shapes: Mapping[str, Pattern]
    direction: str = ""
    wrapped: str = ""

    @property
    def named(self) -> str:
        """How messages name it."""
        return f"{self.path or 'the model'} ({self.kind})"


def units(model: LayerLike, params: Params | None = None) -> list[Unit]:
    """The units of a model in the order of its children; with its parameters, all sizes are known."""
    model = as_layer(model)
    known: dict[str, dict[str, Pattern]] = {}
    if params is not None:
        for path, leaf in trees.flatten(expanded_below(model, params)).items():
            where, _, name = path.rpartition("/")
            known.setdefault(where, {})[name] = leaf.shape
    return list(_units(model, "", known, params is not None, "", ""))


def parallel(layer: Layer, path: str = "") -> Iterator[tuple[str, str]]:
    """The paths of each two children of a combinator of which neither is computed from the other."""
    before: dict[str, set[str]] = {}
    for name, inputs in layer.wiring:
        sources = {source.partition("/")[0] for source in inputs}
        before[name] = sources.union(*(before.get(source, set()) for source in sources))
    names = [name for name in before if name]
    for number, name in enumerate(names):
        for other in names[number + 1 :]:
            if name not in before[other] and other not in before[name]:
                yield below(path, name), below(path, other)
    for name, child in layer.children.items():
        yield from parallel(core(child)[0], below(path, name))


def _units(
    layer: Layer, path: str, known: Mapping[str, Any], sized: bool, direction: str, wrapped: str
) -> Iterator[Unit]:
    """The units in a layer at a path."""
    inner, around = core(layer, path)
    wrapped = around or wrapped
    if inner.children:
        for name, child in inner.children.items():
            side = name if inner.kind == "bidirectional" else direction
            yield from _units(child, below(path, name), known, sized, side, wrapped)
        return
    own = known.get(path, {})
    if declared(inner.apply, "has_params") is False or (sized and not own):
        return
    call = inner.recorded_call(path)
    ours = call is not None and call.constructor is getattr(layers, inner.kind, None)
    found = arguments(inner) if ours else {}
    shapes = _recorded(inner.kind, found) if ours else {}
    if shapes is None:
        return
    if sized:
        shapes = {**own, "w": own["v"]} if "v" in own and wrapped else own
        shapes = {name: size for name, size in shapes.items() if not (wrapped and name in ("g", "v", "u"))}
    yield Unit(path, inner.kind if ours else "layer", found, shapes, direction, wrapped)


def core(layer: Layer, path: str = "") -> tuple[Layer, str]:
    """The layer inside those that keep its parameters and paths, and which of them computes its weights, if any."""
    wrapped = ""
    while layer.kind in AROUND_ONE and layer.constructor is getattr(combinators, layer.kind):
        layer.recorded_call(path)
        wrapped = layer.kind if layer.kind.endswith("_norm") else wrapped
        layer = as_layer(layer.arguments["layer"])
    return layer, wrapped


def expanded_below(layer: Layer, params: Params) -> Params:
    """The parameters with those of tied layers, at any depth."""
    params = expanded(layer, params)
    found = dict(params)
    for name, child in layer.children.items():
        if isinstance(params.get(name), dict) or declared(child.apply, "expand"):
            found[name] = expanded_below(child, params.get(name, {}))
    return found


def arguments(layer: Layer) -> dict[str, Any]:
    """All arguments of a recorded call, with the defaults of those that were left out."""
    return {} if layer.call is None else layer.call.with_defaults()


def _recorded(kind: str, a: Mapping[str, Any]) -> dict[str, Pattern] | None:
    """The shapes of the leaves that a recorded call says; None for no parameters, {} if they are unknown."""
    rank = kind[-2:-1]
    if kind.startswith(("conv", "depthwise_conv")) and rank.isdigit():
        return _of_convolution(kind, a, checks.sizes(kind, "kernel", a["kernel"], ("",) * int(rank)))
    if kind in GATES:
        return _of_recurrent(kind, a)
    match kind:
        case "dense":
            return {"w": (None, a["units"]), **_bias(a, a["units"])}
        case "bilinear":
            return {"w": (None, None, a["units"]), **_bias(a, a["units"])}
        case "embedding" | "embedding_bag":
            return {"w": (a["count"], a["units"])}
        case "positions":
            return {"w": (a["length"], None)} if a["kind"] == "learned" else None
        case "prelu":
            return {"slope": (1,) if a["shared"] else (None,)}
        case "batch_norm":
            return dict.fromkeys(("scale", "shift", "mean", "var"), (None,))
        case "scale_and_shift":
            return dict.fromkeys(("scale", "shift"), (None,))
        case "group_norm" | "instance_norm":
            return dict.fromkeys(("scale", "shift"), (None,)) if a["affine"] else None
        case "layer_norm" | "rms_norm":
            leaves = [name for name in ("scale", "shift") if a.get(name)]
            return dict.fromkeys(leaves, (None,) * a["axes"]) or None
        case "multi_head_attention":
            return _of_attention(a)
    return {}


def _bias(a: Mapping[str, Any], *shape: int | None) -> dict[str, Pattern]:
    """The bias, if there is one."""
    return {"b": shape} if a["bias"] else {}


def _of_convolution(kind: str, a: Mapping[str, Any], kernel: tuple[int, ...]) -> dict[str, Pattern]:
    """The shapes of a convolution of any kind."""
    if kind.startswith("depthwise"):
        return {"w": (*kernel, 1, None), **_bias(a, None)}
    filters = a["filters"]
    if "transpose" in kind:
        return {"w": (*kernel, filters // a["groups"], None), **_bias(a, filters)}
    return {"w": (*kernel, None, filters), **_bias(a, filters)}


def _of_recurrent(kind: str, a: Mapping[str, Any]) -> dict[str, Pattern]:
    """The shapes of a recurrent layer."""
    units, columns = a["units"], GATES[kind] * a["units"]
    outputs = a.get("projection") or units
    shapes: dict[str, Pattern] = {"w": (None, columns), "w_h": (outputs, columns), **_bias(a, columns)}
    if a.get("reset_after") and a["bias"]:
        shapes["b_h"] = (units,)
    if a.get("projection"):
        shapes["w_p"] = (units, outputs)
    return shapes


def _of_attention(a: Mapping[str, Any]) -> dict[str, Pattern]:
    """The shapes of attention with learned projections."""
    width, heads, key_heads = a["width"], a["heads"], a["key_heads"] or a["heads"]
    query, key = (None if width is None else n * width for n in (heads, key_heads))
    columns = {"query": query, "key": key, "value": key, "output": a["units"]}
    shapes: dict[str, Pattern] = {f"{name}_w": (None, n) for name, n in columns.items()}
    shapes["output_w"] = (query, a["units"])
    return shapes | ({f"{name}_b": (n,) for name, n in columns.items()} if a["bias"] else {})
