"""How a value is named in a message: what it is, and how it is written if that is short.

No message prints an array. Another type, such as a data frame or a tensor, is named with the cast that makes it
an array.
"""

import inspect
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

__all__ = ["cast", "not_parameters", "shown", "uncalled", "what"]

MAX_SHOWN = 200
"""The number of characters up to which a value is written out in a message."""

HOLDS_ARRAYS = re.compile(r"\b(array|tensor|matrix)\(|\n")
"""What the text of a value contains if it holds arrays or is several lines long."""


def what(value: Any) -> str:
    """What a value is in a few words, for messages.

    Example:
        >>> what(np.ones((4, 3))), what((1, 2)), what("mse")
        ('a ndarray', 'a tuple of 2', 'a str')
    """
    return f"a tuple of {len(value)}" if type(value) is tuple else f"a {type(value).__name__}"


def shown(value: Any) -> str:
    """A value for messages: as one would write it if that is short; of arrays, and of all that holds one, what it is.

    Example:
        >>> shown("mse"), shown([1, 2]), shown(np.ones((4, 3))), shown({"w": np.ones(2)})
        ("'mse'", '[1, 2]', 'a ndarray of shape (4, 3)', 'a dict')
    """
    if hasattr(value, "__array__") and not isinstance(value, np.generic | type):
        shape = getattr(value, "shape", ())
        return f"{what(value)} of shape {tuple(shape)}"
    is_long = isinstance(value, list | tuple | dict | set | str | bytes) and len(value) > MAX_SHOWN
    text = "" if is_long else repr(value)
    return text if 0 < len(text) <= MAX_SHOWN and not HOLDS_ARRAYS.search(text) else what(value)


def uncalled(value: Any) -> str:
    """The end of a message about a constructor that was not called; empty for everything else."""
    is_constructor = inspect.isclass(value) or inspect.isfunction(value)
    return f"; call it: {value.__name__}(...)" if is_constructor else ""


def not_parameters(value: Any, call: str) -> str:
    """The end of a message about a value that stands where parameters are meant in a call.

    Example:
        >>> not_parameters(np.ones(3), "apply(params, x)")
        '; is it apply(params, x)?'
    """
    if hasattr(value, "params"):  # what fit returned
        return "; write result.params"
    if hasattr(value, "init"):
        return "; params = model.init(shape, rng=0) makes them"
    return f"; is it {call}?" if call and (hasattr(value, "__array__") or isinstance(value, list | tuple)) else ""


def cast(value: Any, name: str = "x", dtype: str = "np.float32") -> str:
    """How to make a plain array of a list, a data frame or a tensor, for messages.

    Example:
        >>> cast([1.0]), cast([1], "target", "")
        ('np.asarray(x, np.float32)', 'np.asarray(target)')
    """
    if type(value).__module__.partition(".")[0] == "torch":
        return f"{name}.detach().cpu().numpy()"
    if isinstance(value, Iterator):
        return f"np.stack(list({name}))"
    return f"np.asarray({name}, {dtype})" if dtype else f"np.asarray({name})"
