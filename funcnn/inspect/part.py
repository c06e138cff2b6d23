"""A part of a model is a model: an encoder out of an autoencoder, or the first five layers of a classifier.

The part comes with its own parameters; both are the same objects as in the whole, so nothing is copied.
"""

from __future__ import annotations

from funcnn import tree
from funcnn.aliases import Params
from funcnn.calls import explained
from funcnn.combinators.parameters import expanded
from funcnn.contract import params_dict
from funcnn.protocol import Layer, LayerLike, as_layer, declared
from funcnn.selection import selected, steps_to
from funcnn.tree import is_below

__all__ = ["part"]


@explained
def part(model: LayerLike, params: Params, which: str | int | slice) -> tuple[Layer, Params]:
    """A layer inside a model, or some layers of a ``serial`` model, with their parameters.

    ``model[which]`` is the same layer without the parameters. A part of a frozen layer is frozen, one of ``remat`` is
    computed again too, and of ``tied`` those ties are kept whose two ends are in the part.

    Args:
        model: a layer or a pair.
        params: its parameters.
        which: the path of a layer, ``"encoder"`` or ``"residual_0/conv2d_1"``; its place among the children, 0 for the
            first and -1 for the last; or a slice of the children of a model whose children are one after the other,
            ``slice(5)`` for the first five.

    Returns:
        ``(model, params)``. Names stay, so the parameters keep their paths. What is frozen in the whole is frozen in
        the part.

    Raises:
        TypeError: ``which`` is neither a path nor a whole number nor a slice.
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
    if isinstance(which, slice):
        chain: Layer = selected(layer, which, "part")
        full = expanded(layer, params)
        return chain, _without_targets(chain, {name: full[name] for name in chain.children if name in full})
    for name, inside in steps_to(layer, which, "part"):
        params = _without_targets(inside, expanded(layer, params).get(name, {}))
        layer = inside
    return layer, params


def _without_targets(layer: Layer, params: Params) -> Params:
    """The parameters of a layer without those that it takes from others of its own."""
    targets = declared(layer.apply, "ties") or {}
    flat = tree.flatten(params) if targets else {}
    if not any(is_below(path, target) for path in flat for target in targets):
        return params
    kept = {path: leaf for path, leaf in flat.items() if not any(is_below(path, target) for target in targets)}
    own: Params = tree.unflatten(kept)
    return own
