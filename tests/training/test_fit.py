"""Training: batches, splits, the step, evaluation, the record of a run, and how a run stops and resumes."""

import io
import sys
import types
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import funcnn as fn
from funcnn.aliases import Array

RNG = np.random.default_rng(0)
X = RNG.standard_normal((30, 4)).astype(np.float32)
LABELS = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0)
DATA = X, LABELS
MODEL = fn.serial(fn.dense(8, activation=fn.relu), fn.dropout(0.2), fn.dense(3))
PARAMS = MODEL.init((4,), 0)
NORMED = fn.serial(fn.dense(8), fn.batch_norm(), fn.relu, fn.dropout(0.2), fn.dense(3))
ACCURACY = {"accuracy": fn.metrics.accuracy}
LOSS = fn.softmax_cross_entropy


def fit(*changes: Any, epochs: Any = 2, **options: Any) -> fn.Fit:
    """A small run, quiet; ``changes`` replace the model, the parameters, the optimizer, the data, the loss."""
    usual = (MODEL, PARAMS, fn.sgd(0.1), DATA, LOSS)
    arguments: Any = (*changes, *usual[len(changes) :], epochs)
    return fn.fit(*arguments, **({"verbose": False, "batch_size": 8} | options))


def same_bits(tree: Any, other: Any) -> bool:
    """Whether two trees hold the same paths, dtypes and bytes."""
    a, b = ({path: (leaf.dtype, leaf.tobytes()) for path, leaf in fn.tree.flatten(t).items()} for t in (tree, other))
    return a == b


def timeless(history: list[dict[str, float]]) -> list[dict[str, float]]:
    """The records without the only number that differs from run to run."""
    return [{name: value for name, value in record.items() if name != "seconds"} for record in history]


# --- batches ---------------------------------------------------------------------------------------------------------


@given(st.integers(1, 20), st.integers(1, 25), st.integers(0, 3), st.integers(0, 60), st.none() | st.integers(0, 9))
def test_each_epoch_has_every_example_once_and_start_skips_batches(
    n: int, batch_size: int, epochs: int, start: int, rng: int | None
) -> None:
    data = np.arange(n), 10 * np.arange(n)
    stream = list(fn.batches(data, batch_size, epochs, rng))
    per_epoch = -(-n // batch_size)
    assert len(stream) == per_epoch * epochs
    for epoch in range(epochs):
        xs, targets = zip(*stream[epoch * per_epoch : (epoch + 1) * per_epoch], strict=True)
        assert [len(x) for x in xs[:-1]] == [batch_size] * (per_epoch - 1)
        assert sorted(np.concatenate(xs)) == list(range(n))
        assert np.array_equal(np.concatenate(targets), 10 * np.concatenate(xs))
    tail = list(fn.batches(data, batch_size, epochs, rng, start=start))
    assert [x.tolist() for x, _ in tail] == [x.tolist() for x, _ in stream[start:]]


def test_each_epoch_has_its_own_order_from_the_key() -> None:
    def order(rng: Any) -> list[list[int]]:
        return [x.tolist() for x in fn.batches(np.arange(50), 50, epochs=2, rng=rng)]

    first, second = order(0)
    assert first != second
    assert first != sorted(first)
    assert order(0) == [first, second]
    assert order(1) != [first, second]
    assert order(None) == [list(range(50))] * 2


def test_a_batch_is_like_the_data() -> None:
    assert isinstance(next(fn.batches(X, 7)), np.ndarray)
    (only,) = next(fn.batches((X,), 7))
    assert only.shape == (7, 4)
    assert [len(part) for part in next(fn.batches((X, LABELS, LABELS), 7))] == [7, 7, 7]


@pytest.mark.parametrize(
    ("data", "options", "error", "message"),
    [
        ((X, LABELS[:29]), {}, ValueError, "different numbers of examples, 30 in x and 29 in target"),
        ((X[:0], LABELS[:0]), {}, ValueError, "the data set is empty"),
        (X.tolist(), {}, TypeError, r"expected x as an array with one example per index, got a list; use np\.asarray"),
        ([X, LABELS], {}, TypeError, "got a list"),
        (np.array(1.0), {}, TypeError, "got one without axes"),
        (X, {"batch_size": 0}, ValueError, "batch_size must be a whole number >= 1, got 0"),
        (X, {"batch_size": 2.0}, ValueError, r"batch_size must be a whole number >= 1, got 2\.0"),
        (X, {"batch_size": True}, ValueError, "batch_size must be a whole number >= 1, got True"),
        (X, {"epochs": -1}, ValueError, "epochs must be a whole number >= 0, got -1"),
        (X, {"start": -1}, ValueError, "start must be a whole number >= 0, got -1"),
        (X, {"rng": "0"}, TypeError, "a key is an int"),
    ],
)
def test_batches_raises_before_the_first_batch(data: Any, options: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        fn.batches(data, **({"batch_size": 8} | options))


def test_an_eight_bit_size_does_not_overflow() -> None:
    stream = list(fn.batches(np.arange(600), np.uint8(200), np.uint8(100)))  # type: ignore[arg-type]
    assert sum(map(len, stream)) == 60_000


# --- split -----------------------------------------------------------------------------------------------------------


@given(
    labels=st.lists(st.integers(0, 4), min_size=2, max_size=60),
    fraction=st.floats(0.001, 0.999),
    dtype=st.sampled_from([np.int64, np.uint8, np.float32]),
    rng=st.integers(0, 3),
)
def test_a_split_takes_the_fraction_of_each_class(labels: list[int], fraction: float, dtype: type, rng: int) -> None:
    classes = np.array(labels)
    # Floats stand for one-hot rows, whose dtype does not matter; integers stand for labels.
    target = np.eye(5, dtype=dtype)[classes] if dtype is np.float32 else classes.astype(dtype)
    index = np.arange(len(labels))
    (rest, rest_target), (part, part_target) = fn.split((index, target), fraction, rng)
    assert min(len(rest), len(part)) >= 1
    assert sorted([*rest, *part]) == index.tolist()
    assert np.array_equal(rest_target, target[rest])
    assert np.array_equal(part_target, target[part])
    for k in range(5):
        # 1e-9 for the rounding of fraction times count.
        assert abs((classes[part] == k).sum() - fraction * (classes == k).sum()) <= 1 + 1e-9


def test_a_split_is_random_and_determined_by_its_key() -> None:
    def part(rng: int) -> list[int]:
        return sorted(fn.split((np.arange(200), np.zeros(200, int)), 0.5, rng)[1][0].tolist())

    assert part(0) == part(0) != part(1)


@pytest.mark.parametrize(
    "target",
    [
        RNG.standard_normal(100),
        RNG.standard_normal((100, 3)),
        np.array([[0.3, 0.7], [0.6, 0.4]] * 50),
        np.array([[0, 1, 1], [1, 1, 0]] * 50),
    ],
)
def test_other_targets_are_split_without_regard_to_their_values(target: Array) -> None:
    _, (expected, _) = fn.split((np.arange(100), np.zeros(100)), 0.2, rng=0)
    (rest, _), (part, _) = fn.split((np.arange(100), target), 0.2, rng=0)
    assert part.tolist() == expected.tolist()
    assert (len(rest), len(part)) == (80, 20)


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, float("nan")])
def test_a_fraction_outside_its_range_raises(fraction: float) -> None:
    with pytest.raises(ValueError, match="split: fraction must lie between 0 and 1"):
        fn.split(DATA, fraction, 0)


