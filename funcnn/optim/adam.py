"""Adam and its variants: a running mean of the gradient, divided by the size of recent gradients.

The mean smooths the direction, and the division gives every weight a step size of its own.
"""

from __future__ import annotations

import math

import numpy as np

from funcnn.aliases import Array
from funcnn.optim.core import Optimizer, chain, lift
from funcnn.optim.elementwise import Slots, checked_decays, running_mean, running_square
from funcnn.optim.masks import Mask
from funcnn.optim.schedules import Rate
from funcnn.optim.sgd import add_decayed_weights, scale_by_rate
from funcnn.optim.state import Hyper
from funcnn.recorded import recorded

__all__ = ["adam", "adamax", "adamw", "scale_by_adam", "scale_by_adamax"]


@recorded
def scale_by_adam(b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8) -> Optimizer:
    """m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g²;  u = m / (1 - b1^t) / (√(v / (1 - b2^t)) + eps),  t = step + 1.

    The divisions by 1 - b^t undo the start of m and v at zero.

    Args:
        b1: decay of the mean of the gradient, in [0, 1).
        b2: decay of the mean of its square, in [0, 1).
        eps: keeps the division finite, positive.

    Returns:
        The transform, with the slots ``m`` and ``v``. In float32, v overflows at a gradient above 5.8e20 with the
        usual b2, and at 1.8e19 in a rule with the plain square: the weight stays where it is from there on, as in
        PyTorch, and ``fit`` raises an error after that epoch. ``chain(clip_by_global_norm(1.0), adam(1e-3))`` takes
        gradients of any finite size.

    Raises:
        TypeError: an argument is not a number.
        ValueError: an argument is out of range.

    Example:
        >>> params = {"w": np.ones(2)}
        >>> init, update = scale_by_adam()
        >>> update({"w": np.array([5.0, -0.01])}, init(params), params)[0]["w"].round(4)
        array([ 1., -1.])

    Reference:
        Kingma & Ba (2015), Adam: A Method for Stochastic Optimization, algorithm 1.
    """
    kind = "scale_by_adam"
    b1, b2, eps = checked_decays(kind, b1, b2, eps)

    def rule(g: Array, state: Slots, p: Array, hyper: Hyper, u: Array, new_state: Slots) -> None:
        t = hyper["step"] + 1
        m = running_mean(state["m"], b1, g, new_state["m"], u)
        v = running_square(state["v"], b2, g, new_state["v"], u)
        # Both corrections in one: m / c1 / (sqrt(v / c2) + eps) = m / (sqrt(v) * c1 / sqrt(c2) + c1 * eps).
        np.sqrt(v, out=u)
        u *= (1 - b1**t) / math.sqrt(1 - b2**t)
        u += (1 - b1**t) * eps
        np.divide(m, u, out=u)

    return lift(kind, rule, slots=("m", "v"), counts=True, in_place=True)


@recorded
def adam(rate: Rate, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8) -> Optimizer:
    """p = p - rate · m̂ / (√v̂ + eps): every weight moves by about the rate, in its own direction's mean.

    Args:
        rate: the learning rate, a number or a schedule; 1e-3 is usual.
        b1: decay of the mean; see ``scale_by_adam``.
        b2: decay of the mean square; see ``scale_by_adam``.
        eps: added to the root; see ``scale_by_adam``.

    Returns:
        The optimizer.

    Raises:
        TypeError, ValueError: as ``scale_by_adam`` and ``scale_by_rate``.

    Example:
        >>> params = {"w": np.ones(1)}
        >>> init, update = adam(0.1)
        >>> update({"w": np.array([2.0])}, init(params), params)[0]["w"].round(4)
        array([-0.1])

    Reference:
        That of ``scale_by_adam``.
    """
    return chain(scale_by_adam(b1, b2, eps), scale_by_rate(rate))


