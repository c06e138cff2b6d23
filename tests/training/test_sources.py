"""Data that lie in files, or are made when they are indexed: a batch reads its examples, in the order of the file."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import funcnn as fn
from funcnn.training.sources import Rows

X = np.arange(60, dtype=np.float32).reshape(20, 3)
LABELS = np.arange(20) % 2
MODEL = fn.serial(fn.dense(4), fn.relu, fn.dense(2))
PARAMS = MODEL.init((3,), 0)


class Sliced:
    """A file that is read by slices only, as HDF5 allows; it keeps what was asked for."""

    def __init__(self, array: np.ndarray, chunks: tuple[int, ...] | None = None) -> None:
        self.array, self.chunks, self.asked = array, chunks, list[slice]()
        self.shape, self.dtype = array.shape, array.dtype

    def __getitem__(self, index: Any) -> np.ndarray:  # and no length but that in its shape, as in Zarr
        assert isinstance(index, slice)
        assert type(index.start) is type(index.stop) is int
        self.asked.append(index)
        return self.array[index]

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise AssertionError("the whole set was read")


class OneByOne:
    """Examples that are made one at a time, as a list of image files is."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, i: int) -> Any:
        return self.array.tolist()[i]  # a list knows no array as an index


def fit(x: Any, target: Any, **options: Any) -> fn.Fit:
    return fn.fit(
        MODEL, PARAMS, fn.adam(0.01), (x, target), fn.softmax_cross_entropy, 2, 6, verbose=False,
        metrics={"accuracy": fn.metrics.accuracy}, **options,
    )  # fmt: skip


def same_run(one: fn.Fit, other: fn.Fit) -> None:
    for a, b in zip(fn.tree.leaves(one.params), fn.tree.leaves(other.params), strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(one.history, other.history, strict=True):
        assert {**a, "seconds": 0} == {**b, "seconds": 0}


@pytest.mark.parametrize("make", [Sliced, OneByOne, lambda array: Sliced(array, (4, 3))])
def test_batches_are_those_of_the_array(make: Callable[[np.ndarray], Any]) -> None:
    x = X.astype(np.float64) if make is OneByOne else X
    for options in ({}, {"rng": 3}, {"rng": 3, "workers": 2, "start": 3}):
        expected = list(fn.batches({"a": X, "b": LABELS}, 6, 2, **options))  # type: ignore[arg-type]
        found = list(fn.batches({"a": make(x), "b": make(LABELS)}, 6, 2, **options))  # type: ignore[arg-type, type-var]
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert type(one["a"]) is np.ndarray
            assert one["a"].dtype == x.dtype
            np.testing.assert_array_equal(one["a"], other["a"])
            np.testing.assert_array_equal(one["b"], other["b"])


def test_neighbours_and_what_lies_in_a_chunk_are_read_at_once() -> None:
    order = np.array([7, 3, 12, 4, 19, 5, 15, 3])
    for chunks, expected in (
        (None, [(3, 6), (7, 8), (12, 13), (15, 16), (19, 20)]),
        ((4, 3), [(3, 8), (12, 16), (19, 20)]),
    ):
        source = Sliced(X, chunks)
        rows = Rows(source, X.shape, X.dtype)
        np.testing.assert_array_equal(rows[order], X[order])
        assert [(asked.start, asked.stop) for asked in source.asked] == expected
    np.testing.assert_array_equal(rows[2:9:3], X[2:9:3])
    np.testing.assert_array_equal(rows[-1], X[-1])
    np.testing.assert_array_equal(rows[X[:, 0] > 30], X[X[:, 0] > 30])
    assert rows[:0].shape == (0, 3)


def test_fit_splits_and_reads_without_the_whole_set(tmp_path: Path) -> None:
    expected = fit(X, LABELS, validation_split=0.25)
    same_run(fit(Sliced(X), LABELS, validation_split=0.25), expected)
    mapped = np.memmap(tmp_path / "x", np.float32, "w+", shape=X.shape)
    mapped[...] = X
    same_run(fit(mapped, OneByOne(LABELS), validation_split=0.25, workers=2), expected)
    source = Sliced(X)
    rest, part = fn.split((source, LABELS), 0.25, 0)
    assert [(one.start, one.stop) for one in source.asked] == [(0, 1)]
    assert repr(part[0]) == "<Rows: float32 of shape (5, 3), in a Sliced>"
    (array_rest, _), (array_part, _) = fn.split((X, LABELS), 0.25, 0)
    np.testing.assert_array_equal(part[0][:], array_part)
    np.testing.assert_array_equal(np.asarray(rest[0]), array_rest)
    (again, _), _ = fn.split(rest, 0.5, 1)  # a part of a part
    np.testing.assert_array_equal(again[:], fn.split((array_rest, rest[1]), 0.5, 1)[0][0])
    for (train, _), (array_train, _) in zip(
        fn.k_fold((mapped, LABELS), 4, 0), fn.k_fold((X, LABELS), 4, 0), strict=True
    ):
        np.testing.assert_array_equal(np.asarray(train[0]), array_train[0])


def test_predict_evaluate_and_one_hot_targets() -> None:
    rows = fn.datasets.one_hot(LABELS, 2)
    np.testing.assert_array_equal(fn.predict(MODEL, PARAMS, Sliced(X), 8), fn.predict(MODEL, PARAMS, X, 8))  # type: ignore[arg-type]
    expected = fn.evaluate(MODEL, PARAMS, (X, rows), fn.softmax_cross_entropy)
    assert fn.evaluate(MODEL, PARAMS, (Sliced(X), OneByOne(rows)), fn.softmax_cross_entropy) == pytest.approx(expected)  # type: ignore[arg-type]
    _, part = fn.split((Sliced(X), Sliced(rows)), 0.3, 0)  # type: ignore[type-var]
    np.testing.assert_array_equal(part[1][:], fn.split((X, rows), 0.3, 0)[1][1])


def test_a_run_in_a_file_is_that_of_the_same_data(tmp_path: Path) -> None:
    fit(X, LABELS, checkpoint=tmp_path / "run.npz", augment=None)
    fit(Sliced(X), LABELS, resume=tmp_path / "run.npz", workers=1)
    with pytest.raises(ValueError, match="holds another run, which differs in train"):
        fit(Sliced(X + 1), LABELS, resume=tmp_path / "run.npz")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (OneByOne(np.array(["a", "b"])), "whose examples are <U1 of shape ()|; use one column of numbers"),
        (Sliced(np.array([None, None])), "whose examples are object of shape ()"),
        (type("Table", (OneByOne,), {"__getitem__": lambda self, i: {"a": 1}})(X), "whose examples are not arrays"),
        (type("Broken", (OneByOne,), {"__getitem__": lambda self, i: 1 / 0})(X), "raises ZeroDivisionError: division"),
    ],
)
def test_what_holds_no_numbers_raises(source: Any, message: str) -> None:
    with pytest.raises(TypeError) as caught:
        fn.batches((X, source), 2)
    assert "batches: expected target as an array or something that returns examples for x[a:b] or x[i], got a" in str(
        caught.value
    )
    assert all(words in str(caught.value) for words in message.split("|"))


