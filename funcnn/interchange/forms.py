"""How another library keeps the parameters of a layer: a unit of ours, a module of theirs, and the form in between."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from funcnn.aliases import Array
from funcnn.interchange.units import Pattern, Unit

__all__ = ["Arrays", "Form", "Match", "Module", "fit", "fits"]

Arrays: TypeAlias = Mapping[str, Array]


@dataclass(frozen=True)
class Form:
    """One way in which another library keeps the parameters of a unit.

    Args:
        shapes: the shape of each of its leaves.
        read: makes our leaves of theirs.
        write: makes their leaves of ours; None where weights of the library are only read.
        optional: leaves that may be missing.
        ours: for leaves that have another order of axes in funcnn, the shape there; to recognize mistakes.
    """

    shapes: Mapping[str, Pattern]
    read: Callable[[Arrays], dict[str, Array]]
    write: Callable[[Arrays], dict[str, Array]] = lambda own: {}
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
        container: what it is in, if the order of what is in different containers is not known.
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
        """How messages name it: its name and the shapes of its leaves."""
        leaves = ", ".join(f"{name} {tuple(array.shape)}" for name, array in self.arrays.items())
        return f"{self.name or 'the root'} with {leaves}"


@dataclass(frozen=True)
class Match:
    """A unit and the module that it gets its weights from, in the form that fits."""

    unit: Unit
    module: Module
    form: Form


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
