"""Which weights of another library belong to which layer of a model: found if only one way fits, else to be named.

Both sides are lists in order, ours of units and theirs of modules. They match if they have the same names, or if they
have the same forms in the same order and no name says otherwise; ``names`` of the user come before both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from funcnn.interchange.forms import Form, Match, Module, fit
from funcnn.interchange.mismatch import ambiguities, differences
from funcnn.interchange.units import Unit
from funcnn.tree import is_below
from funcnn.wording import shown

__all__ = ["checked_names", "match"]

ADVICE = (
    "Where layers stand in another order or more than one order fits, say which belong together: "
    'names={"path in the model": "name there"}. Sorted names, as of a safetensors file, are in no order: sort them as '
    "module.state_dict() does"
)

LISTED_MAX = 20


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
            wrong += ambiguities(matched, forms, rivals)
        found += matched
    if wrong:
        more = [f"and {len(wrong) - LISTED_MAX} more"] if len(wrong) > LISTED_MAX else []
        lines = "\n  ".join([f"the model and {source} do not match:", *wrong[:LISTED_MAX], *more])
        raise ValueError(f"{lines}\n{ADVICE}")
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
    """A hint with the most similar name."""
    near = get_close_matches(name, others, 3, 0.4) or others[:3]
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
