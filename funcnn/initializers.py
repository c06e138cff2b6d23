"""An initializer ``(shape, rng, fan_in, fan_out) -> array`` draws the initial weights of a layer.

A unit that sums n inputs multiplies their variance by n times the variance of its weights. The initializers here choose
the variance of the weights so that signals keep their size in the forward pass, and gradients in the backward pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np

from funcnn import checks
from funcnn.aliases import Array, Rng, Shape
from funcnn.recorded import ready, recorded
from funcnn.rng import generator
from funcnn.wording import shown

__all__ = [
    "Initializer", "InitializerLike", "constant", "glorot_normal", "glorot_uniform", "he_normal", "he_uniform",
    "lecun_normal", "lecun_uniform", "normal", "ones", "uniform", "variance_scaling", "zeros",
]  # fmt: skip


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


@recorded
def constant(value: float) -> Initializer:
    """w = value.

    Args:
        value: the value of every element, finite.

    Returns:
        The initializer, ``(shape, rng, fan_in, fan_out) -> float32 array``.

    Raises:
        TypeError: an argument is not a number.
        ValueError: ``value`` is not finite.

    Example:
        >>> constant(0.5)((2,), 0, 1, 1)
        array([0.5, 0.5], dtype=float32)
    """
    value = checks.number("constant", "value", value)
    return lambda shape, rng, fan_in, fan_out: np.full(_checked(shape), value, np.float32)


@ready
def zeros(shape: Shape, rng: Rng, fan_in: int, fan_out: int) -> Array:
    """w = 0, the usual initial value of a bias.

    Args:
        shape: the shape of the array, (inputs, outputs) for ``dense``.
        rng: not used.
        fan_in: the number of inputs of a unit, not used.
        fan_out: the number of outputs of a unit, not used.

    Returns:
        A float32 array of this shape.

    Raises:
        TypeError: ``shape`` is not a tuple of ints.
        ValueError: a size is negative.

    Example:
        >>> zeros((2,), 0, 1, 1)
        array([0., 0.], dtype=float32)
    """
    return np.zeros(_checked(shape), np.float32)


@ready
def ones(shape: Shape, rng: Rng, fan_in: int, fan_out: int) -> Array:
    """w = 1, the usual initial value of a scale.

    Args:
        shape: the shape of the array, (inputs, outputs) for ``dense``.
        rng: not used.
        fan_in: the number of inputs of a unit, not used.
        fan_out: the number of outputs of a unit, not used.

    Returns:
        A float32 array of this shape.

    Raises:
        TypeError: ``shape`` is not a tuple of ints.
        ValueError: a size is negative.

    Example:
        >>> ones((2,), 0, 1, 1)
        array([1., 1.], dtype=float32)
    """
    return np.ones(_checked(shape), np.float32)


@recorded
def normal(std: float = 0.01) -> Initializer:
    """w ~ N(0, std^2) with a given standard deviation, independent of the size of the layer.

    Args:
        std: the standard deviation, ``>= 0``; 0.01 by default.

    Returns:
        The initializer, ``(shape, rng, fan_in, fan_out) -> float32 array``.

    Raises:
        TypeError: an argument is not a number.
        ValueError: ``std`` is negative or not finite.

    Example:
        >>> normal(0.1)((3, 2), 0, 3, 2).dtype
        dtype('float32')
    """
    std = checks.nonnegative("normal", "std", std)
    return lambda shape, rng, fan_in, fan_out: _normal(shape, rng, std)


@recorded
def uniform(low: float, high: float) -> Initializer:
    """w ~ U[low, high) with given bounds, independent of the size of the layer.

    Args:
        low: the lowest value.
        high: the bound that no value reaches.

    Returns:
        The initializer, ``(shape, rng, fan_in, fan_out) -> float32 array``.

    Raises:
        TypeError: an argument is not a number.
        ValueError: a bound is not finite, or ``low`` is above ``high``.

    Example:
        >>> bool((abs(uniform(-0.5, 0.5)((3, 2), 0, 3, 2)) <= 0.5).all())
        True
    """
    low, high = checks.number("uniform", "low", low), checks.number("uniform", "high", high)
    if low > high:
        raise ValueError(f"uniform: low must not be above high, got {low} and {high}")
    return lambda shape, rng, fan_in, fan_out: _uniform(shape, rng, low, high)


@recorded
def variance_scaling(
    scale: float, fan: Literal["in", "out", "average"], distribution: Literal["normal", "uniform"]
) -> Initializer:
    """Var(w) = scale / n, with n the number of inputs, the number of outputs, or their mean.

    Args:
        scale: 1 keeps the variance in a linear layer; 2 compensates for relu, which sets half of the outputs to zero.
        fan: ``"in"``: n is the number of inputs, which keeps the variance of the signal; ``"out"``: the number of
            outputs, which keeps that of the gradient; ``"average"``: the mean of both.
        distribution: ``"normal"`` or ``"uniform"``.

    Returns:
        The initializer.

    Raises:
        ValueError: ``fan`` or ``distribution`` is another word, or ``scale`` is not positive.

    Example:
        >>> w = variance_scaling(2.0, "in", "normal")((500, 100), 0, 500, 100)
        >>> bool(abs(w.var() * 500 / 2.0 - 1) < 0.05)
        True

    Reference:
        Glorot & Bengio 2010, equation 12; He et al. 2015, arXiv 1502.01852, equation 10.
    """
    scale = checks.real("variance_scaling", "scale", scale)
    if not 0 < scale < math.inf:
        raise ValueError(f"variance_scaling: scale must be positive, got {shown(scale)}")
    if not isinstance(fan, str) or fan not in ("in", "out", "average"):
        raise ValueError(f"variance_scaling: fan is 'in', 'out' or 'average', got {shown(fan)}")
    if not isinstance(distribution, str) or distribution not in ("normal", "uniform"):
        raise ValueError(f"variance_scaling: distribution is 'normal' or 'uniform', got {shown(distribution)}")

    def initialize(shape: Shape, rng: Rng, fan_in: int, fan_out: int) -> Array:
        for name, number in (("fan_in", fan_in), ("fan_out", fan_out)):
            checks.size("variance_scaling", name, number, 0)
        n = {"in": fan_in, "out": fan_out, "average": (fan_in + fan_out) / 2}[fan]
        std = float(np.sqrt(scale / max(n, 1)))
        if distribution == "normal":
            return _normal(shape, rng, std)
        # A uniform distribution on [-a, a) has the variance a^2 / 3.
        limit = std * 3**0.5
        return _uniform(shape, rng, -limit, limit)

    return initialize


def as_initializer(kind: str, name: str, initializer: Any) -> Initializer:
    """A layer's initializer, whose arrays are checked; errors name the layer's ``kind`` and the argument ``name``.

    Args:
        kind: the kind of the layer.
        name: the argument, ``"w_init"``.
        initializer: what was given.

    Returns:
        The initializer; what it returns must be a float32 array of the shape that was asked for.

    Raises:
        TypeError: it is no function of (shape, rng, fan_in, fan_out), for example a constructor that was not called.

    Example:
        >>> as_initializer("dense", "w_init", ones)((2,), 0, 1, 1)
        array([1., 1.], dtype=float32)
    """
    draw = checks.function(kind, name, initializer, "shape, rng, fan_in, fan_out")

    def initialize(shape: Shape, rng: Rng, fan_in: int, fan_out: int) -> Array:
        drawn = draw(shape, rng, fan_in, fan_out)
        return checks.returned_array(f"{kind}: {name}", drawn, tuple(shape), np.dtype(np.float32))

    return initialize


def _checked(shape: Shape) -> Shape:
    """The shape of an array that an initializer makes."""
    return checks.example_shape("an initializer", shape)


def _normal(shape: Shape, rng: Rng, std: float) -> Array:
    """Normal numbers with mean 0, drawn as float32."""
    drawn: Array = std * generator(rng).standard_normal(_checked(shape), np.float32)
    return drawn.astype(np.float32, copy=False)


def _uniform(shape: Shape, rng: Rng, low: float, high: float) -> Array:
    """Uniform numbers, drawn as float64 and rounded to float32."""
    drawn: Array = generator(rng).uniform(low, high, _checked(shape))
    return drawn.astype(np.float32)


_he_normal = variance_scaling(2.0, "in", "normal")


@partial(ready, like=_he_normal)
def he_normal(shape: Shape, rng: Rng, fan_in: int, fan_out: int) -> Array:
    """w ~ N(0, 2 / fan_in), for relu.

    This keeps the variance of the signal; it is the default of the layers with weights.

    Args:
        shape: the shape of the array, (inputs, outputs) for ``dense``.
        rng: the key.
        fan_in: the number of inputs of a unit.
        fan_out: the number of outputs of a unit.

    Returns:
        A float32 array of this shape.

    Raises:
        TypeError: ``shape`` is not a tuple of ints, or ``rng`` is not a key.
        ValueError: a size is negative, or a fan is not a whole number.

    Example:
        >>> w = he_normal((500, 100), 0, 500, 100)
        >>> bool(abs(w.var() / (2 / 500) - 1) < 0.05)
        True

    Reference:
        He, Zhang, Ren & Sun 2015, "Delving deep into rectifiers", arXiv 1502.01852, equation 10.
    """
    return _he_normal(shape, rng, fan_in, fan_out)


_he_uniform = variance_scaling(2.0, "in", "uniform")


@partial(ready, like=_he_uniform)
def he_uniform(shape: Shape, rng: Rng, fan_in: int, fan_out: int) -> Array:
    """w ~ U[-a, a) with a = sqrt(6 / fan_in), for relu.

    Var(w) = 2 / fan_in keeps the variance of the signal.

    Args:
        shape: the shape of the array, (inputs, outputs) for ``dense``.
        rng: the key.
        fan_in: the number of inputs of a unit.
        fan_out: the number of outputs of a unit.

    Returns:
        A float32 array of this shape.

    Raises:
        TypeError: ``shape`` is not a tuple of ints, or ``rng`` is not a key.
        ValueError: a size is negative, or a fan is not a whole number.

    Example:
        >>> w = he_uniform((500, 100), 0, 500, 100)
        >>> bool(abs(w.var() / (2 / 500) - 1) < 0.05)
        True

    Reference:
        He, Zhang, Ren & Sun 2015, "Delving deep into rectifiers", arXiv 1502.01852, equation 10.
    """
    return _he_uniform(shape, rng, fan_in, fan_out)


_glorot_normal = variance_scaling(1.0, "average", "normal")


@partial(ready, like=_glorot_normal)
def glorot_normal(shape: Shape, rng: Rng, fan_in: int, fan_out: int) -> Array:
    """w ~ N(0, 2 / (fan_in + fan_out)), for tanh.

    This is a compromise between the variance of the signal and that of the gradient.

    Args:
        shape: the shape of the array, (inputs, outputs) for ``dense``.
        rng: the key.
        fan_in: the number of inputs of a unit.
        fan_out: the number of outputs of a unit.

    Returns:
        A float32 array of this shape.

    Raises:
        TypeError: ``shape`` is not a tuple of ints, or ``rng`` is not a key.
        ValueError: a size is negative, or a fan is not a whole number.

    Example:
        >>> w = glorot_normal((500, 100), 0, 500, 100)
        >>> bool(abs(w.var() / (2 / 600) - 1) < 0.05)
        True

    Reference:
        Glorot & Bengio 2010, "Understanding the difficulty of training deep feedforward neural networks", equation 12.
    """
    return _glorot_normal(shape, rng, fan_in, fan_out)


_glorot_uniform = variance_scaling(1.0, "average", "uniform")


@partial(ready, like=_glorot_uniform)
def glorot_uniform(shape: Shape, rng: Rng, fan_in: int, fan_out: int) -> Array:
    """w ~ U[-a, a) with a = sqrt(6 / (fan_in + fan_out)), for tanh.

    Var(w) = 2 / (fan_in + fan_out) is a compromise between the signal and the gradient.

    Args:
        shape: the shape of the array, (inputs, outputs) for ``dense``.
        rng: the key.
        fan_in: the number of inputs of a unit.
        fan_out: the number of outputs of a unit.

    Returns:
        A float32 array of this shape.

    Raises:
        TypeError: ``shape`` is not a tuple of ints, or ``rng`` is not a key.
        ValueError: a size is negative, or a fan is not a whole number.

    Example:
        >>> w = glorot_uniform((500, 100), 0, 500, 100)
        >>> bool(abs(w.var() / (2 / 600) - 1) < 0.05)
        True

    Reference:
        Glorot & Bengio 2010, "Understanding the difficulty of training deep feedforward neural networks", equation 16.
    """
    return _glorot_uniform(shape, rng, fan_in, fan_out)


_lecun_normal = variance_scaling(1.0, "in", "normal")


@partial(ready, like=_lecun_normal)
def lecun_normal(shape: Shape, rng: Rng, fan_in: int, fan_out: int) -> Array:
    """w ~ N(0, 1 / fan_in), for a linear layer.

    This keeps the variance of the signal.

    Args:
        shape: the shape of the array, (inputs, outputs) for ``dense``.
        rng: the key.
        fan_in: the number of inputs of a unit.
        fan_out: the number of outputs of a unit.

    Returns:
        A float32 array of this shape.

    Raises:
        TypeError: ``shape`` is not a tuple of ints, or ``rng`` is not a key.
        ValueError: a size is negative, or a fan is not a whole number.

    Example:
        >>> w = lecun_normal((500, 100), 0, 500, 100)
        >>> bool(abs(w.var() / (1 / 500) - 1) < 0.05)
        True

    Reference:
        LeCun, Bottou, Orr & Müller 1998, "Efficient backprop", section 4.6.
    """
    return _lecun_normal(shape, rng, fan_in, fan_out)


_lecun_uniform = variance_scaling(1.0, "in", "uniform")


@partial(ready, like=_lecun_uniform)
def lecun_uniform(shape: Shape, rng: Rng, fan_in: int, fan_out: int) -> Array:
    """w ~ U[-a, a) with a = sqrt(3 / fan_in), for a linear layer.

    Var(w) = 1 / fan_in keeps the variance of the signal.

    Args:
        shape: the shape of the array, (inputs, outputs) for ``dense``.
        rng: the key.
        fan_in: the number of inputs of a unit.
        fan_out: the number of outputs of a unit.

    Returns:
        A float32 array of this shape.

    Raises:
        TypeError: ``shape`` is not a tuple of ints, or ``rng`` is not a key.
        ValueError: a size is negative, or a fan is not a whole number.

    Example:
        >>> w = lecun_uniform((500, 100), 0, 500, 100)
        >>> bool(abs(w.var() / (1 / 500) - 1) < 0.05)
        True

    Reference:
        LeCun, Bottou, Orr & Müller 1998, "Efficient backprop", section 4.6.
    """
    return _lecun_uniform(shape, rng, fan_in, fan_out)
