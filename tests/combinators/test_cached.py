"""A cached chain gives in parts what it gives at once, or raises: no layer is wrong without a word."""

from typing import Any

import numpy as np
import pytest

import funcnn as fn
from funcnn.protocol import is_per_position
from funcnn.testing import table_of_layers

RAISES = r"cached: \w+ may read other positions than its own, and cannot get them from a cache"
X = np.random.default_rng(0).standard_normal((2, 6, 4))


def parts(model: fn.Layer, params: Any, x: Any, cut: int) -> np.ndarray:
    """The output for the start of a text and then, from the cache, for its end."""
    start, _ = model.apply(params, {"x": x[:, :cut], "cache": {}})
    end, _ = model.apply(params, {"x": x[:, cut:], "cache": start["cache"]})
    return np.concatenate((start["x"], end["x"]), 1)


ROWS = [
    (layer, shape)
    for layer, shape in table_of_layers()
    if not isinstance(shape, dict) and len(shape) + (getattr(shape, "dtype", np.dtype("f4")).kind != "f") > 1
]


@pytest.mark.parametrize(("layer", "shape"), ROWS, ids=[f"{layer} on {shape}" for layer, shape in ROWS])
def test_each_layer_of_the_table_is_right_or_raises(layer: fn.Layer, shape: Any) -> None:
    model = fn.cached(layer)
    x = fn.testing.random_batch(shape, 2)
    params = fn.tree.map(lambda leaf: leaf.astype(np.float64) + 0.1, model.init(shape, 0))
    params = fn.calibrate(model, params, x)
    try:
        found = parts(model, params, x, 1)
    except ValueError as error:
        assert "may read other positions" in str(error)  # noqa: PT017, most layers do not raise
        return
    np.testing.assert_allclose(found, model.apply(params, x)[0], rtol=1e-9, atol=1e-12)


AFTER = ((0, 0), (0, 1), (0, 0))


def sum_of_the_last_two() -> Any:
    """A causal layer of a user, which says nothing of what it reads."""

    def apply(params: Any, x: Any) -> Any:
        return x + np.pad(x, ((0, 0), (1, 0), (0, 0)))[:, :-1], lambda dy: ({}, dy + np.pad(dy, AFTER)[:, 1:])

    return lambda shape, rng: {}, apply


HEADS = fn.multi_head_attention(2)


@pytest.mark.parametrize(
    "layer",
    [
        fn.masked_mean, fn.last, fn.group_norm(2), fn.layer_norm(axes=2), fn.l2_normalize(1),
        fn.concat(fn.relu, fn.tanh, axis=1), fn.conv_transpose1d(4, 3), fn.reduce("mean", 1, keepdims=True),
        fn.conv1d(4, 3, padding="causal"), fn.conv1d(4, 1, stride=2), fn.conv1d(4, 1, padding=(1, 0)),
        fn.conv1d(4, 1, activation=sum_of_the_last_two()), fn.conv_transpose1d(4, 1, stride=2, padding=(0, 0)),
        fn.permute((2, 1)), fn.take(slice(0, 2), axis=1), fn.unflatten(1, (2, -1)), fn.reduce("sum", (1, -1)),
        fn.bidirectional(fn.gru(2)), sum_of_the_last_two(), fn.serial(fn.dense(4), sum_of_the_last_two()),
        fn.remat(sum_of_the_last_two()), fn.dense(4, activation=sum_of_the_last_two()),
        HEADS, fn.transformer_encoder_layer(4, 2), fn.sublayer(fn.group_norm(2), fn.dense(4)),
        fn.sublayer(fn.layer_norm(), fn.multi_head_attention(2, causal=True), inputs=["mask"]),
    ],
)  # fmt: skip
def test_a_layer_that_may_read_other_positions_raises(layer: Any) -> None:
    model = fn.cached(fn.dense(4), layer)
    with pytest.raises(ValueError, match=RAISES):
        model.apply(fn.tree.cast(model.init((6, 4), 0), np.float64), {"x": X, "cache": {}})


@fn.layer(per_example=True, per_position=True)
def scaled(by: float) -> Any:
    return lambda shape, rng: {}, lambda params, x: (by * x, lambda dy: ({}, by * dy))


