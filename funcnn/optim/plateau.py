"""Reduce the step when a metric no longer improves: it is reported into the state, where the transform reads it."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np

from funcnn import checks
from funcnn.aliases import Array
from funcnn.calls import explained
from funcnn.optim.core import Optimizer, lift
from funcnn.optim.elementwise import Slots
from funcnn.optim.state import Hyper, State
from funcnn.recorded import recorded
from funcnn.wording import shown

__all__ = ["reduce_on_plateau", "report_metric"]

NUMBERS = {"scale": 1.0, "best": 0.0, "known": 0.0, "bad": 0.0, "cooldown": 0.0, "metric": 0.0, "reported": 0.0}
"""The numbers in its state at first: all finite, so that a state can be checked for divergence."""


@recorded
def reduce_on_plateau(
    factor: float = 0.1,
    patience: int = 10,
    threshold: float = 1e-4,
    relative: bool = True,
    cooldown: int = 0,
    least: float = 0.0,
    mode: Literal["min", "max"] = "min",
) -> Optimizer:
    """u = scale · g, with scale = factor · scale after more than ``patience`` reports without improvement.

    ``chain(adam(1e-3), reduce_on_plateau(0.5))`` is the optimizer, and ``state = report_metric(state, loss)``, once an
    epoch for example, reports; in ``fit``, ``callbacks.reduce_on_plateau("validation_loss")`` does. The report counts
    at the next update.

    Args:
        factor: of the scale, in (0, 1).
        patience: the number of reports without improvement that are tolerated, not negative.
        threshold: how much better than the best a metric must be to count as an improvement, not negative.
        relative: the threshold is a fraction of the best metric's absolute value.
        cooldown: the number of reports after a reduction that do not count.
        least: the least scale, not negative.
        mode: ``"min"`` if lower is better, ``"max"`` if higher is better.

    Returns:
        The transform. Its state holds the numbers ``scale``, ``best``, ``bad``, the reports since the best, and the
        last ``metric``; ``current_rate`` is the rate without the scale. A metric that is NaN does not improve.

    Raises:
        TypeError: an argument has another type.
        ValueError: an argument is out of range.

    Example:
        >>> params = grads = {"w": np.ones(1)}
        >>> init, update = reduce_on_plateau(0.5, patience=0)
        >>> state = init(params)
        >>> for loss in (1.0, 0.8, 0.9):
        ...     updates, state = update(grads, report_metric(state, loss), params)
        >>> updates
        {'w': array([0.5])}

    Reference:
        The rule and its defaults are those of ``torch.optim.lr_scheduler.ReduceLROnPlateau``, but for a best metric
        below 0, which there is worse than the same metric again.
    """
    kind = "reduce_on_plateau"
    factor, patience = checks.proper_fraction(kind, "factor", factor), checks.size(kind, "patience", patience, 0)
    threshold, relative = checks.nonnegative(kind, "threshold", threshold), checks.flag(kind, "relative", relative)
    cooldown, least = checks.size(kind, "cooldown", cooldown, 0), checks.nonnegative(kind, "least", least)
    if mode not in ("min", "max"):
        raise ValueError(f"{kind}: mode: expected 'min' or 'max', got {shown(mode)}")
    sign = 1 if mode == "min" else -1

    def improves(metric: float, best: float) -> bool:
        # As a factor, a margin stays right beside an infinite metric, of which the difference would be NaN.
        limit = best * (1 - math.copysign(sign * threshold, sign * best)) if relative else best - sign * threshold
        return sign * metric < sign * limit

    def advance(hyper: Hyper) -> Hyper:
        if not hyper["reported"]:
            return {}
        new = {**hyper, "reported": 0.0}
        metric = hyper["metric"]
        if not math.isnan(metric) and (not hyper["known"] or improves(metric, hyper["best"])):
            new |= {"best": metric, "known": 1.0, "bad": 0.0}
        else:
            new["bad"] += 1
        if new["cooldown"]:
            new |= {"cooldown": new["cooldown"] - 1, "bad": 0.0}
        if new["bad"] > patience:
            scale = min(new["scale"], max(new["scale"] * factor, least))
            new |= {"scale": scale, "cooldown": float(cooldown), "bad": 0.0}
        return new

    def rule(g: Array, state: Slots, p: Array, hyper: Hyper, u: Array, new_state: Slots) -> None:
        np.multiply(g, hyper["scale"], out=u)

    return lift(kind, rule, in_place=True, numbers=NUMBERS, advance=advance)


@explained
def report_metric(state: State, metric: float) -> State:
    """The state of an optimizer with ``reduce_on_plateau``, in which a metric is reported.

    Args:
        state: its state, which is not changed.
        metric: a validation loss, for example.

    Returns:
        The new state, which shares its other arrays.

    Raises:
        TypeError: ``metric`` is not a number.
        ValueError: no ``reduce_on_plateau`` is in the state.

    Example:
        >>> state = reduce_on_plateau().init({"w": np.ones(2)})
        >>> report_metric(state, 0.25)["metric"]
        array(0.25)
    """
    new: State
    new, found = _reported(state, checks.real("report_metric", "metric", metric))
    if not found:
        keys = sorted(state) if isinstance(state, dict) else checks.what(state)
        raise ValueError(f"report_metric: expected the state of an optimizer with reduce_on_plateau, got {keys}")
    return new


def _reported(state: Any, metric: float) -> tuple[Any, bool]:
    """A state with a metric in each part that takes one, and whether there is one."""
    if not isinstance(state, dict):
        return state, False
    if state.keys() == NUMBERS.keys():
        return state | {"metric": np.array(metric), "reported": np.array(1.0)}, True
    parts = {name: _reported(part, metric) for name, part in state.items()}
    return {name: part for name, (part, _) in parts.items()}, any(found for _, found in parts.values())
