"""What the children of a combinator are called, and that parameters stand under these names only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from funcnn import contract
from funcnn.aliases import Params
from funcnn.protocol import Layer, as_layer

__all__ = ["INPUT", "check_children", "name_children"]

INPUT = "input"
"""What the combinator's own input is called in a wiring; ``"input/mask"`` is one leaf of it."""


def name_children(layers: Sequence[Any]) -> dict[str, Layer]:
    """Name each layer by kind and count among its siblings of that kind, unless it has a name of its own."""
    children: dict[str, Layer] = {}
    counts: dict[str, int] = {}
    for child in (as_layer(pair) for pair in layers):
        number = counts.get(child.kind, 0)
        counts[child.kind] = number + 1
        name = child.name or f"{child.kind}_{number}"
        if name == INPUT:
            raise ValueError(f"a layer may not be called {INPUT!r}: that is the combinator's own input")
        if name in children:
            raise ValueError(f"two layers are called {name!r}; give one of them another name with named(...)")
        children[name] = child
    return children


def check_children(params: Params, children: Mapping[str, Layer]) -> None:
    """Raise if there are parameters under a name that no child has: they are another model's."""
    if type(params) is not dict:
        contract.params_dict("", params)
    unknown = [name for name in params if name not in children]
    if unknown:
        raise contract.OtherParameters(
            f"parameters of another model: no layer is called {unknown}, there are {[*children]}"
        )
