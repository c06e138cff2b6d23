"""RMSprop, AdaGrad and AdaDelta: the gradient, divided by the root of a sum or a mean of earlier squares."""

from __future__ import annotations

import numpy as np

from funcnn import checks
from funcnn.aliases import Array
from funcnn.optim.core import Optimizer, chain, lift
from funcnn.optim.elementwise import Slots, running_mean, running_square
from funcnn.optim.schedules import Rate
from funcnn.optim.sgd import momentum_of, scale_by_rate
from funcnn.optim.state import Hyper
from funcnn.recorded import recorded

__all__ = ["adadelta", "adagrad", "rmsprop", "scale_by_adadelta", "scale_by_adagrad", "scale_by_rmsprop"]


@recorded
def scale_by_rmsprop(decay: float = 0.99, eps: float = 1e-8, centered: bool = False) -> Optimizer:
    """v = decay v + (1 - decay) g²;  u = g / (√v + eps), or centered u = g / (√(v - m²) + eps).

    Args:
        decay: of the mean of the gradient's square, in [0, 1).
        eps: keeps the division finite, positive.
        centered: divide by the standard deviation instead, with the mean m = decay m + (1 - decay) g.

    Returns:
        The transform, with the slot ``v``, and ``m`` if it is centered.

    Raises:
        TypeError: an argument is not a number, or ``centered`` is not a bool.
        ValueError: an argument is out of range.

    Example:
        >>> params = {"w": np.ones(2)}
        >>> init, update = scale_by_rmsprop(decay=0.75)
        >>> update({"w": np.array([5.0, -0.01])}, init(params), params)[0]["w"].round(4)
        array([ 2., -2.])

    Reference:
        Tieleman & Hinton (2012), Neural Networks for Machine Learning, lecture 6.5; centered, Graves (2013),
        Generating Sequences With Recurrent Neural Networks, eq. 38 to 41, with eps as in PyTorch.
    """
    kind = "scale_by_rmsprop"
    centered = checks.flag(kind, "centered", centered)
    decay, eps = checks.fraction(kind, "decay", decay), checks.positive(kind, "eps", eps)

    def rule(g: Array, state: Slots, p: Array, hyper: Hyper, u: Array, new_state: Slots) -> None:
        v = running_square(state["v"], decay, g, new_state["v"], u)
        if centered:
            m = running_mean(state["m"], decay, g, new_state["m"], u)
            np.subtract(v, np.multiply(m, m, out=u), out=u)
            np.maximum(u, 0, out=u)  # rounding may have made it negative
            np.sqrt(u, out=u)
        else:
            np.sqrt(v, out=u)
        u += eps
        np.divide(g, u, out=u)

    return lift(kind, rule, slots=("v", "m") if centered else ("v",), in_place=True)


@recorded
def rmsprop(
    rate: Rate, decay: float = 0.99, eps: float = 1e-8, centered: bool = False, momentum: Rate = 0.0
) -> Optimizer:
    """p = p - rate · g / (√v + eps),  v = decay v + (1 - decay) g².

    Args:
        rate: the learning rate, a number or a schedule; 1e-2 is usual.
        decay: of the mean square; see ``scale_by_rmsprop``.
        eps: added to the root; see ``scale_by_rmsprop``.
        centered: divide by the standard deviation; see ``scale_by_rmsprop``.
        momentum: the factor of earlier quotients, a number or a schedule; see ``add_momentum``.

    Returns:
        The optimizer.

    Raises:
        TypeError, ValueError: as ``scale_by_rmsprop``, ``add_momentum`` and ``scale_by_rate``.

    Example:
        >>> params = {"w": np.ones(1)}
        >>> init, update = rmsprop(0.1)
        >>> update({"w": np.array([2.0])}, init(params), params)[0]["w"].round(4)
        array([-1.])

    Reference:
        That of ``scale_by_rmsprop``.
    """
    return chain(scale_by_rmsprop(decay, eps, centered), *momentum_of(momentum), scale_by_rate(rate))


