"""Attention by hand and by obvious loops, caches, positions, and what is kept in memory."""

import tracemalloc
from typing import Any

import numpy as np
import pytest

import funcnn as fn
from funcnn.kernels.attention import allowed_keys, attend, attention_gradients


def normal(seed: int, *shape: int) -> Any:
    return np.random.default_rng(seed).standard_normal(shape)


def by_loops(q: Any, k: Any, v: Any, scale: float, allowed: Any) -> Any:
    y = np.zeros((*q.shape[:3], v.shape[3]))
    for b, i, h in np.ndindex(*q.shape[:3]):
        own = h // (q.shape[2] // k.shape[2])
        keys = [j for j in range(k.shape[1]) if allowed[b, i, j]]
        e = np.array([np.exp(scale * q[b, i, h] @ k[b, j, own]) for j in keys])
        y[b, i, h] = sum((p * v[b, j, own] for p, j in zip(e / e.sum(), keys, strict=True)), np.zeros(v.shape[3]))
    return y


@pytest.mark.parametrize("heads", [(1, 1), (4, 2), (3, 1)])
def test_attention_is_that_of_obvious_loops(heads: tuple[int, int]) -> None:
    q, k, v = normal(0, 2, 3, heads[0], 4), normal(1, 2, 5, heads[1], 4), normal(2, 2, 5, heads[1], 2)
    mask = np.random.default_rng(3).random((2, 3, 5)) < 0.5
    mask[0, 1] = False  # nothing to look at
    y, _ = fn.attention(scale=0.7).apply({}, {"q": q, "k": k, "v": v, "mask": mask})
    np.testing.assert_allclose(y, by_loops(q, k, v, 0.7, mask), rtol=1e-12)


def test_a_cut_of_the_work_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, v, dy = (normal(seed, 3, 5, heads, 4) for seed, heads in enumerate((4, 2, 2, 4)))
    allowed = allowed_keys(None, True, 5, 5, 0)
    y, attended = attend(q, k, v, 0.5, allowed)
    gradients = attention_gradients(dy, attended)
    monkeypatch.setattr("funcnn.kernels.attention.SCORES_IN_TASK", 1)  # each key head of each example alone
    y_cut, attended = attend(q, k, v, 0.5, allowed)
    for ours, cut in zip((y, *gradients[:3]), (y_cut, *attention_gradients(dy, attended)[:3]), strict=True):
        np.testing.assert_allclose(ours, cut, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["k", "v"])
@pytest.mark.parametrize("pairs", [False, True])
def test_what_a_query_may_not_look_at_has_no_influence(bad: float, name: str, pairs: bool) -> None:
    """Infinity times the weight 0 would be NaN, in the output and in the gradients."""
    tree: Any = {"q": normal(0, 2, 3, 4, 4), "k": normal(1, 2, 5, 2, 4), "v": normal(2, 2, 5, 2, 6)}
    tree["mask"], tree["bias"] = np.arange(5) < np.array([[5], [3]]), normal(3, 2, 4, 3, 5)
    dy = normal(4, 2, 3, 4, 6)
    if pairs:  # the first query of the second example may look at what is bad, and its output counts for nothing
        tree["mask"] = np.repeat(tree["mask"][:, None], 3, 1)
        tree["mask"][1, 0] = True
        dy[1, 0] = 0
    y, vjp_fn = fn.attention(dropout=0.2).apply({}, tree, rng=0)
    right = [y[:, 1:], *vjp_fn(dy)[1].values()]
    tree[name] = tree[name].copy()
    tree[name][1, 3:, 1] = bad
    y, vjp_fn = fn.attention(dropout=0.2).apply({}, tree, rng=0)
    for ours, expected in zip([y[:, 1:], *vjp_fn(dy)[1].values()], right, strict=True):
        if expected is not None:
            np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-14)


def test_causal_attention_does_not_see_a_future_of_nan() -> None:
    x, dy = normal(0, 2, 4, 6), normal(1, 2, 4, 6)
    dy[:, 2:] = 0
    model = fn.attention(causal=True)
    y, vjp_fn = model.apply({}, x)
    dx = vjp_fn(dy)[1]
    x = x.copy()
    x[:, 2:] = np.nan
    y_nan, vjp_fn = model.apply({}, x)
    np.testing.assert_allclose(y_nan[:, :2], y[:, :2], rtol=1e-12)
    assert np.isnan(y_nan[:, 2:]).all()
    np.testing.assert_allclose(vjp_fn(dy)[1], dx, rtol=1e-12, atol=1e-14)


def test_large_scores_do_not_overflow() -> None:
    q = np.array([[[1e4, 0], [0, 1e4]]], np.float32)
    np.testing.assert_array_equal(fn.attention().apply({}, q)[0], q)


