"""Validators of arguments: sizes, numbers, rates, fractions, flags, paths.

Each returns the value as a plain Python object: 4 for ``np.int64(4)``, 0.5 for ``np.float32(0.5)``.
"""

import math
import numbers
import operator
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from funcnn.wording import shown

__all__ = [
    "drop_rate", "eps", "flag", "fraction", "nonnegative", "number", "path", "positive", "prefix", "probability",
    "proper_fraction", "rate", "real", "size", "sizes", "steps",
]  # fmt: skip


def prefix(kind: str) -> str:
    """The start of a message: the constructor's name, where there is one."""
    return f"{kind}: " if kind else ""


def size(kind: str, name: str, value: Any, least: int | None = 1) -> int:
    """A whole number of at least ``least``, or any whole number, of any integer type.

    Example:
        >>> size("dense", "units", np.int64(4))
        4
    """
    number = index(value)
    if number is None or (least is not None and number < least):
        bound = "" if least is None else f" >= {least}"
        raise ValueError(f"{prefix(kind)}{name} must be a whole number{bound}, got {shown(value)}")
    if number > sys.maxsize:
        raise ValueError(f"{prefix(kind)}{name} must be at most {sys.maxsize}, got {shown(value)}")
    return number


def sizes(
    kind: str,
    name: str,
    value: Any,
    axes: tuple[str, ...] = ("height", "width"),
    *,
    least: int = 1,
    or_none: bool = False,
) -> tuple[Any, ...]:
    """A whole number of at least ``least`` for all axes, or one for each axis; with ``or_none``, any may be None.

    Example:
        >>> sizes("conv2d", "kernel", 3), sizes("conv2d", "kernel", [3, 1])
        ((3, 3), (3, 1))
    """
    several = isinstance(value, tuple | list) or (isinstance(value, np.ndarray) and value.ndim > 0)
    given = value if several else [value] * len(axes)
    whole = all(index(n) is not None or (n is None and or_none) for n in given)
    found = tuple(index(n) for n in given)
    if len(found) != len(axes) or not whole or any(n is not None and n < least for n in found):
        one = f"whole number >= {least}" + ", None" * or_none
        many = "pair" if len(axes) == 2 else "tuple"
        raise ValueError(f"{prefix(kind)}{name} must be a {one} or a {many} ({', '.join(axes)}), got {shown(value)}")
    if any(n is not None and n > sys.maxsize for n in found):
        raise ValueError(f"{prefix(kind)}{name} must be at most {sys.maxsize}, got {shown(value)}")
    return found


def steps(kind: str, name: str, value: Any) -> int:
    """A number of steps: an integer of at least 1."""
    number = index(value)
    if number is None:
        raise TypeError(f"{prefix(kind)}{name}: expected an int, a number of steps, got {shown(value)}; use int(...)")
    if number < 1:
        raise ValueError(f"{prefix(kind)}{name}: expected at least 1 step, got {value}")
    return number


def real(kind: str, name: str, value: Any) -> float:
    """Any real number as a Python float."""
    if not isinstance(value, numbers.Real) or isinstance(value, bool | np.bool_):
        raise TypeError(f"{prefix(kind)}{name}: expected a number, got {shown(value)}")
    try:
        return float(value)
    except OverflowError:  # a whole number that no float can hold
        return math.inf if abs(value) == value else -math.inf


def flag(kind: str, name: str, value: Any) -> bool:
    """True or False: the text ``"no"`` would be true.

    Example:
        >>> flag("dense", "bias", np.True_)
        True
    """
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{prefix(kind)}{name} must be True or False, got {shown(value)}")
    return bool(value)


def number(kind: str, name: str, value: Any) -> float:
    """A finite number as a Python float, so that float32 arrays times it stay float32."""
    found = real(kind, name, value)
    if not math.isfinite(found):
        raise ValueError(f"{prefix(kind)}{name} must be a finite number, got {shown(value)}")
    return found


