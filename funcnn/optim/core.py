"""An optimizer turns gradients into updates; its state is a value that ``update`` takes and returns.

A rule is written for one array and lifted to trees here, once. ``chain`` passes the updates of one rule to the next as
its gradients, so that every known optimizer is a chain of two or three.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

import numpy as np

from funcnn import checks, spellings, tree
from funcnn.aliases import Array, Arrays, Tree
from funcnn.calls import explained
from funcnn.optim.elementwise import ElementwiseRule, Rule
from funcnn.optim.masks import Flags, Mask, as_flags
from funcnn.optim.pipeline import Pair, Part, Pipeline, TreeRule, WholeTreeRule
from funcnn.optim.schedules import Rate
from funcnn.optim.state import Advance, Hyper, SlotStarts, State, check_kind, state_spec
from funcnn.recorded import Call, described, recorded, reduced
from funcnn.wording import shown, uncalled

__all__ = [
    "Optimizer",
    "OptimizerLike",
    "apply_updates",
    "as_optimizer",
    "chain",
    "current_rate",
    "current_step",
    "lift",
    "transform",
]

T = TypeVar("T", bound=Arrays)


class OptimizerInit(Protocol):
    """The ``init`` of an ``Optimizer``."""

    def __call__(self, params: Arrays) -> State:
        """The state before the first step."""


class OptimizerUpdate(Protocol):
    """The ``update`` of an ``Optimizer``."""

    def __call__(self, grads: Arrays, state: State, params: T, donate: bool = False) -> tuple[T, State]:
        """The updates, a tree like the parameters, and the next state."""


@dataclass(frozen=True, eq=False, repr=False)
class Optimizer:
    """The pair, and what describes it; ``init, update = optimizer`` unpacks it.

    Args:
        init: ``init(params) -> state``, a nested dict of arrays.
        update: ``update(grads, state, params) -> (updates, state)``; ``apply_updates`` adds the updates. Where
            ``grads`` holds None, so does ``updates``, and the state of that parameter keeps its bits. With
            ``donate=True`` the new state is written into the arrays of ``state``, see ``step``.
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

    init: OptimizerInit
    update: OptimizerUpdate
    kind: str = "optimizer"
    call: Call | None = None

    if TYPE_CHECKING:  # what is passed may have fewer keywords than what the fields hold

        def __init__(
            self, init: Callable[[Any], Any], update: Callable[[Any, Any, Any], tuple[Any, Any]], kind: str = ...,
            call: Call | None = ...,
        ) -> None: ...  # fmt: skip

    def __post_init__(self) -> None:
        checks.function("an optimizer", "init", self.init, "params")
        checks.function("an optimizer", "update", self.update, "grads, state, params")

    def __iter__(self) -> Iterator[Any]:
        return iter((self.init, self.update))

    if not TYPE_CHECKING:  # which knows of itself what an optimizer has

        def __getattr__(self, name: str) -> Any:
            raise spellings.no_attribute(self, name)

    @explained
    def step(self, grads: Arrays, state: State, params: T, donate: bool = False) -> tuple[T, State]:
        """``update`` and ``apply_updates`` in one fused pass over memory, with the same bits.

        Args:
            grads: the gradients, a tree like ``params``. Where it holds None, the parameter itself is returned, and
                its state keeps its bits.
            state: ``init(params)``, or the state that the step before returned.
            params: the parameters.
            donate: the caller needs ``params`` and ``state`` no longer: the new ones are written into their arrays.
                ``grads`` is only read. Everything that the library checks, and every rule for the whole tree, comes
                before the first write; only if a rule for one array raises an error, as ``lift`` takes it, may they be
                half written. What stands before a rule for the whole tree makes new arrays therefore, and so does a
                step with an ``update`` of your own in it, which may keep what it was given.

        Returns:
            ``(params, state)``, the new ones. Use these after a donation too: counts are always new arrays.

        Raises:
            TypeError: a dtype differs from the parameter's, or is not float32 or float64; ``donate`` is not a bool.
            ValueError: a tree or a shape differs, or the state is another optimizer's; with ``donate``, an array that
                would be written is read-only or shares memory with another. Then nothing has been written.

        Example:
            >>> import numpy as np
            >>> from funcnn.optim import sgd
            >>> optimizer, params = sgd(0.5), {"w": np.array([1.0, 2.0])}
            >>> new, state = optimizer.step({"w": np.array([2.0, 0.0])}, optimizer.init(params), params, donate=True)
            >>> new["w"], new["w"] is params["w"]
            (array([0., 2.]), True)
        """
        pipeline = _pipeline(self.update)
        if pipeline is not None:
            return pipeline.step(grads, state, params, donate)
        updates, state = checks.returned_pair("update", self.update(grads, state, params), "(updates, state)")
        return apply_updates(params, updates), state

    @property
    def donates(self) -> bool:
        """Whether ``step`` makes use of a donation: not with an ``update`` of one's own in it."""
        pipeline = _pipeline(self.update)
        return pipeline is not None and pipeline.donates

    @property
    def transforms(self) -> tuple[Optimizer, ...]:
        """The transforms, if it is a chain."""
        pipeline = _own_pipeline(self)
        return () if pipeline is None else pipeline.transforms

    def __repr__(self) -> str:
        return described(self, self.kind)

    def __reduce__(self) -> Any:
        return reduced(self, f"the optimizer {self!r}")


