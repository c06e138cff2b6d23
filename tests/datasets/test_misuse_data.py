"""Wrong calls of whatever takes data: each raises the right error, in our words, before any work is done."""

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import funcnn as fn
from funcnn import datasets
from tests.misuse.frame import Frame

X = np.ones((4, 3), np.float32)
LABELS = np.array([0, 1, 0, 1])
MASKED = np.ma.array(np.ones((4, 3)), mask=np.eye(4, 3))
MATRIX = np.ones((4, 3)).view(np.matrix)


# The call, the type of the error, and words of its message.
MISUSE: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: fn.batches(MASKED, 2), TypeError, "batches: expected a plain array as x, got MaskedArray"),
    (lambda: fn.batches(MATRIX, 2), TypeError, "batches: expected a plain array as x, got matrix"),
    (lambda: fn.batches((X, MASKED), 2), TypeError, "batches: expected a plain array as target, got MaskedArray"),
    (lambda: fn.batches(Frame(), 2), TypeError, "batches: expected x as an array with one example per index, got a"),
    (lambda: fn.batches(iter(X), 2), TypeError, "batches: expected x as an array with one example per index, got a"),
    (lambda: fn.batches(None, 2), TypeError, "batches: expected x as an array with one example per index, got a"),
    (lambda: fn.batches("abc", 2), TypeError, "batches: expected x as an array with one example per index, got a"),
    (lambda: fn.batches({"a": X, "b": iter(X)}, 2), TypeError, "batches: expected x/b as an array with one example"),
    (lambda: fn.batches(X, "2"), ValueError, "batches: batch_size must be a whole number >= 1, got '2'"),
    (lambda: fn.batches(X, 2.5), ValueError, "batches: batch_size must be a whole number >= 1, got 2.5"),
    (lambda: fn.batches(X, -1), ValueError, "batches: batch_size must be a whole number >= 1, got -1"),
    (lambda: fn.batches(X, np.nan), ValueError, "batches: batch_size must be a whole number >= 1, got nan"),
    (lambda: fn.batches(X, 2, epochs=1.5), ValueError, "batches: epochs must be a whole number >= 0, got 1.5"),
    (lambda: fn.batches(X, 2, epochs=None), ValueError, "batches: epochs must be a whole number >= 0, got None"),
    (lambda: fn.batches(X, 2, start="0"), ValueError, "batches: start must be a whole number >= 0, got '0'"),
    (lambda: fn.batches(X, 2, rng=-1), ValueError, "a key"),
    (lambda: fn.batches(X, 2, rng=1.5), TypeError, "a key"),
    (lambda: fn.batches(X, 2, rng=[1]), TypeError, "a key"),
    (lambda: fn.batches(X, 2, rng=True), TypeError, "a key"),
    (lambda: fn.batches([X, LABELS], 2), TypeError, "batches: expected x as an array with one example per index,"),
    (lambda: fn.batches([(X[0], 0), (X[1], 1)], 2), TypeError, "batches: expected x as an array with one example"),
    (lambda: fn.split(X, 0.5, 0), TypeError, "split: expected data as a tuple (x, target) of two arrays or dicts"),
    (lambda: fn.split([X, LABELS], 0.5, 0), TypeError, "split: expected data as a tuple (x, target) of two arrays"),
    (lambda: fn.split((X, LABELS, LABELS, X), 0.5, 0), TypeError, "split: expected data as a tuple (x, target) of two"),
    (lambda: fn.split((X, LABELS.tolist()), 0.5, 0), TypeError, "split: expected target as an array with one"),
    (lambda: fn.split((X, MASKED), 0.5, 0), TypeError, "split: expected a plain array as target, got MaskedArray"),
    (lambda: fn.split((X, np.ma.array(LABELS)), 0.5, 0), TypeError, "split: expected a plain array as target, got"),
    (lambda: fn.split((X, LABELS), None, 0), TypeError, "split: fraction: expected a number, got None"),
    (lambda: fn.split((X, LABELS), True, 0), TypeError, "split: fraction: expected a number, got True"),
    (lambda: fn.split((X, LABELS), 1, 0), ValueError, "split: fraction must lie between 0 and 1, got 1"),
    (lambda: fn.split((X, LABELS), 2, 0), ValueError, "split: fraction must lie between 0 and 1, got 2"),
    (lambda: fn.split((X, LABELS), np.nan, 0), ValueError, "split: fraction must lie between 0 and 1, got nan"),
    (lambda: fn.split((X, LABELS), 0.5, None), TypeError, "a key"),
    (lambda: fn.split((X, LABELS), 0.5, "0"), TypeError, "a key"),
    (lambda: fn.split((X, LABELS), [0.5], 0), TypeError, "split: fraction: expected a number, got [0.5]"),
    (lambda: fn.split((X, LABELS), np.array(0.5), 0), TypeError, "split: fraction: expected a number, got"),
    (lambda: fn.split((X, Frame()), 0.5, 0), TypeError, "split: expected target as an array with one example per"),
    (lambda: fn.split(zip(X, LABELS, strict=True), 0.5, 0), TypeError, "split: expected data as a tuple (x,"),
    (lambda: fn.split(list(zip(X, LABELS, strict=True)), 0.5, 0), TypeError, "split: expected data as a tuple (x,"),
    (lambda: fn.k_fold((X, LABELS), "2", 0), ValueError, "k_fold: folds must be a whole number >= 2, got '2'"),
    (lambda: fn.k_fold((X, LABELS), 2.5, 0), ValueError, "k_fold: folds must be a whole number >= 2, got 2.5"),
    (lambda: fn.k_fold((X, LABELS), 2, "a"), TypeError, "a key"),
    (lambda: fn.k_fold((MASKED, LABELS), 2, 0), TypeError, "k_fold: expected a plain array as x, got MaskedArray"),
    (lambda: fn.k_fold([X, LABELS], 2, 0), TypeError, "k_fold: expected data as a tuple (x, target) of two arrays"),
    (lambda: fn.k_fold((X[:0], LABELS[:0]), 2, 0), ValueError, "k_fold: the data set is empty"),
    (lambda: datasets.one_hot(LABELS, "3"), ValueError, "one_hot: classes must be a whole number >= 1, got '3'"),
    (lambda: datasets.one_hot(LABELS, 0), ValueError, "one_hot: classes must be a whole number >= 1, got 0"),
    (lambda: datasets.one_hot(LABELS, 2.0), ValueError, "one_hot: classes must be a whole number >= 1, got 2.0"),
    (lambda: datasets.one_hot(LABELS, None), ValueError, "one_hot: classes must be a whole number >= 1, got None"),
    (lambda: datasets.one_hot(LABELS * 1.0, 2), TypeError, "one_hot: expected integer labels, got float64"),
    (lambda: datasets.one_hot("a", 2), TypeError, "one_hot: expected integer labels, got <U1"),
    (lambda: datasets.one_hot(["a"], 2), TypeError, "one_hot: expected integer labels, got <U1"),
    (lambda: datasets.one_hot(None, 2), TypeError, "one_hot: expected labels as an array of numbers"),
    (lambda: datasets.one_hot([[0], [1, 2]], 3), ValueError, "one_hot: expected labels as an array of numbers, got"),
    (lambda: datasets.one_hot(np.array([np.nan]), 3), TypeError, "one_hot: expected integer labels, got float64"),
    (lambda: datasets.one_hot(np.ma.array([0, 1], mask=[0, 1]), 3), TypeError, "one_hot: expected a plain array as"),
    (lambda: datasets.one_hot(MATRIX, 3), TypeError, "one_hot: expected a plain array as labels,"),
    (lambda: datasets.one_hot(np.array([0, 1], object), 3), TypeError, "one_hot: expected labels as an array of"),
    (lambda: datasets.one_hot(np.array([2**63], np.uint64), 3), ValueError, "one_hot: expected labels from 0 to 2,"),
    (lambda: datasets.one_hot(Frame(), 3), TypeError, "one_hot: expected integer labels, got float64"),
    (lambda: datasets.one_hot({"a": LABELS}, 3), TypeError, "one_hot: expected labels as an array of numbers"),
    (lambda: datasets.one_hot(iter(X), 3), TypeError, "one_hot: expected labels as an array of numbers, got a"),
    (lambda: datasets.one_hot(np.datetime64("2020"), 3), TypeError, "one_hot: expected integer labels, got"),
    (lambda: datasets.statistics(None), TypeError, "statistics: expected x as an array with one example per index,"),
    (lambda: datasets.statistics("abc"), TypeError, "statistics: expected x as an array with one example per"),
    (lambda: datasets.statistics(5), TypeError, "statistics: expected x as an array with one example per index,"),
    (lambda: datasets.statistics(iter(X)), TypeError, "statistics: expected x as an array with one example per"),
    (lambda: datasets.statistics(Frame()), TypeError, "statistics: expected x as an array with one example per"),
    (lambda: datasets.statistics(MASKED), TypeError, "statistics: expected a plain array as x, got MaskedArray"),
    (lambda: datasets.statistics(MATRIX), TypeError, "statistics: expected a plain array as x, got matrix"),
    (lambda: datasets.statistics(X.astype(np.float16)), TypeError, "statistics: expected float32 or float64, got"),
    (lambda: datasets.statistics(X.astype(object)), TypeError, "statistics: expected an array of whole or"),
    (lambda: datasets.statistics(np.array(5.0)), TypeError, "statistics: expected x as an array with one example"),
    (lambda: datasets.statistics(np.array(["a"])), TypeError, "statistics: expected an array of whole or"),
    (lambda: datasets.statistics(X, 1.5), TypeError, "statistics: axis must be None, or one or several of the 2"),
    (lambda: datasets.statistics(X, (0, "a")), TypeError, "statistics: axis must be None, or one or several of the"),
    (lambda: datasets.statistics(X, -3), ValueError, "statistics: axis must be None, or one or several of the 2"),
    (lambda: datasets.statistics(X, ()), ValueError, "statistics: axis=() leaves out axis 0, but the statistics"),
    (lambda: datasets.statistics(np.array([[np.nan]])), ValueError, "statistics: x contains NaN or infinite numbers"),
    (lambda: datasets.statistics(np.array([[-np.inf]], np.float32)), ValueError, "statistics: x contains NaN or"),
    (lambda: datasets.standardize(MASKED, datasets.statistics(X)), TypeError, "standardize: expected a plain array"),
    (
        lambda: datasets.standardize(X.astype(np.float16), datasets.statistics(X)),
        TypeError,
        "standardize: expected float32 or float64, got float16",
    ),
    (lambda: datasets.standardize(None, datasets.statistics(X)), TypeError, "standardize: expected an array of"),
    (lambda: datasets.standardize(X, None), ValueError, "standardize: expected statistics as a dict with 'mean'"),
    (lambda: datasets.standardize(X, {"mean": 0.0, "std": 1.0}), ValueError, "standardize: the statistics have"),
    (lambda: datasets.standardize(X, {"mean": "a", "std": "b"}), TypeError, "standardize: expected"),
    (lambda: datasets.standardize(X, {"mean": None, "std": None}), TypeError, "standardize: expected"),
    (
        lambda: datasets.standardize(X, {"mean": np.ones((1, 3)), "std": np.ones(3)}),
        ValueError,
        "standardize: the statistics have shape (3,), which does not fit float32 of shape (4, 3)",
    ),
    (
        lambda: datasets.standardize(X, {"mean": np.ones((1, 3)), "std": np.zeros((1, 3))}),
        ValueError,
        "standardize: expected positive numbers as 'std', got 0.0",
    ),
    (
        lambda: datasets.standardize(X, {"mean": np.ones((1, 3)), "std": -np.ones((1, 3))}),
        ValueError,
        "standardize: expected positive numbers as 'std', got -1.0",
    ),
    (
        lambda: datasets.standardize(X, {"mean": np.full((1, 3), np.nan), "std": np.ones((1, 3))}),
        ValueError,
        "standardize: statistics['mean'] contains NaN or infinite numbers",
    ),
    (
        lambda: datasets.standardize(X, {"mean": np.ones((1, 3)), "std": np.full((1, 3), np.inf)}),
        ValueError,
        "standardize: statistics['std'] contains NaN or infinite numbers",
    ),
    (
        lambda: datasets.standardize(X, {"mean": np.ma.ones((1, 3)), "std": np.ones((1, 3))}),
        TypeError,
        "standardize: expected a plain array as statistics['mean'], got MaskedArray",
    ),
    (lambda: datasets.standardize(X, datasets.statistics), ValueError, "standardize: expected statistics as a dict"),
    (lambda: datasets.moons("5"), ValueError, "moons: n must be a whole number >= 0, got '5'"),
    (lambda: datasets.moons(5.0), ValueError, "moons: n must be a whole number >= 0, got 5.0"),
    (lambda: datasets.moons(None), ValueError, "moons: n must be a whole number >= 0, got None"),
    (lambda: datasets.moons(5, "0.1"), TypeError, "moons: noise: expected a number, got '0.1'"),
    (lambda: datasets.moons(5, -1), ValueError, "moons: noise must be a number >= 0, got -1"),
    (lambda: datasets.moons(5, np.nan), ValueError, "moons: noise must be a number >= 0, got nan"),
    (lambda: datasets.moons(5, None), TypeError, "moons: noise: expected a number, got None"),
    (lambda: datasets.moons(5, [0.1]), TypeError, "moons: noise: expected a number, got [0.1]"),
    (lambda: datasets.moons(5, rng=None), TypeError, "a key"),
    (lambda: datasets.moons(5, rng="0"), TypeError, "a key"),
    (lambda: datasets.circles(5, True), TypeError, "circles: noise: expected a number, got True"),
    (lambda: datasets.circles(-1), ValueError, "circles: n must be a whole number >= 0, got -1"),
    (lambda: datasets.circles(True), ValueError, "circles: n must be a whole number >= 0, got True"),
    (lambda: datasets.circles(5, 1e300), ValueError, "circles: noise must be at most 1e+36, or float32 would"),
]


@pytest.mark.parametrize(("call", "error", "words"), MISUSE)
def test_a_wrong_call_raises_in_our_words(call: Callable[[], Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error) as caught:
        call()
    assert words in str(caught.value)
    where = Path(traceback.extract_tb(caught.value.__traceback__)[-1].filename)
    assert Path(fn.__file__).parent in where.parents, f"a text of Python, NumPy or matplotlib, from {where}"


def test_the_table_is_long() -> None:
    assert len(MISUSE) >= 80
