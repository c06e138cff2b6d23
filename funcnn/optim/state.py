"""What an optimizer keeps from one step to the next, and the check that gradients and states are like the parameters.

A state is a nested dict of arrays: a tree for each slot, with an array for each parameter, and the step and the rates.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy import ndarray

from funcnn import checks, tree
from funcnn.aliases import Array, Tree
from funcnn.optim.schedules import Rate, Schedule, as_schedule
from funcnn.wording import shown

__all__ = [
    "Advance",
    "Beside",
    "Expected",
    "Hyper",
    "SlotStarts",
    "State",
    "StateSpec",
    "aligned",
    "beside",
    "check_kind",
    "check_wrapped",
    "kept",
    "rebuilt",
    "state_spec",
]  # fmt: skip

State: TypeAlias = dict[str, Any]
Hyper: TypeAlias = Mapping[str, float]
"""The hyper-parameters of one update by name, the ``step`` among them, as Python numbers."""
SlotStarts: TypeAlias = tuple[str, ...] | Mapping[str, Callable[[Array], Array]]
"""The names of slots that are zero at first, or ``{name: start}``; ``start(p)`` is the first array for a parameter."""
Expected: TypeAlias = Callable[[Array], tuple[tuple[int, ...], Any]]
"""The shape and the dtype of a leaf, as a function of its parameter."""

LIKE_THE_PARAMETER = (np.zeros_like, np.ones_like, np.copy)
"""The starts of slots of which a part is that of a part of the parameter."""
Advance: TypeAlias = Callable[[Hyper], Mapping[str, float]]
"""The numbers in a state that change at an update, as a function of its hyper-parameters and of the old numbers."""


@dataclass(frozen=True)
class StateSpec:
    """The specification of a transform's state.

    Args:
        kind: the transform's name, for messages.
        slots: for each tree in the state its name and the function of a parameter that gives its first array.
        constants: the rates that are numbers.
        schedules: the rates that are schedules.
        counted: the names of the scalars in the state, ``step`` and the rates; none if no rate needs the step.
        numbers: the first values of further scalars in the state.
        advance: the function that gives their values at an update; by default they stay.
    """

    kind: str
    slots: Mapping[str, Callable[[Array], Array]]
    constants: Mapping[str, float]
    schedules: Mapping[str, Schedule]
    counted: tuple[str, ...]
    numbers: Mapping[str, float] = field(default_factory=dict)
    advance: Advance | None = None
    shapes: dict[Any, tuple[tuple[int, ...], Any]] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def names(self) -> frozenset[str]:
        """The keys of a state."""
        return frozenset((*self.slots, *self.counted, *self.numbers))

    @cached_property
    def elementwise(self) -> bool:
        """Whether every slot has an element for each of the parameter, so that a rule may run on any part of both."""
        return all(map(_is_like_the_parameter, self.slots.values()))

    def expected(self, slot: str) -> Expected | None:
        """The shape and the dtype of a slot's arrays; None if they are those of the parameter."""
        return None if _is_like_the_parameter(self.slots[slot]) else partial(self._expected, slot)

    def _expected(self, slot: str, p: Array) -> tuple[tuple[int, ...], Any]:
        """The same for one parameter; the start is called once for each shape and dtype."""
        key = slot, p.shape, p.dtype
        if key not in self.shapes:
            first = self._first(slot, "", p)
            self.shapes[key] = first.shape, first.dtype
        return self.shapes[key]

    def _first(self, slot: str, path: str, p: Any) -> Array:
        """The first array of a slot, in memory of its own."""
        first = self.slots[slot](_native(p))
        if isinstance(first, np.generic):  # NumPy gives a scalar where a sum leaves no axis
            first = np.asarray(first)
        where = f" for {path}" if path else ""
        checks.plain(self.kind, first, f"the start of {slot!r}{where}")
        if not isinstance(first, ndarray):
            raise TypeError(f"{self.kind}: expected an array as the start of {slot!r}{where}, got {checks.what(first)}")
        # A start of one's own may return the parameter itself, or one array for several parameters.
        return first if _is_like_the_parameter(self.slots[slot]) else first.copy()

    def init(self, params: Tree) -> State:
        """The state before the first step."""
        tree.map_with_path(_check_parameter, params)
        state: State = {slot: tree.map_with_path(partial(self._first, slot), params) for slot in self.slots}
        # No rate has been used yet.
        state |= {name: np.array(0) if name == "step" else np.array(np.nan) for name in self.counted}
        return state | {name: np.array(first) for name, first in self.numbers.items()}

    def hyper(self, state: State) -> Hyper:
        """The hyper-parameters of the next update, or an error if the state is not of this specification."""
        if not isinstance(state, dict) or state.keys() != self.names:
            raise ValueError(
                f"{self.kind}: expected a state of {sorted(self.names)}, got "
                f"{sorted(state) if isinstance(state, dict) else type(state).__name__}; use init(params)"
            )
        step = self._step(state["step"]) if self.counted else 0
        hyper = {"step": step, **self.constants}
        for name, schedule in self.schedules.items():
            hyper[name] = schedule(step)
        for name in self.numbers:
            hyper[name] = self._number(name, state[name])
        return hyper if self.advance is None else {**hyper, **self.advance(hyper)}

    def _step(self, given: Any) -> int:
        """The step in a state, or an error if it is not one."""
        try:
            step = operator.index(given)
        except TypeError:
            step = -1
        if step < 0:
            raise ValueError(f"{self.kind}: expected the state's step as a whole number >= 0, got {shown(given)}")
        return step

    def _number(self, name: str, given: Any) -> float:
        """A number in a state, or an error if it is not one."""
        array = np.asarray(given)
        if array.shape or array.dtype.kind not in "fiu":
            raise ValueError(f"{self.kind}: expected the state's {name} as a number, got {shown(given)}")
        return float(array)

    def after(self, hyper: Hyper, slots: Mapping[str, Tree]) -> State:
        """The state after the update that used these hyper-parameters."""
        then = {**hyper, "step": hyper["step"] + 1}
        return {**slots, **{name: np.array(then[name]) for name in (*self.counted, *self.numbers)}}


