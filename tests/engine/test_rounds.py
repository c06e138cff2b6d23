"""Rounds: the last step combines, errors end them, and nothing depends on which thread did what."""

import gc
import threading
import time
import weakref
from contextvars import ContextVar
from typing import Any

import pytest

from funcnn.cores import use_threads
from funcnn.engine.rounds import run

TIMEOUT = 30
"""Seconds, far more than any test needs."""


def summed(last: int) -> Any:
    """Go on with the sum of the values, in this many rounds."""
    rounds = []

    def combine(values: list[Any]) -> list[Any] | None:
        rounds.append(values)
        return None if len(rounds) == last else [sum(values)] * len(values)

    return combine


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("steps", [1, 2, 3, 7])
def test_each_step_goes_on_with_what_all_have_together(threads: int, steps: int) -> None:
    with use_threads(threads):
        found = run([lambda x, number=number: (x or 0) + number for number in range(steps)], summed(3))
    total = sum(range(steps))
    together = steps * total + total  # the sum of the second round
    assert found == [together + number for number in range(steps)]


def test_the_thread_that_comes_last_combines() -> None:
    both, combined_by = threading.Barrier(2), []

    def early(received: Any) -> int:
        both.wait(TIMEOUT)
        return threading.get_ident()

    def late(received: Any) -> int:
        both.wait(TIMEOUT)
        time.sleep(0.2)
        return threading.get_ident()

    with use_threads(2):
        for steps in ([early, late], [late, early]):
            found = run(steps, lambda values: combined_by.append(threading.get_ident()))
            assert found[0] != found[1]
            assert combined_by.pop() == found[steps.index(late)]


@pytest.mark.parametrize("threads", [1, 2])
def test_the_first_error_ends_the_rounds_while_a_thread_waits(threads: int) -> None:
    def failing(number: int) -> Any:
        def step(received: Any) -> Any:
            if received and number:
                raise ValueError(f"step {number}")
            return 1

        return step

    with use_threads(threads), pytest.raises(ValueError, match=r"step [12]"):
        run([failing(number) for number in range(3)], summed(5))
    assert run([failing(0)] * 2, summed(2)) == [1, 1]


def test_of_two_errors_at_once_the_first_steps_is_raised() -> None:
    both = threading.Barrier(2)

    def failing(number: int) -> Any:
        def step(received: Any) -> Any:
            both.wait(TIMEOUT)
            raise ValueError(f"step {number}")

        return step

    with use_threads(2), pytest.raises(ValueError, match="step 0"):
        run([failing(0), failing(1)], summed(1))


def test_an_error_of_combine_is_raised() -> None:
    def combine(values: list[Any]) -> None:
        raise ZeroDivisionError("at the end of the round")

    with use_threads(2), pytest.raises(ZeroDivisionError, match="at the end of the round"):
        run([lambda received: None] * 2, combine)


def test_combine_runs_in_the_callers_context() -> None:
    word, found = ContextVar("word", default=""), []
    word.set("caller")

    def step(received: Any) -> None:
        word.set("step")

    with use_threads(2):
        run([step, step], lambda values: found.append(word.get()))
    assert found == [word.get()] == ["caller"]


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_stays_alive(fails: bool) -> None:
    class Value:
        pass

    made: list[weakref.ref[Value]] = []

    def step(received: Any) -> Value:
        if fails and received:
            raise ValueError("after a round")
        value = Value()
        made.append(weakref.ref(value))
        return value

    rounds = iter([True, False])
    gc.disable()
    try:
        with use_threads(2):
            if fails:
                with pytest.raises(ValueError, match="after a round"):
                    run([step, step], lambda values: values)
            else:
                run([step, step], lambda values: values if next(rounds) else None)
        assert len(made) >= 2
        assert [ref() for ref in made] == [None] * len(made)
    finally:
        gc.enable()
