"""The few words that every signature in this library is written with.

A network is arrays and nothing else: arrays flow through it, and nested dicts of arrays are its parameters. An argument
has the type that a wrong one is caught by; a result that may be an array or a dict is used as either, without a cast.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Array", "Arrays", "Data", "Key", "Labelled", "Padding", "Params", "PerAxis", "Rng", "Shape", "Shapes", "Size",
]  # fmt: skip

Array: TypeAlias = NDArray[Any]
"""A NumPy array of any dtype and shape; the docstrings say which."""

Shape: TypeAlias = tuple[int, ...]
"""The shape of one example, without the batch axis: ``(height, width, channels)`` for an image."""

Shapes: TypeAlias = Shape | dict[str, Any]
"""The shape of one example, or a nested dict of them where an input is a nested dict of arrays."""

Tree: TypeAlias = Any
"""A nested dict whose leaves are arrays; one array alone is a tree too. As a result it is used without a cast."""

Arrays: TypeAlias = Array | dict[str, Any]
"""A tree as an argument: an array, or a nested dict of arrays."""

Params: TypeAlias = dict[str, Any]
"""The tree of a model's parameters: plain nested dicts of arrays."""

Data: TypeAlias = tuple[Arrays, Arrays] | tuple[Arrays, Arrays, Array]
"""``(x, target)`` or ``(x, target, weights)``: x and target are arrays or nested dicts of arrays, weights an array, all
with one example per index."""

DataOrBatches: TypeAlias = Data | Iterator[Any]
"""Training data: all of them, or batches of them, one after the other."""

Labelled: TypeAlias = tuple[Array, Array]
"""``(x, labels)``: data of two arrays, as a data set has them."""

Key: TypeAlias = tuple[int, ...]
"""Names one stream of random numbers; see ``funcnn.rng``."""

Rng: TypeAlias = int | np.integer[Any] | Key | np.random.Generator
"""Whatever may stand where a key is wanted."""

Number: TypeAlias = float | np.floating[Any] | np.integer[Any]
"""A number as a function of the user may return it, of Python or of NumPy."""

Size: TypeAlias = int | np.integer[Any]
"""A whole number of any integer type, such as ``labels.max() + 1``."""

PerAxis: TypeAlias = Size | Sequence[Size]
"""One number for all axes, or one for each: the size of a window, or its stride."""

PerAxisOrNone: TypeAlias = Size | Sequence[Size | None] | None
"""The same where None stands for the size that an axis has."""

Padding: TypeAlias = Literal["valid", "same"] | Sequence[Sequence[int]]
"""``"valid"``, ``"same"``, or pixels before and after each axis, ``((top, bottom), (left, right))``."""

Padding1d: TypeAlias = Literal["valid", "same"] | Sequence[int] | Sequence[Sequence[int]]
"""The same for a single axis, where ``(left, right)`` will do."""


class Init(Protocol):
    """The type ``init(shape, rng) -> params``; ``shape`` is that of one example, or a tree of shapes."""

    def __call__(self, shape: Any, rng: Any) -> Params:
        """The initial parameters."""


class Vjp(Protocol):
    """The type ``vjp_fn(dy, input_grad=True) -> (dparams, dx)``; one of your own may leave out ``input_grad``."""

    def __call__(self, dy: Any, /, *args: Any, **kwargs: Any) -> tuple[Params, Tree]:
        """The gradients with respect to the parameters and to x."""


class Apply(Protocol):
    """The type ``apply(params, x, rng=None) -> (y, vjp_fn)``; one of your own may leave out ``rng``."""

    def __call__(self, params: Params, x: Any, /, *args: Any, **kwargs: Any) -> tuple[Tree, Vjp]:
        """The output and its backward pass."""


class LayerInit(Protocol):
    """The ``init`` of a ``Layer``."""

    def __call__(self, shape: Shapes, rng: Rng) -> Params:
        """The initial parameters."""


class LayerVjp(Protocol):
    """What the ``apply`` of a ``Layer`` returns with y: it has the keyword."""

    def __call__(self, dy: Arrays, input_grad: bool = True) -> tuple[Params, Tree]:
        """The gradients with respect to the parameters and, if it is wanted, to x."""


class LayerApply(Protocol):
    """The ``apply`` of a ``Layer``: it has the keyword."""

    def __call__(self, params: Params, x: Arrays, rng: Rng | None = None) -> tuple[Tree, LayerVjp]:
        """The output and its backward pass."""