@recorded
def adamw(
    rate: Rate,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: Rate = 1e-2,
    decay_mask: Mask | None = None,
) -> Optimizer:
    """p = p - rate · (m̂ / (√v̂ + eps) + weight_decay · p): Adam with decoupled weight decay.

    Args:
        rate: the learning rate, a number or a schedule; 1e-3 is usual.
        b1: decay of the mean; see ``scale_by_adam``.
        b2: decay of the mean square; see ``scale_by_adam``.
        eps: added to the root; see ``scale_by_adam``.
        weight_decay: the factor by which weights decay, before the rate; see ``add_decayed_weights``.
        decay_mask: which parameters decay, by default those with two axes or more; see ``add_decayed_weights``.

    Returns:
        The optimizer.

    Raises:
        TypeError, ValueError: as ``scale_by_adam``, ``add_decayed_weights`` and ``scale_by_rate``.

    Example:
        >>> params = {"w": np.ones((1, 1)), "b": np.ones(1)}
        >>> grads = {"w": np.zeros((1, 1)), "b": np.zeros(1)}
        >>> init, update = adamw(0.1, weight_decay=0.5)
        >>> update(grads, init(params), params)[0]
        {'w': array([[-0.05]]), 'b': array([-0.])}

    Reference:
        That of ``add_decayed_weights``.
    """
    return chain(
        scale_by_adam(b1, b2, eps),
        add_decayed_weights(weight_decay, decay_mask),
        scale_by_rate(rate),
    )


@recorded
def scale_by_adamax(b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8) -> Optimizer:
    """m = b1 m + (1 - b1) g;  v = max(b2 v, |g| + eps);  u = m / (1 - b1^t) / v,  t = step + 1.

    Args:
        b1: decay of the mean of the gradient, in [0, 1).
        b2: decay of its largest size, in [0, 1).
        eps: keeps the division finite, positive.

    Returns:
        The transform, with the slots ``m`` and ``v``.

    Raises:
        TypeError: an argument is not a number.
        ValueError: an argument is out of range.

    Example:
        >>> params = {"w": np.ones(2)}
        >>> init, update = scale_by_adamax()
        >>> update({"w": np.array([5.0, -0.01])}, init(params), params)[0]["w"].round(4)
        array([ 1., -1.])

    Reference:
        Kingma & Ba (2015), Adam: A Method for Stochastic Optimization, algorithm 2, with eps as in PyTorch.
    """
    kind = "scale_by_adamax"
    b1, b2, eps = checked_decays(kind, b1, b2, eps)

    def rule(g: Array, state: Slots, p: Array, hyper: Hyper, u: Array, new_state: Slots) -> None:
        m = running_mean(state["m"], b1, g, new_state["m"], u)
        v = np.multiply(state["v"], b2, out=new_state["v"])
        np.abs(g, out=u)
        u += eps
        np.maximum(v, u, out=v)
        np.divide(m, 1 - b1 ** (hyper["step"] + 1), out=u)
        u /= v

    return lift(kind, rule, slots=("m", "v"), counts=True, in_place=True)


@recorded
def adamax(rate: Rate, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8) -> Optimizer:
    """p = p - rate · m̂ / v,  v = max(b2 v, |g| + eps): Adam with the largest gradient in place of the mean square.

    Args:
        rate: the learning rate, a number or a schedule; 2e-3 is usual.
        b1: decay of the mean; see ``scale_by_adamax``.
        b2: decay of the largest size; see ``scale_by_adamax``.
        eps: added to the size; see ``scale_by_adamax``.

    Returns:
        The optimizer.

    Raises:
        TypeError, ValueError: as ``scale_by_adamax`` and ``scale_by_rate``.

    Example:
        >>> params = {"w": np.ones(1)}
        >>> init, update = adamax(0.1)
        >>> update({"w": np.array([2.0])}, init(params), params)[0]["w"].round(4)
        array([-0.1])

    Reference:
        That of ``scale_by_adamax``.
    """
    return chain(scale_by_adamax(b1, b2, eps), scale_by_rate(rate))
