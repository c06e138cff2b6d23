"""One fused pass over the parameters for a whole chain of rules: a block goes through all of them while in the cache.

A rule is written for one array and does not know about this. An update reads and writes all elements of an optimizer's
state, so it is bound by memory, not by arithmetic; its temporaries cost nothing if they never leave the cache.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import compress, repeat
from operator import itemgetter
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from funcnn import tree
from funcnn.aliases import Array, Tree
from funcnn.engine import threads
from funcnn.engine.memory import empty
from funcnn.optim.state import Hyper, State, StateSpec, aligned, leaves_beside, rebuilt

__all__ = ["ElementwiseRule", "FusedPass", "Rule", "scaled_square"]

Slots: TypeAlias = dict[str, Array]
Rule: TypeAlias = Callable[[Array, Slots, Array, Hyper, Array, Slots], Any]
"""``rule(g, state, p, hyper, u, new_state)`` reads ``g``, ``state`` and ``p``, and writes all of ``u`` and
``new_state``."""

BLOCK_SIZE = 128 * 1024
"""Elements in a block. A rule like Adam's reads and writes six blocks of 512 KB: more than the second-level cache, but
with fewer calls, after each of which two threads may have to wait for each other."""

BLOCKS_PER_TASK = 2
"""Blocks that a thread works on before it takes the next task."""

SMALL_PARAMETER_MAX = 4 * 1024
"""Elements of the largest parameter that is grouped with others: up to here a call costs as much as its arithmetic."""

SERIAL_MAX_SIZE = 1024 * 1024
"""Elements up to which one thread is as fast as two, which would wait for each other between short blocks."""

POOLED_MIN_BYTES = 128 * 1024
"""Bytes from which on an array is a pooled buffer: glibc gives larger ones back to the system when they are freed."""

P, G, U = 0, 1, 1
"""The places of parameters, gradients and updates among the trees of a pass; the slots of all rules follow."""


@dataclass(frozen=True)
class ElementwiseRule:
    """A rule for one array, with the specification of its state and the mask of the parameters that it is for."""

    spec: StateSpec
    rule: Rule
    mask: Callable[[Tree], Tree] | None = None

    def chosen(self, params: Tree) -> Iterable[bool]:
        """Whether the rule applies, for each parameter in the order of ``aligned``."""
        if self.mask is None:
            return repeat(True)
        mask = self.mask(params)
        flags = aligned(params, mask)
        if flags is None or not all(isinstance(flag, bool | np.bool_) for flag in flags):
            tree.map_with_path(self._check_flag, params, mask)
        return flags or ()

    def _check_flag(self, path: str, p: Array, flag: Any) -> None:
        """Raise if a leaf of the mask is not a bool."""
        if not isinstance(flag, bool | np.bool_):
            raise TypeError(
                f"{self.spec.kind}: expected a mask of one bool for each parameter, "
                f"got {type(flag).__name__} at {path!r}"
            )


class Step(NamedTuple):
    """A rule in one update: with its hyper-parameters, and with the places of its slots among the trees."""

    rule: Rule
    hyper: Hyper
    slots: Sequence[tuple[str, int]]


class Task(NamedTuple):
    """Steps for one parameter or for several small ones in a row: flat arrays, in the order of the trees."""

    steps: Sequence[Step]
    old: list[Array]
    new: list[Array]


class FusedPass:
    """Rules that follow each other, as one function of trees: ``(grads, states, params) -> (updates, new states)``.

    Args:
        rules: the rules, in order; the update of one is the gradient of the next.
        what: what the gradients are, for messages.
        fallback: the place of the leaf that is returned where the gradient is None: U is None itself, P the parameter.

    Raises:
        TypeError: on the call, a dtype differs from the parameter's, or a mask is not one of bools.
        ValueError: on the call, a tree or a shape differs, or a state is another optimizer's.
    """

    def __init__(self, rules: Sequence[ElementwiseRule], what: str = "a gradient", fallback: int = U) -> None:
        self.rules, self.fallback = rules, fallback
        self.masked = any(rule.mask is not None for rule in rules)
        self.names, self.slots = [what], []
        for rule in rules:
            self.slots.append([(slot, place) for place, slot in enumerate(rule.spec.slots, len(self.names) + 1)])
            self.names += [f"state {slot!r}" for slot in rule.spec.slots]

    def __call__(self, grads: Tree, states: Sequence[State], params: Tree) -> tuple[Tree, list[State]]:
        """The updates and the new state of each rule; where ``grads`` holds None, None and the state as it is."""
        steps, trees = [], [grads]
        for rule, slots, state in zip(self.rules, self.slots, states, strict=True):
            steps.append(Step(rule.rule, rule.spec.hyper(state), slots))
            trees += [state[slot] for slot, _ in slots]
        # By tree, then by parameter. What no rule changes stays in its place.
        leaves = leaves_beside(params, trees, self.names)
        run_all([make_task(leaves, places, active) for places, active in self.groups(leaves, steps, params)])
        new_states = [
            rule.spec.after(step.hyper, {slot: rebuilt(params, leaves[place]) for slot, place in step.slots})
            for rule, step in zip(self.rules, steps, strict=True)
        ]
        updates = leaves[U]
        if self.fallback != U:
            updates = [other if u is None else u for u, other in zip(updates, leaves[self.fallback], strict=True)]
        return rebuilt(params, updates), new_states

    def groups(
        self, leaves: list[list[Any]], steps: list[Step], params: Tree
    ) -> Iterator[tuple[list[int], Sequence[Step]]]:
        """The places of parameters that go together and the steps for them: a large one alone, small ones grouped."""
        chosen: Iterable[Any] = repeat(None)
        if self.masked:
            chosen = zip(*[rule.chosen(params) for rule in self.rules], strict=False)
        groups: dict[Any, list[int]] = {}
        for i, (p, g, flags) in enumerate(zip(leaves[P], leaves[G], chosen, strict=False)):
            if g is not None:
                groups.setdefault((flags, p.dtype if p.size < SMALL_PARAMETER_MAX else i), []).append(i)
        for (flags, _), places in groups.items():
            active = steps if flags is None else list(compress(steps, flags))
            if active:
                yield places, active


def make_task(leaves: list[list[Any]], places: list[int], steps: Sequence[Step]) -> Task:
    """Join the leaves at these places, and put what the steps will write in their place, in new memory."""
    if len(places) == 1:
        old = [column[places[0]].reshape(-1) for column in leaves]
    else:
        pick = itemgetter(*places)
        old = [np.concatenate(pick(column), axis=None) for column in leaves]
    new, params = old.copy(), leaves[P]
    written = []
    for place in (U, *[place for step in steps for _, place in step.slots]):
        new[place] = new_array(old[P].size, old[P].dtype)
        written.append((new[place], leaves[place]))
    end = 0
    for i in places:
        p = params[i]
        begin, end = end, end + p.size
        for whole, column in written:
            part = whole[begin:end]
            column[i] = part if p.ndim == 1 else part.reshape(p.shape)
    return Task(steps, old, new)


def run_all(tasks: Sequence[Task]) -> None:
    """Run the tasks, in several threads if there is enough to do."""
    if sum(task.old[P].size for task in tasks) <= SERIAL_MAX_SIZE:
        for task in tasks:
            run_part(task, 0, task.old[P].size)
    else:
        part = BLOCKS_PER_TASK * BLOCK_SIZE
        parts = [(task, start) for task in tasks for start in range(0, task.old[P].size, part)]
        threads.run([partial(run_part, task, start, start + part) for task, start in parts])


def run_part(task: Task, start: int, stop: int) -> None:
    """Apply the steps to a part of the arrays, block by block."""
    size = task.old[P].size
    if 0 < size <= BLOCK_SIZE:
        run_block(*task)
        return
    for first in range(start, min(stop, size), BLOCK_SIZE):
        block = slice(first, first + BLOCK_SIZE)
        run_block(task.steps, [array[block] for array in task.old], [array[block] for array in task.new])


def run_block(steps: Sequence[Step], old: list[Array], new: list[Array]) -> None:
    """Apply the steps to one block of each array."""
    p, g = old[P], old[G]
    for step in steps:
        u = new[U] if step is steps[-1] else new_array(p.size, p.dtype)
        state, new_state = {}, {}
        for slot, place in step.slots:
            state[slot], new_state[slot] = old[place], new[place]
        step.rule(g, state, p, step.hyper, u, new_state)
        g = u


def new_array(size: int, dtype: Any) -> Array:
    """A flat array of any content."""
    return np.empty(size, dtype) if size * dtype.itemsize < POOLED_MIN_BYTES else empty((size,), dtype)


def scaled_square(g: Array, factor: float, out: Array) -> Array:
    """factor * g², without a temporary."""
    np.multiply(g, g, out=out)
    out *= factor
    return out