OptimizerLike: TypeAlias = Optimizer | tuple[Callable[[Any], Any], Callable[[Any, Any, Any], tuple[Any, Any]]]
"""What is taken as an optimizer: an ``Optimizer``, or the bare pair of its functions."""


@explained
def lift(
    kind: str,
    rule: Rule,
    *,
    slots: SlotStarts = (),
    rates: Mapping[str, Rate] | None = None,
    counts: bool = False,
    mask: Mask | None = None,
    in_place: bool = False,
    numbers: Mapping[str, float] | None = None,
    advance: Advance | None = None,
) -> Optimizer:
    """Make an optimizer of a rule for one array.

    Args:
        kind: its name.
        rule: ``rule(g, state, p, hyper, u, new_state)``, elementwise in the gradient ``g``, the parameter ``p`` and the
            arrays in ``state``, none of which it may change. It writes the update to ``u`` and the next update's
            state to the arrays in ``new_state``; ``hyper`` holds the step (from 0) and the rates, as Python numbers.
            Where an array in ``new_state`` is the update, as a momentum is, it may return that instead of a copy in
            ``u``.
        slots: the names of the arrays in ``state`` and ``new_state``, which are like the parameter and zero at first;
            or ``{name: start}``, where ``start(p)`` is the first array for a parameter, of any shape that follows from
            that of ``p``. Unless every start is ``np.zeros_like``, ``np.ones_like``, ``np.copy`` or
            ``partial(np.full_like, fill_value=...)``, the rule need not be elementwise: it is given one whole parameter
            after the other, in its shape.
        rates: the rule's rates by name, each a number or a schedule.
        counts: keep the step and the rates in the state even if no rate is a schedule.
        mask: as for ``masked``. All parameters by default.
        in_place: the rule gives the same bits if the arrays in ``new_state`` are those in ``state``: it has read an
            element of a slot for the last time when it writes it. Then a donated state is updated without a copy.
        numbers: ``{name: first value}`` of numbers that belong to no parameter, kept in the state as float64.
        advance: ``advance(hyper) -> {name: value}``, the numbers of this update, where ``hyper`` holds the old ones;
            the rule finds the new ones in its ``hyper``.

    Returns:
        The optimizer. Its state is ``{slot: tree}`` with an array for each parameter that the mask chooses,
        ``{"step": ..., rate: ...}`` if it counts, and the numbers.

    Raises:
        TypeError: the rule or a start is not such a function, a rate is neither a number nor a schedule, a flag is not
            a bool; or, at an update, the rule returns something, since its update would be lost.
        ValueError: a rate is negative or not finite, or a name cannot be a key.

    Example:
        >>> import numpy as np
        >>> halve = lift("halve", lambda g, state, p, hyper, u, new_state: np.divide(g, 2, out=u))
        >>> halve.update({"w": np.ones(2)}, {}, {"w": np.zeros(2)})
        ({'w': array([0.5, 0.5])}, {})
    """
    check_kind(kind)
    checks.function(kind, "rule", rule, "g, state, p, hyper, u, new_state")
    in_place = checks.flag(kind, "in_place", in_place)
    if advance is not None:
        checks.function(kind, "advance", advance, "hyper")
    work = ElementwiseRule(state_spec(kind, slots, rates, counts, numbers, advance), rule, in_place)
    return assembled(kind, [Part(work, flags=() if mask is None else (as_flags(kind, mask),))])


