"""One fused pass over the parameters for a whole chain of rules: a block goes through all of them while in the cache.

A rule is written for one array and does not know about this. An update reads and writes all elements of an optimizer's
state, so it is bound by memory, not by arithmetic; its temporaries cost nothing if they never leave the cache. A rule
with a slot that is not like the parameter goes leaf by leaf, in the same pass.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import compress, repeat
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from funcnn import checks
from funcnn.aliases import Array
from funcnn.engine import threads
from funcnn.engine.memory import empty
from funcnn.optim.state import Hyper, StateSpec, state_spec

__all__ = [
    "ADD", "ElementwiseRule", "G", "P", "Rule", "Slots", "Step", "checked_decays", "run_fused", "running_mean",
    "running_square",
]  # fmt: skip

Slots: TypeAlias = dict[str, Array]
Rule: TypeAlias = Callable[[Array, Slots, Array, Hyper, Array, Slots], Any]
"""``rule(g, state, p, hyper, u, new_state)`` reads ``g``, ``state`` and ``p``, and writes all of ``u`` and
``new_state``; or it returns the array in ``new_state`` that is the update, and ``u`` does not matter."""

BLOCK_SIZE = 128 * 1024
"""Elements in a block. A rule like Adam's reads and writes five blocks of 512 KB: more than the second-level cache, but
with fewer calls, after each of which two threads may have to wait for each other. Half of it is slower on two threads,
by a tenth to a half, and no faster on one."""

BLOCKS_PER_TASK = 2
"""Blocks that a thread works on before it takes the next task."""

SMALL_PARAMETER_MAX = 4 * 1024
"""Elements of the largest parameter that is grouped with others: up to here a call costs as much as its arithmetic."""

GROUP_MAX = 16
"""Parameters in a group: what a rule like Adam's reads and writes for them fits into the second-level cache."""

