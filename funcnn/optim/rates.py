"""A rate is a number or a schedule ``step -> rate``, whose steps count from 0."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol, TypeAlias

from funcnn import checks
from funcnn.recorded import recorded

__all__ = ["Rate", "Schedule", "as_schedule", "constant"]


class Schedule(Protocol):
    """The type ``step -> rate``; steps count from 0."""

    def __call__(self, step: int) -> float:
        """The rate at a step."""


Rate: TypeAlias = float | Schedule | Callable[[int], float]
"""What is taken as a rate: a number, or a schedule, whatever the name of its argument."""


@recorded
def constant(rate: float) -> Schedule:
    """rate(step) = rate.

    Args:
        rate: finite and not negative.

    Returns:
        The schedule.

    Raises:
        TypeError: ``rate`` is not a number.
        ValueError: ``rate`` is negative or not finite.

    Example:
        >>> constant(0.1)(1000)
        0.1
    """
    rate = checks.rate("constant", "rate", rate)
    return of_steps(lambda step: rate)


@recorded
def as_schedule(name: str, rate: Rate) -> Schedule:
    """The schedule that a rate stands for, whose rates are checked.

    Args:
        name: the name of the rate, for messages.
        rate: a number, or a schedule.

    Returns:
        ``step -> rate``, a Python float, so that float32 arrays times it stay float32.

    Raises:
        TypeError: ``rate`` is neither.
        ValueError: the number is negative or not finite. The rates of a schedule are checked when it is called, and the
            message names the step; one may be an array without axes, as ``np.where`` and schedules of Optax return.

    Example:
        >>> as_schedule("rate", 0.1)(5), as_schedule("rate", lambda step: 0.1 * step)(5)
        (0.1, 0.5)
    """
    if not callable(rate):
        return constant(checks.rate("", name, rate))
    checks.function("", name, rate, "step")
    return lambda step: checks.rate("", f"{name} at step {step}", checks.without_axes(_at(rate, step)))


def of_steps(schedule: Callable[[int], float]) -> Schedule:
    """A schedule whose steps are checked: whole numbers from 0 on."""
    return lambda step: _at(schedule, checks.size("a schedule", "step", step, 0))


def _at(schedule: Callable[[int], float], step: int) -> float:
    """The rate at a step; one that grows beyond all floats is infinite."""
    try:
        return schedule(step)
    except OverflowError:
        return math.inf
