"""Nested names of parameters: ``optimizer__rate`` is the rate of an estimator's optimizer ``adam(1e-3)``.

Layers, optimizers and all else that records the call that made it have the arguments of that call as parameters; to set
one is to make the call again with the new value.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from funcnn.recorded import VARIADIC, Call, made
from funcnn.wording import shown

__all__ = ["arguments_of", "nested", "with_argument"]


def arguments_of(value: Any) -> dict[str, Any]:
    """The arguments of the recorded call that made a value, also those left at their defaults; empty without one."""
    call = getattr(value, "call", None)
    if not isinstance(call, Call) or call.changed(value):
        return {}
    parameters = inspect.signature(call.constructor).parameters.values()
    return {p.name: call.arguments.get(p.name, p.default) for p in parameters if p.kind not in VARIADIC}


def nested(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The arguments of the call that made a value, of the calls that made these, and so on, by the names of sklearn."""
    for argument, inner in arguments_of(value).items():
        yield f"{name}__{argument}", inner
        yield from nested(f"{name}__{argument}", inner)


def with_argument(name: str, value: Any, key: str, new: Any) -> Any:
    """The value that the recorded call makes with another argument, ``rate`` or ``rate__steps``."""
    argument, _, inner = key.partition("__")
    known = arguments_of(value)
    if argument not in known:
        raise ValueError(f"Invalid parameter {argument!r} for {name}={shown(value)}; valid ones are {sorted(known)}")
    if inner:
        new = with_argument(f"{name}__{argument}", known[argument], inner, new)
    return made(value.call.constructor, {**value.call.arguments, argument: new})