def rate(kind: str, name: str, value: Any) -> float:
    """A finite number that is not negative, as a Python float.

    Example:
        >>> rate("sgd", "rate", np.float32(0.5))
        0.5
    """
    found = real(kind, name, value)
    if not 0 <= found < math.inf:
        raise ValueError(
            f"{prefix(kind)}{name}: expected a finite number that is not negative, got {value}; use 0 or more"
        )
    return found


def fraction(kind: str, name: str, value: Any) -> float:
    """A number in [0, 1), as a Python float."""
    found = rate(kind, name, value)
    if not found < 1:
        raise ValueError(f"{prefix(kind)}{name}: expected a number in [0, 1), got {value}; 0.9 to 0.999 are usual")
    return found


def probability(kind: str, name: str, value: Any, hint: str = "") -> float:
    """A number in [0, 1], as a Python float; ``hint`` ends the message.

    Example:
        >>> probability("flip", "probability", 1)
        1.0
    """
    found = real(kind, name, value)
    if not 0 <= found <= 1:
        raise ValueError(f"{prefix(kind)}{name} must be a number in [0, 1], got {shown(value)}{hint}")
    return found


def drop_rate(kind: str, value: Any, name: str = "rate") -> float:
    """The probability of dropping something, in [0, 1), as a Python float."""
    found = real(kind, name, value)
    if not 0 <= found < 1:
        raise ValueError(f"{prefix(kind)}{name} is the probability of dropping, in [0, 1), got {shown(found)}")
    return found


def eps(kind: str, value: Any, of: str = "the variance") -> float:
    """A number that does not vanish in what it is added to, as a Python float.

    Example:
        >>> eps("batch_norm", 1e-5)
        1e-05
    """
    found = real(kind, "eps", value)
    if not 1e-12 <= found < math.inf:
        raise ValueError(f"{prefix(kind)}eps must be at least 1e-12, or it vanishes in {of}, got {shown(found)}")
    return found


def proper_fraction(kind: str, name: str, value: Any) -> float:
    """A number in (0, 1), as a Python float."""
    found = real(kind, name, value)
    if not 0 < found < 1:
        raise ValueError(f"{prefix(kind)}{name} must lie between 0 and 1, got {shown(value)}")
    return found


def nonnegative(kind: str, name: str, value: Any) -> float:
    """A finite number ``>= 0`` that is not a rate, as a Python float."""
    found = real(kind, name, value)
    if not 0 <= found < math.inf:
        raise ValueError(f"{prefix(kind)}{name} must be a number >= 0, got {shown(value)}")
    return found


def positive(kind: str, name: str, value: Any, usual: str = "1e-8") -> float:
    """A positive, finite number, as a Python float."""
    found = real(kind, name, value)
    if not 0 < found < math.inf:
        raise ValueError(f"{prefix(kind)}{name}: expected a positive number, got {value}; {usual} is usual")
    return found


def path(kind: str, value: Any, name: str = "path") -> Path:
    """The name of a file or folder; a number would be that of an open file, and bytes have no encoding.

    Example:
        >>> path("save", "model.npz").suffix
        '.npz'
    """
    if not isinstance(value, str | os.PathLike) or not isinstance(os.fspath(value), str):
        raise TypeError(f"{prefix(kind)}{name}: expected a str or a Path, got {shown(value)}")
    text = os.fspath(value)
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        text = text.encode("ascii", "backslashreplace").decode()
        raise ValueError(f"{prefix(kind)}{name}: no file can be called {text!r}; use other characters") from None
    if not text or "\0" in text:
        raise ValueError(f"{prefix(kind)}{name}: expected the name of a file or folder, got {shown(text)}")
    return Path(text)


def index(value: Any) -> int | None:
    """The Python int that any integer type stands for; None for a bool and for all else."""
    if isinstance(value, bool | np.bool_):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None
