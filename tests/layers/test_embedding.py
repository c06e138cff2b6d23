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
