"""Data that are trees: several inputs and several targets, in batches, splits, steps, predictions, runs and files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import funcnn as fn
from funcnn.aliases import Array, Tree

RNG = np.random.default_rng(0)
N = 30
IMAGE = RNG.standard_normal((N, 6, 6, 1)).astype(np.float32)
TABLE = RNG.standard_normal((N, 3)).astype(np.float32)
LABELS = (TABLE[:, 0] > 0).astype(int) + (TABLE[:, 1] > 0)
X = {"image": IMAGE, "table": TABLE}
TWO_INPUTS = fn.serial(
    fn.parallel(
        image=fn.serial(fn.conv2d(4, 3), fn.batch_norm(activation=fn.relu), fn.global_avg_pool2d),
        table=fn.dense(5, activation=fn.relu),
    ),
    fn.merge("concat"),
    fn.dropout(0.2),
    fn.dense(3),
)
TWO_HEADS = fn.serial(fn.dense(8, activation=fn.relu), fn.branch(label=fn.dense(3), sum=fn.dense(1)))
TARGETS = {"label": LABELS, "sum": TABLE.sum(1, keepdims=True)}
for array in fn.tree.leaves({"x": X, "target": TARGETS}):
    array.flags.writeable = False  # nothing passed in is written to


def two_losses(y: Tree, target: Tree) -> tuple[float, Tree]:
    """Cross-entropy of one head and half the mean squared error of the other."""
    label, dlabel = fn.softmax_cross_entropy(y["label"], target["label"])
    total, dsum = fn.mean_squared_error(y["sum"], target["sum"])
    return label + 0.5 * total, {"label": dlabel, "sum": np.float32(0.5) * dsum}


def fit(model: Any, data: Any, loss: Any, epochs: int = 2, params: Any = None, **options: Any) -> fn.Fit:
    """A small, quiet run from the same parameters."""
    params = model.init(fn.specs(data[0]), 0) if params is None else params
    options = {"batch_size": 8, "verbose": False} | options
    return fn.fit(model, params, fn.adam(1e-2), data, loss, epochs, **options)


def same(tree: Tree, other: Tree) -> bool:
    """Whether two trees have the same structure, dtypes and bytes."""
    if isinstance(tree, dict):
        return isinstance(other, dict) and [*tree] == [*other] and all(same(tree[name], other[name]) for name in tree)
    return tree.dtype == other.dtype and tree.shape == other.shape and tree.tobytes() == other.tobytes()


def timeless(history: list[dict[str, float]]) -> list[dict[str, float]]:
    """The records without the only number that differs from run to run."""
    return [{name: value for name, value in record.items() if name != "seconds"} for record in history]


# --- batches, split, k_fold ------------------------------------------------------------------------------------------

LEAVES = st.tuples(
    st.sampled_from([np.float32, np.float64, np.int64, np.uint8]),
    st.lists(st.integers(0, 3), max_size=2),
    st.integers(),
)
PLANS = st.recursive(LEAVES, lambda children: st.dictionaries(st.sampled_from("abc"), children, min_size=1, max_size=3))


def grown(plan: Any, index: Array) -> Tree:
    """The tree of a plan: in each leaf, every element of example i is i plus the leaf's own number."""
    if isinstance(plan, dict):
        return {name: grown(child, index) for name, child in plan.items()}
    dtype, shape, own = plan
    column = (index + own % 100).astype(dtype).reshape(-1, *[1] * len(shape))
    return np.ascontiguousarray(np.broadcast_to(column, (len(index), *shape)))


@given(PLANS, PLANS, st.integers(1, 20), st.integers(1, 25), st.none() | st.integers(0, 9), st.integers(0, 5))
def test_every_leaf_of_a_batch_holds_the_examples_that_a_batch_of_an_array_holds(
    x: Any, target: Any, n: int, batch_size: int, rng: int | None, start: int
) -> None:
    everything = np.arange(n)
    data = grown(x, everything), grown(target, everything)
    options: Any = {"batch_size": batch_size, "epochs": 2, "rng": rng, "start": start}
    indices = list(fn.batches(everything, **options))
    pairs = list(fn.batches(data, **options))
    assert all(isinstance(pair, tuple) for pair in pairs)
    for index, pair in zip(indices, pairs, strict=True):
        assert all(map(same, pair, (grown(x, index), grown(target, index))))
    for index, batch in zip(indices, fn.batches(data[0], **options), strict=True):
        assert same(batch, grown(x, index))


