"""Layers of sequences beside others: what init needs, what a cache reaches, and which input is missing."""

import numpy as np
import pytest

import funcnn as fn


def test_a_batch_norm_at_each_step_starts_beside_a_recurrent_layer() -> None:
    model = fn.stacked(fn.time_distributed(fn.batch_norm()), fn.lstm(3))
    params = model.init((5, 2), 0)
    assert fn.tree.paths(params) == fn.tree.paths(fn.serial(*model.children.values()).init((5, 2), 0))


def test_an_error_in_init_names_the_layer_of_a_stack() -> None:
    with pytest.raises(ValueError, match="positions: expected an example of shape") as caught:
        fn.stacked(fn.lstm(3), fn.time_distributed(fn.positions("rotary"))).init((5, 2), 0)
    assert "in layer time_distributed_0" in "\n".join([str(caught.value), *caught.value.__notes__])


def test_a_cache_reaches_the_attention_of_a_sublayer() -> None:
    attend = fn.sublayer(fn.layer_norm(), fn.multi_head_attention(2, causal=True), inputs=("mask", "cache"))
    model = fn.cached(attend, fn.dense(3))
    x = np.random.default_rng(0).standard_normal((2, 6, 4)).astype(np.float32)
    params = model.init((6, 4), 0)
    whole, _ = model.apply(params, x)
    start, _ = model.apply(params, {"x": x[:, :4], "cache": {}})
    end, _ = model.apply(params, {"x": x[:, 4:], "cache": start["cache"]})
    np.testing.assert_allclose(np.concatenate((start["x"], end["x"]), 1), whole, rtol=1e-5, atol=1e-6)


def test_the_first_layer_of_a_cached_model_computes_no_gradient_that_nobody_wants() -> None:
    model = fn.cached(fn.dense(4), fn.multi_head_attention(2, causal=True))
    x = {"x": np.ones((2, 3, 4), np.float32), "cache": {}}
    params = model.init((3, 4), 0)
    _, vjp_fn = model.apply(params, x)
    dy = {"x": np.ones((2, 3, 4), np.float32), "cache": None}
    grads, dx = vjp_fn(dy, input_grad=False)
    assert dx is None
    for one, other in zip(fn.tree.leaves(grads), fn.tree.leaves(vjp_fn(dy)[0]), strict=True):
        np.testing.assert_array_equal(one, other)


def test_learned_positions_name_what_is_missing() -> None:
    layer = fn.positions("learned", 4)
    with pytest.raises(ValueError, match=r"positions: expected a tree with some of .*, got \['tokens'\]"):
        layer.apply(layer.init((4, 2), 0), {"tokens": np.ones((1, 4, 2), np.float32)})


X = np.random.default_rng(1).standard_normal((2, 5, 4)).astype(np.float32)


@pytest.mark.parametrize(
    ("model", "missing"),
    [
        (fn.lstm(3, layers=2), "lstm_1"), (fn.gru(3, layers=3), "gru_1"), (fn.rnn(3, layers=2), "rnn_1"),
        (fn.bidirectional(fn.gru(3)), "backward"), (fn.stacked(fn.time_distributed(fn.relu), fn.lstm(3)), "lstm_0"),
    ],
)  # fmt: skip
def test_a_state_of_some_layers_only_names_those_that_are_missing(model: fn.Layer, missing: str) -> None:
    params = model.init((5, 4), 0)
    state = model.apply(params, {"x": X, "state": {}})[0]["state"]
    first = next(iter(state))
    with pytest.raises(ValueError, match=rf"got \['{first}'\]; \['{missing}'.*\] is missing, write '{missing}': {{}}"):
        model.apply(params, {"x": X, "state": {first: state[first]}})
    y, _ = model.apply(
        params, {"x": X, "state": {first: state[first], **{name: {} for name in state if name != first}}}
    )
    assert sorted(y["state"]) == sorted(state)


def test_a_state_that_is_not_whole_is_named_by_its_path_and_in_init() -> None:
    model = fn.stacked(fn.bidirectional(fn.gru(3)), fn.gru(2))
    params = model.init((5, 4), 0)
    state = model.apply(params, {"x": X, "state": {}})[0]["state"]
    half = {**state, "bidirectional_0": {"forward": state["bidirectional_0"]["forward"]}}
    for run in (lambda tree: model.apply(params, tree), lambda tree: model.init(fn.specs(tree), 0)):
        with pytest.raises(ValueError, match=r"bidirectional: .*\['backward'\] is missing") as caught:
            run({"x": X, "state": half})
        assert "in layer bidirectional_0" in "\n".join(caught.value.__notes__)


def test_a_state_passes_a_layer_at_each_step() -> None:
    step = fn.time_distributed(fn.dense(4))
    stacked, chain = fn.stacked(step, fn.lstm(3)), fn.serial(step, fn.lstm(3))
    params = stacked.init((5, 4), 0)
    y, _ = stacked.apply(params, {"x": X, "state": {}})
    z, vjp_fn = chain.apply(params, {"x": X, "state": {}})
    np.testing.assert_array_equal(y["state"]["lstm_0"]["h"], z["state"]["h"])
    again, vjp_fn = chain.apply(params, {"x": X, "state": z["state"]})
    _, dx = vjp_fn(fn.tree.map(np.ones_like, again))
    assert np.abs(dx["state"]["c"]).min() > 0
    more, _ = stacked.apply(params, {"x": X, "state": y["state"]})
    np.testing.assert_array_equal(more["x"], again["x"])
