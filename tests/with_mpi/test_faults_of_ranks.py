"""A fault on one rank is an error on all ranks, which says what it is; and no job hangs when a rank is gone."""

import json
import time
from pathlib import Path

import pytest

import funcnn as fn
from tests.with_mpi.launch import run

FOLDER = Path(__file__).parent
VALUE_AND_GRAD = "ValueError: distributed.value_and_grad: the ranks differ in "
BY_FAULT = {
    "units": f"{VALUE_AND_GRAD}params/dense_0/w: float32(4, 5), checksum c54adc51 on rank 0, float32(4, 6), checksum",
    "activation": f"{VALUE_AND_GRAD}model/dense_0: dense(5, activation='relu') on rank 0, dense(5, activation='ta",
    "key": f"{VALUE_AND_GRAD}params/dense_0/w: float32(4, 5), checksum c54adc51 on rank 0, float32(4, 5), checksum 923",
    "missing": f"{VALUE_AND_GRAD}params/dense_1/b: float32(3,), checksum 7bd5c66f on rank 0, nothing on rank 1",
    "dtype": f"{VALUE_AND_GRAD}params/dense_0/w: float32(4, 5), checksum c54adc51 on rank 0, float64(4, 5), checksum",
    "shards": "ValueError: distributed: the shards have different lengths, (4, 3) by rank; they must be equal",
    "rng": "ValueError: distributed: the ranks have different keys, ((7, 0), (7, 1)) by rank; pass the same rng",
    "weights": "ValueError: distributed: some ranks have weights and others have none",
    "communicator": "TypeError: distributed.value_and_grad: expected comm as a communicator of mpi4py, such as "
    "MPI.COMM_WORLD, got a ndarray",
    "no communicator": "TypeError: distributed.shard: expected comm as a communicator of mpi4py, such as "
    "MPI.COMM_WORLD, got COMM_NULL, which has no ranks",
    "shard": "ValueError: distributed.shard: expected a number of examples that 2 ranks divide, got 7; choose",
    "order": "RuntimeError: all ranks must make the same calls in the same order, but there is rank 0 at 'the start of "
    "fit', rank 1 at 'the start of distributed.value_and_grad'",
    "fit, data": "ValueError: fit: the ranks differ in train: x (8, 4) float32, target (8,) int64, checksum",
    "fit, epochs": "ValueError: fit: the ranks differ in epochs: 2 on rank 0, 3 on rank 1",
    "fit, validation": "ValueError: fit: the ranks differ in validation: none on rank 0, x (8, 2) float32",
}
"""What both ranks say."""

ON_ONE = {
    "forward": (1, "OverflowError: no luck forward"),
    "backward": (1, "OverflowError: no luck backward"),
    "backward on rank 0": (0, "OverflowError: no luck backward"),
    "fit, batch norm": (1, "OverflowError: no luck forward"),
    "fit, callback": (0, "OverflowError: no luck in a callback"),
    "fit, loss": (
        0,
        "ValueError: batch_norm: the variance of its input, up to 6.67e+59, is too large for float32; scale",
    ),
}
"""The rank that fails, and what it says."""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], str]:
    """What each rank says to each fault."""
    folder = tmp_path_factory.mktemp("faults")
    done = run(2, FOLDER / "faults.py", folder)
    assert (done.returncode, done.stderr) == (0, "")
    texts = {rank: json.loads((folder / f"said{rank}.json").read_text(encoding="utf-8")) for rank in range(2)}
    return {(fault, rank): text for rank, by_fault in texts.items() for fault, text in by_fault.items()}


@pytest.mark.parametrize("fault", BY_FAULT)
def test_what_differs_between_ranks_is_found_on_all_of_them(said: dict[tuple[str, int], str], fault: str) -> None:
    assert said[fault, 0] == said[fault, 1]
    assert said[fault, 0].startswith(BY_FAULT[fault])


@pytest.mark.parametrize("fault", ON_ONE)
def test_an_error_on_one_rank_is_an_error_on_the_other(said: dict[tuple[str, int], str], fault: str) -> None:
    rank, text = ON_ONE[fault]
    assert said[fault, rank].startswith(text)
    assert said[fault, 1 - rank].startswith(f"RankError: rank {rank} has failed: {text}")


def test_all_faults_are_looked_at_and_the_run_of_one_that_failed_goes_on_with_the_same_bits(
    said: dict[tuple[str, int], str],
) -> None:
    assert {fault for fault, _ in said} == {*BY_FAULT, *ON_ONE, "resumed"}
    assert (said["resumed", 0], said["resumed", 1]) == ("True", "True")


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("killed", ""),
        ("in fit", "OverflowError: no luck"),
        ("in the loop", "OverflowError: no luck"),
        ("exit", "RankError: rank 1 has left: its program has come to its end"),
        ("early", "RankError: rank 1 has left: its program has come to its end"),
    ],
)
def test_a_job_of_which_a_rank_is_gone_ends_with_an_error_within_seconds(how: str, words: str, tmp_path: Path) -> None:
    started = time.monotonic()
    done = run(2, FOLDER / "jobs.py", how, tmp_path)
    assert done.returncode != 0
    assert words in done.stdout + done.stderr
    assert time.monotonic() - started < 30  # two interpreters start in it, on a busy machine


def test_an_mpi_for_the_main_thread_only_raises(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # The thread that brings the last value of an all-reduce exchanges it, and may be any.
    monkeypatch.setenv("MPI4PY_RC_THREAD_LEVEL", "single")
    done = run(2, FOLDER / "jobs.py", "in fit", tmp_path)
    assert "set mpi4py.rc.thread_level = 'serialized'" in done.stdout + done.stderr


@pytest.mark.parametrize("how", ["killed", "in fit"])
def test_a_job_that_lost_a_rank_is_started_again_and_ends_with_the_same_bits(how: str, tmp_path: Path) -> None:
    (tmp_path / "straight").mkdir()
    assert run(2, FOLDER / "jobs.py", how, tmp_path).returncode != 0
    step = int(fn.load(tmp_path / "run.npz")["opt_state"]["scale_by_adam"]["step"])
    assert 0 < step < 6
    assert run(2, FOLDER / "jobs.py", "well", tmp_path).returncode == 0
    assert run(2, FOLDER / "jobs.py", "well", tmp_path / "straight").returncode == 0
    for rank in range(2):
        resumed, straight = (fn.load(folder / f"{rank}.npz") for folder in (tmp_path, tmp_path / "straight"))
        assert all(fn.tree.leaves(fn.tree.map(lambda a, b: a.tobytes() == b.tobytes(), resumed, straight)))
