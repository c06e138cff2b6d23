"""Validators of functions that a user passes, and of what these functions return.

A function is checked before it is called: by whether it is one, and by the arguments that it takes.
"""

import inspect
import numbers
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from funcnn import spellings
from funcnn.aliases import Array
from funcnn.checks.arguments import prefix
from funcnn.checks.arrays import PLAIN, plain
from funcnn.wording import shown, uncalled, what

__all__ = [
    "accepts", "function", "is_constructor", "is_function", "is_iterable", "not_a_layer", "returned_array",
    "returned_number", "returned_pair", "signature_of", "takes_keyword", "without_axes",
]  # fmt: skip


def function(kind: str, name: str, value: Any, takes: str = "") -> Callable[..., Any]:
    """Something that can be called, with arguments like ``takes``: a constructor that was not called takes others.

    Example:
        >>> function("sgd", "rate", lambda step: 0.5, "step")(0)
        0.5
    """
    expected = f"{prefix(kind)}{name}: expected a function" + (f" of ({takes})" if takes else "")
    if not is_function(value) or spellings.is_foreign(value):
        write = spellings.name(value)
        raise TypeError(f"{expected}, got {shown(value)}" + (f"; write {write}" if write else ""))
    found: Callable[..., Any] = value
    if takes and not accepts(found, takes.split(", ")):
        own = getattr(value, "__name__", shown(value))
        hint = f"; if it makes such a function, call it: {own}(...)" if own.isidentifier() else ""
        raise TypeError(f"{expected}, got {own}, which takes other arguments{hint}")
    if is_constructor(value):
        raise TypeError(f"{expected}, got {value.__name__}, which makes one{uncalled(value)}")
    return found


def is_function(value: Any) -> bool:
    """Whether something is to be called; a layer is not, its ``__call__`` only raises an error that says so."""
    return callable(value) and not getattr(type(value).__call__, "only_raises", False)


def not_a_layer(value: Any) -> str:
    """The end of a message about a value that stands where a layer is meant."""
    if isinstance(value, dict):
        return "; is it model and params in the wrong order?"
    if hasattr(value, "__array__"):
        return "; arrays are given to apply(params, x)"
    write = spellings.name(value)
    return f"; write {write}" if write else uncalled(value)


def is_constructor(value: Any) -> bool:
    """Whether this is a constructor of the library, such as ``early_stopping``, that was not called."""
    return getattr(value, "is_constructor", False) is True


def accepts(function: Callable[..., Any], arguments: Sequence[str]) -> bool:
    """Whether a function can be called with these arguments; of functions in C it may not be known, and is assumed."""
    if isinstance(function, np.ufunc):  # what follows its inputs is memory that it would write to
        return function.nin == len(arguments)
    signature = signature_of(function)
    try:
        if signature is not None:
            signature.bind(*arguments)
    except TypeError:
        return False
    return True


def takes_keyword(function: Callable[..., Any], name: str) -> bool:
    """Whether a function can be called with this keyword; of functions in C it may not be known, and is denied.

    Example:
        >>> takes_keyword(lambda y, target, weights=None: 0, "weights")
        True
    """
    signature = signature_of(function)
    parameters = () if signature is None else signature.parameters.values()
    return any(
        p.kind is p.VAR_KEYWORD or (p.name == name and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))
        for p in parameters
    )


def signature_of(function: Callable[..., Any]) -> inspect.Signature | None:
    """The signature of a function; None for some that are written in C."""
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return None


def returned_number(name: str, value: Any) -> float:
    """What a function of the user returned, where it must return one real number; ``name`` is that of the function.

    Example:
        >>> returned_number("the metric 'f1'", np.float32(0.5))
        0.5
    """
    value = without_axes(value)
    if isinstance(value, numbers.Real) and not isinstance(value, bool | np.bool_):
        return float(value)
    raise TypeError(f"{name} must return one number, got {what(value)}")


def without_axes(value: Any) -> Any:
    """The number in an array without axes, ``np.where(step < 9, 0.1, 0.01)`` or one of JAX; anything else as it is.

    Example:
        >>> without_axes(np.array(0.5)), without_axes(np.array([0.5]))
        (np.float64(0.5), array([0.5]))
    """
    # Of the subclasses of arrays, a masked one would hide that it has no value.
    plain = type(value) is np.ndarray or not isinstance(value, np.ndarray)
    return np.asarray(value)[()] if plain and hasattr(value, "__array__") and np.shape(value) == () else value


def returned_pair(name: str, value: Any, words: str) -> tuple[Any, Any]:
    """What a function of the user returned, where it must return a tuple of two; ``words`` are the two.

    Example:
        >>> returned_pair("update", (1, 2), "(updates, state)")
        (1, 2)
    """
    if not isinstance(value, tuple) or len(value) != 2:
        raise TypeError(f"{name} must return {words}, got {what(value)}")
    return value


def returned_array(name: str, value: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """What a function of the user returned, where it must return a plain array of this shape and dtype.

    Example:
        >>> returned_array("the function of 'sine'", np.zeros(2), (2,), np.dtype(float))
        array([0., 0.])
    """
    if type(value) not in PLAIN:
        plain(name, value)
        raise TypeError(f"{name} must return an array of shape {shape}, got {what(value)}")
    if value.shape != shape:
        raise ValueError(f"{name} must return an array of shape {shape}, got {value.shape}")
    if value.dtype.char != dtype.char:
        raise TypeError(f"{name} must return an array of {dtype}, got {value.dtype}; use .astype(np.{dtype.name})")
    found: Array = value
    return found


def is_iterable(value: Any) -> bool:
    """Whether a value can be iterated over, which an array without axes cannot."""
    return isinstance(value, Iterable) and not (isinstance(value, np.ndarray) and not value.ndim)
