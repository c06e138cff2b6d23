"""What an optimizer keeps from one step to the next, and the check that gradients and states are like the parameters.

A state is a nested dict of arrays: trees like the parameters, which are called slots, and the step and the rates.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, TypeAlias

import numpy as np
from numpy import ndarray

from funcnn import checks, tree
from funcnn.aliases import Tree
from funcnn.optim.schedules import Schedule, as_schedule

__all__ = ["Hyper", "State", "StateSpec", "aligned", "leaves_beside", "rebuilt", "state_spec"]

State: TypeAlias = dict[str, Any]
Hyper: TypeAlias = Mapping[str, float]
"""The hyper-parameters of one update by name, the ``step`` among them, as Python numbers."""


@dataclass(frozen=True)
class StateSpec:
    """The specification of a transform's state.

    Args:
        kind: the transform's name, for messages.
        slots: the names of the trees in the state; they are like the parameters and zero at first.
        constants: the rates that are numbers.
        schedules: the rates that are schedules.
        counted: the names of the scalars in the state, ``step`` and the rates; none if no rate needs the step.
    """

    kind: str
    slots: tuple[str, ...]
    constants: Mapping[str, float]
    schedules: Mapping[str, Schedule]
    counted: tuple[str, ...]

    @cached_property
    def names(self) -> frozenset[str]:
        """The keys of a state."""
        return frozenset((*self.slots, *self.counted))

    def init(self, params: Tree) -> State:
        """The state before the first step."""
        tree.map_with_path(_check_parameter, params)
        state: State = {slot: tree.map(np.zeros_like, params) for slot in self.slots}
        # No rate has been used yet.
        return state | {name: np.array(0) if name == "step" else np.array(np.nan) for name in self.counted}

    def hyper(self, state: State) -> Hyper:
        """The hyper-parameters of the next update, or an error if the state is not of this specification."""
        if not isinstance(state, dict) or state.keys() != self.names:
            raise ValueError(
                f"{self.kind}: expected a state of {sorted(self.names)}, got "
                f"{sorted(state) if isinstance(state, dict) else type(state).__name__}; use init(params)"
            )
        step = int(state["step"]) if self.counted else 0
        hyper = {"step": step, **self.constants}
        for name, schedule in self.schedules.items():
            hyper[name] = schedule(step)
        return hyper

    def after(self, hyper: Hyper, slots: dict[str, Tree]) -> State:
        """The state after the update that used these hyper-parameters."""
        then = {**hyper, "step": hyper["step"] + 1}
        return slots | {name: np.array(then[name]) for name in self.counted}


def state_spec(
    kind: str,
    slots: tuple[str, ...] = (),
    rates: Mapping[str, float | Schedule] | None = None,
    counts: bool = False,
) -> StateSpec:
    """The specification of a transform's state, which counts steps if ``counts`` or if a rate is a schedule."""
    rates = rates or {}
    constants = {name: checks.rate(kind, name, rate) for name, rate in rates.items() if not callable(rate)}
    schedules = {name: as_schedule(f"{kind}: {name}", rate) for name, rate in rates.items() if callable(rate)}
    counted = ("step", *rates) if counts or schedules else ()
    return StateSpec(kind, slots, constants, schedules, counted)


def leaves_beside(params: Tree, trees: Sequence[Tree], names: Sequence[str]) -> list[list[Any]]:
    """The leaves of the parameters and of several trees, after one check of structures, shapes and dtypes.

    Args:
        params: the parameters.
        trees: gradients or updates first, then slots. Where the first of them holds None, no leaf is checked.
        names: what each of the trees is, for messages.

    Returns:
        A list of leaves for ``params`` and for each of ``trees``, in the order in which the parameters stand.

    Raises:
        TypeError: a dtype differs from the parameter's, or a parameter with a gradient is not of floats.
        ValueError: a tree or a shape differs; broadcasting would hide it.
    """
    leaves = [aligned(params, given) for given in (params, *trees)]
    found = [column for column in leaves if column is not None]
    if len(found) == len(leaves) and _alike(*found):
        return found
    for name, given in zip(("a parameter", *names), (params, *trees), strict=True):
        tree.flatten(given)  # raises if it is not made of dicts
        tree.map_with_path(partial(_check_leaf, name), params, given, trees[0])
    # No error: some leaves are numbers or subclasses of arrays.
    return [[leaf if g is None else np.asarray(leaf) for leaf, g in zip(c, found[1], strict=True)] for c in found]


