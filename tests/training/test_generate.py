"""Tokens that a model continues: with a cache and without, likeliest and drawn."""

from typing import Any

import numpy as np
import pytest

import funcnn as fn


@fn.layer(per_example=True, per_position=True)
def one_hot(count: int) -> Any:
    def init(shape: Any, rng: Any) -> Any:
        return {}

    def apply(params: Any, x: Any) -> Any:
        return np.eye(count, dtype=np.float32)[x], lambda dy: ({}, None)

    return init, apply


def blocks() -> list[Any]:
    block = fn.transformer_encoder_layer(8, 2, causal=True)
    return [one_hot(5), fn.dense(8), fn.positions("sinusoidal"), block, fn.remat(block), fn.layer_norm(), fn.dense(5)]


MODEL, PLAIN = fn.cached(*blocks()), fn.serial(*blocks())
PARAMS = fn.tree.map(lambda leaf: 2 * leaf, MODEL.init(fn.spec((4,), int), 0))
TOKENS = np.array([[1, 2, 3], [4, 0, 1]])


@pytest.mark.parametrize("temperature", [0, 0.8])
def test_a_cache_changes_nothing(temperature: float) -> None:
    options: Any = {"steps": 8, "temperature": temperature, "top_k": 4, "rng": 3}
    found = fn.generate(MODEL, PARAMS, TOKENS, **options)
    assert found.shape == (2, 11)
    np.testing.assert_array_equal(found[:, :3], TOKENS)
    np.testing.assert_array_equal(found, fn.generate(MODEL, PARAMS, TOKENS, cache=False, **options))
    np.testing.assert_array_equal(found, fn.generate(PLAIN, PARAMS, TOKENS, **options))
    np.testing.assert_array_equal(found, fn.generate(MODEL, PARAMS, TOKENS, **options))


def test_greedy_takes_the_likeliest_and_top_1_is_greedy() -> None:
    found = fn.generate(MODEL, PARAMS, TOKENS, 1, temperature=0)
    np.testing.assert_array_equal(found[:, -1], PLAIN.apply(PARAMS, TOKENS)[0][:, -1].argmax(-1))
    np.testing.assert_array_equal(found, fn.generate(MODEL, PARAMS, TOKENS, 1, top_k=1, rng=0))


def test_draws_have_the_probabilities_of_the_model() -> None:
    many = np.repeat(TOKENS[:1], 4000, 0)
    drawn = fn.generate(PLAIN, PARAMS, many, 1, temperature=2.0, rng=0)[:, -1]
    logits = PLAIN.apply(PARAMS, TOKENS[:1])[0][0, -1].astype(np.float64)
    expected = np.exp(logits / 2) / np.exp(logits / 2).sum()
    # Five standard deviations of a frequency of 4000 draws are at most 5 * 0.5 / sqrt(4000).
    assert np.abs(np.bincount(drawn, minlength=5) / 4000 - expected).max() < 0.04


def test_a_window_is_all_that_the_model_sees() -> None:
    found = fn.generate(PLAIN, PARAMS, TOKENS, 1, temperature=0, window=2)
    np.testing.assert_array_equal(found[:, -1], PLAIN.apply(PARAMS, TOKENS[:, 1:])[0][:, -1].argmax(-1))


def test_a_cache_of_a_model_that_takes_none_raises() -> None:
    with pytest.raises(ValueError, match=r"this model takes none; build it with fn\.cached"):
        fn.generate(PLAIN, PARAMS, TOKENS, 1, temperature=0, cache=True)


def test_each_step_and_each_text_draws_for_itself() -> None:
    flat = fn.generate(PLAIN, fn.tree.map(np.zeros_like, PARAMS), np.zeros((3, 1), int), 20, rng=0)[:, 1:]
    assert all(len(set(row)) == 5 for row in flat.tolist())
    assert len({tuple(row) for row in flat.tolist()}) == 3


