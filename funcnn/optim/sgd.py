"""Stochastic gradient descent: steps against the gradient, or against a fading sum of all gradients."""

from __future__ import annotations

import numpy as np

from funcnn import checks
from funcnn.aliases import Array
from funcnn.optim.core import Optimizer, assembled, chain, lift
from funcnn.optim.elementwise import ElementwiseRule, Slots
from funcnn.optim.pipeline import Part
from funcnn.optim.schedules import Schedule
from funcnn.optim.state import Hyper, state_spec
from funcnn.recorded import recorded

__all__ = ["add_momentum", "scale_by_rate", "sgd"]


@recorded
def scale_by_rate(rate: float | Schedule) -> Optimizer:
    """u = -rate · g: the last transform of a chain, which makes the step a descent.

    Args:
        rate: the learning rate, a number or a schedule.

    Returns:
        The transform. Its state holds ``step`` and, for ``current_rate``, the last ``rate``.

    Raises:
        TypeError: ``rate`` is neither a number nor a schedule.
        ValueError: ``rate`` is negative or not finite, here or, from a schedule, at the update.

    Example:
        >>> params = {"w": np.ones(2)}
        >>> init, update = scale_by_rate(0.1)
        >>> update({"w": np.array([1.0, -2.0])}, init(params), params)[0]
        {'w': array([-0.1,  0.2])}

    Reference:
        Robbins & Monro (1951), A Stochastic Approximation Method, eq. 6.
    """

    def rule(g: Array, state: Slots, p: Array, hyper: Hyper, u: Array, new_state: Slots) -> None:
        np.multiply(g, -hyper["rate"], out=u)

    spec = state_spec("scale_by_rate", rates={"rate": rate}, counts=True)
    return assembled("scale_by_rate", [Part(ElementwiseRule(spec, rule, in_place=True, overwrites=True))])


@recorded
def add_momentum(momentum: float | Schedule, nesterov: bool = False) -> Optimizer:
    """m = momentum · m + g;  u = m, or with Nesterov's look ahead u = momentum · m + g.

    Args:
        momentum: the factor of earlier gradients, 0.9 for instance; a number or a schedule.
        nesterov: look ahead.

    Returns:
        The transform, with the slot ``m``.

    Raises:
        TypeError: ``momentum`` is neither a number nor a schedule, or ``nesterov`` is not a bool.
        ValueError: ``momentum`` is negative or not finite.

    Example:
        >>> params = grads = {"w": np.ones(1)}
        >>> init, update = add_momentum(0.9)
        >>> updates, state = update(grads, init(params), params)
        >>> update(grads, state, params)[0]
        {'w': array([1.9])}

    Reference:
        Sutskever et al. (2013), On the importance of initialization and momentum in deep learning, eq. 1 to 4, with
        the rate multiplied afterwards, as in PyTorch and Optax.
    """
    nesterov = checks.flag("add_momentum", "nesterov", nesterov)

    def rule(g: Array, state: Slots, p: Array, hyper: Hyper, u: Array, new_state: Slots) -> Array:
        m = np.multiply(state["m"], hyper["momentum"], out=new_state["m"])
        m += g
        if not nesterov:
            return m
        np.multiply(m, hyper["momentum"], out=u)
        return np.add(u, g, out=u)

    return lift("add_momentum", rule, slots=("m",), rates={"momentum": momentum}, in_place=True)


@recorded
def sgd(rate: float | Schedule, momentum: float | Schedule = 0.0, nesterov: bool = False) -> Optimizer:
    """p = p - rate · m,  m = momentum · m + g: stochastic gradient descent.

    Args:
        rate: the learning rate, a number or a schedule.
        momentum: the factor of earlier gradients; see ``add_momentum``.
        nesterov: look ahead; see ``add_momentum``.

    Returns:
        The optimizer.

    Raises:
        TypeError, ValueError: as ``add_momentum`` and ``scale_by_rate``; or ``nesterov`` is asked for without momentum.

    Example:
        >>> params = {"w": np.ones(1)}
        >>> init, update = sgd(0.1, momentum=0.9)
        >>> update({"w": np.array([2.0])}, init(params), params)[0]
        {'w': array([-0.2])}

    Reference:
        That of ``add_momentum``.
    """
    nesterov = checks.flag("sgd", "nesterov", nesterov)
    if not callable(momentum) and checks.rate("add_momentum", "momentum", momentum) == 0.0:
        if nesterov:
            raise ValueError("sgd: nesterov looks ahead along the momentum, got momentum=0; try momentum=0.9")
        return chain(scale_by_rate(rate))
    return chain(add_momentum(momentum, nesterov), scale_by_rate(rate))
