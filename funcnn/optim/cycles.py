"""Schedules of several phases, which go up and down once or again and again."""

from __future__ import annotations

import math
from typing import Literal

from funcnn import checks
from funcnn.optim.rates import Schedule, of_steps
from funcnn.recorded import recorded
from funcnn.wording import shown

__all__ = ["cosine_with_restarts", "cyclic", "one_cycle", "warmup_cosine"]


@recorded
def cosine_with_restarts(rate: float, steps: int, growth: int = 1, final: float = 0.0) -> Schedule:
    """``cosine_decay`` again and again: the first takes ``steps`` steps, and each later one ``growth`` times as many.

    Args:
        rate: the rate at the start of each decay.
        steps: the number of steps of the first, at least 1.
        growth: a whole number, at least 1.
        final: the rate that each decay approaches, 0.0 by default.

    Returns:
        The schedule.

    Raises:
        TypeError: ``rate`` or ``final`` is not a number, or ``steps`` or ``growth`` is not an int.
        ValueError: an argument is out of range.

    Example:
        >>> [round(cosine_with_restarts(1.0, steps=2, growth=2)(step), 3) for step in range(7)]
        [1.0, 0.5, 1.0, 0.854, 0.5, 0.146, 1.0]

    Reference:
        Loshchilov & Hutter (2017), SGDR: Stochastic Gradient Descent with Warm Restarts, eq. 5.
    """
    kind = "cosine_with_restarts"
    rate, final = checks.rate(kind, "rate", rate), checks.rate(kind, "final", final)
    steps, growth = checks.steps(kind, "steps", steps), checks.size(kind, "growth", growth)

    def restarted(step: int) -> float:
        length = steps
        if growth == 1:
            step %= length
        while step >= length:
            step, length = step - length, length * growth
        return cosine_between(rate, final, step / length)

    return of_steps(restarted)


@recorded
def warmup_cosine(rate: float, warmup: int, steps: int, start: float = 0.0, final: float = 0.0) -> Schedule:
    """A straight line from ``start`` at step 0 to ``rate`` at step ``warmup``, then a ``cosine_decay`` to ``final``.

    Args:
        rate: the highest rate.
        warmup: the number of steps of the line, at least 1.
        steps: the step from which on the rate is ``final``, more than ``warmup``.
        start: the rate of step 0, 0.0 by default.
        final: the rate from ``steps`` on, 0.0 by default.

    Returns:
        The schedule.

    Raises:
        TypeError: a rate is not a number, or a number of steps is not an int.
        ValueError: an argument is out of range.

    Example:
        >>> [round(warmup_cosine(1.0, warmup=2, steps=6)(step), 3) for step in range(7)]
        [0.0, 0.5, 1.0, 0.854, 0.5, 0.146, 0.0]
    """
    kind = "warmup_cosine"
    rate, start, final = (
        checks.rate(kind, name, value) for name, value in (("rate", rate), ("start", start), ("final", final))
    )
    warmup, steps = checks.steps(kind, "warmup", warmup), checks.steps(kind, "steps", steps)
    if steps <= warmup:
        raise ValueError(f"{kind}: expected more steps than those of the warm-up, got {steps=} and {warmup=}")

    def warmed(step: int) -> float:
        if step < warmup:
            return start + (rate - start) * step / warmup
        return cosine_between(rate, final, min(1.0, (step - warmup) / (steps - warmup)))

    return of_steps(warmed)


