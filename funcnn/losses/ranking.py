"""Losses of pairs and triplets: outputs that belong together shall be near, or rank higher, and others not.

Several outputs are a dict of arrays of one shape, such as ``{"a": ..., "b": ...}``, and so is dy. A margin says how far
apart is far enough: what is farther costs nothing and has no gradient. At a kink the gradient is that of PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike

from funcnn import checks, tree
from funcnn.aliases import Array, Shape
from funcnn.calls import explained
from funcnn.losses.core import (
    Formula,
    NumberLoss,
    Reduction,
    TreeLoss,
    check_prediction,
    check_tree,
    documented,
    factors,
    published,
    read_weights,
    reduced,
)
from funcnn.losses.targets import target_like
from funcnn.recorded import recorded

__all__ = [
    "contrastive", "cosine_embedding", "cosine_similarity", "hinge_embedding", "margin_ranking", "triplet_margin",
]  # fmt: skip

COSINE_EPS = float(np.float32(1e-12))
"""What ``cosine_embedding`` adds to each squared length, as PyTorch does, where it is a float32."""

COSINE_MIN_LENGTH = 1e-8
"""The length by which ``cosine_similarity`` divides a shorter vector, as PyTorch does."""


@recorded
@documented()
def hinge_embedding(margin: float = 1.0) -> NumberLoss:
    """A loss of distances, small for what belongs together: l = y where t = 1, max(0, margin - y) where t = -1.

    dl/dy = 1 where t = 1, -1 where t = -1 and y <= margin, else 0.

    Args:
        margin: the distance that is large enough.

    Returns:
        ``loss(y, target, *, {signature}`` with

        y: distances, floats of shape (batch, ...).
        target: 1 for what belongs together and -1 for what does not, of the shape of ``y``.
        {options}

    Raises:
        {raises}

    Example:
        >>> hinge_embedding(margin=1.0)(np.array([0.5, 0.25]), np.array([1, -1]))
        (0.625, array([ 0.5, -0.5]))

    Reference:
        PyTorch, HingeEmbeddingLoss.
    """
    kind, margin = "hinge_embedding", checks.number("hinge_embedding", "margin", margin)

    def formula(y: Array, t: Array, careful: bool) -> tuple[Array, Array]:
        apart = margin - y
        slope = np.where(t > 0, 1, np.where(apart >= 0, -1, 0)).astype(y.dtype)
        return np.where(t > 0, y, np.maximum(apart, 0)), slope

    def loss(
        y: Array, target: ArrayLike, *, weights: ArrayLike | None = None, reduction: Reduction = "mean"
    ) -> tuple[Any, Array]:
        check_prediction(kind, y)
        w = read_weights(kind, weights, y.shape, reduction)
        t = _choices(kind, target, y.shape, w, (1, -1)).astype(y.dtype)
        return reduced(formula, y, (t,), factors(kind, w, y.shape, y.dtype, reduction), reduction)

    return cast(NumberLoss, published(loss, formula, kind, {}))


@recorded
@documented()
def margin_ranking(margin: float = 0.0) -> TreeLoss:
    """A loss of pairs of scores, of which one shall be higher than the other: l = max(0, margin - t (a - b)).

    dl/da = -t and dl/db = t where t (a - b) <= margin, else 0.

    Args:
        margin: by how much the one score shall be higher.

    Returns:
        ``loss(y, target, *, {signature}`` with

        y: ``{"a": ..., "b": ...}``, scores, two arrays of floats of one shape (batch, ...).
        target: 1 where a shall be higher and -1 where b shall be, of the shape of ``y["a"]``.
        {options}

    Raises:
        {raises}

    Example:
        >>> y = {"a": np.array([2.0, 0.5]), "b": np.array([1.0, 0.0])}
        >>> value, dy = margin_ranking(margin=0.5)(y, np.array([1, -1]))  # the first pair is in order
        >>> value, dy["a"] + 0, dy["b"]
        (0.5, array([0. , 0.5]), array([ 0. , -0.5]))

    Reference:
        PyTorch, MarginRankingLoss.
    """
    margin = checks.number("margin_ranking", "margin", margin)

    def formula(y: dict[str, Array], t: Array, careful: bool) -> tuple[Array, dict[str, Array]]:
        losses = margin - t * (y["a"] - y["b"])
        slope = np.where(losses >= 0, t, 0)
        return np.maximum(losses, 0), {"a": -slope, "b": slope}

    return _of_tree("margin_ranking", ("a", "b"), formula, (1, -1), vectors=False)


@recorded
@documented()
def cosine_embedding(margin: float = 0.0) -> TreeLoss:
    """A loss of pairs of vectors, which shall have one direction if they belong together, and else not.

    l = 1 - cos(a, b) where t = 1, max(0, cos(a, b) - margin) where t = -1, with
    cos(a, b) = a·b / sqrt((a·a + 1e-12) (b·b + 1e-12)).

    Args:
        margin: the cosine that is low enough, from -1 to 1.

    Returns:
        ``loss(y, target, *, {signature}`` with

        y: ``{"a": ..., "b": ...}``, vectors, two arrays of floats of one shape (batch, ..., features).
        target: 1 for what belongs together and -1 for what does not, of shape (batch, ...).
        {options}

    Raises:
        {raises}

    Example:
        >>> y = {"a": np.array([[1.0, 0.0], [1.0, 0.0]]), "b": np.array([[0.0, 2.0], [3.0, 0.0]])}
        >>> value, dy = cosine_embedding()(y, np.array([1, -1]))  # cosines of 0 and 1
        >>> round(value, 6), dy["b"].round(6) + 0
        (1.0, array([[-0.25,  0.  ],
               [ 0.  ,  0.  ]]))

    Reference:
        PyTorch, CosineEmbeddingLoss.
    """
    margin = checks.number("cosine_embedding", "margin", margin)
    if not -1 <= margin <= 1:
        raise ValueError(f"cosine_embedding: margin must be a cosine from -1 to 1, got {margin}; 0 to 0.5 are usual")

    def formula(y: dict[str, Array], t: Array, careful: bool) -> tuple[Array, dict[str, Array]]:
        (u, pull_a), (v, pull_b) = (
            direction(x, np.sqrt((x * x).sum(-1, keepdims=True) + COSINE_EPS)) for x in (y["a"], y["b"])
        )
        cosine = (u * v).sum(-1)
        slope = np.where(t > 0, -1, np.where(cosine >= margin, 1, 0))[..., None]
        return (
            np.where(t > 0, 1 - cosine, np.maximum(cosine - margin, 0)),
            {"a": slope * pull_a(v), "b": slope * pull_b(u)},
        )

    return _of_tree("cosine_embedding", ("a", "b"), formula, (1, -1))


@explained
@documented()
def cosine_similarity(
    y: Array, target: ArrayLike, *, weights: ArrayLike | None = None, reduction: Reduction = "mean"
) -> tuple[Any, Array]:
    """l = -cos(y, t) = -y·t / (|y| |t|), over the last axis;  dl/dy = -(t / |t| - cos(y, t) y / |y|) / |y|.

    It is -1 where a prediction has the direction of its target, and 1 where it has the opposite one, as in Keras. A
    length below 1e-8 counts as 1e-8, as in PyTorch.

    Args:
        y: vectors, floats of shape (batch, ..., features).
        target: numbers of the shape of ``y``.
        {options}

    {returns}

    Example:
        >>> value, dy = cosine_similarity(np.array([[3.0, 4.0]]), [[1.0, 0.0]])
        >>> round(value, 4), dy.round(4)
        (-0.6, array([[-0.128,  0.096]]))

    Reference:
        Keras, CosineSimilarity.
    """
    kind = "cosine_similarity"
    check_prediction(kind, y)
    if y.ndim < 2:
        raise ValueError(f"{kind}: expected y of axes (batch, ..., features), got shape {y.shape}")
    t = target_like(kind, y, target)
    shape = y.shape[:-1]
    w = read_weights(kind, weights, shape, reduction)
    return reduced(_cosine, y, (t,), factors(kind, w, shape, y.dtype, reduction), reduction)


def _cosine(y: Array, t: Array, careful: bool) -> tuple[Array, Array]:
    (u, pull), (v, _) = direction(y, length(y), COSINE_MIN_LENGTH), direction(t, length(t), COSINE_MIN_LENGTH)
    return -(u * v).sum(-1), -pull(v)


@recorded
@documented()
def contrastive(margin: float = 1.0) -> TreeLoss:
    """A loss of pairs of vectors, which shall be near if they belong together, and else not.

    l = d² / 2 where t = 1, max(0, margin - d)² / 2 where t = 0, with the distance d = |a - b|;
    dl/da = -dl/db = a - b where t = 1, -max(0, margin - d) (a - b) / d where t = 0.

    Args:
        margin: the distance that is far enough, ``>= 0``.

    Returns:
        ``loss(y, target, *, {signature}`` with

        y: ``{"a": ..., "b": ...}``, vectors, two arrays of floats of one shape (batch, ..., features).
        target: 1 for what belongs together and 0 for what does not, of shape (batch, ...); the paper numbers them the
            other way round.
        {options}

    Raises:
        {raises}

    Example:
        >>> y = {"a": np.array([[3.0, 4.0], [0.0, 0.5]]), "b": np.zeros((2, 2))}
        >>> contrastive(margin=1.0)(y, np.array([1, 0]))[0]  # (5² / 2 + 0.5² / 2) / 2
        6.3125

    Reference:
        Hadsell, Chopra & LeCun (2006), Dimensionality reduction by learning an invariant mapping, eq. 4.
    """
    margin = checks.nonnegative("contrastive", "margin", margin)

    def formula(y: dict[str, Array], t: Array, careful: bool) -> tuple[Array, dict[str, Array]]:
        distance, away = norm(y["a"] - y["b"])
        short = np.maximum(margin - distance, 0)
        force = np.where(t > 0, distance, -short)
        da = force[..., None] * away
        return force * force / 2, {"a": da, "b": -da}

    return _of_tree("contrastive", ("a", "b"), formula, (1, 0))


@recorded
@documented()
def triplet_margin(margin: float = 1.0, p: float = 2.0, eps: float = 1e-6, swap: bool = False) -> TreeLoss:
    """A loss of triplets of vectors: an anchor shall be nearer to its positive than to its negative.

    l = max(0, d(anchor, positive) - d(anchor, negative) + margin), with d(x, z) = (Σ |x - z + eps|^p)^(1/p).

    Args:
        margin: by how much the negative shall be farther, ``>= 0``.
        p: the order of the norm, ``>= 1``; ``float("inf")`` for the largest difference.
        eps: what is added to each difference, ``>= 0``.
        swap: whether the distance to the negative is that of the positive where it is nearer than the anchor.

    Returns:
        ``loss(y, target=None, *, {signature}`` with

        y: ``{"anchor": ..., "positive": ..., "negative": ...}``, vectors, three arrays of floats of one shape
            (batch, ..., features).
        target: nothing, or anything with one item for each example, which ``fit`` needs; it is not looked at.
        {options}

    Raises:
        {raises}

    Example:
        >>> y = {"anchor": np.zeros((1, 1)), "positive": np.array([[2.0]]), "negative": np.array([[-1.0]])}
        >>> triplet_margin(margin=0.5, eps=0.0)(y)  # 2 - 1 + 0.5
        (1.5, {'anchor': array([[-2.]]), 'positive': array([[1.]]), 'negative': array([[1.]])})

    Reference:
        Balntas, Riba, Ponsa & Mikolajczyk (2016), Learning local feature descriptors with triplets and shallow
        convolutional neural networks, eq. 1 and section 3.2; PyTorch, TripletMarginLoss.
    """
    kind = "triplet_margin"
    margin, eps = checks.nonnegative(kind, "margin", margin), checks.nonnegative(kind, "eps", eps)
    p, swap = checks.real(kind, "p", p), checks.flag(kind, "swap", swap)
    if not p >= 1:
        raise ValueError(f"{kind}: p must be a number >= 1, the order of a norm, got {p}; 2 is usual")

    def formula(y: dict[str, Array], careful: bool) -> tuple[Array, dict[str, Array]]:
        near, toward = norm(y["anchor"] - y["positive"] + eps, p)
        far, away = norm(y["anchor"] - y["negative"] + eps, p)
        between: Any = 0
        if swap:
            other, across = norm(y["positive"] - y["negative"] + eps, p)
            own = np.heaviside(other - far, far.dtype.type(0.5))[..., None]  # 0.5 where both are as near
            far, away, between = np.minimum(far, other), own * away, (1 - own) * across
        losses = near - far + margin
        costs = (losses >= 0)[..., None]
        dy = {"anchor": toward - away, "positive": -toward - between, "negative": away + between}
        return np.maximum(losses, 0), {name: costs * leaf for name, leaf in dy.items()}

    return _of_tree(kind, ("anchor", "positive", "negative"), formula)


def _of_tree(
    kind: str, names: tuple[str, ...], formula: Formula, choices: tuple[int, ...] = (), vectors: bool = True
) -> TreeLoss:
    """A loss of a dict of arrays of one shape, with a loss for each element or for each vector.

    Args:
        kind: its name, for messages.
        names: the names in y.
        formula: ``formula(y, t, careful) -> (losses, gradients)``.
        choices: the values of a target; none if there is no target.
        vectors: whether the last axis is that of a vector.
    """

    def loss(
        y: Any, target: ArrayLike, *, weights: ArrayLike | None = None, reduction: Reduction = "mean"
    ) -> tuple[Any, dict[str, Array]]:
        first, *others = check_tree(kind, y, names)
        if first.ndim <= vectors or any(leaf.shape != first.shape for leaf in others):
            axes = "(batch, ..., features)" if vectors else "(batch, ...)"
            found = ", ".join(f"{name} of {y[name].shape}" for name in names)
            raise ValueError(f"{kind}: expected arrays of one shape {axes}, got {found}")
        shape = first.shape[:-1] if vectors else first.shape
        w = read_weights(kind, weights, shape, reduction)
        if choices:
            targets: tuple[Array, ...] = (_choices(kind, target, shape, w, choices).astype(first.dtype),)
        else:
            targets = check_unused(kind, target, len(first))
        return reduced(formula, y, targets, factors(kind, w, shape, first.dtype, reduction), reduction)

    def of_y(
        y: Any, target: Any = None, *, weights: ArrayLike | None = None, reduction: Reduction = "mean"
    ) -> tuple[Any, dict[str, Array]]:
        return loss(y, target, weights=weights, reduction=reduction)

    return cast(TreeLoss, published(loss if choices else of_y, formula, kind, {}))


def _choices(kind: str, target: Any, shape: Shape, weights: Array | None, choices: tuple[int, ...]) -> Array:
    """The target of pairs: one of two numbers for each; any number where the weight is 0."""
    t = checks.array(kind, target, "target")
    words = f"a target of {choices[0]} for what belongs together and {choices[1]} for what does not"
    if t.dtype.kind not in "fiub":
        raise TypeError(f"{kind}: expected {words}, got an array of {t.dtype}")
    if t.shape != shape:
        raise ValueError(f"{kind}: expected a target of shape {shape}, one for each loss, got {t.shape}")
    wrong = ~np.isin(t, choices)
    if (wrong if weights is None else wrong & (weights > 0)).any():
        raise ValueError(f"{kind}: expected {words}, got {t[wrong].flat[0]}")
    return np.where(wrong, choices[0], t)


def check_unused(kind: str, target: Any, examples: int) -> tuple[()]:
    """Raise if a target that is not looked at belongs to other examples; None and anything as long pass."""
    for path, leaf in tree.flatten(target).items() if target is not None else ():
        found = checks.array(kind, leaf, path or "target")
        if not found.ndim or len(found) != examples:
            raise ValueError(
                f"{kind}: expected no target, or one item for each of {examples} examples, got shape {found.shape}"
            )
    return ()


def norm(x: Array, p: float = 2.0) -> tuple[Array, Array]:
    """(Σ |x|^p)^(1/p) over the last axis, and its gradient, which is 0 at 0.

    Powers overflow and vanish long before the norm does, so a vector is divided by its largest element.

    Example:
        >>> norm(np.array([[3.0, -4.0], [0.0, 0.0]]))
        (array([5., 0.]), array([[ 0.6, -0.8],
               [ 0. ,  0. ]]))
    """
    size = np.abs(x)
    largest = size.max(-1, keepdims=True)
    if p == np.inf:
        most = size == largest
        return largest[..., 0], np.sign(x) * most / most.sum(-1, keepdims=True).astype(x.dtype)
    scale = np.minimum(largest, np.finfo(x.dtype).max)  # an infinite element stays infinite beside it
    scale[scale == 0] = 1
    ratios = size / scale
    total = (ratios**p).sum(-1, keepdims=True) ** (1 / p)
    return (scale * total)[..., 0], np.sign(x) * (ratios / np.where(total > 0, total, 1)) ** (p - 1)


def length(x: Array) -> Array:
    """The Euclidean length of each vector, with the axis kept."""
    return norm(x)[0][..., None]


def direction(x: Array, length: Array, least: float = 0.0) -> tuple[Array, Callable[[Array], Array]]:
    """u = x / max(length, least), and the vjp of that: du to dx.

    Args:
        x: vectors.
        length: of each; its gradient is u.
        least: a shorter one is divided by this.
    """
    divisor = np.maximum(length, least)
    u = x / divisor

    def pull(du: Array) -> Array:
        along = (u * du).sum(-1, keepdims=True) * u
        return (du - np.where(length < least, 0, along)) / divisor

    return u, pull
