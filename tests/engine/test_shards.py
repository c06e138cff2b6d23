"""Shards of a batch draw and reduce as the whole batch does."""

from itertools import accumulate
from typing import Any

import numpy as np
import pytest

import funcnn as fn
from funcnn.engine import shards
from funcnn.engine.microbatch import all_sum, run_one
from funcnn.engine.shards import Shard, inside


@pytest.mark.parametrize("draw", [shards.uniform, shards.normal])
@pytest.mark.parametrize("lengths", [(4, 4), (1, 2, 5), (3, 0, 5), (8,)])
@pytest.mark.parametrize("shape", [(), (3,), (5, 2), (1, 1)])
def test_shards_draw_what_the_whole_batch_draws(draw: Any, lengths: tuple[int, ...], shape: tuple[int, ...]) -> None:
    whole = draw((7, 9), (8, *shape))
    for rank, (first, n) in enumerate(zip(accumulate(lengths, initial=0), lengths, strict=False)):
        # The word of the rank is folded into the key after the first two, and others follow.
        with inside(Shard(first, n, words=(1,))):
            assert draw((7, rank, 9), (n, *shape)).tobytes() == whole[first : first + n].tobytes()


def test_a_step_of_a_sequence_is_a_row_of_its_example() -> None:
    whole = shards.uniform((7,), (4 * 3, 2))
    with inside(Shard(first=2, examples=2)):
        assert shards.uniform((7,), (2 * 3, 2)).tolist() == whole[6:].tolist()
        assert shards.cut([3, 3], None) == [Shard(6, 3), Shard(9, 3)]


def test_numbers_that_are_not_for_examples_are_those_of_all() -> None:
    with inside(Shard(first=2, examples=2)):
        found = shards.uniform((7,), (3,))
    assert found.tolist() == shards.uniform((7,), (3,)).tolist()


def test_an_all_reduce_takes_the_values_of_all_shards_and_returns_those_of_its_own() -> None:
    def exchange(values: list[Any]) -> tuple[list[Any], int]:
        return [(np.float64(100),), *values, (np.float64(1000),)], 1

    def total() -> Any:
        return (yield all_sum((np.float64(5),)))

    with inside(Shard(1, 1, exchange=exchange)):
        assert run_one(total()) == [1105]
    with inside(Shard(1, 1)):
        assert run_one(total()) == [5]


def test_what_runs_in_an_all_reduce_sees_the_whole_batch_and_does_not_exchange_again() -> None:
    def exchange(values: list[Any]) -> tuple[list[Any], int]:
        return values, 0

    with inside(Shard(1, 1, exchange=exchange)):
        (found,) = shards.combined(lambda values: [shards._shard.get()], [None])
    assert found is None


def test_a_batch_that_is_cut_in_a_shard_drops_what_it_would_drop_uncut() -> None:
    model, x = fn.serial(fn.dropout(0.5), fn.gaussian_noise(1.0)), np.ones((9, 4, 4, 2))
    whole, _ = model.apply({}, x, (7,))
    with inside(Shard(4, 5, words=(1,))):
        y, _ = model.apply({}, x[4:], (7, 1))
        with fn.testing.microbatches(2):
            cut, _ = model.apply({}, x[4:], (7, 1))
    assert y.tobytes() == cut.tobytes() == whole[4:].tobytes()
