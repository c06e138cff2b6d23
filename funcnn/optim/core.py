"""An optimizer turns gradients into updates; its state is a value that ``update`` takes and returns.

A rule is written for one array and lifted to trees here, once. ``chain`` passes the updates of one rule to the next as
its gradients, so that every known optimizer is a chain of two or three.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any, TypeAlias

import numpy as np

from funcnn.aliases import Array, Tree
from funcnn.optim.elementwise import ElementwiseRule, FusedPass, P, Rule, Slots
from funcnn.optim.schedules import Schedule
from funcnn.optim.state import Hyper, State, leaves_beside, state_spec
from funcnn.recorded import Call, made, recorded

__all__ = [
    "Optimizer",
    "apply_updates",
    "chain",
    "current_rate",
    "current_step",
    "lift",
    "transform",
]

TreeRule: TypeAlias = Callable[[Tree, dict[str, Tree], Tree, Hyper], tuple[Tree, dict[str, Tree]]]


@dataclass(frozen=True, eq=False, repr=False)
class Optimizer:
    """The pair, and what describes it; ``init, update = optimizer`` unpacks it.

    Args:
        init: ``init(params) -> state``, a nested dict of arrays.
        update: ``update(grads, state, params) -> (updates, state)``; ``apply_updates`` adds the updates. Where
            ``grads`` holds None, so does ``updates``, and the state of that parameter keeps its bits.
        kind: the name under which ``chain`` keeps its state.
        call: the recorded call that made it, which ``repr``, ``pickle`` and ``copy`` read. It holds only for the
            ``update`` that it made.

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
    call: Call | None = None

    def __iter__(self) -> Iterator[Any]:
        return iter((self.init, self.update))

    @property
    def transforms(self) -> tuple["Optimizer", ...]:
        """The transforms, if it is a chain."""
        return self._described("transforms") or ()

    @property
    def rule(self) -> ElementwiseRule | None:
        """The rule for one array, if it was lifted from one."""
        rule: ElementwiseRule | None = self._described("rule")
        return rule

    def _described(self, name: str) -> Any:
        """An attribute of ``update`` by its maker, so that ``replace(optimizer, update=...)`` replaces it too."""
        # functools.wraps copies the attributes to a function that does something else.
        return None if hasattr(self.update, "__wrapped__") else getattr(self.update, name, None)

    def __repr__(self) -> str:
        if self.call is None:
            return self.kind
        return repr(self.call) if self.call.made is self.update else f"<{self.call!r} with another update>"

    def __reduce__(self) -> Any:
        if self.call is None or self.call.made is not self.update:
            raise TypeError(
                f"the optimizer {self!r} has no recorded call that describes it, so it cannot be pickled or copied; "
                "write a function that returns it, decorate it with @funcnn.recorded.recorded, and call that"
            )
        return made, (self.call.constructor, dict(self.call.arguments))


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
        rule: ``rule(g, state, p, hyper, u, new_state)``, elementwise in the gradient ``g``, the parameter ``p`` and the
            arrays in ``state``, none of which it may change. It writes the update to ``u`` and the next update's
            state to the arrays in ``new_state``; ``hyper`` holds the step (from 0) and the rates, as
            Python numbers.
        slots: the names of the arrays in ``state`` and ``new_state``, which are like the parameter and zero at first.
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
        >>> halve = lift("halve", lambda g, state, p, hyper, u, new_state: np.divide(g, 2, out=u))
        >>> halve.update({"w": np.ones(2)}, {}, {"w": np.zeros(2)})
        ({'w': array([0.5, 0.5])}, {})
    """
    spec = state_spec(kind, slots, rates, counts)
    elementwise = ElementwiseRule(spec, rule, mask)
    fused = FusedPass([elementwise])

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, State]:
        updates, (new_state,) = fused(grads, [state], params)
        return updates, new_state

    update.rule = elementwise  # type: ignore[attr-defined]
    return Optimizer(spec.init, update, kind)


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
        rule: ``rule(grads, slots, params, hyper) -> (updates, slots)``, like that of ``lift`` with trees for arrays. A
            gradient may be None, as that of an integer or frozen parameter is; its update must be None.
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
        >>> nothing = transform("nothing", lambda grads, slots, params, hyper: (grads, slots))
        >>> nothing.init({"w": np.ones(2)})
        {}
    """
    spec = state_spec(kind, slots, rates, counts)
    names = ("a gradient", *(f"state {slot!r}" for slot in slots))

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, State]:
        hyper = spec.hyper(state)
        own = {slot: state[slot] for slot in slots}
        leaves_beside(params, [grads, *own.values()], names)
        updates, new_slots = rule(grads, own, params, hyper)
        return updates, spec.after(hyper, new_slots)

    return Optimizer(spec.init, update, kind)


