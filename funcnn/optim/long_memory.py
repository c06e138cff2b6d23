"""Adan, AdEMAMix and ADOPT: Adam with a longer memory of the gradients, or with one that ends before this step.

Adan also averages how the gradient changes, AdEMAMix has a second, slow mean, and ADOPT divides by the earlier size.
"""

from __future__ import annotations

import math

import numpy as np

from funcnn import checks
from funcnn.aliases import Array
from funcnn.optim.core import Optimizer, chain, lift
from funcnn.optim.elementwise import Slots, checked_decays, running_mean, running_square
from funcnn.optim.masks import Mask
from funcnn.optim.schedules import Rate
from funcnn.optim.sgd import add_decayed_weights, scale_by_rate
from funcnn.optim.state import Hyper
from funcnn.recorded import recorded

__all__ = ["adan", "ademamix", "adopt", "scale_by_adan", "scale_by_ademamix", "scale_by_adopt"]


@recorded
def scale_by_adan(
    b1: float = 0.98,
    b2: float = 0.92,
    b3: float = 0.99,
    eps: float = 1e-8,
    eps_root: float = 1e-8,
    ahead: float | None = None,
) -> Optimizer:
    """u = (m̂ + ahead · d̂) / (√(v̂ + eps_root) + eps): the mean gradient m and the mean d of its changes.

    m = b1 m + (1 - b1) g;  d = b2 d + (1 - b2) Δ;  v = b3 v + (1 - b3) (g + ahead Δ)²,  Δ = g - the gradient before.

    Args:
        b1: decay of the mean of the gradient, in [0, 1).
        b2: decay of the mean of its change, in [0, 1).
        b3: decay of the mean square, in [0, 1).
        eps: added to the root, positive.
        eps_root: added under the root, not negative.
        ahead: the weight of the change, not negative; ``b2`` by default. The paper writes 1 - b2 for our b2, and Optax
            0.2.8 takes ``1 - b2`` here.

    Returns:
        The transform, with the slots ``m``, ``d``, ``v`` and ``g``, the gradient before.

    Raises:
        TypeError: an argument is not a number.
        ValueError: an argument is out of range.

    Example:
        >>> params = {"w": np.ones(2)}
        >>> init, update = scale_by_adan()
        >>> update({"w": np.array([5.0, -1.0])}, init(params), params)[0]["w"].round(4)
        array([ 1., -1.])

    Reference:
        Xie et al. (2022), Adan: Adaptive Nesterov Momentum Algorithm, algorithm 1.
    """
    kind = "scale_by_adan"
    b1, b2, b3 = (checks.fraction(kind, name, b) for name, b in (("b1", b1), ("b2", b2), ("b3", b3)))
    eps, eps_root = checks.positive(kind, "eps", eps), checks.nonnegative(kind, "eps_root", eps_root)
    weight = b2 if ahead is None else checks.nonnegative(kind, "ahead", ahead)

    def rule(g: Array, state: Slots, p: Array, hyper: Hyper, u: Array, new_state: Slots) -> None:
        t = hyper["step"] + 1
        change = g - state["g"] if hyper["step"] else np.zeros_like(g)
        new_state["g"][...] = g
        m = running_mean(state["m"], b1, g, new_state["m"], u)
        d = running_mean(state["d"], b2, change, new_state["d"], u)
        change *= weight
        change += g
        v = running_square(state["v"], b3, change, new_state["v"], u)
        np.divide(v, 1 - b3**t, out=change)
        change += eps_root
        np.sqrt(change, out=change)
        change += eps
        np.multiply(d, weight * (1 - b1**t) / (1 - b2**t), out=u)
        u += m
        u /= 1 - b1**t
        u /= change

    return lift(kind, rule, slots=("m", "d", "v", "g"), counts=True, in_place=True)


