"""Averages of the parameters by hand, and wrappers that leave steps out."""

from typing import Any

import numpy as np
import pytest
from optimizer_table import bits

import funcnn as fn
from funcnn import tree
from funcnn.optim import (
    accumulate,
    adam,
    adaptive_grad_clip,
    add_noise,
    asgd,
    averaged,
    chain,
    current_rate,
    current_step,
    ema,
    lbfgs,
    lookahead,
    masked,
    partition,
    reduce_on_plateau,
    report_metric,
    sam,
    schedule_free,
    sgd,
    skip_non_finite,
    swa,
)


def path_of(optimizer: fn.Optimizer, steps: int = 4) -> list[tuple[float, float]]:
    """The parameter, which starts at 0 with the gradient -1, and its average after each step."""
    params: Any = {"w": np.zeros(1)}
    state, found = optimizer.init(params), []
    for _ in range(steps):
        params, state = optimizer.step({"w": -np.ones(1)}, state, params, donate=True)
        found.append((params["w"][0], averaged(state, params)["w"][0]))
    return found


def test_what_is_averaged() -> None:
    assert path_of(ema(sgd(1.0), 0.5)) == [(1, 0.5), (2, 1.25), (3, 2.125), (4, 3.0625)]
    # The weights are 1, 2 / 3, 4 / 7 of the newest.
    assert path_of(ema(sgd(1.0), 0.5, debias=True), 2) == [(1, 1), (2, pytest.approx(5 / 3))]
    assert path_of(swa(sgd(1.0), start=1)) == [(1, 1), (2, 2), (3, 2.5), (4, 3)]
    assert path_of(swa(sgd(1.0), start=0, every=2)) == [(1, 1), (2, 1), (3, 2), (4, 2)]
    assert path_of(asgd(1.0, decay=0.0, start=1)) == [(1, 1), (2, 2), (3, 3), (4, 3.5)]
    # Slow: 0 until the second step, then half way to 2, then half way from 1 to 3.
    assert path_of(lookahead(sgd(1.0), every=2)) == [(1, 0), (1, 1), (2, 1), (2, 2)]
    # z = 1, 2, 3; x is their mean, and p is half way.
    assert path_of(schedule_free(sgd(1.0), b1=0.5), 3) == [(1, 1), (1.75, 1.5), (2.5, 2)]


def test_what_is_not_averaged_is_that_of_the_last_step() -> None:
    params: Any = {"n": np.arange(2), "stem": {"w": np.zeros(1)}, "head": {"w": np.zeros(1)}}
    optimizer = chain(sgd(1.0), masked(ema(sgd(0.0), 0.5), "head/*"))
    params, state = optimizer.step(
        tree.map(lambda p: None if p.dtype == int else p - 1, params), optimizer.init(params), params
    )
    found = averaged(state, params)
    assert found["n"] is params["n"]
    assert found["stem"]["w"] is params["stem"]["w"]
    assert found["head"]["w"] is not state["ema"]["average"]["head"]["w"]


def test_several_averages() -> None:
    # Of one parameter the outer one: the ema of 1, 1 and not the slow parameter, which is 0, 1.
    assert path_of(ema(lookahead(sgd(1.0), every=2), 0.5), 2) == [(1, 0.5), (1, 0.75)]
    assert path_of(swa(ema(sgd(1.0), 0.5), start=0), 2) == [(1, 1), (2, 1.5)]
    # Of two groups that of each.
    params: Any = {"stem": np.zeros(1), "head": np.zeros(1)}
    optimizer = partition({"stem": ema(sgd(1.0), 0.5), "*": accumulate(ema(sgd(2.0), 0.5), 1)})
    params, state = optimizer.step(tree.map(lambda p: p - 1, params), optimizer.init(params), params)
    assert averaged(state, params) == {"stem": 0.5, "head": 1.0}


