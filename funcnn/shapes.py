"""The shape of one example: a tuple of ints, or a nested dict of them where an input is a tree of arrays.

A plain tuple means float32. ``spec(shape, dtype)`` is a tuple that says another dtype, for tokens and masks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from funcnn import checks, contract
from funcnn.aliases import Array, Arrays, Shape, Tree
from funcnn.calls import explained
from funcnn.wording import shown

__all__ = ["Spec", "checked", "probe", "spec", "specs"]


class Spec(tuple[int, ...]):
    """The shape of one example with its dtype: a tuple, and ``spec.dtype``; ``spec`` makes one.

    Example:
        >>> tokens = spec((20,), int)
        >>> tokens == (20,), tokens.dtype
        (True, dtype('int64'))
    """

    dtype: np.dtype[Any]

    def __repr__(self) -> str:
        return f"spec({tuple(self)!r}, {self.dtype.name!r})"

    def __reduce__(self) -> Any:
        return spec, (tuple(self), self.dtype.name)


@explained
def spec(shape: Shape, dtype: DTypeLike = np.float32) -> Spec:
    """The shape of one example of another dtype than float32.

    Args:
        shape: without the batch axis.
        dtype: a float, an integer or bool.

    Returns:
        A tuple with a ``.dtype``.

    Raises:
        TypeError: the shape is not a tuple of ints, or the dtype is not one of numbers.

    Example:
        >>> tokens = spec((5,), int)
        >>> tokens, tokens.dtype, tokens == (5,)
        (spec((5,), 'int64'), dtype('int64'), True)
    """
    found = Spec(checks.example_shape("spec", shape))
    found.dtype = checks.dtype("spec", dtype)
    if found.dtype.kind not in "iub" and found.dtype.char not in "fd":
        raise TypeError(f"spec: expected a dtype of numbers or bool, got {found.dtype}; floats are np.float32")
    return found


@explained
def specs(x: Arrays) -> Tree:
    """The shapes of one example, read off a batch.

    Args:
        x: an array (batch, ...) or a tree of them.

    Returns:
        The tree of the shapes, each without the batch axis: a tuple where the dtype is float32, else a ``spec``.

    Raises:
        TypeError: x is neither an array of numbers or booleans nor a dict of such arrays.

    Example:
        >>> specs({"x": np.zeros((2, 5, 3), np.float32), "mask": np.ones((2, 5), bool)})
        {'x': (5, 3), 'mask': spec((5,), 'bool')}
    """
    contract.tree_of_arrays("specs", x)
    if isinstance(x, dict):
        return {name: specs(leaf) for name, leaf in x.items()}
    return x.shape[1:] if x.dtype.char == "f" else spec(x.shape[1:], x.dtype)


def checked(kind: str, shape: Any) -> Tree:
    """A tree of shapes with tuples of Python ints, or an error that says what a shape is."""
    if isinstance(shape, dict):
        for name in shape:
            if not isinstance(name, str) or not name or "/" in name:
                raise ValueError(f"{kind}: a name in a tree of shapes is a string without '/', got {shown(name)}")
        return {name: checked(kind, leaf) for name, leaf in shape.items()}
    return shape if isinstance(shape, Spec) else checks.example_shape(kind, shape)


def probe(shape: Any) -> Tree:
    """One example: zeros, or True where the dtype is bool. A layer's output for it tells the layer's output shape.

    Floats are float32, whatever the spec says, as the parameters of ``init`` are.

    Example:
        >>> probe((2,))
        array([[0., 0.]], dtype=float32)
    """
    if isinstance(shape, dict):
        return {name: probe(leaf) for name, leaf in shape.items()}
    dtype, one = getattr(shape, "dtype", np.dtype(np.float32)), (1, *checks.example_shape("init", shape))
    if dtype.kind == "f":
        dtype = np.dtype(np.float32)
    found: Array = np.ones(one, dtype) if dtype.kind == "b" else np.zeros(one, dtype)
    return found
