"""1, 2 and 4 ranks train as one process does, to rounding, and each number of ranks always with the same bits."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import funcnn as fn
from tests.with_mpi import trainings
from tests.with_mpi.launch import run

PROGRAM = Path(trainings.__file__)
LIMITS = {"single_precision": 2e-5}
"""Relative errors of training in float32, and else 1e-12 of that in float64."""


def outcome(folder: Path, ranks: int) -> list[Any]:
    """What each rank has after all trainings."""
    done = run(ranks, PROGRAM, folder)
    assert (done.returncode, done.stderr) == (0, "")
    return [fn.load(folder / f"{rank}.npz") for rank in range(ranks)]


@pytest.fixture(scope="module", params=[1, 2, 4])
def several(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """The outcome of each rank, of 1, 2 and 4."""
    return outcome(tmp_path_factory.mktemp("ranks"), request.param)


@pytest.mark.parametrize("training", trainings.ALL)
def test_ranks_compute_what_one_process_computes(several: list[Any], training: Any) -> None:
    name = training.__name__
    expected, found = fn.tree.flatten(training(None)), fn.tree.flatten(several[0][name])
    assert found.keys() == expected.keys()
    for path, value in expected.items():
        assert found[path].dtype == value.dtype
        limit = LIMITS.get(name, 1e-12) * max(1, abs(np.nan_to_num(value)).max(initial=0))
        np.testing.assert_allclose(found[path], value, rtol=0, atol=limit, err_msg=path)


def test_all_ranks_have_the_same_bits(several: list[Any]) -> None:
    first, *others = map(fn.tree.flatten, several)
    for other in others:
        assert all(other[path].tobytes() == leaf.tobytes() for path, leaf in first.items())


def test_as_many_ranks_give_the_same_bits_again(several: list[Any], tmp_path: Path) -> None:
    again = fn.tree.flatten(outcome(tmp_path, len(several))[0])
    assert all(again[path].tobytes() == leaf.tobytes() for path, leaf in fn.tree.flatten(several[0]).items())
