"""One walk over memory for a whole chain of rules: each block of a parameter meets all of them while in the cache.

A rule is written for one array and knows nothing of this. An update reads and writes every number that an optimizer
keeps, so it is bound by memory, not by arithmetic; its temporaries cost nothing if they never leave the cache.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from funcnn import tree
from funcnn.aliases import Array, Tree
from funcnn.engine import threads
from funcnn.engine.memory import empty
from funcnn.optim.schedules import Schedule

__all__ = ["Memory", "Numbers", "Rule", "Stage", "State", "check_like", "run"]

State: TypeAlias = dict[str, Any]
Numbers: TypeAlias = Mapping[str, float]
Slots: TypeAlias = dict[str, Array]
Rule: TypeAlias = Callable[[Array, Slots, Array, Numbers, Array, Slots], Any]
"""``rule(g, old, p, now, u, new)`` reads ``g``, ``old`` and ``p``, and writes all of ``u`` and of ``new``."""

BLOCK = 128 * 1024
"""Numbers in a block: a rule like Adam's holds six blocks of 512 KB: more than the second-level cache, but fewer
calls, after each of which two threads may have to wait for each other."""

PART = 2
"""Blocks that a thread works on before it asks for more."""

SMALL = 4 * 1024
"""Numbers in a parameter below which it goes together with others: a call costs as much as its work on so many."""

ALONE = 1024 * 1024
"""Up to so many parameters one thread is as quick as two, which would wait for each other between short blocks."""


@dataclass(frozen=True)
class Memory:
    """What a transform keeps from one step to the next: ``slots``, which are trees like the parameters, and numbers."""

    kind: str
    slots: tuple[str, ...]
    schedules: Mapping[str, Schedule]
    counted: tuple[str, ...]

    def init(self, params: Tree) -> State:
        """The state before the first step."""
        tree.map_with_path(_check_parameter, params)
        state: State = {slot: tree.map(np.zeros_like, params) for slot in self.slots}
        # A rate that was not used yet is not known yet.
        return state | {name: np.array(0) if name == "step" else np.array(np.nan) for name in self.counted}

    def numbers(self, state: State) -> Numbers:
        """The step and the rates of this update, as Python numbers."""
        if not isinstance(state, dict) or state.keys() != {*self.slots, *self.counted}:
            raise ValueError(
                f"{self.kind}: expected a state of {sorted({*self.slots, *self.counted})}, got "
                f"{sorted(state) if isinstance(state, dict) else type(state).__name__}; use init(params)"
            )
        step = int(state["step"]) if self.counted else 0
        return {"step": step} | {name: schedule(step) for name, schedule in self.schedules.items()}

    def after(self, now: Numbers, slots: dict[str, Tree]) -> State:
        """The state after this update."""
        then = {**now, "step": now["step"] + 1}
        return slots | {name: np.array(then[name]) for name in self.counted}


@dataclass(frozen=True)
class Stage:
    """A rule for one array, with its memory and the mask of the parameters that it is for."""

    memory: Memory
    rule: Rule
    mask: Callable[[Tree], Tree] | None = None

    def chosen(self, params: Tree) -> dict[str, bool]:
        """For each path, whether the rule applies."""
        if self.mask is None:
            return {}
        mask = tree.flatten(tree.map(lambda p, chosen: chosen, params, self.mask(params)))
        for path, chosen in mask.items():
            if not isinstance(chosen, bool | np.bool_):
                raise TypeError(
                    f"{self.memory.kind}: expected a mask of one bool for each parameter, "
                    f"got {type(chosen).__name__} at {path!r}"
                )
        return mask


def run(
    stages: Sequence[Stage], grads: Tree, states: Sequence[State], params: Tree, what: str = "a gradient"
) -> tuple[Tree, list[State]]:
    """The updates and the new states of rules that follow each other.

    Args:
        stages: the rules, in order; the update of one is the gradient of the next.
        grads: a tree like ``params``.
        states: of each stage, its state.
        params: the parameters.
        what: what ``grads`` are, for messages.

    Returns:
        ``(updates, states)``, in new memory.

    Raises:
        TypeError: a dtype differs from the parameter's, or a mask is not one of bools.
        ValueError: a tree or a shape differs, or a state is another optimizer's.
    """
    now = [stage.memory.numbers(state) for stage, state in zip(stages, states, strict=True)]
    chosen = [stage.chosen(params) for stage in stages]
    flat = {path: np.asarray(p) for path, p in tree.flatten(params).items()}
    gradients = check_like(what, grads, params, flat)
    old = [
        {slot: check_like(f"state {slot!r}", state[slot], params, flat) for slot in stage.memory.slots}
        for stage, state in zip(stages, states, strict=True)
    ]
    walks: list[_Walk] = []
    places: dict[str, tuple[int, slice]] = {}
    for paths, active in _companies(flat, stages, chosen, now):
        kept = [{slot: _joined(leaves, paths) for slot, leaves in slots.items()} for slots in old]
        end = 0
        for path in paths:
            begin, end = end, end + flat[path].size
            places[path] = len(walks), slice(begin, end)
        walks.append(_Walk(_joined(gradients, paths), _joined(flat, paths), kept, active))
    jobs = [partial(walk.work, start) for walk in walks for start in range(0, walk.p.size, PART * BLOCK)]
    if sum(walk.p.size for walk in walks) > ALONE:
        threads.run(jobs)
    else:
        for job in jobs:
            job()

    def gathered(found: Sequence[Array]) -> Tree:
        """The tree of what was found in each walk."""
        return _like(params, {path: found[at][part].reshape(flat[path].shape) for path, (at, part) in places.items()})

    new = []
    for number, stage in enumerate(stages):
        slots = {slot: gathered([walk.new[number][slot] for walk in walks]) for slot in stage.memory.slots}
        new.append(stage.memory.after(now[number], slots))
    return gathered([walk.update for walk in walks]), new


def _companies(
    flat: Mapping[str, Array], stages: Sequence[Stage], chosen: Sequence[Mapping[str, bool]], now: Sequence[Numbers]
) -> Iterator[tuple[list[str], list[tuple[int, Rule, Numbers]]]]:
    """The paths that go together and the rules for them: each large parameter alone, small ones in company."""
    companies: dict[Any, list[str]] = {}
    for path, p in flat.items():
        active = tuple(number for number in range(len(stages)) if chosen[number].get(path, True))
        # What no rule touches stays what it is, alone.
        company = (active, p.dtype) if active and p.size < SMALL else path
        companies.setdefault((active, company), []).append(path)
    for (active, _), paths in companies.items():
        yield paths, [(number, stages[number].rule, now[number]) for number in active]


def _joined(leaves: Mapping[str, Array], paths: Sequence[str]) -> Array:
    """The numbers of some leaves in a row."""
    rows = [leaves[path].reshape(-1) for path in paths]
    return rows[0] if len(rows) == 1 else np.concatenate(rows)


class _Walk:
    """A large parameter, or small ones in a row, on the way through the rules; parts may be worked on side by side."""

    def __init__(self, gradient: Array, p: Array, old: list[Slots], active: list[tuple[int, Rule, Numbers]]) -> None:
        self.gradient, self.p, self.old, self.active = gradient, p, old, active
        self.update = empty(p.shape, p.dtype) if active else gradient
        self.new = list(old)
        for number, _, _ in active:
            self.new[number] = {slot: empty(p.shape, p.dtype) for slot in old[number]}

    def work(self, start: int) -> None:
        """Let one part meet all the rules, block by block."""
        for first in range(start, min(start + PART * BLOCK, self.p.size), BLOCK):
            block = slice(first, first + BLOCK)
            g, p = self.gradient[block], self.p[block]
            for place, (number, rule, now) in enumerate(self.active, 1):
                u = self.update[block] if place == len(self.active) else empty(p.shape, p.dtype)
                old, new = (
                    {slot: array[block] for slot, array in kept[number].items()} for kept in (self.old, self.new)
                )
                rule(g, old, p, now, u, new)
                g = u


def check_like(what: str, given: Tree, params: Tree, flat: Mapping[str, Array] | None = None) -> dict[str, Array]:
    """The leaves of a tree by path; refused if shapes or dtypes are not the parameters': broadcasting would hide it."""
    flat = tree.flatten(params) if flat is None else flat
    leaves: dict[str, Any] = {}
    if not _beside(params, given, leaves):
        tree.map(lambda p, leaf: None, params, given)  # raises, and names what differs
        leaves = tree.flatten(given)
    for path, p in flat.items():
        leaf = leaves[path] = np.asarray(leaves[path])
        where, p = path or "the root", np.asarray(p)
        if leaf.shape != p.shape:
            raise ValueError(f"{where}: expected {what} of the parameter's shape {p.shape}, got {leaf.shape}")
        if leaf.dtype != p.dtype:
            raise TypeError(
                f"{where}: expected {what} of the parameter's dtype {p.dtype}, got {leaf.dtype}; "
                f"use tree.cast(..., np.{p.dtype})"
            )
    return leaves