@recorded
def one_cycle(
    rate: float,
    steps: int,
    warmup: float = 0.3,
    start_divisor: float = 25.0,
    final_divisor: float = 1e4,
    shape: Literal["cosine", "linear"] = "cosine",
    three_phase: bool = False,
) -> Schedule:
    """From rate / start_divisor up to ``rate`` in a fraction of the steps, then down to rate / (both divisors).

    Args:
        rate: the highest rate.
        steps: the number of all steps, at least 1; the last rate stays afterwards.
        warmup: the fraction of the steps in which the rate increases, in [0, 1).
        start_divisor: ``rate`` over the first rate, positive.
        final_divisor: the first rate over the last one, positive.
        shape: ``"cosine"`` or ``"linear"``, the shape of the phases.
        three_phase: decrease to the first rate in as many steps as the increase took, then to the last one.

    Returns:
        The schedule.

    Raises:
        TypeError: an argument has another type.
        ValueError: an argument is out of range.

    Example:
        >>> [round(one_cycle(1.0, steps=6, warmup=0.5)(step), 3) for step in range(7)]
        [0.04, 0.52, 1.0, 0.75, 0.25, 0.0, 0.0]

    Reference:
        Smith & Topin (2018), Super-Convergence: Very Fast Training of Neural Networks Using Large Learning Rates; the
        phases are those of PyTorch.
    """
    kind = "one_cycle"
    rate, steps = checks.rate(kind, "rate", rate), checks.steps(kind, "steps", steps)
    warmup, three_phase = checks.fraction(kind, "warmup", warmup), checks.flag(kind, "three_phase", three_phase)
    first = rate / checks.positive(kind, "start_divisor", start_divisor, "25")
    last = first / checks.positive(kind, "final_divisor", final_divisor, "1e4")
    if shape not in ("cosine", "linear"):
        raise ValueError(f"{kind}: shape: expected 'cosine' or 'linear', got {shown(shape)}")
    if three_phase and warmup > 0.5:
        raise ValueError(f"{kind}: expected a warmup of at most 0.5 with three phases, got {warmup}")
    top = warmup * steps - 1
    phases = [(top, first, rate), *([(2 * top, rate, first)] if three_phase else [])]
    phases.append((steps - 1.0, phases[-1][2], last))

    def cycled(step: int) -> float:
        begin = 0.0
        for end, high, low in phases:
            if step <= end:
                part = (step - begin) / (end - begin) if end > begin else 1.0
                return cosine_between(high, low, part) if shape == "cosine" else (low - high) * part + high
            begin = end
        return last

    return of_steps(cycled)


@recorded
def cyclic(
    low: float,
    high: float,
    up: int = 2000,
    down: int | None = None,
    shape: Literal["triangular", "halving", "exponential"] = "triangular",
    factor: float = 1.0,
) -> Schedule:
    """From ``low`` to ``high`` in ``up`` steps, back in ``down`` steps, and again.

    Args:
        low: the lowest rate, that of step 0.
        high: the highest rate, at least ``low``.
        up: the number of steps in which it increases, at least 1.
        down: the number in which it decreases; ``up`` by default.
        shape: ``"triangular"``, all cycles are alike; ``"halving"``, each is half as high as the one before;
            ``"exponential"``, the height above ``low`` is multiplied by factor^step.
        factor: for ``"exponential"``, in (0, 1].

    Returns:
        The schedule.

    Raises:
        TypeError: an argument has another type.
        ValueError: an argument is out of range.

    Example:
        >>> [cyclic(0.0, 1.0, up=2, shape="halving")(step) for step in range(7)]
        [0.0, 0.5, 1.0, 0.5, 0.0, 0.25, 0.5]

    Reference:
        Smith (2017), Cyclical Learning Rates for Training Neural Networks, section 3.
    """
    kind = "cyclic"
    low, high = checks.rate(kind, "low", low), checks.rate(kind, "high", high)
    up = checks.steps(kind, "up", up)
    fall = up if down is None else checks.steps(kind, "down", down)
    factor = checks.positive(kind, "factor", factor, "0.999")
    if high < low:
        raise ValueError(f"{kind}: expected low <= high, got {low=} and {high=}")
    if shape not in ("triangular", "halving", "exponential"):
        raise ValueError(f"{kind}: shape: expected 'triangular', 'halving' or 'exponential', got {shown(shape)}")
    if factor > 1:
        raise ValueError(f"{kind}: factor: expected a number in (0, 1], got {factor}")

    def turned(step: int) -> float:
        cycle, at = divmod(step, up + fall)
        height = at / up if at <= up else (up + fall - at) / fall
        if shape == "halving":
            height *= 0.5**cycle
        elif shape == "exponential":
            height *= factor**step
        return low + (high - low) * height

    return of_steps(turned)


def cosine_between(start: float, end: float, part: float) -> float:
    """Half a cosine from ``start`` to ``end``, as ``part`` goes from 0 to 1."""
    return end + (start - end) * (1 + math.cos(math.pi * part)) / 2