@fn.layer(per_example=True)
def same_logits(*logits: float) -> Any:
    def init(shape: Any, rng: Any) -> Any:
        return {}

    def apply(params: Any, x: Any) -> Any:
        return np.broadcast_to(np.array(logits, np.float32), (*x.shape, len(logits))), lambda dy: ({}, None)

    return init, apply


def drawn(logits: Any, **options: Any) -> set[int]:
    """The tokens that 40 texts are continued with."""
    options = {"temperature": 1.0, "rng": 0} | options
    return set(fn.generate(same_logits(*logits), {}, np.zeros((40, 1), int), 1, **options)[:, 1].tolist())


def test_of_equally_likely_tokens_no_more_than_top_k_are_drawn() -> None:
    assert drawn([0, 1, 1, 1], top_k=1) == {1}
    assert drawn([0, 1, 1, 1], top_k=2) == {1, 2}
    assert drawn([1, 0, 0, 0], top_k=3) == {0, 1, 2}
    assert drawn([0, 0], top_k=9) == {0, 1}


def test_logits_at_the_limits() -> None:
    inf = np.inf
    assert drawn([-inf, 3, -inf]) == drawn([-inf, 3, -inf], top_k=2) == {1}
    assert drawn([0, inf, -inf, inf]) == {1, 3}
    assert drawn([0, inf, -inf, inf], temperature=0) == {1}
    assert drawn([1, 2, 3, -3e38], temperature=5e-324) == {2}
    for bad in ([np.nan, 0], [-inf, -inf]):
        for temperature in (0, 1):
            with pytest.raises(ValueError, match="generate: the logits of text 0 are NaN or all -inf"):
                drawn(bad, temperature=temperature)


def test_tokens_that_their_dtype_cannot_hold_raise() -> None:
    tokens = np.zeros((1, 1), np.uint8)
    assert fn.generate(same_logits(*[0.0] * 255, 1), {}, tokens, 1, temperature=0).tolist() == [[0, 255]]
    with pytest.raises(ValueError, match=r"generate: uint8 cannot hold the 257 tokens of the model; use tokens.astype"):
        fn.generate(same_logits(*[0.0] * 256, 1), {}, tokens, 1, temperature=0)


def sums(params: Any, tree: Any) -> Any:
    """A cell that adds up what comes."""
    total = tree["x"] + tree["state"]
    return {"x": total, "state": total}, lambda d: ({}, dict.fromkeys(d, d["x"] + d["state"]))


@pytest.mark.parametrize(
    "inside",
    [
        lambda: fn.repeat(fn.transformer_encoder_layer(8, 2, causal=True), 2),
        lambda: fn.residual(fn.multi_head_attention(2, causal=True)),
        lambda: fn.serial(fn.positions("rotary"), fn.dense(8)),
        lambda: fn.lstm(8),
        lambda: fn.remat(fn.gru(8, layers=2)),
        lambda: fn.attention(causal=True),
        lambda: fn.scan((lambda shape, rng: {}, sums), state=(8,)),
        lambda: fn.conv1d(8, 3, padding=((2, 0),)),
        lambda: fn.cached(fn.rnn(8)),
    ],
)
def test_a_layer_that_needs_the_past_and_takes_no_cache_is_not_run_without_it(inside: Any) -> None:
    layers = [one_hot(5), fn.dense(8), fn.positions("sinusoidal"), inside(), fn.dense(5)]
    model, plain = fn.cached(*layers), fn.serial(*layers)
    params = fn.tree.map(lambda leaf: 2 * leaf, model.init(fn.spec((4,), int), 0))
    found = fn.generate(model, params, TOKENS, 6, temperature=0)
    np.testing.assert_array_equal(found, fn.generate(plain, params, TOKENS, 6, temperature=0))
    with pytest.raises(ValueError, match=r"cached: \w+ may read other positions than its own"):
        model.apply(params, {"x": TOKENS, "cache": {}})
