"""Which weights of another library belong to which layer of a model: found where only one way fits, and else to be said.

Both sides are lists in order, ours of units and theirs of modules. They match if they have the same names, or if they
have the same forms in the same order and no name says otherwise; ``names`` of the user come before both.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, TypeAlias

import numpy as np

from funcnn.aliases import Array
from funcnn.interchange.units import Pattern, Unit
from funcnn.tree import is_below
from funcnn.wording import shown

__all__ = ["Form", "Match", "Module", "checked_names", "fits", "match"]

Arrays: TypeAlias = Mapping[str, Array]

ADVICE = (
    "Where layers stand in another order or more than one order fits, say which belong together: "
    'names={"path in the model": "name there"}'
)


@dataclass(frozen=True)
class Form:
    """One way in which another library keeps the parameters of a unit.

    Args:
        shapes: the shape of each of its leaves.
        read: makes our leaves of theirs.
        write: makes their leaves of ours.
        optional: leaves that may be missing.
        ours: for leaves that have another order of axes in funcnn, the shape there; to recognize mistakes.
    """

    shapes: Mapping[str, Pattern]
    read: Callable[[Arrays], dict[str, Array]]
    write: Callable[[Arrays], dict[str, Array]]
    optional: frozenset[str] = frozenset()
    ours: Mapping[str, Pattern] = field(default_factory=dict)


@dataclass(frozen=True)
class Module:
    """What another library calls a layer, with its arrays.

    Args:
        name: its name there, ``"layer1.0.conv1"``.
        arrays: each of its leaves, by its name in the module: an array, or anything with a shape.
        keys: the full name of each leaf.
        kind: what kind of layer it is, where the library says so.
        direction: ``"forward"`` or ``"backward"`` for a half of a bidirectional one.
        container: what it is in, where the order of what is in different containers is not known.
    """

    name: str
    arrays: Mapping[str, Any]
    keys: Mapping[str, str]
    kind: str = ""
    direction: str = ""
    container: str = ""

    @property
    def path(self) -> str:
        """The name as a path."""
        return self.name.replace(".", "/")

    @property
    def described(self) -> str:
        """How messages call it: its name and the shapes of its leaves."""
        leaves = ", ".join(f"{name} {tuple(array.shape)}" for name, array in self.arrays.items())
        return f"{self.name or 'the root'} with {leaves}"


@dataclass(frozen=True)
class Match:
    """A unit and the module that it gets its weights from, in the form that fits."""

    unit: Unit
    module: Module
    form: Form


def match(
    units: Sequence[Unit],
    modules: Sequence[Module],
    names: Mapping[str, str],
    forms: Callable[[Unit], Sequence[Form]],
    source: str,
    rivals: Sequence[tuple[str, str]] = (),
    kind: Callable[[Unit], str] = lambda unit: "",
) -> list[Match]:
    """A match for each unit and each module, or an error that lists what does not match.

    Args:
        units: ours.
        modules: theirs.
        names: ``{path: name}`` of layers that belong together; what is inside both is matched inside.
        forms: the ways to keep the parameters of a unit.
        source: what the modules come from, for messages.
        rivals: paths of branches of which none comes first.
        kind: the kind of modules that a unit matches; units and modules of a kind are matched by themselves.
    """
    found: list[Match] = []
    wrong: list[str] = []
    for ours, theirs, path in _scopes(units, modules, names):
        groups, certain = _groups(ours, theirs, path, names.get(path, ""), kind)
        matched: list[Match] = []
        for some, others in groups:
            pairs = [(unit, module, fit(forms(unit), unit, module)) for unit, module in zip(some, others, strict=False)]
            if len(some) == len(others) and all(form for _, _, form in pairs):
                matched += [Match(unit, module, form) for unit, module, form in pairs if form]
            else:
                wrong += differences(some, others, forms)
        if not certain and not wrong:
            wrong += ambiguities(matched, forms, [pair for pair in rivals if path not in pair])
        found += matched
    if wrong:
        raise ValueError(f"the model and {source} do not match:\n  " + "\n  ".join(wrong) + "\n" + ADVICE)
    return found


def _scopes(
    units: Sequence[Unit], modules: Sequence[Module], names: Mapping[str, str]
) -> Iterator[tuple[list[Unit], list[Module], str]]:
    """The units and the modules of each pair of names, and then those of none, and the path that the units are in."""
    branches = {path: name.replace(".", "/") for path, name in names.items()}
    for path, branch in branches.items():
        ours = [unit for unit in units if _longest(unit.path, branches) == path]
        yield ours, [module for module in modules if _longest(module.path, branches.values()) == branch], path
    ours = [unit for unit in units if _longest(unit.path, branches) is None]
    yield ours, [module for module in modules if _longest(module.path, branches.values()) is None], ""


def _longest(path: str, branches: Iterable[str]) -> str | None:
    """The longest of the branches that a path is in; None if it is in none."""
    return max((branch for branch in branches if is_below(path, branch)), key=len, default=None)


def _groups(
    units: list[Unit], modules: list[Module], path: str, name: str, kind: Callable[[Unit], str]
) -> tuple[list[tuple[list[Unit], list[Module]]], bool]:
    """Units and modules that belong together in this order, and whether their names say so."""

    def inside(own: str, branch: str) -> str:
        return own.removeprefix(branch).removeprefix("/")

    by_name = {inside(module.path, name.replace(".", "/")): module for module in modules}
    if units and by_name.keys() == {inside(unit.path, path) for unit in units}:
        return [([unit], [by_name[inside(unit.path, path)]]) for unit in units], True
    kinds = dict.fromkeys([*map(kind, units), *(module.kind for module in modules)])
    groups = [([u for u in units if kind(u) == one], [m for m in modules if m.kind == one]) for one in kinds]
    return groups, False


def checked_names(kind: str, names: Any, units: Sequence[Unit], modules: Sequence[Module]) -> dict[str, str]:
    """The names that the user gave, each of which exists; an error about one that does not, or that stands twice."""
    if not isinstance(names, Mapping) or not all(isinstance(name, str) for pair in names.items() for name in pair):
        raise TypeError(f"{kind}: names: expected a dict of names by path, got {shown(names)}")
    for path, name in names.items():
        if not any(is_below(unit.path, path) for unit in units):
            near = _near(path, [unit.path for unit in units])
            raise ValueError(f"{kind}: names: no layer with parameters is at {path!r}{near}")
        if not any(is_below(module.path, name.replace(".", "/")) for module in modules):
            near = _near(name, [module.name for module in modules])
            raise ValueError(f"{kind}: names: there are no weights called {name!r}, for {path!r}{near}")
    for name in names.values():
        if len(paths := [path for path in names if names[path] == name]) > 1:
            raise ValueError(f"{kind}: names: {paths} cannot all be {name!r}")
    return dict(names)


def _near(name: str, others: Sequence[str]) -> str:
    """A hint at the name that was meant."""
    near = get_close_matches(name, others, 3, 0.4) or others[:3]
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else ""


def fits(pattern: Pattern, shape: Sequence[int]) -> bool:
    """Whether a shape is one of a pattern."""
    return len(pattern) == len(shape) and all(p in (None, n) for p, n in zip(pattern, shape, strict=True))


def fit(forms: Sequence[Form], unit: Unit, module: Module) -> Form | None:
    """The form that a module has; None if it has none of them."""
    for form in forms:
        names, wanted = module.arrays.keys(), form.shapes.keys()
        if not (wanted - form.optional <= names <= wanted) or module.direction not in ("", unit.direction):
            continue
        if all(fits(form.shapes[name], array.shape) for name, array in module.arrays.items()):
            return form
    return None


def ambiguities(
    matches: Sequence[Match], forms: Callable[[Unit], Sequence[Form]], rivals: Sequence[tuple[str, str]]
) -> Iterator[str]:
    """Where the same forms would also fit in another order, and a name or the wiring speaks for that."""

    def exchangeable(one: Match, other: Match) -> bool:
        first, second = fit(forms(one.unit), one.unit, other.module), fit(forms(other.unit), other.unit, one.module)
        return first is not None and second is not None

    for number, one in enumerate(matches):
        for other in matches[number + 1 :]:
            if one.module.kind != other.module.kind:
                continue
            if one.module.container != other.module.container and exchangeable(one, other):
                yield (
                    f"{one.unit.path} and {other.unit.path} could be {one.module.name} and {other.module.name}, or the "
                    "other way round: it is not known which of these comes first"
                )
            elif (_numbered_before(other.module, one.module) or _called_alike(one, other)) and exchangeable(one, other):
                yield (
                    f"by their order, {one.unit.path} would be {one.module.name}, and {other.unit.path} "
                    f"{other.module.name}; by their names, it may be the other way round"
                )
    for a, b in rivals:
        first, second = ([m for m in matches if is_below(m.unit.path, path)] for path in (a, b))
        if first and len(first) == len(second) and all(map(exchangeable, first, second)):
            if all(path.rpartition("/")[2] in m.module.path.split("/") for path, own in ((a, first), (b, second)) for m in own):
                continue
            yield (
                f"{a} and {b} are parallel and have the same forms, so either could be {first[0].module.name} or "
                f"{second[0].module.name}"
            )


def _numbered_before(one: Module, other: Module) -> bool:
    """Whether two names differ in one number, which is smaller in the first."""
    parts = [re.split(r"(\d+)", module.path) for module in (one, other)]
    differ = [(a, b) for a, b in zip(*parts, strict=False) if a != b]
    return len(parts[0]) == len(parts[1]) and len(differ) == 1 and all(map(str.isdigit, differ[0])) and (
        int(differ[0][0]) < int(differ[0][1])
    )  # fmt: skip


def _called_alike(one: Match, other: Match) -> bool:
    """Whether a name that the user gave in the model is that of the other's module and not that of its own."""

    def elsewhere(own: Match, others: Match) -> bool:
        names = {name for name in own.unit.path.split("/") if not re.search(r"_\d+$", name)}
        mine, theirs = set(own.module.path.split("/")), set(others.module.path.split("/"))
        return bool(names & (theirs - mine) - set(others.unit.path.split("/")))

    return elsewhere(one, other) or elsewhere(other, one)


