"""How a thing was made is recorded once, in the same way for all: the constructor and its arguments.

``repr``, summaries, model files, ``rebuild``, ``pickle`` and ``copy`` read that record. A layer or an optimizer holds
it in its field ``call``; a function that was made by another is wrapped so that it can hold it.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
import sys
import weakref
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from os import PathLike, fspath
from types import ModuleType
from typing import Any, ParamSpec, TypeVar, cast

import numpy as np

from funcnn.calls import misfit

__all__ = ["Call", "Recorded", "is_default", "made", "recorded", "spelled", "written"]

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])

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
        fields: the fields of the layer or the optimizer that it made, its functions and children; ``replace`` may
            change them.

    Example:
        >>> import funcnn as fn
        >>> call = fn.dense(10, activation=fn.relu).call
        >>> call, call.arguments["units"]
        (dense(10, activation=relu), 10)
    """

    constructor: Callable[..., Any]
    arguments: Mapping[str, Any]
    made: Any = None
    keywords: Collection[str] = ()
    inner: Call | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        arguments = ", ".join(written(self.constructor, self.arguments, self.keywords))
        return f"{public_name(self.constructor)}({arguments})"

    def changed(self, thing: Any) -> str:
        """The field of a thing that is no longer what the call made, ``"init"``; empty if there is none."""
        return changed_field(thing, self.fields)

    def with_defaults(self) -> dict[str, Any]:
        """The arguments, with the defaults of those that were left out."""
        bound = inspect.signature(self.constructor).bind_partial()
        bound.apply_defaults()
        return {**bound.arguments, **self.arguments}

    def parts(self) -> tuple[Callable[..., Any], dict[str, Any], tuple[str, ...]]:
        """The arguments of ``made``, which makes the same once more."""
        return self.constructor, dict(self.arguments), tuple(self.keywords)


def described(thing: Any, otherwise: str) -> str:
    """The ``repr`` of a thing with a field ``call``; ``otherwise`` where that is None."""
    if thing.call is None:
        return otherwise
    changed = thing.call.changed(thing)
    return f"<{thing.call!r} with another {changed}>" if changed else repr(thing.call)


def reduced(thing: Any, name: str) -> tuple[Any, ...]:
    """What ``__reduce__`` of a thing with a field ``call`` returns, or an error if no call describes the thing."""
    if thing.call is None or thing.call.changed(thing):
        raise TypeError(
            f"{name} has no recorded call that describes it, so it cannot be pickled or copied; write a function that "
            "returns it, decorate it with @funcnn.recorded.recorded, and call that"
        )
    return made, thing.call.parts()


def made(constructor: Callable[..., Any], arguments: Mapping[str, Any], keywords: Collection[str] = ()) -> Any:
    """What a constructor makes of arguments that are given by name, as a record has them.

    Args:
        constructor: a function.
        arguments: its arguments by name, those of ``*args`` and ``**kwargs`` too.
        keywords: the names of those to pass by keyword.

    Returns:
        What the call returns.

    Example:
        >>> import funcnn as fn
        >>> made(fn.serial, {"layers": (fn.dense(2), fn.relu)})
        serial(dense(2), relu)
    """
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
    """A function that knows the call that made it: an initializer, a schedule, a loss with options, a callback.

    Example:
        >>> import funcnn as fn
        >>> rate = fn.cosine_decay(0.1, steps=100)
        >>> isinstance(rate, Recorded), rate, rate.call.arguments["steps"]
        (True, cosine_decay(0.1, steps=100), 100)
    """

    def __init__(self, function: Callable[..., Any], call: Call | None, is_ready: bool = False) -> None:
        functools.update_wrapper(self, function)
        self.function, self.call, self.is_ready = function, call, is_ready
        if call is not None and not is_ready:
            self.__name__, self.__doc__ = call.constructor.__name__, function.__doc__ or call.constructor.__doc__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return public_name(self) if self.call is None else repr(self.call)

    def __reduce__(self) -> Any:
        return self.__name__ if self.is_ready or self.call is None else (made, self.call.parts())


def ready(function: F, like: Any = None) -> F:
    """A function of the library that is found by its name; it prints as that, or as the call that made ``like``."""
    return cast(F, Recorded(function, like and like.call, is_ready=True))


