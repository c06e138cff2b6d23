"""Adafactor: the mean square of a matrix's gradient is kept as those of its rows and of its columns, a vector each."""

from __future__ import annotations

import math

import numpy as np

from funcnn import checks
from funcnn.aliases import Array
from funcnn.optim.core import Optimizer, chain, lift
from funcnn.optim.elementwise import Slots
from funcnn.optim.masks import Mask
from funcnn.optim.schedules import Rate
from funcnn.optim.sgd import add_decayed_weights, scale_by_rate
from funcnn.optim.state import Hyper
from funcnn.optim.trust import norm
from funcnn.recorded import recorded

__all__ = ["adafactor", "scale_by_adafactor"]


@recorded
def scale_by_adafactor(
    rate: Rate = 1e-2,
    decay: float = 0.8,
    eps: float | None = None,
    eps_scale: float = 1e-3,
    threshold: float = 1.0,
) -> Optimizer:
    """u = s · max(eps_scale, rms(p)) · w / max(1, rms(w) / threshold),  w = g / √max(V, eps²),  V = r cᵀ / mean(r).

    r and c are the running means of g² over the columns and the rows, with the weight t^-decay for the newest; arrays
    with less than two axes keep V itself. s = min(1, 1 / (rate √t)): no step is longer than 1 / √t.

    Args:
        rate: the rate that ``scale_by_rate`` multiplies with afterwards, a number or a schedule.
        decay: how fast the weight of the newest gradient falls, not negative.
        eps: the least mean and root mean square, positive; by default the dtype's ``np.finfo(dtype).eps``.
        eps_scale: the least size of a parameter, positive.
        threshold: the largest root mean square of w, positive.

    Returns:
        The transform, with the slots ``row``, ``column`` and ``v``, of which those that a parameter does not need are
        empty. The matrices of an array with more axes are those of its last two.

    Raises:
        TypeError: an argument is not a number, or ``rate`` is neither a number nor a schedule.
        ValueError: an argument is out of range.

    Example:
        >>> params, grads = {"w": np.ones((2, 2))}, {"w": np.array([[3.0, -3.0], [1.0, 1.0]])}
        >>> init, update = scale_by_adafactor()
        >>> update(grads, init(params), params)[0]["w"].round(4)
        array([[ 1., -1.],
               [ 1.,  1.]])

    Reference:
        Shazeer & Stern (2018), Adafactor: Adaptive Learning Rates with Sublinear Memory Cost, algorithm 4, with eps as
        in PyTorch.
    """
    kind = "scale_by_adafactor"
    decay = checks.nonnegative(kind, "decay", decay)
    given = None if eps is None else checks.positive(kind, "eps", eps)
    eps_scale = checks.positive(kind, "eps_scale", eps_scale, "1e-3")
    threshold = checks.positive(kind, "threshold", threshold, "1.0")

    def rule(g: Array, state: Slots, p: Array, hyper: Hyper, u: Array, new_state: Slots) -> None:
        t = hyper["step"] + 1
        least = float(np.finfo(g.dtype).eps) if given is None else given
        square = np.multiply(g, g, out=u)
        if g.ndim < 2:
            square = _mixed(state["v"], square, t**-decay, new_state["v"])
            np.maximum(square, least * least, out=u)
        else:
            square = np.ascontiguousarray(square)  # sums depend on the memory order
            row = _mixed(state["row"], square.mean(axis=-1, keepdims=True), t**-decay, new_state["row"])
            column = _mixed(state["column"], square.mean(axis=-2, keepdims=True), t**-decay, new_state["column"])
            np.multiply(row, column, out=u)
            u /= np.maximum(np.ascontiguousarray(row).mean(axis=-2, keepdims=True), least)
            np.maximum(u, least * least, out=u)
        np.sqrt(u, out=u)
        np.divide(g, u, out=u)
        root = math.sqrt(g.size)
        relative = min(1.0, 1 / (hyper["rate"] * math.sqrt(t))) if hyper["rate"] else 1.0
        u *= relative * max(eps_scale, norm(p) / root) / max(1.0, norm(u) / root / threshold)

    slots = {"row": _rows, "column": _columns, "v": _vector}
    return lift(kind, rule, slots=slots, rates={"rate": rate}, counts=True, in_place=True)


@recorded
def adafactor(
    rate: Rate = 1e-2,
    decay: float = 0.8,
    eps: float | None = None,
    eps_scale: float = 1e-3,
    threshold: float = 1.0,
    weight_decay: Rate = 0.0,
    decay_mask: Mask | None = None,
) -> Optimizer:
    """p = p - min(rate, 1 / √t) · max(eps_scale, rms(p)) · w - rate · weight_decay · p: Adam's division, little memory.

    Args:
        rate: the largest step relative to the size of the parameters, a number or a schedule; 1e-2 is usual.
        decay: how fast the weight of the newest gradient falls; see ``scale_by_adafactor`` for this and for w.
        eps: the least mean square; see ``scale_by_adafactor``.
        eps_scale: the least size of a parameter; see ``scale_by_adafactor``.
        threshold: the largest root mean square of w; see ``scale_by_adafactor``.
        weight_decay: the factor by which weights decay, before the rate; see ``add_decayed_weights``.
        decay_mask: which parameters decay, by default those with two axes or more; see ``add_decayed_weights``.

    Returns:
        The optimizer.

    Raises:
        TypeError, ValueError: as ``scale_by_adafactor``, ``add_decayed_weights`` and ``scale_by_rate``.

    Example:
        >>> params = {"w": np.array([2.0])}
        >>> init, update = adafactor(0.1)
        >>> update({"w": np.array([5.0])}, init(params), params)[0]["w"].round(4)
        array([-0.2])

    Reference:
        That of ``scale_by_adafactor``.
    """
    return chain(
        scale_by_adafactor(rate, decay, eps, eps_scale, threshold),
        add_decayed_weights(weight_decay, decay_mask),
        scale_by_rate(rate),
    )


def _mixed(old: Array, new: Array, weight: float, out: Array) -> Array:
    """The mean of two arrays, with the weight of the new one."""
    np.multiply(old, 1 - weight, out=out)
    out += weight * new
    return out


def _rows(p: Array) -> Array:
    """A zero for each row of each matrix."""
    return np.zeros((*p.shape[:-1], 1) if p.ndim > 1 and p.size else 0, p.dtype)


def _columns(p: Array) -> Array:
    """A zero for each column of each matrix."""
    return np.zeros((*p.shape[:-2], 1, p.shape[-1]) if p.ndim > 1 and p.size else 0, p.dtype)


def _vector(p: Array) -> Array:
    """A zero for each element of what is not a matrix."""
    return np.zeros(0 if p.ndim > 1 else p.shape, p.dtype)
