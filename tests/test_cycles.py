"""No reference cycle holds an array: with the garbage collector off, every public call frees what it dropped."""

import gc
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import funcnn as fn

MODEL = fn.serial(
    fn.conv2d(4, 3), fn.batch_norm(), fn.relu,
    fn.residual(fn.conv2d(4, 3, padding="same"), fn.batch_norm()),
    fn.named("head", fn.serial(fn.global_avg_pool2d, fn.dropout(0.2), fn.dense(10))),
)  # fmt: skip
PARAMS = MODEL.init((28, 28, 1), 0)
READY = fn.calibrate(MODEL, PARAMS, np.random.default_rng(0).random((20, 28, 28, 1), np.float32))
LABELS = np.arange(80) % 10


@pytest.fixture(autouse=True)
def _no_garbage_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def step(x: Any) -> None:
    y, vjp_fn = MODEL.apply(PARAMS, x, rng=0)
    vjp_fn(y)
    vjp_fn(y, input_grad=False)


def fit(x: Any) -> None:
    fn.fit(MODEL, PARAMS, fn.adam(1e-3), (x, LABELS[: len(x)]), fn.softmax_cross_entropy, 1, verbose=False)


def raising(x: Any) -> None:
    head = {"dense_0": {"w": np.ones((3, 10), np.float32), "b": np.ones(10, np.float32)}}
    for params in ({"other": {}}, PARAMS | {"head": head}):
        try:
            MODEL.apply(params, x, rng=0)
        except ValueError:
            continue
        raise AssertionError("these are not the parameters of this model")


CALLS: dict[str, Callable[[Any], Any]] = {
    "step": step,
    "value_and_grad": lambda x: fn.value_and_grad(MODEL, fn.softmax_cross_entropy)(PARAMS, x, LABELS[: len(x)], rng=0),
    "predict": lambda x: fn.predict(MODEL, READY, x),
    "evaluate": lambda x: fn.evaluate(MODEL, READY, (x, LABELS[: len(x)]), fn.softmax_cross_entropy),
    "calibrate": lambda x: fn.calibrate(MODEL, PARAMS, x),
    "trace": lambda x: fn.trace(MODEL, READY, x, rng=0),
    "outputs": lambda x: fn.outputs(MODEL, READY, x),
    "saliency": lambda x: fn.saliency(MODEL, READY, x, 1),
    "grad_cam": lambda x: fn.grad_cam(MODEL, READY, x, 1, "relu_0"),
    "batches": lambda x: list(fn.batches((x, LABELS[: len(x)]), 7, rng=0)),
    "split": lambda x: fn.split((x, LABELS[: len(x)]), 0.2, rng=0),
    "remat": lambda x: fn.remat(MODEL).apply(PARAMS, x, rng=0)[1](np.ones((len(x), 10), np.float32)),
    "fit": fit,
    "raising": raising,
}


@pytest.mark.parametrize("examples", [2, 80], ids=["whole", "cut"])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_a_call_frees_its_input(call: Callable[[Any], Any], examples: int) -> None:
    x = np.random.default_rng(1).random((examples, 28, 28, 1), np.float32)
    alive = weakref.ref(x)
    call(x)
    del x
    deadline = time.monotonic() + 5
    while alive() is not None and time.monotonic() < deadline:
        time.sleep(0.001)  # a worker thread returns from its last task a moment after the call
    assert alive() is None


def test_a_call_frees_the_parameters_that_it_was_given() -> None:
    params = fn.tree.map(np.copy, PARAMS)
    alive = [weakref.ref(leaf) for leaf in fn.tree.leaves(params)]
    x = np.ones((2, 28, 28, 1), np.float32)
    _, grads = fn.value_and_grad(MODEL, fn.softmax_cross_entropy)(params, x, LABELS[:2], rng=0)
    optimizer = fn.chain(fn.clip_by_global_norm(1.0), fn.adamw(fn.cosine_decay(1e-3, steps=5)))
    updates, _ = optimizer.update(grads, optimizer.init(params), params)
    moved = fn.apply_updates(params, updates)
    del params
    assert [ref() for ref in alive] == [None] * len(alive)
    assert len(fn.tree.leaves(moved)) == len(alive)
