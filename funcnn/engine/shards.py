"""A batch may be one of several shards, each computed by a process of its own, which together compute the whole batch.

Inside ``inside(shard)``, an all-reduce takes the values of all shards, in their order, and a layer draws for its
examples what it would draw for them in the whole batch. So the result does not depend on the number of shards.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from itertools import accumulate
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from funcnn.aliases import Array, Key, Rng, Shape
from funcnn.cores import set_inside
from funcnn.rng import as_key, generator

__all__ = ["Shard", "combined", "cut", "enter", "inside", "normal", "uniform", "whole_key"]

Exchange: TypeAlias = Callable[[list[Any]], tuple[list[Any], int]]
"""``exchange(values) -> (all_values, start)``: those of all shards in order, and where those of this one begin."""


class Shard(NamedTuple):
    """Where some examples stand in the whole batch.

    Args:
        first: the number of examples before them.
        examples: how many they are.
        words: the places of words that were folded into the key since the batch was cut: each shard and each
            microbatch has a key of its own, for layers that do not draw with the functions of this file.
        exchange: passes values to all shards; None if an all-reduce is that of this shard alone.
    """

    first: int
    examples: int
    words: tuple[int, ...] = ()
    exchange: Exchange | None = None


_shard: ContextVar[Shard | None] = ContextVar("shard", default=None)


def inside(shard: Shard) -> AbstractContextManager[None]:
    """Compute a shard inside the ``with``."""
    return set_inside(_shard, shard)


def enter(shard: Shard | None) -> None:
    """Compute a shard for the rest of this context, which is that of a task."""
    _shard.set(shard)


def cut(lengths: Sequence[int], key: Key | None) -> list[Shard | None]:
    """The shard at hand, cut into microbatches of these lengths, before a word is folded into the key.

    Example:
        >>> with inside(Shard(first=10, examples=5)):
        ...     [(part.first, part.examples) for part in cut([3, 2], None)]
        [(10, 3), (13, 2)]
    """
    shard = _shard.get()
    if shard is None:
        return [None] * len(lengths)
    # A layer may see several rows of each example, one for each step of a sequence.
    rows = sum(lengths) // max(shard.examples, 1)
    words = shard.words if key is None else (*shard.words, len(key))
    starts = accumulate(lengths, initial=shard.first * rows)
    return [shard._replace(first=start, examples=n, words=words) for start, n in zip(starts, lengths, strict=False)]


def combined(combine: Callable[[list[Any]], Sequence[Any]], values: list[Any]) -> Sequence[Any]:
    """``combine(values)`` for the microbatches of this shard, with the values of those of all shards.

    Every process computes it for all of them, so what runs inside of it sees the whole batch.
    """
    shard = _shard.get()
    if shard is None or shard.exchange is None:
        return combine(values)
    everyone, start = shard.exchange(values)
    with set_inside(_shard, None):
        return combine(everyone)[start : start + len(values)]


def whole_key(key: Key | None) -> Key | None:
    """The key for what runs inside ``combined``: that of the whole batch, if it sees it.

    Example:
        >>> with inside(Shard(first=10, examples=5, words=(1,), exchange=lambda values: (values, 0))):
        ...     whole_key((7, 2, 9))
        (7, 9)
    """
    shard = _shard.get()
    return key if key is None or shard is None or shard.exchange is None else _without_words(shard, key)


def uniform(rng: Rng, shape: Shape) -> Array:
    """Random numbers of [0, 1) in float32 for a batch; in a shard, those that its examples have in the whole batch.

    Args:
        rng: the key.
        shape: that of the numbers, with the batch first.

    Example:
        >>> whole = uniform((7,), (5, 3))
        >>> with inside(Shard(first=3, examples=2)):
        ...     bool((uniform((7,), (2, 3)) == whole[3:]).all())
        True
    """
    shard = _shard.get()
    if shard is None:
        return generator(rng).random(shape, np.float32)
    random, before = generator(_without_words(shard, as_key(rng))), _before(shard, shape)
    bits: Any = random.bit_generator
    bits.advance(before // 2)  # which makes 64 bits at once, enough for two numbers
    random.random(before % 2, np.float32)
    return random.random(shape, np.float32)


def normal(rng: Rng, shape: Shape) -> Array:
    """The same of a normal distribution with mean 0 and variance 1; a shard draws for all examples before it, too.

    Example:
        >>> normal((7,), (5, 3)).shape
        (5, 3)
    """
    shard = _shard.get()
    if shard is None:
        return generator(rng).standard_normal(shape, np.float32)
    before = _before(shard, shape)
    drawn = generator(_without_words(shard, as_key(rng))).standard_normal(before + math.prod(shape), np.float32)
    return drawn[before:].reshape(shape)


def _before(shard: Shard, shape: Shape) -> int:
    """How many numbers the examples before a shard have; none if the shape is not that of a batch."""
    size = math.prod(shape)
    return 0 if not shard.examples or size % shard.examples else shard.first * (size // shard.examples)


def _without_words(shard: Shard, key: Key) -> Key:
    """The key as it is where the batch is not cut."""
    return tuple(word for place, word in enumerate(key) if place not in shard.words)