def state_spec(
    kind: str,
    slots: SlotStarts = (),
    rates: Mapping[str, Rate] | None = None,
    counts: bool = False,
    numbers: Mapping[str, float] | None = None,
    advance: Advance | None = None,
) -> StateSpec:
    """The specification of a transform's state, which counts steps if ``counts`` or if a rate is a schedule."""
    _check_names(kind, slots, rates)
    firsts = _first_numbers(kind, numbers)
    rates = rates or {}
    if "step" in rates:
        raise ValueError(f"{kind}: expected rates of other names than 'step', which counts the steps")
    constants = {name: checks.rate(kind, name, rate) for name, rate in rates.items() if not callable(rate)}
    schedules = {name: as_schedule(f"{kind}: {name}", rate) for name, rate in rates.items() if callable(rate)}
    counted = ("step", *rates) if checks.flag(kind, "counts", counts) or schedules else ()
    starts = slots if isinstance(slots, Mapping) else dict.fromkeys(slots, np.zeros_like)
    for slot, start in starts.items():
        checks.function(kind, f"the start of {slot!r}", start, "p")
    if clash := sorted(starts.keys() & {*counted, *firsts} | firsts.keys() & {"step", *rates}):
        raise ValueError(f"{kind}: expected slots and rates of different names, got {clash} twice")
    return StateSpec(kind, dict(starts), constants, schedules, counted, firsts, advance)


def _is_like_the_parameter(start: Any) -> bool:
    """Whether the first arrays of a slot are like the parameters, each element from one of the parameter."""
    return start in LIKE_THE_PARAMETER or (isinstance(start, partial) and start.func is np.full_like)


def _first_numbers(kind: str, numbers: Any) -> dict[str, float]:
    """The first values of the numbers in a state, or an error if they are not a dict of numbers by names."""
    if not isinstance(numbers, Mapping | None):
        raise TypeError(f"{kind}: expected numbers as a dict {{name: first value}}, got {shown(numbers)}")
    _check_names(kind, (), numbers)
    return {name: checks.real(kind, name, first) for name, first in (numbers or {}).items()}


