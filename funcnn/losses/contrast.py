"""A loss that tells each example from the others in its batch: a vector shall match its own partner and no other.

It is a classification, of which of the batch's partners is the own one, and so it looks across the batch.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike

from funcnn import checks
from funcnn.aliases import Array
from funcnn.calls import explained
from funcnn.kernels.softmax import limits, shifted_exponentials
from funcnn.losses.core import (
    Reduction,
    TreeLoss,
    check_tree,
    documented,
    factors,
    read_weights,
    reduced,
)
from funcnn.losses.ranking import check_unused, direction, length
from funcnn.recorded import recorded

__all__ = ["info_nce"]

MIN_LENGTH = 1e-12
"""The length by which a shorter vector is divided, as PyTorch's ``normalize`` does."""


@recorded
@documented()
def info_nce(temperature: float = 0.07, symmetric: bool = False) -> TreeLoss:
    """A loss of pairs of vectors, l_i = -log(exp(s_ii) / Σ_j w_j exp(s_ij)), with s_ij = cos(a_i, b_j) / temperature.

    The pairs (a_i, b_i) of a batch belong together, and all others do not: it is the softmax cross-entropy of s, whose
    labels are 0, 1, 2 and so on. An example of weight w counts as w examples among the others too.

    Args:
        temperature: by what the cosines are divided, a positive number.
        symmetric: whether l_i is the mean of that and the same with a and b exchanged, as in CLIP.

    Returns:
        ``loss(y, target=None, *, {signature}`` with

        y: ``{"a": ..., "b": ...}``, vectors, two arrays of floats of one shape (batch, features).
        target: nothing, or anything with one item for each example, which ``fit`` needs; it is not looked at.
        {options}

    Raises:
        {raises}

    Example:
        >>> y = {"a": np.array([[2.0, 0.0], [0.0, 1.0]]), "b": np.array([[1.0, 0.0], [0.0, 3.0]])}
        >>> round(info_nce(temperature=1.0)(y)[0], 4)  # log(1 + exp(-1)): cosines of 1 with the own one and 0
        0.3133

    Reference:
        van den Oord, Li & Vinyals (2018), Representation learning with contrastive predictive coding, eq. 4;
        Radford et al. (2021), Learning transferable visual models from natural language supervision, figure 3.
    """
    kind = "info_nce"
    temperature = checks.positive(kind, "temperature", temperature, usual="0.07")
    symmetric = checks.flag(kind, "symmetric", symmetric)

    def loss(
        y: Any, target: Any = None, *, weights: ArrayLike | None = None, reduction: Reduction = "mean"
    ) -> tuple[Any, dict[str, Array]]:
        a, b = check_tree(kind, y, ("a", "b"))
        if a.ndim != 2 or a.shape != b.shape:
            raise ValueError(
                f"{kind}: expected arrays of one shape (batch, features), got a of {a.shape} and b of {b.shape}"
            )
        check_unused(kind, target, len(a))
        w = read_weights(kind, weights, a.shape[:1], reduction)
        among = np.zeros(len(a), a.dtype)
        if w is not None:
            a, b = (np.where(w[:, None] > 0, x, 0) for x in (a, b))
            times = checks.weights(weights, a.shape[:1], kind, False)  # each counts as often among the others
            among = np.log(times, out=np.full(len(a), -np.inf), where=w > 0).astype(a.dtype)
        scale = factors(kind, w, a.shape[:1], a.dtype, reduction)
        with np.errstate(over="ignore", invalid="ignore"):
            (u, pull_a), (v, pull_b) = (direction(x, _length(x), MIN_LENGTH) for x in (a, b))
            s = u @ v.T / temperature
            value, ds = reduced(_own_among_all, s + among, (among,), scale, reduction)
            if symmetric:
                other, dt = reduced(_own_among_all, s.T + among, (among,), scale, reduction)
                value, ds = (value + other) / 2, (ds + dt.T) / 2
            ds /= temperature
            return value, {"a": pull_a(ds @ v), "b": pull_b(ds.T @ u)}

    loss.__name__ = loss.__qualname__ = kind
    return cast(TreeLoss, explained(loss))


def _own_among_all(z: Array, among: Array, careful: bool) -> tuple[Array, Array]:
    """log Σ_j exp(z_ij) - s_ii, with z_ij = s_ij + log w_j, and its gradient, softmax(z) - 1 at the own one."""
    shifted, dz, total = shifted_exponentials(limits(z) if careful else z)
    dz /= total
    np.einsum("ii->i", dz)[...] -= 1
    return np.log(total[:, 0]) - (np.diagonal(shifted) - among), dz


def _length(x: Array) -> Array:
    """The lengths, of float32 in wider floats, so that no square overflows."""
    return length(x.astype(np.float64)).astype(x.dtype)