SERIAL_MAX_SIZE = 1024 * 1024
"""Elements up to which one thread is as fast as two, which would wait for each other between short blocks."""

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
        overwrites: whether it gives the same bits if ``u`` is ``g``.
    """

    spec: StateSpec
    rule: Rule
    in_place: bool = False
    overwrites: bool = False


class Step(NamedTuple):
    """A rule in one update: its hyper-parameters, the trees of its slots, the parameters that it is for (None: all)."""

    work: ElementwiseRule
    hyper: Hyper
    slots: Sequence[tuple[str, int]] = ()
    chosen: Sequence[bool] | None = None


class Fused(NamedTuple):
    """The steps for a parameter, the trees that they read and write, and whether they may run on any part of it."""

    steps: Sequence[Step]
    used: Sequence[int]
    written: Sequence[int]
    flat: bool


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
    tasks: list[Callable[[], None]] = []
    total, params, grads = 0, leaves[P], leaves[G]
    for row, places in _places_by_row(steps, len(params)).items():
        chosen = fused_steps(steps if row is None else list(compress(steps, row)))
        small: dict[str, list[int]] = {}
        for i in places if chosen.steps else ():
            p = params[i]
            size = p.size
            if grads[i] is None or not size:
                continue
            total += size
            if chosen.flat and size < SMALL_PARAMETER_MAX:
                small.setdefault(p.dtype.char, []).append(i)
            else:
                tasks += tasks_of(leaves, i, chosen, donate)
        for alike in small.values():
            for first in range(0, len(alike), GROUP_MAX):
                group = alike[first : first + GROUP_MAX]
                if len(group) > 1:
                    tasks.append(partial(run_joined, leaves, group, chosen, donate))
                else:
                    tasks += tasks_of(leaves, group[0], chosen, donate)
    if total > SERIAL_MAX_SIZE:
        threads.run(tasks)
    else:
        for task in tasks:
            task()


def _places_by_row(steps: Sequence[Step], count: int) -> dict[tuple[bool, ...] | None, Sequence[int]]:
    """The parameters for which the same steps are chosen, by a row that says which; by None if all are, for all."""
    if all(step.chosen is None for step in steps):
        return {None: range(count)}
    found: dict[tuple[bool, ...] | None, list[int]] = {}
    columns = [repeat(True) if step.chosen is None else step.chosen for step in steps]
    for i, row in enumerate(zip(*columns, strict=False)):
        found.setdefault(row, []).append(i)
    return dict(found)


def fused_steps(steps: Sequence[Step]) -> Fused:
    """The steps for a parameter, with what follows from them."""
    result = P if steps and steps[-1] is ADD else G
    slots = [number for step in steps for _, number in step.slots]
    elementwise = all(step.work.spec.elementwise for step in steps)
    return Fused(steps, [P, G, *slots], [result, *slots], elementwise)


def tasks_of(leaves: Leaves, i: int, chosen: Fused, donate: bool) -> list[Callable[[], None]]:
    """What has to be called for one parameter; new arrays are in the place of the old ones then."""
    steps, used, written, flat = chosen
    old: Columns = {n: leaves[n][i] for n in used}
    size = old[P].size
    # One block needs no flat view; but temporaries of an array without axes would be scalars.
    flatten = flat and (size > BLOCK_SIZE or not old[P].ndim)
    if flatten and donate and not all(old[n].flags.c_contiguous for n in written if n != G):
        return [partial(run_joined, leaves, [i], chosen, donate)]  # gaps: it has no flat view
    new: Columns = {}
    for n in written:
        # A block reads its parameters for the last time when the last step writes them.
        new[n] = old[n] if donate and n != G else empty(old[n].shape, old[n].dtype)
        leaves[n][i] = new[n]
    if not flatten:
        return [partial(run_block, steps, old, new, donate)]
    old, new = ({n: array.reshape(-1) for n, array in columns.items()} for columns in (old, new))
    part = BLOCKS_PER_TASK * BLOCK_SIZE
    return [partial(run_blocks, steps, old, new, donate, start, start + part) for start in range(0, size, part)]


def run_joined(leaves: Leaves, places: list[int], chosen: Fused, donate: bool) -> None:
    """Run the steps on a copy of several parameters in a row, and distribute what it has become."""
    steps, used, written, _ = chosen
    old: Columns = {n: np.concatenate([*map(leaves[n].__getitem__, places)], axis=None) for n in used}
    size = old[P].size
    new = old if written[0] == P else old | {G: empty((size,), old[G].dtype)}
    run_blocks(steps, old, new, True, 0, size)
    for n in written:
        column, joined, end, in_place = leaves[n], new[n], 0, donate and n != G
        for i in places:
            leaf = column[i]
            begin, end = end, end + leaf.size
            part = joined[begin:end]
            if leaf.ndim != 1:
                part = part.reshape(leaf.shape)
            if in_place:
                leaf[...] = part
            else:
                column[i] = part.copy()  # in memory of its own, so that it can be donated without a search


def run_blocks(steps: Sequence[Step], old: Columns, new: Columns, donate: bool, start: int, stop: int) -> None:
    """Apply the steps to a part of flat arrays, block by block."""
    size = old[P].size
    if size <= BLOCK_SIZE:
        run_block(steps, old, new, donate)
        return
    for first in range(start, min(stop, size), BLOCK_SIZE):
        block = slice(first, first + BLOCK_SIZE)
        own_old, own_new = ({n: array[block] for n, array in columns.items()} for columns in (old, new))
        run_block(steps, own_old, own_new, donate)


def run_block(steps: Sequence[Step], old: Columns, new: Columns, donate: bool) -> None:
    """Apply the steps to one block of each array."""
    p, g, last = old[P], old[G], steps[-1]
    held: Array | None = None  # the scratch array that g is, if it is one
    scratch: list[Array] = []  # others, which nothing reads any more
    for step in steps:
        if step is last:
            u = new[P] if step is ADD else new[G]
        elif held is not None and step.work.overwrites:
            u = held
        else:
            u = scratch.pop() if scratch else empty(p.shape, p.dtype)
        state: Slots = {}
        new_state: Slots = {}
        for slot, place in step.slots:
            state[slot], new_state[slot] = old[place], new[place]
        aside = donate and not step.work.in_place
        if aside:
            new_state = {slot: empty(array.shape, array.dtype) for slot, array in state.items()}
        update = step.work.rule(g, state, p, step.hyper, u, new_state)
        if aside:
            for slot, array in new_state.items():
                state[slot][...] = array
        if held is not None and held is not u:
            scratch.append(held)
        if update is None or update is u:
            g = held = u
        else:
            _check_returned(step.work, update, u, new_state)
            g, held = update, None
            scratch.append(u)
    if g is not u:
        u[...] = g


def _check_returned(work: ElementwiseRule, update: Any, u: Array, new_state: Slots) -> None:
    """Raise if what a rule returns is an array that it has not written to.

    Its update would be lost, and whatever was in the memory of ``u`` would be the update.
    """
    returned = any(update is array for array in new_state.values())
    if not returned or (update.shape, update.dtype) != (u.shape, u.dtype):
        raise TypeError(
            f"{work.spec.kind}: a rule writes its update to u and returns nothing, or returns the array of new_state "
            f"that is the update, got {checks.what(update)}; use u[...] = update, or out=u"
        )


def checked_decays(kind: str, b1: float, b2: float, eps: float) -> tuple[float, float, float]:
    """The decays of the two means of Adam and its relatives, and eps, checked.

    Example:
        >>> checked_decays("adam", 0.9, 1, 1e-8)
        Traceback (most recent call last):
        ValueError: adam: b2: expected a number in [0, 1), got 1; 0.9 to 0.999 are usual
    """
    return checks.fraction(kind, "b1", b1), checks.fraction(kind, "b2", b2), checks.positive(kind, "eps", eps)


def running_mean(old: Array, decay: float, g: Array, out: Array, scratch: Array) -> Array:
    """decay * old + (1 - decay) * g, without a temporary."""
    np.multiply(old, decay, out=out)
    out += np.multiply(g, 1 - decay, out=scratch)
    return out


def running_square(old: Array, decay: float, g: Array, out: Array, scratch: Array) -> Array:
    """decay * old + (1 - decay) * g², without a temporary; ((1 - decay) * g) * g is finite for larger g than g²."""
    np.multiply(old, decay, out=out)
    np.multiply(g, 1 - decay, out=scratch)
    scratch *= g
    out += scratch
    return out
