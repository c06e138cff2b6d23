"""What ``model["encoder"]``, ``model[0]`` and ``model[:3]`` mean: a layer inside a model, or some of a chain.

A part of a layer is what the layer makes of it: a layer out of a frozen one is frozen too.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from funcnn import checks
from funcnn.wording import shown

__all__ = ["selected", "steps_to"]


def selected(layer: Any, which: Any, kind: str) -> Any:
    """The layer at a path or a place, or a chain of the layers of a slice, under their names; ``kind`` is for messages.

    Args:
        layer: a ``Layer``.
        which: a path, a number or a slice; see ``Layer.__getitem__``.
        kind: how messages begin.
    """
    if not isinstance(which, slice):
        return steps_to(layer, which, kind)[-1][1]
    names = _names(layer, which, kind)
    chain = layer.chain_of({name: layer.children[name] for name in names})
    return chain if layer.around is None else layer.around(chain, names)


def steps_to(layer: Any, which: str | int, kind: str) -> list[tuple[str, Any]]:
    """The names and layers on the way to a path or a place; the last one is the layer there."""
    if not isinstance(which, str):
        (name,) = _names(layer, which, kind)
        return [(name, _child(layer, name))]
    names, steps = which.split("/"), list[tuple[str, Any]]()
    for name in names:
        if name not in layer.children:
            above = "/".join(names[: len(steps)]) or "the model"
            inside = [*layer.children] or "no children"
            raise ValueError(f"{kind}: there is no layer {shown(which)}; {above} has {inside}")
        layer = _child(layer, name)
        steps.append((name, layer))
    return steps


def _names(layer: Any, which: Any, kind: str) -> list[str]:
    """The names of the children at a place or in a slice, or an error that says what there is."""
    names = [*layer.children]
    if isinstance(which, slice):
        if layer.chain_of is None and names:
            raise ValueError(f"{kind}: a slice needs layers one after the other, and {layer.kind} is wired otherwise")
        try:
            taken = names[which]
        except TypeError:
            raise TypeError(f"{kind}: expected a slice of whole numbers, such as [:3], got {shown(which)}") from None
        if taken:
            return taken
        raise ValueError(f"{kind}: {which} takes none of the {len(names)} layers {names}")
    if isinstance(which, bool) or not hasattr(which, "__index__"):
        raise TypeError(
            f'{kind}: expected the path of a layer, such as "encoder/conv2d_0", a number or a slice, got '
            f"{checks.what(which)}"
        )
    place = checks.size(kind, "the number of a layer", which, None)
    if not -len(names) <= place < len(names):
        inside = f"{len(names)} layers, {names}" if names else "no children; init, apply = layer unpacks a layer"
        raise ValueError(f"{kind}: there is no layer {place}; the model has {inside}")
    return [names[place]]


def _child(layer: Any, name: str) -> Any:
    """One child, under its name, with what the layer puts around it."""
    child = layer.children[name]
    if layer.around is None:
        return child
    return replace(layer.around(replace(child, name=None), name), name=child.name)
