"""Weights of examples beside the data: they go with their examples through batches, splits, steps and evaluations."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import funcnn as fn
from funcnn.aliases import Array, Tree

RNG = np.random.default_rng(0)
X = RNG.standard_normal((30, 4)).astype(np.float32)
LABELS = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0)
WEIGHTS = RNG.uniform(0, 3, 30)
WEIGHTS[::7] = 0
MODEL = fn.serial(fn.dense(8), fn.batch_norm(), fn.relu, fn.dropout(0.2), fn.dense(3))
PARAMS = MODEL.init((4,), 0)
for array in (X, LABELS, WEIGHTS):
    array.flags.writeable = False  # nothing passed in is written to


def fit(train: Any, loss: Any = fn.softmax_cross_entropy, **options: Any) -> fn.Fit:
    """A small, quiet run."""
    options = {"epochs": 3, "batch_size": 8, "verbose": False} | options
    return fn.fit(MODEL, PARAMS, fn.adam(1e-2), train, loss, **options)


def timeless(history: list[dict[str, float]]) -> list[dict[str, float]]:
    """The records without the only number that differs from run to run."""
    return [{name: value for name, value in record.items() if name != "seconds"} for record in history]


def assert_same(found: fn.Fit, expected: fn.Fit) -> None:
    """Two runs have the same bits and the same history."""
    assert timeless(found.history) == timeless(expected.history)
    for one, other in zip(fn.tree.leaves(found.params), fn.tree.leaves(expected.params), strict=True):
        np.testing.assert_array_equal(one, other)


def from_target(y: Array, target: Tree) -> tuple[float, Array]:
    """A loss whose target holds the weights, as one wrote it before ``fit`` took them."""
    return fn.softmax_cross_entropy(y, target["labels"], weights=target["weights"])


@pytest.mark.parametrize("microbatch", [None, 3])
def test_weights_beside_the_data_are_those_that_a_loss_finds_in_the_target(microbatch: int | None) -> None:
    def accuracy(y: Array, target: Tree) -> float:
        return fn.metrics.accuracy(y, target["labels"], weights=target["weights"])

    def data(part: slice) -> Any:
        return X[part], {"labels": LABELS[part], "weights": WEIGHTS[part]}

    first, last = slice(20), slice(20, None)
    with fn.testing.microbatches(microbatch):
        expected = fit(data(first), from_target, validation=data(last), metrics={"accuracy": accuracy})
        found = fit(
            (X[first], LABELS[first], WEIGHTS[first]), validation=(X[last], LABELS[last], WEIGHTS[last]),
            metrics={"accuracy": fn.metrics.accuracy},
        )  # fmt: skip
    assert_same(found, expected)


def test_equal_weights_change_nothing_but_rounding() -> None:
    model = fn.dense(3)
    runs = [
        fn.fit(model, model.init((4,), 0), fn.sgd(0.1), data, fn.softmax_cross_entropy, 2, verbose=False)
        for data in ((X, LABELS, np.full(30, 2.0)), (X, LABELS))
    ]
    found, expected = runs
    for one, other in zip(fn.tree.leaves(found.params), fn.tree.leaves(expected.params), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_a_step_by_hand() -> None:
    # y = 2 x. The weighted mean of (y - t)^2 is (1 * 4 + 3 * 16) / 4 = 13, by w (1 * 4 * 1 + 3 * 8 * 2) / 4 = 13.
    x, target = np.array([[1.0], [2.0]]), np.zeros((2, 1))
    model = fn.dense(1, bias=False)
    data = x, target, np.array([1, 3])
    result = fn.fit(model, {"w": np.array([[2.0]])}, fn.sgd(0.1), data, fn.mean_squared_error, 1, verbose=False)
    assert result.history[0]["train_loss"] == 13
    np.testing.assert_allclose(result.params["w"], [[2 - 1.3]], rtol=1e-15)
    f = fn.value_and_grad(model, fn.mean_squared_error)
    assert f({"w": np.array([[2.0]])}, x, target, weights=data[2]) == (13, {"w": np.array([[13.0]])})


def test_evaluate_by_hand() -> None:
    data = np.array([[1.0], [3.0], [9.0]]), np.zeros((3, 1)), np.array([3, 1, 0])
    found = fn.evaluate(fn.identity, {}, data, fn.mean_squared_error, {"mae": fn.metrics.mae}, batch_size=2)
    assert found == {"loss": (3 * 1 + 9) / 4, "mae": (3 * 1 + 3) / 4}


def test_weights_of_the_rows_of_a_series() -> None:
    x, target = np.array([[[1.0], [2.0]], [[3.0], [4.0]]]), np.zeros((2, 2, 1))
    data = x, target, np.array([[True, False], [True, True]])
    assert fn.evaluate(fn.identity, {}, data, fn.mean_squared_error) == {"loss": pytest.approx((1 + 9 + 16) / 3)}


def test_a_batch_of_examples_that_do_not_count_changes_nothing() -> None:
    model = fn.branch(a=fn.dense(1, bias=False), b=fn.identity)
    params = {"a": {"w": np.array([[2.0]])}}

    def loss(y: Tree, target: Array, weights: Any = None) -> Any:
        value, da = fn.mean_squared_error(y["a"], target, weights=weights)
        return value, {"a": da, "b": None}

    data = np.array([[1.0], [5.0]]), np.zeros((2, 1)), np.array([1.0, 0.0])
    value, grads = fn.value_and_grad(model, loss)(params, data[0][1:], data[1][1:], weights=data[2][1:])
    assert (value, grads["a"]["w"].tolist()) == (0, [[0]])
    options: Any = {"batch_size": 1, "verbose": False}
    found = fn.fit(model, params, fn.sgd(0.1), data, loss, 2, **options)
    alone = fn.fit(model, params, fn.sgd(0.1), (data[0][:1], data[1][:1]), loss, 2, **options)
    assert found.history[-1]["train_loss"] == alone.history[-1]["train_loss"]
    assert found.history[-1]["step"] == 4
    np.testing.assert_array_equal(found.params["a"]["w"], alone.params["a"]["w"])


def test_weights_go_with_their_examples_through_batches_and_splits() -> None:
    index = np.arange(20)
    data = {"a": index}, index % 2, index + 100.0
    parts: list[Any] = [*fn.batches(data, 6, rng=0), *fn.split(data, 0.25, rng=0)]
    parts += [part for pair in fn.k_fold(data, 3, rng=0) for part in pair]
    for x, target, weights in parts:
        np.testing.assert_array_equal(target, x["a"] % 2)
        np.testing.assert_array_equal(weights, x["a"] + 100)
    rest, part = fn.split(data[:2], 0.25, rng=0)
    np.testing.assert_array_equal(parts[4][0]["a"], rest[0]["a"])
    np.testing.assert_array_equal(parts[5][0]["a"], part[0]["a"])


def test_a_validation_split_keeps_the_weights() -> None:
    rest, part = fn.split((X, LABELS, WEIGHTS), 0.3, fn.rng.fold((5,), "split"))
    assert_same(fit((X, LABELS, WEIGHTS), validation_split=0.3, rng=5), fit(rest, validation=part, rng=5))


def test_a_run_with_weights_is_resumed_and_another_one_is_named(tmp_path: Path) -> None:
    path, data = tmp_path / "run.npz", (X, LABELS, WEIGHTS)
    fit(data, epochs=1, checkpoint=path)
    assert_same(fit(data, resume=path), fit(data))
    with pytest.raises(ValueError, match=r"weights \(30,\) float64, checksum \w+ there, .*weights \(30,\) float64"):
        fit((X, LABELS, WEIGHTS * 2), resume=path)
    with pytest.raises(ValueError, match=r"weights \(30,\) float64, checksum \w+ there, x .* int64, checksum \w+ here"):
        fit((X, LABELS), resume=path)


def no_weights(y: Array, target: Array) -> Any:
    return fn.softmax_cross_entropy(y, target)


ONE_ZERO: Any = X[:2], LABELS[:2], np.array([1, 0])
CALLS: dict[str, Any] = {
    "fit": fit,
    "fit, validation": lambda data: fit((X, LABELS), validation=data),
    "evaluate": lambda data: fn.evaluate(MODEL, PARAMS, data, fn.softmax_cross_entropy),
    "split": lambda data: fn.split(data, 0.2, 0),
    "k_fold": lambda data: fn.k_fold(data, 2, 0),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        (WEIGHTS[1:], ValueError, "30 in x and 29 in weights"),
        (WEIGHTS.tolist(), TypeError, r"expected weights as an array .* got a list; use np\.asarray\(weights\)"),
        (None, TypeError, "expected weights as an array .* got a NoneType"),
        ({"a": WEIGHTS}, TypeError, r"expected weights as one array of shape \(n,\), got a dict of \['a'\]"),
        (-WEIGHTS, ValueError, "weights that are finite and not negative"),
        (WEIGHTS * np.nan, ValueError, "weights that are finite and not negative"),
        (WEIGHTS * 0, ValueError, "all weights are zero"),
        (np.array(["a"] * 30), TypeError, "expected weights as numbers"),
    ],
)
def test_weights_that_do_not_fit_raise_before_training(call: str, weights: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=f"^{call}: .*{message}"):
        CALLS[call]((X, LABELS, weights))


def test_the_keyword_of_others_is_told_where_weights_stand() -> None:
    with pytest.raises(TypeError, match=r"'sample_weight'; weights of examples stand beside the data, \(x, target, w"):
        fit((X, LABELS), sample_weight=WEIGHTS)


def test_weights_of_another_shape_than_the_losses_raise() -> None:
    with pytest.raises(ValueError, match=r"softmax_cross_entropy: expected weights of shape \(30,\), got \(30, 2\)"):
        fit((X, LABELS, np.ones((30, 2))))


def test_a_part_of_a_split_without_a_weight_raises() -> None:
    with pytest.raises(ValueError, match=r"fit, validation_split, the .* part: all weights are zero"):
        fit(ONE_ZERO, validation_split=0.5)


@pytest.mark.parametrize("call", ["fit", "evaluate", "value_and_grad"])
def test_a_loss_or_a_metric_without_the_keyword_raises(call: str) -> None:
    data, metrics = (X, LABELS, WEIGHTS), {"own": lambda y, target: 0.0}
    calls: dict[str, Any] = {
        "fit": lambda loss, **options: fit(data, loss, **options),
        "evaluate": lambda loss, **options: fn.evaluate(MODEL, PARAMS, data, loss, **options),
        "value_and_grad": lambda loss: fn.value_and_grad(MODEL, loss)(PARAMS, X, LABELS, weights=WEIGHTS),
    }
    expected = f"{call}: the examples have weights, but the {{}} takes none; let it be a function of"
    with pytest.raises(TypeError, match=expected.format(".*no_weights.*")):
        calls[call](no_weights)
    if call != "value_and_grad":
        with pytest.raises(TypeError, match=expected.format("metric 'own'")):
            calls[call](fn.softmax_cross_entropy, metrics=metrics)
