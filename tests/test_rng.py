"""Keys: one name, one stream, for ever."""

from typing import Any

import numpy as np
import pytest

from funcnn import rng


@pytest.mark.parametrize(
    ("given", "key"),
    [(7, (7,)), (np.int64(7), (7,)), ((7, 1), (7, 1)), ((np.uint8(7),), (7,)), (2**64 - 1, (2**64 - 1,))],
)
def test_ints_and_tuples_are_keys(given: Any, key: tuple[int, ...]) -> None:
    found = rng.as_key(given)
    assert found == key
    assert all(type(word) is int for word in found)


def test_a_generator_gives_one_integer() -> None:
    random, twin = np.random.default_rng(3), np.random.default_rng(3)
    assert rng.as_key(random) == (twin.integers(2**63),)
    assert random.random() == twin.random()


@pytest.mark.parametrize("wrong", [None, 1.0, "seed", True, (0, True), [1, 2], (1, 2.5), np.array([1, 2])])
def test_other_types_are_no_keys(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"a key is an int, a tuple of ints or a np\.random\.Generator, not"):
        rng.as_key(wrong)


@pytest.mark.parametrize("wrong", [-1, (), 2**64, (0, 2**32), (0, -1)])
def test_ints_out_of_range_are_no_keys(wrong: Any) -> None:
    with pytest.raises(ValueError, match="a key needs a first int in"):
        rng.as_key(wrong)


def test_fold_appends_a_word_and_a_name_counts_as_its_crc() -> None:
    assert rng.fold(0, 5) == (0, 5)
    # CRC-32 of the standard's check string.
    assert rng.fold((1, 2), "123456789") == (1, 2, 0xCBF43926)


def test_the_stream_of_a_key_never_changes() -> None:
    # Frozen bits: if they move, nobody's run can be resumed.
    assert rng.generator(0).bit_generator.random_raw(2).tolist() == [11749869230777074271, 4976686463289251617]
    assert rng.generator((0, 5)).bit_generator.random_raw(2).tolist() == [4838454377821401865, 15608918254058057108]


def test_different_keys_have_different_streams() -> None:
    # Trailing zeros and lengths are where plain lists of ints collide: default_rng([1, 2]) is default_rng([1, 2, 0]).
    keys = [(1,), (1, 0), (1, 0, 0), (1, 2), (1, 2, 0), (2, 1), (2**32 + 1,), (1, 1)]
    assert len({tuple(rng.generator(key).integers(2**62, size=2)) for key in keys}) == len(keys)