@pytest.mark.parametrize(
    "layer",
    [
        scaled(3.0), fn.swiglu, fn.softmax, fn.layer_norm(), fn.rms_norm(), fn.prelu(shared=False), fn.dropout(0.5),
        fn.residual(fn.dense(8, activation="gelu"), fn.dense(4)), fn.remat(scaled(2.0)), fn.weight_norm(fn.dense(3)),
        fn.concat(fn.dense(2), fn.dense(3)), fn.add(fn.relu, fn.tanh),
        fn.time_distributed(fn.serial(fn.dense(3), fn.flatten)), fn.elementwise(np.sin, lambda x, y: np.cos(x)),
        fn.cached(fn.dense(2), fn.relu), fn.serial(fn.branch(a=fn.relu, b=fn.tanh), fn.merge("add")),
        fn.conv1d(3, 1, activation="tanh"), fn.conv_transpose1d(3, 1), fn.channel_shuffle(2), fn.l2_normalize(2),
        fn.reduce("max", -1, keepdims=True), fn.serial(fn.unflatten(-1, (2, 2)), fn.permute((1, 3, 2))),
        fn.serial(fn.unflatten(2, (2, 2)), fn.conv2d(3, (1, 2), padding="same"), fn.take(-1, axis=2)),
        fn.serial(fn.expand_dims(2), fn.conv_transpose2d(3, (1, 2)), fn.take(0, axis=2), fn.expand_dims(-1)),
        fn.serial(fn.expand_dims(-1), fn.squeeze(-1)), fn.concat(fn.relu, fn.tanh, axis=2),
        fn.transformer_encoder_layer(4, 2, causal=True), fn.cached(fn.multi_head_attention(2, causal=True), fn.relu),
    ],
    ids=str,
)  # fmt: skip
def test_layers_of_language_models_continue_a_text(layer: Any) -> None:
    model = fn.cached(fn.dense(4), layer)
    params = fn.tree.cast(model.init((6, 4), 0), np.float64)
    np.testing.assert_allclose(parts(model, params, X, 4), model.apply(params, X)[0], rtol=1e-12, atol=1e-14)


def test_a_decoder_layer_continues_beside_its_context() -> None:
    model = fn.cached(fn.transformer_decoder_layer(4, 2))
    x = {"x": X, "context": X[:, :3]}
    (name,) = model.children
    params = {name: fn.tree.cast(model.children[name].init(fn.specs(x), 0), np.float64)}
    whole, _ = model.children[name].apply(params[name], x)
    start, _ = model.apply(params, {**x, "x": X[:, :4], "cache": {}})
    end, _ = model.apply(params, {**x, "x": X[:, 4:], "cache": start["cache"]})
    np.testing.assert_allclose(np.concatenate((start["x"], end["x"]), 1), whole["x"], rtol=1e-12, atol=1e-14)


def test_generate_computes_the_whole_text_where_a_layer_reads_what_came_before() -> None:
    layers = [fn.embedding(5, 4), sum_of_the_last_two(), fn.multi_head_attention(2, causal=True), fn.dense(5)]
    model, plain = fn.cached(*layers), fn.serial(*layers)
    params = fn.tree.map(lambda leaf: 3 * leaf, model.init(fn.spec((3,), int), 0))
    tokens = np.array([[1, 2, 3], [4, 0, 1]])
    found = fn.generate(model, params, tokens, 8, temperature=0)
    np.testing.assert_array_equal(found, fn.generate(plain, params, tokens, 8, temperature=0))
    with pytest.raises(ValueError, match=r"generate: cache is True, but"):
        fn.generate(model, params, tokens, 8, temperature=0, cache=True)


@pytest.mark.parametrize(
    "layer", [sum_of_the_last_two(), fn.flatten, (lambda shape, rng: {}, fn.group_norm(2, affine=False).apply)]
)
def test_a_false_claim_of_per_position_is_found(layer: Any) -> None:
    claims = fn.layer(per_example=True, per_position=True)(lambda: layer)()
    assert is_per_position(claims)
    with pytest.raises(AssertionError, match="per_position"):
        fn.testing.check_layer(claims, shape=(3, 4))


def test_a_function_of_the_last_axis_must_not_get_time_there() -> None:
    model = fn.cached(fn.to_float, fn.softmax)
    with pytest.raises(ValueError, match=r"cached: softmax_0 must get features, .* got shape \(2, 3\)"):
        model.apply({}, {"x": np.ones((2, 3), int), "cache": {}})


def test_branches_may_pass_from_layer_to_layer() -> None:
    model = fn.cached(fn.dense(4), fn.branch(a=fn.relu, b=fn.tanh), fn.merge("add"))
    params = fn.tree.cast(model.init((6, 4), 0), np.float64)
    np.testing.assert_allclose(parts(model, params, X, 4), model.apply(params, X)[0], rtol=1e-12, atol=1e-14)