def check_wrapped(kind: str, state: Any, names: set[str]) -> tuple[State, Any]:
    """A wrapper's own part of a state, under its kind, and its optimizer's; an error if the state is another one's."""
    if not isinstance(state, dict) or kind not in state or not state.keys() <= {kind, "optimizer"}:
        got = sorted(state) if isinstance(state, dict) else checks.what(state)
        raise ValueError(f"{kind}: expected a state of {[kind, 'optimizer']}, got {got}; use init(params)")
    own = state[kind]
    if not isinstance(own, dict) or own.keys() != names:
        got = sorted(own) if isinstance(own, dict) else checks.what(own)
        raise ValueError(f"{kind}: expected a state of {sorted(names)} under {kind!r}, got {got}; use init(params)")
    return own, state.get("optimizer", {})


def check_kind(kind: Any) -> None:
    """Raise if the name of a transform cannot be a key of a state."""
    if not isinstance(kind, str) or not kind or "/" in kind:
        raise ValueError(f"an optimizer's kind is a string that is not empty and has no '/', got {shown(kind)}")


def _check_names(kind: str, slots: Any, rates: Any) -> None:
    """Raise if a transform, its slots or its rates have names that cannot be keys of a state."""
    check_kind(kind)
    if not isinstance(slots, tuple | list | Mapping):
        raise TypeError(f"{kind}: expected slots as a tuple of names or a dict {{name: start}}, got {shown(slots)}")
    if not isinstance(rates, Mapping | None):
        raise TypeError(f"{kind}: expected rates as a dict {{name: rate}}, got {shown(rates)}")
    names = [*slots, *(rates or {})]
    if not all(isinstance(name, str) and name and "/" not in name for name in names) or len({*slots}) < len(slots):
        raise ValueError(f"{kind}: expected slots and rates of different names without '/', got {names}")


class Beside(NamedTuple):
    """Parameters and gradients, and their leaves, beside which other trees are checked."""

    params: Tree
    grads: Tree
    param_leaves: list[Any]
    grad_leaves: list[Any]

    def leaves(self, given: Tree, name: str, expected: Expected | None = None) -> list[Any]:
        """The leaves of a tree in the order of the parameters, after a check of its structure, shapes and dtypes.

        Args:
            given: the tree.
            name: what it is, for messages.
            expected: the shape and the dtype of a leaf; by default those of its parameter.

        Returns:
            The leaves. Where there is no gradient, they are not checked.

        Raises:
            TypeError: a dtype differs.
            ValueError: the tree or a shape differs; broadcasting would hide it.
        """
        leaves = aligned(self.params, given)
        if leaves is None or not _alike(self.param_leaves, self.grad_leaves, leaves, expected):
            return _checked(self.params, self.grads, given, name, expected)
        return leaves


def beside(params: Tree, grads: Tree, what: str) -> Beside:
    """The check of trees beside these parameters and gradients, which are checked here; ``what`` they are."""
    param_leaves: list[Any] = []
    grad_leaves = aligned(params, grads, param_leaves)
    if grad_leaves is None or not _alike(param_leaves, grad_leaves, grad_leaves, None):
        if isinstance(grads, tuple):
            write = "; a vjp_fn returns a pair: grads, dx = vjp_fn(dy)" if len(grads) == 2 else ""
            raise TypeError(f"expected {what} for each parameter in a tree, got {checks.what(grads)}{write}")
        param_leaves = _checked(params, grads, params, "a parameter")
        grad_leaves = _checked(params, grads, grads, what)
    return Beside(params, grads, param_leaves, grad_leaves)


def _checked(params: Tree, grads: Tree, given: Tree, name: str, expected: Expected | None = None) -> list[Any]:
    """The leaves of a tree of which some seem wrong: an error, unless they are numbers or in another byte order."""
    tree.flatten(given)  # raises if it is not made of dicts
    tree.map_with_path(partial(_check_leaf, name, expected), params, given, grads)
    pairs = zip(aligned(params, given) or (), aligned(params, grads) or (), strict=True)
    return [leaf if g is None else _native(leaf) for leaf, g in pairs]


