"""A schedule says how large a rate is at each step: a plain function ``step -> rate``, with steps that count from 0.

Large steps find the valley and small ones its floor, so a learning rate usually warms up, stays, and decays; wherever
an optimizer takes a rate, a schedule may stand.
"""

import math
import numbers
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeAlias

__all__ = [
    "Schedule",
    "as_schedule",
    "constant",
    "cosine_decay",
    "exponential_decay",
    "join",
    "linear_warmup",
    "step_decay",
]

Schedule: TypeAlias = Callable[[int], float]


def constant(rate: float) -> Schedule:
    """rate(step) = rate.

    Args:
        rate: finite and not negative.

    Returns:
        The schedule.

    Raises:
        TypeError: ``rate`` is no number.
        ValueError: ``rate`` is negative or not finite.

    Example:
        >>> constant(0.1)(1000)
        0.1
    """
    rate = check_rate("rate", rate)
    return lambda step: rate


def step_decay(rate: float, every: int, factor: float) -> Schedule:
    """rate(step) = rate · factor^⌊step / every⌋.

    Args:
        rate: the rate of the first ``every`` steps.
        every: after so many steps the rate falls at once, at least 1.
        factor: what it is multiplied by then, 0.1 for instance; not negative.

    Returns:
        The schedule.

    Raises:
        TypeError: an argument is no number, or ``every`` no int.
        ValueError: an argument is out of range.

    Example:
        >>> [step_decay(0.8, every=2, factor=0.5)(step) for step in range(5)]
        [0.8, 0.8, 0.4, 0.4, 0.2]
    """
    rate, factor = check_rate("rate", rate), check_rate("factor", factor)
    every = _check_steps("every", every)
    return lambda step: rate * factor ** (step // every)


def exponential_decay(rate: float, steps: int, factor: float) -> Schedule:
    """rate(step) = rate · factor^(step / steps): ``step_decay`` without the stairs.

    Args:
        rate: the rate of step 0.
        steps: over so many steps the rate is multiplied by ``factor``, at least 1.
        factor: not negative.

    Returns:
        The schedule.

    Raises:
        TypeError: an argument is no number, or ``steps`` no int.
        ValueError: an argument is out of range.

    Example:
        >>> [exponential_decay(0.8, steps=2, factor=0.25)(step) for step in range(4)]
        [0.8, 0.4, 0.2, 0.1]
    """
    rate, factor = check_rate("rate", rate), check_rate("factor", factor)
    steps = _check_steps("steps", steps)
    return lambda step: rate * factor ** (step / steps)


def cosine_decay(rate: float, steps: int, final: float = 0.0) -> Schedule:
    """rate(step) = final + (rate - final) (1 + cos(π step / steps)) / 2, and ``final`` from ``steps`` on.

    Args:
        rate: the rate of step 0.
        steps: how many steps the way down takes, at least 1.
        final: where it ends and stays, 0.0 by default.

    Returns:
        The schedule.

    Raises:
        TypeError: an argument is no number, or ``steps`` no int.
        ValueError: an argument is out of range.

    Example:
        >>> [round(cosine_decay(1.0, steps=4)(step), 3) for step in range(6)]
        [1.0, 0.854, 0.5, 0.146, 0.0, 0.0]

    Reference:
        Loshchilov & Hutter (2017), SGDR: Stochastic Gradient Descent with Warm Restarts, eq. 5, without restarts.
    """
    rate, final = check_rate("rate", rate), check_rate("final", final)
    steps = _check_steps("steps", steps)
    return lambda step: final + (rate - final) * (1 + math.cos(math.pi * min(step, steps) / steps)) / 2


def linear_warmup(rate: float, steps: int) -> Schedule:
    """rate(step) = rate · min(1, (step + 1) / steps).

    Step 0 moves already, by ``rate / steps``; step ``steps - 1`` is the first at the full rate, which stays.

    Args:
        rate: where the way up ends.
        steps: how many steps it takes, at least 1.

    Returns:
        The schedule.

    Raises:
        TypeError: an argument is no number, or ``steps`` no int.
        ValueError: an argument is out of range.

    Example:
        >>> [linear_warmup(1.0, steps=4)(step) for step in range(6)]
        [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]

    Reference:
        Goyal et al. (2017), Accurate, Large Minibatch SGD, section 2.2.
    """
    rate, steps = check_rate("rate", rate), _check_steps("steps", steps)
    return lambda step: rate * min(1.0, (step + 1) / steps)


def join(schedules: Sequence[float | Schedule], boundaries: Sequence[int]) -> Schedule:
    """One schedule after the other; each counts its steps from its own start.

    Args:
        schedules: schedules, or floats for constant rates.
        boundaries: the step at which each but the first takes over, increasing.

    Returns:
        The schedule.

    Raises:
        TypeError: a schedule is neither a number nor a function, or a boundary no int.
        ValueError: there are not as many boundaries as changes, or they do not increase.

    Example:
        >>> rate = join([linear_warmup(1.0, steps=2), cosine_decay(1.0, steps=2)], boundaries=[2])
        >>> [rate(step) for step in range(5)]
        [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    parts = [as_schedule(f"schedules[{i}]", schedule) for i, schedule in enumerate(schedules)]
    starts = [0, *(_check_steps(f"boundaries[{i}]", step) for i, step in enumerate(boundaries))]
    if len(parts) != len(starts):
        raise ValueError(
            f"join: expected one boundary fewer than schedules, got {len(boundaries)} for {len(parts)} schedules"
        )
    if any(later <= earlier for earlier, later in pairwise(starts)):
        raise ValueError(f"join: expected boundaries that increase, got {list(boundaries)}")

    def joined(step: int) -> float:
        part = bisect_right(starts, step) - 1
        return parts[part](step - starts[part])

    return joined


def as_schedule(name: str, rate: float | Schedule) -> Schedule:
    """The schedule that a rate stands for, which never answers with anything but a valid rate.

    Args:
        name: what the rate is called, for the messages.
        rate: a number, or a schedule.

    Returns:
        ``step -> rate``, a Python float, so that float32 arrays times it stay float32.

    Raises:
        TypeError: ``rate`` is neither.
        ValueError: the number is negative or not finite; a schedule's answers are checked when they are given, and
            the message names the step.

    Example:
        >>> as_schedule("rate", 0.1)(5), as_schedule("rate", lambda step: 0.1 * step)(5)
        (0.1, 0.5)
    """
    if not callable(rate):
        return constant(check_rate(name, rate))
    return lambda step: check_rate(f"{name} at step {step}", rate(step))


def check_rate(name: str, rate: float) -> float:
    """A rate as a Python float, if it is a finite number that is not negative."""
    if not isinstance(rate, numbers.Real) or isinstance(rate, bool):
        raise TypeError(f"{name}: expected a number, got {rate!r}")
    if not 0 <= rate < math.inf:
        raise ValueError(f"{name}: expected a finite number that is not negative, got {rate}; use 0 or more")
    return float(rate)


def _check_steps(name: str, steps: int) -> int:
    """A number of steps, if it is an int of at least 1."""
    if not isinstance(steps, numbers.Integral) or isinstance(steps, bool):
        raise TypeError(f"{name}: expected an int, a number of steps, got {steps!r}; use int(...)")
    if steps < 1:
        raise ValueError(f"{name}: expected at least 1 step, got {steps}")
    return int(steps)