@recorded
def adan(
    rate: Rate,
    b1: float = 0.98,
    b2: float = 0.92,
    b3: float = 0.99,
    eps: float = 1e-8,
    eps_root: float = 1e-8,
    weight_decay: Rate = 0.0,
    decay_mask: Mask | None = None,
    ahead: float | None = None,
) -> Optimizer:
    """p = p - rate · (u + weight_decay · p): Nesterov's momentum for Adam; see ``scale_by_adan`` for u.

    Args:
        rate: the learning rate, a number or a schedule; 1e-3 is usual.
        b1: decay of the mean; see ``scale_by_adan``.
        b2: decay of the mean change; see ``scale_by_adan``.
        b3: decay of the mean square; see ``scale_by_adan``.
        eps: added to the root; see ``scale_by_adan``.
        eps_root: added under the root; see ``scale_by_adan``.
        weight_decay: the factor by which weights decay, before the rate; see ``add_decayed_weights``.
        decay_mask: which parameters decay, by default those with two axes or more; see ``add_decayed_weights``.
        ahead: the weight of the change; see ``scale_by_adan``.

    Returns:
        The optimizer.

    Raises:
        TypeError, ValueError: as ``scale_by_adan``, ``add_decayed_weights`` and ``scale_by_rate``.

    Example:
        >>> params = {"w": np.ones(1)}
        >>> init, update = adan(0.1)
        >>> update({"w": np.array([2.0])}, init(params), params)[0]["w"].round(4)
        array([-0.1])

    Reference:
        That of ``scale_by_adan``.
    """
    return chain(
        scale_by_adan(b1, b2, b3, eps, eps_root, ahead),
        add_decayed_weights(weight_decay, decay_mask),
        scale_by_rate(rate),
    )


@recorded
def scale_by_ademamix(
    b1: float = 0.9, b2: float = 0.999, b3: Rate = 0.9999, alpha: Rate = 5.0, eps: float = 1e-8
) -> Optimizer:
    """u = (m̂ + alpha · n) / (√v̂ + eps),  n = b3 n + (1 - b3) g: Adam with a second, slow mean of the gradient.

    Args:
        b1: decay of the fast mean m, in [0, 1).
        b2: decay of the mean square v, in [0, 1).
        b3: decay of the slow mean n, at most 1, a number or a schedule.
        alpha: the weight of the slow mean, a number or a schedule; the paper increases both from 0 and b1.
        eps: keeps the division finite, positive.

    Returns:
        The transform, with the slots ``m``, ``n`` and ``v``. The slow mean is not corrected for its start at zero.

    Raises:
        TypeError: an argument is not a number.
        ValueError: an argument is out of range.

    Example:
        >>> params = {"w": np.ones(2)}
        >>> init, update = scale_by_ademamix(b3=0.9)
        >>> update({"w": np.array([5.0, -0.01])}, init(params), params)[0]["w"].round(4)
        array([ 1.5, -1.5])

    Reference:
        Pagliardini, Ablin & Grangier (2024), The AdEMAMix Optimizer: Better, Faster, Older, algorithm 1.
    """
    kind = "scale_by_ademamix"
    b1, b2, eps = checked_decays(kind, b1, b2, eps)
    if not callable(b3):
        b3 = checks.fraction(kind, "b3", b3)

    def rule(g: Array, state: Slots, p: Array, hyper: Hyper, u: Array, new_state: Slots) -> None:
        t = hyper["step"] + 1
        m = running_mean(state["m"], b1, g, new_state["m"], u)
        n = running_mean(state["n"], hyper["b3"], g, new_state["n"], u)
        v = running_square(state["v"], b2, g, new_state["v"], u)
        root = np.sqrt(v)
        root /= math.sqrt(1 - b2**t)
        root += eps
        np.multiply(n, hyper["alpha"] * (1 - b1**t), out=u)
        u += m
        u /= 1 - b1**t
        u /= root

    rates = {"b3": b3, "alpha": alpha}
    return lift(kind, rule, slots=("m", "n", "v"), rates=rates, counts=True, in_place=True)


