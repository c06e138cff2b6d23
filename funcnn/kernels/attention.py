"""Scaled dot-product attention: each query takes a mean of the values, weighted by how well its key fits.

The weights are a softmax over the keys. The scores and weights of a few heads fit in a core's cache, so the work is cut
there, and the only array of (batch, heads, queries, keys) that is kept is that of the exponentials, for the vjp. These
are never divided by their sum: a row of y is divided in their place, and in the vjp a row of dy, which is shorter.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from funcnn.aliases import Array
from funcnn.engine import threads
from funcnn.engine.memory import copied, empty
from funcnn.kernels.selection import select, times

__all__ = ["Attended", "alibi_bias", "allowed_keys", "attend", "attention_gradients"]

SCORES_IN_TASK = 128 * 1024
"""Scores that one task computes, of whole heads: they stay in a core's cache through the passes of the softmax."""


class Attended(NamedTuple):
    """What the vjp needs: the arguments, with heads in groups, the exponentials, 1 / their sums, and the output."""

    q: Array
    k: Array
    v: Array
    scale: float
    exponentials: Array
    inverse: Array
    kept: Array | None
    keep_scale: float
    bias: Array | None
    y: Array


def attend(
    q: Array,
    k: Array,
    v: Array,
    scale: float,
    allowed: Array | None = None,
    bias: Array | None = None,
    kept: Array | None = None,
    rate: float = 0.0,
) -> tuple[Array, Attended]:
    """y_i = sum over j of p_ij v_j, with p_i = softmax over the allowed j of (scale q_i k_j + bias_ij).

    Query head h uses the key head h // (heads / key heads). A query that may look at no key gets 0.

    Args:
        q: (batch, queries, heads, width).
        k: (batch, keys, key heads, width); the key heads divide the heads.
        v: (batch, keys, key heads, value width).
        scale: of the products.
        allowed: (batch or 1, queries or 1, keys), booleans; None for all.
        bias: (batch or 1, heads or 1, queries, keys), added to the scores; None for 0.
        kept: (batch, heads, queries, keys), False where dropout takes a weight away; None for none.
        rate: that of the dropout; what is kept is divided by 1 - rate.

    Returns:
        ``(y, attended)``; y is (batch, queries, heads, value width), ``attended`` is for ``attention_gradients``.

    Example:
        >>> q, v = np.zeros((1, 1, 1, 2)), np.array([1.0, 3.0]).reshape(1, 2, 1, 1)
        >>> attend(q, np.ones((1, 2, 1, 2)), v, 1.0)[0].ravel()
        array([2.])

    Reference:
        Vaswani et al. 2017, "Attention is all you need", arXiv 1706.03762, equation 1; Ainslie et al. 2023, "GQA",
        arXiv 2305.13245.
    """
    batch, queries, heads, _ = q.shape
    key_heads = k.shape[2]
    y = empty((batch, queries, heads, v.shape[3]), q.dtype)
    rows = (batch, key_heads, heads // key_heads, queries)
    exponentials, inverse = empty((*rows, k.shape[1]), q.dtype), empty((*rows, 1), q.dtype)
    whole = Attended(
        _grouped(q, key_heads), _grouped(k, key_heads), _grouped(v, key_heads), scale, exponentials, inverse,
        _in_groups(kept, key_heads), 1 / (1 - rate), _in_groups(bias, key_heads), _grouped(y, key_heads),
    )  # fmt: skip
    mask = None if allowed is None else allowed[:, None, None]
    _run(whole, lambda cut: _attend(cut(whole), _part(mask, cut)))
    return y, whole


def _attend(a: Attended, allowed: Array | None) -> None:
    """Compute the exponentials and the output of some heads, in place."""
    p = np.matmul(a.q * a.q.dtype.type(a.scale), _transposed(a.k), out=a.exponentials)
    if a.bias is not None:
        p += a.bias
    if allowed is not None:
        np.copyto(p, -np.inf, where=~allowed)
    highest = np.maximum.reduce(p, axis=-1, keepdims=True, initial=-np.inf)
    highest[highest == -np.inf] = 0  # nothing is allowed: all exponentials are 0
    p -= highest
    np.exp(p, out=p)
    total = np.matmul(p, np.ones((p.shape[-1], 1), p.dtype), out=a.inverse)  # faster than a sum of short rows
    total[total == 0] = 1
    np.divide(1, total, out=a.inverse)
    y = _weighted(_dropped(p, a), a.v, a.y)
    y *= a.inverse


def attention_gradients(
    dy: Array, attended: Attended, bias_gradient: bool = False
) -> tuple[Array, Array, Array, Array | None]:
    """The vjp of ``attend``, where dp_ij = dy_i v_j and ds_ij = p_ij (dp_ij - dy_i y_i), with p_ij = e_ij / sum of e_i.

    The gradients are::

        dv_j = sum over i of p_ij dy_i    dq_i = scale sum over j of ds_ij k_j    dk_j = scale sum over i of ds_ij q_i

    Args:
        dy: like y.
        attended: what ``attend`` returned.
        bias_gradient: whether the gradient of the bias, which is ds, is wanted too.

    Returns:
        ``(dq, dk, dv, dbias)``, like q, k, v and the bias, or None.
    """
    batch, key_heads, groups, queries, _ = attended.q.shape
    keys, dtype = attended.k.shape[-2], attended.q.dtype
    dq = empty((batch, queries, key_heads * groups, attended.q.shape[-1]), dtype)
    dk, dv = (empty((batch, keys, key_heads, a.shape[-1]), dtype) for a in (attended.k, attended.v))
    dbias = np.empty(attended.bias.shape, dtype) if bias_gradient and attended.bias is not None else None
    results = tuple(_grouped(a, key_heads) for a in (dy, dq, dk, dv))
    _run(attended, lambda cut: _gradients(cut(attended), *(_part(a, cut) for a in (*results, dbias))))  # type: ignore[arg-type]
    return dq, dk, dv, None if dbias is None else _heads_joined(dbias)


def _gradients(a: Attended, dy: Array, dq: Array, dk: Array, dv: Array, dbias: Array | None) -> None:
    """Compute the gradients of some heads, in place; those of the keys are sums over the heads of a group."""
    rows = dy * a.inverse  # in place of the weights, which are longer
    ds = np.matmul(rows, _transposed(a.v))
    if a.kept is not None:
        ds = select(ds, a.kept)
        ds *= ds.dtype.type(a.keep_scale)
    ds -= np.vecdot(rows, a.y)[..., None]
    ds *= a.exponentials
    scale = ds.dtype.type(a.scale)
    weights = _dropped(a.exponentials, a)
    if _has_nan(_weighted(ds, a.k * scale, dq)):  # of a query that does not count, or a key that it may not look at
        counts: Array = np.any(dy, -1, keepdims=True)
        weights, ds = select(weights, counts), select(ds, counts & (a.exponentials != 0))
        _weighted(ds, a.k * scale, dq)
    if dbias is not None:
        shared = tuple(axis for axis in (1, 2) if dbias.shape[axis] == 1)
        np.add.reduce(ds, axis=shared, keepdims=True, out=dbias)
    _weighted(_rows(weights).swapaxes(-1, -2), _rows(rows), dv[:, :, 0])
    _weighted(_rows(ds).swapaxes(-1, -2), _rows(a.q * scale), dk[:, :, 0])


def _weighted(weights: Array, x: Array, out: Array) -> Array:
    """weights @ x; what has the weight 0 does not count, also if it is infinite or NaN."""
    np.matmul(weights, x, out=out)
    if _has_nan(out):
        finite = np.isfinite(x)
        np.matmul(weights, np.where(finite, x, 0), out=out)
        for j in np.flatnonzero(~finite.all((*range(x.ndim - 2), -1))):
            row = x[..., j : j + 1, :]
            out += times(weights[..., j : j + 1], np.where(finite[..., j : j + 1, :], 0, row))
    return out


def _has_nan(a: Array) -> bool:
    """Whether an element is NaN."""
    return math.isnan(np.minimum.reduce(a, axis=None, initial=0))


def _transposed(a: Array) -> Array:
    """The transpose of each matrix, as a copy, with which a product takes two thirds of the time."""
    return copied(a.swapaxes(-1, -2))


def _dropped(p: Array, a: Attended) -> Array:
    """The exponentials after dropout."""
    if a.kept is None:
        return p
    left = select(p, a.kept)
    left *= p.dtype.type(a.keep_scale)
    return left


def _rows(a: Array) -> Array:
    """(batch, key heads, groups, queries, n) with the queries of all heads of a group one after the other."""
    return a.reshape(*a.shape[:2], a.shape[2] * a.shape[3], a.shape[4])


def _grouped(a: Array, key_heads: int) -> Array:
    """(batch, time, heads, n) seen as (batch, key heads, groups, time, n)."""
    batch, time, heads, n = a.shape
    return a.reshape(batch, time, key_heads, heads // key_heads, n).transpose(0, 2, 3, 1, 4)


def _in_groups(a: Array | None, key_heads: int) -> Array | None:
    """(batch, heads or 1, queries, keys) seen as (batch, key heads or 1, groups or 1, queries, keys)."""
    if a is None:
        return None
    heads = (1, 1) if a.shape[1] == 1 else (key_heads, a.shape[1] // key_heads)
    return a.reshape(a.shape[0], *heads, *a.shape[2:])


class _Cut(NamedTuple):
    """Some examples and some key heads."""

    examples: slice
    heads: slice

    def __call__(self, a: Attended) -> Attended:
        arrays = {name: field for name, field in a._asdict().items() if isinstance(field, np.ndarray)}
        parts: dict[str, Any] = {name: _part(array, self) for name, array in arrays.items()}
        return a._replace(**parts)


def _heads_joined(a: Array) -> Array:
    """The reverse of ``_in_groups``."""
    batch, key_heads, groups, queries, keys = a.shape
    return a.reshape(batch, key_heads * groups, queries, keys)


def _part(a: Array | None, cut: _Cut) -> Array | None:
    """What of an array belongs to a cut; an axis of size 1 is for all."""
    if a is None:
        return None
    examples, heads = (own if n > 1 else slice(None) for own, n in zip(cut, a.shape, strict=False))
    return a[examples, heads]


def _run(a: Attended, task: Callable[[_Cut], None]) -> None:
    """Call a task for each cut, several at a time. Where it is cut depends on shapes alone."""
    batch, key_heads, *one_head = a.exponentials.shape
    head = max(1, int(np.prod(one_head)))
    # The gradient of a bias may be a sum over heads, which one task makes.
    heads = key_heads if a.bias is not None else min(key_heads, max(1, SCORES_IN_TASK // head))
    examples = max(1, SCORES_IN_TASK // (head * key_heads))
    cuts = [
        _Cut(slice(first, first + examples), slice(head, head + heads))
        for first in range(0, batch, examples)
        for head in range(0, key_heads, heads)
    ]
    # Infinite elements give what they give in PyTorch, without a warning.
    with np.errstate(over="ignore", invalid="ignore"):
        threads.run([partial(task, cut) for cut in cuts])


def allowed_keys(mask: Array | None, causal: bool, queries: int, keys: int, offset: int) -> Array | None:
    """Which keys a query may look at: a mask, and with ``causal`` none that comes later.

    Args:
        mask: (batch, keys) or (batch, queries, keys), booleans; None for all.
        causal: whether query i, which stands at the place ``offset + i``, may look at the keys 0 to ``offset + i``.
        queries: how many there are.
        keys: how many there are.
        offset: the place of the first query among the keys.

    Returns:
        (batch or 1, queries or 1, keys), or None.

    Example:
        >>> allowed_keys(None, True, 2, 3, 1)
        array([[[ True,  True, False],
                [ True,  True,  True]]])
    """
    allowed = mask[:, None] if mask is not None and mask.ndim == 2 else mask
    if not causal or (queries == 1 and offset >= keys - 1):
        return allowed
    earlier = np.tri(queries, keys, offset, dtype=bool)[None]
    return earlier if allowed is None else allowed & earlier


def alibi_bias(heads: int, queries: int, keys: int, offset: int, dtype: np.dtype[np.generic]) -> Array:
    """-slope_h |place of the query - place of the key|, with slope_h = 2^(-8 h / heads) for h = 1, ..., heads.

    Where the number of heads is not a power of two, the slopes of the next smaller one come first, then every other of
    those of the next larger one, as in the authors' program.

    Args:
        heads: how many there are.
        queries: how many there are.
        keys: how many there are.
        offset: the place of the first query among the keys.
        dtype: of the result.

    Returns:
        (1, heads, queries, keys).

    Example:
        >>> alibi_bias(2, 1, 3, 2, np.dtype(float))[0, :, 0]
        array([[-0.125     , -0.0625    , -0.        ],
               [-0.0078125 , -0.00390625, -0.        ]])

    Reference:
        Press, Smith & Lewis 2021, "Train short, test long", arXiv 2108.12409, section 3.
    """
    power = 1 << (heads.bit_length() - 1)
    slopes = [2.0 ** (-8 * h / power) for h in range(1, power + 1)]
    slopes += [2.0 ** (-4 * h / power) for h in range(1, 2 * (heads - power), 2)]
    distances = np.abs(offset + np.arange(queries)[:, None] - np.arange(keys))
    bias: Array = (-np.array(slopes)[:, None, None] * distances).astype(dtype)
    return bias[None]
