"""Parameters from elsewhere have an entry for each layer; of those that a model ties, one stays."""

from __future__ import annotations

import numpy as np

from funcnn import tree as trees
from funcnn.aliases import Params
from funcnn.inspect.traverse import all_ties
from funcnn.interchange.units import expanded_below
from funcnn.protocol import Layer
from funcnn.tree import is_below

__all__ = ["untied"]


def untied(model: Layer, params: Params, source: str) -> Params:
    """The parameters without those of tied layers, or an error if they are not those of their sources."""
    ties = all_ties(model)
    if not ties:
        return params
    kept: Params = trees.unflatten(
        {path: leaf for path, leaf in trees.flatten(params).items() if not any(is_below(path, t) for t in ties)}
    )
    again = trees.flatten(expanded_below(model, kept))
    for path, leaf in trees.flatten(params).items():
        if not np.array_equal(again[path], leaf):
            tied = {target: source for target, source in ties.items() if is_below(path, target)}
            raise ValueError(
                f"the model ties {tied}, and in {source} {path} has other values; are they not tied there?"
            )
    return kept
