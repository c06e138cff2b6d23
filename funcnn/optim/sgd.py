"""Stochastic gradient descent: steps against the gradient, or against a fading sum of all gradients."""

from __future__ import annotations

import numpy as np

from funcnn import checks, tree
from funcnn.aliases import Array, Tree
from funcnn.optim.core import Optimizer, assembled, chain, lift
from funcnn.optim.elementwise import ElementwiseRule, Slots
from funcnn.optim.masks import Mask
from funcnn.optim.pipeline import Part
from funcnn.optim.schedules import Rate
from funcnn.optim.state import Hyper, state_spec
from funcnn.recorded import recorded

__all__ = ["add_decayed_weights", "add_momentum", "scale_by_rate", "sgd"]


@recorded
def scale_by_rate(rate: Rate) -> Optimizer:
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
def add_momentum(momentum: Rate, nesterov: bool = False, dampening: float = 0.0) -> Optimizer:
    """m = momentum · m + (1 - dampening) g;  u = m, or with Nesterov's look ahead u = momentum · m + g.

    Args:
        momentum: the factor of earlier gradients, 0.9 for instance; a number or a schedule.
        nesterov: look ahead.
        dampening: the fraction of each gradient but the first that is left out, in [0, 1); with Nesterov, 0.

    Returns:
        The transform, with the slot ``m``; it counts steps if there is a dampening.

    Raises:
        TypeError: ``momentum`` is neither a number nor a schedule, ``nesterov`` is not a bool, or ``dampening`` is not
            a number.
        ValueError: ``momentum`` is negative or not finite, ``dampening`` is out of range, or both ``nesterov`` and a
            dampening are given.

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
    dampening = checks.fraction("add_momentum", "dampening", dampening)
    if nesterov and dampening:
        raise ValueError(f"add_momentum: nesterov needs the whole gradient, got {dampening=}; leave one of them out")

    def rule(g: Array, state: Slots, p: Array, hyper: Hyper, u: Array, new_state: Slots) -> Array:
        m = np.multiply(state["m"], hyper["momentum"], out=new_state["m"])
        m += np.multiply(g, 1 - dampening, out=u) if dampening and hyper["step"] else g
        if not nesterov:
            return m
        np.multiply(m, hyper["momentum"], out=u)
        return np.add(u, g, out=u)

    counts = dampening > 0
    return lift("add_momentum", rule, slots=("m",), rates={"momentum": momentum}, counts=counts, in_place=True)


@recorded
def add_decayed_weights(weight_decay: Rate, mask: Mask | None = None) -> Optimizer:
    """u = g + weight_decay · p.

    Args:
        weight_decay: the factor of the weights that is added, a number or a schedule.
        mask: which parameters decay, as for ``masked``; by default those with two axes or more, so that biases, scales
            and shifts are spared.

    Returns:
        The transform.

    Raises:
        TypeError: ``weight_decay`` is neither a number nor a schedule.
        ValueError: ``weight_decay`` is negative or not finite.

    Example:
        >>> params = {"w": np.ones((1, 2)), "b": np.ones(2)}
        >>> grads = {"w": np.zeros((1, 2)), "b": np.zeros(2)}
        >>> init, update = add_decayed_weights(0.01)
        >>> update(grads, init(params), params)[0]
        {'w': array([[0.01, 0.01]]), 'b': array([0., 0.])}

    Reference:
        Loshchilov & Hutter (2019), Decoupled Weight Decay Regularization, algorithm 2.
    """
    return _decayed(weight_decay, _has_two_axes if mask is None else mask)


@recorded
def sgd(
    rate: Rate,
    momentum: Rate = 0.0,
    nesterov: bool = False,
    weight_decay: Rate = 0.0,
    dampening: float = 0.0,
) -> Optimizer:
    """p = p - rate · m,  m = momentum · m + g + weight_decay · p: stochastic gradient descent.

    Args:
        rate: the learning rate, a number or a schedule.
        momentum: the factor of earlier gradients; see ``add_momentum``.
        nesterov: look ahead; see ``add_momentum``.
        weight_decay: the factor of the parameters that is added to their gradients, before the momentum, as in
            PyTorch: the gradient of the penalty weight_decay / 2 · |p|². All parameters decay;
            ``chain(add_decayed_weights(1e-4), sgd(0.1))`` spares biases, scales and shifts.
        dampening: the fraction of each gradient but the first that the momentum leaves out; see ``add_momentum``.

    Returns:
        The optimizer.

    Raises:
        TypeError, ValueError: as ``add_momentum``, ``add_decayed_weights`` and ``scale_by_rate``; or ``nesterov`` or
            ``dampening`` is asked for without momentum.

    Example:
        >>> params = {"w": np.ones(1)}
        >>> init, update = sgd(0.1, momentum=0.9)
        >>> update({"w": np.array([2.0])}, init(params), params)[0]
        {'w': array([-0.2])}

    Reference:
        That of ``add_momentum``; Krogh & Hertz (1991), A simple weight decay can improve generalization, eq. 1.
    """
    nesterov = checks.flag("sgd", "nesterov", nesterov)
    dampening = checks.fraction("sgd", "dampening", dampening)
    inertia = momentum_of(momentum, nesterov, dampening)
    if not inertia and nesterov:
        raise ValueError("sgd: nesterov looks ahead along the momentum, got momentum=0; try momentum=0.9")
    if not inertia and dampening:
        raise ValueError("sgd: dampening is that of the momentum, got momentum=0; try momentum=0.9")
    return chain(*decay_of("sgd", weight_decay), *inertia, scale_by_rate(rate))


def momentum_of(momentum: Rate, nesterov: bool = False, dampening: float = 0.0) -> list[Optimizer]:
    """The transform that adds a momentum; none if it is 0."""
    if not callable(momentum) and checks.rate("add_momentum", "momentum", momentum) == 0.0:
        return []
    return [add_momentum(momentum, nesterov, dampening)]


def decay_of(kind: str, weight_decay: Rate) -> list[Optimizer]:
    """The transform that adds all decayed weights to the gradients; none if the decay is 0."""
    decays = callable(weight_decay) or checks.rate(kind, "weight_decay", weight_decay) > 0
    return [_decayed(weight_decay, None)] if decays else []


def _decayed(weight_decay: Rate, mask: Mask | None) -> Optimizer:
    """The transform that adds decayed weights, those of a mask or all."""

    def rule(g: Array, state: Slots, p: Array, hyper: Hyper, u: Array, new_state: Slots) -> None:
        np.multiply(p, hyper["weight_decay"], out=u)
        u += g

    return lift("add_decayed_weights", rule, rates={"weight_decay": weight_decay}, mask=mask, in_place=True)


def _has_two_axes(params: Tree) -> Tree:
    """Which parameters are weights: biases, scales and shifts have one axis."""
    return tree.map(lambda p: np.ndim(p) >= 2, params)
