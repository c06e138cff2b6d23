"""One validator for each kind of argument: sizes, rates, fractions, functions, float arrays, labels, weights.

Each returns the value in the one form that the rest of the library works with, or raises an error that names the
constructor or function, the argument, what was expected and what came.
"""

import inspect
import math
import numbers
import operator
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from funcnn import spellings
from funcnn.aliases import Array, Shape
from funcnn.wording import cast, shown, uncalled, what

__all__ = [
    "PLAIN", "accepts", "array", "axes", "channels", "drop_rate", "dtype", "eps", "example_shape", "flag",
    "float_array", "float_dtype", "fraction", "function", "images", "is_constructor", "is_function", "is_iterable",
    "labels", "lengths", "mask", "nonnegative", "not_a_layer", "number", "path", "plain", "positive", "prefix",
    "proper_fraction", "rate", "real", "returned_array", "returned_number", "returned_pair", "size", "sizes", "state",
    "steps", "tokens", "weights", "what",
]  # fmt: skip


NUMBERED = "names, labels = np.unique(labels, return_inverse=True)"
"""How to number classes that are given by name."""

PLAIN = (np.ndarray, np.memmap)
"""The types of arrays that are plain data. A mask, a matrix or a record means something else, which would be lost."""


def prefix(kind: str) -> str:
    """The start of a message: the constructor's name, where there is one."""
    return f"{kind}: " if kind else ""


def size(kind: str, name: str, value: Any, least: int | None = 1) -> int:
    """A whole number of at least ``least``, or any whole number, of any integer type.

    Example:
        >>> size("dense", "units", np.int64(4))
        4
    """
    number = _index(value)
    if number is None or (least is not None and number < least):
        bound = "" if least is None else f" >= {least}"
        raise ValueError(f"{prefix(kind)}{name} must be a whole number{bound}, got {shown(value)}")
    if number > sys.maxsize:
        raise ValueError(f"{prefix(kind)}{name} must be at most {sys.maxsize}, got {shown(value)}")
    return number


def sizes(
    kind: str, name: str, value: Any, axes: tuple[str, ...] = ("height", "width"), *, or_none: bool = False
) -> tuple[Any, ...]:
    """A whole number ``>= 1`` for all axes, or one for each axis; with ``or_none``, any of them may be None.

    Example:
        >>> sizes("conv2d", "kernel", 3), sizes("conv2d", "kernel", [3, 1])
        ((3, 3), (3, 1))
    """
    several = isinstance(value, tuple | list) or (isinstance(value, np.ndarray) and value.ndim > 0)
    given = value if several else [value] * len(axes)
    found = tuple(None if n is None and or_none else _index(n) or 0 for n in given)
    if len(found) != len(axes) or any(n is not None and n < 1 for n in found):
        one = "whole number >= 1, None" if or_none else "whole number >= 1"
        many = "pair" if len(axes) == 2 else "tuple"
        raise ValueError(f"{prefix(kind)}{name} must be a {one} or a {many} ({', '.join(axes)}), got {shown(value)}")
    return found


def steps(kind: str, name: str, value: Any) -> int:
    """A number of steps: an integer of at least 1."""
    number = _index(value)
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
    if not rate(kind, name, value) > 0:
        raise ValueError(f"{prefix(kind)}{name}: expected a positive number, got {value}; {usual} is usual")
    return float(value)


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


def signature_of(function: Callable[..., Any]) -> inspect.Signature | None:
    """The signature of a function; None for some that are written in C."""
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return None


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


def example_shape(kind: str, shape: Any) -> Shape:
    """The shape of one example, as a tuple of Python ints."""
    found = [_index(n) for n in shape] if isinstance(shape, tuple | list) else [None]
    if any(n is None or n < 0 for n in found):
        batch = "; leave the batch axis out" if isinstance(shape, tuple) and shape[:1] in ((None,), (-1,)) else ""
        expected = f"{prefix(kind)}shape is that of one example, a tuple of ints such as (28, 28, 1)"
        if isinstance(shape, np.ndarray) and shape.ndim > 1:
            batch = "; use fn.specs(x), or x.shape[1:]"
        raise TypeError(f"{expected}, got {shown(shape)}{batch}")
    return tuple(n for n in found if n is not None)


def channels(kind: str, shape: Shape, name: str = "channels") -> int:
    """The size of the last axis of an example, at least 1."""
    if isinstance(shape, dict):
        raise TypeError(f"{kind}: expected the shape of one array, got a dict of {sorted(shape)}; merge them first")
    shape = example_shape(kind, shape)
    if not shape or shape[-1] < 1:
        raise ValueError(f"{kind}: expected an example of shape (..., {name}), {name} >= 1, got {shape}")
    return shape[-1]


def axes(kind: str, shape: Shape, words: str) -> None:
    """Raise if the shape of an example does not have exactly these axes."""
    if len(shape) != words.count(",") + 1:
        raise ValueError(f"{kind}: expected an example of shape ({words}), got {shape}")


