"""Lion, Signum and Rprop: rules that use the sign of a gradient, so that its size does not decide on the step."""

from __future__ import annotations

from functools import partial

import numpy as np

from funcnn import checks
from funcnn.aliases import Array
from funcnn.optim.core import Optimizer, chain, lift
from funcnn.optim.elementwise import Slots, running_mean
from funcnn.optim.masks import Mask
from funcnn.optim.schedules import Rate
from funcnn.optim.sgd import add_decayed_weights, scale_by_rate
from funcnn.optim.state import Hyper, SlotStarts
from funcnn.recorded import recorded

__all__ = ["lion", "rprop", "scale_by_lion", "scale_by_rprop", "scale_by_signum", "signum"]


@recorded
def scale_by_lion(b1: float = 0.9, b2: float = 0.99) -> Optimizer:
    """u = sign(b1 m + (1 - b1) g);  m = b2 m + (1 - b2) g.

    Args:
        b1: the weight of the mean in the update, in [0, 1).
        b2: decay of the mean of the gradient, in [0, 1).

    Returns:
        The transform, with the slot ``m``.

    Raises:
        TypeError: an argument is not a number.
        ValueError: an argument is out of range.

    Example:
        >>> params = {"w": np.ones(3)}
        >>> init, update = scale_by_lion()
        >>> update({"w": np.array([5.0, -0.01, 0.0])}, init(params), params)[0]
        {'w': array([ 1., -1.,  0.])}

    Reference:
        Chen et al. (2023), Symbolic Discovery of Optimization Algorithms, algorithm 2.
    """
    kind = "scale_by_lion"
    b1, b2 = checks.fraction(kind, "b1", b1), checks.fraction(kind, "b2", b2)

    def rule(g: Array, state: Slots, p: Array, hyper: Hyper, u: Array, new_state: Slots) -> None:
        mixed = running_mean(state["m"], b1, g, np.empty_like(g), u)
        running_mean(state["m"], b2, g, new_state["m"], u)
        np.sign(mixed, out=u)

    return lift(kind, rule, slots=("m",), in_place=True)


@recorded
def lion(
    rate: Rate, b1: float = 0.9, b2: float = 0.99, weight_decay: Rate = 1e-3, decay_mask: Mask | None = None
) -> Optimizer:
    """p = p - rate · (sign(b1 m + (1 - b1) g) + weight_decay · p): every weight moves by exactly the rate.

    Args:
        rate: the learning rate, a number or a schedule; 1e-4 is usual, a third to a tenth of Adam's.
        b1: the weight of the mean; see ``scale_by_lion``.
        b2: decay of the mean; see ``scale_by_lion``.
        weight_decay: the factor by which weights decay, before the rate; see ``add_decayed_weights``.
        decay_mask: which parameters decay, by default those with two axes or more; see ``add_decayed_weights``.

    Returns:
        The optimizer.

    Raises:
        TypeError, ValueError: as ``scale_by_lion``, ``add_decayed_weights`` and ``scale_by_rate``.

    Example:
        >>> params = {"w": np.ones(1)}
        >>> init, update = lion(0.1)
        >>> update({"w": np.array([2.0])}, init(params), params)[0]
        {'w': array([-0.1])}

    Reference:
        That of ``scale_by_lion``.
    """
    return chain(scale_by_lion(b1, b2), add_decayed_weights(weight_decay, decay_mask), scale_by_rate(rate))


@recorded
def scale_by_signum(decay: float = 0.9) -> Optimizer:
    """m = decay m + (1 - decay) g;  u = sign(m).

    Args:
        decay: of the mean of the gradient, in [0, 1); 0 gives signSGD.

    Returns:
        The transform, with the slot ``m``.

    Raises:
        TypeError: ``decay`` is not a number.
        ValueError: ``decay`` is out of range.

    Example:
        >>> params = {"w": np.ones(2)}
        >>> init, update = scale_by_signum()
        >>> update({"w": np.array([5.0, -0.01])}, init(params), params)[0]
        {'w': array([ 1., -1.])}

    Reference:
        Bernstein et al. (2018), signSGD: Compressed Optimisation for Non-Convex Problems, algorithm 2.
    """
    decay = checks.fraction("scale_by_signum", "decay", decay)

    def rule(g: Array, state: Slots, p: Array, hyper: Hyper, u: Array, new_state: Slots) -> None:
        np.sign(running_mean(state["m"], decay, g, new_state["m"], u), out=u)

    return lift("scale_by_signum", rule, slots=("m",), in_place=True)