def test_lengths_are_compared_and_an_empty_source_raises() -> None:
    with pytest.raises(ValueError, match="different numbers of examples, 20 in x and 19 in target"):
        fn.batches((Sliced(X), LABELS[:19]), 2)  # type: ignore[type-var]
    with pytest.raises(ValueError, match="the data set is empty"):
        fn.batches(Sliced(X[:0]), 2)  # type: ignore[type-var]


LIMITED = """
import resource, sys
import numpy as np, funcnn as fn

N, SIZE = 5_000, 8192  # 164 MB of float32
with open(sys.argv[1], "wb") as file:
    file.truncate(N * SIZE * 4)
x = np.memmap(sys.argv[1], np.float32, "r", shape=(N, SIZE))
labels = np.arange(N) % 2
model = fn.dense(2)
params = model.init((SIZE,), 0)
def train(x, labels, **options):
    return fn.fit(
        model, params, fn.sgd(0.1), (x, labels), fn.softmax_cross_entropy, 1, 50, verbose=False, workers=2, **options
    )
train(np.array(x[:400]), labels[:400], validation_split=0.1)  # what is allocated once
used = int(next(line for line in open("/proc/self/status") if line.startswith("VmData")).split()[1]) * 1024
resource.setrlimit(resource.RLIMIT_DATA, (used + 48 * 2**20,) * 2)
try:
    np.array(x)
except MemoryError:
    print("a copy does not fit")
result = train(x, labels, validation_split=0.1)
print(result.history[-1]["step"])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a limit of the memory of a process")
def test_a_file_several_times_larger_than_the_memory_is_trained_on(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path / "x")], capture_output=True, text=True, timeout=120,
        cwd=Path(fn.__file__).parents[1], check=False,
    )  # fmt: skip
    assert (done.stdout.split("\n"), done.stderr) == (["a copy does not fit", "90", ""], "")


def test_an_error_of_the_disk_is_not_taken_for_data_of_another_kind() -> None:
    class Broken:
        shape, dtype = (20, 3), np.dtype(np.float32)

        def __len__(self) -> int:
            return 20

        def __getitem__(self, index: Any) -> Any:
            raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        fn.batches((Broken(), LABELS), 2)  # type: ignore[type-var]


class Listed:
    """Examples of a list, one by one."""

    def __init__(self, *examples: Any) -> None:
        self.examples = examples

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, i: int) -> Any:
        return self.examples[i.__index__()]


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        ((1, 1.5), r"a Listed are int64 of shape \(\) by its first one, but from index 1 on .* got float64 of shape"),
        ((False, 2), r"are bool of shape \(\) by its first one, but from index 1 on .* got int64"),
        (([1.0], [1.0, 2.0]), r"are float64 of shape \(1,\) by its first one, but from index 1 .* got .* shape \(2,\)"),
    ],
)
def test_examples_that_the_first_one_does_not_stand_for_raise(examples: Any, message: str) -> None:
    """They are not rounded to the type of the first one."""
    with pytest.raises(ValueError, match=message) as error:
        list(fn.batches(Listed(*examples), 1))
    assert error.value.__notes__ == ["batches: in batch 1"]
    assert [x.tolist() for x in fn.batches(Listed(0.5, 2), 1)] == [[0.5], [2.0]]


def test_a_source_that_is_shorter_than_it_says_raises() -> None:
    source = Sliced(X)
    source.shape = (25, 3)
    with pytest.raises(ValueError, match=r"from index 18 on expected \(6, 3\), got float32 of shape \(2, 3\)"):
        list(fn.batches(source, 6))
