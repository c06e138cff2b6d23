"""Data frames and series of pandas and polars: where an array is needed, the message names the cast, which works."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

import funcnn as fn

X = np.arange(12, dtype=np.float64).reshape(4, 3) / 12
LABELS = np.array([0, 1, 1, 0])
MODEL = fn.serial(fn.dense(4), fn.relu, fn.dense(2))
PARAMS = MODEL.init((3,), 0)
FRAMES = {"pandas": pd.DataFrame(X, columns=list("abc")), "polars": pl.DataFrame(X, schema=list("abc"))}
SERIES = {"pandas": pd.Series(LABELS), "polars": pl.Series(LABELS)}

NEED_ARRAYS: dict[str, Callable[[Any], Any]] = {
    "apply": lambda x: MODEL.apply(PARAMS, x),
    "predict": lambda x: fn.predict(MODEL, PARAMS, x),
    "fit": lambda x: fn.fit(MODEL, PARAMS, fn.adam(0.1), (x, LABELS), fn.softmax_cross_entropy, 1, verbose=False),
    "evaluate": lambda x: fn.evaluate(MODEL, PARAMS, (x, LABELS), fn.softmax_cross_entropy),
    "batches": lambda x: next(fn.batches((x, LABELS), 2)),
    "split": lambda x: fn.split((x, LABELS), 0.5, 0),
    "k_fold": lambda x: next(fn.k_fold((x, LABELS), 2, 0)),
    "calibrate": lambda x: fn.calibrate(MODEL, PARAMS, x),
    "saliency": lambda x: fn.saliency(MODEL, PARAMS, x, 0),
    "statistics": lambda x: fn.datasets.statistics(x),
    "loss": lambda x: fn.softmax_cross_entropy(x, LABELS),
}


@pytest.mark.parametrize("library", FRAMES)
@pytest.mark.parametrize("call", NEED_ARRAYS.values(), ids=NEED_ARRAYS)
def test_a_frame_raises_and_the_cast_that_is_named_works(call: Callable[[Any], Any], library: str) -> None:
    with pytest.raises(TypeError, match=r"got a? ?DataFrame; use ") as caught:
        call(FRAMES[library])
    (cast,) = re.findall(r"use (np\.asarray\(\w+, np\.float32\))", str(caught.value))
    call(eval(cast, {"np": np, "x": FRAMES[library], "y": FRAMES[library]}))


@pytest.mark.parametrize("library", SERIES)
def test_labels_of_fit_are_arrays_and_those_of_losses_and_metrics_may_be_a_series(library: str) -> None:
    labels, x = SERIES[library], X.astype(np.float32)
    with pytest.raises(TypeError, match=r"target as an array .* got a Series; use np\.asarray\(target\)$"):
        fn.fit(MODEL, PARAMS, fn.adam(0.1), (x, labels), fn.softmax_cross_entropy, 1)
    y = fn.predict(MODEL, PARAMS, x)
    assert fn.softmax_cross_entropy(y, labels)[0] == fn.softmax_cross_entropy(y, LABELS)[0]
    assert fn.metrics.accuracy(y, labels) == fn.metrics.accuracy(y, LABELS)
    assert fn.class_weights(labels, 2).tolist() == [1, 1]


@pytest.mark.parametrize("names", [pd.Series(["cat", "dog"] * 2), pl.Series(["cat", "dog"] * 2)], ids=SERIES)
def test_classes_by_name_are_to_be_numbered(names: Any) -> None:
    fix = re.escape("names, labels = np.unique(labels, return_inverse=True)")
    for call in (
        lambda: fn.class_weights(names, 2),
        lambda: fn.metrics.accuracy(X[:, :2], names),
        lambda: fn.softmax_cross_entropy(X[:, :2], names),
    ):
        with pytest.raises(TypeError, match=fix):
            call()


def test_a_data_frame_is_no_history() -> None:
    history = pd.DataFrame({"epoch": [0, 1], "train_loss": [2.0, 1.0]})
    with pytest.raises(TypeError, match="of a data frame, use frame"):
        fn.plot.learning_curves(history)  # type: ignore[arg-type]
    assert fn.plot.learning_curves(history.to_dict("records")).lines[0].get_ydata().tolist() == [2.0, 1.0]