def test_accumulated_gradients_are_those_of_the_big_batch() -> None:
    rng = np.random.default_rng(0)
    model = fn.serial(fn.dense(5), fn.tanh, fn.dense(2))
    params = model.init((3,), rng=0)
    params = tree.cast(params, np.float64)
    f = fn.value_and_grad(model, fn.mean_squared_error)
    x, y = rng.normal(size=(24, 3)), rng.normal(size=(24, 2))
    small, large = accumulate(adam(0.01), 4), adam(0.01)
    one, one_state = params, small.init(params)
    two, two_state = params, large.init(params)
    for _ in range(3):
        for part in range(4):
            batch = slice(6 * part, 6 * part + 6)
            one, one_state = small.step(f(one, x[batch], y[batch])[1], one_state, one)
        two, two_state = large.step(f(two, x, y)[1], two_state, two)
    for a, b in zip(tree.leaves(one), tree.leaves(two), strict=True):
        # Means of means, in another order; Adam divides them by their size.
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)
    assert current_step(one_state) == 12
    assert current_rate(one_state) == 0.01


def test_steps_that_are_not_finite_are_left_out_and_counted() -> None:
    optimizer = skip_non_finite(adam(0.1), limit=2)
    params: Any = {"a": np.ones(2), "b": np.ones(1)}
    good, bad = params, {"a": np.array([1.0, np.inf]), "b": np.ones(1)}
    params, state = optimizer.step(good, optimizer.init(params), params)
    for _ in range(2):
        before = bits(params), bits(state["optimizer"])
        params, state = optimizer.step(bad, state, params)
        assert (bits(params), bits(state["optimizer"])) == before
    own = state["skip_non_finite"]
    assert (int(own["step"]), float(own["skipped"]), float(own["total"])) == (3, 2, 2)
    with pytest.raises(FloatingPointError, match=r"^skip_non_finite: the gradient of a is not finite, after 2 steps"):
        optimizer.step(bad, state, params)
    params, state = optimizer.step(good, state, params)
    assert float(state["skip_non_finite"]["skipped"]) == 0
    assert float(state["skip_non_finite"]["total"]) == 2


def test_the_noise_is_a_function_of_key_step_and_path() -> None:
    zero = {"a": np.zeros(20000), "b": np.zeros(20000)}
    noise = add_noise(0.04, rng=5, decay=1.0)
    one, state = noise.update(zero, noise.init(zero), zero)
    two, _ = noise.update(zero, state, zero)
    again, _ = noise.update(zero, noise.init(zero), zero)
    assert bits(one) == bits(again)
    # Five standard errors of a standard deviation from 20000 elements: 5 / √40000.
    assert one["a"].std() == pytest.approx(0.2, rel=0.025)
    assert two["a"].std() == pytest.approx(0.2 / np.sqrt(2), rel=0.025)
    for other in (one["b"], two["a"], add_noise(0.04, rng=6).update(zero, noise.init(zero), zero)[0]["a"]):
        assert abs(np.corrcoef(one["a"], other)[0, 1]) < 0.05  # seven standard errors


def test_clipping_by_output() -> None:
    params = {"k": np.full((2, 2, 2), 0.5), "b": np.zeros(2)}  # each output has the norm 1
    grads = {"k": np.stack([np.full((2, 2), 0.01), np.full((2, 2), 2.0)], axis=-1), "b": np.array([3.0, 4.0])}
    clipped = adaptive_grad_clip(0.1).update(grads, {}, params)[0]
    np.testing.assert_allclose(clipped["k"][..., 0], 0.01)
    np.testing.assert_allclose(clipped["k"][..., 1], 0.05)
    np.testing.assert_allclose(clipped["b"], [0.6e-4, 0.8e-4])  # eps is 1e-3, and one norm for all


def test_sharpness_aware_gradients_train_with_an_explicit_step() -> None:
    model = fn.serial(fn.dense(8), fn.relu, fn.dropout(0.2), fn.dense(1))
    params, rng = model.init((2,), rng=0), np.random.default_rng(0)
    x = rng.normal(size=(64, 2)).astype(np.float32)
    y = x[:, :1] * x[:, 1:]
    plain = fn.value_and_grad(model, fn.mean_squared_error)
    f, optimizer = sam(plain, rho=0.05), adam(0.02)
    value, grads = f(params, x, y, (0, 0))
    at, first = plain(params, x, y, (0, 0))
    size = np.sqrt(sum(float((g**2).sum()) for g in tree.leaves(first)))
    second = plain(tree.map(lambda p, g: p + np.float32(0.05 / size) * g, params, first), x, y, (0, 0))[1]
    assert value == at
    for a, b in zip(tree.leaves(grads), tree.leaves(second), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)  # float32
    state = optimizer.init(params)
    for step in range(100):
        _, grads = f(params, x, y, (0, step))
        params, state = optimizer.step(grads, state, params)
    assert plain(params, x, y)[0] < 0.5 * at


