"""A language model continues a text: it predicts the next token, one is drawn and appended, and so on.

With a cache each step computes the new token only; without one the whole text goes through the model again.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from funcnn import checks
from funcnn.aliases import Array, Params, Rng, Size
from funcnn.calls import explained
from funcnn.engine.microbatch import output
from funcnn.protocol import LayerLike, as_layer, declared
from funcnn.rng import as_key, fold, generator

__all__ = ["generate"]


@explained
def generate(
    model: LayerLike,
    params: Params,
    tokens: Array,
    steps: Size,
    temperature: float = 1.0,
    top_k: Size | None = None,
    rng: Rng | None = None,
    *,
    window: Size | None = None,
    cache: bool | None = None,
) -> Array:
    """Tokens and their continuation by a language model, each drawn from softmax(logits / temperature).

    Args:
        model: a layer from tokens (batch, time) to logits (batch, time, vocabulary), causal, which predicts at each
            place the token that follows.
        params: its parameters.
        tokens: (batch, time), integers, with at least one token.
        steps: how many tokens to append, ``>= 1``.
        temperature: below 1 likely tokens become likelier; 0 takes the likeliest one, and draws nothing.
        top_k: draw from this many likeliest tokens only, of equally likely ones the first; None for all.
        rng: the key; the same one gives the same tokens. It may be left out at temperature 0.
        window: how many of the last tokens the model gets, for one that has learned that many places; None for all.
            There is no cache then.
        cache: whether to keep what the model computed for earlier tokens; by default if it is a ``cached`` chain, or
            another layer that takes a tree with a cache, and there is no window.

    Returns:
        (batch, time + steps), integers of the dtype of ``tokens``.

    Raises:
        TypeError: tokens are not integers, or another argument has the wrong type.
        ValueError: an argument is out of range, there is no ``rng``, the model returns no logits or NaN, or the dtype
            of ``tokens`` cannot hold all that the model knows.

    Example:
        >>> import funcnn as fn
        >>> @fn.layer(per_example=True)
        ... def successor():  # after token t comes t + 1, of 5
        ...     return lambda shape, rng: {}, lambda params, x: (np.eye(5)[(x + 1) % 5], lambda dy: ({}, None))
        >>> fn.generate(successor(), {}, np.array([[3]]), steps=4, temperature=0)
        array([[3, 4, 0, 1, 2]])
    """
    layer, count = as_layer(model), checks.steps("generate", "steps", steps)
    temperature = checks.rate("generate", "temperature", temperature)
    most = None if top_k is None else checks.size("generate", "top_k", top_k)
    seen = None if window is None else checks.size("generate", "window", window)
    key = _key(rng, temperature)
    text = _checked(tokens)
    streams = bool(declared(layer.apply, "streams")) and seen is None
    caching = streams if cache is None else checks.flag("generate", "cache", cache)
    if caching and not streams:
        reason = "with a window there is none" if seen is not None else "this model takes none; build it with fn.cached"
        raise ValueError(f"generate: cache is True, but {reason}")
    past: Any = {}
    new = text
    for step in range(count):
        if caching:
            y = output(layer, params, {"x": new, "cache": past})
            logits, past = y["x"], y["cache"]
        else:
            logits = output(layer, params, text if seen is None else text[:, -seen:])
        drawn = _next(_last(logits, text), temperature, most, None if key is None else fold(key, step))
        new = drawn.astype(text.dtype)[:, None]
        text = np.concatenate((text, new), 1)
    return text


def _next(logits: Array, temperature: float, top_k: int | None, key: Any) -> Array:
    """The next token of each text; the largest of logits plus Gumbel noise is a draw from their softmax."""
    highest = logits.max(-1, keepdims=True)
    if not (highest > -np.inf).all():
        text = int(np.argmin(highest > -np.inf))
        raise ValueError(f"generate: the logits of text {text} are NaN or all -inf, so there is no next token")
    if temperature == 0:
        likeliest: Array = logits.argmax(-1)
        return likeliest
    # Between tokens whose logits are inf, and at a temperature near 0, the likeliest tokens have 0 and others -inf.
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = np.where(logits == highest, 0, (logits.astype(np.float64) - highest) / temperature)
    if top_k is not None:  # exactly top_k, the first of those that are equally likely
        np.put_along_axis(scaled, np.argsort(-scaled, -1, kind="stable")[:, top_k:], -np.inf, -1)
    drawn: Array = (scaled + generator(key).gumbel(size=scaled.shape)).argmax(-1)
    return drawn


def _key(rng: Rng | None, temperature: float) -> Any:
    """The key, which may be left out where nothing is drawn."""
    if rng is not None:
        return as_key(rng)
    if temperature > 0:
        raise ValueError("generate: drawing needs an rng, for example rng=0; temperature=0 takes the likeliest token")
    return None


def _checked(tokens: Any) -> Array:
    """Tokens (batch, time) as an array of integers."""
    found = checks.array("generate", tokens, "tokens")
    if found.dtype.kind not in "iu":
        raise TypeError(f"generate: expected tokens as integers, got {found.dtype}; use tokens.astype(np.int64)")
    if found.ndim != 2 or not found.shape[1]:
        one = "; of one text, use tokens[None]" if found.ndim == 1 else ""
        raise ValueError(f"generate: expected tokens (batch, time) with at least one token, got {found.shape}{one}")
    return found


def _last(logits: Any, text: Array) -> Array:
    """The logits at the last place."""
    if not isinstance(logits, np.ndarray) or logits.ndim != 3 or len(logits) != len(text) or 0 in logits.shape[1:]:
        raise ValueError(
            f"generate: the model must return logits (batch, time, vocabulary), got {checks.what(logits)}"
            + (f" of shape {logits.shape}" if isinstance(logits, np.ndarray) else "")
        )
    if logits.shape[2] - 1 > np.iinfo(text.dtype).max:
        raise ValueError(
            f"generate: {text.dtype} cannot hold the {logits.shape[2]} tokens of the model; use tokens.astype(np.int64)"
        )
    last: Array = logits[:, -1]
    return last
