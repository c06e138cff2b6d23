"""An initializer ``(shape, rng, fan_in, fan_out) -> array`` draws a layer's first weights; their scale decides.

A unit that sums n inputs multiplies their variance by n times that of its weights; the recipes here choose the
weights' variance so that signals keep their size on the way through the network, and gradients on the way back.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeAlias

import numpy as np

from funcnn.aliases import Array, Rng, Shape
from funcnn.protocol import describe
from funcnn.rng import generator

__all__ = [
    "Initializer", "constant", "glorot_normal", "glorot_uniform", "he_normal", "he_uniform", "lecun_normal",
    "lecun_uniform", "normal", "ones", "uniform", "variance_scaling", "zeros",
]  # fmt: skip

Initializer: TypeAlias = Callable[[Shape, Rng, int, int], Array]
P = ParamSpec("P")


@dataclass(frozen=True, eq=False, repr=False)
class Recipe:
    """An initializer that remembers how it was made, as a ``Layer`` does: for ``repr`` and model files."""

    draw: Initializer
    constructor: Callable[..., Initializer]
    arguments: Mapping[str, Any]

    def __call__(self, shape: Shape, rng: Rng, fan_in: int, fan_out: int) -> Array:
        return self.draw(shape, rng, fan_in, fan_out)

    def __repr__(self) -> str:
        return f"{self.constructor.__name__}({describe(self.constructor, self.arguments)})"


def remembered(constructor: Callable[P, Initializer]) -> Callable[P, Initializer]:
    """The same constructor, whose initializers are ``Recipe``s."""
    signature = inspect.signature(constructor)

    @functools.wraps(constructor)
    def build(*args: P.args, **kwargs: P.kwargs) -> Initializer:
        return Recipe(constructor(*args, **kwargs), build, signature.bind(*args, **kwargs).arguments)

    return build


@remembered
def constant(value: float) -> Initializer:
    """w = value.

    Example:
        >>> constant(0.5)((2,), 0, 1, 1)
        array([0.5, 0.5], dtype=float32)
    """
    return lambda shape, rng, fan_in, fan_out: np.full(shape, value, np.float32)


def zeros(shape: Shape, rng: Rng, fan_in: int, fan_out: int) -> Array:
    """w = 0, as biases begin.

    Example:
        >>> zeros((2,), 0, 1, 1)
        array([0., 0.], dtype=float32)
    """
    return np.zeros(shape, np.float32)


def ones(shape: Shape, rng: Rng, fan_in: int, fan_out: int) -> Array:
    """w = 1, as scales begin.

    Example:
        >>> ones((2,), 0, 1, 1)
        array([1., 1.], dtype=float32)
    """
    return np.ones(shape, np.float32)


@remembered
def normal(deviation: float = 0.01) -> Initializer:
    """w ~ N(0, deviation^2), whatever the fan: for networks of others that begin so.

    Example:
        >>> normal(0.1)((3, 2), 0, 3, 2).dtype
        dtype('float32')
    """
    return lambda shape, rng, fan_in, fan_out: (deviation * generator(rng).standard_normal(shape, np.float32)).astype(
        np.float32
    )


@remembered
def uniform(low: float, high: float) -> Initializer:
    """w ~ U[low, high), whatever the fan: for networks of others that begin so.

    Example:
        >>> bool((abs(uniform(-0.5, 0.5)((3, 2), 0, 3, 2)) <= 0.5).all())
        True
    """
    return lambda shape, rng, fan_in, fan_out: generator(rng).uniform(low, high, shape).astype(np.float32)


@remembered
def variance_scaling(scale: float, fan: str, distribution: str) -> Initializer:
    """Var(w) = scale / n, with n the number of inputs, of outputs, or their mean.

    Args:
        scale: 1 keeps the variance of a linear layer, 2 makes up for the half that relu cuts off.
        fan: ``"in"`` keeps the signal's size, ``"out"`` the gradient's, ``"average"`` is the compromise.
        distribution: ``"normal"`` or ``"uniform"``.

    Returns:
        The initializer.

    Raises:
        ValueError: an unknown word, or a scale that is not positive.

    Example:
        >>> w = variance_scaling(2.0, "in", "normal")((500, 100), 0, 500, 100)
        >>> bool(abs(w.var() * 500 / 2.0 - 1) < 0.05)
        True

    Reference:
        Glorot & Bengio 2010, equation 12; He et al. 2015, arXiv 1502.01852, equation 10.
    """
    if not scale > 0:
        raise ValueError(f"variance_scaling: scale must be positive, got {scale!r}")
    if fan not in ("in", "out", "average"):
        raise ValueError(f"variance_scaling: fan is 'in', 'out' or 'average', got {fan!r}")
    if distribution not in ("normal", "uniform"):
        raise ValueError(f"variance_scaling: distribution is 'normal' or 'uniform', got {distribution!r}")

    def initialize(shape: Shape, rng: Rng, fan_in: int, fan_out: int) -> Array:
        n = {"in": fan_in, "out": fan_out, "average": (fan_in + fan_out) / 2}[fan]
        deviation = float(np.sqrt(scale / max(n, 1)))
        if distribution == "normal":
            return normal(deviation)(shape, rng, fan_in, fan_out)
        # A uniform distribution on [-a, a) has the variance a^2 / 3.
        limit = deviation * 3**0.5
        return uniform(-limit, limit)(shape, rng, fan_in, fan_out)

    return initialize


he_normal = variance_scaling(2.0, "in", "normal")
he_uniform = variance_scaling(2.0, "in", "uniform")
glorot_normal = variance_scaling(1.0, "average", "normal")
glorot_uniform = variance_scaling(1.0, "average", "uniform")
lecun_normal = variance_scaling(1.0, "in", "normal")
lecun_uniform = variance_scaling(1.0, "in", "uniform")