@given(PLANS, PLANS.filter(lambda plan: isinstance(plan, dict)), st.integers(2, 20), st.integers(0, 9))
def test_every_leaf_of_a_part_holds_the_examples_that_a_part_of_an_array_holds(
    x: Any, target: Any, n: int, rng: int
) -> None:
    everything = np.arange(n)
    # Floats are no classes, and so are dicts.
    plain, data = (everything, np.zeros(n)), (grown(x, everything), grown(target, everything))
    expected = [fn.split(plain, 0.3, rng), *fn.k_fold(plain, 2, rng)]
    found = [fn.split(data, 0.3, rng), *fn.k_fold(data, 2, rng)]
    for indices, parts in zip(expected, found, strict=True):
        for (index, _), part in zip(indices, parts, strict=True):
            assert isinstance(part, tuple)
            assert all(map(same, part, (grown(x, index), grown(target, index))))


def cuts(data: Any) -> list[Any]:
    """A split and three folds."""
    return [fn.split(data, 0.25, 4), *fn.k_fold(data, 3, 4)]


def test_a_dict_of_inputs_is_split_by_the_classes_of_the_target() -> None:
    labels = np.repeat([0, 1, 2], [40, 20, 12])
    index = np.arange(72)
    for (rest, part), (plain_rest, plain_part) in zip(cuts(({"a": index}, labels)), cuts((index, labels)), strict=True):
        assert same(rest[0]["a"], plain_rest[0])
        assert same(part[0]["a"], plain_part[0])
        assert same(part[1], plain_part[1])
    _, (_, labels_of_part) = fn.split(({"a": index}, labels), 0.25, 4)
    assert np.bincount(labels_of_part).tolist() == [10, 5, 3]


def test_a_dict_of_targets_is_split_without_regard_to_classes() -> None:
    labels, index = np.repeat([0, 1], [36, 36]), np.arange(72)
    for (_, part), (_, unstratified) in zip(cuts((index, {"label": labels})), cuts((index, index * 0.5)), strict=True):
        assert same(part[0], unstratified[0])
        assert same(part[1]["label"], labels[part[0]])
    assert not same(fn.split((index, labels), 0.25, 4)[1][0], fn.split((index, {"label": labels}), 0.25, 4)[1][0])


