"""The rules that optimizers are chained from, each written for one array: ``rule(g, old, p, now, u, new)``.

A rule reads the gradient g, what it kept, ``old``, and the parameter p; it writes the update u and what it will keep,
``new``. Nothing else is allocated, since an update is bound by memory.

What they have in common is a running mean of the gradient, which smooths the direction, or of its square, which gives
every weight a step size of its own.
"""

import math
from collections.abc import Callable

import numpy as np

from funcnn import tree
from funcnn.aliases import Array, Tree
from funcnn.optim.core import Optimizer, lift, transform
from funcnn.optim.elementwise import Numbers
from funcnn.optim.schedules import Schedule, check_rate

__all__ = [
    "add_decayed_weights",
    "add_momentum",
    "clip_by_global_norm",
    "clip_by_value",
    "scale_by_adadelta",
    "scale_by_adagrad",
    "scale_by_adam",
    "scale_by_adamax",
    "scale_by_rate",
    "scale_by_rmsprop",
]

Slots = dict[str, Array]


def scale_by_rate(rate: float | Schedule) -> Optimizer:
    """u = -rate · g: the last transform of a chain, which turns an ascent into a descent.

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

    def rule(g: Array, old: Slots, p: Array, now: Numbers, u: Array, new: Slots) -> None:
        np.multiply(g, -now["rate"], out=u)

    return lift("scale_by_rate", rule, rates={"rate": rate}, counts=True)


def add_momentum(momentum: float | Schedule, nesterov: bool = False) -> Optimizer:
    """m = momentum · m + g;  u = m, or with Nesterov's look ahead u = momentum · m + g.

    Args:
        momentum: how much of the last step is kept, 0.9 for instance; a number or a schedule.
        nesterov: look ahead.

    Returns:
        The transform, with the slot ``m``.

    Raises:
        TypeError: ``momentum`` is neither a number nor a schedule.
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

    def rule(g: Array, old: Slots, p: Array, now: Numbers, u: Array, new: Slots) -> None:
        m = np.multiply(old["m"], now["momentum"], out=new["m"])
        m += g
        if nesterov:
            np.multiply(m, now["momentum"], out=u)
            u += g
        else:
            u[...] = m

    return lift("add_momentum", rule, slots=("m",), rates={"momentum": momentum})


def scale_by_adam(b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8) -> Optimizer:
    """m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g²;  u = m / (1 - b1^t) / (√(v / (1 - b2^t)) + eps),  t = step + 1.

    The divisions by 1 - b^t undo the start of m and v at zero.

    Args:
        b1: decay of the mean of the gradient, in [0, 1).
        b2: decay of the mean of its square, in [0, 1).
        eps: keeps the division finite, positive.

    Returns:
        The transform, with the slots ``m`` and ``v``.

    Raises:
        TypeError: an argument is no number.
        ValueError: an argument is out of range.

    Example:
        >>> params = {"w": np.ones(2)}
        >>> init, update = scale_by_adam()
        >>> update({"w": np.array([5.0, -0.01])}, init(params), params)[0]["w"].round(4)
        array([ 1., -1.])

    Reference:
        Kingma & Ba (2015), Adam: A Method for Stochastic Optimization, algorithm 1.
    """
    b1, b2, eps = _fraction("b1", b1), _fraction("b2", b2), _positive("eps", eps)

    def rule(g: Array, old: Slots, p: Array, now: Numbers, u: Array, new: Slots) -> None:
        t = now["step"] + 1
        m = np.multiply(old["m"], b1, out=new["m"])
        m += np.multiply(g, 1 - b1, out=u)
        v = np.multiply(old["v"], b2, out=new["v"])
        v += _squared(g, 1 - b2, out=u)
        # Both corrections in one: m / c1 / (sqrt(v / c2) + eps) = m / (sqrt(v) * c1 / sqrt(c2) + c1 * eps).
        np.sqrt(v, out=u)
        u *= (1 - b1**t) / math.sqrt(1 - b2**t)
        u += (1 - b1**t) * eps
        np.divide(m, u, out=u)

    return lift("scale_by_adam", rule, slots=("m", "v"), counts=True)


