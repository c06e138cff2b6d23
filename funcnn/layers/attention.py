"""Attention lets each place of a sequence read from all others, or from those of another sequence, the context.

What is asked (queries), what it is compared with (keys) and what is read (values) come in; there are no parameters.
``multi_head_attention`` learns to make them.
"""

# A vjp_fn is defined at each call of apply; like this its annotations cost nothing there.
from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from funcnn import checks, contract
from funcnn.aliases import Array, Params, Rng
from funcnn.engine import shards
from funcnn.engine.microbatch import of_sequences
from funcnn.kernels.attention import allowed_keys, attend, attention_gradients
from funcnn.layers.trees import check_axes, input_gradient, key_mask, leaf_gradient, leaves_of, same_batch
from funcnn.protocol import Layer, Vjp, layer, per_example, without_params
from funcnn.rng import check_rng

__all__ = ["attention"]


class Options(NamedTuple):
    """The options of attention that both layers have."""

    kind: str
    causal: bool
    scale: float | None
    rate: float

    def attend(
        self, q: Array, k: Array, v: Array, mask: Array | None, bias: Array | None, offset: int, rng: Rng | None
    ) -> tuple[Array, Callable[..., tuple[Array, Array, Array, Array | None]]]:
        """``(y, pull)`` of checked arrays (batch, time, heads, width), with ``pull(dy, bias_gradient)``."""
        batch, queries, heads, width = q.shape
        keys = k.shape[1]
        allowed = allowed_keys(mask, self.causal, queries, keys, offset)
        scale = 1 / math.sqrt(width) if self.scale is None else self.scale
        kept = None
        if rng is not None and self.rate:
            kept = shards.uniform(rng, (batch, heads, queries, keys)) >= self.rate
        y, attended = attend(q, k, v, scale, allowed, bias, kept, self.rate)
        return y, lambda dy, bias_gradient=False: attention_gradients(dy, attended, bias_gradient)


def as_options(kind: str, causal: bool, scale: float | None, dropout: float) -> Options:
    """The options, checked."""
    own_scale = None if scale is None else checks.number(kind, "scale", scale)
    return Options(kind, checks.flag(kind, "causal", causal), own_scale, checks.drop_rate(kind, dropout, "dropout"))


@layer
def attention(causal: bool = False, scale: float | None = None, dropout: float = 0.0) -> Layer:
    """y_i = sum over j of p_ij v_j, with p_i = softmax over j of scale q_i k_j: scaled dot-product attention.

    In the backward pass, with dp_ij = dy_i v_j and ds_ij = p_ij (dp_ij - dy_i y_i)::

        dv_j = sum of p_ij dy_i     dq_i = scale sum of ds_ij k_j     dk_j = scale sum of ds_ij q_i

    The input is one of three:

    - ``{"q", "k", "v"}``, each (batch, time, heads, width) or (batch, time, width) of one head, with ``mask`` and
      ``bias`` if wanted; k and v may have fewer heads, each for a group of neighbouring heads of q. y is an array.
    - an array x (batch, time, features), which is q, k and v at once. y is an array.
    - ``{"x"}`` with ``context``, ``mask`` and ``context_mask`` if wanted: the context, if it is there, is k and v. y is
      the same tree with ``x`` replaced.

    A mask is boolean, True where there is data: (batch, keys), or (batch, queries, keys) for pairs; ``mask`` is that of
    the keys, or of x as its own context, and ``context_mask`` that of the context. A query that may look at no key
    gives 0. ``bias`` (batch, heads or 1, queries, keys) is added to the scores; ``alibi`` makes one.

    Args:
        causal: whether query i may look at the keys 0 to i only.
        scale: what the products are multiplied by; by default 1 / sqrt(width).
        dropout: the probability of dropping a weight p_ij in training, in [0, 1).

    Returns:
        A layer without parameters; y is like q, with the width of v.

    Raises:
        TypeError: an argument has the wrong type; or, from ``apply``, a mask is not boolean or the dtypes differ.
        ValueError: an argument is out of range; or, from ``init`` and ``apply``, names or shapes do not fit.

    Example:
        >>> import numpy as np
        >>> x = np.array([[[1.0, 0.0], [0.0, 1.0]]])
        >>> attention(causal=True).apply({}, x)[0].round(2)
        array([[[1.  , 0.  ],
                [0.33, 0.67]]])

    Reference:
        Vaswani et al. 2017, "Attention is all you need", arXiv 1706.03762, equation 1.
    """
    options = as_options("attention", causal, scale, dropout)

    @per_example
    def apply(params: Params, x: Any, rng: Rng | None = None) -> tuple[Any, Vjp]:
        contract.no_params("attention", params)
        check_rng(rng)
        arrays, names, mask, bias = _arguments(x)
        q, k, v = (a[:, :, None] if a.ndim == 3 else a for a in arrays)
        out, pull = options.attend(q, k, v, mask, bias, 0, rng)
        out = out.reshape(*arrays[0].shape[:-1], v.shape[-1])
        y = {**x, "x": out} if names[0] == "x" and isinstance(x, dict) else out
        like, has_bias = contract.form(y), bias is not None

        def vjp_fn(dy: Any, input_grad: bool = True) -> tuple[Params, Any]:
            contract.gradient("attention", dy, like)
            if not input_grad:
                return {}, None
            *gradients, dbias = pull(leaf_gradient(dy, like).reshape(*q.shape[:-1], v.shape[-1]), has_bias)
            found: dict[str, Any] = {"bias": dbias}
            for name, array, gradient in zip(names, arrays, gradients, strict=True):
                own = gradient.reshape(array.shape)
                found[name] = found[name] + own if name in found else own
            return {}, input_gradient(x, dy, found)

        return y, vjp_fn

    apply.working_set = of_sequences(scores)  # type: ignore[attr-defined]
    return without_params(apply)


