"""Randomness is an argument: a key, which is a tuple of ints, names one stream of random numbers for ever.

``fold`` derives a new key from an old one, so that each layer and each training step has a stream of its own; the
same key always gives the same numbers, hence a run can be resumed at any step, in any thread.
"""

import operator
from zlib import crc32

import numpy as np

from funcnn.aliases import Key, Rng

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
    if isinstance(rng, np.random.Generator):
        return (int(rng.integers(2**63)),)
    words = rng if isinstance(rng, tuple) else (rng,)
    if any(isinstance(word, bool | np.bool_) for word in words):
        raise TypeError(f"a key is an int, a tuple of ints or a np.random.Generator, not {rng!r}")
    try:
        key = tuple(operator.index(word) for word in words)
    except TypeError:
        message = f"a key is an int, a tuple of ints or a np.random.Generator, not {rng!r}"
        raise TypeError(message) from None
    # Larger words would be split by SeedSequence, and two different keys could give one stream.
    if not key or not 0 <= key[0] < 2**64 or not all(0 <= word < 2**32 for word in key[1:]):
        raise ValueError(f"a key needs a first int in [0, 2**64) and others in [0, 2**32), got {rng!r}")
    return key


def fold(rng: Rng, data: int | str) -> Key:
    """Derive the key of a part: of a child by its name, of a step by its number.

    Args:
        rng: the key of the whole.
        data: an int in [0, 2**32), or a name, which counts as its CRC-32.

    Returns:
        The key with one more word; ``fold(key, a) != fold(key, b)`` unless ``a`` and ``b`` are the same word.

    Example:
        >>> fold(0, 5), fold((0, 5), "dropout_0")
        ((0, 5), (0, 5, 1890476719))
    """
    return as_key((*as_key(rng), crc32(data.encode()) if isinstance(data, str) else data))


def generator(rng: Rng) -> np.random.Generator:
    """The NumPy generator at the start of the stream that a key names.

    Args:
        rng: anything that ``as_key`` accepts.

    Returns:
        A fresh ``np.random.Generator``: the same key gives the same numbers.

    Example:
        >>> bool(generator((0, 5)).random() == generator((0, 5)).random())
        True
    """
    key = as_key(rng)
    return np.random.default_rng(np.random.SeedSequence(key[0], spawn_key=key[1:]))
