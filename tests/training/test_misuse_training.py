"""Wrong calls of everything in training: each raises our error, which names the argument, or gives the right value."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import funcnn as fn

RNG = np.random.default_rng(0)
X = RNG.standard_normal((30, 4)).astype(np.float32)
LABELS = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0)
DATA = X, LABELS
MODEL = fn.serial(fn.dense(8, activation=fn.relu), fn.dense(3))
PARAMS = MODEL.init((4,), 0)
NORM = fn.serial(fn.batch_norm())
LOSS = fn.softmax_cross_entropy
SHORT = {"a": X, "b": X[:7]}


def fit(**changes: Any) -> fn.Fit:
    usual = {"model": MODEL, "params": PARAMS, "optimizer": fn.sgd(0.1), "train": DATA, "loss": LOSS, "epochs": 1}
    return fn.fit(**(usual | {"verbose": False, "batch_size": 8} | changes))


def evaluate(**changes: Any) -> Any:
    return fn.evaluate(**({"model": MODEL, "params": PARAMS, "data": DATA, "loss": LOSS} | changes))


def gradient(loss: Any, model: Any = MODEL, **options: Any) -> Any:
    return fn.value_and_grad(model, loss, **options)(PARAMS, X, LABELS)


def returns(value: Any) -> Callable[..., Any]:
    """A function of the user that returns this, whatever it is called with."""
    return lambda *args: value


def wrong_gradient(change: Callable[[Any], Any]) -> Callable[..., Any]:
    def own(y: Any, target: Any) -> Any:
        value, dy = LOSS(y, target)
        return value, change(dy)

    return own


def pair(update: Any) -> Any:
    return [(lambda: 0, update)]


def result() -> fn.Fit:
    return fn.Fit({"w": np.ones(1)}, {}, [{"epoch": 0, "step": 0, "train_loss": 1.0}])


RECORD = {"epoch": 0, "step": 0, "train_loss": 1.0}

ROWS: list[tuple[str, Callable[[], Any], type[Exception], str]] = [
    # batches
    ("list of lists", lambda: fn.batches([[1, 2]], 2), TypeError, "expected x as an array with one example per index"),
    ("empty tuple", lambda: fn.batches((), 2), TypeError, "batches: expected data, got an empty tuple"),
    ("empty dict", lambda: fn.batches({}, 2), ValueError, "got a dict without any"),
    ("a number", lambda: fn.batches(np.float32(3), 2), TypeError, "expected x as an array"),
    ("lengths in a dict", lambda: fn.batches(SHORT, 2), ValueError, "30 in x/a and 7 in x/b"),
    ("key with a slash", lambda: fn.batches({"a/b": X}, 2), ValueError, "may not be empty or contain '/'"),
    ("batch of text", lambda: fn.batches(X, "8"), ValueError, "batch_size must be a whole number >= 1, got '8'"),
    ("batch of half", lambda: fn.batches(X, 0.5), ValueError, r"batch_size must be a whole number >= 1, got 0\.5"),
    ("no batch", lambda: fn.batches(X, None), ValueError, "batch_size must be a whole number >= 1, got None"),
    ("negative epochs", lambda: fn.batches(X, 8, -1), ValueError, "epochs must be a whole number >= 0"),
    ("start of a float", lambda: fn.batches(X, 8, start=1.0), ValueError, "start must be a whole number >= 0"),
    ("rng of a float", lambda: fn.batches(X, 8, rng=0.5), TypeError, "a key is an int"),
    ("masked data", lambda: fn.batches(np.ma.masked_array(X), 8), TypeError, "expected a plain array as x"),
    ("records", lambda: fn.batches((X, np.rec.array(LABELS)), 8), TypeError, "expected a plain array as target, got"),
    # value_and_grad
    ("loss by name", lambda: gradient("mse"), TypeError, "value_and_grad: loss: expected a function, got 'mse'"),
    ("model not called", lambda: gradient(LOSS, fn.dense), TypeError, "a layer is"),
    ("loss of a number", lambda: gradient(returns(1.0)), TypeError, "the loss <lambda> must return a pair"),
    ("loss of three", lambda: gradient(returns((1.0, X, X))), TypeError, r"must return a pair \(value, dy\), got a tu"),
    ("loss of a text", lambda: gradient(returns(("1", X))), TypeError, "first item that the loss <lambda> returns mus"),
    ("loss of a row", lambda: gradient(lambda y, t: (y[0], y)), TypeError, "must return one number, got a ndarray"),
    ("loss of None", lambda: gradient(lambda y, t: (None, y)), TypeError, "must return one number, got a NoneType"),
    ("loss of complex", lambda: gradient(lambda y, t: (1j, y)), TypeError, "must return one number, got a complex"),
    ("dy of rows", lambda: gradient(wrong_gradient(lambda d: d[:, 0])), ValueError, r"the loss own .*\(30, 3\), got"),
    ("dy of float64", lambda: gradient(wrong_gradient(lambda d: d.astype(float))), TypeError, "the loss own .*float64"),
    ("dy of a list", lambda: gradient(wrong_gradient(lambda d: d.tolist())), TypeError, "dy that the loss own returns"),
    ("dy of None", lambda: gradient(wrong_gradient(lambda d: None)), (TypeError, ValueError), "dy that the loss own"),
    ("dy of a mask", lambda: gradient(wrong_gradient(np.ma.masked_array)), TypeError, "the loss own.*MaskedArray"),
    ("dy of a dict", lambda: gradient(wrong_gradient(lambda d: {"a": d})), (TypeError, ValueError), "the loss own"),
    # predict
    ("predict a list", lambda: fn.predict(MODEL, PARAMS, X.tolist()), TypeError, "predict: expected x as an array"),
    ("predict lengths", lambda: fn.predict(MODEL, PARAMS, SHORT), ValueError, "30 in x/a and 7 in x/b"),
    ("predict by 0", lambda: fn.predict(MODEL, PARAMS, X, 0), ValueError, "batch_size must be a whole number >= 1"),
    ("predict without params", lambda: fn.predict(MODEL, None, X), TypeError, "predict: expected a dict of parameters"),
    ("predict a mask", lambda: fn.predict(MODEL, PARAMS, np.ma.masked_array(X)), TypeError, "a plain array as x"),
    # evaluate
    ("data of one", lambda: evaluate(data=(X,)), TypeError, r"evaluate: expected data as a tuple \(x, target\)"),
    ("no data", lambda: evaluate(data=None), TypeError, "expected data as a tuple .* got a NoneType"),
    ("target of a list", lambda: evaluate(data=(X, [0] * 30)), TypeError, "expected target as an array"),
    ("metrics of a set", lambda: evaluate(metrics={LOSS}), TypeError, "evaluate: expected metrics as a dict"),
    ("metric by name", lambda: evaluate(metrics={"acc": "accuracy"}), TypeError, "the metric 'acc': expected a functi"),
    ("metric without a name", lambda: evaluate(metrics={1: LOSS}), TypeError, "names of metrics as texts, got 1"),
    ("metric called loss", lambda: evaluate(metrics={"loss": LOSS}), ValueError, "may not be called 'loss'"),
    ("metric of a pair", lambda: evaluate(metrics={"ce": LOSS}), TypeError, "'ce' must return one number, got a tuple"),
    ("metric of an array", lambda: evaluate(metrics={"m": lambda y, t: y}), TypeError, "the metric 'm' must return on"),
    ("metric of None", lambda: evaluate(metrics={"m": returns(None)}), TypeError, "the metric 'm' must return one num"),
    ("metric of text", lambda: evaluate(metrics={"m": returns("1")}), TypeError, "the metric 'm' must return one numb"),
    ("evaluate by text", lambda: evaluate(batch_size="all"), ValueError, "batch_size must be a whole number >= 1"),
    ("loss by name there", lambda: evaluate(loss="mse"), TypeError, "evaluate: loss: expected a function, got 'mse'"),
    # fit
    ("fit by name", lambda: fit(loss="mse"), TypeError, "fit: loss: expected a function, got 'mse'"),
    ("fit a metric", lambda: fit(loss=fn.metrics.accuracy), TypeError, r"the loss metrics.accuracy must return a pair"),
    ("fit sgd", lambda: fit(optimizer=fn.sgd), TypeError, "fit: expected an optimizer such as"),
    ("fit by a text", lambda: fit(optimizer="adam"), TypeError, "fit: expected an optimizer such as .* got 'adam'"),
    ("fit four", lambda: fit(train=(X, LABELS, X, X)), TypeError, "fit: expected data as a tuple .* got a tuple of 4"),
    ("fit three", lambda: fit(train=(X, LABELS, X)), ValueError, "fit: expected weights that are finite and not negat"),
    ("fit a generator", lambda: fit(train=iter(X)), TypeError, "fit: expected data as a tuple .* whose batch 0 is a"),
    ("fit once", lambda: fit(train=iter([DATA]), epochs=2), ValueError, "an iterator gives its batches once, .*=1"),
    ("fit no batch", lambda: fit(train=iter([])), ValueError, "fit: expected batches .* got an iterator without any"),
    ("fit other lengths", lambda: fit(train=iter([(X, LABELS[1:])])), ValueError, "fit, batch 0: the arrays hold diff"),
    ("fit nothing", lambda: fit(train=(X[:0], LABELS[:0])), ValueError, "fit: the data set is empty"),
    ("fit a mask", lambda: fit(train=(np.ma.masked_array(X), LABELS)), TypeError, "fit: expected a plain array as x"),
    ("fit other params", lambda: fit(params={}), ValueError, "param"),
    ("fit no params", lambda: fit(params=None), TypeError, "param"),
    ("fit list params", lambda: fit(params=[1]), TypeError, "a tree is made of dicts, got a list|param"),
    ("fit for ever", lambda: fit(epochs=float("inf")), ValueError, "epochs must be a whole number >= 0, got inf"),
    ("fit -1 epochs", lambda: fit(epochs=-1), ValueError, "fit: epochs must be a whole number >= 0, got -1"),
    ("fit batch 0", lambda: fit(batch_size=0), ValueError, "fit: batch_size must be a whole number >= 1, got 0"),
    ("fit no rng", lambda: fit(rng=None), TypeError, "a key is an int"),
    ("fit a negative key", lambda: fit(rng=-1), ValueError, "a key needs"),
    ("fit split of all", lambda: fit(validation_split=1), ValueError, "validation_split must lie between 0 and 1"),
    ("fit split of text", lambda: fit(validation_split="0.1"), TypeError, "validation_split: expected a number"),
    ("fit split and data", lambda: fit(validation=DATA, validation_split=0.1), ValueError, "not both"),
    ("fit validation x", lambda: fit(validation=X), TypeError, "fit, validation: expected data as a tuple"),
    ("fit evaluate never", lambda: fit(evaluate_every=0), ValueError, "evaluate_every must be a whole number >= 1"),
    ("fit start alone", lambda: fit(start=4), ValueError, "needs the opt_state of that run"),
    ("fit other state", lambda: fit(opt_state={"m": 1}), ValueError, "is it the state of another|expected a state"),
    ("fit metrics list", lambda: fit(metrics=[LOSS]), TypeError, "fit: expected metrics as a dict"),
    ("fit metric text", lambda: fit(metrics={"acc": "a"}), TypeError, "fit: the metric 'acc': expected a function"),
    ("fit one callback", lambda: fit(callbacks=returns(None)), TypeError, "expected callbacks as a tuple of functions"),
    ("fit callback text", lambda: fit(callbacks=["log"]), TypeError, "expected callbacks as a tuple of functions"),
    ("fit callback of three", lambda: fit(callbacks=[(LOSS, LOSS, LOSS)]), TypeError, r"or pairs \(init, update\)"),
    ("fit callback of 1", lambda: fit(callbacks=[returns(1)]), TypeError, "must return True, a Decision or None"),
    ("fit decision", lambda: fit(callbacks=[returns(fn.Decision(True, PARAMS))]), TypeError, "of a bool and a Fit"),
    ("fit stop of text", lambda: fit(callbacks=[returns(fn.Decision("no", result()))]), TypeError, "of a bool and a F"),
    ("fit pair of None", lambda: fit(callbacks=pair(returns(None))), TypeError, r"must return a pair \(state, decisio"),
    ("fit pair of 3", lambda: fit(callbacks=pair(returns((0, None, 1)))), TypeError, r"must return a pair \(state, de"),
    ("fit pair of text", lambda: fit(callbacks=pair(returns((0, "stop")))), TypeError, "must return True, a Decision"),
    ("fit pair of a decision", lambda: fit(callbacks=pair(returns(fn.Decision(False, result())))), TypeError, "a pair"),
    ("fit to a number", lambda: fit(checkpoint=1), TypeError, "fit: checkpoint: expected a str or a Path, got 1"),
    ("fit to nowhere", lambda: fit(checkpoint=""), ValueError, "fit: checkpoint: expected the name of a file"),
    ("fit every alone", lambda: fit(every=3), ValueError, "give checkpoint=path too"),
    ("fit every half", lambda: fit(every=0.5), ValueError, "fit: every must be a whole number >= 1, got 0.5"),
    ("fit resume nothing", lambda: fit(resume="/no/run.npz"), FileNotFoundError, "there is no run to resume"),
    ("fit resume and start", lambda: fit(resume="run.npz", start=1), ValueError, "not both"),
    ("fit negative schedule", lambda: fit(optimizer=fn.sgd(returns(-1.0))), ValueError, "rate at step 0"),
    ("fit schedule of text", lambda: fit(optimizer=fn.sgd(returns("1"))), TypeError, "rate at step 0: expected a numb"),
    ("fit schedule of an array", lambda: fit(optimizer=fn.sgd(returns(X))), TypeError, "rate at step 0: expected a nu"),
    # callbacks
    ("patience 0", lambda: fn.callbacks.early_stopping("a", 0), ValueError, "patience must be a whole number >= 1"),
    ("metric of 1", lambda: fn.callbacks.early_stopping(1, 1), TypeError, "early_stopping: expected the name of a met"),
    ("mode auto", lambda: fn.callbacks.early_stopping("a", 1, "auto"), ValueError, "mode must be 'min' or 'max'"),
    ("mode of a list", lambda: fn.callbacks.early_stopping("a", 1, ["min"]), ValueError, "mode must be 'min' or 'max'"),
    ("delta -1", lambda: fn.callbacks.early_stopping("a", 1, "min", -1), ValueError, "min_delta must be a number >= 0"),
    ("delta text", lambda: fn.callbacks.early_stopping("a", 1, "min", "1"), TypeError, "min_delta: expected a number"),
    ("unknown metric", lambda: fn.callbacks.early_stopping("a", 1)(RECORD, result()), ValueError, "has no 'a', but ep"),
    ("folder 1", lambda: fn.callbacks.checkpoints(1), TypeError, "checkpoints: folder: expected a str or a Path, got"),
    ("every 0", lambda: fn.callbacks.checkpoints("f", 0), ValueError, "every must be a whole number >= 1, got 0"),
    ("best by 1", lambda: fn.callbacks.checkpoints("f", 1, 1), TypeError, "checkpoints: expected the name of a metric"),
    ("best by mode", lambda: fn.callbacks.checkpoints("f", 1, "a", "b"), ValueError, "mode must be 'min' or 'max'"),
    ("log to 1", lambda: fn.callbacks.csv_log(1), TypeError, "csv_log: path: expected a str or a Path, got 1"),
    ("log to nowhere", lambda: fn.callbacks.csv_log("/no/dir/log.csv")(RECORD, result()), FileNotFoundError, "/no/dir"),
    # calibrate
    ("calibrate nothing", lambda: fn.calibrate(NORM, NORM.init((4,), 0), X[:0]), ValueError, "got none"),
    ("calibrate an empty dict", lambda: fn.calibrate(NORM, NORM.init((4,), 0), {}), ValueError, "got none"),
    ("calibrate a list", lambda: fn.calibrate(NORM, NORM.init((4,), 0), X.tolist()), TypeError, "dicts, got a list"),
    ("calibrate None", lambda: fn.calibrate(NORM, NORM.init((4,), 0), None), TypeError, "expected x as an array"),
    ("calibrate a number", lambda: fn.calibrate(NORM, NORM.init((4,), 0), np.array(1.0)), TypeError, "expected x as a"),
    ("calibrate lengths", lambda: fn.calibrate(NORM, NORM.init((4,), 0), SHORT), ValueError, r"examples, \[7, 30\]"),
    ("calibrate by 0", lambda: fn.calibrate(NORM, NORM.init((4,), 0), X, 0), ValueError, "batch_size must be a whole"),
    ("calibrate by text", lambda: fn.calibrate(NORM, NORM.init((4,), 0), X, "8"), ValueError, "batch_size must be a w"),
    ("calibrate a mask", lambda: fn.calibrate(NORM, NORM.init((4,), 0), np.ma.masked_array(X)), TypeError, "plain arr"),
    ("calibrate a class", lambda: fn.calibrate(fn.dense, {}, X), TypeError, "a layer is"),
    # progress
    ("progress of text", lambda: fn.progress("10"), ValueError, "progress: total must be a whole number >= 0, got '10"),
    ("progress of -1", lambda: fn.progress(-1), ValueError, "progress: total must be a whole number >= 0, got -1"),
]  # fmt: skip


def test_names_are_different_and_many() -> None:
    assert len({name for name, *_ in ROWS}) == len(ROWS) >= 100


@pytest.mark.parametrize(("call", "error", "message"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_a_wrong_call_raises_our_error(call: Callable[[], Any], error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        call()


RIGHT: list[tuple[str, Callable[[], Any], Callable[[], Any]]] = [
    ("sizes of NumPy", lambda: fit(batch_size=np.int8(8), epochs=np.uint8(1)), fit),
    ("a key of NumPy", lambda: fit(rng=np.int64(3)), lambda: fit(rng=3)),
    ("a key as a tuple", lambda: fit(rng=(3,)), lambda: fit(rng=3)),
    ("callbacks in a list", lambda: fit(callbacks=[]), fit),
    ("no metrics", lambda: fit(metrics={}), fit),
    ("a number of NumPy", lambda: fit(loss=lambda y, t: (np.float32(LOSS(y, t)[0]), LOSS(y, t)[1])), fit),
    ("an array without axes", lambda: fit(loss=lambda y, t: (np.array(LOSS(y, t)[0]), LOSS(y, t)[1])), fit),
    ("a callback that returns False", lambda: fit(callbacks=[returns(np.False_)]), fit),
    ("a pair that does nothing", lambda: fit(callbacks=pair(returns((0, None)))), fit),
]


@pytest.mark.parametrize(("call", "same"), [row[1:] for row in RIGHT], ids=[row[0] for row in RIGHT])
def test_what_is_no_misuse_gives_the_right_value(call: Callable[[], fn.Fit], same: Callable[[], fn.Fit]) -> None:
    found, expected = call(), same()
    for one, other in zip(fn.tree.leaves(found.params), fn.tree.leaves(expected.params), strict=True):
        assert one.tobytes() == other.tobytes()
    assert found.history[-1]["train_loss"] == pytest.approx(expected.history[-1]["train_loss"], rel=1e-6)
