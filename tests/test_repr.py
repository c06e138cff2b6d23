"""What ``repr`` prints is what is there: evaluated, it makes the same thing, and what was replaced is not hidden."""

import copy
import functools
import inspect
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import funcnn as fn
from funcnn.recorded import Recorded, spelled
from tests.optim.optimizer_table import OPTIMIZERS

NAMES = {name: getattr(fn, name) for name in fn.__all__} | {"np": np}
"""What ``from funcnn import *`` and ``import numpy as np`` bind."""

LAYERS = [layer for layer, _ in fn.testing.table_of_layers() if layer.kind != "elementwise"]
SCHEDULES = [
    fn.constant(0.1),
    fn.step_decay(0.1, every=3, factor=0.5),
    fn.exponential_decay(0.1, 3, factor=0.5),
    fn.cosine_decay(0.1, steps=10, final=0.01),
    fn.linear_warmup(0.1, steps=4),
    fn.join([fn.linear_warmup(0.1, steps=2), 0.05, fn.constant(0.1)], [2, 4]),
    fn.as_schedule("rate", 0.1),
    fn.as_schedule("rate", fn.constant(np.float32(0.5))),
]
INITIALIZERS = [
    *(thing for name in fn.initializers.__all__ if isinstance(thing := getattr(fn.initializers, name), Recorded)),
    fn.upsample1d(2),
    fn.upsample2d(factor=(2, 1.5), mode="bilinear"),
    fn.upsample2d(size=(4, 5), mode="bicubic"),
    fn.initializers.constant(0.5),
    fn.initializers.normal(std=0.2),
    fn.initializers.uniform(-1, high=np.float64(1)),
    fn.initializers.variance_scaling(2.0, "out", "uniform"),
]
CALLBACKS = [
    fn.callbacks.early_stopping("validation_loss", patience=2, mode="max"),
    fn.callbacks.checkpoints("folder", every=2, metric="train_loss"),
    fn.callbacks.csv_log(Path("folder") / "log.csv"),
]
OTHERS = [
    fn.spec((3,), bool),
    fn.named("stem", fn.dense(4, w_init=fn.initializers.glorot_uniform, b_init=fn.initializers.constant(0.5))),
    fn.dense(4, activation=fn.named("bend", fn.relu)),
    fn.leaky_relu(np.float32(0.5)),
    fn.reshape(np.int64(3), -1),
    fn.masked(fn.sgd(0.1), {"w": np.bool_(True), "b": np.array(False)[()]}),
    fn.clip_by_value(fn.constant(np.float64(2))),
]
# Not those with a function of the user, which has a name only where it is defined.
EVALUATED = [
    thing
    for thing in [*LAYERS, *OPTIMIZERS.values(), *SCHEDULES, *INITIALIZERS, *CALLBACKS, *OTHERS]
    if "everywhere" not in repr(thing)
    and ", some)" not in repr(thing)
    and "=some)" not in repr(thing)
    and ", matrices)" not in repr(thing)
]
COPIES: dict[str, Callable[[Any], Any]] = {
    "pickle": lambda thing: pickle.loads(pickle.dumps(thing)),
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
}


def results(thing: Any) -> Any:
    """What a thing computes, as bits."""
    if isinstance(thing, fn.Optimizer):
        params = {"w": np.array([1.0, 2.0]), "b": np.array([3.0])}
        state, found = thing.init(params), []
        for step in range(3):
            updates, state = thing.update({"w": np.array([0.5, -3.0]) + step, "b": np.array([0.1])}, state, params)
            found.append(updates)
        return [leaf.tobytes() for tree in (*found, state) for leaf in fn.tree.leaves(tree)]
    if repr(thing).startswith("initializers."):
        return thing((3, 2), 0, 3, 2).tobytes()
    if isinstance(thing, Recorded) and not repr(thing).startswith("callbacks."):
        return [thing(step) for step in range(12)]
    return None  # the layers are compared in test_protocol, and callbacks write files


@pytest.mark.parametrize("thing", EVALUATED, ids=repr)
def test_what_repr_prints_makes_the_same(thing: Any) -> None:
    again = eval(repr(thing), dict(NAMES))
    assert type(again) is type(thing)
    assert repr(again) == repr(thing)
    assert results(again) == results(thing)


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("thing", [*OPTIMIZERS.values(), *SCHEDULES, *INITIALIZERS, *CALLBACKS, *OTHERS], ids=repr)
def test_a_copy_is_the_same(thing: Any, how: str) -> None:
    again = COPIES[how](thing)
    assert repr(again) == repr(thing)
    assert results(again) == results(thing)


@pytest.mark.parametrize("row", fn.testing.table_of_losses(), ids=lambda row: spelled(row[0]))
def test_a_loss_and_a_metric_are_found_by_their_names(row: Any) -> None:
    loss, y, target = row
    again = eval(spelled(loss), NAMES | {"partial": functools.partial})
    assert again(y, target)[0] == loss(y, target)[0]
    if inspect.isfunction(loss):
        assert again is loss
        assert all(how(loss) is loss for how in COPIES.values())
    assert eval(spelled(fn.metrics.accuracy), dict(NAMES)) is fn.metrics.accuracy


