"""One fused pass over the parameters for a whole chain of rules: a block goes through all of them while in the cache.

A rule is written for one array and does not know about this. An update reads and writes all elements of an optimizer's
state, so it is bound by memory, not by arithmetic; its temporaries cost nothing if they never leave the cache. A rule
with a slot that is not like the parameter goes leaf by leaf, in the same pass.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import compress, repeat
from operator import itemgetter
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from funcnn import checks
from funcnn.aliases import Array
from funcnn.engine import threads
from funcnn.engine.memory import empty
from funcnn.optim.state import Hyper, StateSpec, state_spec

__all__ = ["ADD", "ElementwiseRule", "G", "P", "Rule", "Slots", "Step", "run_fused", "scaled_square"]

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

P, G = 0, 1
"""The numbers of the trees of parameters and of gradients or updates; those of the slots of all rules follow."""

Leaves: TypeAlias = list[list[Any]]
"""The leaves of each tree, in the order of the parameters."""
Columns: TypeAlias = dict[int, Array]
"""One array of each tree, by the number of the tree."""


@dataclass(frozen=True)
class ElementwiseRule:
    """A rule for one array, with the specification of its state.

    Args:
        spec: the specification.
        rule: the rule.
        in_place: whether the rule gives the same bits if ``new_state`` is ``state``.
    """

    spec: StateSpec
    rule: Rule
    in_place: bool = False


class Step(NamedTuple):
    """A rule in one update: its hyper-parameters, the trees of its slots, the parameters that it is for (None: all)."""

    work: ElementwiseRule
    hyper: Hyper
    slots: Sequence[tuple[str, int]] = ()
    chosen: Sequence[bool] | None = None


class Task(NamedTuple):
    """Steps for one parameter, or for several small ones in a row, as flat arrays.

    A parameter with a rule that is not elementwise keeps its shape, and is a single block: ``whole``.
    """

    steps: Sequence[Step]
    old: Columns
    new: Columns
    donate: bool
    whole: bool
    places: Sequence[int]
    """Where the parameters are among the leaves."""
    aside: Sequence[int]
    """The trees whose donated leaves get their new elements at the end, from the memory in which they are joined."""


def _add(update: Array, state: Slots, p: Array, hyper: Hyper, u: Array, new_state: Slots) -> None:
    """u = p + update."""
    np.add(p, update, out=u)


ADD = Step(ElementwiseRule(state_spec("apply_updates"), _add, in_place=True), {})
"""The last step of a pass from gradients to parameters."""


def run_fused(leaves: Leaves, steps: Sequence[Step], donate: bool) -> None:
    """Run steps that follow each other; what they compute takes the place of the leaves.

    Args:
        leaves: the leaves of each tree. Where the gradient is None, they stay.
        steps: the steps, in order; the update of one is the gradient of the next. The update of the last takes the
            place of the gradient, or if it is ``ADD``, that of the parameter.
        donate: write into the given slots, and into the parameters if the last step is ``ADD``.
    """
    result = P if steps and steps[-1] is ADD else G
    tasks = [make_task(leaves, places, active, result, donate) for places, active in groups(leaves, steps)]
    run_all(tasks)
    for task in tasks:
        for n in task.aside:
            column = leaves[n]
            for i, part in _parts(task.new[n], leaves[P], task.places):
                column[i][...] = part


def groups(leaves: Leaves, steps: Sequence[Step]) -> Iterator[tuple[list[int], Sequence[Step]]]:
    """The places of parameters that go together and the steps for them: a large one alone, small ones grouped."""
    rows: Iterable[Any] = repeat(None)
    if any(step.chosen is not None for step in steps):
        rows = zip(*[repeat(True) if step.chosen is None else step.chosen for step in steps], strict=False)
    active: dict[Any, tuple[Sequence[Step], bool]] = {}
    small: dict[Any, list[int]] = {}
    for i, (p, g, row) in enumerate(zip(leaves[P], leaves[G], rows, strict=False)):
        if g is None or not p.size:
            continue
        if row not in active:
            chosen = steps if row is None else list(compress(steps, row))
            active[row] = chosen, all(step.work.spec.elementwise for step in chosen)
        chosen, elementwise = active[row]
        if elementwise and chosen and p.size < SMALL_PARAMETER_MAX:
            small.setdefault((row, p.dtype.char), []).append(i)
        elif chosen:
            yield [i], chosen
    for (row, _), places in small.items():
        yield places, active[row][0]


def make_task(leaves: Leaves, places: list[int], steps: Sequence[Step], result: int, donate: bool) -> Task:
    """Join the leaves at these places, and put the arrays that the steps will write in their place."""
    slots = [place for step in steps for _, place in step.slots]
    whole = not all(step.work.spec.elementwise for step in steps)
    if len(places) == 1:
        old = {n: leaves[n][places[0]] for n in (P, G, *slots)}
        if not whole:
            old = {n: leaf.reshape(-1) for n, leaf in old.items()}
    else:
        pick = itemgetter(*places)
        old = {n: np.concatenate(pick(leaves[n]), axis=None) for n in (P, G, *slots)}
    new, aside = {}, []
    for n in (result, *slots):
        column = leaves[n]
        if donate and n != G:
            # A block reads its parameters for the last time when the last step writes them.
            new[n] = old[n]
            if not whole and (len(places) > 1 or not column[places[0]].flags.c_contiguous):
                aside.append(n)
            continue
        new[n] = new_array(old[n].shape, old[n].dtype)
        for i, part in [(places[0], new[n])] if whole else _parts(new[n], leaves[P], places):
            column[i] = part
    return Task(steps, old, new, donate, whole, places, aside)


def _parts(joined: Array, params: list[Any], places: Sequence[int]) -> Iterator[tuple[int, Array]]:
    """The part of a flat array that belongs to each of the parameters, in its shape."""
    end = 0
    for i in places:
        p = params[i]
        begin, end = end, end + p.size
        yield i, joined[begin:end] if p.ndim == 1 else joined[begin:end].reshape(p.shape)


def run_all(tasks: Sequence[Task]) -> None:
    """Run the tasks, in several threads if there is enough to do."""
    if sum(task.old[P].size for task in tasks) <= SERIAL_MAX_SIZE:
        for task in tasks:
            run_part(task, 0, task.old[P].size)
    else:
        part = BLOCKS_PER_TASK * BLOCK_SIZE
        parts = [(task, start) for task in tasks for start in range(0, 1 if task.whole else task.old[P].size, part)]
        threads.run([partial(run_part, task, start, start + part) for task, start in parts])


def run_part(task: Task, start: int, stop: int) -> None:
    """Apply the steps to a part of the arrays, block by block."""
    size = task.old[P].size
    if size <= BLOCK_SIZE or task.whole:
        run_block(task.steps, task.old, task.new, task.donate)
        return
    for first in range(start, min(stop, size), BLOCK_SIZE):
        block = slice(first, first + BLOCK_SIZE)
        old, new = ({n: array[block] for n, array in columns.items()} for columns in (task.old, task.new))
        run_block(task.steps, old, new, task.donate)


def run_block(steps: Sequence[Step], old: Columns, new: Columns, donate: bool) -> None:
    """Apply the steps to one block of each array."""
    p, g = old[P], old[G]
    free: Array | None = None
    for step in steps:
        if step is not steps[-1]:
            u = new_array(p.shape, p.dtype) if free is None else free
        else:
            u = new[P] if step is ADD else new[G]
        state = {slot: old[place] for slot, place in step.slots}
        new_state = {slot: new[place] for slot, place in step.slots}
        aside = donate and not step.work.in_place
        if aside:
            new_state = {slot: new_array(array.shape, array.dtype) for slot, array in state.items()}
        returned = step.work.rule(g, state, p, step.hyper, u, new_state)
        if returned is not None and returned is not u:
            # Its update would be lost, and whatever was in the memory of u would be the update.
            raise TypeError(
                f"{step.work.spec.kind}: a rule writes its update to u and returns nothing, got "
                f"{checks.what(returned)}; use u[...] = update, or out=u"
            )
        if aside:
            for slot, array in new_state.items():
                state[slot][...] = array
        g, free = u, None if g is old[G] else g


def new_array(shape: tuple[int, ...], dtype: Any) -> Array:
    """An array of any content."""
    return empty(shape, dtype) if math.prod(shape) * dtype.itemsize >= POOLED_MIN_BYTES else np.empty(shape, dtype)


def scaled_square(g: Array, factor: float, out: Array) -> Array:
    """factor * g², without a temporary."""
    np.multiply(g, g, out=out)
    out *= factor
    return out