def differences(
    units: Sequence[Unit], modules: Sequence[Module], forms: Callable[[Unit], Sequence[Form]]
) -> Iterator[str]:
    """A line for each unit and each module that has no partner, or one of another form, in the best alignment."""
    i = j = 0
    for next_unit, next_module in [*_aligned(units, modules, forms), (len(units), len(modules))]:
        ours, theirs = units[i:next_unit], modules[j:next_module]
        i, j = next_unit + 1, next_module + 1
        rest = list(theirs)
        for unit in ours:
            near = next((module for module in rest if _same_leaves(forms(unit), module)), None)
            if near is None and len(ours) == len(theirs):
                near = theirs[ours.index(unit)]
                near = near if near in rest else None
            if near is None:
                yield f"missing: {unit.named} expects {expectation(forms(unit))}"
            else:
                rest.remove(near)
                yield from explained_misfit(unit, near, forms(unit))
        yield from (f"extra: {module.described}" for module in rest)


def _aligned(
    units: Sequence[Unit], modules: Sequence[Module], forms: Callable[[Unit], Sequence[Form]]
) -> list[tuple[int, int]]:
    """The places of the longest common subsequence of units and modules that fit."""
    length = np.zeros((len(units) + 1, len(modules) + 1), int)
    fitting = [[fit(forms(unit), unit, module) is not None for module in modules] for unit in units]
    for i in range(len(units) - 1, -1, -1):
        for j in range(len(modules) - 1, -1, -1):
            both = length[i + 1, j + 1] + 1 if fitting[i][j] else 0
            length[i, j] = max(both, length[i + 1, j], length[i, j + 1])
    places, i, j = [], 0, 0
    while i < len(units) and j < len(modules):
        if fitting[i][j] and length[i, j] == length[i + 1, j + 1] + 1:
            places.append((i, j))
            i, j = i + 1, j + 1
        elif length[i + 1, j] >= length[i, j + 1]:
            i += 1
        else:
            j += 1
    return places


