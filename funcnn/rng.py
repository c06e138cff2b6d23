"""Randomness is an argument: a key, which is a tuple of ints, names one stream of random numbers.

``fold`` derives a new key from a key, so that each layer and each training step has its own stream; the same key always
gives the same numbers, so a run can be resumed at any step, in any thread.
"""

from __future__ import annotations

import operator
from typing import Any
from zlib import crc32

import numpy as np

from funcnn.aliases import Key, Rng
from funcnn.wording import shown

__all__ = ["as_key", "fold", "generator"]


def as_key(rng: Rng) -> Key:
    """The key that an ``int``, a tuple of ints or a ``Generator`` stands for.

    Args:
        rng: an int ``>= 0``, a non-empty tuple of them (the first below 2**64, the others below 2**32), or a
            ``np.random.Generator``, from which one integer is drawn.

    Returns:
        The key, a tuple of ints.

    Raises:
        TypeError: ``rng`` is none of these.
        ValueError: an int is out of range, or the tuple is empty.

    Example:
        >>> as_key(7), as_key((7, 1))
        ((7,), (7, 1))
    """
    # The usual case, a key already, is returned without a copy; `type(...) is int` excludes bool.
    if type(rng) is tuple and rng and type(rng[0]) is int and 0 <= rng[0] < 2**64:
        for word in rng[1:]:
            if type(word) is not int or not 0 <= word < 2**32:
                break
        else:
            return rng
    if type(rng) is int and 0 <= rng < 2**64:
        return (rng,)
    if isinstance(rng, np.random.Generator):
        return (int(rng.integers(2**63)),)
    return _checked(rng)


def fold(rng: Rng, data: int | str) -> Key:
    """Derive the key of a child from its name, or of a step from its number.

    Args:
        rng: the key of the parent, or anything else that ``as_key`` accepts.
        data: an int in [0, 2**32), or a name, which stands for its CRC-32.

    Returns:
        The key with one more word; ``fold(key, a) != fold(key, b)`` unless ``a`` and ``b`` are the same word.

    Raises:
        TypeError: ``data`` is neither an int nor a name, or as ``as_key``.
        ValueError: ``data`` is out of range, or as ``as_key``.

    Example:
        >>> fold(0, 5), fold((0, 5), "dropout_0")
        ((0, 5), (0, 5, 1890476719))
    """
    key = as_key(rng)
    if isinstance(data, str):
        return (*key, crc32(data.encode()))  # a CRC-32 is in range
    return as_key((*key, data))


def generator(rng: Rng) -> np.random.Generator:
    """The NumPy generator at the start of the stream that a key names.

    Args:
        rng: anything that ``as_key`` accepts.

    Returns:
        A new ``np.random.Generator``: the same key gives the same numbers.

    Raises:
        TypeError, ValueError: as ``as_key``.

    Example:
        >>> bool(generator((0, 5)).random() == generator((0, 5)).random())
        True
    """
    key = as_key(rng)
    return np.random.default_rng(np.random.SeedSequence(key[0], spawn_key=key[1:]))


def check_rng(rng: Any) -> None:
    """Raise for what is neither None nor an rng; for layers that do not draw, which would take anything in silence.

    A key that combinators made is a tuple, and is not looked into.
    """
    if rng is not None and type(rng) is not tuple and not isinstance(rng, np.random.Generator):
        _checked(rng)


def _checked(rng: Any) -> Key:
    """The key that an integer or a tuple of integers of any type stands for, or an error."""
    words = rng if isinstance(rng, tuple) else (rng,)
    if any(isinstance(word, bool | np.bool_) for word in words):
        raise TypeError(f"a key is an int, a tuple of ints or a np.random.Generator, not {shown(rng)}")
    try:
        key = tuple(operator.index(word) for word in words)
    except TypeError:
        message = f"a key is an int, a tuple of ints or a np.random.Generator, not {shown(rng)}"
        raise TypeError(message) from None
    # Larger words would be split by SeedSequence, and two different keys could give one stream.
    if not key or not 0 <= key[0] < 2**64 or not all(0 <= word < 2**32 for word in key[1:]):
        raise ValueError(f"a key needs a first int in [0, 2**64) and others in [0, 2**32), got {shown(rng)}")
    return key
