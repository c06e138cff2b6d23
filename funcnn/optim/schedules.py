"""A schedule is a function ``step -> rate``; steps count from 0.

A learning rate usually warms up, stays and decays. Wherever an optimizer takes a rate, a schedule may stand.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import pairwise

from funcnn import checks
from funcnn.optim.cycles import cosine_between, cosine_with_restarts, cyclic, one_cycle, warmup_cosine
from funcnn.optim.rates import Rate, Schedule, as_schedule, constant, of_steps
from funcnn.recorded import recorded
from funcnn.wording import shown

__all__ = [
    "Rate", "Schedule", "as_schedule", "constant", "cosine_decay", "cosine_with_restarts", "cyclic",
    "exponential_decay", "inverse_square_root", "join", "linear_warmup", "one_cycle", "piecewise_constant",
    "polynomial_decay", "step_decay", "warmup_cosine",
]  # fmt: skip


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
    return of_steps(lambda step: rate * factor ** (step // every))


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
    return of_steps(lambda step: rate * factor ** (step / steps))


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
    return of_steps(lambda step: cosine_between(rate, final, min(step, steps) / steps))


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
    return of_steps(lambda step: rate * min(1.0, (step + 1) / steps))


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

    return of_steps(joined)


@recorded
def polynomial_decay(rate: float, steps: int, power: float = 1.0, final: float = 0.0) -> Schedule:
    """rate(step) = final + (rate - final) (1 - step / steps)^power, and ``final`` from ``steps`` on.

    Args:
        rate: the rate of step 0.
        steps: the number of steps from ``rate`` to ``final``, at least 1.
        power: the exponent, positive: 1.0, the default, is a straight line.
        final: the rate from ``steps`` on, 0.0 by default.

    Returns:
        The schedule.

    Raises:
        TypeError: an argument is not a number, or ``steps`` is not an int.
        ValueError: an argument is out of range.

    Example:
        >>> [polynomial_decay(1.0, steps=4, power=2.0)(step) for step in range(6)]
        [1.0, 0.5625, 0.25, 0.0625, 0.0, 0.0]
    """
    kind = "polynomial_decay"
    rate, final = checks.rate(kind, "rate", rate), checks.rate(kind, "final", final)
    steps, power = checks.steps(kind, "steps", steps), checks.positive(kind, "power", power, "1.0")
    return of_steps(lambda step: final + (rate - final) * (1 - min(step, steps) / steps) ** power)


@recorded
def inverse_square_root(rate: float, warmup: int) -> Schedule:
    """rate(step) = rate · min(t / warmup, √(warmup / t)),  t = step + 1: a linear warm-up, then a slow decay.

    Args:
        rate: the highest rate, that of step ``warmup - 1``; the paper's is 1 / √(width · warmup).
        warmup: the number of steps of the warm-up, at least 1.

    Returns:
        The schedule.

    Raises:
        TypeError: ``rate`` is not a number, or ``warmup`` is not an int.
        ValueError: an argument is out of range.

    Example:
        >>> [round(inverse_square_root(1.0, warmup=2)(step), 3) for step in (0, 1, 2, 7)]
        [0.5, 1.0, 0.816, 0.5]

    Reference:
        Vaswani et al. (2017), Attention Is All You Need, eq. 3.
    """
    kind = "inverse_square_root"
    rate, warmup = checks.rate(kind, "rate", rate), checks.steps(kind, "warmup", warmup)
    return of_steps(lambda step: rate * min((step + 1) / warmup, math.sqrt(warmup / (step + 1))))


@recorded
def piecewise_constant(rate: float, factors: Mapping[int, float]) -> Schedule:
    """rate(step) = rate · the product of the factors of all boundaries <= step.

    Args:
        rate: the rate of step 0.
        factors: ``{boundary: factor}``, the steps, at least 1, from which on the rate is multiplied by a factor.

    Returns:
        The schedule.

    Raises:
        TypeError: ``rate`` or a factor is not a number, a boundary is not an int, or ``factors`` is not a dict.
        ValueError: an argument is out of range.

    Example:
        >>> [piecewise_constant(0.8, {2: 0.5, 3: 0.5})(step) for step in range(5)]
        [0.8, 0.8, 0.4, 0.2, 0.2]
    """
    kind = "piecewise_constant"
    rate = checks.rate(kind, "rate", rate)
    if not isinstance(factors, Mapping):
        raise TypeError(f"{kind}: factors: expected a dict {{boundary: factor}}, got {shown(factors)}")
    changes = [
        (checks.steps(kind, "a boundary", step), checks.rate(kind, f"factors[{step}]", factor))
        for step, factor in factors.items()
    ]
    return of_steps(lambda step: rate * math.prod(factor for boundary, factor in changes if boundary <= step))
