"""Which parameters a transform is for: by their paths, by a tree of bools, or by a function of the parameters.

A mask becomes a function that gives a bool for each parameter, in the order of ``state.aligned``.
"""

from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache, partial
from itertools import compress
from typing import Any, TypeAlias

import numpy as np

from funcnn import checks, tree
from funcnn.aliases import Tree
from funcnn.optim.state import aligned
from funcnn.recorded import snapshot

__all__ = ["Flags", "Mask", "as_flags", "chosen", "first_match", "paths", "pruned", "spread"]

Mask: TypeAlias = str | bool | dict[str, Any] | Callable[[Any], dict[str, Any] | bool]
"""A path pattern such as ``"stem/*"``, a tree of bools like the parameters, or ``mask(params) -> tree of bools``."""
Flags: TypeAlias = Callable[[Tree], Sequence[bool]]
"""Whether each parameter is chosen, as a function of the parameters."""


def as_flags(kind: str, mask: Mask) -> Flags:
    """The function that a mask stands for; its errors begin with ``kind``."""
    if isinstance(mask, str):
        return partial(_matching, kind, mask)
    if not checks.is_function(mask) and not isinstance(mask, dict | bool | np.bool_):
        raise TypeError(
            f"{kind}: expected a mask that is a path pattern, a tree of bools or a function of the parameters, "
            f"got {checks.what(mask)}"
        )
    if checks.is_function(mask):
        checks.function(kind, "mask", mask, "params")
    own = mask if callable(mask) else snapshot(mask)
    return partial(_bools, kind, own if callable(own) else lambda params: own)


def first_match(kind: str, patterns: tuple[str, ...], number: int) -> Flags:
    """The function that chooses the parameters whose first matching pattern is the one of this number."""
    return lambda params: [match == number for match in _first_matches(kind, patterns, tuple(paths(params)))]


def chosen(flags: Sequence[Flags], params: Tree) -> list[bool] | None:
    """Whether each parameter is chosen by all of the functions, or None if there are none.

    Each function is called with the tree of the parameters that those before it chose.
    """
    found: list[bool] | None = None
    for choose in flags:
        found = spread(choose(pruned(params, found)), found, False)
    return found


def pruned(params: Tree, flags: Sequence[bool] | None) -> Tree:
    """The tree without the leaves that are not chosen, and without dicts that would be empty."""
    if flags is None or all(flags):
        return params
    return _prune({"": params}, iter(flags)).get("", {})


def spread(values: Sequence[Any], flags: Sequence[bool] | None, other: Any = None) -> list[Any]:
    """The values at the places of the chosen parameters, and ``other`` at all other places."""
    if flags is None:
        return list(values)
    following = iter(values)
    return [next(following) if flag else other for flag in flags]


def paths(params: Tree) -> list[str]:
    """The paths of the parameters in the order of ``state.aligned``."""
    return list(_paths("", params))


def _bools(kind: str, mask: Callable[[Tree], Tree], params: Tree) -> Sequence[bool]:
    """The leaves of a tree of bools."""
    bools = mask(params)
    flags = aligned(params, bools)
    if flags is None or not all(isinstance(flag, bool | np.bool_) for flag in flags):
        try:
            tree.map_with_path(partial(_check_flag, kind), params, bools)
        except ValueError as error:
            raise ValueError(f"{kind}: the mask is not like the parameters; {error}") from None
    return flags or ()


def _check_flag(kind: str, path: str, p: Any, flag: Any) -> None:
    """Raise if a leaf of a mask is not a bool."""
    if not isinstance(flag, bool | np.bool_):
        raise TypeError(
            f"{kind}: expected a mask of one bool for each parameter, got {type(flag).__name__} at {path!r}"
        )


def _matching(kind: str, pattern: str, params: Tree) -> Sequence[bool]:
    """Whether the path of each parameter matches a pattern; an error if none does."""
    names = tuple(paths(params))
    matches = _matches(pattern, names)
    if names and not any(matches):
        raise ValueError(f"{kind}: no parameter matches the pattern {pattern!r}; they are {_listed(names)}")
    return matches


@lru_cache(maxsize=256)
def _matches(pattern: str, paths: tuple[str, ...]) -> tuple[bool, ...]:
    """Whether each path matches the pattern."""
    return tuple(fnmatchcase(path, pattern) for path in paths)


@lru_cache(maxsize=256)
def _first_matches(kind: str, patterns: tuple[str, ...], paths: tuple[str, ...]) -> tuple[int, ...]:
    """The number of the first pattern that each path matches; an error for a path or a pattern without a match."""
    columns = [_matches(pattern, paths) for pattern in patterns]
    numbers = [next((n for n, column in enumerate(columns) if column[i]), -1) for i in range(len(paths))]
    if rest := [path for path, number in zip(paths, numbers, strict=True) if number < 0]:
        raise ValueError(f'{kind}: no pattern matches {_listed(rest)}; add the pattern "*" as the last one')
    for number, pattern in enumerate(patterns):
        if paths and number not in numbers:
            taken = list(compress(paths, columns[number]))
            why = f"; earlier patterns match {_listed(taken)}" if taken else f"; they are {_listed(paths)}"
            raise ValueError(f"{kind}: the pattern {pattern!r} is not the first to match any parameter{why}")
    return tuple(numbers)


def _listed(paths: Sequence[str]) -> str:
    """Some of the paths, for messages."""
    return ", ".join(path or "the root" for path in paths[:8]) + (", ..." if len(paths) > 8 else "")


# Functions of the module, as those of ``state``.
def _paths(path: str, node: Tree) -> Iterator[str]:
    """The paths of the leaves in the order of ``aligned``."""
    if not isinstance(node, dict):
        yield path
        return
    for name, child in node.items():
        yield from _paths(tree.below(path, name), child)


def _prune(node: dict[str, Any], flags: Iterator[bool]) -> dict[str, Any]:
    """The dict of the chosen leaves."""
    kept = {}
    for name, child in node.items():
        if isinstance(child, dict):
            if inner := _prune(child, flags):
                kept[name] = inner
        elif next(flags):
            kept[name] = child
    return kept
