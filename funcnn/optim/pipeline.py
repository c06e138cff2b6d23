"""An optimizer as a sequence of parts, each for some of the parameters and with a state of its own.

``chain`` puts the parts of several optimizers one after the other, ``masked`` and ``partition`` restrict them to some
parameters. Here the parts run: everything is checked first, then neighbours that are rules for one array share one
fused pass, which may go on to the parameters themselves.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress, groupby
from typing import Any, TypeAlias

import numpy as np

from funcnn import checks, tree
from funcnn.aliases import Tree
from funcnn.calls import explained
from funcnn.optim.donation import check_donated, copied_where_shared
from funcnn.optim.elementwise import ADD, ElementwiseRule, G, P, Step, run_fused
from funcnn.optim.masks import Flags, chosen, paths, pruned, spread
from funcnn.optim.state import Beside, Hyper, StateSpec, beside, kept, rebuilt

__all__ = ["Pair", "Part", "Pipeline", "TreeRule", "WholeTreeRule"]

TreeRule: TypeAlias = Callable[[Tree, dict[str, Tree], Tree, Hyper], tuple[Tree, Mapping[str, Tree]]]


@dataclass(frozen=True)
class WholeTreeRule:
    """A rule that sees all parameters at once, with the specification of its state."""

    spec: StateSpec
    rule: TreeRule


@dataclass(frozen=True)
class Pair:
    """An optimizer of which nothing but its two functions is known."""

    init: Callable[[Tree], Any]
    update: Callable[..., tuple[Tree, Any]]


@dataclass(frozen=True)
class Part:
    """A transform in a pipeline.

    Args:
        work: what it does.
        path: the keys under which the pipeline's state holds its state.
        flags: the functions that choose its parameters; see ``masks.chosen``.
    """

    work: ElementwiseRule | WholeTreeRule | Pair
    path: tuple[str, ...] = ()
    flags: tuple[Flags, ...] = ()

    def init(self, params: Tree) -> Any:
        """Its first state."""
        work = self.work
        return work.init(params) if isinstance(work, Pair) else work.spec.init(params)


class Pipeline:
    """The functions ``init``, ``update`` and ``step`` of an optimizer that is made of parts.

    Args:
        kind: the optimizer's name, for messages.
        parts: its parts, in the order in which they act.
        transforms: the optimizers that it consists of, if it is a chain.
        what: what the gradients are, for messages.
    """

    def __init__(
        self, kind: str, parts: Sequence[Part], transforms: Sequence[Any] = (), what: str = "a gradient"
    ) -> None:
        self.kind, self.parts, self.transforms, self.what = kind, tuple(parts), tuple(transforms), what
        self.keys = _nested([part.path for part in self.parts])
        self.donates = not any(isinstance(part.work, Pair) for part in self.parts)
        self.slots: list[list[tuple[str, int]]] = []
        self.names = ["the parameter", what]
        for part in self.parts:
            slots = () if isinstance(part.work, Pair) else part.work.spec.slots
            self.slots.append([(slot, number) for number, slot in enumerate(slots, len(self.names))])
            self.names += [f"state {slot!r}" for slot in slots]
        self.rules = {n: part.work for n, part in enumerate(self.parts) if isinstance(part.work, ElementwiseRule)}
        by_kind = groupby(range(len(self.parts)), self.rules.__contains__)
        self.passes: list[tuple[int, ...]] = []
        for elementwise, numbers in by_kind:
            self.passes += [tuple(numbers)] if elementwise else [(n,) for n in numbers]
        # A rule for the whole tree may raise; so only the passes after the last one write into what was donated.
        whole = [i for i, (n, *_) in enumerate(self.passes) if isinstance(self.parts[n].work, WholeTreeRule)]
        self.first_donating = whole[-1] + 1 if whole else 0

    def init(self, params: Tree) -> Any:
        """The state before the first step: the state of each part under its path, if it has any."""
        for path, p in tree.flatten(params).items():  # raises if it is not made of dicts
            if p is None:
                raise TypeError(f"{path or 'the root'}: expected a parameter, got None")
        flags = self.chosen(params)
        return self._joined([part.init(pruned(params, flags[part.flags])) for part in self.parts])

    def chosen(self, params: Tree) -> dict[tuple[Flags, ...], list[bool] | None]:
        """Whether each parameter is chosen, by the functions that choose."""
        return {flags: chosen(flags, params) for flags in dict.fromkeys(part.flags for part in self.parts)}

    @explained
    def update(self, grads: Tree, state: Any, params: Tree, donate: bool = False) -> tuple[Tree, Any]:
        """The updates and the next state."""
        return self._run(grads, state, params, donate, adds=False)

    def step(self, grads: Tree, state: Any, params: Tree, donate: bool = False) -> tuple[Tree, Any]:
        """The next parameters and the next state."""
        return self._run(grads, state, params, donate, adds=True)

    def _run(self, grads: Tree, state: Any, params: Tree, donate: bool, adds: bool) -> tuple[Tree, Any]:
        """Check everything, then run one pass after the other on the leaves, and make trees of them again."""
        donate = checks.flag(self.kind, "donate", donate) and self.donates
        checked = self._beside(params, grads)
        leaves = [checked.param_leaves, checked.grad_leaves]
        run = _Run(self, checked, leaves, self._states(state), donate)
        if donate:
            written = [number for n in self.rules for _, number in self.slots[n]]
            check_donated(leaves, [P, *written] if adds else written, run.name)
        last = len(self.parts) - 1
        passes = self.passes if last in self.rules or not adds else [*self.passes, ()]
        # The square of a large gradient is infinite in float32, and then its weight stays as it is, as in PyTorch.
        with np.errstate(over="ignore"):
            for number, numbers in enumerate(passes):
                work = self.parts[numbers[0]].work if numbers else None
                if isinstance(work, WholeTreeRule):
                    run.whole_tree(numbers[0], work, adds)
                elif isinstance(work, Pair):
                    run.pair(numbers[0], work)
                else:
                    steps = [run.step(n) for n in numbers]
                    adding = [ADD] if adds and number == len(passes) - 1 else []
                    run_fused(leaves, [*steps, *adding], donate and number >= self.first_donating)
        return rebuilt(params, leaves[P if adds else G]), self._joined(run.new_states())

    def _beside(self, params: Tree, grads: Tree) -> Beside:
        """Gradients checked beside the parameters; the error says so if one of them is a state of this optimizer."""
        try:
            return beside(params, grads, self.what)
        except (TypeError, ValueError) as error:
            for name, given in (("params", params), ("grads", grads)):
                if self._is_state(given):
                    raise type(error)(
                        f"{self.kind}: the state was given as {name}; the order is (grads, state, params)"
                    ) from None
            raise

    def _is_state(self, given: Any) -> bool:
        """Whether a tree has the keys of a state of this optimizer; parts without a state have none in it."""
        if not isinstance(given, dict) or not given:
            return False
        if self.keys is not None:
            return given.keys() <= self.keys.keys()
        work = self.parts[0].work
        return not isinstance(work, Pair) and given.keys() == work.spec.names

    def _states(self, state: Any) -> list[Any]:
        """The state of each part; an error if the state has a key that leads to none of them."""
        _check_keys(self.kind, "", self.keys, state)
        found = []
        for part in self.parts:
            own = state
            for key in part.path:
                own = own.get(key, {})
            found.append(own)
        return found

    def _joined(self, states: Iterable[Any]) -> Any:
        """The states of the parts as one, without those that are empty."""
        joined: Any = {}
        for part, own in zip(self.parts, states, strict=True):
            if isinstance(own, dict) and not own:
                continue
            if not part.path:
                return own
            node = joined
            for key in part.path[:-1]:
                node = node.setdefault(key, {})
            node[part.path[-1]] = own
        return joined


class _Run:
    """One update of a pipeline: its hyper-parameters, and the leaves of all trees, which its passes replace."""

    def __init__(self, pipeline: Pipeline, checked: Beside, leaves: list[list[Any]], states: list[Any], donate: bool):
        self.pipeline, self.params, self.leaves, self.donate = pipeline, checked.params, leaves, donate
        self.flags = pipeline.chosen(self.params)
        beside_chosen = {flags: self._beside(found, checked) for flags, found in self.flags.items()}
        self.hypers: list[Hyper] = []
        self.states = states
        for part, slots, state in zip(pipeline.parts, pipeline.slots, states, strict=True):
            if isinstance(part.work, Pair):
                self.hypers.append({})
                continue
            spec = part.work.spec
            self.hypers.append(spec.hyper(state))
            for slot, number in slots:
                own = beside_chosen[part.flags].leaves(state[slot], pipeline.names[number], spec.expected(slot))
                leaves.append(spread(own, self.flags[part.flags]))

    def _beside(self, found: Sequence[bool] | None, checked: Beside) -> Beside:
        """The check of slots beside the chosen parameters."""
        if found is None or all(found):
            return checked
        return beside(pruned(self.params, found), self._chosen(G, found), self.pipeline.what)

    def _chosen(self, number: int, found: Sequence[bool] | None) -> Tree:
        """The tree of the chosen leaves."""
        leaves = self.leaves[number]
        return rebuilt(pruned(self.params, found), leaves if found is None else compress(leaves, found))

    def step(self, n: int) -> Step:
        """The step of a rule for one array."""
        found = self.flags[self.pipeline.parts[n].flags]
        return Step(self.pipeline.rules[n], self.hypers[n], self.pipeline.slots[n], found)

    def whole_tree(self, n: int, work: WholeTreeRule, adds: bool) -> None:
        """Run a rule for the whole tree."""
        found = self.flags[self.pipeline.parts[n].flags]
        slots = {slot: self._chosen(number, found) for slot, number in self.pipeline.slots[n]}
        returned = work.rule(self._chosen(G, found), slots, self._chosen(P, found), self.hypers[n])
        updates, new_slots = checks.returned_pair(f"{work.spec.kind}: the rule", returned, "(updates, slots)")
        numbers = work.spec.numbers
        expected = slots.keys() | numbers.keys()
        if not isinstance(new_slots, Mapping) or new_slots.keys() != expected:
            got = sorted(new_slots) if isinstance(new_slots, Mapping) else checks.what(new_slots)
            raise ValueError(f"{work.spec.kind}: expected a rule that returns the state {sorted(expected)}, got {got}")
        hyper = {**self.hypers[n], **{name: float(new_slots[name]) for name in numbers}} if numbers else self.hypers[n]
        new_slots = {slot: kept(old, new_slots[slot]) for slot, old in slots.items()}
        self._replace_updates(work.spec.kind, updates, found)
        if self.donate:
            # A rule may return what it was given, and then a later pass would write into it.
            new_slots = tree.map(np.array, new_slots)
            if adds:
                self.leaves[G] = copied_where_shared(self.leaves[G], self.leaves[P])
        self.states[n] = work.spec.after(hyper, new_slots)

    def pair(self, n: int, work: Pair) -> None:
        """Run an update of which nothing is known."""
        found = self.flags[self.pipeline.parts[n].flags]
        returned = work.update(self._chosen(G, found), self.states[n], self._chosen(P, found))
        updates, self.states[n] = checks.returned_pair("update", returned, "(updates, state)")
        self._replace_updates("update", updates, found)

    def _replace_updates(self, kind: str, updates: Tree, found: Sequence[bool] | None) -> None:
        """Let the updates of the chosen parameters be the gradients of the next pass; errors name ``kind``."""
        try:
            new = beside(pruned(self.params, found), updates, "an update").grad_leaves
        except (TypeError, ValueError) as error:
            raise type(error)(f"{kind}: {error}") from None
        updated = list(self.leaves[G])
        places = range(len(updated)) if found is None else compress(range(len(found)), found)
        for i, update in zip(places, new, strict=True):
            if update is not None and updated[i] is None:
                where = paths(self.params)[i] or "the root"
                raise ValueError(f"{where}: expected None as an update, since there is no gradient, got an array")
            updated[i] = update
        self.leaves[G] = updated

    def new_states(self) -> Iterator[Any]:
        """The next state of each part."""
        for n, (part, slots) in enumerate(zip(self.pipeline.parts, self.pipeline.slots, strict=True)):
            if rule := self.pipeline.rules.get(n):
                trees = {slot: self._chosen(number, self.flags[part.flags]) for slot, number in slots}
                yield rule.spec.after(self.hypers[n], trees)
            else:
                yield self.states[n]

    def name(self, place: tuple[int, int]) -> str:
        """What a leaf is, for messages."""
        number, i = place
        return f"{paths(self.params)[i] or 'the root'}: {self.pipeline.names[number]}"


def _nested(paths: Sequence[tuple[str, ...]]) -> dict[str, Any] | None:
    """The keys of a state as nested dicts, with None for the state of a part."""
    if () in paths:
        return None
    return {path[0]: _nested([p[1:] for p in paths if p[0] == path[0]]) for path in paths}


def _check_keys(kind: str, where: str, keys: dict[str, Any] | None, state: Any) -> None:
    """Raise if a state has a key that is not one of these."""
    if keys is None:
        return
    if not isinstance(state, dict):
        found = type(state).__name__
        raise ValueError(f"{kind}: expected a state of {list(keys)}{where}, got {found}; use init(params)")
    if unknown := state.keys() - keys.keys():
        raise ValueError(
            f"{kind}: expected a state of {list(keys)}{where}, got {sorted(unknown)} in it; "
            "is it the state of another optimizer? use init(params)"
        )
    for key, inner in keys.items():
        if key in state:
            _check_keys(kind, f" under {key!r}", inner, state[key])
