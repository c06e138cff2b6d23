"""Schedules by hand, their arguments, and the calls that make them."""

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from funcnn.optim import schedules
from funcnn.optim.schedules import (
    Schedule,
    as_schedule,
    constant,
    cosine_decay,
    exponential_decay,
    join,
    linear_warmup,
    step_decay,
)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (constant(0.5), [0.5, 0.5, 0.5, 0.5, 0.5, 0.5]),
        (step_decay(1.0, every=2, factor=0.5), [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]),
        (exponential_decay(1.0, steps=2, factor=0.25), [1.0, 0.5, 0.25, 0.125, 0.0625, 0.03125]),
        (cosine_decay(1.0, steps=4), [1.0, (2 + math.sqrt(2)) / 4, 0.5, (2 - math.sqrt(2)) / 4, 0.0, 0.0]),
        (cosine_decay(1.0, steps=2, final=0.5), [1.0, 0.75, 0.5, 0.5, 0.5, 0.5]),
        (linear_warmup(1.0, steps=4), [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]),
        (linear_warmup(1.0, steps=1), [1.0] * 6),
        (join([linear_warmup(1.0, 2), 0.5, step_decay(0.5, 1, 0.5)], [2, 4]), [0.5, 1.0, 0.5, 0.5, 0.5, 0.25]),
        (join([0.5], []), [0.5] * 6),
    ],
)
def test_values_by_hand(schedule: Schedule, expected: list[float]) -> None:
    # Cosines and powers are rounded to 1e-16.
    assert [schedule(step) for step in range(6)] == pytest.approx(expected, abs=1e-15)
    assert all(type(schedule(step)) is float for step in range(6))


@given(st.integers(1, 10**6), st.floats(0, 10), st.floats(0, 10), st.integers(0, 10**7))
def test_cosine_stays_between_its_ends(steps: int, rate: float, final: float, step: int) -> None:
    value = cosine_decay(rate, steps, final)(step)
    assert min(rate, final) - 1e-12 <= value <= max(rate, final) + 1e-12
    if step >= steps:
        assert value == final


@pytest.mark.parametrize("bad", [-0.1, math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    "make",
    [
        constant,
        lambda r: step_decay(r, 1, 0.5),
        lambda r: step_decay(0.1, 1, r),
        lambda r: exponential_decay(r, 1, 0.5),
        lambda r: exponential_decay(0.1, 1, r),
        lambda r: cosine_decay(r, 1),
        lambda r: cosine_decay(0.1, 1, r),
        lambda r: linear_warmup(r, 1),
        lambda r: join([0.1, r], [1]),
    ],
)
def test_rates_are_finite_and_not_negative(make: Callable[[float], Schedule], bad: float) -> None:
    with pytest.raises(ValueError, match=f"expected a finite number that is not negative, got {bad}"):
        make(bad)


@pytest.mark.parametrize(
    "make",
    [
        lambda n: step_decay(0.1, n, 0.5),
        lambda n: exponential_decay(0.1, n, 0.5),
        lambda n: cosine_decay(0.1, n),
        lambda n: linear_warmup(0.1, n),
        lambda n: join([0.1, 0.2], [n]),
    ],
)
def test_numbers_of_steps_are_ints_of_at_least_one(make: Callable[[Any], Schedule]) -> None:
    with pytest.raises(ValueError, match="expected at least 1 step, got 0"):
        make(0)
    with pytest.raises(TypeError, match=r"expected an int, a number of steps, got 2.0; use int"):
        make(2.0)
    make(np.int64(2))


def test_join_raises_for_boundaries_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="one boundary fewer than schedules, got 2 for 2 schedules"):
        join([0.1, 0.2], [1, 2])
    with pytest.raises(ValueError, match="one boundary fewer"):
        join([], [])
    with pytest.raises(ValueError, match=r"boundaries that increase, got \[5, 5\]"):
        join([0.1, 0.2, 0.3], [5, 5])


def test_as_schedule_returns_python_floats_and_names_the_step_of_a_bad_rate() -> None:
    assert type(as_schedule("rate", lambda step: np.float64(0.1))(0)) is float
    assert type(as_schedule("rate", np.float64(0.5))(0)) is float
    falling = as_schedule("rate", lambda step: 0.2 - 0.1 * step)
    assert falling(1) == 0.1
    stairs = as_schedule("rate", lambda step: np.where(step < 2, 0.5, 0.25))
    assert [stairs(step) for step in (1, 2)] == [0.5, 0.25]
    assert type(stairs(1)) is float
    for bad in (np.array([0.5]), np.ma.masked, np.array(True)):
        with pytest.raises(TypeError, match="rate at step 0: expected a number"):
            as_schedule("rate", lambda step, bad=bad: bad)(0)
    with pytest.raises(ValueError, match=r"rate at step 3: expected .* not negative, got -0\.1"):
        falling(3)
    with pytest.raises(TypeError, match=r"rate: expected a number, got '0\.1'"):
        as_schedule("rate", "0.1")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="rate: expected a number, got True"):
        as_schedule("rate", True)


SCHEDULES: list[Schedule] = [
    constant(0.5),
    step_decay(1.0, every=2, factor=0.5),
    exponential_decay(1.0, steps=np.int32(2), factor=np.float32(0.25)),
    cosine_decay(1.0, 4),
    cosine_decay(1.0, steps=4, final=0.5),
    linear_warmup(1.0, 4),
    join([linear_warmup(1.0, 2), 0.5, step_decay(0.5, 1, 0.5)], [2, 4]),
    as_schedule("rate", 0.5),
    as_schedule("rate", cosine_decay(0.1, 3)),
]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_a_schedule_is_copied_by_the_call_that_made_it(schedule: Schedule) -> None:
    written = eval(repr(schedule), vars(schedules) | {"np": np})
    for copied in (written, pickle.loads(pickle.dumps(schedule)), copy.deepcopy(schedule)):
        assert repr(copied) == repr(schedule)
        assert [copied(step) for step in range(6)] == [schedule(step) for step in range(6)]
    assert all(type(schedule(step)) is float for step in range(6))


def test_a_message_names_the_constructor_once() -> None:
    with pytest.raises(ValueError, match=r"^cosine_decay: steps: expected at least 1 step, got 0"):
        cosine_decay(0.1, 0)
    with pytest.raises(ValueError, match=r"^cosine_decay: final: expected a finite number .* got -1"):
        cosine_decay(0.1, 1, -1)
    with pytest.raises(TypeError, match=r"^linear_warmup: rate: expected a number, got None"):
        linear_warmup(None, 1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^join: boundaries\[0\]: expected an int, a number of steps, got True"):
        join([0.1, 0.2], [True])
    with pytest.raises(ValueError, match=r"^join: schedules\[1\]: expected a finite number .*, got -0\.2"):
        join([0.1, -0.2], [1])
    with pytest.raises(ValueError, match=r"^join: schedules\[1\] at step 0: expected a finite number .*, got nan"):
        join([0.1, lambda step: math.nan], [1])(1)
