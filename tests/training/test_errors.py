"""A run that ends by an error or by Ctrl-C is not lost: the error has its result, and what was to be saved is saved."""

import copy
import multiprocessing
import pickle
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_fit import DATA, LOSS, MODEL, NORMED, X, same_bits, timeless
from test_fit import PARAMS as PLAIN
from test_resume import PARAMS, assert_same, fit, interrupted, loss_that_raises

import funcnn as fn
from funcnn.aliases import Array
from funcnn.training import interrupts, loop, run_file

ERRORS = [KeyboardInterrupt, SystemExit, MemoryError, OSError, RuntimeError]


class Own(Exception):
    """An error of a user's with slots and a property of its own."""

    @property
    def result(self) -> str:
        return "own"


# --- result -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("call", [3, 5, 8])  # in a step, in an evaluation, in a step of a later epoch
def test_an_error_carries_the_result_of_the_last_step(tmp_path: Path, error: type[BaseException], call: int) -> None:
    caught = interrupted(tmp_path / "run.npz", call, error)
    steps = {3: 2, 5: 4, 8: 6}[call]
    result = caught.result  # type: ignore[attr-defined]
    assert fn.current_step(result.opt_state) == steps
    assert [record["epoch"] for record in result.history] == ([0, 1] if call == 8 else [0])
    note = f"after step {steps} of 24 is in this error's .result"
    assert [note in text for text in caught.__notes__ if text.startswith("fit: ")] == [True]
    # As evaluated: batch norm is calibrated for these parameters.
    expected = fn.calibrate(NORMED, result.params, X)
    np.testing.assert_allclose(
        result.params["batch_norm_0"]["mean"], expected["batch_norm_0"]["mean"], rtol=1e-5, atol=1e-6
    )
    assert_same(fit(resume=tmp_path / "run.npz"), fit())


def test_an_error_in_a_metric_or_a_callback_is_named_and_loses_nothing(tmp_path: Path) -> None:
    def fails(*args: Any) -> Any:
        if fails.calls == 0:  # type: ignore[attr-defined]
            raise ZeroDivisionError("division")
        fails.calls -= 1  # type: ignore[attr-defined]
        return 0.5

    def follows(record: Any, result: Any) -> None:
        fails(record, result)

    path = tmp_path / "run.npz"
    for options, note in (
        ({"metrics": {"broken": fails}}, "in the metric 'broken'"),
        ({"callbacks": [follows]}, "in the callback <function"),
        ({"callbacks": [(lambda: 0, lambda state, *given: (0, follows(*given)))]}, "in the callback the pair of"),
    ):
        fails.calls = 2  # type: ignore[attr-defined]  # in the third evaluation
        with pytest.raises(ZeroDivisionError) as caught:
            fit(checkpoint=path, every=5, **options)
        assert any(text.startswith(note) for text in caught.value.__notes__)
        assert fn.current_step(caught.value.result.opt_state) == 8  # type: ignore[attr-defined]
        fails.calls = 99  # type: ignore[attr-defined]
        assert_same(fit(resume=path, **options), fit(**options))


def test_a_callback_with_a_state_follows_an_evaluation_again_that_another_interrupted(tmp_path: Path) -> None:
    def count(state: int, record: Any, result: Any) -> Any:
        return state + 1, bool(state + 1 == 5)

    def fails(record: Any, result: Any) -> None:
        if record["epoch"] == 2:
            raise RuntimeError

    path, pair = tmp_path / "run.npz", (lambda: 0, count)
    with pytest.raises(RuntimeError):
        fit(checkpoint=path, callbacks=[pair, fails])
    assert_same(fit(resume=path, callbacks=[pair]), fit(callbacks=[pair]))
    assert len(fit(resume=path, callbacks=[pair]).history) == 5


def test_a_callback_that_raises_has_been_given_what_the_error_carries() -> None:
    given: list[fn.Fit] = []

    def fails(record: Any, result: fn.Fit) -> None:
        given.append(result)
        if record["epoch"] == 2:
            raise RuntimeError

    with pytest.raises(RuntimeError) as caught:
        fit(callbacks=[fails])
    result = caught.value.result  # type: ignore[attr-defined]
    assert len(result.history) == 3
    assert result.params is given[-1].params


def test_an_exception_that_cannot_carry_a_result_is_raised_all_the_same() -> None:
    with pytest.raises(Own) as caught:
        fit(callbacks=[lambda record, result: (_ for _ in ()).throw(Own())])
    assert "fit: this exception cannot carry a .result" in caught.value.__notes__