@pytest.mark.parametrize("how", COPIES)
def test_a_result_and_a_model_with_it_are_copied(how: str) -> None:
    model = fn.serial(fn.named("stem", fn.dense(4)), fn.relu, fn.dense(2))
    x, labels = np.random.default_rng(0).random((20, 3), np.float32), np.arange(20) % 2
    optimizer = fn.adam(fn.cosine_decay(1e-2, steps=10))
    params = model.init((3,), 0)
    result = fn.fit(model, params, optimizer, (x, labels), fn.softmax_cross_entropy, 2, verbose=False)
    again, model_again, stopped = COPIES[how]((result, model, fn.Decision(True, result)))
    assert isinstance(again, fn.Fit)
    assert again.history == result.history
    assert stopped.result.history == result.history
    np.testing.assert_array_equal(fn.predict(model_again, again.params, x), fn.predict(model, result.params, x))
    assert str(COPIES[how](fn.summary(model, params, (3,)))) == str(fn.summary(model, params, (3,)))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.array([1.0, -2.0]), "np.array([1.0, -2.0])"),
        (np.array([[True]]), "np.array([[True]])"),
        (np.array(3), "np.array(3)"),
        (np.array([0.5, np.inf], np.float32), "np.array([0.5, float('inf')], 'float32')"),
        (np.float32("nan"), "np.float32('nan')"),
        (np.dtype("int8"), "np.dtype('int8')"),
        (np.float32, "np.float32"),
        (np.tanh, "np.tanh"),
        (np.maximum, "np.maximum"),
        (np.concatenate, "np.concatenate"),
        (Path("a/b"), "'a/b'"),
        (fn.metrics.accuracy, "metrics.accuracy"),
        (fn.relu, "relu"),
        ([fn.initializers.ones], "[initializers.ones]"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_an_argument_is_spelled_so_that_it_can_be_evaluated(value: Any, text: str) -> None:
    assert spelled(value) == text
    assert spelled(eval(text, dict(NAMES))) == text


def test_a_large_or_odd_array_is_not_printed() -> None:
    assert spelled(np.zeros((300, 2), np.float32)) == "<float32 array of shape (300, 2)>"
    assert spelled(np.zeros((0, 3))) == "<float64 array of shape (0, 3)>"
    assert spelled(np.array(["2020-01-01"], "datetime64[D]")) == "<datetime64[D] array of shape (1,)>"


@fn.layer
def net(units: int, head: Any) -> Any:
    """A user's constructor that puts layers together."""
    return fn.serial(fn.dense(units), fn.relu, fn.named("head", head))


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (net(3, fn.dense(2)), "serial(dense(3), relu, named('head', dense(7)))"),
        (fn.named("all", net(3, fn.dense(2))), "named('all', serial(dense(3), relu, named('head', dense(7))))"),
        (fn.frozen(net(3, fn.dense(2))), "frozen(serial(dense(3), relu, named('head', dense(7))))"),
        (fn.graph({"head": (fn.dense(2), "input")}, "head"), "graph({'head': (dense(7), 'input')}, 'head')"),
        (fn.branch(head=fn.dense(2), other=fn.relu), "branch(head=dense(7), other=relu)"),
    ],
)
def test_a_model_with_another_head_prints_it(model: fn.Layer, text: str) -> None:
    again = fn.rebuild(model, lambda path, layer: fn.dense(7) if path.endswith("head") else layer)
    assert repr(again) == text
    assert repr(eval(text, dict(NAMES))) == text


@pytest.mark.parametrize(
    ("thing", "text"),
    [
        (replace(fn.adam(0.1), init=lambda params: {}), "<adam(0.1) with another init>"),
        (replace(fn.adam(0.1), update=lambda g, s, p: (g, s)), "<adam(0.1) with another update>"),
        (replace(fn.adam(0.1), kind="mine"), "adam(0.1)"),
        (replace(fn.dense(3), init=lambda shape, rng: {}), "<a dense with another init>"),
        (replace(fn.dense(3), apply=lambda params, x: None), "<a dense with another apply>"),
        (replace(fn.batch_norm(), measure=lambda params, x: params), "<a batch_norm with another measure>"),
        (fn.named("bend", replace(fn.relu, init=lambda shape, rng: {})), "named('bend', <a relu with another init>)"),
        (replace(fn.serial(fn.relu), children={"relu_0": fn.tanh}), "<a serial with another children>"),
        (fn.serial(replace(fn.dense(3), init=lambda shape, rng: {})), "serial(<a dense with another init>)"),
        (
            replace(fn.callbacks.early_stopping("loss", 2), end=print),
            "<callbacks.early_stopping('loss', 2) with another end>",
        ),
        (fn.chain(replace(fn.sgd(0.1), init=lambda params: {})), "chain(<sgd(0.1) with another init>)"),
    ],
)
def test_what_was_replaced_is_not_printed_as_the_original(thing: Any, text: str) -> None:
    assert repr(thing) == text
    if "<" in text:
        for copied in (pickle.dumps, copy.deepcopy):
            with pytest.raises((TypeError, ValueError), match="recorded call"):
                copied(thing)


def test_a_part_of_a_frozen_layer_is_frozen() -> None:
    inner = fn.frozen(fn.serial(fn.dense(3), fn.named("drop", fn.dropout(0.5)), fn.dense(2)))
    model = fn.serial(fn.named("encoder", inner), fn.dense(1))
    params = model.init((4,), 0)
    assert (
        repr(fn.part(inner, params["encoder"], slice(2))[0]) == "frozen(serial(dense(3), named('drop', dropout(0.5))))"
    )
    assert repr(fn.part(model, params, "encoder/dense_1")[0]) == "frozen(dense(2))"
    dense, own = fn.part(model, params, "encoder/dense_0")
    y, vjp_fn = dense.apply(own, np.ones((2, 4), np.float32), 0)
    assert vjp_fn(np.ones_like(y))[0] == {"w": None, "b": None}
    drop, _ = fn.part(model, params, "encoder/drop")
    np.testing.assert_array_equal(drop.apply({}, np.ones((9, 4)), 0)[0], 1)