def _alike(params: list[Any], grads: list[Any], leaves: list[Any], expected: Expected | None) -> bool:
    """Whether the leaves are arrays as expected, beside parameters of floats, wherever there is a gradient."""
    for p, g, leaf in zip(params, grads, leaves, strict=True):
        if g is None:
            continue
        if type(p) is not ndarray or type(leaf) is not ndarray:
            return False
        dtype = p.dtype
        if dtype.char not in "fd" or not dtype.isnative:
            return False
        if expected is None:
            if leaf.shape != p.shape or (leaf.dtype is not dtype and leaf.dtype != dtype):
                return False
        elif (leaf.shape, leaf.dtype) != expected(p):
            return False
    return True


def aligned(params: Tree, given: Tree, param_leaves: list[Any] | None = None) -> list[Any] | None:
    """The leaves of a tree in the order of those of ``params``; None if the two differ in structure.

    Args:
        params: the tree that sets the order.
        given: the tree whose leaves are returned.
        param_leaves: a list to which the leaves of ``params`` are appended.
    """
    leaves: list[Any] = []
    try:
        same = _collect({"": params}, {"": given}, [] if param_leaves is None else param_leaves, leaves)
    except KeyError:
        return None
    return leaves if same else None


def rebuilt(params: Tree, leaves: Iterable[Any]) -> Tree:
    """The tree like ``params`` of leaves in the order of ``aligned``."""
    return _fill({"": params}, iter(leaves))[""]


def kept(old: Tree, new: Tree) -> Tree:
    """A new slot, with the old arrays where a rule returns None, as ``tree.map`` does without a gradient."""
    old_leaves: list[Any] = []
    leaves = aligned(old, new, old_leaves)
    if leaves is None or all(leaf is not None for leaf in leaves):
        return new
    return rebuilt(old, [was if leaf is None else leaf for was, leaf in zip(old_leaves, leaves, strict=True)])


# Both are functions of the module: a function that calls itself by a name in its closure is a cycle, and would keep
# the arrays until the garbage collector runs.
def _collect(params: dict[str, Any], given: Any, param_leaves: list[Any], leaves: list[Any]) -> bool:
    """Append the leaves of two trees in the order of the first; False if they differ."""
    if not isinstance(given, dict) or len(given) != len(params):
        return False
    for name, node in params.items():
        if isinstance(node, dict):
            if not _collect(node, given[name], param_leaves, leaves):
                return False
        else:
            leaves.append(given[name])
            param_leaves.append(node)
    return True


def _fill(params: dict[str, Any], leaves: Iterator[Any]) -> dict[str, Any]:
    """The dict like ``params`` with the next leaves."""
    tree = {}
    for name, node in params.items():
        tree[name] = _fill(node, leaves) if isinstance(node, dict) else next(leaves)
    return tree


def _check_leaf(name: str, expected: Expected | None, path: str, p: Any, leaf: Any, g: Any) -> None:
    """Raise if a leaf is not as expected beside its parameter, unless there is no gradient for it."""
    where = path or "the root"
    checks.plain(where, leaf, name)
    checks.plain(where, p, "the parameter")
    p, leaf = _native(p), _native(leaf)
    if p.dtype.kind in "iub":
        raise TypeError(
            f"{where}: expected parameters of floats, got {p.dtype}; use tree.cast, or None where its gradient stands"
        )
    _check_parameter(path, p)
    shape, dtype = (p.shape, p.dtype) if expected is None else expected(p)
    of = "the parameter's " if expected is None else ""
    if leaf.shape != shape:
        raise ValueError(f"{where}: expected {name} of {of}shape {shape}, got {leaf.shape}")
    if leaf.dtype != dtype:
        raise TypeError(
            f"{where}: expected {name} of {of}dtype {dtype}, got {leaf.dtype}; use tree.cast(..., np.{dtype})"
        )


def _check_parameter(path: str, p: Any) -> None:
    """Raise for what is neither of floats nor one of the integers and booleans that stay as they are."""
    where = path or "the root"
    checks.plain(where, p, "the parameter")
    dtype = np.asarray(p).dtype
    if dtype.kind not in "iub" and dtype.char not in "fd":
        raise TypeError(
            f"{where}: expected parameters of float32 or float64, got {dtype}; use tree.cast(params, np.float32)"
        )


def _native(leaf: Any) -> Array:
    """A number or an array as an array in this machine's byte order."""
    array: Array = np.asarray(leaf)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