def scale_by_adamax(b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8) -> Optimizer:
    """m = b1 m + (1 - b1) g;  v = max(b2 v, |g| + eps);  u = m / (1 - b1^t) / v,  t = step + 1.

    Args:
        b1: decay of the mean of the gradient, in [0, 1).
        b2: decay of its largest size, in [0, 1).
        eps: keeps the division finite, positive.

    Returns:
        The transform, with the slots ``m`` and ``v``.

    Raises:
        TypeError: an argument is no number.
        ValueError: an argument is out of range.

    Example:
        >>> params = {"w": np.ones(2)}
        >>> init, update = scale_by_adamax()
        >>> update({"w": np.array([5.0, -0.01])}, init(params), params)[0]["w"].round(4)
        array([ 1., -1.])

    Reference:
        Kingma & Ba (2015), Adam: A Method for Stochastic Optimization, algorithm 2, with eps as in PyTorch.
    """
    b1, b2, eps = _fraction("b1", b1), _fraction("b2", b2), _positive("eps", eps)

    def rule(g: Array, old: Slots, p: Array, now: Numbers, u: Array, new: Slots) -> None:
        m = np.multiply(old["m"], b1, out=new["m"])
        m += np.multiply(g, 1 - b1, out=u)
        v = np.multiply(old["v"], b2, out=new["v"])
        np.abs(g, out=u)
        u += eps
        np.maximum(v, u, out=v)
        np.divide(m, 1 - b1 ** (now["step"] + 1), out=u)
        u /= v

    return lift("scale_by_adamax", rule, slots=("m", "v"), counts=True)


def scale_by_rmsprop(decay: float = 0.99, eps: float = 1e-8) -> Optimizer:
    """v = decay v + (1 - decay) g²;  u = g / (√v + eps).

    Args:
        decay: of the mean of the gradient's square, in [0, 1).
        eps: keeps the division finite, positive.

    Returns:
        The transform, with the slot ``v``.

    Raises:
        TypeError: an argument is no number.
        ValueError: an argument is out of range.

    Example:
        >>> params = {"w": np.ones(2)}
        >>> init, update = scale_by_rmsprop(decay=0.75)
        >>> update({"w": np.array([5.0, -0.01])}, init(params), params)[0]["w"].round(4)
        array([ 2., -2.])

    Reference:
        Tieleman & Hinton (2012), Neural Networks for Machine Learning, lecture 6.5.
    """
    decay, eps = _fraction("decay", decay), _positive("eps", eps)

    def rule(g: Array, old: Slots, p: Array, now: Numbers, u: Array, new: Slots) -> None:
        v = np.multiply(old["v"], decay, out=new["v"])
        v += _squared(g, 1 - decay, out=u)
        np.sqrt(v, out=u)
        u += eps
        np.divide(g, u, out=u)

    return lift("scale_by_rmsprop", rule, slots=("v",))


def scale_by_adagrad(eps: float = 1e-10) -> Optimizer:
    """v = v + g²;  u = g / (√v + eps).

    Args:
        eps: keeps the division finite, positive.

    Returns:
        The transform, with the slot ``v``.

    Raises:
        TypeError: ``eps`` is no number.
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
    eps = _positive("eps", eps)

    def rule(g: Array, old: Slots, p: Array, now: Numbers, u: Array, new: Slots) -> None:
        v = np.multiply(g, g, out=new["v"])
        v += old["v"]
        np.sqrt(v, out=u)
        u += eps
        np.divide(g, u, out=u)

    return lift("scale_by_adagrad", rule, slots=("v",))


def scale_by_adadelta(rho: float = 0.9, eps: float = 1e-6) -> Optimizer:
    """v = rho v + (1 - rho) g²;  u = √((d + eps) / (v + eps)) g;  d = rho d + (1 - rho) u².

    The units cancel: the update is measured by earlier updates, so that no learning rate needs to be found.

    Args:
        rho: decay of both means of squares, in [0, 1).
        eps: starts the first step and keeps the division finite, positive.

    Returns:
        The transform, with the slots ``v`` for gradients and ``d`` for updates.

    Raises:
        TypeError: an argument is no number.
        ValueError: an argument is out of range.

    Example:
        >>> params = {"w": np.ones(1)}
        >>> init, update = scale_by_adadelta()
        >>> update({"w": np.array([1.0])}, init(params), params)[0]["w"].round(6)
        array([0.003162])

    Reference:
        Zeiler (2012), ADADELTA: An Adaptive Learning Rate Method, algorithm 1.
    """
    rho, eps = _fraction("rho", rho), _positive("eps", eps)

    def rule(g: Array, old: Slots, p: Array, now: Numbers, u: Array, new: Slots) -> None:
        v = np.multiply(old["v"], rho, out=new["v"])
        v += _squared(g, 1 - rho, out=u)
        np.sqrt((old["d"] + eps) / (v + eps), out=u)
        u *= g
        d = np.multiply(old["d"], rho, out=new["d"])
        d += (1 - rho) * u * u

    return lift("scale_by_adadelta", rule, slots=("v", "d"))


def add_decayed_weights(weight_decay: float | Schedule, mask: Callable[[Tree], Tree] | None = None) -> Optimizer:
    """u = g + weight_decay · p.

    Args:
        weight_decay: how strongly the weights are pulled to zero, a number or a schedule.
        mask: ``mask(params) -> tree of bools``, True where weights decay; by default those with two axes or more, so
            that biases, scales and shifts are spared. ``tree.map_with_path`` makes masks by path.

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

    def rule(g: Array, old: Slots, p: Array, now: Numbers, u: Array, new: Slots) -> None:
        np.multiply(p, now["weight_decay"], out=u)
        u += g

    rates = {"weight_decay": weight_decay}
    return lift("add_decayed_weights", rule, rates=rates, mask=_has_two_axes if mask is None else mask)