def _arguments(x: Any) -> tuple[list[Array], tuple[str, str, str], Array | None, Array | None]:
    """q, k and v, the names of the leaves that they are, the mask and the bias of an input, checked."""
    kind, names = "attention", ("x", "x", "x")
    if isinstance(x, dict) and "x" not in x:
        names = ("q", "k", "v")
        leaves = leaves_of(kind, x, (*names, "mask", "bias"), names)
    else:
        leaves = leaves_of(kind, x, ("x", "context", "mask", "context_mask"))
        if "context" in leaves:
            names = ("x", "context", "context")
    arrays = [leaves[name] for name in names]
    rank = 4 if getattr(arrays[0], "ndim", 3) == 4 else 3
    axes = "batch, time, heads, width" if rank == 4 else "batch, time, features"
    for name, array in zip(names, arrays, strict=True):
        check_axes(kind, array, name if isinstance(x, dict) else "", axes)
        same_batch(kind, arrays[0], name, array)
    q, k, v = arrays
    if (rank == 4 and not (q.shape[2] and k.shape[2])) or not q.shape[-1]:
        shapes = {name: array.shape for name, array in zip(names, arrays, strict=True)}
        raise ValueError(f"{kind}: expected at least one head and one feature, got {shapes}")
    if k.shape[-1] != q.shape[-1] or k.shape[:-1] != v.shape[:-1] or (rank == 4 and q.shape[2] % k.shape[2]):
        shapes = {name: array.shape for name, array in zip(names, arrays, strict=True)}
        raise ValueError(
            f"{kind}: expected keys as wide as queries, a value for each key, and heads of the keys that divide those "
            f"of the queries, got {shapes}"
        )
    mask_name = "context_mask" if names[1] == "context" else "mask"
    mask, bias = leaves.get(mask_name), leaves.get("bias")
    batch, queries, keys = len(q), q.shape[1], k.shape[1]
    if mask is not None:
        key_mask(kind, mask_name, mask, batch, queries, keys)
    if bias is not None:
        check_axes(kind, bias, "bias", "batch, heads, queries, keys")
        same_batch(kind, q, "bias", bias)
        heads = q.shape[2] if rank == 4 else 1
        if bias.shape not in ((batch, heads, queries, keys), (batch, 1, queries, keys)):
            raise ValueError(f"{kind}, input 'bias': expected shape {(batch, heads, queries, keys)}, got {bias.shape}")
    return arrays, names, mask, bias


def scores(x: Any, heads: int = 1) -> int:
    """The number of scores: the working set of attention."""
    leaves: dict[str, Any] = x if isinstance(x, dict) else {"x": x}
    q: Any = leaves.get("x", leaves.get("q"))
    k: Any = leaves.get("context", leaves.get("k", q))
    if not all(isinstance(leaf, np.ndarray) and leaf.ndim > 2 for leaf in (q, k)):
        return 0  # attention says what is wrong
    return int(q.size // max(q.shape[-1], 1) * k.shape[1] * heads)
