"""How a thing was made is recorded once, in the same way for all: the constructor and its arguments.

``repr``, summaries, model files, ``rebuild``, ``pickle`` and ``copy`` read that record. A layer or an optimizer holds
it in its field ``call``; a function that was made by another is wrapped so that it can hold it.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import math
import sys
import weakref
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ParamSpec, TypeVar

__all__ = ["Call", "Recorded", "is_default", "made", "recorded", "spelled", "written"]

P = ParamSpec("P")
R = TypeVar("R")

VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


@dataclass(frozen=True, eq=False)
class Call:
    """How a thing was made: a constructor and its arguments. The record holds for the function that was made only.

    Args:
        constructor: the public function that was called.
        arguments: its arguments by name, those that were given.
        made: the function that it made: a layer's ``apply``, an optimizer's ``update``, a schedule.
        keywords: the names of those that were given by keyword.
        inner: the record of the combinator that a user's constructor returned, if it put layers together.
    """

    constructor: Callable[..., Any]
    arguments: Mapping[str, Any]
    made: Any = None
    keywords: Collection[str] = ()
    inner: Call | None = None

    def __repr__(self) -> str:
        return f"{self.constructor.__name__}({', '.join(written(self.constructor, self.arguments, self.keywords))})"

    def parts(self) -> tuple[Callable[..., Any], dict[str, Any], tuple[str, ...]]:
        """The arguments of ``made``, which makes the same once more."""
        return self.constructor, dict(self.arguments), tuple(self.keywords)


def made(constructor: Callable[..., Any], arguments: Mapping[str, Any], keywords: Collection[str] = ()) -> Any:
    """What a constructor makes of arguments that are given by name, as a record has them."""
    signature = inspect.signature(constructor)
    variadic = {p.kind for p in signature.parameters.values() if p.kind in VARIADIC and arguments.get(p.name)}
    if keywords and not variadic:
        first = [value for name, value in arguments.items() if name not in keywords]
        return constructor(*first, **{name: arguments[name] for name in keywords})
    bound = inspect.BoundArguments(signature, OrderedDict(arguments))
    if inspect.Parameter.VAR_POSITIONAL in variadic:  # an argument before ``*arguments`` has no keyword
        bound.apply_defaults()
    return constructor(*bound.args, **bound.kwargs)


class Recorded:
    """A function that knows the call that made it: an initializer, a schedule, a loss with options, a callback."""

    def __init__(self, function: Callable[..., Any], call: Call) -> None:
        functools.update_wrapper(self, function)
        self.function, self.call = function, call

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return repr(self.call)

    def __reduce__(self) -> Any:
        module = sys.modules.get(self.__module__)
        for name, thing in list(vars(module).items()) if module else []:
            if thing is self:  # a global of its module, like ``he_normal``, is found by its name
                return name
        return made, self.call.parts()


def recorded(constructor: Callable[P, R]) -> Callable[P, R]:
    """Let what a constructor makes know the call that made it, for ``repr``, model files, ``pickle`` and ``copy``.

    Args:
        constructor: a function that returns a function, or a dataclass with a field ``call``, as an optimizer is.

    Returns:
        The same function, whose results print as the call and can be pickled.
    """
    signature = inspect.signature(constructor)

    @functools.wraps(constructor)
    def build(*args: P.args, **kwargs: P.kwargs) -> Any:
        arguments = arguments_of(constructor, signature, args, kwargs)
        result: Any = constructor(*args, **kwargs)
        if inspect.isfunction(result) or isinstance(result, Recorded):
            return Recorded(result, Call(own(), arguments, result, tuple(kwargs)))
        return replace(result, call=Call(own(), arguments, result.update, tuple(kwargs)))

    own: Any = weakref.ref(build)  # a closure that refers to itself would keep its constructor's arrays alive
    return build


def arguments_of(
    constructor: Callable[..., Any], signature: inspect.Signature, args: Any, kwargs: Any
) -> Mapping[str, Any]:
    """The arguments of a call by name, as the record keeps them; an error that names the constructor."""
    try:
        return {**snapshot(signature.bind(*args, **kwargs).arguments)}
    except TypeError as error:
        unknown = next((name for name in kwargs if name not in signature.parameters), "")
        close = difflib.get_close_matches(unknown, signature.parameters, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else f"; it takes ({', '.join(signature.parameters)})"
        raise TypeError(f"{constructor.__name__}() {error}{hint}") from None


def snapshot(value: Any) -> Any:
    """Arguments in dicts, lists and tuples of the record's own, which stay as they are if the caller's change."""
    if isinstance(value, dict) and type(value) in (dict, OrderedDict):
        return {key: snapshot(item) for key, item in value.items()}
    return type(value)(snapshot(item) for item in value) if type(value) in (list, tuple) else value


def written(
    constructor: Callable[..., Any], arguments: Mapping[str, Any], keywords: Collection[str] = ()
) -> Iterator[str]:
    """The arguments of a call as one would write them: options with their keyword, the first argument without."""
    parameters = inspect.signature(constructor).parameters
    by_keyword = {*keywords} - {next(iter(parameters), "")}
    by_keyword |= {name for name, parameter in parameters.items() if parameter.kind is parameter.KEYWORD_ONLY}
    more = any(p.kind is p.VAR_POSITIONAL and arguments.get(name) for name, p in parameters.items())
    for name, value in arguments.items():
        kind, default = parameters[name].kind, parameters[name].default
        if kind is inspect.Parameter.POSITIONAL_ONLY or (more and kind is inspect.Parameter.POSITIONAL_OR_KEYWORD):
            yield spelled(value)
        elif kind is inspect.Parameter.VAR_POSITIONAL:
            yield from (spelled(item) for item in value)
        elif kind is inspect.Parameter.VAR_KEYWORD:
            yield from (f"{key}={spelled(item)}" for key, item in value.items())
        elif default is inspect.Parameter.empty and name not in by_keyword:
            yield spelled(value)
        elif not is_default(value, parameters[name]):
            yield f"{name}={spelled(value)}"


def is_default(value: Any, parameter: inspect.Parameter) -> bool:
    """Whether the call without this argument is the same."""
    if parameter.kind in VARIADIC:
        return not value
    default = parameter.default
    # Compared as text, which tells 1 from True and 0.0 from -0.0.
    plain = isinstance(value, bool | int | float | str | tuple) and type(value) is type(default)
    return value is default or (plain and repr(value) == repr(default))


def spelled(value: Any) -> str:
    """An argument as one would write it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{spelled(key)}: {spelled(item)}" for key, item in value.items()) + "}"
    if type(value) in (list, tuple):
        items = ", ".join(spelled(item) for item in value)
        return f"[{items}]" if type(value) is list else f"({items}{',' if len(value) == 1 else ''})"
    if isinstance(value, float) and not math.isfinite(value):
        return f"float('{value}')"
    return value.__name__ if inspect.isfunction(value) else repr(value)