@explained
def transform(
    kind: str,
    rule: TreeRule,
    *,
    slots: SlotStarts = (),
    rates: Mapping[str, Rate] | None = None,
    counts: bool = False,
    numbers: Mapping[str, float] | None = None,
) -> Optimizer:
    """Make an optimizer of a rule that must see the whole tree, as a global norm does; see ``lift`` for all others.

    Args:
        kind: its name.
        rule: ``rule(grads, slots, params, hyper) -> (updates, slots)``, like that of ``lift`` with trees for arrays. A
            gradient may be None, as that of an integer or frozen parameter is; its update must be None, and where a
            slot is None, as ``tree.map`` gives it, the array before is kept.
        slots: as in ``lift``.
        rates: as in ``lift``.
        counts: as in ``lift``.
        numbers: as in ``lift``; the rule returns their new values among its slots.

    Returns:
        The optimizer.

    Raises:
        TypeError: the rule is not such a function, a rate is neither a number nor a schedule; or, at an update, the
            rule returns something else.
        ValueError: a rate is negative or not finite, or a name cannot be a key.

    Example:
        >>> import numpy as np
        >>> nothing = transform("nothing", lambda grads, slots, params, hyper: (grads, slots))
        >>> nothing.init({"w": np.ones(2)})
        {}
    """
    check_kind(kind)
    checks.function(kind, "rule", rule, "grads, slots, params, hyper")
    return assembled(kind, [Part(WholeTreeRule(state_spec(kind, slots, rates, counts, numbers), rule))])


def array_by_array(
    kind: str, change: Callable[[Array, Array, Hyper], Array], rates: Mapping[str, Rate] | None = None
) -> Optimizer:
    """Make an optimizer without slots of a rule that must see a whole array: u = change(g, p, hyper)."""

    def rule(grads: Tree, slots: dict[str, Tree], params: Tree, hyper: Hyper) -> tuple[Tree, dict[str, Tree]]:
        return tree.map(lambda g, p: np.asarray(change(g, p, hyper)), grads, params), {}

    return transform(kind, rule, rates=rates)


@recorded
def chain(*transforms: OptimizerLike) -> Optimizer:
    """Let the updates of each transform be the gradients of the next.

    Args:
        *transforms: optimizers in the order in which they act, or bare pairs ``(init, update)``; a chain among them is
            taken apart.

    Returns:
        An optimizer. Its state holds the state of each transform under its kind, ``scale_by_adam``, the second of a
        kind as ``scale_by_adam_1``, a bare pair's under ``optimizer``; a transform without state leaves no entry.

    Raises:
        TypeError: one of them is not an optimizer.
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
    given = [as_optimizer(part, "chain: expected optimizers") for part in transforms]
    if not given:
        raise ValueError("chain: expected at least one transform, got none; use sgd(rate) for the plainest")
    inner = [one for outer in given for one in outer.transforms or (outer,)]
    keys = distinct(one.kind for one in inner)
    return assembled(
        "chain", [part for key, one in zip(keys, inner, strict=True) for part in parts_of(one, key)], inner
    )


def distinct(names: Iterable[str]) -> list[str]:
    """The names as keys of a state: the second of a name with ``_1``, the third with ``_2``."""
    keys: list[str] = []
    for name in names:
        key, number = name, 0
        while key in keys:
            number += 1
            key = f"{name}_{number}"
        keys.append(key)
    return keys


def parts_of(optimizer: Optimizer, key: str | None = None, flags: tuple[Flags, ...] = ()) -> list[Part]:
    """The parts of an optimizer, with their states under a key, for fewer parameters."""
    pipeline = _own_pipeline(optimizer)
    parts = [Part(Pair(*optimizer))] if pipeline is None else pipeline.parts
    above = () if key is None else (key,)
    return [replace(part, path=above + part.path, flags=flags + part.flags) for part in parts]


def assembled(kind: str, parts: Sequence[Part], transforms: Sequence[Optimizer] = ()) -> Optimizer:
    """The optimizer of these parts; ``transforms`` are those of a chain."""
    pipeline = Pipeline(kind, parts, transforms)
    return Optimizer(pipeline.init, pipeline.update, kind)


def _pipeline(update: Callable[..., Any]) -> Pipeline | None:
    """The pipeline of which this is the ``update``; None for a function of one's own."""
    owner = getattr(update, "__self__", None)
    return owner if isinstance(owner, Pipeline) and update == owner.update else None


