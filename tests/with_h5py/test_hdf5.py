"""Training on HDF5 files: chunked, compressed and contiguous datasets give the bits of arrays in memory."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import funcnn as fn

X = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
LABELS = np.arange(50) % 3
MODEL = fn.dense(3)


def fit(x: Any, target: Any, **options: Any) -> fn.Fit:
    return fn.fit(
        MODEL, MODEL.init((6,), 0), fn.adam(0.01), (x, target), fn.softmax_cross_entropy, 2, 8, verbose=False,
        validation_split=0.2, **options,
    )  # fmt: skip


@pytest.mark.parametrize("layout", [{}, {"chunks": (7, 6), "compression": "gzip"}])
def test_the_bits_are_those_of_arrays(tmp_path: Path, layout: dict[str, Any]) -> None:
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file.create_dataset("x", data=X, **layout)
        file.create_dataset("labels", data=LABELS)
    expected = fit(X, LABELS)
    with h5py.File(tmp_path / "data.h5", "r") as file:
        for options in ({}, {"workers": 2}):
            found = fit(file["x"], file["labels"], **options)
            np.testing.assert_array_equal(found.params["w"], expected.params["w"])
            assert found.history[-1]["validation_loss"] == expected.history[-1]["validation_loss"]
        in_memory, in_file = (list(fn.batches({"x": x}, 8, rng=1, workers=2)) for x in (X, file["x"]))
        for one, other in zip(in_memory, in_file, strict=True):
            np.testing.assert_array_equal(one["x"], other["x"])


def test_a_file_that_is_closed_in_the_loop_raises_with_the_number_of_the_batch(tmp_path: Path) -> None:
    file = h5py.File(tmp_path / "data.h5", "w")
    iterator = fn.batches(file.create_dataset("x", data=X), 8, rng=0)
    next(iterator)
    file.close()
    with pytest.raises(RuntimeError, match="identifier is not of") as caught:
        next(iterator)
    assert caught.value.__notes__ == ["batches: in batch 1"]


def test_texts_are_no_data(tmp_path: Path) -> None:
    with (
        h5py.File(tmp_path / "data.h5", "w") as file,
        pytest.raises(TypeError, match=r"expected x as an array or something.*a Dataset, whose examples are object"),
    ):
        fn.batches(file.create_dataset("names", data=["a", "b"]), 1)
