"""Validators of arrays: plain arrays, shapes, dtypes, floats, labels, weights.

Nothing is guessed from the numbers of an array, and none is broadcast: shape and dtype must fit.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from funcnn.aliases import Array, Shape
from funcnn.checks.arguments import index, prefix
from funcnn.wording import cast, shown, what

__all__ = [
    "NUMBERED", "PLAIN", "array", "axes", "channels", "class_weights", "declared_shape", "dtype", "example_shape",
    "float_array", "float_dtype", "images", "labels", "plain", "weights",
]  # fmt: skip


NUMBERED = "names, labels = np.unique(labels, return_inverse=True)"
"""How to number classes that are given by name."""

MAX_AXES = 64
"""Of an array of NumPy 2."""

MAX_BYTES = 2**62 - 1
"""Which no file has, so that counts of a few bytes more are integers of 64 bits too."""

PLAIN = (np.ndarray, np.memmap)
"""The types of arrays that are plain data. A mask, a matrix or a record means something else, which would be lost."""


def example_shape(kind: str, shape: Any) -> Shape:
    """The shape of one example, as a tuple of Python ints."""
    found = [index(n) for n in shape] if isinstance(shape, tuple | list) else [None]
    if any(n is None or n < 0 for n in found):
        first = shape[0] if isinstance(shape, tuple) and shape else 0
        batch = "; leave the batch axis out" if first is None or index(first) == -1 else ""
        expected = f"{prefix(kind)}shape is that of one example, a tuple of ints such as (28, 28, 1)"
        if isinstance(shape, np.ndarray) and shape.ndim > 1:
            batch = "; use fn.specs(x), or x.shape[1:]"
        raise TypeError(f"{expected}, got {shown(shape)}{batch}")
    return tuple(n for n in found if n is not None)


def channels(kind: str, shape: Shape, name: str = "channels") -> int:
    """The size of the last axis of an example of floats, at least 1."""
    if isinstance(shape, dict):
        raise TypeError(f"{kind}: expected the shape of one array, got a dict of {sorted(shape)}; merge them first")
    found = example_shape(kind, shape)
    if not found or found[-1] < 1:
        raise ValueError(f"{kind}: expected an example of shape (..., {name}), {name} >= 1, got {found}")
    float_dtype(kind, getattr(shape, "dtype", np.dtype(np.float32)))
    return found[-1]


def axes(kind: str, shape: Shape, words: str) -> None:
    """Raise if the shape of an example does not have exactly these axes."""
    if len(shape) != words.count(",") + 1:
        raise ValueError(f"{kind}: expected an example of shape ({words}), got {shape}")


def declared_shape(where: str, shape: Sequence[int], dtype: np.dtype[Any]) -> tuple[int, ...]:
    """The shape that the header of a file declares, or an error if no array can have it.

    Example:
        >>> declared_shape("a.idx", [2, 3], np.dtype("u1"))
        (2, 3)
    """
    # NumPy counts the bytes of the axes that are not empty, whatever the others are.
    used = math.prod(n for n in shape if n) * dtype.itemsize
    if len(shape) > MAX_AXES or min(shape, default=0) < 0 or used > MAX_BYTES:
        got = f"of shape {tuple(shape)}" if len(shape) <= 8 else f"with {len(shape)} axes"
        raise ValueError(
            f"{where}: expected at most {MAX_AXES} axes, sizes >= 0 and less than 2**62 bytes, got {dtype.name} "
            f"{got}; the file is damaged, so fetch or write it again"
        )
    return tuple(shape)


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
    if value is None:  # NumPy makes NaN of it
        raise TypeError(f"{what_is}, got {what(value)}")
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


def weights(value: Any, shape: Shape, kind: str = "", some: bool = True) -> Array:
    """Weights as float64, of the first axis or the first axes of ``shape``; ones if there are none.

    If ``some``, at least one of them must be above 0.
    """
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
    if some and not found.any():
        raise ValueError(f"{prefix(kind)}all weights are zero, so there is no mean; set at least one weight above zero")
    return found.astype(np.float64)


def class_weights(
    kind: str, value: Any, classes: int, dtype: np.dtype[Any], words: str = "one for each class"
) -> Array:
    """Weights of classes as float64 of shape (classes,), not negative, and such that floats of ``dtype`` hold them."""
    found = array(kind, value, "class_weights")
    if found.dtype.kind not in "fiub":
        raise TypeError(f"{prefix(kind)}expected class_weights as numbers, got an array of {found.dtype}")
    if found.shape != (classes,):
        raise ValueError(
            f"{prefix(kind)}expected class_weights of shape ({classes},), {words}, got {found.shape}; "
            "the weights of examples are given as weights="
        )
    if not (np.isfinite(found) & (found >= 0)).all():
        raise ValueError(
            f"{prefix(kind)}expected class_weights that are finite and not negative, "
            f"got values from {found.min()} to {found.max()}"
        )
    limits = np.finfo(dtype)
    if (wrong := (found > limits.max) | ((found > 0) & (found < limits.tiny))).any():
        raise ValueError(
            f"{prefix(kind)}expected class_weights that {dtype.name} can hold, got {found[wrong][0]}; "
            "use weights near 1, such as those of fn.class_weights"
        )
    return found.astype(np.float64)