@recorded
def signum(rate: Rate, decay: float = 0.9) -> Optimizer:
    """p = p - rate · sign(m),  m = decay m + (1 - decay) g.

    Args:
        rate: the learning rate, a number or a schedule; 1e-4 is usual.
        decay: of the mean; see ``scale_by_signum``.

    Returns:
        The optimizer.

    Raises:
        TypeError, ValueError: as ``scale_by_signum`` and ``scale_by_rate``.

    Example:
        >>> params = {"w": np.ones(1)}
        >>> init, update = signum(0.1)
        >>> update({"w": np.array([2.0])}, init(params), params)[0]
        {'w': array([-0.1])}

    Reference:
        That of ``scale_by_signum``.
    """
    return chain(scale_by_signum(decay), scale_by_rate(rate))


@recorded
def scale_by_rprop(
    start: float = 0.01, shrink: float = 0.5, grow: float = 1.2, least: float = 1e-6, largest: float = 50.0
) -> Optimizer:
    """u = sign(g) · s, where each s grows while its gradient keeps its sign, and shrinks when the sign changes.

    s = clip(s · (grow, 1, shrink for g · before > 0, = 0, < 0), least, largest); after a change, u = before = 0.

    Args:
        start: the first step size s, positive.
        shrink: the factor after a change of sign, between 0 and 1.
        grow: the factor otherwise, at least 1.
        least: the least step size, not negative.
        largest: the largest step size.

    Returns:
        The transform, with the slots ``before`` and ``size``. It is made for gradients of the whole data: those of
        batches change their signs by chance.

    Raises:
        TypeError: an argument is not a number.
        ValueError: an argument is out of range.

    Example:
        >>> params, grads = {"w": np.ones(1)}, {"w": np.array([3.0])}
        >>> init, update = scale_by_rprop(0.1)
        >>> _, state = update(grads, init(params), params)
        >>> update(grads, state, params)[0]
        {'w': array([0.12])}

    Reference:
        Riedmiller & Braun (1993), A Direct Adaptive Method for Faster Backpropagation Learning: The RPROP Algorithm,
        without the step back, as in PyTorch.
    """
    kind = "scale_by_rprop"
    start, shrink = checks.positive(kind, "start", start, "0.01"), checks.proper_fraction(kind, "shrink", shrink)
    grow = checks.nonnegative(kind, "grow", grow)
    least, largest = checks.nonnegative(kind, "least", least), checks.nonnegative(kind, "largest", largest)
    if grow < 1:
        raise ValueError(f"{kind}: grow: expected a factor of at least 1, got {grow}; 1.2 is usual")
    if largest < least:
        raise ValueError(f"{kind}: expected least <= largest, got {least=} and {largest=}")

    def rule(g: Array, state: Slots, p: Array, hyper: Hyper, u: Array, new_state: Slots) -> None:
        np.multiply(np.sign(g), np.sign(state["before"]), out=u)
        factor = np.ones_like(u)
        factor[u > 0] = grow
        changed = u < 0
        factor[changed] = shrink
        size = np.multiply(state["size"], factor, out=new_state["size"])
        np.clip(size, least, largest, out=size)
        before = new_state["before"]
        before[...] = g
        before[changed] = 0
        np.sign(before, out=u)
        u *= size

    slots: SlotStarts = {"before": np.zeros_like, "size": partial(np.full_like, fill_value=start)}
    return lift(kind, rule, slots=slots, in_place=True)


@recorded
def rprop(rate: float, shrink: float = 0.5, grow: float = 1.2, least: float = 1e-6, largest: float = 50.0) -> Optimizer:
    """p = p - sign(g) · s: every weight has a step size s of its own, which the signs of its gradient change.

    Args:
        rate: the first step size, positive; 1e-2 is usual. It is a number, since the rule changes it.
        shrink: the factor after a change of sign; see ``scale_by_rprop``.
        grow: the factor otherwise; see ``scale_by_rprop``.
        least: the least step size; see ``scale_by_rprop``.
        largest: the largest step size; see ``scale_by_rprop``.

    Returns:
        The optimizer.

    Raises:
        TypeError, ValueError: as ``scale_by_rprop``.

    Example:
        >>> params = {"w": np.ones(1)}
        >>> init, update = rprop(0.1)
        >>> update({"w": np.array([2.0])}, init(params), params)[0]
        {'w': array([-0.1])}

    Reference:
        That of ``scale_by_rprop``.
    """
    return chain(scale_by_rprop(rate, shrink, grow, least, largest), scale_by_rate(1.0))
