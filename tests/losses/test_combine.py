"""A loss of several outputs: by hand, in ``fit`` and ``evaluate``, with weights, and bad input."""

from typing import Any

import numpy as np
import pytest

import funcnn as fn

Y = {"digit": np.zeros((2, 2)), "size": np.array([[3.0], [1.0]]), "free": np.ones((2, 3))}
TARGET = {"digit": np.array([0, 1]), "size": np.array([[1.0], [1.0]])}
LOSSES = {"digit": fn.softmax_cross_entropy, "size": fn.mean_squared_error}


def test_the_weighted_sum_by_hand() -> None:
    value, dy = fn.combine(LOSSES, {"size": 0.5})(Y, TARGET)
    assert value == pytest.approx(np.log(2) + 0.5 * (4 + 0) / 2)
    assert dy["free"] is None
    assert dy["size"].tolist() == [[1], [0]]
    np.testing.assert_allclose(dy["digit"], [[-0.25, 0.25], [0.25, -0.25]])


def test_it_obeys_the_laws() -> None:
    assert fn.testing.check_loss(fn.combine(LOSSES, {"digit": 0.3}), Y, TARGET).passed
    assert repr(fn.combine(LOSSES, {"digit": 0.3})) == (
        "combine({'digit': softmax_cross_entropy, 'size': mean_squared_error}, weights={'digit': 0.3})"
    )


def test_weights_of_examples_and_reductions_go_to_each_loss() -> None:
    loss = fn.combine(LOSSES, {"digit": 2, "size": 0.5})
    assert loss(Y, TARGET, weights=[3, 1])[0] == pytest.approx(2 * np.log(2) + 0.5 * 4 * 3 / 4)
    assert loss(Y, TARGET, reduction="sum")[0] == pytest.approx(4 * np.log(2) + 0.5 * 4)
    both = fn.combine({"a": fn.mean_squared_error, "b": fn.mean_squared_error}, {"b": 10})
    y = {"a": np.array([1.0, 2.0]), "b": np.array([1.0, 0.0])}
    value, dy = both(y, {"a": np.zeros(2), "b": np.zeros(2)}, reduction="none")
    assert value.tolist() == [11, 4]
    assert dy["b"].tolist() == [20, 0]


def test_a_weight_of_0_leaves_a_loss_out() -> None:
    value, dy = fn.combine(LOSSES, {"digit": 0})({**Y, "digit": np.full((2, 2), np.nan)}, TARGET)
    assert value == 2
    assert dy["digit"] is None


def test_float32_stays_float32_and_trees_may_stand_inside() -> None:
    loss = fn.combine({"pair": fn.contrastive(), "size": fn.mean_squared_error}, {"pair": np.float64(0.1)})
    pair = {"a": np.ones((2, 3), np.float32), "b": np.zeros((2, 3), np.float32)}
    y = {"pair": pair, "size": np.ones((2, 1), np.float32)}
    value, dy = loss(y, {"pair": np.array([1, 1]), "size": np.zeros((2, 1))})
    assert value == pytest.approx(0.1 * 1.5 + 1)
    assert all(leaf.dtype == np.float32 for leaf in fn.tree.leaves(dy))
    np.testing.assert_allclose(dy["pair"]["a"], np.full((2, 3), 0.05), rtol=1e-6)


def test_two_heads_train_and_are_evaluated_with_weights() -> None:
    x = np.random.default_rng(0).standard_normal((40, 3)).astype(np.float32)
    data = x, {"label": (x[:, 0] > 0).astype(int), "sum": x.sum(1, keepdims=True)}, np.linspace(0, 1, 40)
    model = fn.branch(label=fn.dense(2), sum=fn.dense(1))
    loss = fn.combine({"label": fn.softmax_cross_entropy, "sum": fn.mean_squared_error}, {"sum": 0.5})
    result = fn.fit(model, model.init((3,), 0), fn.adam(0.05), data, loss, 20, validation=data, verbose=False)
    assert result.history[-1]["train_loss"] < 0.3 * result.history[0]["train_loss"]
    y = fn.predict(model, result.params, x)
    label, _ = fn.softmax_cross_entropy(y["label"], data[1]["label"], weights=data[2])
    total, _ = fn.mean_squared_error(y["sum"], data[1]["sum"], weights=data[2])
    assert fn.evaluate(model, result.params, data, loss) == {"loss": pytest.approx(label + 0.5 * total)}


