"""An optimizer turns gradients into updates, and its memory of earlier gradients is a value that goes in and comes out.

A rule is written for one array and lifted to trees here, once; ``chain`` lets the updates of one rule be the gradients
of the next, so that every known optimizer is a chain of two or three.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any, TypeAlias

import numpy as np

from funcnn.aliases import Tree
from funcnn.optim.elementwise import Memory, Numbers, Rule, Stage, State, check_like, run
from funcnn.optim.schedules import Schedule, as_schedule

__all__ = [
    "Optimizer",
    "apply_updates",
    "chain",
    "current_rate",
    "current_step",
    "lift",
    "transform",
]

TreeRule: TypeAlias = Callable[[Tree, dict[str, Tree], Tree, Numbers], tuple[Tree, dict[str, Tree]]]


@dataclass(frozen=True, eq=False)
class Optimizer:
    """The pair, and its name; ``init, update = optimizer`` unpacks it.

    Args:
        init: ``init(params) -> state``, a nested dict of arrays.
        update: ``update(grads, state, params) -> (updates, state)``; ``apply_updates`` adds the updates.
        kind: the name under which ``chain`` keeps its state.
        transforms: the parts, if it is a chain.
        stage: the rule for one array, if it was lifted from one.

    Example:
        >>> import numpy as np
        >>> from funcnn.optim import sgd
        >>> optimizer = sgd(0.1)
        >>> params = {"w": np.array([1.0, 2.0])}
        >>> updates, state = optimizer.update({"w": np.array([5.0, 0.0])}, optimizer.init(params), params)
        >>> updates
        {'w': array([-0.5, -0. ])}
    """

    init: Callable[[Tree], State]
    update: Callable[[Tree, State, Tree], tuple[Tree, State]]
    kind: str = "optimizer"
    transforms: tuple["Optimizer", ...] = ()
    stage: Stage | None = None

    def __iter__(self) -> Iterator[Any]:
        return iter((self.init, self.update))


def lift(
    kind: str,
    rule: Rule,
    *,
    slots: tuple[str, ...] = (),
    rates: Mapping[str, float | Schedule] | None = None,
    counts: bool = False,
    mask: Callable[[Tree], Tree] | None = None,
) -> Optimizer:
    """Make an optimizer of a rule for one array.

    Args:
        kind: its name.
        rule: ``rule(g, old, p, now, u, new)``, elementwise in the gradient ``g``, the parameter ``p`` and the arrays
            in ``old``, none of which it may change. It writes the update to ``u`` and to the arrays in ``new`` what
            comes back as ``old`` next time; ``now`` holds the step (from 0) and the rates, as Python numbers.
        slots: the names of the arrays in ``old`` and ``new``, which are like the parameter and zero at first.
        rates: the rule's rates by name, each a number or a schedule.
        counts: keep the step and the rates in the state even if no rate is a schedule.
        mask: ``mask(params) -> tree of bools``; where False the gradient passes unchanged. All True by default.

    Returns:
        The optimizer. Its state is ``{slot: tree like params}``, and ``{"step": ..., rate: ...}`` if it counts.

    Raises:
        TypeError: a rate is neither a number nor a schedule.
        ValueError: a rate is negative or not finite.

    Example:
        >>> import numpy as np
        >>> halve = lift("halve", lambda g, old, p, now, u, new: np.divide(g, 2, out=u))
        >>> halve.update({"w": np.ones(2)}, {}, {"w": np.zeros(2)})
        ({'w': array([0.5, 0.5])}, {})
    """
    stage = Stage(_memory(kind, slots, rates, counts), rule, mask)

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, State]:
        updates, (new,) = run([stage], grads, [state], params)
        return updates, new

    return Optimizer(stage.memory.init, update, kind, stage=stage)


def transform(
    kind: str,
    rule: TreeRule,
    *,
    slots: tuple[str, ...] = (),
    rates: Mapping[str, float | Schedule] | None = None,
    counts: bool = False,
) -> Optimizer:
    """Make an optimizer of a rule that must see the whole tree, as a global norm does; see ``lift`` for all others.

    Args:
        kind: its name.
        rule: ``rule(grads, slots, params, now) -> (updates, slots)``, like that of ``lift`` with trees for arrays.
        slots: as in ``lift``.
        rates: as in ``lift``.
        counts: as in ``lift``.

    Returns:
        The optimizer.

    Raises:
        TypeError: a rate is neither a number nor a schedule.
        ValueError: a rate is negative or not finite.

    Example:
        >>> import numpy as np
        >>> nothing = transform("nothing", lambda grads, slots, params, now: (grads, slots))
        >>> nothing.init({"w": np.ones(2)})
        {}
    """
    memory = _memory(kind, slots, rates, counts)

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, State]:
        now = memory.numbers(state)
        check_like("a gradient", grads, params)
        for slot in slots:
            check_like(f"state {slot!r}", state[slot], params)
        updates, new = rule(grads, {slot: state[slot] for slot in slots}, params, now)
        return updates, memory.after(now, new)

    return Optimizer(memory.init, update, kind)


def chain(*transforms: Optimizer) -> Optimizer:
    """Let the updates of each transform be the gradients of the next.

    Args:
        *transforms: optimizers in the order in which they act; a chain among them is taken apart.

    Returns:
        An optimizer. Its state holds the state of each transform under its kind, ``scale_by_adam``, the second of a
        kind as ``scale_by_adam_1``; a transform without state leaves no entry.

    Raises:
        TypeError: one of them is no ``Optimizer``.
        ValueError: there is none.

    Example:
        >>> import numpy as np
        >>> from funcnn.optim import clip_by_global_norm, sgd
        >>> optimizer = chain(clip_by_global_norm(1.0), sgd(0.1))
        >>> params = {"w": np.array([1.0, 1.0])}
        >>> updates, state = optimizer.update({"w": np.array([3.0, 4.0])}, optimizer.init(params), params)
        >>> updates["w"].round(3), list(state)
        (array([-0.06, -0.08]), ['scale_by_rate'])
    """
    for part in transforms:
        if not isinstance(part, Optimizer):
            hint = f"; call it: {part.__name__}(...)" if hasattr(part, "__name__") else ""
            raise TypeError(f"chain: expected optimizers, got {part!r}{hint}")
    if not transforms:
        raise ValueError("chain: expected at least one transform, got none; use sgd(rate) for the plainest")
    parts: dict[str, Optimizer] = {}
    for part in (inner for outer in transforms for inner in outer.transforms or (outer,)):
        earlier = sum(other.kind == part.kind for other in parts.values())
        parts[f"{part.kind}_{earlier}" if earlier else part.kind] = part

    def init(params: Tree) -> State:
        states = {name: part.init(params) for name, part in parts.items()}
        return {name: state for name, state in states.items() if state}

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, State]:
        if unknown := state.keys() - parts.keys():
            raise ValueError(
                f"chain: expected a state of {list(parts)}, got {sorted(unknown)} in it; "
                "is it the state of another optimizer? use init(params)"
            )
        new: State = {}
        # Neighbours that are rules for one array go over the parameters together, in a single walk.
        for together, group in groupby(parts.items(), key=lambda item: item[1].stage is not None):
            names, members = zip(*group, strict=True)
            states = [state.get(name, {}) for name in names]
            if together:
                grads, kept = run([part.stage for part in members], grads, states, params)
            else:
                kept = []
                for part, own in zip(members, states, strict=True):
                    grads, after = part.update(grads, own, params)
                    kept.append(after)
            new |= {name: own for name, own in zip(names, kept, strict=True) if own}
        return grads, new

    return Optimizer(init, update, "chain", tuple(parts.values()))


def apply_updates(params: Tree, updates: Tree) -> Tree:
    """params + updates, leaf by leaf.

    Args:
        params: the parameters.
        updates: a tree like them.

    Returns:
        The new parameters; the old ones stay what they were.

    Raises:
        TypeError: an update has another dtype than its parameter.
        ValueError: an update has another shape than its parameter, or the trees differ.

    Example:
        >>> import numpy as np
        >>> apply_updates({"w": np.array([1.0, 2.0])}, {"w": np.array([0.5, -0.5])})
        {'w': array([1.5, 1.5])}
    """
    new, _ = run([ADD], updates, [{}], params, what="an update")
    return new


ADD = Stage(Memory("apply_updates", (), {}, ()), lambda update, old, p, now, u, new: np.add(p, update, out=u))


def current_step(state: State) -> int:
    """How many updates led to this state of a chain.

    Args:
        state: the state of a chain, so of every ready-made optimizer. All its transforms count the same updates; if
            somebody put together a state whose counts differ, it is the largest.

    Returns:
        The number of updates, which is also the number of the next step.

    Raises:
        ValueError: nothing in the state counts steps.

    Example:
        >>> import numpy as np
        >>> from funcnn.optim import adam
        >>> current_step(adam(1e-3).init({"w": np.zeros(2)}))
        0
    """
    counts = [int(part["step"]) for part in state.values() if isinstance(part, dict) and "step" in part]
    if not counts:
        raise ValueError(f"expected the state of a chain that counts steps, got {sorted(state)}; add scale_by_rate")
    return max(counts)


def current_rate(state: State) -> float:
    """The learning rate of the update that led to this state of a chain.

    Args:
        state: the state of a chain, so of every ready-made optimizer. With several ``scale_by_rate``, the first tells.

    Returns:
        The learning rate; NaN before the first update.

    Raises:
        ValueError: the chain has no ``scale_by_rate``.

    Example:
        >>> import numpy as np
        >>> from funcnn.optim import sgd
        >>> optimizer = sgd(lambda step: 0.1 / (step + 1))
        >>> params = grads = {"w": np.zeros(2)}
        >>> _, state = optimizer.update(grads, optimizer.init(params), params)
        >>> current_rate(state)
        0.1
    """
    if "scale_by_rate" not in state:
        raise ValueError(f"expected the state of a chain with scale_by_rate, got one of {sorted(state)}")
    return float(state["scale_by_rate"]["rate"])


def _memory(kind: str, slots: tuple[str, ...], rates: Mapping[str, float | Schedule] | None, counts: bool) -> Memory:
    """The memory of a transform, which counts steps if it is told to or if a rate depends on them."""
    rates = rates or {}
    schedules = {name: as_schedule(name, rate) for name, rate in rates.items()}
    counted = ("step", *rates) if counts or any(callable(rate) for rate in rates.values()) else ()
    return Memory(kind, slots, schedules, counted)