def _beside(params: Tree, given: Tree, leaves: dict[str, Any], prefix: str = "") -> bool:
    """Collect the leaves of a tree by their paths in another; False if they are not of one structure."""
    if not isinstance(params, dict):
        leaves[prefix] = given
        return not isinstance(given, dict | list | tuple)
    if not isinstance(given, dict) or given.keys() != params.keys():
        return False
    for name, node in params.items():
        if isinstance(node, dict):
            if not _beside(node, given[name], leaves, f"{prefix}{name}/"):
                return False
        elif isinstance(given[name], dict | list | tuple):
            return False
        else:
            leaves[prefix + name] = given[name]
    return True


def _check_parameter(path: str, p: Array) -> None:
    """Refuse what cannot move by small steps."""
    if np.asarray(p).dtype.kind != "f":
        raise TypeError(
            f"{path or 'the root'}: expected parameters of floats, got {np.asarray(p).dtype}; use tree.cast"
        )


def _like(params: Tree, flat: Mapping[str, Array], prefix: str = "") -> Tree:
    """The tree with these leaves, in the order in which the parameters stand."""
    if not isinstance(params, dict):
        return flat[prefix]
    return {
        name: _like(node, flat, f"{prefix}{name}/") if isinstance(node, dict) else flat[prefix + name]
        for name, node in params.items()
    }
