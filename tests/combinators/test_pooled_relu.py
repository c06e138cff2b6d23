"""A relu before a max pooling is computed after it: same bits of values and gradients, and only where that holds."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import funcnn as fn
from funcnn.combinators.pooled_relu import relu_after_pooling
from funcnn.inspect.traverse import wrapped

POOL = fn.max_pool2d(2)


def as_written(model: fn.Layer) -> fn.Layer:
    """The model with each layer computed by itself."""
    return fn.rebuild(model, lambda path, layer: layer if layer.children else wrapped(layer, lambda run: run))


def runs(*layers: fn.Layer) -> list[str]:
    """What a chain of layers runs, as text; a pooling and a relu has another apply than the pooling."""
    names = [str(number) for number in range(len(layers))]
    children = dict(zip(names, layers, strict=True))
    wiring = tuple((name, (before,)) for name, before in zip(names, ["input", *names], strict=False))
    found = relu_after_pooling(children, wiring)
    return [repr(layer) + ("" if layer.apply is children[name].apply else "*") for name, layer in found.items()]


@pytest.mark.parametrize(
    "before",
    [
        (fn.conv2d(3, 3, activation=fn.relu),),
        (fn.conv2d(3, 3), fn.relu),
        (fn.conv2d(3, 3), fn.batch_norm(activation="relu")),
    ],
    ids=repr,
)
@pytest.mark.parametrize(
    "pool",
    [
        POOL,
        fn.max_pool2d(3, stride=2, padding="same", dilation=2),
        fn.adaptive_max_pool2d((4, 2)),
        fn.global_max_pool2d,
    ],
    ids=repr,
)
@given(special=st.sampled_from([None, 0.0, np.nan, np.inf, -np.inf]), seed=st.integers(0, 100), batch=st.integers(0, 3))
def test_bits_are_those_of_the_layers_one_by_one(
    before: tuple[fn.Layer, ...], pool: fn.Layer, special: float | None, seed: int, batch: int
) -> None:
    if batch == 0 and len(before) == 2 and before[1].kind == "batch_norm":
        return  # no batch, no statistics
    model = fn.serial(*before, pool, fn.flatten, fn.dense(2))
    random = np.random.default_rng(seed)
    x = random.integers(-2, 3, (batch, 8, 9, 2)).astype(np.float32)  # whole numbers, so that some windows have ties
    if special is not None:
        x[random.random(x.shape) < 0.05] = special
    params = fn.tree.map(lambda leaf: random.integers(-1, 2, leaf.shape).astype(np.float32), model.init((8, 9, 2), 0))
    found: list[Any] = []
    with np.errstate(all="ignore"):
        for one in (model, as_written(model)):
            y, vjp_fn = one.apply(params, x, 0)
            found.append((y, *fn.tree.flatten(vjp_fn(np.ones_like(y))[0]).values(), vjp_fn(np.ones_like(y))[1]))
    for ours, expected in zip(*found, strict=True):
        np.testing.assert_array_equal(ours, expected)


def test_what_is_run() -> None:
    assert runs(fn.conv2d(3, 3, activation="relu"), POOL) == ["conv2d(3, 3)*", "max_pool2d*"]
    assert runs(fn.conv2d(3, 3), fn.relu, POOL) == ["conv2d(3, 3)", "identity*", "max_pool2d*"]
    assert runs(fn.relu, fn.max_pool1d(2)) == ["identity*", "max_pool1d*"]
    assert runs(fn.relu, fn.adaptive_max_pool3d(2)) == ["identity*", "adaptive_max_pool3d*"]
    assert runs(fn.relu, fn.global_max_pool2d) == ["identity*", "<a global_max_pool2d with another apply>*"]


@pytest.mark.parametrize(
    "layers",
    [
        (fn.conv2d(3, 3, activation="tanh"), POOL),
        (fn.conv2d(3, 3, activation=fn.leaky_relu(0.1)), POOL),
        (fn.relu, fn.min_pool2d(2)),
        (fn.relu, fn.avg_pool2d(2)),
        (fn.relu, fn.lp_pool2d(2, 2)),
        (fn.relu, fn.adaptive_avg_pool2d(2)),
        (fn.relu, fn.global_avg_pool2d),
        (POOL, fn.relu),
        (fn.relu, fn.dropout(0.1), POOL),
        (fn.frozen(fn.conv2d(3, 3, activation="relu")), POOL),
        (replace(fn.conv2d(3, 3, activation="relu"), apply=fn.conv2d(3, 3).apply), POOL),
        (fn.relu, replace(POOL, apply=fn.min_pool2d(2).apply)),
    ],
    ids=repr,
)
def test_other_layers_run_as_they_are(layers: tuple[fn.Layer, ...]) -> None:
    assert not any(run.endswith("*") for run in runs(*layers))


def test_a_constructor_of_the_users_own_is_run_as_it_is() -> None:
    @fn.layer
    def doubled(activation: str = "relu") -> fn.Layer:
        return fn.serial(fn.conv2d(2, 3, activation=activation), fn.relu)

    assert not any(run.endswith("*") for run in runs(doubled(activation="relu"), POOL))


def test_a_relu_that_is_used_twice_stays_in_place() -> None:
    nodes: dict[str, Any] = {
        "r": (fn.relu, "input"),
        "p": (POOL, "r"),
        "q": (fn.avg_pool2d(2), "r"),
        "y": (fn.merge("add", "p", "q"), ("p", "q")),
    }
    x = np.array([[-1.0, -2], [-3, 4]]).reshape(1, 2, 2, 1)
    y, vjp_fn = fn.graph(nodes, "y").apply({}, x)
    assert y.item() == 4 + 1  # the mean of (0, 0, 0, 4)
    np.testing.assert_array_equal(vjp_fn(np.ones_like(y))[1].ravel(), [0, 0, 0, 1.25])


def test_what_is_seen_inside_is_what_was_written() -> None:
    model = fn.serial(fn.relu, POOL)
    x = np.array([[-1.0, -2], [-3, -4]]).reshape(1, 2, 2, 1)
    seen = fn.outputs(model, {}, x)
    assert seen["relu_0"].ravel().tolist() == [0, 0, 0, 0]
    assert seen["max_pool2d_0"].item() == seen[""].item() == 0
