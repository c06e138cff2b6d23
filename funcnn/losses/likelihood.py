"""Losses of distributions: how unlikely the target is where the output is the parameters of its distribution.

A count follows a Poisson distribution, a number of unknown precision a normal one; a divergence compares two
distributions over the same classes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from funcnn import checks
from funcnn.aliases import Array
from funcnn.kernels.selection import times
from funcnn.losses.core import (
    NumberLoss,
    Reduction,
    TreeLoss,
    check_tree,
    documented,
    factors,
    published,
    read_weights,
    reduced,
)
from funcnn.losses.kinds import NUMBERS, number_loss
from funcnn.losses.targets import counted, target_like
from funcnn.recorded import recorded

__all__ = ["gaussian_nll", "kl_divergence", "poisson_nll"]


def _not_negative(kind: str, name: str, x: Array, weights: Array | None, use: str) -> None:
    """Raise an error if a number that counts is negative."""
    if not np.logical_and.reduce(x >= 0, axis=None) and counted(x < 0, weights).any():
        raise ValueError(f"{kind}: expected {name} of 0 or more, got values from {x.min()} to {x.max()}; {use}")


@recorded
@documented(NUMBERS)
def poisson_nll(log_input: bool = True, full: bool = False, eps: float = 1e-8) -> NumberLoss:
    """value = mean(exp(y) - t y);  dy = (exp(y) - t) / n: minus the log-probability of counts t, without log t!.

    With ``log_input=False`` y is the expected count itself, value = mean(y - t log(y + eps)) and
    dy = (1 - t / (y + eps)) / n.

    Args:
        log_input: whether y is the logarithm of the expected count.
        full: whether to add Stirling's approximation of log t!, t log t - t + log(2 π t) / 2 for t > 1; it has no
            gradient.
        eps: what is added to y in the logarithm, ``>= 0``.

    Returns:
        ``loss(y, target, *, {signature}`` with

        y: logarithms of expected counts, or with ``log_input=False`` expected counts, floats of shape (batch, ...).
        target: counts of the shape of ``y``, not negative.
        {options}

    Raises:
        {raises}

    Example:
        >>> poisson_nll()(np.array([[0.0], [0.0]]), [[1], [3]])
        (1.0, array([[ 0.],
               [-1.]]))

    Reference:
        Bishop (2006), Pattern Recognition and Machine Learning, section 4.3.6; the options are PyTorch's.
    """
    log_input, full = checks.flag("poisson_nll", "log_input", log_input), checks.flag("poisson_nll", "full", full)
    eps = checks.nonnegative("poisson_nll", "eps", eps)

    def check(kind: str, y: Array, t: Array, weights: Array | None) -> None:
        _not_negative(kind, "targets", t, weights, "they are counts")
        if not log_input:
            _not_negative(kind, "y", y, weights, "let the model end with fn.softplus, or use log_input=True")

    def formula(y: Array, t: Array, careful: bool) -> tuple[Array, Array]:
        product = times if careful else np.multiply
        if log_input:
            rate = np.exp(y)
            losses, dy = rate - product(t, y), rate - t
        else:
            losses, dy = y - product(t, np.log(y + eps)), 1 - product(t, 1 / (y + eps))
        if full:
            large = np.where(t > 1, t, 1)
            losses += np.where(t > 1, large * np.log(large) - large + np.log(2 * math.pi * large) / 2, 0)
        return losses, dy

    return number_loss(formula, "poisson_nll", check=check)


@recorded
@documented(NUMBERS)
def gaussian_nll(full: bool = False, eps: float = 1e-6) -> TreeLoss:
    """value = mean((log v + (m - t)² / v) / 2), with m = y["mean"] and v = max(y["var"], eps).

    dy = {"mean": (m - t) / v / n, "var": (1 - (m - t)² / v) / v / 2 / n}; the latter is taken at v, so that a variance
    that is stuck below eps still learns. A model of two outputs is ``fn.branch(mean=..., var=...)``, where the variance
    ends with ``fn.softplus`` or ``fn.exp``.

    Args:
        full: whether to add log(2 π) / 2.
        eps: the least variance, above 0.

    Returns:
        ``loss(y, target, *, {signature}`` with

        y: ``{"mean": ..., "var": ...}``, floats of shape (batch, ...). The variance is not negative; its last axis may
            be 1 where the outputs of an example share one. dy is a dict like it.
        target: numbers of the shape of ``y["mean"]``.
        {options}

    Raises:
        {raises}

    Example:
        >>> y = {"mean": np.array([[1.0], [0.0]]), "var": np.array([[1.0], [4.0]])}
        >>> value, dy = gaussian_nll()(y, [[0.0], [0.0]])
        >>> round(value, 4), dy["mean"], dy["var"]
        (0.5966, array([[0.5],
               [0. ]]), array([[0.    ],
               [0.0625]]))

    Reference:
        Nix & Weigend (1994), Estimating the mean and variance of the target probability distribution, equation 3.
    """
    kind, constant = "gaussian_nll", math.log(2 * math.pi) / 2 if checks.flag("gaussian_nll", "full", full) else 0
    eps = checks.positive(kind, "eps", eps, usual="1e-6")

    def formula(y: dict[str, Array], t: Array, careful: bool) -> tuple[Array, Any]:
        v, error = np.maximum(y["var"], eps), y["mean"] - t
        scaled = error / v
        squares = error * scaled
        return (np.log(v) + squares) / 2 + constant, {"mean": scaled, "var": (1 - squares) / v / 2}

    def loss(
        y: dict[str, Any], target: ArrayLike, *, weights: ArrayLike | None = None, reduction: Reduction = "mean"
    ) -> tuple[Any, dict[str, Any]]:
        mean, var = check_tree(kind, y, ("mean", "var"))
        shared = var.shape != mean.shape
        if shared and var.shape != (*mean.shape[:-1], 1):
            raise ValueError(
                f'{kind}: expected y["var"] of the shape of y["mean"], {mean.shape}, or with a last axis of 1, '
                f"got {var.shape}"
            )
        w = read_weights(kind, weights, mean.shape, reduction)
        _not_negative(kind, 'y["var"]', var, w, "let the variance end with fn.softplus or fn.exp")
        t = target_like(kind, mean, target)
        whole = {"mean": mean, "var": np.broadcast_to(var, mean.shape)}
        value, dy = reduced(formula, whole, (t,), factors(kind, w, mean.shape, mean.dtype, reduction), reduction)
        return value, {**dy, "var": dy["var"].sum(-1, keepdims=True)} if shared else dy

    return published(loss, formula, kind, NUMBERS)  # type: ignore[no-any-return]


@recorded
@documented(NUMBERS)
def kl_divergence(log_target: bool = False) -> NumberLoss:
    """value = mean(t (log t - y)), with y the logarithms of probabilities;  dy = -t / n, with n elements.

    The mean is over all elements, as in PyTorch. Mean divergences of rows are that times the number of classes; they
    are 0 where y is log t.

    Args:
        log_target: whether the target too is the logarithms of probabilities.

    Returns:
        ``loss(y, target, *, {signature}`` with

        y: logarithms of probabilities, floats of shape (batch, ..., classes), from ``fn.log_softmax`` for example.
        target: probabilities of the shape of ``y``, or with ``log_target=True`` their logarithms.
        {options}

    Raises:
        {raises}

    Example:
        >>> value, dy = kl_divergence()(np.log([[0.5, 0.5]]), [[1.0, 0.0]])
        >>> round(value, 4), dy
        (0.3466, array([[-0.5, -0. ]]))

    Reference:
        Kullback & Leibler (1951), On information and sufficiency, equation 2.4.
    """
    log_target = checks.flag("kl_divergence", "log_target", log_target)

    def check(kind: str, y: Array, t: Array, weights: Array | None) -> None:
        if not log_target:
            _not_negative(kind, "targets", t, weights, "they are probabilities; for logarithms use log_target=True")

    def formula(y: Array, t: Array, careful: bool) -> tuple[Array, Array]:
        p = np.exp(t) if log_target else t
        log_p = t if log_target else np.log(np.where(t > 0, t, 1))
        if careful:  # 0 log 0 is 0, but NaN must not be hidden
            return np.where(np.isnan(y), y, times(p, log_p - y)), -p
        return p * (log_p - y), -p

    return number_loss(formula, "kl_divergence", check=check)
