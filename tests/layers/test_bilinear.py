"""The bilinear layer against the sum that defines it."""

from typing import Any

import numpy as np
import pytest

import funcnn as fn


@pytest.mark.parametrize("rows", [(4,), (2, 3), (0,)])
def test_it_is_the_sum_over_all_pairs(rows: tuple[int, ...]) -> None:
    random = np.random.default_rng(0)
    layer = fn.bilinear(5)
    params = fn.tree.map(lambda leaf: random.standard_normal(leaf.shape), layer.init({"a": (2,), "b": (3,)}, 0))
    assert fn.tree.map(np.shape, params) == {"w": (2, 3, 5), "b": (5,)}
    a, b = random.standard_normal((*rows, 2)), random.standard_normal((*rows, 3))
    y, vjp_fn = layer.apply(params, {"a": a, "b": b})
    np.testing.assert_allclose(y, np.einsum("...i,ijk,...j->...k", a, params["w"], b) + params["b"], rtol=1e-12)
    dy = random.standard_normal(y.shape)
    grads, dx = vjp_fn(dy)
    flat = [part.reshape(-1, part.shape[-1]) for part in (a, b, dy)]
    np.testing.assert_allclose(grads["w"], np.einsum("ni,nj,nk->ijk", *flat), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(grads["b"], flat[2].sum(0), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(dx["a"], np.einsum("...k,ijk,...j->...i", dy, params["w"], b), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(dx["b"], np.einsum("...k,ijk,...i->...j", dy, params["w"], a), rtol=1e-12, atol=1e-12)
    assert vjp_fn(dy, input_grad=False)[1] is None


def test_it_counts_its_products_and_merges_branches() -> None:
    layer = fn.bilinear(4, activation="relu")
    model = fn.serial(fn.branch(a=fn.dense(2), b=fn.dense(3)), layer)
    params = model.init((5,), 0)
    assert model.apply(params, np.ones((2, 5), np.float32))[0].shape == (2, 4)
    row = fn.summary(model, params, (5,)).rows[-1]
    assert (row.layer, row.parameters) == ("bilinear(4, activation='relu')", 2 * 3 * 4 + 4)
    assert row.multiply_adds == 2 * 3 * 4 + 3 * 4


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (np.ones((2, 3)), "expected an input as a dict of 'a' and 'b', got an? .*array"),
        ({"a": np.ones((2, 3))}, r"expected an input as a dict of 'a' and 'b', got \['a'\]"),
        ({"a": np.ones((2, 3)), "c": np.ones((2, 3))}, r"got \['a', 'c'\]"),
        ({"a": np.ones((2, 3)), "b": np.ones((4, 2))}, r"differ in the last axis only, got \(2, 3\) and \(4, 2\)"),
        ({"a": np.ones((2, 3)), "b": np.ones((2, 1, 2))}, "differ in the last axis only"),
        ({"a": np.ones((2, 4)), "b": np.ones((2, 2))}, "expected 3 channels on the last axis of 'a'"),
        ({"a": np.ones((2, 3)), "b": np.ones((2, 5))}, "expected 2 channels on the last axis"),
        ({"a": np.ones((2, 3), np.float32), "b": np.ones((2, 2))}, "expected inputs of one dtype"),
        ({"a": np.ones((2, 3)), "b": {"c": np.ones((2, 2))}}, "differ in the last axis only|got a dict"),
    ],
)
def test_trees_that_do_not_fit_raise(x: Any, words: str) -> None:
    layer = fn.bilinear(4)
    params = fn.tree.cast(layer.init({"a": (3,), "b": (2,)}, 0), np.float64)
    with pytest.raises((TypeError, ValueError), match=f"bilinear.*{words}"):
        layer.apply(params, x)