def test_changing_the_dict_later_changes_nothing() -> None:
    losses = dict(LOSSES)
    loss = fn.combine(losses)
    del losses["digit"]
    assert loss(Y, TARGET)[0] == pytest.approx(np.log(2) + 2)


WRONG: list[tuple[Any, type[Exception], str]] = [
    (lambda: fn.combine([fn.ctc()]), TypeError, 'combine: expected losses as a dict {"name": loss}, got a list'),
    (lambda: fn.combine({}), ValueError, "combine: expected at least one loss, got an empty dict"),
    (lambda: fn.combine({1: fn.ctc()}), TypeError, "combine: expected the names of outputs as texts, got 1"),
    (
        lambda: fn.combine({"a": "mse"}),
        TypeError,
        "combine: the loss of 'a': expected a function, got 'mse'; write fn.mean",
    ),
    (lambda: fn.combine({"a": fn.ctc}), TypeError, r"combine: the loss of 'a': .* call it: ctc\(...\)"),
    (lambda: fn.combine(LOSSES, [1, 2]), TypeError, 'combine: expected weights as a dict {"name": number}, got a list'),
    (
        lambda: fn.combine(LOSSES, {"sizes": 1}),
        ValueError,
        r"combine: a weight of 'sizes', but the losses are of \['digit'",
    ),
    (
        lambda: fn.combine(LOSSES, {"size": -1}),
        ValueError,
        "combine: the weight of 'size' must be a number >= 0, got -1",
    ),
    (
        lambda: fn.combine(LOSSES, {"size": fn.constant(1.0)}),
        TypeError,
        "combine: the weight of 'size': expected a number",
    ),
    (
        lambda: fn.combine(LOSSES)(Y["size"], TARGET),
        TypeError,
        r"expected y, .* as a dict with \['digit', 'size'\], got",
    ),
    (lambda: fn.combine(LOSSES)({"size": Y["size"]}, TARGET), ValueError, r"got \['size'\]; 'digit' is missing"),
    (lambda: fn.combine(LOSSES)(Y, TARGET["size"]), TypeError, "combine: expected target as a dict with"),
    (
        lambda: fn.combine(LOSSES)(Y, {"digit": [0, 1]}),
        ValueError,
        "combine: expected target with .* 'size' is missing",
    ),
    (lambda: fn.combine(LOSSES)(Y, TARGET, reduction="all"), ValueError, 'combine: reduction must be "mean", "sum" or'),
    (
        lambda: fn.combine(LOSSES)(Y, TARGET, reduction="none"),
        ValueError,
        r'combine: reduction="none" adds losses of one shape, got \(2,\), \(2, 1\)',
    ),
    (
        lambda: fn.combine({"size": lambda y, t: 3.0})(Y, TARGET),
        TypeError,
        r"a loss must return \(value, dy\), got a flo",
    ),
]


@pytest.mark.parametrize(("call", "error", "message"), WRONG, ids=[message[:50] for *_, message in WRONG])
def test_a_wrong_call_raises(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_an_error_in_a_loss_says_in_which() -> None:
    with pytest.raises(ValueError, match="softmax_cross_entropy: expected labels from 0 to 1") as caught:
        fn.combine(LOSSES)(Y, {**TARGET, "digit": np.array([0, 5])})
    assert caught.value.__notes__ == ["in the loss of 'digit' of combine"]