def _own_pipeline(optimizer: Optimizer) -> Pipeline | None:
    """The pipeline of which an optimizer has both functions; ``replace(optimizer, init=...)`` has not."""
    pipeline = _pipeline(optimizer.update)
    return pipeline if pipeline is not None and optimizer.init == pipeline.init else None


@explained
def as_optimizer(pair: OptimizerLike, expected: str = "expected an optimizer such as adam(1e-3)") -> Optimizer:
    """The ``Optimizer`` of a bare pair ``(init, update)``; an ``Optimizer`` is returned as it is.

    Args:
        pair: an ``Optimizer``, or a tuple of two functions.
        expected: how the message begins if it is neither.

    Returns:
        An ``Optimizer``, which has ``step``.

    Raises:
        TypeError: ``pair`` is neither, for example a constructor that was not called.

    Example:
        >>> import numpy as np
        >>> descent = (lambda params: {}, lambda grads, state, params: ({"w": -0.5 * grads["w"]}, state))
        >>> as_optimizer(descent).step({"w": np.array([2.0])}, {}, {"w": np.array([1.0])})
        ({'w': array([0.])}, {})
    """
    if isinstance(pair, Optimizer):
        return pair
    if not (isinstance(pair, tuple) and len(pair) == 2 and all(map(checks.is_function, pair))):
        write = spellings.name(pair)
        raise TypeError(f"{expected}, got {shown(pair)}" + (f"; write {write}" if write else uncalled(pair)))
    return Optimizer(*pair)


@explained
def apply_updates(params: T, updates: Arrays, donate: bool = False) -> T:
    """params + updates, leaf by leaf.

    Args:
        params: the parameters.
        updates: a tree like them; where it holds None, the parameter itself is returned.
        donate: the caller needs ``params`` no longer: the new ones are written into their arrays.

    Returns:
        The new parameters; the old ones are not changed unless they are donated.

    Raises:
        TypeError: an update has another dtype than its parameter.
        ValueError: an update has another shape than its parameter, or the trees differ; or a donated array is read-only
            or shares memory with another.

    Example:
        >>> import numpy as np
        >>> apply_updates({"w": np.array([1.0, 2.0])}, {"w": np.array([0.5, -0.5])})
        {'w': array([1.5, 1.5])}
    """
    new: T = ADDITION.step(updates, {}, params, donate)[0]
    return new


ADDITION = Pipeline("apply_updates", (), what="an update")
"""Without parts, the step from updates to parameters."""


@explained
def current_step(state: State) -> int:
    """How many updates led to this state of a chain.

    Args:
        state: the state of a chain or a partition, so of every ready-made optimizer. All transforms count the same
            updates; if somebody put together a state whose counts differ, it is the largest.

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
    counts = [int(part["step"]) for _, part in _counting("", state)]
    if not counts:
        raise ValueError(f"expected the state of a chain that counts steps, got {_keys(state)}; add scale_by_rate")
    return max(counts)


@explained
def current_rate(state: State) -> float:
    """The learning rate of the update that led to this state of a chain.

    Args:
        state: the state of a chain or a partition, so of every ready-made optimizer. With several ``scale_by_rate``,
            it is that of the first.

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
    rates = [part["rate"] for key, part in _counting("", state) if key == "scale_by_rate"]
    if not rates:
        raise ValueError(f"expected the state of a chain with scale_by_rate, got one of {_keys(state)}")
    return float(rates[0])


def _keys(state: Any) -> Any:
    """What a state holds, for messages."""
    return sorted(state) if isinstance(state, dict) else checks.what(state)


def _counting(key: str, state: Any) -> Iterator[tuple[str, State]]:
    """The states in a state that count steps, with their keys; a parameter called ``step`` is of floats."""
    if isinstance(state, dict):
        step = state.get("step")
        if not isinstance(step, dict | None) and np.ndim(step) == 0 and np.asarray(step).dtype.kind in "iu":
            yield key, state
        else:
            for name, part in state.items():
                yield from _counting(name, part)
