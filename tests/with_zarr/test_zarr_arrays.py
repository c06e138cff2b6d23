"""Training on Zarr arrays in a folder gives the bits of arrays in memory."""

from pathlib import Path
from typing import Any

import numpy as np
import zarr

import funcnn as fn

X = np.random.default_rng(0).normal(size=(50, 4, 3)).astype(np.float32)
LABELS = np.arange(50) % 3
MODEL = fn.serial(fn.flatten, fn.dense(3))


def fit(x: Any, target: Any, **options: Any) -> fn.Fit:
    return fn.fit(
        MODEL, MODEL.init((4, 3), 0), fn.adam(0.01), (x, target), fn.softmax_cross_entropy, 2, 8, verbose=False,
        validation_split=0.2, **options,
    )  # fmt: skip


def test_the_bits_are_those_of_arrays(tmp_path: Path) -> None:
    x = zarr.create_array(store=str(tmp_path / "x.zarr"), shape=X.shape, chunks=(7, 4, 3), dtype=X.dtype)
    x[:] = X
    labels = zarr.create_array(store=str(tmp_path / "labels.zarr"), shape=LABELS.shape, chunks=(9,), dtype=LABELS.dtype)
    labels[:] = LABELS
    expected = fit(X, LABELS)
    for options in ({}, {"workers": 2}):
        found = fit(zarr.open_array(tmp_path / "x.zarr", mode="r"), labels, **options)
        for one, other in zip(fn.tree.leaves(found.params), fn.tree.leaves(expected.params), strict=True):
            np.testing.assert_array_equal(one, other)
        assert found.history[-1]["validation_loss"] == expected.history[-1]["validation_loss"]
    np.testing.assert_array_equal(fn.predict(fn.relu, {}, x, 16), np.maximum(X, 0))
