"""Prodigy: Adam that finds its own learning rate, from how far the parameters have come and how the gradients agree."""

from __future__ import annotations

import math

import numpy as np

from funcnn import checks, tree
from funcnn.aliases import Array, Tree
from funcnn.optim.core import Optimizer, chain, transform
from funcnn.optim.elementwise import checked_decays
from funcnn.optim.schedules import Rate
from funcnn.optim.sgd import scale_by_rate
from funcnn.optim.state import Hyper, SlotStarts
from funcnn.recorded import recorded

__all__ = ["prodigy", "scale_by_prodigy"]


@recorded
def scale_by_prodigy(
    rate: Rate = 1.0,
    b1: float = 0.9,
    b2: float = 0.999,
    b3: float | None = None,
    eps: float = 1e-8,
    start: float = 1e-6,
    coefficient: float = 1.0,
    weight_decay: float = 0.0,
    safeguard_warmup: bool = False,
) -> Optimizer:
    """u = c d (m / (√v + d' eps) + weight_decay · p),  d' = max(d, coefficient · r / ‖s‖₁).

    c = √(1 - b2^t) / (1 - b1^t) corrects m and v, the means of d g and (d g)²;  s = b3 s + rate c d² g / start;
    r = b3 r + rate c d² ⟨g, p₀ - p⟩ / start.  d estimates the distance from the first parameters to the solution, and
    grows until it is right.

    Args:
        rate: the rate that ``scale_by_rate`` multiplies with afterwards, a number or a schedule.
        b1: decay of the mean m, in [0, 1).
        b2: decay of the mean square v, in [0, 1).
        b3: decay of s and r, in [0, 1); √b2 by default.
        eps: added to the root, positive.
        start: the first estimate d, positive and small.
        coefficient: the factor of the estimates, positive.
        weight_decay: the factor by which all parameters decay, not negative.
        safeguard_warmup: leave the factor ``rate c`` out of s, which helps if the rate warms up.

    Returns:
        The transform, with the slots ``m``, ``v``, ``s`` and ``first``, and the numbers ``d`` and ``r``.

    Raises:
        TypeError: an argument is not a number, ``rate`` is neither a number nor a schedule, or ``safeguard_warmup`` is
            not a bool.
        ValueError: an argument is out of range.

    Example:
        >>> params = {"w": np.ones(1)}
        >>> init, update = scale_by_prodigy(start=0.1)
        >>> update({"w": np.array([5.0])}, init(params), params)[0]["w"].round(4)
        array([0.1])

    Reference:
        Mishchenko & Defazio (2024), Prodigy: An Expeditiously Adaptive Parameter-Free Learner, algorithm 4, with the
        order of operations of Optax.
    """
    kind = "scale_by_prodigy"
    b1, b2, eps = checked_decays(kind, b1, b2, eps)
    b3 = math.sqrt(b2) if b3 is None else checks.fraction(kind, "b3", b3)
    start = checks.positive(kind, "start", start, "1e-6")
    coefficient = checks.positive(kind, "coefficient", coefficient, "1.0")
    weight_decay = checks.rate(kind, "weight_decay", weight_decay)
    safeguard_warmup = checks.flag(kind, "safeguard_warmup", safeguard_warmup)

    def rule(grads: Tree, slots: dict[str, Tree], params: Tree, hyper: Hyper) -> tuple[Tree, dict[str, Tree]]:
        t, d = hyper["step"] + 1, hyper["d"]
        correction = math.sqrt(1 - b2**t) / (1 - b1**t)
        length = d * hyper["rate"] * correction
        weight = d / start * (d if safeguard_warmup else length)

        def mixed(decay: float, factor: float, old: Tree, power: int = 1) -> Tree:
            return tree.map(lambda x, g: np.asarray(decay * x + factor * g**power), old, grads)

        m, v = mixed(b1, (1 - b1) * d, slots["m"]), mixed(b2, (1 - b2) * d * d, slots["v"], 2)
        s = mixed(b3, weight, slots["s"])
        moved = sum(map(_product, tree.leaves(grads), tree.leaves(slots["first"]), tree.leaves(params)))
        r = b3 * hyper["r"] + d / start * length * moved
        total = sum(float(np.abs(x.ravel()).sum(dtype=np.float64)) for x in tree.leaves(s) if x is not None)
        new_d = max(d, coefficient * r / total) if total else d

        def direction(g: Array, m: Array, v: Array, p: Array) -> Array:
            return np.asarray(d * correction * (m / (np.sqrt(v) + new_d * eps) + weight_decay * p))

        return tree.map(direction, grads, m, v, params), {
            "m": m, "v": v, "s": s, "first": tree.map(np.copy, slots["first"]), "d": new_d, "r": r,
        }  # fmt: skip

    starts: SlotStarts = {"m": np.zeros_like, "v": np.zeros_like, "s": np.zeros_like, "first": np.copy}
    numbers = {"d": start, "r": 0.0}
    return transform(kind, rule, slots=starts, rates={"rate": rate}, counts=True, numbers=numbers)


@recorded
def prodigy(
    rate: Rate = 1.0,
    b1: float = 0.9,
    b2: float = 0.999,
    b3: float | None = None,
    eps: float = 1e-8,
    start: float = 1e-6,
    coefficient: float = 1.0,
    weight_decay: float = 0.0,
    safeguard_warmup: bool = False,
) -> Optimizer:
    """p = p - rate · d · (m̂ / √v̂ + weight_decay · p): AdamW with an estimate d of the rate; see ``scale_by_prodigy``.

    Args:
        rate: 1.0, or a schedule around it, such as ``cosine_decay(1.0, steps)``.
        b1: decay of the mean; see ``scale_by_prodigy``.
        b2: decay of the mean square; see ``scale_by_prodigy``.
        b3: decay of the estimate's sums; see ``scale_by_prodigy``.
        eps: added to the root; see ``scale_by_prodigy``.
        start: the first estimate; see ``scale_by_prodigy``.
        coefficient: the factor of the estimates; see ``scale_by_prodigy``.
        weight_decay: the factor by which all parameters decay; see ``scale_by_prodigy``.
        safeguard_warmup: for rates that warm up; see ``scale_by_prodigy``.

    Returns:
        The optimizer.

    Raises:
        TypeError, ValueError: as ``scale_by_prodigy`` and ``scale_by_rate``.

    Example:
        >>> params = {"w": np.ones(1)}
        >>> init, update = prodigy(start=0.1)
        >>> update({"w": np.array([5.0])}, init(params), params)[0]["w"].round(4)
        array([-0.1])

    Reference:
        That of ``scale_by_prodigy``.
    """
    return chain(
        scale_by_prodigy(rate, b1, b2, b3, eps, start, coefficient, weight_decay, safeguard_warmup),
        scale_by_rate(rate),
    )


def _product(g: Array | None, first: Array, p: Array) -> float:
    """⟨g, first - p⟩, over the elements with a gradient: statistics that are not measured are NaN."""
    if g is None:
        return 0.0
    g, moved = g.ravel(), (first - p).ravel()
    return float(np.sum(g * moved, where=g != 0, dtype=np.float64))