def test_a_full_disk_leaves_the_last_file_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, save, calls = tmp_path / "run.npz", run_file.save, list[int]()

    def full(*args: Any) -> None:
        calls.append(0)
        if len(calls) > 2:
            raise OSError(28, "No space left on device", str(path))
        save(*args)

    monkeypatch.setattr(run_file, "save", full)
    with pytest.raises(OSError, match="No space left") as caught:
        fit(checkpoint=path)
    assert fn.current_step(caught.value.result.opt_state) == 8  # type: ignore[attr-defined]
    assert any(f"the run is not saved in {path}: OSError" in note for note in caught.value.__notes__)
    monkeypatch.undo()
    assert_same(fit(resume=path), fit())


def test_another_full_disk_does_not_keep_the_run_from_being_saved(tmp_path: Path) -> None:
    def log(record: Any, result: Any) -> None:
        if record["epoch"] == 3:
            raise OSError(28, "No space left on device")

    path = tmp_path / "run.npz"
    with pytest.raises(OSError, match="No space left"):
        fit(checkpoint=path, every=10, callbacks=[log])
    assert fn.load(path)["opt_state"]["scale_by_rate"]["step"] == 12
    assert_same(fit(resume=path), fit())


def test_checkpoints_writes_the_last_evaluation_when_training_is_interrupted(tmp_path: Path) -> None:
    interrupted(tmp_path / "run.npz", 13, callbacks=[fn.callbacks.checkpoints(tmp_path, every=10)])
    assert fn.load(tmp_path / "last.npz")["step"] == 8


def test_a_callback_that_cannot_end_leaves_a_note() -> None:
    def end(state: Any) -> None:
        raise OSError("no space")

    pair = fn.Callback(lambda: 0, lambda state, record, result: (state, record["epoch"] == 1 / 0), end)
    with pytest.raises(ZeroDivisionError) as caught:
        fit(callbacks=[pair])
    assert "fit: a callback could not end: OSError: no space" in caught.value.__notes__
    with pytest.raises(OSError, match="no space"):
        fit(callbacks=[fn.Callback(lambda: 0, lambda state, record, result: (state, None), end)], epochs=1)


def test_the_end_of_each_callback_is_called_once_though_one_raises() -> None:
    ends: list[int] = []

    def ending(number: int) -> fn.Callback:
        def end(state: Any) -> None:
            ends.append(number)
            if number == 1:
                raise OSError("no space")

        return fn.Callback(lambda: 0, lambda state, record, result: (state, None), end)

    with pytest.raises(OSError, match="no space"):
        fit(callbacks=[ending(0), ending(1), ending(2)], epochs=1)
    assert ends == [0, 1, 2]


def test_the_end_of_a_callback_is_called_once_with_its_last_state() -> None:
    ends: list[Any] = []
    fit(callbacks=[fn.Callback(lambda: 0, lambda state, record, result: (state + 1, None), ends.append)], epochs=3)
    assert ends == [4]


# --- interrupts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGUSR1])
@pytest.mark.parametrize("place", [1, 2, 3, 7, 8])
def test_an_interrupt_by_any_signal_waits_for_the_end_of_the_step(tmp_path: Path, number: Any, place: int) -> None:
    calls: list[int] = []

    def rule(grads: Any, slots: Any, params: Any, hyper: Any) -> Any:
        calls.append(0)
        if len(calls) == place:
            signal.raise_signal(number)
        return grads, slots

    def optimizer() -> Any:
        return fn.chain(fn.add_momentum(0.9), fn.transform("interrupting", rule), fn.sgd(0.1))

    before = signal.signal(number, signal.default_int_handler)
    path = tmp_path / "run.npz"
    try:
        with pytest.raises(KeyboardInterrupt) as caught:
            fit(optimizer=optimizer(), checkpoint=path)
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, before)
    assert len(calls) == place
    assert fn.current_step(caught.value.result.opt_state) == place  # type: ignore[attr-defined]
    assert_same(fit(optimizer=optimizer(), resume=path), fit(optimizer=optimizer()))


