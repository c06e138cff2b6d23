"""A kernel may have a second implementation, which runs where it was asked for and takes the arrays.

NumPy's kernels are always there, and are the reference. Another implementation is a table of functions with the names
and the arguments of those that it replaces. It decides by itself what it takes, and returns None for the
rest, which NumPy computes. Layers call a kernel by its name and do not know which one ran.
"""

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, ParamSpec, TypeVar

__all__ = ["accelerated", "calls", "replace_kernels"]

K = ParamSpec("K")
R = TypeVar("R")

_others: Mapping[str, Callable[..., Any]] = {}
"""The functions that replace NumPy's, by name; for the whole process, so that a vjp runs alike on every thread."""
_calls: Counter[tuple[str, bool]] = Counter()
"""How many calls of a kernel the other implementation got, and whether it took them."""
_lock = threading.Lock()


def accelerated(kernel: Callable[K, R]) -> Callable[K, R]:
    """Let another implementation of a kernel run in its place, where there is one and it takes the arguments.

    Example:
        >>> @accelerated
        ... def halved(x):
        ...     return x / 2
        >>> before = replace_kernels({"halved": lambda x: x // 2 if x == 7 else None})
        >>> halved(5), halved(7)
        (2.5, 3)
        >>> replace_kernels(before)["halved"](7)
        3
    """
    name = kernel.__name__

    @wraps(kernel)
    def chosen(*args: K.args, **kwargs: K.kwargs) -> R:
        other = _others.get(name)
        if other is None:
            return kernel(*args, **kwargs)
        found: R | None = other(*args, **kwargs)
        with _lock:
            _calls[name, found is not None] += 1
        return kernel(*args, **kwargs) if found is None else found

    return chosen


def replace_kernels(others: Mapping[str, Callable[..., Any]]) -> Mapping[str, Callable[..., Any]]:
    """Let these functions replace NumPy's kernels from now on; what did so before is returned."""
    global _others
    before, _others = _others, others
    with _lock:
        _calls.clear()
    return before


def calls() -> Counter[tuple[str, bool]]:
    """For each kernel that has another implementation, how many calls that has taken, and how many it has not."""
    with _lock:
        return _calls.copy()
