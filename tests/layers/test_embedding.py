"""Embeddings at their limits."""

from typing import Any

import numpy as np
import pytest

import funcnn as fn


@pytest.mark.parametrize("how", ["sum", "mean", "max"])
@pytest.mark.parametrize("tree", [False, True])
def test_bags_without_tokens_are_zeros(how: Any, tree: bool) -> None:
    tokens = np.zeros((2, 0), int)
    x: Any = {"x": tokens, "mask": np.zeros((2, 0), bool)} if tree else tokens
    y, vjp_fn = fn.embedding_bag(4, 3, how).apply({"w": np.ones((4, 3))}, x)
    np.testing.assert_array_equal(y, np.zeros((2, 3)))
    np.testing.assert_array_equal(vjp_fn(np.ones_like(y))[0]["w"], np.zeros((4, 3)))


@pytest.mark.parametrize("value", [0.1, 1 / 3, 0.7])
def test_a_million_gradients_of_a_few_rows_are_added_up_in_blocks(value: float) -> None:
    layer, n = fn.embedding(4, 2), 2**20
    tokens = np.where(np.arange(n) % 1000 == 0, 3, 1).reshape(4, n // 4).astype(np.uint8)
    y, vjp_fn = layer.apply(layer.init(fn.spec((n // 4,), int), 0), tokens)
    dw = vjp_fn(np.full_like(y, value))[0]["w"]
    assert dw.dtype == np.float32
    exact = np.bincount(tokens.ravel(), minlength=4) * float(np.float32(value))
    # Added one after the other, they are 1 % off. 2**16 additions of 2**-25 of half the sum would be 1e-3.
    np.testing.assert_allclose(dw, np.stack([exact, exact], 1), rtol=1e-3)
    np.testing.assert_array_equal(dw, vjp_fn(np.full_like(y, value))[0]["w"])


@pytest.mark.parametrize("value", [3e38, np.inf])
def test_a_sum_of_many_that_is_infinite_does_not_warn(value: float) -> None:
    layer, tokens = fn.embedding(2, 1), np.zeros((1, 2**17), np.int32)
    y, vjp_fn = layer.apply(layer.init(fn.spec((2**17,), int), 0), tokens)
    assert vjp_fn(np.full_like(y, value))[0]["w"].tolist() == [[np.inf], [0.0]]