@recorded
def ademamix(
    rate: Rate,
    b1: float = 0.9,
    b2: float = 0.999,
    b3: Rate = 0.9999,
    alpha: Rate = 5.0,
    eps: float = 1e-8,
    weight_decay: Rate = 0.0,
    decay_mask: Mask | None = None,
) -> Optimizer:
    """p = p - rate · ((m̂ + alpha · n) / (√v̂ + eps) + weight_decay · p): Adam that also uses very old gradients.

    Args:
        rate: the learning rate, a number or a schedule; 1e-3 is usual.
        b1: decay of the fast mean; see ``scale_by_ademamix``.
        b2: decay of the mean square; see ``scale_by_ademamix``.
        b3: decay of the slow mean; see ``scale_by_ademamix``.
        alpha: the weight of the slow mean; see ``scale_by_ademamix``.
        eps: added to the root; see ``scale_by_ademamix``.
        weight_decay: the factor by which weights decay, before the rate; see ``add_decayed_weights``.
        decay_mask: which parameters decay, by default those with two axes or more; see ``add_decayed_weights``.

    Returns:
        The optimizer.

    Raises:
        TypeError, ValueError: as ``scale_by_ademamix``, ``add_decayed_weights`` and ``scale_by_rate``.

    Example:
        >>> params = {"w": np.ones(1)}
        >>> init, update = ademamix(0.1, b3=0.9)
        >>> update({"w": np.array([2.0])}, init(params), params)[0]["w"].round(4)
        array([-0.15])

    Reference:
        That of ``scale_by_ademamix``.
    """
    return chain(
        scale_by_ademamix(b1, b2, b3, alpha, eps),
        add_decayed_weights(weight_decay, decay_mask),
        scale_by_rate(rate),
    )


@recorded
def scale_by_adopt(b1: float = 0.9, b2: float = 0.9999, eps: float = 1e-6, clip: bool = True) -> Optimizer:
    """u = b1 m + (1 - b1) clip(g / max(√v, eps), ±step^¼), with the v of the steps before; step 0 measures v = g² only.

    The gradient is divided by a size that it is not part of, so that any b2 converges.

    Args:
        b1: decay of the mean of the quotient, in [0, 1).
        b2: decay of the mean square, in [0, 1).
        eps: the least divisor, positive.
        clip: limit the quotient to step^¼ in size.

    Returns:
        The transform, with the slots ``m`` and ``v``. Its update at step 0 is zero.

    Raises:
        TypeError: an argument is not a number, or ``clip`` is not a bool.
        ValueError: an argument is out of range.

    Example:
        >>> params, grads = {"w": np.ones(2)}, {"w": np.array([5.0, -1.0])}
        >>> init, update = scale_by_adopt()
        >>> _, state = update(grads, init(params), params)
        >>> update(grads, state, params)[0]["w"].round(4)
        array([ 0.1, -0.1])

    Reference:
        Taniguchi et al. (2024), ADOPT: Modified Adam Can Converge with Any β2 with the Optimal Rate, algorithm 2.
    """
    kind = "scale_by_adopt"
    b1, b2, eps = checked_decays(kind, b1, b2, eps)
    clip = checks.flag(kind, "clip", clip)

    def rule(g: Array, state: Slots, p: Array, hyper: Hyper, u: Array, new_state: Slots) -> Array | None:
        step = hyper["step"]
        if step == 0:
            np.multiply(g, g, out=new_state["v"])
            new_state["m"][...] = state["m"]
            u.fill(0)
            return None
        np.sqrt(state["v"], out=u)
        np.maximum(u, eps, out=u)
        np.divide(g, u, out=u)
        if clip:
            np.clip(u, -(step**0.25), step**0.25, out=u)
        quotient = u.copy()
        running_square(state["v"], b2, g, new_state["v"], u)
        return running_mean(state["m"], b1, quotient, new_state["m"], u)

    return lift(kind, rule, slots=("m", "v"), counts=True, in_place=True)


@recorded
def adopt(rate: Rate, b1: float = 0.9, b2: float = 0.9999, eps: float = 1e-6, clip: bool = True) -> Optimizer:
    """p = p - rate · m,  m = b1 m + (1 - b1) g / max(√v, eps), with the v before this gradient: Adam for any b2.

    Args:
        rate: the learning rate, a number or a schedule; 1e-3 is usual.
        b1: decay of the mean; see ``scale_by_adopt``.
        b2: decay of the mean square; see ``scale_by_adopt``.
        eps: the least divisor; see ``scale_by_adopt``.
        clip: limit the quotient; see ``scale_by_adopt``.

    Returns:
        The optimizer.

    Raises:
        TypeError, ValueError: as ``scale_by_adopt`` and ``scale_by_rate``.

    Example:
        >>> params = grads = {"w": np.ones(1)}
        >>> init, update = adopt(0.1)
        >>> _, state = update(grads, init(params), params)
        >>> update(grads, state, params)[0]["w"].round(4)
        array([-0.01])

    Reference:
        That of ``scale_by_adopt``.
    """
    return chain(scale_by_adopt(b1, b2, eps, clip), scale_by_rate(rate))
