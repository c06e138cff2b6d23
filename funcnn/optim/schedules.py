"""A schedule is a function ``step -> rate``; steps count from 0.

A learning rate usually warms up, stays and decays. Wherever an optimizer takes a rate, a schedule may stand.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Protocol, TypeAlias

from funcnn import checks
from funcnn.recorded import recorded
from funcnn.wording import shown

__all__ = [
    "Rate",
    "Schedule",
    "as_schedule",
    "constant",
    "cosine_decay",
    "exponential_decay",
    "join",
    "linear_warmup",
    "step_decay",
]


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
    return _of_steps(lambda step: rate)


@recorded
def step_decay(rate: float, every: int, factor: float) -> Schedule:
    """rate(step) = rate · factor^⌊step / every⌋.

    Args:
        rate: the rate of the first ``every`` steps.
        every: the number of steps after which the rate falls, at least 1.
        factor: the factor by which it falls, 0.1 for instance; not negative.

    Returns:
        The schedule.

    Raises:
        TypeError: an argument is not a number, or ``every`` is not an int.
        ValueError: an argument is out of range.

    Example:
        >>> [step_decay(0.8, every=2, factor=0.5)(step) for step in range(5)]
        [0.8, 0.8, 0.4, 0.4, 0.2]
    """
    rate, factor = checks.rate("step_decay", "rate", rate), checks.rate("step_decay", "factor", factor)
    every = checks.steps("step_decay", "every", every)
    return _of_steps(lambda step: rate * factor ** (step // every))


@recorded
def exponential_decay(rate: float, steps: int, factor: float) -> Schedule:
    """rate(step) = rate · factor^(step / steps): ``step_decay`` without the stairs.

    Args:
        rate: the rate of step 0.
        steps: the number of steps over which the rate is multiplied by ``factor``, at least 1.
        factor: not negative.

    Returns:
        The schedule.

    Raises:
        TypeError: an argument is not a number, or ``steps`` is not an int.
        ValueError: an argument is out of range.

    Example:
        >>> [exponential_decay(0.8, steps=2, factor=0.25)(step) for step in range(4)]
        [0.8, 0.4, 0.2, 0.1]
    """
    rate, factor = checks.rate("exponential_decay", "rate", rate), checks.rate("exponential_decay", "factor", factor)
    steps = checks.steps("exponential_decay", "steps", steps)
    return _of_steps(lambda step: rate * factor ** (step / steps))


@recorded
def cosine_decay(rate: float, steps: int, final: float = 0.0) -> Schedule:
    """rate(step) = final + (rate - final) (1 + cos(π step / steps)) / 2, and ``final`` from ``steps`` on.

    Args:
        rate: the rate of step 0.
        steps: the number of steps from ``rate`` to ``final``, at least 1.
        final: the rate from ``steps`` on, 0.0 by default.

    Returns:
        The schedule.

    Raises:
        TypeError: an argument is not a number, or ``steps`` is not an int.
        ValueError: an argument is out of range.

    Example:
        >>> [round(cosine_decay(1.0, steps=4)(step), 3) for step in range(6)]
        [1.0, 0.854, 0.5, 0.146, 0.0, 0.0]

    Reference:
        Loshchilov & Hutter (2017), SGDR: Stochastic Gradient Descent with Warm Restarts, eq. 5, without restarts.
    """
    rate, final = checks.rate("cosine_decay", "rate", rate), checks.rate("cosine_decay", "final", final)
    steps = checks.steps("cosine_decay", "steps", steps)
    return _of_steps(lambda step: final + (rate - final) * (1 + math.cos(math.pi * min(step, steps) / steps)) / 2)


@recorded
def linear_warmup(rate: float, steps: int) -> Schedule:
    """rate(step) = rate · min(1, (step + 1) / steps).

    Step 0 moves already, by ``rate / steps``; step ``steps - 1`` is the first at the full rate, which stays.

    Args:
        rate: the rate from step ``steps - 1`` on.
        steps: the number of steps of the warm-up, at least 1.

    Returns:
        The schedule.

    Raises:
        TypeError: an argument is not a number, or ``steps`` is not an int.
        ValueError: an argument is out of range.

    Example:
        >>> [linear_warmup(1.0, steps=4)(step) for step in range(6)]
        [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]

    Reference:
        Goyal et al. (2017), Accurate, Large Minibatch SGD, section 2.2.
    """
    rate, steps = checks.rate("linear_warmup", "rate", rate), checks.steps("linear_warmup", "steps", steps)
    return _of_steps(lambda step: rate * min(1.0, (step + 1) / steps))


@recorded
def join(schedules: Sequence[Rate], boundaries: Sequence[int]) -> Schedule:
    """One schedule after the other; each counts its steps from its own start.

    Args:
        schedules: schedules, or floats for constant rates.
        boundaries: the step at which each but the first takes over, increasing.

    Returns:
        The schedule.

    Raises:
        TypeError: a schedule is neither a number nor a function, or a boundary is not an int.
        ValueError: there are not as many boundaries as changes, or they do not increase.

    Example:
        >>> rate = join([linear_warmup(1.0, steps=2), cosine_decay(1.0, steps=2)], boundaries=[2])
        >>> [rate(step) for step in range(5)]
        [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    for name, given in (("schedules", schedules), ("boundaries", boundaries)):
        if not isinstance(given, list | tuple):
            raise TypeError(f"join: expected {name} as a list, got {shown(given)}")
    parts = [as_schedule(f"join: schedules[{i}]", schedule) for i, schedule in enumerate(schedules)]
    starts = [0, *(checks.steps("join", f"boundaries[{i}]", step) for i, step in enumerate(boundaries))]
    if len(parts) != len(starts):
        raise ValueError(
            f"join: expected one boundary fewer than schedules, got {len(boundaries)} for {len(parts)} schedules"
        )
    if any(later <= earlier for earlier, later in pairwise(starts)):
        raise ValueError(f"join: expected boundaries that increase, got {list(boundaries)}")

    def joined(step: int) -> float:
        part = bisect_right(starts, step) - 1
        return parts[part](step - starts[part])

    return _of_steps(joined)


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
            message names the step.

    Example:
        >>> as_schedule("rate", 0.1)(5), as_schedule("rate", lambda step: 0.1 * step)(5)
        (0.1, 0.5)
    """
    if not callable(rate):
        return constant(checks.rate("", name, rate))
    checks.function("", name, rate, "step")
    return lambda step: checks.rate("", f"{name} at step {step}", _at(rate, step))


def _of_steps(schedule: Callable[[int], float]) -> Schedule:
    """A schedule whose steps are checked: whole numbers from 0 on."""
    return lambda step: _at(schedule, checks.size("a schedule", "step", step, 0))


def _at(schedule: Callable[[int], float], step: int) -> float:
    """The rate at a step; one that grows beyond all floats is infinite."""
    try:
        return schedule(step)
    except OverflowError:
        return math.inf
