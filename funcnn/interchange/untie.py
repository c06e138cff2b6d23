"""Parameters from elsewhere have an entry for each layer; of those that a model ties, one stays.

Then they are checked as those that ``init`` made would be.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from funcnn import tree as trees
from funcnn.aliases import Array, Params
from funcnn.inspect.traverse import all_ties
from funcnn.interchange.architecture import check_params
from funcnn.interchange.units import expanded_below
from funcnn.protocol import Layer
from funcnn.tree import check_parameters, is_below

__all__ = ["params_of"]


def params_of(kind: str, model: Layer, leaves: Mapping[str, Array], source: str) -> Params:
    """The parameters of a model from their arrays by path, without those of tied layers, checked."""
    params = _untied(model, trees.unflatten({path: np.array(leaf, order="C") for path, leaf in leaves.items()}), source)
    check_parameters(params, kind)
    check_params(model, params)
    return params


def _untied(model: Layer, params: Params, source: str) -> Params:
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