def test_a_fraction_that_is_not_a_number_raises() -> None:
    with pytest.raises(TypeError, match=r"split: fraction: expected a number, got '0\.2'"):
        fn.split(DATA, "0.2", 0)  # type: ignore[arg-type]


def test_one_example_cannot_be_split() -> None:
    with pytest.raises(ValueError, match="split: expected at least two examples, got 1"):
        fn.split((X[:1], LABELS[:1]), 0.5, 0)


# --- k_fold ----------------------------------------------------------------------------------------------------------


@given(
    labels=st.lists(st.integers(0, 4), min_size=2, max_size=60),
    folds=st.integers(2, 8),
    dtype=st.sampled_from([np.int64, np.uint8, np.float32]),
    rng=st.integers(0, 3),
)
def test_each_example_validates_once_and_the_folds_are_balanced(
    labels: list[int], folds: int, dtype: type, rng: int
) -> None:
    folds = min(folds, len(labels))
    classes, index = np.array(labels), np.arange(len(labels))
    # Floats stand for one-hot rows, as above.
    target = np.eye(5, dtype=dtype)[classes] if dtype is np.float32 else classes.astype(dtype)
    pairs = list(fn.k_fold((index, target), folds, rng))
    assert len(pairs) == folds
    for (train, train_target), (part, part_target) in pairs:
        assert sorted([*train, *part]) == index.tolist()
        assert np.array_equal(train_target, target[train])
        assert np.array_equal(part_target, target[part])
    assert sorted(np.concatenate([part for _, (part, _) in pairs])) == index.tolist()
    sizes = np.array([np.bincount(classes[part], minlength=5) for _, (part, _) in pairs])
    assert np.ptp(sizes, axis=0).max() <= 1
    assert np.ptp(sizes.sum(axis=1)) <= 1


def test_folds_are_random_and_determined_by_their_key() -> None:
    def parts(rng: int) -> list[list[int]]:
        return [sorted(part.tolist()) for _, (part, _) in fn.k_fold((np.arange(90), np.zeros(90, int)), 3, rng)]

    assert parts(0) == parts(0) != parts(1)


