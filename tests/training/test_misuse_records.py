"""Wrong calls that reached Python or NumPy before: records, batches to try, bins, and options of ``fit``."""

from typing import Any

import numpy as np
import pytest

import funcnn as fn
from tests.misuse.frame import Frame

X, LABELS = np.ones((4, 3), np.float32), np.array([0, 1, 1, 0])
Y = np.full((4, 2), 0.5)


@pytest.mark.parametrize("record", ["no", None, [1], 3, np.ones(2), Frame()])
def test_a_record_that_is_no_dict_raises(record: Any) -> None:
    with pytest.raises(TypeError, match=r"^format_record: expected a record of fit, a dict of numbers, got a"):
        fn.format_record(record)


def test_a_record_of_other_values_raises() -> None:
    with pytest.raises(
        ValueError, match=r"^format_record: expected a record of fit with 'seconds', got one with \['a'\]"
    ):
        fn.format_record({"a": 1})
    with pytest.raises(TypeError, match=r"^format_record: train_loss: expected a number, got 'no'"):
        fn.format_record({"seconds": 1.0, "train_loss": "no"})


@pytest.mark.parametrize("examples", ["a", None, -1, 1.5, [1], True, 10**400, np.ones(2)])
def test_a_random_batch_of_a_wrong_number_raises(examples: Any) -> None:
    with pytest.raises(ValueError, match=r"^random_batch: examples must be"):
        fn.testing.random_batch((3,), examples)


@pytest.mark.parametrize("bins", [10**30, 10**15, 1_000_001])
def test_too_many_bins_raise_and_take_no_memory(bins: int) -> None:
    with pytest.raises(ValueError, match=r"^calibration_error: bins must be at most"):
        fn.metrics.calibration_error(Y, LABELS, bins=bins)


@pytest.mark.parametrize(("option", "error"), [("verbose", ValueError), ("validation_split", TypeError)])
def test_an_array_as_an_option_of_fit_raises(option: str, error: type[Exception]) -> None:
    model = fn.dense(2)
    for value in (np.ones((2, 2)), "no", Frame()):
        with pytest.raises((TypeError, error), match=f"^fit: {option}"):
            fn.fit(model, model.init((3,), 0), fn.sgd(0.1), (X, LABELS), fn.softmax_cross_entropy, 1, **{option: value})


def test_an_axis_that_no_machine_can_count_raises() -> None:
    with pytest.raises(ValueError, match=r"^statistics: axis must be None, or one or several of the 2 axes"):
        fn.datasets.statistics(X, axis=10**400)
