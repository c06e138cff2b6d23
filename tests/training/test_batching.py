"""How examples are split by class: no class leaves training, and what the classes of a target are."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import funcnn as fn
from funcnn.aliases import Array


def parts(target: Array, fraction: float, rng: int = 0) -> tuple[Array, Array]:
    """The indices of the examples in the two parts of a split."""
    (rest, _), (part, _) = fn.split((np.arange(len(target)), target), fraction, rng)
    return rest, part


@given(st.lists(st.integers(0, 9), min_size=2, max_size=40), st.floats(0.001, 0.999), st.integers(0, 5), st.booleans())
def test_training_keeps_an_example_of_every_class(labels: list[int], fraction: float, rng: int, one_hot: bool) -> None:
    classes = np.array(labels)
    rest, part = parts(np.eye(10)[classes] if one_hot else classes, fraction, rng)
    assert len(part) >= 1
    rare = len(set(labels)) == len(labels)  # something must be set aside, even if all examples are of other classes
    assert set(classes[rest]) == set(labels) or rare


@pytest.mark.parametrize("rng", range(20))
def test_a_class_with_one_example_stays_in_training(rng: int) -> None:
    labels = np.array([0] * 9 + [1])
    for target in (labels, labels.astype(np.float32)[:, None], np.eye(2)[labels]):
        rest, part = parts(target, 0.5, rng)
        assert 9 in rest
        assert len(part) in (4, 5)
    # All but one example of each class are set aside, not more.
    rest, _ = parts(np.repeat([0, 1, 2], 4), 0.999, rng)
    assert sorted(rest // 4) == [0, 1, 2]


def test_a_part_is_not_empty_when_only_one_class_can_spare_an_example() -> None:
    rest, part = parts(np.array([0, 1, 2, 2]), 0.25)
    assert part.tolist() in ([2], [3])
    assert len(rest) == 3


YES_OR_NO = np.repeat([0, 1], [80, 20])


@pytest.mark.parametrize("dtype", [bool, np.int8, np.int64, np.float32, np.float64, ">f4"])
@pytest.mark.parametrize("shape", [(100,), (100, 1)])
def test_zeros_and_ones_of_any_type_are_classes(dtype: Any, shape: tuple[int, ...]) -> None:
    target = YES_OR_NO.astype(dtype).reshape(shape)
    for rng in range(10):
        assert YES_OR_NO[parts(target, 0.2, rng)[1]].sum() == 4
        folds = fn.k_fold((np.arange(100), target), 5, rng)
        assert [YES_OR_NO[part].sum() for _, (part, _) in folds] == [4] * 5


@pytest.mark.parametrize(
    "target",
    [
        YES_OR_NO * 0.5,
        np.where(YES_OR_NO, np.nan, 0.0),
        2 * YES_OR_NO[:, None],
        np.arange(100),
        np.array(["no", "yes"])[YES_OR_NO],
        YES_OR_NO.astype(complex),
        YES_OR_NO[:, None, None],
    ],
)
def test_other_numbers_are_not_classes(target: Array) -> None:
    for rng in range(3):
        assert parts(target, 0.2, rng)[1].tolist() == parts(np.zeros((100, 2, 2)), 0.2, rng)[1].tolist()


def test_files_in_memory_are_plain_data(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(12.0, dtype=np.float32).reshape(6, 2))
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert isinstance(x, np.memmap)
    (rest, _), (part, _) = fn.split((x, np.arange(6) % 2), 0.5, 0)
    assert sorted(np.concatenate([rest, part])[:, 0].tolist()) == [0, 2, 4, 6, 8, 10]
    assert [len(batch) for batch in fn.batches(x, 4)] == [4, 2]
    assert fn.predict(fn.relu, {}, x, batch_size=4).tolist() == x.tolist()
    np.testing.assert_array_equal(fn.datasets.statistics(x)["mean"], [[5, 6]])