FIVE, FOUR = np.zeros((5, 2)), np.zeros(4)
WRONG: list[Any] = [
    (
        ({"image": FIVE, "table": FOUR}, FIVE),
        ValueError,
        "5 in x/image and 4 in x/table; an example has the same index",
    ),
    (({"a": {"b": FOUR}}, FIVE), ValueError, "different numbers of examples, 4 in x/a/b and 5 in target"),
    ((FIVE, {"digit": FIVE, "parity": FOUR}), ValueError, "5 in x and 4 in target/parity"),
    (({"a": FIVE, "b": {"c": [1, 2]}}, FIVE), TypeError, r"x/b/c as an array .*, got a list; use np\.asarray"),
    ((FIVE, {"a": np.array(1.0)}), TypeError, "target/a as an array .*, got one without axes"),
    (({"a": FIVE, "mask": None}, FIVE), TypeError, "x/mask as an array .*, got a NoneType"),
    (({"a": (FIVE, FIVE)}, FIVE), TypeError, "x/a as an array .*, got a tuple"),
    ((FIVE, {}), ValueError, "expected target as an array or a nested dict of arrays, got a dict without any"),
    (({"a": {}}, FIVE), ValueError, "expected x as an array or a nested dict of arrays, got a dict without any"),
    (({"a/b": FIVE}, FIVE), ValueError, "x: a key may not be empty or contain '/', got 'a/b'"),
    (({0: FIVE}, FIVE), TypeError, "x: keys are strings, got 0"),
    (({"a": FIVE[:0]}, {"b": FIVE[:0]}), ValueError, "the data set is empty"),
]
CALLS: dict[str, Callable[[Any], Any]] = {
    "batches": lambda data: fn.batches(data, 2),
    "split": lambda data: fn.split(data, 0.5, 0),
    "k_fold": lambda data: fn.k_fold(data, 2, 0),
    "evaluate": lambda data: fn.evaluate(fn.identity, {}, data, fn.mean_squared_error),
    "fit": lambda data: fn.fit(fn.identity, {}, fn.sgd(0.1), data, fn.mean_squared_error, 1),
    "fit, validation": lambda data: fn.fit(
        fn.identity, {}, fn.sgd(0.1), (FIVE, FIVE), fn.mean_squared_error, 1, validation=data
    ),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(("data", "error", "message"), WRONG)
def test_a_leaf_that_does_not_fit_is_named(call: str, data: Any, error: type, message: str) -> None:
    # The two messages about keys are those of `tree`.
    with pytest.raises(error, match=message if "key" in message else f"^{call}: .*{message}"):
        CALLS[call](data)


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        ({"a": FIVE, "b": {"c": FOUR}}, ValueError, "predict: .*, 5 in x/a and 4 in x/b/c"),
        ({"a": FIVE.tolist()}, TypeError, "predict: expected x/a as an array .*, got a list"),
        ({}, ValueError, "predict: expected x as an array or a nested dict of arrays, got a dict without any"),
    ],
)
def test_predict_names_a_leaf_that_does_not_fit(x: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        fn.predict(fn.identity, {}, x)


def test_the_third_item_of_a_tuple_has_its_number_and_an_empty_tuple_is_no_data() -> None:
    with pytest.raises(ValueError, match=r"5 in x and 4 in data\[2\]/a"):
        fn.batches((FIVE, FIVE, {"a": FOUR}), 2)
    with pytest.raises(TypeError, match="batches: expected data, got an empty tuple"):
        fn.batches((), 2)


# --- value_and_grad --------------------------------------------------------------------------------------------------

HEADS = fn.branch(a=fn.dense(1), b=fn.dense(1))
HEAD_PARAMS = {
    "a": {"w": np.array([[2.0]]), "b": np.array([1.0])},
    "b": {"w": np.array([[3.0]]), "b": np.array([0.0])},
}


def test_the_gradients_of_two_heads_by_hand_and_the_output_with_them() -> None:
    def loss(y: Tree, target: Tree) -> tuple[float, Tree]:
        a, da = fn.mean_squared_error(y["a"], target["a"])
        b, db = fn.mean_squared_error(y["b"], target["b"])
        return a + 0.5 * b, {"a": da, "b": 0.5 * db}

    x, target = np.array([[3.0]]), {"a": np.array([[5.0]]), "b": np.array([[7.0]])}
    value, grads, y = fn.value_and_grad(HEADS, loss, with_output=True)(HEAD_PARAMS, x, target)
    # a = 2 * 3 + 1 = 7, off by 2: da = 4. b = 3 * 3 = 9, off by 2: db = 0.5 * 4.
    assert value == 4 + 0.5 * 4
    assert fn.tree.map(np.ndarray.tolist, grads) == {"a": {"w": [[12]], "b": [4]}, "b": {"w": [[6]], "b": [2]}}
    assert fn.tree.map(np.ndarray.tolist, y) == {"a": [[7]], "b": [[9]]}
    without = fn.value_and_grad(HEADS, loss)(HEAD_PARAMS, x, target)
    assert without[0] == value
    assert same(without[1], grads)
    assert len(without) == 2


def test_a_head_without_a_loss_has_zero_gradients() -> None:
    def loss(y: Tree, target: Array) -> tuple[float, Tree]:
        value, da = fn.mean_squared_error(y["a"], target)
        return value, {"a": da, "b": None}

    value, grads = fn.value_and_grad(HEADS, loss)(HEAD_PARAMS, np.array([[3.0]]), np.array([[5.0]]))
    assert value == 4
    assert fn.tree.map(np.ndarray.tolist, grads) == {"a": {"w": [[12]], "b": [4]}, "b": {"w": [[0]], "b": [0]}}


def test_a_loss_that_forgets_a_head_is_told_so() -> None:
    f = fn.value_and_grad(HEADS, lambda y, target: (0.0, {"a": y["a"]}))
    with pytest.raises(ValueError, match=r"vjp_fn expects dy like y, a dict of \['a', 'b'\], got \['a'\]"):
        f(HEAD_PARAMS, np.array([[3.0]]), None)


def test_the_output_is_that_of_the_training_mode_if_there_is_a_key() -> None:
    model = fn.dropout(0.5)
    f = fn.value_and_grad(model, fn.mean_squared_error, with_output=True)
    assert same(f({}, TABLE, TABLE)[2], TABLE)
    assert same(f({}, TABLE, TABLE, rng=3)[2], model.apply({}, TABLE, 3)[0])


# --- predict and evaluate --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, 1, 7, 30])
@pytest.mark.parametrize("batch_size", [1, 7, 30, 1000])
def test_predict_takes_and_returns_trees(n: int, batch_size: int) -> None:
    model = fn.parallel(a=fn.branch(same=fn.identity, positive=fn.relu), b=fn.identity)
    y = fn.predict(model, {}, {"a": TABLE[:n], "b": IMAGE[:n]}, batch_size)
    assert same(y, {"a": {"same": TABLE[:n], "positive": np.maximum(TABLE[:n], 0)}, "b": IMAGE[:n]})


def test_predict_runs_at_most_batch_size_examples_of_every_leaf_at_a_time() -> None:
    sizes: list[list[int]] = []

    def apply(params: Any, x: Tree) -> Any:
        sizes.append([len(leaf) for leaf in fn.tree.leaves(x)])
        return x["image"], lambda dy: ({}, {"image": dy, "table": None})

    assert same(fn.predict((fn.identity.init, apply), {}, X, batch_size=13), IMAGE)
    assert sizes == [[13, 13], [13, 13], [4, 4]]


def test_evaluate_compares_trees_over_all_examples() -> None:
    # Batches of 2 and 1. Head a is off by 1, 0, 4, head b by 2, 2, 2.
    data = np.array([[1.0], [0.0], [4.0]]), {"a": np.zeros((3, 1)), "b": np.array([[3.0], [2.0], [6.0]])}
    model = fn.branch(a=fn.identity, b=fn.identity)

    def loss(y: Tree, target: Tree) -> tuple[float, Tree]:
        return sum(fn.mean_squared_error(y[name], target[name])[0] for name in "ab"), None

    metrics = {"worst_a": lambda y, t: np.abs(y["a"] - t["a"]).max(), "worst_b": lambda y, t: (t["b"] - y["b"]).max()}
    assert fn.evaluate(model, {}, data, loss, metrics, batch_size=2) == {"loss": 17 / 3 + 4, "worst_a": 4, "worst_b": 2}


# --- fit -------------------------------------------------------------------------------------------------------------

LAYERS = fn.dense(8), fn.batch_norm(), fn.relu, fn.dropout(0.2), fn.dense(3)


def test_one_leaf_of_a_dict_trains_with_the_bits_of_the_array() -> None:
    plain = fit(fn.serial(*LAYERS), (TABLE, LABELS), fn.softmax_cross_entropy, validation_split=0.2)
    x = {"unused": IMAGE, "table": TABLE}
    found = fit(fn.serial(fn.select("table"), *LAYERS), (x, LABELS), fn.softmax_cross_entropy, validation_split=0.2)
    assert same(found.params, plain.params)
    assert same(found.opt_state, plain.opt_state)
    assert timeless(found.history) == timeless(plain.history)


def test_one_target_of_a_dict_trains_with_the_bits_of_the_array() -> None:
    def loss(y: Array, target: Tree) -> tuple[float, Array]:
        return fn.softmax_cross_entropy(y, target["label"])

    accuracy = {"accuracy": lambda y, target: fn.metrics.accuracy(y, target["label"])}
    plain = fit(
        fn.serial(*LAYERS), (TABLE, LABELS), fn.softmax_cross_entropy,
        validation=(TABLE[:9], LABELS[:9]), metrics={"accuracy": fn.metrics.accuracy},
    )  # fmt: skip
    validation = TABLE[:9], {"label": LABELS[:9], "unused": TABLE[:9]}
    data = TABLE, {"label": LABELS, "unused": TABLE}
    found = fit(fn.serial(*LAYERS), data, loss, validation=validation, metrics=accuracy)
    assert same(found.params, plain.params)
    assert timeless(found.history) == timeless(plain.history)


@pytest.mark.parametrize(
    ("model", "data", "loss"),
    [(TWO_INPUTS, (X, LABELS), fn.softmax_cross_entropy), (TWO_HEADS, (TABLE, TARGETS), two_losses)],
)
def test_a_model_of_trees_learns_and_resumes_with_the_same_bits(model: Any, data: Any, loss: Any) -> None:
    straight = fit(model, data, loss, epochs=20, validation_split=0.2, evaluate_every=10)
    assert straight.history[-1]["train_loss"] < 0.6 * straight.history[0]["train_loss"]
    before = fit(model, data, loss, epochs=10, validation_split=0.2, evaluate_every=10)
    after = fit(
        model, data, loss, epochs=20, validation_split=0.2, evaluate_every=10,
        params=before.params, opt_state=before.opt_state, start=fn.current_step(before.opt_state),
    )  # fmt: skip
    assert same(after.params, straight.params)
    assert timeless(before.history + after.history) == timeless(straight.history)


def test_batch_norm_behind_one_input_is_calibrated_on_that_input() -> None:
    model = fn.serial(fn.parallel(image=fn.flatten, table=fn.batch_norm()), fn.select("table"))
    result = fit(model, (X, TABLE), fn.mean_squared_error, epochs=0)
    np.testing.assert_allclose(result.params["parallel_0"]["table"]["mean"], TABLE.mean(0), rtol=1e-5, atol=1e-6)


def test_a_mask_and_tokens_come_as_they_are_and_stay_with_their_examples() -> None:
    lengths = RNG.integers(1, 6, N)
    mask = np.arange(5) < lengths[:, None]
    tokens = np.where(mask, RNG.integers(0, 7, (N, 5)), 0)
    # The table of an embedding holds one learned number for each token, and the model sums those that the mask leaves.
    seen = set()

    def apply(params: Any, x: Tree) -> Any:
        seen.add((x["tokens"].dtype, x["mask"].dtype))
        weights = params["w"][x["tokens"]] * x["mask"]

        def vjp_fn(dy: Array) -> Any:
            dw = np.zeros_like(params["w"])
            np.add.at(dw, x["tokens"], dy * x["mask"])
            return {"w": dw}, {"tokens": None, "mask": None}

        return weights.sum(1, keepdims=True), vjp_fn

    model = fn.serial(((lambda shape, rng: {"w": np.zeros(7, np.float32)}), apply))
    true = np.arange(7, dtype=np.float32)
    target = (true[tokens] * mask).sum(1, keepdims=True)
    params = model.init({"tokens": fn.spec((5,), int), "mask": fn.spec((5,), bool)}, 0)
    result = fn.fit(
        model, params, fn.adam(0.3), ({"tokens": tokens, "mask": mask}, target), fn.mean_squared_error, 150,
        batch_size=10, evaluate_every=150, verbose=False,
    )  # fmt: skip
    # Without noise, this is only learned if tokens, masks and targets stay together.
    np.testing.assert_allclose(result.params["layer_0"]["w"], true, atol=0.05)
    assert seen == {(np.dtype(int), np.dtype(bool))}


def test_a_loss_of_two_heads_that_is_not_finite_stops_the_run() -> None:
    targets = TARGETS | {"sum": np.full((N, 1), np.inf, np.float32)}
    with np.errstate(all="ignore"), pytest.raises(fn.NonFiniteLossError, match="the loss is inf after epoch 0"):
        fit(TWO_HEADS, (TABLE, targets), two_losses)


# --- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "data", "loss"),
    [(TWO_INPUTS, (X, LABELS), fn.softmax_cross_entropy), (TWO_HEADS, (TABLE, TARGETS), two_losses)],
)
def test_a_model_file_predicts_the_same_bits_and_trains_on(model: Any, data: Any, loss: Any, tmp_path: Path) -> None:
    result = fit(model, data, loss)
    fn.save_model(tmp_path / "model.npz", model, result.params)
    loaded, params = fn.load_model(tmp_path / "model.npz")
    assert repr(loaded) == repr(model)
    assert same(fn.tree.flatten(params), fn.tree.flatten(result.params))
    expected = fn.predict(model, result.params, data[0])
    assert same(fn.predict(loaded, params, data[0]), expected)
    further = {"opt_state": result.opt_state, "start": fn.current_step(result.opt_state), "epochs": 3}
    again, straight = (fit(m, data, loss, params=p, **further) for m, p in ((loaded, params), (model, result.params)))
    assert same(fn.tree.flatten(again.params), fn.tree.flatten(straight.params))


def test_the_parameters_of_another_model_of_trees_are_not_written(tmp_path: Path) -> None:
    params = TWO_INPUTS.init(fn.specs(X), 0)
    del params["parallel_0"]["table"]["b"]
    with pytest.raises(ValueError, match="in layer parallel_0/table: dense: expected a parameter 'b'"):
        fn.save_model(tmp_path / "model.npz", TWO_INPUTS, params)
