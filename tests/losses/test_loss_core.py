"""Losses of trees: what a loss of several outputs is made of."""

from typing import Any

import numpy as np
import pytest

from funcnn.aliases import Array
from funcnn.losses.core import check_tree, factors, read_weights, reduced

Y = {"a": np.array([[1.0], [2.0]]), "b": np.array([[3.0], [4.0]])}


def formula(y: Any, t: Array, careful: bool) -> tuple[Array, Any]:
    return y["a"] * t, {"a": t + np.zeros_like(t), "b": None}


@pytest.mark.parametrize("weights", [None, [3, 1]])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_a_leaf_that_the_loss_does_not_depend_on_has_no_gradient(weights: Any, reduction: Any) -> None:
    w = read_weights("loss", weights, (2, 1), reduction)
    each = factors("loss", w, (2, 1), np.dtype(float), reduction)
    for bad in (1.0, np.nan, np.inf):
        y = {**Y, "a": np.array([[bad], [2.0]])}
        value, dy = reduced(formula, y, (np.array([[2.0], [5.0]]),), each, reduction)
        assert dy["b"] is None
        w = np.array([[1.0], [1.0]] if weights is None else [[3.0], [1.0]])
        total = w * np.array([[2 * bad], [10]])
        expected = {"mean": total.sum() / w.sum(), "sum": total.sum(), "none": total}[reduction]
        np.testing.assert_allclose(value, expected, rtol=1e-14)
        scale = w.sum() if reduction == "mean" else 1
        np.testing.assert_allclose(dy["a"], w * [[2.0], [5.0]] / scale, rtol=1e-14)


def test_an_output_must_be_a_dict_of_these_names() -> None:
    a, b = check_tree("loss", Y, ("a", "b"))
    assert a is Y["a"]
    assert b is Y["b"]
    with pytest.raises(ValueError, match=r'loss: expected y as a dict \{"a": ..., "c": ...\}, got one with'):
        check_tree("loss", Y, ("a", "c"))