@recorded
def chain(*transforms: Optimizer) -> Optimizer:
    """Let the updates of each transform be the gradients of the next.

    Args:
        *transforms: optimizers in the order in which they act; a chain among them is taken apart.

    Returns:
        An optimizer. Its state holds the state of each transform under its kind, ``scale_by_adam``, the second of a
        kind as ``scale_by_adam_1``; a transform without state leaves no entry.

    Raises:
        TypeError: one of them is not an ``Optimizer``.
        ValueError: there is none.

    Example:
        >>> import numpy as np
        >>> from funcnn.optim import clip_by_global_norm, sgd
        >>> optimizer = chain(clip_by_global_norm(1.0), sgd(0.1))
        >>> params = {"w": np.array([1.0, 1.0])}
        >>> updates, state = optimizer.update({"w": np.array([3.0, 4.0])}, optimizer.init(params), params)
        >>> updates["w"].round(3), list(state)
        (array([-0.06, -0.08]), ['scale_by_rate'])
        >>> optimizer
        chain(clip_by_global_norm(1.0), sgd(0.1))
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
    stages = list(_stages(parts))

    def init(params: Tree) -> State:
        states = {name: part.init(params) for name, part in parts.items()}
        return {name: state for name, state in states.items() if state}

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, State]:
        if unknown := state.keys() - parts.keys():
            raise ValueError(
                f"chain: expected a state of {list(parts)}, got {sorted(unknown)} in it; "
                "is it the state of another optimizer? use init(params)"
            )
        new_state: State = {}
        for names, update_all in stages:
            grads, own = update_all(grads, [state.get(name, {}) for name in names], params)
            new_state |= {name: after for name, after in zip(names, own, strict=True) if after}
        return grads, new_state

    update.transforms = tuple(parts.values())  # type: ignore[attr-defined]
    return Optimizer(init, update, "chain")


def _stages(parts: Mapping[str, Optimizer]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The names of the transforms that act together, and their ``update(grads, states, params)``."""
    for elementwise, group in groupby(parts.items(), key=lambda item: item[1].rule is not None):
        names, members = zip(*group, strict=True)
        if elementwise:
            # Neighbours that are rules for one array share one fused pass over the parameters.
            yield names, FusedPass([part.rule for part in members])
        else:
            yield from (((name,), partial(_update_one, part)) for name, part in zip(names, members, strict=True))


def _update_one(part: Optimizer, grads: Tree, states: list[State], params: Tree) -> tuple[Tree, list[State]]:
    """The update of one transform, in the form of a ``FusedPass``."""
    updates, new_state = part.update(grads, states[0], params)
    return updates, [new_state]


def apply_updates(params: Tree, updates: Tree) -> Tree:
    """params + updates, leaf by leaf.

    Args:
        params: the parameters.
        updates: a tree like them; where it holds None, the parameter itself is returned.

    Returns:
        The new parameters; the old ones are not changed.

    Raises:
        TypeError: an update has another dtype than its parameter.
        ValueError: an update has another shape than its parameter, or the trees differ.

    Example:
        >>> import numpy as np
        >>> apply_updates({"w": np.array([1.0, 2.0])}, {"w": np.array([0.5, -0.5])})
        {'w': array([1.5, 1.5])}
    """
    new_params, _ = ADD(updates, [{}], params)
    return new_params


def _add(update: Array, state: Slots, p: Array, hyper: Hyper, u: Array, new_state: Slots) -> None:
    """u = p + update."""
    np.add(p, update, out=u)


ADD = FusedPass([ElementwiseRule(state_spec("apply_updates"), _add)], "an update", fallback=P)


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
        state: the state of a chain, so of every ready-made optimizer. With several ``scale_by_rate``, it is that of
            the first.

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
