"""Columns of a Hugging Face data set, which lies in a file of Arrow, are trained on like arrays."""

from typing import Any

import datasets
import numpy as np
import pytest

import funcnn as fn

X = np.random.default_rng(0).normal(size=(30, 6)).astype(np.float32)
LABELS = np.arange(30) % 3
MODEL = fn.dense(3)


@pytest.fixture
def table() -> Any:
    return datasets.Dataset.from_dict({"x": X.tolist(), "label": LABELS.tolist(), "name": ["a"] * 30})


def fit(x: Any, target: Any, **options: Any) -> fn.Fit:
    return fn.fit(
        MODEL, MODEL.init((6,), 0), fn.adam(0.01), (x, target), fn.softmax_cross_entropy, 2, 8, verbose=False,
        validation_split=0.2, **options,
    )  # fmt: skip


def test_the_bits_are_those_of_arrays(table: Any) -> None:
    numbers, expected = table.with_format("numpy"), fit(X, LABELS)
    for options in ({}, {"workers": 2}):
        found = fit(numbers["x"], numbers["label"], **options)
        np.testing.assert_array_equal(found.params["w"], expected.params["w"])
        assert found.history[-1]["validation_loss"] == expected.history[-1]["validation_loss"]


def test_without_a_format_floats_are_those_of_python(table: Any) -> None:
    x, labels = next(fn.batches((table["x"], table["label"]), 8))
    np.testing.assert_array_equal(x, X[:8].astype(np.float64), strict=True)
    np.testing.assert_array_equal(labels, LABELS[:8], strict=True)


def test_texts_and_whole_tables_are_no_data(table: Any) -> None:
    with pytest.raises(TypeError, match="whose examples are <U1 of shape"):
        fn.batches(table["name"], 2)
    with pytest.raises(TypeError, match="a Dataset, whose examples are not arrays; use one column of numbers"):
        fn.batches(table, 2)