def test_full_size_in_float32() -> None:
    """8 heads over 256 places; an error of 256 sums of terms of size 1 is about 2**-24 * sqrt(256)."""
    q, k, v, dy = (normal(seed, 2, 256, 8, 32) for seed in range(4))
    layer, trees = fn.attention(causal=True), {"q": q, "k": k, "v": v}
    y, vjp_fn = layer.apply({}, trees)
    y32, vjp32 = layer.apply({}, fn.tree.cast(trees, np.float32))
    _, dx = vjp_fn(dy)
    _, dx32 = vjp32(dy.astype(np.float32))
    assert y32.dtype == np.float32
    for found, exact in ((y32, y), *((dx32[name], dx[name]) for name in "qkv")):
        assert np.abs(found - exact).max() / np.abs(exact).max() < 3e-6


def test_attention_keeps_one_array_of_weights() -> None:
    x = np.zeros((4, 256, 64), np.float32)
    layer = fn.multi_head_attention(8)
    params = layer.init((256, 64), 0)
    layer.apply(params, x)[1](x)
    tracemalloc.start()
    kept = layer.apply(params, x)
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    del kept
    assert size < 1.5 * 4 * 4 * 8 * 256 * 256


def test_no_array_of_scores_is_kept_longer_than_the_vjp_needs_it() -> None:
    """A step of two layers has the exponentials of both, a prediction those of one; without the vjp there are none."""
    x = np.zeros((4, 256, 64), np.float32)
    scores = 4 * 4 * 8 * 256 * 256
    model = fn.repeat(fn.multi_head_attention(8, causal=True), 2)
    params = model.init((256, 64), 0)
    model.apply(params, x)[1](x)
    fn.release_memory()
    tracemalloc.start()
    fn.predict(model, params, x)
    predicting = tracemalloc.get_traced_memory()[1]
    fn.release_memory()
    tracemalloc.reset_peak()
    y, vjp_fn = model.apply(params, x)
    vjp_fn(y)
    training = tracemalloc.get_traced_memory()[1]
    del vjp_fn
    fn.release_memory()
    left = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert predicting < 1.5 * scores
    assert training < 2.9 * scores  # and the scratch memory of two tasks
    assert left < 0.1 * scores


@pytest.mark.parametrize("positions", [None, "rotary", "alibi"])
@pytest.mark.parametrize("cut", [1, 3])
def test_a_cache_continues(positions: Any, cut: int) -> None:
    layer = fn.multi_head_attention(4, key_heads=2, causal=True, positions=positions)
    x = normal(0, 2, 6, 8)
    params = fn.tree.cast(layer.init((6, 8), 0), np.float64)
    mask = np.ones((2, 6), bool)
    mask[1, :2] = False
    full = layer.apply(params, {"x": x, "mask": mask})[0]["x"]
    parts, cache = [], {}
    for start in range(0, 6, cut):
        end = start + cut
        y, _ = layer.apply(params, {"x": x[:, start:end], "mask": mask[:, :end], "cache": cache})
        cache = y["cache"]
        parts.append(y["x"])
    np.testing.assert_allclose(np.concatenate(parts, 1), full, rtol=1e-10, atol=1e-12)


def test_rotary_products_depend_on_distances_only() -> None:
    one = np.broadcast_to(normal(0, 4), (1, 6, 4))
    y, _ = fn.positions("rotary").apply({}, one)
    products = y[0] @ y[0].T
    np.testing.assert_allclose(products[:-1, :-1], products[1:, 1:], rtol=1e-12)
    assert abs(products[0, 0] - products[0, 1]) > 1e-3


def test_alibi_slopes_of_12_heads() -> None:
    """Those of 8 heads, and every other one of 16."""
    q = np.zeros((1, 2, 12, 1))
    bias = fn.alibi(12).apply({}, {"q": q, "k": q})[0]["bias"]
    exponents = [*range(1, 9), 0.5, 1.5, 2.5, 3.5]
    np.testing.assert_allclose(-bias[0, :, 0, 1], 2.0 ** -np.array(exponents), rtol=1e-12)


def test_remat_halves_the_memory_of_a_stack() -> None:
    """Kept between the passes and at the peak of a step, which has one block's arrays beside the inputs of all."""

    def sizes(stack: fn.Layer) -> tuple[int, int]:
        params, x = stack.init((64, 32), 0), np.ones((8, 64, 32), np.float32)
        stack.apply(params, x)[1](x)
        fn.release_memory()
        tracemalloc.start()
        y, vjp_fn = stack.apply(params, x)
        kept = tracemalloc.get_traced_memory()[0]
        vjp_fn(y)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return kept, peak

    block = fn.transformer_encoder_layer(32, 4)
    kept, peak = sizes(fn.repeat(block, 6))
    kept_less, peak_less = sizes(fn.repeat(fn.remat(block), 6))
    assert kept_less < kept / 2
    assert peak_less < peak / 2
