"""A layer without parameters that can take some shapes only checks them in ``init``, and does so by running once.

A layer inside a combinator is run on one example there, anyway; this does the same for one that stands alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from funcnn.aliases import Array, Params, Rng
from funcnn.layers.activation import Pull
from funcnn.protocol import Layer, no_params, stateless
from funcnn.shapes import probe

__all__ = ["shaped"]


def shaped(
    kind: str, forward: Callable[[Array], tuple[Array, Pull]], working_set: Callable[[Any], int] | None = None
) -> Layer:
    """A layer without parameters; a shape that it cannot take raises in ``init``, which runs it on one example."""
    made = stateless(kind, forward, working_set=working_set)

    def init(shape: Any, rng: Rng) -> Params:
        params = no_params(shape, rng)
        made.apply(params, probe(shape))
        return params

    return replace(made, init=init)