def _same_leaves(forms: Sequence[Form], module: Module) -> bool:
    """Whether a module has the leaves of one of the forms, whatever their shapes are."""
    return any(form.shapes.keys() - form.optional <= module.arrays.keys() <= form.shapes.keys() for form in forms)


def expectation(forms: Sequence[Form]) -> str:
    """The leaves of the first form with their shapes."""
    leaves = (f"{name} {spelled(size)}" for name, size in forms[0].shapes.items() if name not in forms[0].optional)
    return ", ".join(leaves)


def spelled(pattern: Pattern) -> str:
    """A shape of which some sizes may not be known."""
    sizes = ["any" if n is None else str(n) for n in pattern]
    return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"


def explained_misfit(unit: Unit, module: Module, forms: Sequence[Form]) -> Iterator[str]:
    """Why a module does not have the form of a unit, in a line for each leaf that differs."""
    form = max(forms, key=lambda form: len(form.shapes.keys() & module.arrays.keys()))
    where = f"{unit.named} from {module.name or 'the root'}"
    if module.direction not in ("", unit.direction):
        yield f"{where}: it reads the sequence {unit.direction or 'in one direction'}, and that is the {module.direction} half"
    missing = form.shapes.keys() - form.optional - module.arrays.keys()
    if missing or (extra := module.arrays.keys() - form.shapes.keys()):
        hint = "; is one of them without a bias?" if missing and all("bias" in name for name in missing) else ""
        hint = hint or ("; is it without a bias here?" if not missing and all("bias" in name for name in extra) else "")
        yield f"{where}: expected {expectation([form])}, got {module.described.partition(' with ')[2]}{hint}"
        return
    for name, array in module.arrays.items():
        wanted, got = form.shapes[name], tuple(array.shape)
        if not fits(wanted, got):
            hint = layout_mistake(wanted, got, form.ours.get(name))
            yield f"{where}: {module.keys[name]}: expected shape {spelled(wanted)}, got {got}{hint}"


def layout_mistake(wanted: Pattern, got: tuple[int, ...], ours: Pattern | None) -> str:
    """The likely reason for another shape."""
    if ours is not None and fits(ours, got):
        return "; that is funcnn's order of axes, so was it transposed already?"
    if len(got) == len(wanted) and len(got) > 1:
        if fits(wanted, got[::-1]):
            return "; it is transposed"
        known = [n for n in wanted if n is not None]
        if all(sorted(got).count(n) >= known.count(n) for n in known):
            return "; its axes are in another order"
    if len(got) != len(wanted) and None not in wanted and math.prod(got) == math.prod(wanted):  # type: ignore[arg-type]
        return "; it has as many elements in another shape"
    if len(got) > len(wanted) and fits(wanted, got[: len(wanted)]) and set(got[len(wanted) :]) == {1}:
        return "; it is that of a convolution with windows of one pixel"
    return ""
