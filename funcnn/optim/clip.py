"""Clipping: the limits of each element of a gradient, or of the norm of all gradients together."""

from __future__ import annotations

import math

import numpy as np

from funcnn import tree
from funcnn.aliases import Array, Tree
from funcnn.optim.core import Optimizer, lift, transform
from funcnn.optim.elementwise import Slots
from funcnn.optim.schedules import Rate
from funcnn.optim.state import Hyper
from funcnn.recorded import recorded

__all__ = ["clip_by_global_norm", "clip_by_value"]


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
        # Squares of float32 overflow from 2e19 on, and clipping is there for just such gradients.
        squares = [np.add.reduce(np.square(g, dtype=np.float64), axis=None) for g in present]
        norm = math.sqrt(sum(map(float, squares)))
        scale = hyper["max_norm"] / norm if hyper["max_norm"] < norm < math.inf else 1.0
        return tree.map(lambda g: np.asarray(scale * g), grads), {}

    return transform("clip_by_global_norm", rule, rates={"max_norm": max_norm})
