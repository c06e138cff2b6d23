"""Why layers and weights do not match, or why more than one way of matching fits: a line for each, for messages."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from funcnn.interchange.forms import Form, Match, Module, fit, fits
from funcnn.interchange.units import Pattern, Unit
from funcnn.tree import is_below

__all__ = ["ambiguities", "differences"]


def ambiguities(
    matches: Sequence[Match], forms: Callable[[Unit], Sequence[Form]], rivals: Sequence[tuple[str, str]]
) -> Iterator[str]:
    """Where the same forms would also fit in another order, and a name or the wiring speaks for that."""

    def exchangeable(one: Match, other: Match) -> bool:
        first, second = fit(forms(one.unit), one.unit, other.module), fit(forms(other.unit), other.unit, one.module)
        return first is not None and second is not None

    for number, one in enumerate(matches):
        for other in matches[number + 1 :]:
            if (doubt := _doubt(one, other)) and exchangeable(one, other):
                yield (
                    f"{one.unit.path} would be {one.module.name}, and {other.unit.path} {other.module.name}, or the "
                    f"other way round: {doubt}"
                )
    for a, b in rivals:
        first, second = ([one for one in matches if is_below(one.unit.path, path)] for path in (a, b))
        named = all(_last(path) in one.module.path.split("/") for path, own in ((a, first), (b, second)) for one in own)
        if first and not named and len(first) == len(second) and all(map(exchangeable, first, second)):
            yield (
                f"{a} and {b} are parallel and have the same forms, so either could be {first[0].module.name} or "
                f"{second[0].module.name}"
            )


def _doubt(one: Match, other: Match) -> str:
    """The reason to doubt the order of two matches; empty if there is none."""
    if one.module.kind == other.module.kind and one.module.container != other.module.container:
        return "it is not known which of these comes first"
    alike = _called_alike(one, other) or _called_alike(other, one)
    return "their names contradict their order" if alike or _numbered_before(other.module, one.module) else ""


def _last(path: str) -> str:
    """The last name of a path."""
    return path.rpartition("/")[2]


def _numbered_before(one: Module, other: Module) -> bool:
    """Whether two names differ in one number, which is smaller in the first."""
    parts = [re.split(r"(\d+)", module.path) for module in (one, other)]
    differ = [(a, b) for a, b in zip(*parts, strict=False) if a != b]
    return len(parts[0]) == len(parts[1]) and len(differ) == 1 and all(map(str.isdigit, differ[0])) and (
        int(differ[0][0]) < int(differ[0][1])
    )  # fmt: skip


def _called_alike(one: Match, other: Match) -> bool:
    """Whether a name that the user gave to a layer is in that of the other module, and neither in its own."""
    given = {name for name in one.unit.path.split("/") if not re.search(r"_\d+$", name)}
    there = {*other.module.path.split("/")} - {*one.module.path.split("/"), *other.unit.path.split("/")}
    return bool(given & there)


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
        yield f"{where}: that is the {module.direction} half of a bidirectional layer, the model has another one here"
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