def recorded(constructor: Callable[P, R]) -> Callable[P, R]:
    """Let what a constructor makes know the call that made it, for ``repr``, model files, ``pickle`` and ``copy``.

    Args:
        constructor: a function that returns a function, or a dataclass with a field ``call``, as an optimizer is.

    Returns:
        The same function, whose results print as the call and can be pickled.

    Example:
        >>> @recorded
        ... def halved(rate: float, every: int = 10):
        ...     return lambda step: rate * 0.5 ** (step // every)
        >>> halved(0.1, every=5)
        halved(0.1, every=5)
    """
    signature = inspect.signature(constructor)

    @functools.wraps(constructor)
    def build(*args: P.args, **kwargs: P.kwargs) -> Any:
        arguments = arguments_of(constructor, signature, args, kwargs)
        result: Any = constructor(*args, **kwargs)
        if inspect.isfunction(result) or isinstance(result, Recorded):
            return Recorded(result, Call(own(), arguments, result, tuple(kwargs)))
        call = Call(own(), arguments, result.update, tuple(kwargs), fields=computing_fields(result))
        return with_docstring(replace(result, call=call), constructor.__doc__)

    own: Any = weakref.ref(build)  # a closure that refers to itself would keep its constructor's arrays alive
    build.is_constructor = True  # type: ignore[attr-defined]
    return build


def computing_fields(thing: Any) -> dict[str, Any]:
    """The fields of a dataclass that say what it computes, such as its functions, and not how it is described."""
    described = ("name", "kind", "call")
    return {f.name: getattr(thing, f.name) for f in dataclasses.fields(thing) if f.init and f.name not in described}


def changed_field(thing: Any, made: Mapping[str, Any]) -> str:
    """The first field of a thing that is not the one that was made; empty if there is none."""
    return next((name for name, value in made.items() if getattr(thing, name) != value), "")


def with_docstring(thing: R, text: str | None) -> R:
    """A frozen dataclass whose ``help`` is this text, and not that of its class."""
    if text:
        object.__setattr__(thing, "__doc__", text)
    return thing


def arguments_of(
    constructor: Callable[..., Any], signature: inspect.Signature, args: Any, kwargs: Any
) -> Mapping[str, Any]:
    """The arguments of a call by name, as the record keeps them; an error that names the constructor."""
    try:
        return {**snapshot(signature.bind(*args, **kwargs).arguments)}
    except TypeError as error:
        raise misfit(constructor.__name__, signature, args, kwargs) or error from None


def snapshot(value: Any) -> Any:
    """Arguments in dicts, lists and tuples of the record's own, which stay as they are if the caller's change."""
    if isinstance(value, dict) and type(value) in (dict, OrderedDict):
        return {key: snapshot(item) for key, item in value.items()}
    return type(value)(snapshot(item) for item in value) if type(value) in (list, tuple) else value


def written(
    constructor: Callable[..., Any], arguments: Mapping[str, Any], keywords: Collection[str] = ()
) -> Iterator[str]:
    """The arguments of a call as one would write them: options with their keyword, the first argument without.

    A constructor that needs one of several arguments names them, ``one_of = ("factor", "size")``: the first of them is
    no option.

    Args:
        constructor: the function that was called.
        arguments: its arguments by name.
        keywords: the names of those that were given by keyword.

    Returns:
        An iterator of texts, without the arguments that are the defaults.

    Example:
        >>> import funcnn as fn
        >>> list(written(fn.dense, {"units": 10, "bias": False, "activation": None}))
        ['10', 'bias=False']
    """
    parameters = inspect.signature(constructor).parameters
    by_keyword = {*keywords} - {next(iter(parameters), "")}
    by_keyword |= {name for name, parameter in parameters.items() if parameter.kind is parameter.KEYWORD_ONLY}
    main = getattr(constructor, "one_of", ("",))[0]
    more = any(p.kind is p.VAR_POSITIONAL and arguments.get(name) for name, p in parameters.items())
    for name, value in arguments.items():
        kind, default = parameters[name].kind, parameters[name].default
        if kind is inspect.Parameter.POSITIONAL_ONLY or (more and kind is inspect.Parameter.POSITIONAL_OR_KEYWORD):
            yield spelled(value)
        elif kind is inspect.Parameter.VAR_POSITIONAL:
            yield from (spelled(item) for item in value)
        elif kind is inspect.Parameter.VAR_KEYWORD:
            yield from (f"{key}={spelled(item)}" for key, item in value.items())
        elif name not in by_keyword and (default is inspect.Parameter.empty or (name == main and value is not None)):
            yield spelled(value)
        elif not is_default(value, parameters[name]):
            yield f"{name}={spelled(value)}"