def test_lbfgs_solves_least_squares_and_keeps_what_has_no_gradient() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 3)), rng.normal(size=(30, 2))
    model = fn.dense(2)
    params = tree.cast(model.init((3,), rng=0), np.float64)
    f = fn.value_and_grad(model, fn.mean_squared_error)
    found = lbfgs(lambda p: f(p, x, y), params, tolerance=1e-9)
    solution = np.linalg.lstsq(np.c_[x, np.ones(30)], y, rcond=None)[0]
    assert found.converged
    # The gradient is below 1e-9, and the curvature near 1.
    np.testing.assert_allclose(found.params["w"], solution[:3], atol=1e-7)
    fixed = lbfgs(lambda p: (f(p, x, y)[0], f(p, x, y)[1] | {"b": None}), params)
    assert fixed.params["b"] is params["b"]
    assert not np.allclose(fixed.params["w"], params["w"])


def test_fit_reports_a_metric_that_reduces_the_steps() -> None:
    model = fn.serial(fn.dense(3))
    x = np.random.default_rng(0).normal(size=(16, 2)).astype(np.float32)
    y = np.zeros(16, int)
    optimizer = chain(sgd(0.0), reduce_on_plateau(0.5, patience=1))
    result = fn.fit(
        model, model.init((2,), rng=0), optimizer, (x, y), fn.softmax_cross_entropy, epochs=6, validation_split=0.25,
        callbacks=[fn.callbacks.reduce_on_plateau("validation_loss")], verbose=False,
    )  # fmt: skip
    # Nothing improves: the reports after epochs 0 to 5 are read by the next step; every second one reduces.
    assert float(result.opt_state["reduce_on_plateau"]["scale"]) == 0.25
    assert float(result.opt_state["reduce_on_plateau"]["metric"]) == pytest.approx(
        result.history[-2]["validation_loss"]
    )
    with pytest.raises(ValueError, match="report_metric: expected the state of an optimizer with reduce_on_plateau"):
        fn.fit(
            model, model.init((2,), rng=0), sgd(0.0), (x, y), fn.softmax_cross_entropy, epochs=1, verbose=False,
            callbacks=[fn.callbacks.reduce_on_plateau("train_loss")],
        )  # fmt: skip


@pytest.mark.parametrize("best", [-5.0, -1e-9, 0.0, 3.0])
@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("relative", [True, False])
def test_a_metric_that_stays_does_not_improve_whatever_its_sign(best: float, mode: Any, relative: bool) -> None:
    params = grads = {"w": np.ones(1)}
    optimizer = reduce_on_plateau(0.5, patience=0, threshold=0.1, relative=relative, mode=mode)
    better = (-1 if mode == "min" else 1) * (abs(best) if relative else 1.0)
    state, found = optimizer.init(params), []
    # Less better than the threshold is not an improvement, more is one.
    for metric in (best, best + 0.09 * better, best + 0.11 * better, best, best):
        updates, state = optimizer.update(grads, report_metric(state, metric), params)
        found.append(float(updates["w"][0]))
    # Of 0, no fraction is an improvement.
    assert found == ([1, 0.5, 0.25, 0.125, 0.0625] if relative and not best else [1, 0.5, 0.5, 0.25, 0.125])


def test_an_infinite_metric_is_the_worst_or_the_best() -> None:
    params = grads = {"w": np.ones(1)}
    optimizer = reduce_on_plateau(0.5, patience=0)
    state, found = optimizer.init(params), []
    for metric in (np.inf, 5.0, -np.inf, -np.inf):
        updates, state = optimizer.update(grads, report_metric(state, metric), params)
        found.append(float(updates["w"][0]))
    assert found == [1, 1, 1, 0.5]


def test_reporting_leaves_the_state_as_it_was() -> None:
    state = chain(sgd(0.1, 0.9), reduce_on_plateau()).init({"w": np.ones(2)})
    before = bits(state)
    new = report_metric(state, float("nan"))
    assert bits(state) == before
    assert new["add_momentum"]["m"]["w"] is state["add_momentum"]["m"]["w"]
