"""A call whose arguments do not fit says what the function takes, and which keyword was meant.

A decorator does it for functions that are called as they are; those that record their calls ask here themselves.
"""

import functools
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

from funcnn import spellings

__all__ = ["explained", "misfit"]

P = ParamSpec("P")
R = TypeVar("R")

MAX_LISTED = 12
"""The number of arguments up to which a message lists all of them."""

STARS: dict[Any, str] = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}


def explained(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function name its arguments, and the nearest keyword, when it is called with others.

    The function runs as it is; only an error of the call itself, which has no frame inside, is replaced.

    Example:
        >>> @explained
        ... def train(data, rate=0.1): ...
        >>> train([], lr=0.2)
        Traceback (most recent call last):
        TypeError: train() got an unexpected keyword argument 'lr'; did you mean 'rate'?
    """

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except TypeError as error:
            inside = error.__traceback__ is not None and error.__traceback__.tb_next is not None
            wrong = None if inside else misfit(function.__name__, inspect.signature(function), args, kwargs)
            if wrong is None:
                raise
        raise wrong

    return call


def misfit(name: str, signature: inspect.Signature, args: Sequence[Any], kwargs: Mapping[str, Any]) -> TypeError | None:
    """The error of a call with arguments that do not fit a signature; None if they fit."""
    parameters = signature.parameters.values()
    named = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    anything = any(p.kind is p.VAR_KEYWORD for p in parameters)
    for unknown in () if anything else kwargs:
        if unknown not in named:
            meant = spellings.keyword(unknown, named)
            takes = f"it takes ({_listed(parameters)})"
            hint = f"did you mean {meant!r}?" if meant else spellings.ELSEWHERE.get(unknown, takes)
            return TypeError(f"{name}() got an unexpected keyword argument {unknown!r}; {hint}")
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        missing = str(error).partition("missing a required argument: ")[2].strip("'")
        known = missing in spellings.EXAMPLES and (missing != "params" or "model" in named)
        example = f", {spellings.EXAMPLES[missing]} for example" if known else ""
        return TypeError(f"{name}() {error}{example}; it takes ({_listed(parameters)})")
    return None


def _listed(parameters: Collection[inspect.Parameter]) -> str:
    """The arguments that a function takes; of many, those that it must be given."""
    own = [p for p in parameters if p.name != "self"]
    listed = own if len(own) <= MAX_LISTED else [p for p in own if p.default is p.empty]
    return ", ".join([*(STARS.get(p.kind, "") + p.name for p in listed), *["..."] * (len(listed) < len(own))])
