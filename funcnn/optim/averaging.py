"""Averages of the parameters over the steps: EMA, SWA, ASGD, Lookahead and schedule-free learning.

The average of a run is nearer to the minimum than its last point. It is kept in the optimizer's state, by a transform
at the end of a chain, which knows the next parameters; ``averaged(state, params)`` returns it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import compress
from typing import Any

import numpy as np

from funcnn import checks, tree
from funcnn.aliases import Array, Arrays, Tree
from funcnn.calls import explained
from funcnn.optim.core import Optimizer, OptimizerLike, as_optimizer, chain, lift
from funcnn.optim.elementwise import Slots
from funcnn.optim.schedules import Rate, as_schedule
from funcnn.optim.sgd import decay_of, scale_by_rate
from funcnn.optim.state import Hyper, State
from funcnn.recorded import recorded

__all__ = ["asgd", "averaged", "ema", "lookahead", "schedule_free", "swa"]

AVERAGE = "average"
"""The slot that holds an average of the parameters."""


@recorded
def ema(optimizer: OptimizerLike, decay: float = 0.999, debias: bool = False) -> Optimizer:
    """average = decay · average + (1 - decay) · p after each step: an exponential moving average of the parameters.

    The steps are those of ``optimizer``; ``averaged(state, params)`` returns the average, to evaluate with.

    Args:
        optimizer: an optimizer, or a bare pair ``(init, update)``.
        decay: of the average, in [0, 1). It starts with the first parameters.
        debias: start it without them: the weight of step t is (1 - decay) / (1 - decay^t).

    Returns:
        The optimizer, a chain; the average is under ``ema`` in its state.

    Raises:
        TypeError: ``optimizer`` is not one, ``decay`` is not a number, or ``debias`` is not a bool.
        ValueError: ``decay`` is out of range.

    Example:
        >>> from funcnn.optim import sgd
        >>> optimizer, params = ema(sgd(1.0), decay=0.75), {"w": np.array([1.0])}
        >>> params, state = optimizer.step({"w": np.array([4.0])}, optimizer.init(params), params)
        >>> params, averaged(state, params)
        ({'w': array([-3.])}, {'w': array([0.])})

    Reference:
        Polyak & Juditsky (1992), Acceleration of Stochastic Approximation by Averaging; with fixed weights, as in
        ``torch.optim.swa_utils.get_ema_avg_fn``.
    """
    decay, debias = checks.fraction("ema", "decay", decay), checks.flag("ema", "debias", debias)

    def weight(step: int) -> float:
        return (1 - decay) / (1 - decay ** (step + 1)) if debias else 1 - decay

    return chain(_given("ema", optimizer), _averaging("ema", weight))


@recorded
def swa(optimizer: OptimizerLike, start: int, every: int = 1) -> Optimizer:
    """The plain mean of the parameters after the steps start, start + every, start + 2 every, ...

    The steps are those of ``optimizer``; ``averaged(state, params)`` returns the mean, to evaluate with. Statistics of
    batch norm are not averaged but measured: ``calibrate(model, averaged(state, params), x)``.

    Args:
        optimizer: an optimizer, or a bare pair ``(init, update)``. Its rate is usually constant and high from ``start``
            on, see ``join``.
        start: the step, counted from 0, whose new parameters are the first of the mean; until then it is these.
        every: the number of steps between two members, at least 1: usually an epoch.

    Returns:
        The optimizer, a chain; the mean is under ``swa`` in its state.

    Raises:
        TypeError: ``optimizer`` is not one, or a number of steps is not an int.
        ValueError: ``start`` is negative, or ``every`` is less than 1.

    Example:
        >>> from funcnn.optim import sgd
        >>> optimizer, params = swa(sgd(1.0), start=0), {"w": np.array([1.0])}
        >>> state = optimizer.init(params)
        >>> for _ in range(2):
        ...     params, state = optimizer.step({"w": np.array([4.0])}, state, params)
        >>> params, averaged(state, params)
        ({'w': array([-7.])}, {'w': array([-5.])})

    Reference:
        Izmailov et al. (2018), Averaging Weights Leads to Wider Optima and Better Generalization, algorithm 1.
    """
    start, every = checks.size("swa", "start", start, 0), checks.steps("swa", "every", every)

    def weight(step: int) -> float:
        if step <= start:
            return 1.0
        return 0.0 if (step - start) % every else 1 / ((step - start) // every + 1)

    return chain(_given("swa", optimizer), _averaging("swa", weight))


@recorded
def asgd(
    rate: Rate = 1e-2,
    decay: float = 1e-4,
    power: float = 0.75,
    start: int = 1_000_000,
    weight_decay: float = 0.0,
) -> Optimizer:
    """p = p - η (g + (decay + weight_decay) p),  η = rate / (1 + decay · rate · step)^power, and the mean of p.

    Args:
        rate: the learning rate at step 0, a number or a schedule; 1e-2 is usual.
        decay: how fast η falls, and the decay of the weights, not negative.
        power: the exponent of η, not negative.
        start: the step from which on ``averaged(state, params)`` is the mean of the parameters; until then it is these.
        weight_decay: a further decay of the weights, not negative.

    Returns:
        The optimizer, a chain; the mean is under ``asgd`` in its state.

    Raises:
        TypeError: an argument is not a number, or ``start`` is not an int.
        ValueError: an argument is negative or not finite.

    Example:
        >>> optimizer, params = asgd(0.1, decay=0.0), {"w": np.array([1.0])}
        >>> optimizer.update({"w": np.array([4.0])}, optimizer.init(params), params)[0]
        {'w': array([-0.4])}

    Reference:
        Polyak & Juditsky (1992), Acceleration of Stochastic Approximation by Averaging; the rate, Xu (2011), Towards
        Optimal One Pass Large Scale Learning with Averaged Stochastic Gradient Descent, eq. 6, as in PyTorch.
    """
    decay, power = checks.rate("asgd", "decay", decay), checks.nonnegative("asgd", "power", power)
    weight_decay = checks.rate("asgd", "weight_decay", weight_decay)
    start, schedule = checks.size("asgd", "start", start, 0), as_schedule("scale_by_rate: rate", rate)

    def falling(step: int) -> float:
        first = schedule(step)
        return float(first / (1 + decay * first * step) ** power)

    def weight(step: int) -> float:
        return 1 / max(1, step - start)

    return chain(*decay_of("asgd", decay + weight_decay), scale_by_rate(falling), _averaging("asgd", weight))


@recorded
def lookahead(optimizer: OptimizerLike, every: int = 6, rate: float = 0.5) -> Optimizer:
    """After ``every`` steps of an optimizer, slow = slow + rate · (p - slow) and p = slow.

    Args:
        optimizer: an optimizer, or a bare pair ``(init, update)``.
        every: the number of fast steps, at least 1.
        rate: how far the slow parameters go, in (0, 1].

    Returns:
        The optimizer, a chain; the slow parameters are under ``lookahead`` in its state, and ``averaged(state,
        params)`` returns them. They start as the first parameters.

    Raises:
        TypeError: ``optimizer`` is not one, ``every`` is not an int, or ``rate`` is not a number.
        ValueError: ``every`` is less than 1, or ``rate`` is out of range.

    Example:
        >>> from funcnn.optim import sgd
        >>> optimizer, params = lookahead(sgd(1.0), every=2), {"w": np.array([1.0])}
        >>> state = optimizer.init(params)
        >>> for _ in range(2):
        ...     params, state = optimizer.step({"w": np.array([4.0])}, state, params)
        ...     params
        {'w': array([-3.])}
        {'w': array([-3.])}

    Reference:
        Zhang et al. (2019), Lookahead Optimizer: k steps forward, 1 step back, algorithm 1.
    """
    every, rate = checks.steps("lookahead", "every", every), checks.positive("lookahead", "rate", rate, "0.5")
    if rate > 1:
        raise ValueError(f"lookahead: rate: expected a number in (0, 1], got {rate}; 0.5 is usual")

    def rule(g: Array, state: Slots, p: Array, hyper: Hyper, u: Array, new_state: Slots) -> None:
        slow, new = state[AVERAGE], new_state[AVERAGE]
        if (hyper["step"] + 1) % every:
            u[...] = g
            new[...] = slow
            return
        np.add(p, g, out=u)
        u -= slow
        u *= rate
        np.add(slow, u, out=new)
        np.subtract(new, p, out=u)

    slow = lift("lookahead", rule, slots={AVERAGE: np.copy}, counts=True, in_place=True)
    return chain(_given("lookahead", optimizer), slow)


@recorded
def schedule_free(optimizer: OptimizerLike, b1: float = 0.9, rate: Rate = 1.0, power: float = 2.0) -> Optimizer:
    """z = z + u;  x = (1 - c) x + c z;  p = b1 x + (1 - b1) z: a constant rate, and the averages of a decaying one.

    u is the update of ``optimizer`` at p; ``averaged(state, params)`` returns x, to evaluate with. The weight c of a
    step is w / (the sum of all so far), w = (the largest rate so far)^power.

    Args:
        optimizer: an optimizer without momentum, ``sgd(0.1)`` or ``adamw(1e-3, b1=0.0)``, whose rate does not decay.
            Its rate may be several times as large as otherwise.
        b1: the weight of the average in the parameters, which has the part of a momentum, in [0, 1).
        rate: for the weights of the steps. If the rate of ``optimizer`` is a schedule, a warm-up, the same schedule; a
            constant rate gives all steps the same weight, as the default does.
        power: the exponent of the weights, not negative.

    Returns:
        The optimizer, a chain; z and the average are under ``schedule_free`` in its state.

    Raises:
        TypeError: ``optimizer`` is not one, an argument is not a number, or ``rate`` is neither that nor a schedule.
        ValueError: an argument is out of range.

    Example:
        >>> from funcnn.optim import sgd
        >>> optimizer, params = schedule_free(sgd(1.0), b1=0.5), {"w": np.array([1.0])}
        >>> state = optimizer.init(params)
        >>> for _ in range(2):
        ...     params, state = optimizer.step({"w": np.array([4.0])}, state, params)
        >>> params, averaged(state, params)
        ({'w': array([-6.])}, {'w': array([-5.])})

    Reference:
        Defazio et al. (2024), The Road Less Scheduled, eq. 3 to 5, with the weights of its section 4.
    """
    b1, power = checks.fraction("schedule_free", "b1", b1), checks.nonnegative("schedule_free", "power", power)

    def advance(hyper: Hyper) -> Hyper:
        largest = max(hyper["largest"], hyper["rate"])
        return {"largest": largest, "total": hyper["total"] + largest**power}

    def rule(g: Array, state: Slots, p: Array, hyper: Hyper, u: Array, new_state: Slots) -> None:
        c = hyper["largest"] ** power / hyper["total"] if hyper["total"] else 0.0
        z = np.add(state["z"], g, out=new_state["z"])
        x = np.multiply(state[AVERAGE], 1 - c, out=new_state[AVERAGE])
        x += np.multiply(z, c, out=u)
        np.multiply(z, 1 - b1, out=u)
        u += b1 * x
        u -= p

    slots = {"z": np.copy, AVERAGE: np.copy}
    numbers = {"largest": 0.0, "total": 0.0}
    free = lift(
        "schedule_free", rule, slots=slots, rates={"rate": rate}, counts=True, in_place=True, numbers=numbers,
        advance=advance,
    )  # fmt: skip
    return chain(_given("schedule_free", optimizer), free)


@explained
def averaged(state: State, params: Arrays) -> Tree:
    """The averaged parameters of ``ema``, ``swa``, ``asgd``, ``lookahead`` and ``schedule_free``, to evaluate with.

    Args:
        state: the state of one of these, or of a chain or a partition with it. With several averages of a parameter, it
            is that of the outermost: of ``ema(lookahead(...))``, that of ``ema``. The order of the keys says which one
            that is; a safetensors file does not keep it, but the next step restores it.
        params: the parameters of the last step, which stand where there is no average: those that a mask leaves out,
            integers, booleans.

    Returns:
        A tree like ``params``, with new arrays: a later step may donate the state.

    Raises:
        ValueError: the state holds no average, or it is that of other parameters.

    Example:
        >>> from funcnn.optim import sgd
        >>> optimizer, params = ema(sgd(0.1)), {"w": np.ones(2)}
        >>> averaged(optimizer.init(params), params)
        {'w': array([1., 1.])}
    """
    own = tree.flatten(params)
    found = list(_averages(state))
    if not found:
        keys = sorted(state) if isinstance(state, dict) else checks.what(state)
        raise ValueError(f"averaged: expected the state of ema, swa, asgd, lookahead or schedule_free, got {keys}")
    average = {path: leaf for inner in reversed(found) for path, leaf in tree.flatten(inner).items()}
    if others := [path for path in average if path not in own]:
        raise ValueError(f"averaged: the average has {others[0] or 'an array'}, which is not among the parameters")
    for path, leaf in average.items():
        if np.shape(leaf) != np.shape(own[path]):
            where = path or "the root"
            raise ValueError(
                f"averaged: {where}: expected an average of shape {np.shape(own[path])}, got {np.shape(leaf)}"
            )
    floats = {path for path, leaf in own.items() if np.asarray(leaf).dtype.kind == "f"}
    return tree.map_with_path(
        lambda path, p: np.array(average[path]) if path in average and path in floats else p, params
    )


def _averages(state: Any) -> Iterator[Any]:
    """The averages in a state, the outermost first: those nearest to its root, and in a chain the last one."""
    level = [state]
    while level := [part for part in level if isinstance(part, dict)]:
        averages = [_is_average(part) for part in level]
        yield from (part[AVERAGE] for part in reversed(list(compress(level, averages))))
        level = [child for part, is_one in zip(level, averages, strict=True) if not is_one for child in part.values()]


def _is_average(part: dict[str, Any]) -> bool:
    """Whether this is the state of a transform that averages."""
    step = part.get("step")
    return AVERAGE in part and step is not None and np.ndim(step) == 0


def _given(kind: str, optimizer: Any) -> Optimizer:
    """The optimizer that was given."""
    return as_optimizer(optimizer, f"{kind}: expected an optimizer such as sgd(0.1)")


def _averaging(kind: str, weight: Callable[[int], float]) -> Optimizer:
    """The transform that leaves updates as they are, and adds the next parameters to an average with a weight."""

    def rule(g: Array, state: Slots, p: Array, hyper: Hyper, u: Array, new_state: Slots) -> None:
        w, new = weight(int(hyper["step"])), new_state[AVERAGE]
        if w == 1:
            np.add(p, g, out=new)
        elif w == 0:
            new[...] = state[AVERAGE]
        else:
            np.add(p, g, out=u)
            u -= state[AVERAGE]
            u *= w
            np.add(state[AVERAGE], u, out=new)
        u[...] = g

    return lift(kind, rule, slots={AVERAGE: np.copy}, counts=True, in_place=True)
