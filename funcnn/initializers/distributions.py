"""Initial weights of a given distribution, whatever the size of the layer: a constant, normal or uniform numbers."""

from __future__ import annotations

import numpy as np

from funcnn import checks
from funcnn.aliases import Array, Rng, Shape
from funcnn.initializers.base import Initializer, checked_shape, draw_normal, draw_uniform
from funcnn.recorded import ready, recorded
from funcnn.rng import generator

__all__ = ["constant", "normal", "ones", "truncated_normal", "uniform", "zeros"]


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
    return lambda shape, rng, fan_in, fan_out: np.full(checked_shape(shape), value, np.float32)


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
    return np.zeros(checked_shape(shape), np.float32)


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
    return np.ones(checked_shape(shape), np.float32)


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
    return lambda shape, rng, fan_in, fan_out: draw_normal(shape, rng, std)


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
    return lambda shape, rng, fan_in, fan_out: draw_uniform(shape, rng, low, high)


@recorded
def truncated_normal(std: float = 1.0, mean: float = 0.0, low: float = -2.0, high: float = 2.0) -> Initializer:
    """w ~ N(mean, std^2), given that low <= w <= high, independent of the size of the layer.

    The bounds are values of w, as in PyTorch's ``trunc_normal_``, and not multiples of ``std``; write
    ``truncated_normal(0.02, low=-0.04, high=0.04)`` to cut at two standard deviations, as Keras does.

    Args:
        std: the standard deviation before the cut, positive.
        mean: the mean before the cut.
        low: the lower bound.
        high: the upper bound.

    Returns:
        The initializer, ``(shape, rng, fan_in, fan_out) -> float32 array``.

    Raises:
        TypeError: an argument is not a number.
        ValueError: a number is not finite, ``std`` is not positive, ``low`` is not below ``high``, or the bounds are so
            far from the mean that nothing lies between them.

    Example:
        >>> w = truncated_normal(0.02, low=-0.04, high=0.04)((500, 100), 0, 500, 100)
        >>> bool(abs(w).max() <= 0.04)
        True

    Reference:
        Devroye 1986, "Non-uniform random variate generation", section II.2.1, the inversion method.
    """
    from scipy.special import ndtr, ndtri  # type: ignore[import-untyped]

    numbers = {"std": std, "mean": mean, "low": low, "high": high}
    std, mean, low, high = (checks.number("truncated_normal", name, value) for name, value in numbers.items())
    if std <= 0:
        raise ValueError(f"truncated_normal: std must be positive, got {std}")
    if low >= high:
        raise ValueError(f"truncated_normal: low must be below high, got {low} and {high}")
    below, above = (low - mean) / std, (high - mean) / std
    # In the upper tail the distribution function is 1 to the last digit, so the mirror image of that tail is drawn.
    side = -1 if below > 0 else 1
    first, last = sorted((float(ndtr(side * below)), float(ndtr(side * above))))
    if first == last:
        raise ValueError(
            f"truncated_normal: no numbers of mean {mean} and standard deviation {std} lie between {low} and {high}"
        )

    def initialize(shape: Shape, rng: Rng, fan_in: int, fan_out: int) -> Array:
        drawn: Array = ndtri(generator(rng).uniform(first, last, checked_shape(shape)))
        w: Array = np.clip(mean + side * std * drawn, low, high)
        return w.astype(np.float32)

    return initialize
