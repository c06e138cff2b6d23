"""What an initializer is: a function ``(shape, rng, fan_in, fan_out) -> array``, which a layer calls in its ``init``.

The fans are the numbers of inputs and outputs of a unit. The two distributions from which others are made are here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import numpy as np

from funcnn import checks
from funcnn.aliases import Array, Rng, Shape
from funcnn.rng import generator

__all__ = ["Initializer", "InitializerLike"]


class Initializer(Protocol):
    """The type ``(shape, rng, fan_in, fan_out) -> float32 array``; the fans are the inputs and outputs of a unit.

    Example:
        >>> def tiny(shape: Shape, rng: Rng, fan_in: int, fan_out: int) -> Array:
        ...     return np.full(shape, 1e-3, np.float32)
        >>> draw: Initializer = tiny
        >>> draw((2,), 0, 1, 1)
        array([0.001, 0.001], dtype=float32)
    """

    def __call__(self, shape: Shape, rng: Rng, fan_in: int, fan_out: int) -> Array:
        """The initial weights."""


InitializerLike: TypeAlias = Initializer | Callable[[Any, Any, Any, Any], Array]
"""What is taken as an initializer: a function of these four, whatever their names."""


def as_initializer(kind: str, name: str, initializer: Any) -> Initializer:
    """A layer's initializer, whose arrays are checked; errors name the layer's ``kind`` and the argument ``name``.

    Args:
        kind: the kind of the layer.
        name: the argument, ``"w_init"``.
        initializer: what was given.

    Returns:
        The initializer; what it returns must be a float32 array of the shape that was asked for.

    Raises:
        TypeError: it is not a function of (shape, rng, fan_in, fan_out), for example a constructor that was not called.

    Example:
        >>> import funcnn as fn
        >>> as_initializer("dense", "w_init", fn.initializers.ones)((2,), 0, 1, 1)
        array([1., 1.], dtype=float32)
    """
    draw = checks.function(kind, name, initializer, "shape, rng, fan_in, fan_out")

    def initialize(shape: Shape, rng: Rng, fan_in: int, fan_out: int) -> Array:
        drawn = draw(shape, rng, fan_in, fan_out)
        return checks.returned_array(f"{kind}: {name}", drawn, tuple(shape), np.dtype(np.float32))

    return initialize


def checked_shape(shape: Shape) -> Shape:
    """The shape of an array that an initializer makes."""
    return checks.example_shape("an initializer", shape)


def draw_normal(shape: Shape, rng: Rng, std: float) -> Array:
    """Normal numbers with mean 0, drawn as float32."""
    drawn: Array = std * generator(rng).standard_normal(checked_shape(shape), np.float32)
    return drawn.astype(np.float32, copy=False)


def draw_uniform(shape: Shape, rng: Rng, low: float, high: float) -> Array:
    """Uniform numbers, drawn as float64 and rounded to float32."""
    drawn: Array = generator(rng).uniform(low, high, checked_shape(shape))
    return drawn.astype(np.float32)