def is_default(value: Any, parameter: inspect.Parameter) -> bool:
    """Whether the call without this argument is the same.

    Args:
        value: the argument.
        parameter: its parameter in the signature.

    Returns:
        A bool; 1 and True are not the same, nor are 0.0 and -0.0.

    Example:
        >>> bias = inspect.Parameter("bias", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=True)
        >>> is_default(True, bias), is_default(1, bias)
        (True, False)
    """
    if parameter.kind in VARIADIC:
        return not value
    default = parameter.default
    # Compared as text, which tells 1 from True and 0.0 from -0.0.
    plain = isinstance(value, bool | int | float | str | tuple) and type(value) is type(default)
    return value is default or (plain and repr(value) == repr(default))


def spelled(value: Any) -> str:
    """An argument as one would write it.

    Args:
        value: anything; of a large array only dtype and shape are written.

    Returns:
        A text, which gives an equal value with the names of funcnn and ``np``, where there is one.

    Example:
        >>> import funcnn as fn
        >>> spelled((1, float("inf"), fn.relu, np.sin, fn.initializers.ones))
        "(1, float('inf'), relu, np.sin, initializers.ones)"
        >>> spelled(functools.partial(fn.mean_squared_error, reduction="sum"))
        "partial(mean_squared_error, reduction='sum')"
    """
    if isinstance(value, dict):
        return "{" + ", ".join(f"{spelled(key)}: {spelled(item)}" for key, item in value.items()) + "}"
    if type(value) in (list, tuple):
        items = ", ".join(spelled(item) for item in value)
        return f"[{items}]" if type(value) is list else f"({items}{',' if len(value) == 1 else ''})"
    if isinstance(value, float | np.floating) and not math.isfinite(value):
        return f"{public_name(type(value))}('{float(value)}')"
    if isinstance(value, PathLike):
        return repr(fspath(value))
    if isinstance(value, np.ndarray):
        return _array(value)
    if inspect.isroutine(value) or isinstance(value, type | np.ufunc):
        return public_name(value)
    if type(value) is functools.partial:
        options = (f"{name}={spelled(item)}" for name, item in value.keywords.items())
        return f"partial({', '.join([spelled(value.func), *map(spelled, value.args), *options])})"
    return f"np.{value!r}" if isinstance(value, np.dtype) else repr(value)


def _array(value: np.ndarray[Any, Any]) -> str:
    """A small array of numbers as one would write it; of any other its dtype and shape."""
    if type(value) is not np.ndarray or value.dtype.kind not in "biuf" or not 0 < value.size <= 8:
        return f"<{value.dtype} array of shape {value.shape}>"
    dtype = "" if value.dtype in (float, int, bool) else f", {str(value.dtype)!r}"
    return f"np.array({spelled(value.tolist())}{dtype})"


def public_name(thing: Any) -> str:
    """The name under which ``funcnn`` has a thing, ``dense`` or ``initializers.constant``; else its own name."""
    name: str = thing.__name__
    module, package = str(getattr(thing, "__module__", "")), sys.modules["funcnn"]
    if module.partition(".")[0] == "numpy" and getattr(np, name, None) is thing:
        return f"np.{name}"
    if isinstance(thing, np.ufunc):
        return f"np.{name}"
    if module.startswith("funcnn.") and vars(package).get(name) is not thing:
        for area in getattr(package, "__all__", ()):
            found = vars(package).get(area)
            if isinstance(found, ModuleType) and vars(found).get(name) is thing:
                return f"{area}.{name}"
    return name