@pytest.mark.parametrize(
    ("data", "folds", "error", "message"),
    [
        (DATA, 1, ValueError, "folds must be a whole number >= 2, got 1"),
        (DATA, 31, ValueError, "k_fold: expected at least one example for each fold, got 30 for 31"),
        (X, 2, TypeError, "k_fold: expected data as a tuple"),
    ],
)
def test_k_fold_raises_before_the_first_fold(data: Any, folds: int, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        fn.k_fold(data, folds, 0)


# --- value_and_grad --------------------------------------------------------------------------------------------------


def test_value_and_grad_by_hand() -> None:
    # y = 2 * 3 + 1 = 7, t = 5: value 4, dy = 2 (7 - 5) = 4, dw = 3 * 4, db = 4.
    params = {"w": np.array([[2.0]]), "b": np.array([1.0])}
    f = fn.value_and_grad(fn.dense(1), fn.mean_squared_error)
    value, grads = f(params, np.array([[3.0]]), np.array([[5.0]]))
    assert (value, grads["w"].item(), grads["b"].item()) == (4, 12, 4)


def test_a_key_means_training() -> None:
    f = fn.value_and_grad(MODEL, LOSS)
    inference, training = f(PARAMS, X, LABELS), f(PARAMS, X, LABELS, rng=1)
    assert inference[0] != training[0]
    assert same_bits(f(PARAMS, X, LABELS, rng=1)[1], training[1])


@pytest.mark.parametrize("first", [False, True])
def test_the_gradient_of_the_input_is_not_computed(first: bool) -> None:
    requested: list[bool] = []

    def apply(params: Any, x: Array) -> Any:
        def vjp_fn(dy: Array, input_grad: bool = True) -> Any:
            requested.append(input_grad)
            return {"w": (dy * x).sum(0)}, dy * params["w"] if input_grad else None

        return x * params["w"], vjp_fn

    scale = (lambda shape, rng: {"w": np.ones(shape)}), apply
    model: Any = fn.serial(scale, fn.tanh) if first else scale
    params = {"layer_0": {"w": np.ones(4)}} if first else {"w": np.ones(4)}
    fn.value_and_grad(model, fn.mean_squared_error)(params, X.astype(float), np.zeros((30, 4)))
    assert requested == [False]


def test_a_vjp_fn_without_the_keyword_input_grad_works() -> None:
    scale = (
        lambda shape, rng: {"w": np.ones(shape)},
        lambda params, x: (x * params["w"], lambda dy: ({"w": (dy * x).sum(0)}, dy * params["w"])),
    )
    _, grads = fn.value_and_grad(scale, fn.mean_squared_error)({"w": np.ones(1)}, np.ones((2, 1)), np.zeros((2, 1)))
    assert grads["w"].tolist() == [2]


# --- predict and evaluate --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, 1, 7, 30])
@pytest.mark.parametrize("batch_size", [1, 7, 30, 1000])
def test_predict_takes_any_number_of_examples(n: int, batch_size: int) -> None:
    y = fn.predict(MODEL, PARAMS, X[:n], batch_size)
    assert y.shape == (n, 3)
    assert y.dtype == np.float32
    # Products of other sizes may be added up in another order.
    np.testing.assert_allclose(y, MODEL.apply(PARAMS, X[:n])[0], rtol=1e-5, atol=1e-6)


def test_predict_runs_at_most_batch_size_examples_at_a_time() -> None:
    sizes: list[int] = []

    def apply(params: Any, x: Array) -> Any:
        sizes.append(len(x))
        return x, lambda dy: ({}, dy)

    pair = fn.identity.init, apply
    assert np.array_equal(fn.predict(pair, {}, X, batch_size=13), X)
    assert sizes == [13, 13, 4]


def test_predict_raises_for_invalid_arguments() -> None:
    with pytest.raises(ValueError, match="batch_size must be a whole number >= 1, got 0"):
        fn.predict(MODEL, PARAMS, X, batch_size=0)
    with pytest.raises(TypeError, match=r"predict: expected x as an array .*, got a list; use np\.asarray"):
        fn.predict(MODEL, PARAMS, X.tolist())
    with pytest.raises(ValueError, match="in layer batch_norm_0, with an input of shape"):
        fn.predict(NORMED, NORMED.init((4,), 0), X)


def test_evaluate_is_over_all_examples_not_a_mean_over_batches() -> None:
    # Batches of 2 and 1: the mean of their losses, (0.5 + 16) / 2, would count the last example twice.
    data = np.array([[1.0], [0.0], [4.0]]), np.zeros((3, 1))
    scores = fn.evaluate(fn.identity, {}, data, fn.mean_squared_error, {"worst": lambda y, t: y.max()}, batch_size=2)
    assert scores == {"loss": 17 / 3, "worst": 4.0}


def test_scores_are_python_floats_whatever_a_custom_loss_returns() -> None:
    loss: Any = lambda y, t: (np.float32(1), y)  # noqa: E731
    scores = fn.evaluate(fn.identity, {}, DATA, loss, {"top": lambda y, t: y.max()})
    assert [type(value) for value in scores.values()] == [float, float]


def evaluate_in_fit(model: Any, params: Any, data: Any, loss: Any, metrics: Any) -> Any:
    """``fit`` takes the same data and metrics."""
    return fit(model, params, fn.sgd(0.1), data, loss, metrics=metrics)


@pytest.mark.parametrize("call", [fn.evaluate, evaluate_in_fit])
@pytest.mark.parametrize(
    ("data", "metrics", "error", "message"),
    [
        (X, None, TypeError, r"expected data as a tuple \(x, target\) of two arrays or dicts of arrays, got a ndarray"),
        (
            [X, LABELS],
            None,
            TypeError,
            r"expected data as a tuple \(x, target\) of two arrays or dicts of arrays, got a list",
        ),
        ((X, LABELS, X, X), None, TypeError, r"expected data as a tuple .* got a tuple of 4"),
        ((X.tolist(), LABELS), None, TypeError, "got a list; use np.asarray"),
        ((X, LABELS.tolist()), None, TypeError, "got a list; use np.asarray"),
        (((X, LABELS), (X, LABELS)), None, TypeError, "got a tuple; use np.asarray"),
        ((X, LABELS[1:]), None, ValueError, "different numbers of examples, 30 in x and 29 in target"),
        ((X[:0], LABELS[:0]), None, ValueError, "the data set is empty"),
        (DATA, [fn.metrics.accuracy], TypeError, "expected metrics as a dict .* got a list"),
        (DATA, fn.metrics.accuracy, TypeError, "expected metrics as a dict .* got a function"),
        (DATA, {"loss": fn.metrics.accuracy}, ValueError, "a metric may not be called 'loss'"),
    ],
)
def test_invalid_data_and_metrics_raise(
    call: Callable[..., Any], data: Any, metrics: Any, error: type, message: str
) -> None:
    with pytest.raises(error, match=message):
        call(MODEL, PARAMS, data, LOSS, metrics=metrics)


# --- fit: the record -------------------------------------------------------------------------------------------------


def test_the_history_starts_before_training_and_has_these_columns() -> None:
    validation = X[:5], LABELS[:5]
    result = fit(metrics=ACCURACY, validation=validation)
    columns = ["epoch", "step", "seconds", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy"]
    assert [list(record) for record in result.history] == [columns] + [[*columns, "rate"]] * 2
    assert [record["epoch"] for record in result.history] == [0, 1, 2]
    assert [record["step"] for record in result.history] == [0, 4, 8]
    assert [record["rate"] for record in result.history[1:]] == [0.1, 0.1]
    for params, record in ((PARAMS, result.history[0]), (result.params, result.history[-1])):
        for name, data in (("train", DATA), ("validation", validation)):
            scores = fn.evaluate(MODEL, params, data, LOSS, ACCURACY)
            assert {key: record[f"{name}_{key}"] for key in scores} == scores
    assert 0 <= result.history[0]["seconds"] <= result.history[1]["seconds"]
    assert "validation_loss" not in fit().history[0]


def test_fit_is_the_public_step_in_a_loop() -> None:
    optimizer = fn.adam(1e-2)
    params, opt_state = PARAMS, optimizer.init(PARAMS)
    f = fn.value_and_grad(MODEL, LOSS)
    stream = fn.batches(DATA, 8, epochs=2, rng=fn.rng.fold(5, "batches"))
    for step, (x, labels) in enumerate(stream):
        _, grads = f(params, x, labels, rng=(5, step))
        updates, opt_state = optimizer.update(grads, opt_state, params)
        params = fn.apply_updates(params, updates)
    result = fit(MODEL, PARAMS, optimizer, rng=5)
    assert same_bits(result.params, params)
    assert same_bits(result.opt_state, opt_state)


def test_any_pair_of_functions_is_an_optimizer() -> None:
    def update(grads: Any, state: Any, params: Any) -> Any:
        return fn.tree.map(lambda g: np.float32(-0.1) * g, grads), {"steps": state["steps"] + 1}

    result = fit(MODEL, PARAMS, (lambda params: {"steps": np.array(0)}, update))
    assert result.opt_state == {"steps": 8}
    np.testing.assert_allclose(fn.tree.ravel(result.params)[0], fn.tree.ravel(fit().params)[0], rtol=1e-5, atol=1e-6)


def test_an_optimizer_may_start_from_a_later_state_which_is_not_that_of_these_steps() -> None:
    x = np.linspace(-1, 1, 8, dtype=np.float32)[:, None]
    model, optimizer = fn.dense(1), fn.adam(fn.exponential_decay(0.1, 4, 0.5))
    first = fn.fit(model, model.init((1,), 0), optimizer, (x, x), fn.mean_squared_error, 3, 4, verbose=False)
    going_on = replace(optimizer, init=lambda params: first.opt_state)
    second = fn.fit(model, first.params, going_on, (x[:5], x[:5]), fn.mean_squared_error, 1, 2, verbose=False)
    assert fn.current_step(second.opt_state) == 6 + 3
    assert second.history[-1]["rate"] == pytest.approx(0.1 * 0.5 ** (8 / 4), rel=1e-6)


def test_it_learns() -> None:
    history = fit(MODEL, PARAMS, fn.adam(3e-2), epochs=60, metrics=ACCURACY, evaluate_every=60).history
    # Thirty examples of a rule with two linear boundaries; most models memorize all of them.
    assert history[-1]["train_accuracy"] >= 0.9 > history[0]["train_accuracy"]


def test_the_same_key_gives_the_same_run_and_one_number_is_drawn_from_a_generator() -> None:
    assert same_bits(fit(rng=1).params, fit(rng=1).params)
    assert not same_bits(fit(rng=1).params, fit(rng=2).params)
    generator = np.random.default_rng(3)
    drawn = int(np.random.default_rng(3).integers(2**63))
    assert same_bits(fit(rng=generator).params, fit(rng=drawn).params)


def test_a_validation_split_is_stratified_and_not_trained_on() -> None:
    labels = np.repeat([0, 1, 2], 40)
    x = np.arange(120, dtype=np.float32)[:, None]
    seen: dict[bool, set[float]] = {False: set(), True: set()}

    def apply(params: Any, x: Array, rng: Any = None) -> Any:
        seen[rng is not None].update(x[:, 0].tolist())
        return fn.dense(3).apply(params, x, rng)

    model = fn.dense(3).init, apply
    fit(model, fn.dense(3).init((1,), 0), fn.sgd(1e-6), (x, labels), epochs=1, validation_split=0.25)
    held_out = np.array(sorted(seen[False] - seen[True]), int)
    assert len(seen[False]) == 120
    assert np.bincount(labels[held_out]).tolist() == [10, 10, 10]


def test_evaluate_every_skips_evaluations_but_never_the_first_or_the_last() -> None:
    assert [record["epoch"] for record in fit(epochs=5, evaluate_every=2).history] == [0, 2, 4, 5]
    assert same_bits(fit(epochs=3, evaluate_every=2).params, fit(epochs=3).params)


def test_zero_epochs_evaluate_once() -> None:
    result = fit(epochs=0)
    assert [record["epoch"] for record in result.history] == [0]
    assert same_bits(result.params, PARAMS)


@pytest.mark.parametrize(("n", "batch_size"), [(1, 8), (30, 1000), (30, np.uint8(200))])
def test_one_example_and_batches_larger_than_the_data(n: int, batch_size: Any) -> None:
    result = fit(MODEL, PARAMS, fn.sgd(0.1), (X[:n], LABELS[:n]), epochs=2, batch_size=batch_size)
    assert fn.current_step(result.opt_state) == 2


def test_an_eight_bit_number_of_epochs_does_not_overflow() -> None:
    assert fit(epochs=np.uint8(70), evaluate_every=70, verbose=True).history[-1]["epoch"] == 70


def test_data_may_be_mapped_to_a_file(tmp_path: Path) -> None:
    mapped = np.memmap(tmp_path / "x", np.float32, "w+", shape=X.shape)
    mapped[:] = X
    assert same_bits(
        fit(NORMED, NORMED.init((4,), 0), fn.adam(1e-2), (mapped, LABELS)).params,
        fit(NORMED, NORMED.init((4,), 0), fn.adam(1e-2), DATA).params,
    )
    assert {type(x) for x in fn.batches(mapped, 8)} == {np.ndarray}


def test_one_example_trains_through_batch_norm() -> None:
    assert len(fit(NORMED, NORMED.init((4,), 0), fn.sgd(0.1), (X[:1], LABELS[:1])).history) == 3


def test_nothing_passed_in_is_written_to() -> None:
    arrays = [X.copy(), LABELS.copy(), *fn.tree.leaves(fn.tree.map(np.copy, NORMED.init((4,), 0)))]
    for array in arrays:
        array.flags.writeable = False
    paths = fn.tree.paths(NORMED.init((4,), 0))
    params = fn.tree.unflatten(dict(zip(paths, arrays[2:], strict=True)))
    fit(NORMED, params, fn.adam(1e-2), (arrays[0], arrays[1]), validation_split=0.2)


# --- fit: batch norm -------------------------------------------------------------------------------------------------


def test_batch_norm_is_calibrated_for_each_evaluation_and_in_the_result() -> None:
    params = NORMED.init((4,), 0)
    result = fit(NORMED, params, fn.adam(1e-2), epochs=3)
    assert len(result.history) == 4
    assert np.isnan(params["batch_norm_0"]["mean"]).all()
    measured = fn.calibrate(NORMED, result.params, X)["batch_norm_0"]
    for name in ("mean", "var"):
        # The same thirty examples in another order.
        np.testing.assert_allclose(result.params["batch_norm_0"][name], measured[name], rtol=1e-5, atol=1e-6)
    assert fn.evaluate(NORMED, result.params, DATA, LOSS)["loss"] == result.history[-1]["train_loss"]


def test_calibration_uses_examples_from_the_whole_data_set() -> None:
    x = np.arange(5000, dtype=np.float32)[:, None]
    model = fn.batch_norm()
    mean = fit(model, model.init((1,), 0), fn.sgd(0.1), (x, x), fn.mean_squared_error, epochs=0).params["mean"].item()
    # The mean of 1,000 out of 5,000 numbers has a standard error of 5000 / sqrt(12 * 1000) = 46; the first 1,000 have
    # the mean 500.
    assert mean == pytest.approx(2500, abs=300)


# --- fit: its output -------------------------------------------------------------------------------------------------


def test_one_line_for_each_evaluation_and_one_for_the_best_epoch(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "90")
    result = fit(epochs=2, verbose=True, metrics=ACCURACY)
    out, err = capsys.readouterr()
    scores = [f"train loss {r['train_loss']:.4f}, train accuracy {r['train_accuracy']:.4f}" for r in result.history]
    totals = [record["seconds"] for record in result.history]
    times = [
        f"total {totals[0]:.1f} s",
        f"epoch {totals[1] - totals[0]:.1f} s, total {totals[1]:.1f} s",
        f"epoch {totals[2] - totals[1]:.1f} s, total {totals[2]:.1f} s",
    ]
    best = int(np.argmin([record["train_loss"] for record in result.history]))
    assert out.splitlines() == [
        *(f"epoch {epoch}/2  {scores[epoch]}; {times[epoch]}" for epoch in range(3)),
        f"best epoch {best}/2 by train loss: {scores[best]}",
    ]
    assert err == ""


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        return True

    def screen(self) -> list[str]:
        """The visible text: after a carriage return, later characters overwrite earlier ones."""
        lines = []
        for line in self.getvalue().split("\n"):
            shown = ""
            for text in line.split("\r"):
                shown = text + shown[len(text) :]
            lines.append(shown.rstrip())
        return lines


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock of the progress line, a list of one number; its time changes only when a test sets it. No tqdm."""
    now, module = [0.0], sys.modules["funcnn.training.progress"]  # the attribute of that name is the function
    monkeypatch.setattr(module, "time", types.SimpleNamespace(perf_counter=lambda: now[0]))
    monkeypatch.setitem(sys.modules, "tqdm", None)
    return now


def test_the_progress_of_steps_whose_number_is_not_known_has_no_end(clock: list[float]) -> None:
    stream = Terminal()
    show = fn.progress(0, stream)
    clock[0] = 2.0
    show(10, "loss 1.0000")
    written = stream.getvalue()
    assert stream.screen() == ["step 10  loss 1.0000  5.0 steps/s  total 2.0 s"]
    clock[0] = 2.05
    show(11, "loss 0.9000")
    assert stream.getvalue() == written
    show(11, "")
    assert stream.screen() == [""]


def test_the_progress_line_shows_speed_and_remaining_time(clock: list[float]) -> None:
    stream = Terminal()
    show = fn.progress(100, stream)
    clock[0] = 2.0
    show(10, "loss 1.0000")
    # Ten steps in two seconds: ninety more take eighteen.
    assert stream.screen() == ["step 10/100  loss 1.0000  5.0 steps/s  0:18 left"]
    clock[0] = 2.05
    show(11, "loss 0.9000")
    assert stream.screen() == ["step 10/100  loss 1.0000  5.0 steps/s  0:18 left"]
    clock[0] = 40.0
    show(20, "loss 0.8000")
    assert stream.screen() == ["step 20/100  loss 0.8000  0.5 steps/s  2:40 left"]
    show(20, "")
    assert stream.screen() == [""]
    show(100, "loss 0.1000")
    assert stream.screen() == [""]


@pytest.mark.parametrize("width", [1, 20, 40, 60, 79, 80, 120])
def test_the_progress_line_stays_in_one_row(monkeypatch: pytest.MonkeyPatch, clock: list[float], width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    stream = Terminal()
    show = fn.progress(10_000, stream)
    for step in range(1, 100):
        clock[0] += 1
        show(step, "loss 0.1234, accuracy 0.5678")
    rows = [row for row in stream.getvalue().split("\r") if row]
    assert len(rows) == 99
    assert {len(row) for row in rows} == {max(width - 1, 1)}
    assert rows[0].startswith("step 1/10000  loss 0.1234"[: width - 1])


def test_progress_writes_to_terminals_only(clock: list[float]) -> None:
    stream = io.StringIO()
    show = fn.progress(10, stream)
    clock[0] = 5.0
    show(5, "loss")
    show(10, "loss")
    assert stream.getvalue() == ""


def test_on_a_terminal_only_the_lines_of_the_epochs_remain(monkeypatch: pytest.MonkeyPatch, clock: list[float]) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setattr("sys.stdout", terminal)

    def sgd_that_takes_time(grads: Any, state: Any, params: Any) -> Any:
        clock[0] += 1
        return fn.sgd(0.1).update(grads, state, params)

    result = fit(MODEL, PARAMS, fn.Optimizer(fn.sgd(0.1).init, sgd_that_takes_time), epochs=2, verbose=True)
    assert "step 7/8" in terminal.getvalue()
    losses = [f"{record['train_loss']:.4f}" for record in result.history]
    times = ["total 0.0 s", "epoch 0.0 s, total 0.0 s", "epoch 0.0 s, total 0.0 s"]  # the clock of the loop is real
    assert terminal.screen() == [
        *(f"epoch {epoch}/2  train loss {losses[epoch]}; {times[epoch]}" for epoch in range(3)),
        f"best epoch 2/2 by train loss: train loss {losses[2]}",
        "",
    ]


# --- fit: stopping and resuming --------------------------------------------------------------------------------------


@pytest.mark.parametrize("epochs_before", [1, 2])
def test_a_run_that_was_stopped_saved_and_resumed_ends_with_the_same_bits(tmp_path: Path, epochs_before: int) -> None:
    optimizer = fn.adamw(fn.cosine_decay(1e-2, steps=9))
    options: dict[str, Any] = {"metrics": ACCURACY, "validation_split": 0.2, "rng": 7}
    params = NORMED.init((4,), 0)
    straight = fit(NORMED, params, optimizer, epochs=3, **options)

    before = fit(NORMED, params, optimizer, epochs=epochs_before, **options)
    fn.save(tmp_path / "run.npz", {"params": before.params, "opt_state": before.opt_state})
    saved = fn.load(tmp_path / "run.npz", like={"params": params, "opt_state": optimizer.init(params)})
    state = {"opt_state": saved["opt_state"], "start": fn.current_step(saved["opt_state"])}
    after = fit(NORMED, saved["params"], optimizer, epochs=3, **options, **state)

    assert same_bits(after.params, straight.params)
    assert same_bits(after.opt_state, straight.opt_state)
    assert timeless(before.history + after.history) == timeless(straight.history)


def test_resuming_in_the_middle_of_an_epoch() -> None:
    straight = fit(epochs=2)
    f, optimizer = fn.value_and_grad(MODEL, LOSS), fn.sgd(0.1)
    params, state = PARAMS, optimizer.init(PARAMS)
    stream = fn.batches(DATA, 8, 2, fn.rng.fold(0, "batches"))
    for step in range(3):
        updates, state = optimizer.update(f(params, *next(stream), rng=(0, step))[1], state, params)
        params = fn.apply_updates(params, updates)
    after = fit(MODEL, params, epochs=2, opt_state=state, start=3)
    assert same_bits(after.params, straight.params)
    assert timeless(after.history) == timeless(straight.history[1:])


def test_a_finished_run_has_nothing_to_resume() -> None:
    result = fit(epochs=1)
    again = fit(MODEL, result.params, epochs=1, opt_state=result.opt_state, start=4)
    assert again.history == []
    assert same_bits(again.params, result.params)


def loss_that_fails_at(call: int, value: float = float("nan")) -> Callable[..., Any]:
    """Cross-entropy that returns ``value`` at one of its calls, counted from 0, and the true loss at all others."""
    calls = iter(range(10**6))
    return lambda y, t: (value, LOSS(y, t)[1]) if next(calls) == call else LOSS(y, t)


@pytest.mark.parametrize(
    ("call", "where", "steps", "epochs"),
    [
        (0, "after epoch 0", 0, []),
        (1, "in step 0 of epoch 1", 0, [0]),
        (3, "in step 2 of epoch 1", 0, [0]),
        (5, "after epoch 1", 0, [0]),
        (6, "in step 4 of epoch 2", 4, [0, 1]),
    ],
)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_loss_that_is_not_finite_stops_the_run_with_the_last_evaluation_before_it(
    call: int, where: str, steps: int, epochs: list[int], value: float
) -> None:
    # Four steps to an epoch: calls 0 and 5 evaluate, the others train.
    message = rf"the loss is {value} {where}; try a smaller learning rate .*clip_by_global_norm.* are in this error's"
    with pytest.raises(fn.NonFiniteLossError, match=message) as caught:
        fit(MODEL, PARAMS, fn.adam(1e-2), DATA, loss_that_fails_at(call, value), metrics=ACCURACY)
    params, opt_state, history = caught.value.result
    assert fn.current_step(opt_state) == steps
    assert [record["epoch"] for record in history] == epochs
    assert np.isfinite(fn.tree.ravel(params)[0]).all()


@pytest.mark.parametrize(("batch_size", "where"), [(8, "in step"), (30, "after epoch")])
@pytest.mark.parametrize("metrics", [None, ACCURACY])
def test_the_result_of_a_diverged_run_has_finite_parameters(batch_size: int, where: str, metrics: Any) -> None:
    # Steps of this size exceed the range of float32, on purpose.
    with np.errstate(all="ignore"), pytest.raises(fn.NonFiniteLossError, match=f"the loss is (nan|inf) {where}") as e:
        fit(MODEL, PARAMS, fn.sgd(1e30, momentum=0.9), batch_size=batch_size, metrics=metrics, epochs=9)
    result = e.value.result
    for leaf in fn.tree.leaves(result.params) + fn.tree.leaves(result.opt_state["add_momentum"]):
        assert np.isfinite(leaf).all()
    assert np.isfinite(fn.evaluate(MODEL, result.params, DATA, LOSS, ACCURACY)["loss"])


def test_overflow_before_a_batch_norm_is_reported_as_a_loss_that_is_not_finite() -> None:
    model = fn.serial(fn.dense(4), fn.dense(4), fn.dense(4), fn.batch_norm(), fn.dense(3))
    params = model.init((4,), 0)
    # One batch per epoch, so that the evaluation is the first to compute this loss.
    with np.errstate(all="ignore"), pytest.raises(fn.NonFiniteLossError, match="the loss is nan after epoch 1"):
        fit(model, params, fn.sgd(1e30), batch_size=30, metrics=ACCURACY)


def test_nan_in_the_data_raises_before_training() -> None:
    with (
        np.errstate(all="ignore"),
        pytest.raises(fn.NonFiniteLossError, match=r"the loss is nan after epoch 0; .* or look for NaN in the data"),
    ):
        fit(MODEL, PARAMS, fn.sgd(0.1), (X * np.float32("nan"), LABELS), metrics=ACCURACY)


# --- fit: bad input --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "options", "error", "message"),
    [
        (
            (),
            {"validation": DATA, "validation_split": 0.1},
            ValueError,
            "validation data or validation_split, not both",
        ),
        ((), {"validation": 0.1}, TypeError, "fit, validation: expected data as a tuple .* got a float"),
        ((), {"validation": (X, LABELS[1:])}, ValueError, "different numbers of examples, 30 in x and 29 in target"),
        ((), {"validation_split": 1.0}, ValueError, r"fit: validation_split must lie between 0 and 1, got 1\.0"),
        ((), {"epochs": 1.5}, ValueError, r"epochs must be a whole number >= 0, got 1\.5"),
        ((), {"epochs": "3"}, ValueError, "epochs must be a whole number >= 0, got '3'"),
        ((), {"epochs": -1}, ValueError, "epochs must be a whole number >= 0, got -1"),
        ((), {"batch_size": 0}, ValueError, "batch_size must be a whole number >= 1, got 0"),
        ((), {"evaluate_every": 0}, ValueError, "evaluate_every must be a whole number >= 1, got 0"),
        ((), {"start": 4}, ValueError, "start=4 goes on with an earlier run, so it needs the opt_state of that run"),
        ((), {"rng": None}, TypeError, "a key is an int"),
        ((fn.dense,), {}, TypeError, r"a layer is .*; call it: dense\(\.\.\.\)"),
        ((MODEL, PARAMS, fn.sgd(0.1), DATA, "mse"), {}, TypeError, "fit: loss: expected a function, got 'mse'"),
        ((MODEL, PARAMS, fn.adam), {}, TypeError, r"fit: expected an optimizer such as adam\(1e-3\), got <function"),
        ((MODEL, fn.dense(3).init((4,), 0)), {}, ValueError, r"parameters of another model: no layer is called \['w'"),
        ((), {"opt_state": fn.adam(0.1).init(PARAMS)}, ValueError, "is it the state of another optimizer"),
        ((MODEL, PARAMS, fn.adam(0.1)), {"opt_state": {}}, ValueError, r"scale_by_adam: expected a state of .*init\("),
    ],
)
def test_invalid_arguments_raise(changes: Any, options: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        fit(*changes, **options)


@pytest.mark.parametrize(
    ("x", "labels", "error", "message", "path"),
    [
        ((X * 50).astype(np.uint8), LABELS, TypeError, r"got uint8; scale images first: x\.astype", "dense_0"),
        (X.astype(float), LABELS, TypeError, r"input is float64, parameters are float32; use x\.astype", "dense_0"),
        (X[:, :3], LABELS, ValueError, "expected 4 channels on the last axis", "dense_0"),
        (X, LABELS.astype(float), TypeError, r"expected integer labels, got float64; use labels\.astype\(int\)", None),
        (X, LABELS[:, None], ValueError, r"labels of shape \(30,\) .* got \(30, 1\); use target\.reshape\(30,\)", None),
        (X, LABELS + 1, ValueError, "expected labels from 0 to 2, got 1 to 3", None),
    ],
)
def test_data_that_do_not_fit_the_model_raise_before_the_first_step(
    x: Array, labels: Array, error: type, message: str, path: str | None
) -> None:
    def update(grads: Any, state: Any, params: Any) -> Any:
        raise AssertionError("a step was made")

    with pytest.raises(error, match=message) as caught:
        fit(MODEL, PARAMS, fn.Optimizer(fn.sgd(0.1).init, update), (x, labels))
    notes = getattr(caught.value, "__notes__", [])
    shape = (8, *x.shape[1:])  # evaluated batch by batch
    assert notes == [
        "in the loss softmax_cross_entropy" if path is None else f"in layer {path}, with an input of shape {shape}"
    ]


def test_the_path_of_a_layer_deep_inside_is_named() -> None:
    model = fn.serial(fn.named("stem", fn.serial(fn.conv2d(2, 3), fn.flatten)), fn.dense(3))
    with pytest.raises(TypeError, match=r"in layer stem/conv2d_0, with an input of shape \(2, 5, 5, 1\)"):
        fit(model, model.init((5, 5, 1), 0), fn.sgd(0.1), (np.ones((2, 5, 5, 1), np.uint8), LABELS[:2]))


@pytest.mark.parametrize("optimizer", [fn.sgd, fn.adam, fn.adamw, fn.rmsprop, fn.adagrad, fn.adadelta, fn.adamax])
@pytest.mark.parametrize("rate", [-0.1, float("nan"), float("inf")])
def test_an_invalid_learning_rate_raises(optimizer: Any, rate: float) -> None:
    with pytest.raises(ValueError, match=f"rate.*{rate}"):
        optimizer(rate)


def test_an_invalid_rate_of_a_schedule_raises_at_its_step() -> None:
    with pytest.raises(ValueError, match=r"rate.*nan"):
        fit(MODEL, PARAMS, fn.sgd(lambda step: 0.1 if step < 2 else float("nan")))


def test_the_error_of_a_metric_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        fit(metrics={"broken": lambda y, t: 1 / 0})
