"""LAMB and LARS: the step of each layer is measured by the size of its weights, which keeps large batches stable."""

from __future__ import annotations

import math

import numpy as np

from funcnn import checks
from funcnn.aliases import Array
from funcnn.optim.adam import scale_by_adam
from funcnn.optim.core import Optimizer, array_by_array, chain
from funcnn.optim.masks import Mask
from funcnn.optim.schedules import Rate
from funcnn.optim.sgd import add_decayed_weights, momentum_of, scale_by_rate
from funcnn.optim.state import Hyper
from funcnn.optim.wrappers import masked
from funcnn.recorded import recorded

__all__ = ["lamb", "lars", "scale_by_trust_ratio"]

BLOCK = 32 * 1024
"""Elements that are squared at a time, in float64: they stay in the cache."""


@recorded
def scale_by_trust_ratio(coefficient: float = 1.0, eps: float = 0.0) -> Optimizer:
    """u = coefficient · ‖p‖ / (‖g‖ + eps) · g for each parameter array, and u = g where one of the norms is zero.

    Args:
        coefficient: the size of the update, as a fraction of that of the parameter, not negative.
        eps: added to the norm of the gradient, not negative.

    Returns:
        The transform.

    Raises:
        TypeError: an argument is not a number.
        ValueError: an argument is negative or not finite.

    Example:
        >>> params, grads = {"w": np.array([3.0, 4.0])}, {"w": np.array([0.0, 2.0])}
        >>> scale_by_trust_ratio(0.1).update(grads, {}, params)[0]
        {'w': array([0. , 0.5])}

    Reference:
        You, Gitman & Ginsburg (2017), Large Batch Training of Convolutional Networks, eq. 6; where a norm is zero, as
        in Optax.
    """
    kind = "scale_by_trust_ratio"
    coefficient = checks.nonnegative(kind, "coefficient", coefficient)
    eps = checks.nonnegative(kind, "eps", eps)

    def scaled(g: Array, p: Array, hyper: Hyper) -> Array:
        size, step = norm(p), norm(g)
        return g * (coefficient * size / (step + eps) if size and step else 1.0)

    return array_by_array(kind, scaled)


@recorded
def lamb(
    rate: Rate,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-6,
    weight_decay: Rate = 0.0,
    decay_mask: Mask | None = None,
) -> Optimizer:
    """p = p - rate · ‖p‖ / ‖u‖ · u,  u = m̂ / (√v̂ + eps) + weight_decay · p: Adam with a trust ratio for each array.

    Args:
        rate: the learning rate, a number or a schedule; 1e-3 to 1e-2 is usual.
        b1: decay of the mean; see ``scale_by_adam``.
        b2: decay of the mean square; see ``scale_by_adam``.
        eps: added to the root; see ``scale_by_adam``.
        weight_decay: the factor by which weights decay, before the ratio; see ``add_decayed_weights``.
        decay_mask: which parameters decay, by default those with two axes or more; see ``add_decayed_weights``.

    Returns:
        The optimizer.

    Raises:
        TypeError, ValueError: as ``scale_by_adam``, ``add_decayed_weights`` and ``scale_by_rate``.

    Example:
        >>> params = {"w": np.array([2.0])}
        >>> init, update = lamb(0.1)
        >>> update({"w": np.array([5.0])}, init(params), params)[0]["w"].round(4)
        array([-0.2])

    Reference:
        You et al. (2020), Large Batch Optimization for Deep Learning: Training BERT in 76 minutes, algorithm 2.
    """
    return chain(
        scale_by_adam(b1, b2, eps),
        add_decayed_weights(weight_decay, decay_mask),
        scale_by_trust_ratio(),
        scale_by_rate(rate),
    )


@recorded
def lars(
    rate: Rate,
    momentum: Rate = 0.9,
    nesterov: bool = False,
    weight_decay: Rate = 0.0,
    coefficient: float = 1e-3,
    eps: float = 0.0,
    decay_mask: Mask | None = None,
    trust_mask: Mask | None = None,
) -> Optimizer:
    """m = momentum · m - rate · coefficient · ‖p‖ / ‖u‖ · u,  p = p + m,  u = g + weight_decay · p.

    Args:
        rate: the learning rate, a number or a schedule; it is large, 0.1 to 10, since the ratio is small.
        momentum: the factor of earlier steps; see ``add_momentum``.
        nesterov: look ahead; see ``add_momentum``.
        weight_decay: the factor of the weights that is added to their gradients; see ``add_decayed_weights``.
        coefficient: the trust coefficient; see ``scale_by_trust_ratio``.
        eps: added to the norm; see ``scale_by_trust_ratio``.
        decay_mask: which parameters decay, by default those with two axes or more; see ``add_decayed_weights``.
        trust_mask: which parameters have a trust ratio, by default all; see ``masked``. The others have the ratio 1.

    Returns:
        The optimizer.

    Raises:
        TypeError, ValueError: as ``add_momentum``, ``add_decayed_weights``, ``scale_by_trust_ratio`` and
            ``scale_by_rate``.

    Example:
        >>> params = {"w": np.array([2.0])}
        >>> init, update = lars(1.0, coefficient=0.1)
        >>> update({"w": np.array([5.0])}, init(params), params)[0]["w"].round(4)
        array([-0.2])

    Reference:
        You, Gitman & Ginsburg (2017), Large Batch Training of Convolutional Networks, algorithm 1, with the rate before
        the momentum, as in Optax.
    """
    nesterov = checks.flag("lars", "nesterov", nesterov)
    ratio = scale_by_trust_ratio(coefficient, eps)
    return chain(
        add_decayed_weights(weight_decay, decay_mask),
        ratio if trust_mask is None else masked(ratio, trust_mask),
        scale_by_rate(rate),
        *momentum_of(momentum, nesterov),
    )


def norm(array: Array) -> float:
    """The root of the sum of squares; see ``sum_of_squares``."""
    return math.sqrt(sum_of_squares(array))


def sum_of_squares(array: Array) -> float:
    """In float64, since squares of float32 overflow from 2e19 on; the same bits in any memory order.

    Example:
        >>> round(sum_of_squares(np.array([3e30, 4e30], np.float32)) / 1e60, 4)
        25.0
    """
    flat = array.ravel()
    parts = (flat[first : first + BLOCK].astype(np.float64) for first in range(0, flat.size, BLOCK))
    return sum((float(np.einsum("i,i->", part, part)) for part in parts), 0.0)