def plain(kind: str, value: Any, name: str = "") -> None:
    """Raise if a value is an array of a subclass, whose mask or whose ``*`` would be lost; anything else passes.

    Example:
        >>> plain("dense", np.ones(2)), plain("dense", [1.0, 2.0])
        (None, None)
    """
    if type(value) not in PLAIN and isinstance(value, np.ndarray):
        advice = "x.filled(value)" if isinstance(value, np.ma.MaskedArray) else "np.asarray(x)"
        where = f" as {name}" if name else ""
        raise TypeError(f"{prefix(kind)}expected a plain array{where}, got {type(value).__name__}; use {advice}")


def array(kind: str, value: Any, name: str = "") -> Array:
    """A number, a list or an array as a plain array; subclasses, ragged lists and arrays of objects raise.

    Example:
        >>> array("accuracy", [1, 0])
        array([1, 0])
    """
    plain(kind, value, name)
    what_is = f"{prefix(kind)}expected {f'{name} as ' if name else ''}an array of numbers"
    if isinstance(value, list | tuple):
        for item in value:
            plain(kind, item, name)
    try:
        found: Array = np.asarray(value)
    except ValueError:
        raise ValueError(f"{what_is}, got a ragged {type(value).__name__}; its rows have different sizes") from None
    except (RuntimeError, TypeError):  # of a tensor that has a gradient or is not in the memory of the CPU
        raise TypeError(f"{what_is}, got {what(value)}; use {cast(value)}") from None
    if found.dtype.kind == "O":
        if found.size and all(isinstance(item, str) for item in found.flat):
            raise TypeError(f"{what_is}, got {what(value)} of texts; number them: {NUMBERED}")
        raise TypeError(f"{what_is}, got {what(value)} of objects; use np.asarray(x, np.float32)")
    return found


def dtype(kind: str, value: Any) -> np.dtype[Any]:
    """A dtype, in this machine's byte order, of all that NumPy takes for one but None.

    Example:
        >>> dtype("spec", ">f4")
        dtype('float32')
    """
    try:
        if value is None:
            raise TypeError
        found: np.dtype[Any] = np.dtype(value).newbyteorder("=")
        return found
    except (TypeError, ValueError, SyntaxError):
        raise TypeError(f"{prefix(kind)}expected a dtype such as np.float32, got {shown(value)}") from None


def float_dtype(kind: str, dtype: np.dtype[Any], use: str = "x") -> None:
    """Raise if a dtype is not float32 or float64, of either byte order; ``use`` is what the advice casts."""
    if dtype.char in "fd":
        return
    if dtype == np.uint8:
        raise TypeError(f"{kind}: expected floats, got {dtype}; scale images first: {use}.astype(np.float32) / 255")
    if dtype.kind in "iub":
        raise TypeError(f"{kind}: expected floats, got {dtype}; use {use}.astype(np.float32)")
    if dtype.kind == "c":
        use += ".real"
    raise TypeError(f"{kind}: expected float32 or float64, got {dtype}; use {use}.astype(np.float32)")


def float_array(kind: str, x: Any) -> None:
    """Raise if x is not a batch of floats: integer images would train on a scale of 0 to 255."""
    if type(x) not in PLAIN:
        plain(kind, x)
        raise TypeError(f"{kind}: expected an array, got {type(x).__name__}; use {cast(x)}")
    if x.dtype.char not in "fd":
        float_dtype(kind, x.dtype)
    if x.ndim == 0:
        raise ValueError(f"{kind}: expected an array with a batch axis, got a single number")


def images(kind: str, x: Any, axes: Sequence[str]) -> None:
    """Raise if x is not a batch of floats with exactly these axes between those of the batch and the channels."""
    float_array(kind, x)
    if x.ndim != len(axes) + 2:
        words = ", ".join(("batch", *axes, "channels"))
        one = "; of one example, use x[None]" if x.ndim == len(axes) + 1 else ""
        raise ValueError(f"{kind}: expected an input of axes ({words}), got shape {x.shape}{one}")


def labels(value: Any, classes: int, kind: str = "") -> Array:
    """Class labels as int64, or an error if they are not integers in [0, classes)."""
    found = array(kind, value, "labels")
    if found.dtype.kind not in "iu":
        write = f"number them: {NUMBERED}" if found.dtype.kind in "US" else "use labels.astype(np.int64)"
        raise TypeError(f"{prefix(kind)}expected integer labels, got {found.dtype}; {write}")
    outside = found[(found < 0) | (found >= classes)]
    if outside.size:
        raise ValueError(f"{prefix(kind)}expected labels from 0 to {classes - 1}, got {outside.flat[0]}")
    return found.astype(np.int64)


