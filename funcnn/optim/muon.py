"""Muon: the momentum of a matrix is replaced by the nearest orthogonal matrix, so that all directions learn alike."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from funcnn import checks, tree
from funcnn.aliases import Array, Tree
from funcnn.optim.adam import adamw
from funcnn.optim.core import Optimizer, chain, transform
from funcnn.optim.masks import Mask, as_flags
from funcnn.optim.schedules import Rate
from funcnn.optim.sgd import decay_of, scale_by_rate
from funcnn.optim.state import Hyper, rebuilt
from funcnn.optim.trust import norm
from funcnn.optim.wrappers import masked
from funcnn.recorded import recorded
from funcnn.wording import shown

__all__ = ["muon", "scale_by_muon"]

A, B, C = 3.4445, -4.7750, 2.0315
"""Coefficients of the polynomial, chosen for its slope at zero: it takes singular values to between 0.7 and 1.2."""


def orthogonalized(x: Array, steps: int = 5, eps: float = 1e-7) -> Array:
    """About U Vᵀ of the singular value decomposition x = U S Vᵀ, by steps of x = a x + (b y + c y²) x.

    Args:
        x: a matrix, which is divided by its Frobenius norm first; y = x xᵀ.
        steps: the number of iterations.
        eps: the least norm.

    Returns:
        The matrix, whose singular values are between about 0.7 and 1.2.

    Example:
        >>> np.linalg.svd(orthogonalized(np.diag([1.0, 5.0])), compute_uv=False).round(1)
        array([0.8, 0.7])

    Reference:
        Jordan et al. (2024), Muon: An optimizer for hidden layers in neural networks.
    """
    tall = x.shape[0] > x.shape[1]
    x = (x.T if tall else x) / max(norm(x), eps)
    for _ in range(steps):
        y = x @ x.T
        x = A * x + (B * y + C * (y @ y)) @ x
    return x.T if tall else x


@recorded
def scale_by_muon(
    momentum: float = 0.95,
    nesterov: bool = True,
    steps: int = 5,
    eps: float = 1e-7,
    scale: Literal["original", "match_rms_adamw"] = "original",
) -> Optimizer:
    """u = s · orthogonalized(m),  m = momentum m + (1 - momentum) g, with Nesterov's look ahead momentum m + (1 - …) g.

    Args:
        momentum: decay of the mean of the gradient, in [0, 1).
        nesterov: look ahead.
        steps: the number of Newton-Schulz iterations, at least 1.
        eps: the least norm of m, positive.
        scale: ``"original"``, s = √max(1, outputs / inputs), or ``"match_rms_adamw"``, s = 0.2 √max(outputs, inputs),
            which lets rates and decays of AdamW be used.

    Returns:
        The transform, with the slot ``m``, for parameters with two axes, (inputs, outputs). With more axes, all but the
        last are inputs.

    Raises:
        TypeError: an argument has another type.
        ValueError: an argument is out of range; or, at an update, a parameter has less than two axes.

    Example:
        >>> params, grads = {"w": np.ones((2, 2))}, {"w": np.diag([1.0, 5.0])}
        >>> init, update = scale_by_muon()
        >>> update(grads, init(params), params)[0]["w"].round(1)
        array([[0.8, 0. ],
               [0. , 0.7]])

    Reference:
        Jordan et al. (2024), Muon: An optimizer for hidden layers in neural networks; ``match_rms_adamw``, Liu et al.
        (2025), Muon is Scalable for LLM Training, eq. 4. With a mean for the momentum, as in PyTorch.
    """
    kind = "scale_by_muon"
    momentum, nesterov = checks.fraction(kind, "momentum", momentum), checks.flag(kind, "nesterov", nesterov)
    steps, eps = checks.steps(kind, "steps", steps), checks.positive(kind, "eps", eps, "1e-7")
    if scale not in ("original", "match_rms_adamw"):
        raise ValueError(f"{kind}: scale: expected 'original' or 'match_rms_adamw', got {shown(scale)}")

    def mean(m: Array, g: Array) -> Array:
        return momentum * m + (1 - momentum) * g

    def orthogonal(path: str, g: Array, m: Array) -> Array:
        if g.ndim < 2:
            raise ValueError(
                f"{kind}: {path or 'the root'}: expected a parameter with two axes or more, got shape {g.shape}; use "
                "masked(scale_by_muon(), mask), or muon, which trains the others with adamw"
            )
        if not g.size:
            return g
        x = np.ascontiguousarray(mean(m, g) if nesterov else m).reshape(-1, g.shape[-1])
        inputs, outputs = x.shape
        factor = math.sqrt(max(1, outputs / inputs)) if scale == "original" else 0.2 * math.sqrt(max(inputs, outputs))
        return (factor * orthogonalized(x, steps, eps)).reshape(g.shape)

    def rule(grads: Tree, slots: dict[str, Tree], params: Tree, hyper: Hyper) -> tuple[Tree, dict[str, Tree]]:
        new = tree.map(mean, slots["m"], grads)
        return tree.map_with_path(orthogonal, grads, new), {"m": new}

    return transform(kind, rule, slots=("m",))


@recorded
def muon(
    rate: Rate,
    momentum: float = 0.95,
    nesterov: bool = True,
    weight_decay: Rate = 0.1,
    steps: int = 5,
    scale: Literal["original", "match_rms_adamw"] = "original",
    mask: Mask | None = None,
    adamw_rate: Rate | None = None,
    adamw_weight_decay: Rate = 0.0,
) -> Optimizer:
    """p = p - rate · (u + weight_decay · p) for matrices, with u of ``scale_by_muon``, and AdamW for all others.

    Args:
        rate: the learning rate of the matrices, a number or a schedule; 2e-2 is usual.
        momentum: decay of the mean gradient; see ``scale_by_muon``.
        nesterov: look ahead; see ``scale_by_muon``.
        weight_decay: the factor by which the matrices decay, before the rate; see ``add_decayed_weights``.
        steps: the number of Newton-Schulz iterations; see ``scale_by_muon``.
        scale: how the shape scales the step; see ``scale_by_muon``.
        mask: which parameters are matrices, by default those with exactly two axes; see ``masked``. Embeddings and the
            last layer are usually left to AdamW: ``lambda params: tree.map_with_path(...)``.
        adamw_rate: the learning rate of all others, by default that of the matrices; 3e-4 is usual.
        adamw_weight_decay: the factor by which those of the others decay that have two axes or more.

    Returns:
        The optimizer. Its state holds that of the matrices under ``scale_by_muon`` and ``scale_by_rate``, and that of
        the others under ``scale_by_adam`` and ``scale_by_rate_1``.

    Raises:
        TypeError, ValueError: as ``scale_by_muon``, ``masked``, ``adamw`` and ``scale_by_rate``.

    Example:
        >>> params = {"w": np.ones((2, 2)), "b": np.ones(1)}
        >>> grads = {"w": np.diag([1.0, 5.0]), "b": np.ones(1)}
        >>> init, update = muon(0.1, weight_decay=0.0)
        >>> updates, state = update(grads, init(params), params)
        >>> updates["b"].round(4), list(state)
        (array([-0.1]), ['scale_by_muon', 'scale_by_rate', 'scale_by_adam', 'scale_by_rate_1'])

    Reference:
        That of ``scale_by_muon``.
    """
    flags = as_flags("muon", _has_exactly_two_axes if mask is None else mask)

    def matrices(params: Tree) -> Tree:
        return rebuilt(params, flags(params))

    def others(params: Tree) -> Tree:
        return rebuilt(params, [not flag for flag in flags(params)])

    orthogonal = chain(scale_by_muon(momentum, nesterov, steps, scale=scale), *decay_of("muon", weight_decay))
    rest = adamw(rate if adamw_rate is None else adamw_rate, weight_decay=adamw_weight_decay)
    return chain(masked(chain(orthogonal, scale_by_rate(rate)), matrices), masked(rest, others))


def _has_exactly_two_axes(params: Tree) -> Tree:
    """Which parameters are matrices."""
    return tree.map(lambda p: np.ndim(p) == 2, params)
