"""Keys: one name, one stream."""

from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
import pytest

from funcnn import rng


class Seed(IntEnum):
    SEVEN = 7


class Named(NamedTuple):
    seed: int
    step: int


@pytest.mark.parametrize(
    ("given", "key"),
    [
        (7, (7,)),
        (np.int64(7), (7,)),
        ((7, 1), (7, 1)),
        ((np.uint8(7),), (7,)),
        ((7, np.int32(1)), (7, 1)),
        ((Seed.SEVEN, 1), (7, 1)),
        (Named(7, 1), (7, 1)),
        (2**64 - 1, (2**64 - 1,)),
        ((2**64 - 1, 2**32 - 1, 0), (2**64 - 1, 2**32 - 1, 0)),
    ],
)
def test_ints_and_tuples_are_keys(given: Any, key: tuple[int, ...]) -> None:
    found = rng.as_key(given)
    assert found == key
    assert type(found) is tuple
    assert all(type(word) is int for word in found)


def test_a_key_is_returned_without_a_copy() -> None:
    key = (2**63, 5, 2**32 - 1)
    assert rng.as_key(key) is key


def test_a_generator_gives_one_integer() -> None:
    random, twin = np.random.default_rng(3), np.random.default_rng(3)
    assert rng.as_key(random) == (twin.integers(2**63),)
    assert random.random() == twin.random()


@pytest.mark.parametrize(
    "wrong",
    [None, 1.0, "seed", True, False, np.False_, (False,), (0, True), (0, 1, False), [1, 2], (1, 2.5), np.array([1, 2])],
)
def test_other_types_raise(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"a key is an int, a tuple of ints or a np\.random\.Generator, not"):
        rng.as_key(wrong)


@pytest.mark.parametrize("wrong", [-1, (), 2**64, (-1,), (2**64, 1), (0, 2**32), (0, -1), (0, 1, 2**32)])
def test_ints_out_of_range_raise(wrong: Any) -> None:
    with pytest.raises(ValueError, match="a key needs a first int in"):
        rng.as_key(wrong)


def test_fold_appends_a_word_and_a_name_stands_for_its_crc() -> None:
    assert rng.fold(0, 5) == (0, 5)
    # CRC-32 of the standard's check string.
    assert rng.fold((1, 2), "123456789") == (1, 2, 0xCBF43926)
    assert rng.fold(np.int64(1), np.uint8(2)) == (1, 2)


@pytest.mark.parametrize(
    ("key", "data", "error"),
    [
        (True, "a", TypeError),
        ((0, 2**32), "a", ValueError),
        (0, True, TypeError),
        (0, 1.5, TypeError),
        (0, -1, ValueError),
        (0, 2**32, ValueError),
    ],
)
def test_fold_raises_for_what_as_key_raises(key: Any, data: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="a key "):
        rng.fold(key, data)


def test_the_stream_of_a_key_never_changes() -> None:
    # Frozen bits: if they change, no run can be resumed.
    assert rng.generator(0).bit_generator.random_raw(2).tolist() == [11749869230777074271, 4976686463289251617]
    assert rng.generator((0, 5)).bit_generator.random_raw(2).tolist() == [4838454377821401865, 15608918254058057108]


def test_different_keys_have_different_streams() -> None:
    # Trailing zeros and lengths are where plain lists of ints collide: default_rng([1, 2]) is default_rng([1, 2, 0]).
    keys = [(1,), (1, 0), (1, 0, 0), (1, 2), (1, 2, 0), (2, 1), (2**32 + 1,), (1, 1)]
    assert len({tuple(rng.generator(key).integers(2**62, size=2)) for key in keys}) == len(keys)