def test_a_second_interrupt_waits_for_the_files_and_carries_the_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, save, checkpoints = tmp_path / "run.npz", loop.save_run, fn.callbacks.checkpoints(tmp_path, 10)

    def interrupting(*args: Any) -> None:
        if args[2].step == 7:
            signal.raise_signal(signal.SIGINT)
        save(*args)

    def callback(record: Any, result: Any) -> None:
        monkeypatch.setattr(loop, "save_run", interrupting)

    stop = loss_that_raises(MemoryError("stop"), 9)  # in step 7, after two evaluations
    with pytest.raises(KeyboardInterrupt) as caught:
        fit(checkpoint=path, callbacks=[callback, checkpoints], loss=stop)
    assert isinstance(caught.value.__context__, MemoryError)
    assert fn.current_step(caught.value.result.opt_state) == 7  # type: ignore[attr-defined]
    assert fn.load(tmp_path / "last.npz")["step"] == 4
    monkeypatch.undo()
    assert_same(fit(resume=path, callbacks=[checkpoints]), fit())


def test_an_interrupt_right_after_another_does_not_take_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt, handler = signal.SIGINT, signal.signal
    before = handler(interrupt, signal.default_int_handler)

    def restoring(number: Any, value: Any) -> Any:
        if value is signal.default_int_handler:
            signal.raise_signal(interrupt)
        return handler(number, value)

    first = KeyboardInterrupt("first")

    def interrupted_again() -> None:
        with interrupts.interrupts_deferrable() as deferral:
            for _ in range(2):
                with pytest.raises(KeyboardInterrupt):
                    signal.raise_signal(interrupt)
                signal.raise_signal(interrupt)  # waits
                with pytest.raises(KeyboardInterrupt), deferral:
                    pass
                signal.raise_signal(interrupt)
                with pytest.raises(KeyboardInterrupt), deferral:
                    pass
                with deferral:
                    pass
            monkeypatch.setattr(interrupts.signal, "signal", restoring)
            raise first

    try:
        with pytest.raises(KeyboardInterrupt) as caught:
            interrupted_again()
        assert caught.value is first
        monkeypatch.undo()
        assert signal.getsignal(interrupt) is signal.default_int_handler
    finally:
        handler(interrupt, before)


def test_an_error_in_a_step_leaves_a_file_that_is_newer_than_the_last_evaluation(tmp_path: Path) -> None:
    path, calls = tmp_path / "run.npz", list[int]()

    def rule(g: Any, state: Any, p: Any, hyper: Any) -> Any:
        calls.append(0)
        if len(calls) == 15:  # in epoch 4; the last evaluation was after epoch 2
            raise MemoryError("stop")
        return g, state

    def optimizer() -> Any:
        return fn.chain(fn.add_momentum(0.9), fn.transform("failing", rule), fn.sgd(0.1))

    with pytest.raises(MemoryError):
        fit(optimizer=optimizer(), checkpoint=path, evaluate_every=2)
    assert fn.current_step(fn.load(path)["opt_state"]) == 12


def loss_that_starts_a_timer(seconds: float) -> Any:
    """Cross-entropy, by name too, whose first call starts an alarm."""
    calls: list[int] = []

    def softmax_cross_entropy(y: Any, target: Any) -> Any:
        if not calls:
            signal.setitimer(signal.ITIMER_REAL, seconds)
        calls.append(0)
        return LOSS(y, target)

    return softmax_cross_entropy


@pytest.mark.usefixtures("alarm_is_ctrl_c")
def test_interrupts_at_random_times_lose_nothing(tmp_path: Path) -> None:
    """Interrupt, go on, interrupt again: after many of them the run ends as if there had been none."""
    path, interrupts = tmp_path / "run.npz", 0
    expected = fit(epochs=12)
    for attempt in range(60):
        loss = loss_that_starts_a_timer(0.001 + 0.0007 * (attempt % 17))
        try:
            result = fit(checkpoint=path, every=2, resume=path if path.exists() else None, epochs=12, loss=loss)
            signal.setitimer(signal.ITIMER_REAL, 0)
            break
        except KeyboardInterrupt as interrupt:
            interrupts += 1
            if hasattr(interrupt, "result"):
                for leaf in fn.tree.leaves(interrupt.result.params["dense_0"]):
                    assert np.isfinite(leaf).all()
    else:
        result = fit(resume=path, epochs=12)
    assert_same(result, expected)
    assert interrupts >= 5


