"""The fixture: for each recorded array its shape, its dtype, its norm and its products with fixed random vectors.

Four random projections stand for an array of any size: a change of its values that is larger than the tolerance shows
in at least one of them but by a coincidence that four independent normal numbers are all small.
"""

import json
import math
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias
from zlib import crc32

import numpy as np

from .cases import Array, Observed

FILE = Path(__file__).parent / "golden.json"
PROJECTIONS = 4

Entry: TypeAlias = list[Any]
"""``[dtype, shape, norm, *projections]``."""

RENAMED: dict[str, str] = {}
"""A part of a path today by its name in the fixture: ``{"scale_by_rate": "rate"}`` if a state's key is renamed so."""

DIGITS = {"float64": 12, "float32": 7}
"""Significant digits that are kept of a projection: a thousandth of the tolerance or less."""

ONE_PASS = {"float64": 1e-9, "float32": 1e-4}
"""Outputs and gradients. Rounding is 1e-16 and 6e-8, and sums of thousands of terms in another order lose a hundred
times that; what an approximation or a slip in a formula would change is more than 1e-9, and float64 shows it."""

TEN_STEPS = {"float64": 1e-7, "float32": 2e-3}
"""Losses and parameters after ten steps of training, which multiply the rounding errors of a single one."""

NEGLIGIBLE = {"float64": 1e-3, "float32": 1.0}
"""Is added to an array's norm, for arrays that are zero but for rounding errors, as the gradient of a bias before a
batch norm is: a sum over a batch of ten thousand numbers O(1), which float32 gets wrong by some 1e-5, float64 by 1e-14.
Outputs and gradients of random ``dy`` are larger than this."""

NEGLIGIBLE_TRAINED = {"float64": 1e-3, "float32": 1e-2}
"""The same for biases after ten steps, which began at zero and have moved by a thousandth or more."""

NEGLIGIBLE_OPTIMIZER = 1e-12
"""The same for optimizers: their rules work number by number, so that small numbers are as exact as large ones."""


def today(path: str) -> str:
    """Where the leaf that the fixture knows under this path is found today."""
    return "/".join(RENAMED.get(part, part) for part in path.split("/"))


def entry_of(case: str, dtype: str, array: Array) -> Entry:
    """What is recorded of an array."""
    digits = DIGITS[dtype]
    numbers = [float(f"{number:.{digits}g}") for number in _numbers(case, array)]
    return [str(array.dtype), list(array.shape), *numbers]


def differences(case: str, dtype: str, recorded: Mapping[str, Entry], observed: Observed) -> list[str]:
    """One line for each recorded array that is missing today or is another one; none if all is well.

    Arrays that are not in the fixture are no difference: what is new has nothing to be compared with.
    """
    lines = []
    for path, entry in recorded.items():
        arrays = observed.get(today(path))
        if not arrays:
            lines.append(f"{path}: missing; there are {', '.join(observed)}")
            continue
        lines += [f"{path}: {words}" for array in arrays if (words := _difference(case, dtype, path, entry, array))]
    return lines


def error(case: str, dtype: str, path: str, entry: Entry, array: Array) -> float:
    """The largest difference of the norm or of a projection, relative to the norm."""
    before, now = np.array(entry[2:]), np.array(_numbers(case, array))
    if not np.isfinite(now).all():
        return math.inf
    if case.startswith("optimizer"):
        least = NEGLIGIBLE_OPTIMIZER
    else:
        least = (NEGLIGIBLE_TRAINED if path.startswith("trained/") else NEGLIGIBLE)[dtype]
    return float(np.max(np.abs(before - now))) / (entry[2] + least)


def tolerance_of(dtype: str, path: str) -> float:
    """What an array may differ by, relative to its norm."""
    return (TEN_STEPS if path.startswith("trained/") else ONE_PASS)[dtype]


def read() -> dict[str, dict[str, dict[str, Entry]]]:
    """``{case: {dtype: {path: entry}}}``."""
    content: dict[str, dict[str, dict[str, Entry]]] = json.loads(FILE.read_text(encoding="utf-8"))
    return content


def write(content: Mapping[str, Mapping[str, Mapping[str, Entry]]]) -> None:
    """One line for each array, so that a change of the fixture can be read in a diff."""

    def object_of(items: list[tuple[str, str]], end: str) -> str:
        return "{" + ",".join(f"{end} {json.dumps(name)}: {text}" for name, text in items) + f"{end}}}"

    cases = []
    for case, dtypes in content.items():
        parts = []
        for dtype, entries in dtypes.items():
            lines = [(path, json.dumps(entry, separators=(",", ":"))) for path, entry in entries.items()]
            parts.append((dtype, object_of(lines, "\n  ")))
        cases.append((case, object_of(parts, "\n ")))
    FILE.write_text(object_of(cases, "\n") + "\n", encoding="utf-8")


def _difference(case: str, dtype: str, path: str, entry: Entry, array: Array) -> str:
    """What differs between an array and the recorded one; nothing if they are the same to rounding."""
    was = f"{entry[0]} of shape {tuple(entry[1])}"
    if [str(array.dtype), list(array.shape)] != entry[:2]:
        return f"was {was}, is {array.dtype} of shape {array.shape}"
    found, allowed = error(case, dtype, path, entry, array), tolerance_of(dtype, path)
    return "" if found <= allowed else f"{was} differs by {found:.1e} of its norm {entry[2]:.3g}, allowed is {allowed}"


def _numbers(case: str, array: Array) -> list[float]:
    """The norm and the projections, in float64."""
    flat = np.asarray(array, np.float64).ravel()
    return [float(np.linalg.norm(flat)), *map(float, _vectors(case, flat.size) @ flat)]


@lru_cache(maxsize=64)
def _vectors(case: str, size: int) -> Array:
    """Standard normal vectors, the same for all arrays of one size in one case."""
    return np.random.default_rng((crc32(case.encode()), size)).standard_normal((PROJECTIONS, size), np.float32)