@recorded
def scale_by_adagrad(eps: float = 1e-10) -> Optimizer:
    """v = v + g²;  u = g / (√v + eps).

    Args:
        eps: keeps the division finite, positive.

    Returns:
        The transform, with the slot ``v``.

    Raises:
        TypeError: ``eps`` is not a number.
        ValueError: ``eps`` is not positive.

    Example:
        >>> params = grads = {"w": np.ones(1)}
        >>> init, update = scale_by_adagrad()
        >>> updates, state = update(grads, init(params), params)
        >>> update(grads, state, params)[0]["w"].round(4)
        array([0.7071])

    Reference:
        Duchi, Hazan & Singer (2011), Adaptive Subgradient Methods, section 1.1 with diagonal matrices.
    """
    eps = checks.positive("scale_by_adagrad", "eps", eps)

    def rule(g: Array, state: Slots, p: Array, hyper: Hyper, u: Array, new_state: Slots) -> None:
        v = np.add(state["v"], np.multiply(g, g, out=u), out=new_state["v"])
        np.sqrt(v, out=u)
        u += eps
        np.divide(g, u, out=u)

    return lift("scale_by_adagrad", rule, slots=("v",), in_place=True)


@recorded
def adagrad(rate: Rate, eps: float = 1e-10) -> Optimizer:
    """p = p - rate · g / (√v + eps),  v = v + g²: large earlier gradients shorten the step.

    Args:
        rate: the learning rate, a number or a schedule; 1e-2 is usual.
        eps: added to the root; see ``scale_by_adagrad``.

    Returns:
        The optimizer.

    Raises:
        TypeError, ValueError: as ``scale_by_adagrad`` and ``scale_by_rate``.

    Example:
        >>> params = {"w": np.ones(1)}
        >>> init, update = adagrad(0.1)
        >>> update({"w": np.array([2.0])}, init(params), params)[0]["w"].round(4)
        array([-0.1])

    Reference:
        That of ``scale_by_adagrad``.
    """
    return chain(scale_by_adagrad(eps), scale_by_rate(rate))


@recorded
def scale_by_adadelta(rho: float = 0.9, eps: float = 1e-6) -> Optimizer:
    """v = rho v + (1 - rho) g²;  u = √((d + eps) / (v + eps)) g;  d = rho d + (1 - rho) u².

    The units cancel: the update is measured by earlier updates, so that no learning rate needs to be found.

    Args:
        rho: decay of both means of squares, in [0, 1).
        eps: starts the first step and keeps the division finite, positive.

    Returns:
        The transform, with the slots ``v`` for gradients and ``d`` for updates.

    Raises:
        TypeError: an argument is not a number.
        ValueError: an argument is out of range.

    Example:
        >>> params = {"w": np.ones(1)}
        >>> init, update = scale_by_adadelta()
        >>> update({"w": np.array([1.0])}, init(params), params)[0]["w"].round(6)
        array([0.003162])

    Reference:
        Zeiler (2012), ADADELTA: An Adaptive Learning Rate Method, algorithm 1.
    """
    kind = "scale_by_adadelta"
    rho, eps = checks.fraction(kind, "rho", rho), checks.positive(kind, "eps", eps)

    def rule(g: Array, state: Slots, p: Array, hyper: Hyper, u: Array, new_state: Slots) -> None:
        v = running_square(state["v"], rho, g, new_state["v"], u)
        np.add(state["d"], eps, out=u)
        temporary = v + eps
        u /= temporary
        np.sqrt(u, out=u)
        u *= g
        d = np.multiply(state["d"], rho, out=new_state["d"])
        np.multiply(u, 1 - rho, out=temporary)
        temporary *= u
        d += temporary

    return lift(kind, rule, slots=("v", "d"), in_place=True)


@recorded
def adadelta(rate: Rate = 1.0, rho: float = 0.9, eps: float = 1e-6) -> Optimizer:
    """p = p - rate · √(d + eps) / √(v + eps) · g, with d and v the mean squares of earlier updates and gradients.

    Args:
        rate: 1.0, the paper's, which has none; a number or a schedule.
        rho: decay of both mean squares; see ``scale_by_adadelta``.
        eps: starts the first step; see ``scale_by_adadelta``.

    Returns:
        The optimizer.

    Raises:
        TypeError, ValueError: as ``scale_by_adadelta`` and ``scale_by_rate``.

    Example:
        >>> params = {"w": np.ones(1)}
        >>> init, update = adadelta()
        >>> update({"w": np.array([1.0])}, init(params), params)[0]["w"].round(6)
        array([-0.003162])

    Reference:
        That of ``scale_by_adadelta``.
    """
    return chain(scale_by_adadelta(rho, eps), scale_by_rate(rate))
