"""Rules of Adam's form with another mean or another mean square: NAdam, RAdam, AMSGrad, AdaBelief and Yogi.

Each keeps a running mean ``m`` of the gradient and a size ``v``, and differs from Adam in one line.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from funcnn import checks
from funcnn.aliases import Array
from funcnn.optim.core import Optimizer, chain, lift
from funcnn.optim.elementwise import Slots, checked_decays, running_mean, running_square
from funcnn.optim.schedules import Rate
from funcnn.optim.sgd import scale_by_rate
from funcnn.optim.state import Hyper
from funcnn.recorded import recorded

__all__ = [
    "adabelief", "amsgrad", "nadam", "radam", "scale_by_adabelief", "scale_by_amsgrad", "scale_by_nadam",
    "scale_by_radam", "scale_by_yogi", "yogi",
]  # fmt: skip


@recorded
def scale_by_nadam(b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8, momentum_decay: float = 4e-3) -> Optimizer:
    """u = ((1 - μ_t) g / (1 - Πμ) + μ_{t+1} m / (1 - μ_{t+1} Πμ)) / (√v̂ + eps),  μ_t = b1 (1 - 0.96^(t·decay) / 2).

    Adam with Nesterov's look ahead, and with a decay μ of the mean that grows to b1; Πμ is the product of all so far.

    Args:
        b1: decay of the mean of the gradient, in [0, 1).
        b2: decay of the mean of its square, in [0, 1).
        eps: keeps the division finite, positive.
        momentum_decay: how fast μ grows, not negative.

    Returns:
        The transform, with the slots ``m`` and ``v`` and the number ``product``.

    Raises:
        TypeError: an argument is not a number.
        ValueError: an argument is out of range.

    Example:
        >>> params = {"w": np.ones(2)}
        >>> init, update = scale_by_nadam()
        >>> update({"w": np.array([5.0, -0.01])}, init(params), params)[0]["w"].round(2)
        array([ 1.06, -1.06])

    Reference:
        Dozat (2016), Incorporating Nesterov Momentum into Adam, algorithm 8, with the schedule of its section 3 as in
        PyTorch.
    """
    kind = "scale_by_nadam"
    b1, b2, eps = checked_decays(kind, b1, b2, eps)
    momentum_decay = checks.nonnegative(kind, "momentum_decay", momentum_decay)

    def momentum(t: float) -> float:
        return float(b1 * (1 - 0.5 * 0.96 ** (t * momentum_decay)))

    def advance(hyper: Hyper) -> Hyper:
        return {"product": hyper["product"] * momentum(hyper["step"] + 1)}

    def rule(g: Array, state: Slots, p: Array, hyper: Hyper, u: Array, new_state: Slots) -> None:
        t, product = hyper["step"] + 1, hyper["product"]
        now, after = momentum(t), momentum(t + 1)
        m = running_mean(state["m"], b1, g, new_state["m"], u)
        v = running_square(state["v"], b2, g, new_state["v"], u)
        ahead = m * (after / (1 - product * after))
        ahead += np.multiply(g, (1 - now) / (1 - product), out=u)
        np.divide(ahead, _root(v, 1 - b2**t, eps, u), out=u)

    numbers = {"product": 1.0}
    return lift(kind, rule, slots=("m", "v"), counts=True, in_place=True, numbers=numbers, advance=advance)


@recorded
def nadam(rate: Rate, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8, momentum_decay: float = 4e-3) -> Optimizer:
    """p = p - rate · u: Adam with Nesterov's look ahead; see ``scale_by_nadam`` for u.

    Args:
        rate: the learning rate, a number or a schedule; 2e-3 is usual.
        b1: decay of the mean; see ``scale_by_nadam``.
        b2: decay of the mean square; see ``scale_by_nadam``.
        eps: added to the root; see ``scale_by_nadam``.
        momentum_decay: how fast the decay of the mean grows; see ``scale_by_nadam``.

    Returns:
        The optimizer.

    Raises:
        TypeError, ValueError: as ``scale_by_nadam`` and ``scale_by_rate``.

    Example:
        >>> params = {"w": np.ones(1)}
        >>> init, update = nadam(0.1)
        >>> update({"w": np.array([2.0])}, init(params), params)[0]["w"].round(3)
        array([-0.106])

    Reference:
        That of ``scale_by_nadam``.
    """
    return chain(scale_by_nadam(b1, b2, eps, momentum_decay), scale_by_rate(rate))


@recorded
def scale_by_radam(b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8) -> Optimizer:
    """u = r m̂ √(1 - b2^t) / (√v + eps),  r = √((ρ - 4)(ρ - 2) ρ∞ / ((ρ∞ - 4)(ρ∞ - 2) ρ)) where ρ > 5, else u = m̂.

    ρ = ρ∞ - 2 t b2^t / (1 - b2^t) with ρ∞ = 2 / (1 - b2) - 1 is the number of gradients that v is a mean of: while they
    are few, their mean square varies, and Adam's division is left out or reduced.

    Args:
        b1: decay of the mean of the gradient, in [0, 1).
        b2: decay of the mean of its square, in [0, 1).
        eps: keeps the division finite, positive.

    Returns:
        The transform, with the slots ``m`` and ``v``.

    Raises:
        TypeError: an argument is not a number.
        ValueError: an argument is out of range.

    Example:
        >>> params = {"w": np.ones(2)}
        >>> init, update = scale_by_radam()
        >>> update({"w": np.array([5.0, -0.01])}, init(params), params)[0]["w"].round(4)
        array([ 5.  , -0.01])

    Reference:
        Liu et al. (2020), On the Variance of the Adaptive Learning Rate and Beyond, algorithm 2, with the limit 5 of
        its authors' code, as in PyTorch.
    """
    kind = "scale_by_radam"
    b1, b2, eps = checked_decays(kind, b1, b2, eps)
    longest = 2 / (1 - b2) - 1

    def rule(g: Array, state: Slots, p: Array, hyper: Hyper, u: Array, new_state: Slots) -> None:
        t = hyper["step"] + 1
        m = running_mean(state["m"], b1, g, new_state["m"], u)
        v = running_square(state["v"], b2, g, new_state["v"], u)
        length = longest - 2 * t * b2**t / (1 - b2**t)
        if length <= 5:
            np.divide(m, 1 - b1**t, out=u)
            return
        certainty = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
        np.sqrt(v, out=u)
        u += eps
        np.divide(m, u, out=u)
        u *= math.sqrt(certainty * (1 - b2**t)) / (1 - b1**t)

    return lift(kind, rule, slots=("m", "v"), counts=True, in_place=True)


@recorded
def radam(rate: Rate, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8) -> Optimizer:
    """p = p - rate · u: Adam whose first steps need no warm-up; see ``scale_by_radam`` for u.

    Args:
        rate: the learning rate, a number or a schedule; 1e-3 is usual.
        b1: decay of the mean; see ``scale_by_radam``.
        b2: decay of the mean square; see ``scale_by_radam``.
        eps: added to the root; see ``scale_by_radam``.

    Returns:
        The optimizer.

    Raises:
        TypeError, ValueError: as ``scale_by_radam`` and ``scale_by_rate``.

    Example:
        >>> params = {"w": np.ones(1)}
        >>> init, update = radam(0.1)
        >>> update({"w": np.array([2.0])}, init(params), params)[0]["w"].round(4)
        array([-0.2])

    Reference:
        That of ``scale_by_radam``.
    """
    return chain(scale_by_radam(b1, b2, eps), scale_by_rate(rate))


@recorded
def scale_by_amsgrad(b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8) -> Optimizer:
    """h = max(h, v);  u = m̂ / (√(h / (1 - b2^t)) + eps), with m and v as in ``scale_by_adam``.

    Args:
        b1: decay of the mean of the gradient, in [0, 1).
        b2: decay of the mean of its square, in [0, 1).
        eps: keeps the division finite, positive.

    Returns:
        The transform, with the slots ``m``, ``v`` and ``h``.

    Raises:
        TypeError: an argument is not a number.
        ValueError: an argument is out of range.

    Example:
        >>> params = {"w": np.ones(2)}
        >>> init, update = scale_by_amsgrad()
        >>> update({"w": np.array([5.0, -0.01])}, init(params), params)[0]["w"].round(4)
        array([ 1., -1.])

    Reference:
        Reddi, Kale & Kumar (2018), On the Convergence of Adam and Beyond, algorithm 2, with Adam's corrections as in
        PyTorch.
    """
    kind = "scale_by_amsgrad"
    b1, b2, eps = checked_decays(kind, b1, b2, eps)

    def rule(g: Array, state: Slots, p: Array, hyper: Hyper, u: Array, new_state: Slots) -> None:
        t = hyper["step"] + 1
        m = running_mean(state["m"], b1, g, new_state["m"], u)
        v = running_square(state["v"], b2, g, new_state["v"], u)
        h = np.maximum(state["h"], v, out=new_state["h"])
        np.divide(m, _root(h, 1 - b2**t, eps, u), out=u)
        u /= 1 - b1**t

    return lift(kind, rule, slots=("m", "v", "h"), counts=True, in_place=True)


@recorded
def amsgrad(rate: Rate, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8) -> Optimizer:
    """p = p - rate · m̂ / (√ĥ + eps),  h = max(h, v): Adam whose divisor does not shrink.

    Args:
        rate: the learning rate, a number or a schedule; 1e-3 is usual.
        b1: decay of the mean; see ``scale_by_amsgrad``.
        b2: decay of the mean square; see ``scale_by_amsgrad``.
        eps: added to the root; see ``scale_by_amsgrad``.

    Returns:
        The optimizer.

    Raises:
        TypeError, ValueError: as ``scale_by_amsgrad`` and ``scale_by_rate``.

    Example:
        >>> params = {"w": np.ones(1)}
        >>> init, update = amsgrad(0.1)
        >>> update({"w": np.array([2.0])}, init(params), params)[0]["w"].round(4)
        array([-0.1])

    Reference:
        That of ``scale_by_amsgrad``.
    """
    return chain(scale_by_amsgrad(b1, b2, eps), scale_by_rate(rate))


@recorded
def scale_by_adabelief(b1: float = 0.9, b2: float = 0.999, eps: float = 1e-16, eps_root: float = 1e-16) -> Optimizer:
    """v = b2 v + (1 - b2) (g - m)² + eps_root;  u = m̂ / (√v̂ + eps), with m as in ``scale_by_adam``.

    A gradient near its expected value m is believed, and the step is long.

    Args:
        b1: decay of the mean of the gradient, in [0, 1).
        b2: decay of the mean square of its deviation, in [0, 1).
        eps: added to the root, positive.
        eps_root: added to the mean square at each step, positive.

    Returns:
        The transform, with the slots ``m`` and ``v``.

    Raises:
        TypeError: an argument is not a number.
        ValueError: an argument is out of range.

    Example:
        >>> params = {"w": np.ones(2)}
        >>> init, update = scale_by_adabelief()
        >>> update({"w": np.array([5.0, -0.01])}, init(params), params)[0]["w"].round(4)
        array([ 1.1111, -1.1111])

    Reference:
        Zhuang et al. (2020), AdaBelief Optimizer: Adapting Stepsizes by the Belief in Observed Gradients, algorithm 2.
    """
    kind = "scale_by_adabelief"
    b1, b2, eps = checked_decays(kind, b1, b2, eps)
    eps_root = checks.positive(kind, "eps_root", eps_root, "1e-16")

    def rule(g: Array, state: Slots, p: Array, hyper: Hyper, u: Array, new_state: Slots) -> None:
        t = hyper["step"] + 1
        m = running_mean(state["m"], b1, g, new_state["m"], u)
        v = running_square(state["v"], b2, g - m, new_state["v"], u)
        v += eps_root
        np.divide(m, _root(v, 1 - b2**t, eps, u), out=u)
        u /= 1 - b1**t

    return lift(kind, rule, slots=("m", "v"), counts=True, in_place=True)


@recorded
def adabelief(rate: Rate, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-16, eps_root: float = 1e-16) -> Optimizer:
    """p = p - rate · m̂ / (√v̂ + eps), with v the mean square of g - m: long steps where gradients agree.

    Args:
        rate: the learning rate, a number or a schedule; 1e-3 is usual.
        b1: decay of the mean; see ``scale_by_adabelief``.
        b2: decay of the mean square; see ``scale_by_adabelief``.
        eps: added to the root; see ``scale_by_adabelief``.
        eps_root: added to the mean square; see ``scale_by_adabelief``.

    Returns:
        The optimizer.

    Raises:
        TypeError, ValueError: as ``scale_by_adabelief`` and ``scale_by_rate``.

    Example:
        >>> params = {"w": np.ones(1)}
        >>> init, update = adabelief(0.1)
        >>> update({"w": np.array([2.0])}, init(params), params)[0]["w"].round(4)
        array([-0.1111])

    Reference:
        That of ``scale_by_adabelief``.
    """
    return chain(scale_by_adabelief(b1, b2, eps, eps_root), scale_by_rate(rate))


@recorded
def scale_by_yogi(b1: float = 0.9, b2: float = 0.999, eps: float = 1e-3, start: float = 1e-6) -> Optimizer:
    """v = v - (1 - b2) sign(v - g²) g²;  u = m̂ / (√v̂ + eps), with m as in ``scale_by_adam``.

    The size v moves by no more than (1 - b2) g² at a step, in both directions.

    Args:
        b1: decay of the mean of the gradient, in [0, 1).
        b2: one minus the speed of the size, in [0, 1).
        eps: keeps the division finite, positive.
        start: the first value of m and v, not negative.

    Returns:
        The transform, with the slots ``m`` and ``v``.

    Raises:
        TypeError: an argument is not a number.
        ValueError: an argument is out of range.

    Example:
        >>> params = {"w": np.ones(2)}
        >>> init, update = scale_by_yogi()
        >>> update({"w": np.array([5.0, -5.0])}, init(params), params)[0]["w"].round(3)
        array([ 1., -1.])

    Reference:
        Zaheer et al. (2018), Adaptive Methods for Nonconvex Optimization, algorithm 2, with Adam's corrections and the
        start of its authors, as in Optax.
    """
    kind = "scale_by_yogi"
    b1, b2, eps = checked_decays(kind, b1, b2, eps)
    start = checks.nonnegative(kind, "start", start)

    def rule(g: Array, state: Slots, p: Array, hyper: Hyper, u: Array, new_state: Slots) -> None:
        t = hyper["step"] + 1
        m = running_mean(state["m"], b1, g, new_state["m"], u)
        square = np.multiply(g, g, out=u)
        change = np.sign(state["v"] - square)
        change *= square
        change *= 1 - b2
        v = np.subtract(state["v"], change, out=new_state["v"])
        np.divide(m, _root(v, 1 - b2**t, eps, u), out=u)
        u /= 1 - b1**t

    first = partial(np.full_like, fill_value=start)
    return lift(kind, rule, slots={"m": first, "v": first}, counts=True, in_place=True)


@recorded
def yogi(rate: Rate, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-3, start: float = 1e-6) -> Optimizer:
    """p = p - rate · m̂ / (√v̂ + eps): Adam with a size v that changes slowly; see ``scale_by_yogi``.

    Args:
        rate: the learning rate, a number or a schedule; 1e-2 is usual.
        b1: decay of the mean; see ``scale_by_yogi``.
        b2: one minus the speed of the size; see ``scale_by_yogi``.
        eps: added to the root; see ``scale_by_yogi``.
        start: the first value of m and v; see ``scale_by_yogi``.

    Returns:
        The optimizer.

    Raises:
        TypeError, ValueError: as ``scale_by_yogi`` and ``scale_by_rate``.

    Example:
        >>> params = {"w": np.ones(1)}
        >>> init, update = yogi(0.1)
        >>> update({"w": np.array([5.0])}, init(params), params)[0]["w"].round(4)
        array([-0.1])

    Reference:
        That of ``scale_by_yogi``.
    """
    return chain(scale_by_yogi(b1, b2, eps, start), scale_by_rate(rate))


def _root(v: Array, correction: float, eps: float, out: Array) -> Array:
    """√(v / correction) + eps."""
    np.sqrt(v, out=out)
    out /= math.sqrt(correction)
    out += eps
    return out