def clip_by_value(limit: float | Schedule) -> Optimizer:
    """u = min(max(g, -limit), limit).

    Args:
        limit: the largest size of any number in a gradient, a number or a schedule.

    Returns:
        The transform.

    Raises:
        TypeError: ``limit`` is neither a number nor a schedule.
        ValueError: ``limit`` is negative or not finite.

    Example:
        >>> params = {"w": np.ones(2)}
        >>> clip_by_value(1.0).update({"w": np.array([0.5, -3.0])}, {}, params)[0]
        {'w': array([ 0.5, -1. ])}
    """

    def rule(g: Array, old: Slots, p: Array, now: Numbers, u: Array, new: Slots) -> None:
        np.clip(g, -now["limit"], now["limit"], out=u)

    return lift("clip_by_value", rule, rates={"limit": limit})


def clip_by_global_norm(max_norm: float | Schedule) -> Optimizer:
    """u = g · min(1, max_norm / ‖g‖), with the norm over all numbers of all gradients: the direction stays.

    Args:
        max_norm: the largest norm, a number or a schedule.

    Returns:
        The transform. It leaves gradients alone whose norm is not finite: hiding a divergence is not its business.

    Raises:
        TypeError: ``max_norm`` is neither a number nor a schedule.
        ValueError: ``max_norm`` is negative or not finite.

    Example:
        >>> params = {"w": np.ones(1), "b": np.ones(1)}
        >>> clip_by_global_norm(1.0).update({"w": np.array([3.0]), "b": np.array([4.0])}, {}, params)[0]
        {'w': array([0.6]), 'b': array([0.8])}

    Reference:
        Pascanu, Mikolov & Bengio (2013), On the difficulty of training recurrent neural networks, algorithm 1.
    """

    def rule(grads: Tree, slots: dict[str, Tree], params: Tree, now: Numbers) -> tuple[Tree, dict[str, Tree]]:
        # Squares of float32 overflow from 2e19 on, and clipping is there for just such gradients.
        norm = math.sqrt(sum(float(np.square(g, dtype=np.float64).sum()) for g in tree.leaves(grads)))
        scale = now["max_norm"] / norm if now["max_norm"] < norm < math.inf else 1.0
        return tree.map(lambda g: np.asarray(scale * g), grads), {}

    return transform("clip_by_global_norm", rule, rates={"max_norm": max_norm})


def _squared(g: Array, factor: float, out: Array) -> Array:
    """factor * g², without a temporary."""
    np.multiply(g, g, out=out)
    out *= factor
    return out


def _has_two_axes(params: Tree) -> Tree:
    """Which parameters are weights: biases, scales and shifts have one axis."""
    return tree.map(lambda p: np.ndim(p) >= 2, params)


def _fraction(name: str, value: float) -> float:
    """The decay of a running mean as a Python float."""
    if not check_rate(name, value) < 1:
        raise ValueError(f"{name}: expected a number in [0, 1), got {value}; 0.9 to 0.999 are usual")
    return float(value)


def _positive(name: str, value: float) -> float:
    """A divisor's guard as a Python float."""
    if not check_rate(name, value) > 0:
        raise ValueError(f"{name}: expected a positive number, got {value}; 1e-8 is usual")
    return float(value)