def aligned(params: Tree, given: Tree) -> list[Any] | None:
    """The leaves of a tree in the order of those of ``params``; None if the two differ in structure."""
    leaves: list[Any] = []
    try:
        return leaves if _collect({"": params}, {"": given}, leaves) else None
    except KeyError:
        return None


def rebuilt(params: Tree, leaves: Iterable[Any]) -> Tree:
    """The tree like ``params`` of leaves in the order of ``aligned``."""
    return _fill({"": params}, iter(leaves))[""]


# Both are functions of the module: a function that calls itself by a name in its closure is a cycle, and would keep
# the arrays until the garbage collector runs.
def _collect(params: dict[str, Any], given: Any, leaves: list[Any]) -> bool:
    """Append the leaves of a tree in the order of another; False if they differ."""
    if not isinstance(given, dict) or len(given) != len(params):
        return False
    for name, node in params.items():
        leaf = given[name]
        if not isinstance(node, dict):
            leaves.append(leaf)
        elif not _collect(node, leaf, leaves):
            return False
    return True


def _fill(params: dict[str, Any], leaves: Iterator[Any]) -> dict[str, Any]:
    """The dict like ``params`` with the next leaves."""
    tree = {}
    for name, node in params.items():
        tree[name] = _fill(node, leaves) if isinstance(node, dict) else next(leaves)
    return tree


def _alike(params: list[Any], grads: list[Any], *slots: list[Any]) -> bool:
    """Whether the leaves at each place are arrays of one shape and one dtype, floats if there is a gradient."""
    for p, g in zip(params, grads, strict=True):
        if type(p) is not ndarray:
            return False
        if g is not None and (
            type(g) is not ndarray or g.shape != p.shape or g.dtype != p.dtype or p.dtype.kind != "f"
        ):
            return False
    for leaves in slots:
        for p, leaf in zip(params, leaves, strict=True):
            if type(leaf) is not ndarray or leaf.shape != p.shape or leaf.dtype != p.dtype:
                return False
    return True


def _check_leaf(name: str, path: str, p: Any, leaf: Any, g: Any) -> None:
    """Raise if a leaf is not like its parameter, unless there is no gradient for it."""
    if g is None:
        return
    where = path or "the root"
    if isinstance(leaf, np.ma.MaskedArray | np.matrix):
        raise TypeError(f"{where}: expected {name} as a plain array, got {type(leaf).__name__}; use np.asarray")
    p, leaf = np.asarray(p), np.asarray(leaf)
    if p.dtype.kind != "f":
        raise TypeError(
            f"{where}: expected parameters of floats, got {p.dtype}; use tree.cast, or None where its gradient stands"
        )
    if leaf.shape != p.shape:
        raise ValueError(f"{where}: expected {name} of the parameter's shape {p.shape}, got {leaf.shape}")
    if leaf.dtype != p.dtype:
        raise TypeError(
            f"{where}: expected {name} of the parameter's dtype {p.dtype}, got {leaf.dtype}; "
            f"use tree.cast(..., np.{p.dtype})"
        )


def _check_parameter(path: str, p: Any) -> None:
    """Raise for what is neither of floats nor one of the integers and booleans that stay as they are."""
    if np.asarray(p).dtype.kind not in "fiub":
        raise TypeError(
            f"{path or 'the root'}: expected parameters of floats, got {np.asarray(p).dtype}; use tree.cast"
        )