def test_an_error_inside_a_step_that_writes_gives_the_last_evaluation(tmp_path: Path) -> None:
    """Half of the arrays are written when a rule raises; the result is of the arrays before."""
    calls: list[int] = []

    def rule(g: Any, state: Any, p: Any, hyper: Any, u: Any, new_state: Any) -> None:
        calls.append(0)
        if len(calls) == 20:
            raise RuntimeError("a rule")
        np.multiply(g, -0.1, out=u)

    path = tmp_path / "run.npz"
    with pytest.raises(RuntimeError) as caught:
        fit(optimizer=fn.lift("own", rule, counts=True), checkpoint=path, every=5)
    result = caught.value.result  # type: ignore[attr-defined]
    step = len(result.history) * 4 - 4
    calls.clear()
    calls.extend([0] * 100)
    expected = fit(optimizer=fn.lift("own", rule, counts=True), epochs=step // 4)
    assert same_bits(result.params, expected.params)
    assert_same(
        fit(optimizer=fn.lift("own", rule, counts=True), resume=path), fit(optimizer=fn.lift("own", rule, counts=True))
    )


# --- not finite -------------------------------------------------------------------------------------------------------


def diverging(rate: float) -> fn.NonFiniteLossError:
    with np.errstate(all="ignore"), pytest.raises(fn.NonFiniteLossError) as caught:
        fn.fit(MODEL, PLAIN, fn.sgd(rate), DATA, LOSS, 9, batch_size=8, verbose=False)
    return caught.value


def test_the_error_of_a_diverged_run_survives_pickle_and_copy() -> None:
    error = diverging(1e30)
    error.add_note("a note")
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(again) is fn.NonFiniteLossError
        assert str(again) == str(error)
        assert same_bits(again.result.params, error.result.params)
        assert again.result.history == error.result.history
        assert again.__notes__ == error.__notes__


def _search(rate: float) -> float:
    with np.errstate(all="ignore"):
        return fn.fit(MODEL, PLAIN, fn.sgd(rate), DATA, LOSS, 3, batch_size=8, verbose=False).history[-1]["train_loss"]


def test_a_pool_of_processes_reports_a_diverged_run() -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        with pytest.raises(fn.NonFiniteLossError) as caught:
            pool.map_async(_search, [1e30]).get(timeout=60)
        assert fn.tree.paths(caught.value.result.params) == fn.tree.paths(PLAIN)


def broken(forward: float, backward: float) -> Any:
    """A layer that multiplies one element, or its gradient, by something that is not finite."""

    @fn.layer(per_example=True)
    def faulty() -> fn.Layer:
        def apply(params: Any, x: Array, rng: Any = None) -> Any:
            def vjp_fn(dy: Array) -> Any:
                return {}, dy * np.float32(1 if rng is None else backward)

            return x * np.float32(1 if rng is None else forward), vjp_fn

        return fn.Layer(lambda shape, rng: {}, apply)

    return fn.serial(fn.dense(8), faulty(), fn.dense(8), fn.relu, fn.dense(3))


@pytest.mark.parametrize(
    ("forward", "backward", "message"),
    [
        (np.nan, 1, r"the loss is nan in step 0 of epoch 1; first in layer faulty_0, forward: y has 64 NaN"),
        (1, np.nan, r"the gradient of dense_0/w is not finite in step 0 of epoch 1; first in layer faulty_0, backward"),
        (1, np.inf, r"the gradient of dense_0/w is not finite in step 0 of epoch 1; first in layer faulty_0, backward"),
    ],
)
def test_the_first_layer_that_is_not_finite_is_named(forward: float, backward: float, message: str) -> None:
    model = broken(forward, backward)
    with np.errstate(all="ignore"), pytest.raises(fn.NonFiniteLossError, match=message):
        fn.fit(model, model.init((4,), 0), fn.sgd(0.1), DATA, LOSS, 2, batch_size=8, verbose=False)


def test_the_first_layer_is_named_after_an_evaluation() -> None:
    params = fn.tree.map(np.copy, PLAIN)
    params["dense_0"]["b"][1] = np.nan
    message = r"the loss is nan after epoch 0; first in layer dense_0, forward: .* NaN.*; parameter b has 1 NaN among 8"
    with np.errstate(all="ignore"), pytest.raises(fn.NonFiniteLossError, match=message):
        fn.fit(MODEL, params, fn.sgd(0.1), DATA, LOSS, 2, verbose=False)


def test_a_parameter_that_is_not_finite_stops_the_run_though_the_loss_is() -> None:
    """The unit is dead, so its weights reach neither the loss nor a gradient of others."""

    def update(grads: Any, state: Any, params: Any) -> Any:
        updates = fn.tree.map(lambda g: -0.1 * g, grads)
        if state["step"] == 5:
            updates["unused"]["w"] = np.full_like(grads["unused"]["w"], np.inf)
        return updates, {"step": state["step"] + 1}

    model = (
        lambda shape, rng: {"used": {"w": np.ones(1, np.float32)}, "unused": {"w": np.ones(1, np.float32)}},
        lambda params, x: (
            x * params["used"]["w"],
            lambda dy: (
                {"used": {"w": (dy * x).sum().reshape(1)}, "unused": {"w": np.zeros(1, np.float32)}},
                dy * params["used"]["w"],
            ),
        ),
    )
    with pytest.raises(
        fn.NonFiniteLossError, match=r"the parameter unused/w is not finite after the update in step 5 of epoch 2"
    ) as caught:
        fn.fit(
            model, model[0]((4,), 0), (lambda params: {"step": 0}, update), (X, X), fn.mean_squared_error, 3,
            batch_size=8, verbose=False,
        )  # fmt: skip
    assert caught.value.result.opt_state == {"step": 4}
    assert [record["epoch"] for record in caught.value.result.history] == [0, 1]


def test_statistics_that_are_not_measured_yet_do_not_stop_a_run_that_goes_on() -> None:
    optimizer, f = fn.sgd(0.1), fn.value_and_grad(NORMED, LOSS)
    params, state = PARAMS, optimizer.init(PARAMS)
    assert np.isnan(params["batch_norm_0"]["mean"]).all()
    for step, batch in enumerate(fn.batches(DATA, 8, 1, fn.rng.fold(0, "batches"))):
        if step < 2:
            params, state = optimizer.step(f(params, *batch, rng=(0, step))[1], state, params)
    options: Any = {"opt_state": state, "start": 2, "batch_size": 8, "verbose": False}
    result = fn.fit(NORMED, params, optimizer, DATA, LOSS, 2, **options)
    straight = fn.fit(NORMED, PARAMS, optimizer, DATA, LOSS, 2, batch_size=8, verbose=False)
    assert same_bits(result.params, straight.params)
    assert timeless(result.history) == timeless(straight.history[1:])


def test_a_diverged_run_leaves_the_file_of_its_last_evaluation(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    with np.errstate(all="ignore"), pytest.raises(fn.NonFiniteLossError) as caught:
        fn.fit(MODEL, PLAIN, fn.sgd(1e30), DATA, LOSS, 9, batch_size=30, verbose=False, checkpoint=path, every=4)
    saved = fn.load(path)
    assert np.isfinite(fn.tree.ravel(saved["params"])[0]).all()
    assert same_bits(saved["params"], caught.value.result.params)


@pytest.mark.parametrize("optimizer", [fn.adam(1e-3), fn.rmsprop(1e-3), fn.adagrad(1e-3)], ids=repr)
def test_a_gradient_whose_square_overflows_raises_at_the_evaluation(optimizer: Any) -> None:
    calls = iter(range(10**6))

    def softmax_cross_entropy(y: Any, target: Any) -> Any:
        value, dy = LOSS(y, target)
        return value, dy * np.float32(1e25 if next(calls) == 6 else 1)  # in epoch 2

    def run(optimizer: Any) -> fn.Fit:
        return fit(optimizer=optimizer, loss=softmax_cross_entropy, model=MODEL, params=PLAIN, epochs=4)

    message = r"scale_by_\w+/v/dense_0/\w in the optimizer state is not finite after epoch 2; try .*clip_by_global_norm"
    with np.errstate(over="ignore"), pytest.raises(fn.NonFiniteLossError, match=message) as caught:
        run(optimizer)
    assert caught.value.result.history[-1]["epoch"] == 1
    calls = iter(range(10**6))
    clipped = run(fn.chain(fn.clip_by_global_norm(1.0), optimizer))
    assert clipped.history[-1]["epoch"] == 4


def test_an_interrupt_after_the_end_carries_the_final_result(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupting(np.errstate):
        """What ``fit`` leaves last; with ``verbose`` it changes nothing, which no other call does."""

        def __init__(self, **kinds: Any) -> None:
            super().__init__(**kinds)
            self.last = not kinds

        def __exit__(self, *error: Any) -> None:
            super().__exit__(*error)
            if self.last:
                signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(np, "errstate", Interrupting)
    model, x = fn.dense(1), np.ones((4, 2), np.float32)
    with pytest.raises(KeyboardInterrupt) as raised:
        fn.fit(model, model.init((2,), 0), fn.sgd(0.1), (x, x[:, :1]), fn.mean_squared_error, 2, batch_size=2)
    assert [record["epoch"] for record in raised.value.result.history] == [0, 1, 2]
