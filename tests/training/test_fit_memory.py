"""What ``fit`` does beside training, evaluation and calibration, takes about the memory of a step and no more."""

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import funcnn as fn

X = np.zeros((300, 32, 32, 3), np.float32)
LABELS = np.zeros(300, int)


def peak(work: Callable[[], Any]) -> int:
    """The most bytes that are allocated at a time, with nothing in the pool before."""
    fn.release_memory()
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def convolutions(*norm: Any) -> Any:
    return fn.serial(
        fn.conv2d(16, 3, padding="same"), *norm, fn.relu, fn.conv2d(16, 3, padding="same", stride=2), *norm, fn.relu,
        fn.global_avg_pool2d, fn.dense(2),
    )  # fmt: skip


def block(*norm: Any) -> Any:
    return fn.serial(
        fn.conv2d(16, 3, padding="same"),
        fn.residual(*norm, fn.conv2d(16, 3, padding="same"), fn.relu), fn.global_avg_pool2d, fn.dense(2),
    )  # fmt: skip


@pytest.mark.parametrize("model", [make(*norm) for make in (convolutions, block) for norm in ((), (fn.batch_norm(),))])
def test_a_run_takes_about_the_memory_of_a_step(model: Any) -> None:
    params = model.init((32, 32, 3), 0)
    step = fn.value_and_grad(model, fn.softmax_cross_entropy)
    a_step = peak(lambda: step(params, X[:4], LABELS[:4], rng=0))
    run = peak(
        lambda: fn.fit(model, params, fn.sgd(0), (X, LABELS), fn.softmax_cross_entropy, 0, batch_size=4, verbose=False)
    )
    # Nothing of a size that follows from 300 examples: one activation of them would be 19.7 MB.
    assert run < 2 * a_step


def test_calibrating_in_batches_takes_the_memory_of_a_batch() -> None:
    model = convolutions(fn.batch_norm())
    params = model.init((32, 32, 3), 0)
    whole = peak(lambda: fn.calibrate(model, params, X))
    batches = peak(lambda: fn.calibrate(model, params, X, batch_size=4))
    assert 10 * batches < whole


def test_evaluation_and_calibration_take_the_batches_of_training() -> None:
    sizes: set[int] = set()

    @fn.layer(per_example=True)
    def watching() -> fn.Layer:
        def apply(params: Any, x: Any, rng: Any = None) -> Any:
            sizes.add(len(x))
            return x, lambda dy: ({}, dy)

        return fn.Layer(lambda shape, rng: {}, apply)

    model = fn.serial(watching(), fn.batch_norm(), fn.dense(2))
    x = np.random.default_rng(0).standard_normal((50, 3)).astype(np.float32)
    data = x, np.zeros(50, int)
    fn.fit(
        model, model.init((3,), 0), fn.sgd(0.1), data, fn.softmax_cross_entropy, 1, batch_size=8, verbose=False,
        validation=(x[:10], data[1][:10]),
    )  # fmt: skip
    assert sizes == {1, 2, 8}  # one example when the model is made, 50 and 10 in batches of eight
