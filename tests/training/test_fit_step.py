"""The step in ``fit``: it writes into arrays of its own only, after a look at the gradients, and to the end."""

import signal
import threading
from typing import Any

import numpy as np
import pytest
from test_fit import MODEL, NORMED, PARAMS, X, fit, same_bits, timeless

import funcnn as fn
from funcnn.aliases import Array


def test_what_a_callback_was_given_stays_what_it_was() -> None:
    seen: list[tuple[fn.Fit, Any]] = []

    def keep(record: Any, result: fn.Fit) -> None:
        both = {"params": result.params, "opt_state": result.opt_state}
        seen.append((result, fn.tree.map(np.copy, both)))

    for epochs in (1, 3):
        result = fit(NORMED, NORMED.init((4,), 0), fn.adam(1e-2), epochs=epochs, callbacks=[keep])
        assert same_bits(seen[-1][0].params, result.params)
    for result, copy in seen:
        assert same_bits({"params": result.params, "opt_state": result.opt_state}, copy)
    # Nor do two of them share an array, be it one without a gradient.
    leaves = [leaf for result, _ in seen for leaf in fn.tree.leaves(result.params | {"opt": result.opt_state})]
    owners = {id(leaf) for leaf in leaves}
    assert len(owners) == len(leaves)


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize(
    "optimizer",
    [
        fn.sgd(0.1),
        fn.sgd(0.1, 0.9),
        fn.chain(fn.clip_by_global_norm(0.5), fn.adamw(1e-2)),
        fn.partition(
            {"dense_0/*": fn.rmsprop(1e-2), "*": fn.chain(fn.masked(fn.add_momentum(0.5), "*/w"), fn.sgd(0.1))}
        ),
    ],
)
def test_callbacks_that_keep_parameters_keep_those_of_a_run_that_never_donates(
    optimizer: fn.Optimizer, count: int
) -> None:
    def run(pair: Any) -> tuple[list[Any], fn.Fit]:
        kept: list[Any] = []
        best = fn.callbacks.early_stopping("train_loss", patience=9)
        watch = [lambda record, result: kept.append({"p": result.params, "s": result.opt_state}), best]
        return kept, fit(MODEL, PARAMS, pair, epochs=4, callbacks=watch)

    assert optimizer.donates
    with fn.use_threads(count):
        kept, end = run(optimizer)
        expected, expected_end = run(
            (optimizer.init, lambda grads, state, params: optimizer.update(grads, state, params))
        )
    assert len(kept) == len(expected)
    assert all(same_bits(one, other) for one, other in zip(kept, expected, strict=True))
    assert same_bits(end.params, expected_end.params)


def test_later_steps_write_into_the_arrays_of_the_first() -> None:
    inside: list[Any] = []

    def apply(params: Any, x: Array, rng: Any = None) -> Any:
        if rng is not None:
            inside.append(params["dense_0"]["w"])
        return MODEL.apply(params, x, rng)

    fit((MODEL.init, apply), PARAMS, fn.adam(1e-2), epochs=2)
    # Four steps in an epoch: the parameters passed in, then those of the first step.
    assert [array is PARAMS["dense_0"]["w"] for array in inside] == [True] + [False] * 7
    assert [inside[step] is inside[step - 1] for step in range(1, 8)] == [False, True, True, True, False, True, True]


@pytest.mark.parametrize("place", [1, 2])
def test_an_interrupt_waits_for_the_end_of_the_step(place: int) -> None:
    calls: list[int] = []

    def interrupting(number: int) -> fn.Optimizer:
        def rule(grads: Any, slots: Any, params: Any, hyper: Any) -> Any:
            calls.append(number)
            if len(calls) == 4 + place:
                signal.raise_signal(signal.SIGINT)
            return grads, slots

        return fn.transform("interrupting", rule)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        fit(MODEL, PARAMS, fn.chain(interrupting(1), fn.add_momentum(0.9), interrupting(2), fn.sgd(0.1)))
    assert calls == [1, 2] * 3
    assert signal.getsignal(signal.SIGINT) is before


def test_an_interrupt_handler_of_ones_own_stays_in_force() -> None:
    heard: list[int] = []

    def apply(params: Any, x: Array, rng: Any = None) -> Any:
        return MODEL.apply(params, x, rng)

    def rule(grads: Any, slots: Any, params: Any, hyper: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        heard.append(0)
        return grads, slots

    before = signal.signal(signal.SIGINT, lambda *_: heard.append(1))
    try:
        fit((MODEL.init, apply), PARAMS, fn.chain(fn.transform("raises", rule), fn.sgd(0.1)), epochs=1)
    finally:
        signal.signal(signal.SIGINT, before)
    assert heard == [1, 0] * 4


def test_training_in_a_thread() -> None:
    ends: list[fn.Fit] = []
    thread = threading.Thread(target=lambda: ends.append(fit()))
    thread.start()
    thread.join()
    assert same_bits(ends[0].params, fit().params)


def gradient_that_is(value: float, step: int) -> Any:
    """A model whose loss is finite and whose gradient at ``dense_1/w`` is ``value`` in one step, counted from 0."""
    steps = iter(range(10**6))

    def apply(params: Any, x: Array, rng: Any = None) -> Any:
        y, vjp = MODEL.apply(params, x, rng)

        def vjp_fn(dy: Array, input_grad: bool = True) -> Any:
            grads, dx = vjp(dy, input_grad=input_grad)
            if next(steps) == step:
                w = grads["dense_1"]["w"].copy()
                w[1, 2] = value
                grads = grads | {"dense_1": grads["dense_1"] | {"w": w}}
            return grads, dx

        return y, vjp_fn

    return MODEL.init, apply


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("step", [0, 1, 5, 6])
@pytest.mark.parametrize("pair", [False, True])
def test_a_gradient_that_is_not_finite_stops_the_run_before_anything_is_written(
    value: float, step: int, pair: bool
) -> None:
    optimizer = fn.adam(1e-2)
    where = rf"the gradient of dense_1/w is not finite in step {step} of epoch {step // 4 + 1}; try a smaller"
    with pytest.raises(fn.NonFiniteLossError, match=where) as caught:
        fit(gradient_that_is(value, step), PARAMS, tuple(optimizer) if pair else optimizer, epochs=3)
    epoch = step // 4
    expected = fit(MODEL, PARAMS, optimizer, epochs=epoch)
    assert same_bits(caught.value.result.params, expected.params)
    assert same_bits(caught.value.result.opt_state, expected.opt_state)
    assert timeless(caught.value.result.history) == timeless(expected.history)


def test_a_large_gradient_is_finite_though_its_sum_is_not() -> None:
    model: Any = (
        lambda shape, rng: {"w": np.zeros(2, np.float32)},
        lambda params, x: (x, lambda dy: ({"w": np.full(2, 3e38, np.float32)}, dy)),
    )
    result = fit(model, {"w": np.zeros(2, np.float32)}, fn.sgd(1e-38), (X, X), fn.mean_squared_error, epochs=1)
    np.testing.assert_allclose(result.params["w"], -12, rtol=1e-5)
