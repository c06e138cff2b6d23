"""A part of a model is a model: an encoder out of an autoencoder, or the first five layers of a classifier.

The part comes with its own parameters; both are the same objects as in the whole, so nothing is copied.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from funcnn.aliases import Params
from funcnn.combinators import frozen, serial
from funcnn.combinators.parameters import expanded
from funcnn.combinators.wiring import chain
from funcnn.contract import params_dict
from funcnn.protocol import Layer, as_layer, declared, named

__all__ = ["part"]


def part(model: Any, params: Params, which: str | slice) -> tuple[Layer, Params]:
    """A layer inside a model, or some layers of a ``serial`` model, with their parameters.

    Args:
        model: a layer or a pair.
        params: its parameters.
        which: the path of a layer, ``"encoder"`` or ``"residual_0/conv2d_1"``; or a slice of the children of a model
            whose children are one after the other, ``slice(5)`` for the first five.

    Returns:
        ``(model, params)``. Names stay, so the parameters keep their paths. What is frozen in the whole is frozen in
        the part.

    Raises:
        TypeError: ``which`` is neither a path nor a slice.
        ValueError: there is no such layer, or the slice is one of a model that is not a chain, or it is empty.

    Example:
        >>> import funcnn as fn, numpy as np
        >>> model = fn.serial(fn.named("encoder", fn.serial(fn.dense(2), fn.relu)), fn.named("decoder", fn.dense(5)))
        >>> params = model.init((5,), rng=0)
        >>> part(model, params, "encoder")[0]
        named('encoder', serial(dense(2), relu))
        >>> first, first_params = part(model, params, slice(1))
        >>> first, list(first_params)
        (serial(named('encoder', serial(dense(2), relu))), ['encoder'])
    """
    layer = as_layer(model)
    params_dict("part", params)
    if isinstance(which, str):
        return _at(layer, params, which)
    if not isinstance(which, slice):
        raise TypeError(f"part: expected the path of a layer or a slice, got {which!r}")
    if layer.wiring != chain(layer.children):
        raise ValueError(f"part: a slice needs layers one after the other, and {layer.kind} is wired otherwise")
    names = list(layer.children)[which]
    if not names:
        raise ValueError(f"part: {which} takes none of the {len(layer.children)} layers {[*layer.children]}")
    full = expanded(layer, params)
    children = {name: layer.children[name] for name in names}
    plain = serial(*children.values())
    if [*plain.children] != names:  # counted from the start of the part, a name would be another
        plain = serial(*(named(name, child) for name, child in children.items()))
    if declared(layer.apply, "frozen"):
        plain = frozen(plain)
    return plain, {name: full[name] for name in names if name in full}


def _at(layer: Layer, params: Params, path: str) -> tuple[Layer, Params]:
    """The layer at a path, and its parameters."""
    inside_frozen = False
    for number, name in enumerate(path.split("/")):
        if name not in layer.children:
            above = "/".join(path.split("/")[:number])
            raise ValueError(
                f"part: there is no layer {path!r}; {above or 'the model'} has {[*layer.children] or 'no children'}"
            )
        inside_frozen |= bool(declared(layer.apply, "frozen"))
        layer, params = layer.children[name], expanded(layer, params).get(name, {})
    if inside_frozen and not declared(layer.apply, "frozen"):
        layer = replace(frozen(replace(layer, name=None)), name=layer.name)
    return layer, params
