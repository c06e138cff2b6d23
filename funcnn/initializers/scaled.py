"""Initial weights whose variance fits the size of the layer, so that signals and gradients keep theirs.

A unit that sums n inputs multiplies their variance by n times the variance of its weights. The *gain* of an activation
is the factor on the standard deviation of the weights that makes up for what the activation takes away.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Literal

import numpy as np

from funcnn import checks
from funcnn.aliases import Array, Rng, Shape
from funcnn.initializers.base import Initializer, draw_normal, draw_uniform
from funcnn.protocol import Layer
from funcnn.recorded import ready, recorded
from funcnn.wording import shown

__all__ = [
    "gain", "glorot_normal", "glorot_uniform", "he_normal", "he_uniform", "lecun_normal", "lecun_uniform",
    "variance_scaling",
]  # fmt: skip

WITHOUT_ACTIVATION = (
    "linear", "identity", "dense", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d",
    "conv_transpose3d",
)  # fmt: skip
GAINS = {
    **dict.fromkeys(WITHOUT_ACTIVATION, 1.0), "sigmoid": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2), "selu": 3 / 4,
    "leaky_relu": math.sqrt(2),
}  # fmt: skip
"""By activation; that of ``leaky_relu`` is for slope 0."""


def gain(activation: str | Layer | None, slope: float | None = None) -> float:
    """The factor on the standard deviation of the weights that fits an activation, as in PyTorch's ``calculate_gain``.

    It is sqrt(2) for ``relu``, sqrt(2 / (1 + slope^2)) for ``leaky_relu``, 5/3 for ``tanh``, 3/4 for ``selu``, and 1
    for ``sigmoid`` and without activation. A variance takes its square: ``variance_scaling(gain("tanh") ** 2, "in",
    "normal")`` is PyTorch's ``kaiming_normal_``, with ``"average"`` it is ``xavier_normal_`` of this gain, and
    ``he_normal`` is that of ``relu``. ``orthogonal``, ``delta_orthogonal`` and ``identity`` take the gain itself.

    Args:
        activation: a layer, such as ``fn.leaky_relu(0.2)``, or its name; None or ``"linear"`` for none.
        slope: of ``"leaky_relu"``; by default that of the layer, 0.01 for the name.

    Returns:
        The gain, a float.

    Raises:
        TypeError: ``activation`` is neither a layer nor a name.
        ValueError: there is no gain for this activation, or it has no slope.

    Example:
        >>> gain("tanh"), round(gain("relu") ** 2, 10), gain("leaky_relu", slope=1.0)
        (1.6666666666666667, 2.0, 1.0)

    Reference:
        He et al. 2015, arXiv 1502.01852, equations 10 and 15; Klambauer et al. 2017, arXiv 1706.02515, for ``selu``.
    """
    name = "linear" if activation is None else activation.kind if isinstance(activation, Layer) else activation
    if not isinstance(name, str):
        raise TypeError(f"gain: expected an activation, a layer or its name, got {shown(activation)}")
    if name not in GAINS:
        raise ValueError(
            f"gain: no gain is known for {shown(name)}, only for {[*GAINS]}; a gain is a number, 1.0 is a usual one"
        )
    if name == "leaky_relu":
        own = activation.arguments.get("slope", 0.01) if isinstance(activation, Layer) else 0.01
        slope = checks.number("gain", "slope", own if slope is None else slope)
        return math.sqrt(2 / (1 + slope**2))
    if slope is not None:
        raise ValueError(f"gain: slope is for 'leaky_relu', got {shown(slope)} with {name!r}")
    return GAINS[name]


@recorded
def variance_scaling(
    scale: float, fan: Literal["in", "out", "average"], distribution: Literal["normal", "uniform"]
) -> Initializer:
    """Var(w) = scale / n, with n the number of inputs, the number of outputs, or their mean.

    Args:
        scale: 1 keeps the variance in a linear layer; 2 compensates for relu, which sets half of the outputs to zero.
            For another activation it is ``gain(activation) ** 2``.
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
            return draw_normal(shape, rng, std)
        # A uniform distribution on [-a, a) has the variance a^2 / 3.
        limit = std * 3**0.5
        return draw_uniform(shape, rng, -limit, limit)

    return initialize


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