def tokens(kind: str, x: Any, count: int | None, rank: int | None = None) -> None:
    """Raise if x is not a batch of integers, in [0, count) and of ``rank`` axes if these are given.

    Example:
        >>> tokens("embedding", np.array([[2, 0]]), 3)
    """
    if type(x) not in PLAIN:
        plain(kind, x)
        raise TypeError(f"{kind}: expected an array of integer tokens, got {type(x).__name__}; use np.asarray(x)")
    if x.dtype.kind not in "iu":
        raise TypeError(
            f"{kind}: expected integer tokens, got {x.dtype}; use x.astype(np.int64), and fn.spec(shape, int) for init"
        )
    if not x.ndim or (rank is not None and x.ndim != rank):
        axes = "(batch, ...)" if rank is None else "(batch, tokens)"
        raise ValueError(f"{kind}: expected tokens of shape {axes}, got {x.shape}")
    if count is not None and x.size and (x.min() < 0 or x.max() >= count):
        position = tuple(int(n) for n in np.argwhere((x < 0) | (x >= count))[0])
        raise ValueError(f"{kind}: expected tokens from 0 to {count - 1}, got {x[position]} at position {position}")


def mask(kind: str, value: Any, shape: Shape, words: str = "batch, time") -> Array:
    """A boolean array of this shape, True where there is data.

    Example:
        >>> mask("lstm", np.array([[True, False]]), (1, 2))
        array([[ True, False]])
    """
    expected = f"{prefix(kind)}expected a mask of bool, True where there is data, of shape ({words}) = {shape}"
    if type(value) not in PLAIN:
        plain(kind, value, "a mask")
        raise TypeError(f"{expected}, got {what(value)}; use np.asarray(mask, bool)")
    if value.dtype != bool:
        raise TypeError(f"{expected}, got {value.dtype}; use mask.astype(bool)")
    if value.shape != shape:
        raise ValueError(f"{expected}, got {value.shape}")
    found: Array = value
    return found


def state(kind: str, name: str, value: Any, shape: Shape, dtype: np.dtype[Any]) -> Array:
    """A state of a recurrent layer, of this shape and of the dtype of its input.

    Example:
        >>> state("lstm", "h", np.zeros((1, 2)), (1, 2), np.dtype(float))
        array([[0., 0.]])
    """
    expected = f"{prefix(kind)}expected the state {name!r} as an array of shape {shape} and of {dtype.name}, like x"
    if type(value) not in PLAIN:
        plain(kind, value, f"the state {name!r}")
        raise TypeError(f"{expected}, got {what(value)}")
    if value.shape != shape:
        raise ValueError(f"{expected}, got shape {value.shape}")
    if value.dtype.char != dtype.char:
        raise TypeError(f"{expected}, got {value.dtype}; use state.astype(np.{dtype.name})")
    found: Array = value
    return found


def lengths(kind: str, value: Any, batch: int, time: int) -> Array:
    """The lengths of the sequences of a batch: (batch,) integers from 0 to ``time``.

    Example:
        >>> lengths("lstm", np.array([2, 0]), 2, 3)
        array([2, 0])
    """
    expected = f"{prefix(kind)}expected lengths as integers of shape (batch,) = ({batch},)"
    if type(value) not in PLAIN:
        plain(kind, value, "lengths")
        raise TypeError(f"{expected}, got {what(value)}; use np.asarray(lengths)")
    if value.dtype.kind not in "iu":
        raise TypeError(f"{expected}, got {value.dtype}; use lengths.astype(np.int64)")
    if value.shape != (batch,):
        raise ValueError(f"{expected}, got {value.shape}")
    if value.size and (value.min() < 0 or value.max() > time):
        place = int(np.argmax((value < 0) | (value > time)))
        raise ValueError(
            f"{prefix(kind)}expected lengths from 0 to {time}, the length of the sequences, got {value[place]} at "
            f"position {place}"
        )
    found: Array = value
    return found


def weights(value: Any, shape: Shape, kind: str = "") -> Array:
    """Weights as float64, of the first axis or the first axes of ``shape``; ones if there are none."""
    if value is None:
        return np.ones(shape[:1])
    found = array(kind, value, "weights")
    if found.dtype.kind not in "fiub":
        raise TypeError(f"{prefix(kind)}expected weights as numbers, got an array of {found.dtype}")
    if not found.ndim or found.shape != shape[: found.ndim]:
        first_axes = " or ".join(str(shape[:end]) for end in range(1, len(shape) + 1))
        raise ValueError(
            f"{prefix(kind)}expected weights of shape {first_axes}, got {found.shape}; give each example one weight"
        )
    if not (np.isfinite(found) & (found >= 0)).all():
        raise ValueError(
            f"{prefix(kind)}expected weights that are finite and not negative, "
            f"got values from {found.min()} to {found.max()}"
        )
    if not found.any():
        raise ValueError(f"{prefix(kind)}all weights are zero, so there is no mean; set at least one weight above zero")
    return found.astype(np.float64)


def returned_number(name: str, value: Any) -> float:
    """What a function of the user returned, where it must return one real number; ``name`` is that of the function.

    Example:
        >>> returned_number("the metric 'f1'", np.float32(0.5))
        0.5
    """
    if isinstance(value, numbers.Real) and not isinstance(value, bool | np.bool_):
        return float(value)
    if type(value) is np.ndarray and not value.ndim and value.dtype.kind in "fiu":
        return float(value)
    raise TypeError(f"{name} must return one number, got {what(value)}")


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


def _index(value: Any) -> int | None:
    """The Python int that any integer type stands for; None for a bool and for all else."""
    if isinstance(value, bool | np.bool_):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None
