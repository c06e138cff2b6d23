"""A loss of several outputs: the weighted sum of a loss for each of them.

A model with several outputs returns a dict, and its target is a dict with the same names; ``combine`` gives each loss
the output and the target of its name.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike

from funcnn import checks, tree
from funcnn.aliases import Number
from funcnn.calls import explained
from funcnn.losses.core import Loss, Reduction, TreeLoss, check_reduction
from funcnn.recorded import recorded
from funcnn.wording import shown

__all__ = ["combine"]


@recorded
def combine(losses: Mapping[str, Loss], weights: Mapping[str, Number] | None = None) -> TreeLoss:
    """value = Σ_i c_i loss_i(y_i, target_i);  dy_i = c_i dloss_i/dy_i, over the outputs i by name.

    Args:
        losses: ``{name: loss}``, one for each output that has one.
        weights: ``{name: c}``, the factor of each loss, a finite number ``>= 0``; 1 for a name that is not there.

    Returns:
        A loss of y and target, dicts that hold the names of ``losses``; dy is None at other outputs. With weights of
        examples, ``loss(y, target, weights=...)``, each loss gets these.

    Raises:
        TypeError: ``losses`` or ``weights`` is not a dict, or an item of them is not a function or a number; or, once
            it is called, y or the target is not a dict, or a loss returns something else than a number and a gradient.
        ValueError: there is no loss, or a weight of no loss or out of range; or, once it is called, a name is missing.

    Example:
        >>> import funcnn as fn
        >>> import numpy as np
        >>> loss = combine({"digit": fn.softmax_cross_entropy, "size": fn.mean_squared_error}, {"size": 0.5})
        >>> y = {"digit": np.zeros((1, 2)), "size": np.array([[3.0]])}
        >>> value, dy = loss(y, {"digit": np.array([0]), "size": np.array([[1.0]])})
        >>> round(value, 4), dy["size"]  # log 2 + 0.5 * 4
        (2.6931, array([[2.]]))

    Reference:
        Caruana (1997), Multitask learning, section 2.
    """
    if not isinstance(losses, Mapping):
        raise TypeError(f'combine: expected losses as a dict {{"name": loss}}, got {checks.what(losses)}')
    if not losses:
        raise ValueError("combine: expected at least one loss, got an empty dict")
    for name, loss in losses.items():
        if not isinstance(name, str):
            raise TypeError(f"combine: expected the names of outputs as texts, got {shown(name)}")
        checks.function("combine", f"the loss of {name!r}", loss, "y, target" if checks.is_function(loss) else "")
    factors = dict.fromkeys(losses, 1.0) | _factors(weights, losses)
    terms = [(name, loss, factors[name]) for name, loss in losses.items() if factors[name]]

    def combined(
        y: Any, target: Any, *, weights: ArrayLike | None = None, reduction: Reduction = "mean"
    ) -> tuple[Any, dict[str, Any]]:
        check_reduction("combine", reduction)
        _check_names("y, the model's outputs,", y, factors)
        _check_names("target", target, factors)
        # A loss of the user need not have the keywords.
        given = {"weights": weights, "reduction": None if reduction == "mean" else reduction}
        keywords = {name: value for name, value in given.items() if value is not None}
        values, dy = [], dict.fromkeys(y)
        for name, loss, factor in terms:
            try:
                value, gradient = checks.returned_pair("a loss", loss(y[name], target[name], **keywords), "(value, dy)")
                value = value if reduction == "none" else checks.returned_number("the value of a loss", value)
            except Exception as error:
                error.add_note(f"in the loss of {name!r} of combine")
                raise
            values.append(factor * value)
            dy[name] = _times(factor, gradient)
        return _sum(values), dy

    combined.__name__ = combined.__qualname__ = "combine"
    return cast(TreeLoss, explained(combined))


def _sum(values: list[Any]) -> Any:
    """The sum of numbers, or of arrays of one shape."""
    if len({np.shape(value) for value in values}) > 1:
        shapes = ", ".join(str(np.shape(value)) for value in values)
        raise ValueError(
            f'combine: reduction="none" adds losses of one shape, got {shapes}; call them one by one, or use "mean"'
        )
    return sum(values[1:], values[0]) if values else 0.0


def _factors(weights: Any, losses: Collection[str]) -> dict[str, float]:
    """The factors that are given, by name."""
    weights = {} if weights is None else weights
    if not isinstance(weights, Mapping):
        raise TypeError(f'combine: expected weights as a dict {{"name": number}}, got {checks.what(weights)}')
    if unknown := [name for name in weights if name not in losses]:
        raise ValueError(f"combine: a weight of {shown(unknown[0])}, but the losses are of {[*losses]}")
    return {name: checks.nonnegative("combine", f"the weight of {name!r}", value) for name, value in weights.items()}


def _check_names(what: str, value: Any, losses: Collection[str]) -> None:
    """Raise if y or the target is not a dict with the names of all losses."""
    if not isinstance(value, dict):
        raise TypeError(f"combine: expected {what} as a dict with {[*losses]}, got {checks.what(value)}")
    if missing := [name for name in losses if name not in value]:
        raise ValueError(f"combine: expected {what} with {[*losses]}, got {[*value]}; {missing[0]!r} is missing")


def _times(factor: float, dy: Any) -> Any:
    """A gradient times a number; None stays."""
    return dy if factor == 1 else tree.map(lambda leaf: leaf * factor, dy)
