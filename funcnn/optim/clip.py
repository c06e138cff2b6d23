"""Clipping: the limits of each element of a gradient, or of the norm of all gradients together."""

from __future__ import annotations

import math

import numpy as np

from funcnn import checks, tree
from funcnn.aliases import Array, Tree
from funcnn.engine.memory import empty_like
from funcnn.optim.core import Optimizer, array_by_array, lift, transform
from funcnn.optim.elementwise import Slots
from funcnn.optim.schedules import Rate
from funcnn.optim.state import Hyper
from funcnn.optim.trust import norm, sum_of_squares
from funcnn.recorded import recorded

__all__ = ["adaptive_grad_clip", "clip_by_block_rms", "clip_by_global_norm", "clip_by_value"]


@recorded
def clip_by_value(limit: Rate) -> Optimizer:
    """u = min(max(g, -limit), limit).

    Args:
        limit: the largest absolute value of an element, a number or a schedule.

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

    def rule(g: Array, state: Slots, p: Array, hyper: Hyper, u: Array, new_state: Slots) -> None:
        np.clip(g, -hyper["limit"], hyper["limit"], out=u)

    return lift("clip_by_value", rule, rates={"limit": limit}, in_place=True)


@recorded
def clip_by_global_norm(max_norm: Rate) -> Optimizer:
    """u = g · min(1, max_norm / ‖g‖), with the norm over all elements of all gradients: the direction stays.

    Args:
        max_norm: the largest norm, a number or a schedule.

    Returns:
        The transform. Gradients whose norm is not finite pass unchanged, so that a divergence is not hidden.

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

    def rule(grads: Tree, slots: dict[str, Tree], params: Tree, hyper: Hyper) -> tuple[Tree, dict[str, Tree]]:
        present = [g for g in tree.leaves(grads) if g is not None]
        total = math.sqrt(sum(map(sum_of_squares, present)))
        if not hyper["max_norm"] < total < math.inf:
            return grads, {}
        scale = hyper["max_norm"] / total
        return tree.map(lambda g: np.multiply(g, scale, out=empty_like(g)), grads), {}

    return transform("clip_by_global_norm", rule, rates={"max_norm": max_norm})


@recorded
def clip_by_block_rms(threshold: Rate) -> Optimizer:
    """u = g / max(1, rms(g) / threshold), with the root mean square of each parameter's gradient.

    Args:
        threshold: the largest root mean square, a number or a schedule.

    Returns:
        The transform. Gradients that are not finite pass unchanged.

    Raises:
        TypeError: ``threshold`` is neither a number nor a schedule.
        ValueError: ``threshold`` is negative or not finite.

    Example:
        >>> params = {"w": np.ones(2), "b": np.ones(1)}
        >>> clip_by_block_rms(1.0).update({"w": np.array([3.0, -3.0]), "b": np.array([0.5])}, {}, params)[0]
        {'w': array([ 1., -1.]), 'b': array([0.5])}

    Reference:
        Shazeer & Stern (2018), Adafactor: Adaptive Learning Rates with Sublinear Memory Cost, section 6.
    """

    def clipped(g: Array, p: Array, hyper: Hyper) -> Array:
        rms = norm(g) / math.sqrt(max(g.size, 1))
        return g * (hyper["threshold"] / rms) if hyper["threshold"] < rms < math.inf else g

    return array_by_array("clip_by_block_rms", clipped, {"threshold": threshold})


@recorded
def adaptive_grad_clip(clipping: Rate, eps: float = 1e-3) -> Optimizer:
    """u = g · min(1, clipping · max(‖p‖, eps) / ‖g‖), with the norms for each output: over all axes but the last.

    Args:
        clipping: the largest gradient as a fraction of its weights, a number or a schedule; 0.01 to 0.1 is usual.
        eps: the least norm of the weights, positive, so that those that start at zero can leave it.

    Returns:
        The transform. A parameter with one axis, a bias for example, has one norm. The last layer of a network is
        usually left out, see ``masked``. Gradients that are not finite pass unchanged.

    Raises:
        TypeError: ``clipping`` is neither a number nor a schedule, or ``eps`` is not a number.
        ValueError: ``clipping`` is negative or not finite, or ``eps`` is not positive.

    Example:
        >>> params, grads = {"w": np.array([[3.0, 1.0], [4.0, 0.0]])}, {"w": np.array([[2.0, 0.01], [0.0, 0.0]])}
        >>> adaptive_grad_clip(0.1).update(grads, {}, params)[0]["w"]
        array([[0.5 , 0.01],
               [0.  , 0.  ]])

    Reference:
        Brock et al. (2021), High-Performance Large-Scale Image Recognition Without Normalization, eq. 3.
    """
    eps = checks.positive("adaptive_grad_clip", "eps", eps, "1e-3")

    def unit_norms(x: Array) -> Array:
        squares = np.square(np.ascontiguousarray(x), dtype=np.float64)  # sums depend on the memory order
        return np.asarray(np.sqrt(squares.sum(axis=tuple(range(x.ndim - 1)) if x.ndim > 1 else None, keepdims=True)))

    def clipped(g: Array, p: Array, hyper: Hyper) -> Array:
        size, limit = unit_norms(g), hyper["clipping"] * np.maximum(unit_norms(p), eps)
        too_large = (limit < size) & (size < math.inf)
        scale = np.divide(limit, size, out=np.ones_like(size), where=too_large)
        factors: Array = scale.astype(g.dtype).reshape(scale.shape[-g.ndim :] if g.ndim else ())
        return g * factors

    return array_by_array("adaptive_grad_clip", clipped, {"clipping": clipping})
