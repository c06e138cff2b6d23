"""Initial weights that are a chosen linear map: orthogonal, which keeps the length of vectors, the identity, or sparse.

A kernel (kh, kw, channels, filters) is read as the matrix of its filters, (kh kw channels, filters), or as one tap that
sees a single pixel. All are drawn in float64.
"""

from __future__ import annotations

import math

import numpy as np

from funcnn import checks
from funcnn.aliases import Array, Rng, Shape
from funcnn.initializers.base import Initializer, checked_shape
from funcnn.recorded import recorded
from funcnn.rng import generator

__all__ = ["delta_orthogonal", "identity", "orthogonal", "sparse"]


@recorded
def orthogonal(gain: float = 1.0) -> Initializer:
    """w = gain Q, with w^T w = gain^2 I, or w w^T = gain^2 I where there are more outputs than inputs.

    Q is drawn from the uniform distribution of such matrices. A kernel is one as (kh kw channels, filters).

    Args:
        gain: the length of each row or column; ``gain("relu")`` for relu.

    Returns:
        The initializer, ``(shape, rng, fan_in, fan_out) -> float32 array``, of shapes with at least two axes.

    Raises:
        TypeError: ``gain`` is not a number.
        ValueError: ``gain`` is not finite; or, from the initializer, the shape has less than two axes.

    Example:
        >>> w = orthogonal()((5, 3), 0, 5, 3)
        >>> np.allclose(w.T @ w, np.eye(3), atol=1e-6)
        True

    Reference:
        Saxe, McClelland & Ganguli 2014, "Exact solutions to the nonlinear dynamics of learning in deep linear neural
        networks", arXiv 1312.6120; Mezzadri 2007, arXiv math-ph/0609050, for the uniform distribution.
    """
    factor = checks.number("orthogonal", "gain", gain)

    def initialize(shape: Shape, rng: Rng, fan_in: int, fan_out: int) -> Array:
        shape = _matrix_shape("orthogonal", shape)
        return (factor * _orthogonal(math.prod(shape[:-1]), shape[-1], rng).reshape(shape)).astype(np.float32)

    return initialize


@recorded
def delta_orthogonal(gain: float = 1.0) -> Initializer:
    """w = gain Q at the tap in the centre of a kernel and 0 at the others, with Q Q^T = I.

    With padding ``"same"`` the convolution keeps the length of the channels of each pixel, times the gain. Each group
    gets a Q of its own.

    Args:
        gain: the factor on the length; ``gain("relu")`` for relu.

    Returns:
        The initializer, ``(shape, rng, fan_in, fan_out) -> float32 array``, of kernels (..., channels, filters).

    Raises:
        TypeError: ``gain`` is not a number.
        ValueError: ``gain`` is not finite; or, from the initializer, the shape is not that of a kernel, or there are
            more channels than filters, in each group.

    Example:
        >>> w = delta_orthogonal()((3, 3, 4, 8), 0, 36, 72)
        >>> np.allclose(w[1, 1] @ w[1, 1].T, np.eye(4), atol=1e-6), int((w != 0).any((2, 3)).sum())
        (True, 1)

    Reference:
        Xiao et al. 2018, "Dynamical isometry and a mean field theory of CNNs", arXiv 1806.05393, section 2.4.
    """
    factor = checks.number("delta_orthogonal", "gain", gain)

    def initialize(shape: Shape, rng: Rng, fan_in: int, fan_out: int) -> Array:
        shape = _matrix_shape("delta_orthogonal", shape, 3)
        groups = _groups(shape, fan_in, fan_out)
        channels, filters = shape[-2], shape[-1] // groups
        if channels > filters:
            raise ValueError(
                f"delta_orthogonal: expected at least as many filters as channels, got {channels} channels and "
                f"{filters} filters{' in each group' if groups > 1 else ''} in shape {shape}; use orthogonal"
            )
        draw = generator(rng)
        blocks = [_orthogonal(channels, filters, draw) for _ in range(groups)]
        return _at_centre(shape, factor * np.concatenate(blocks, 1))

    return initialize


@recorded
def identity(gain: float = 1.0) -> Initializer:
    """w = gain I, so that y = gain x: the first outputs are the first inputs, and further outputs are 0.

    In a kernel the matrix is the tap in the centre, and padding ``"same"`` makes the convolution the identity. Each
    group of channels is kept in its own group of filters.

    Args:
        gain: the value on the diagonal.

    Returns:
        The initializer, ``(shape, rng, fan_in, fan_out) -> float32 array``, of shapes with at least two axes.

    Raises:
        TypeError: ``gain`` is not a number.
        ValueError: ``gain`` is not finite; or, from the initializer, the shape has less than two axes.

    Example:
        >>> identity(2.0)((2, 3), 0, 2, 3)
        array([[2., 0., 0.],
               [0., 2., 0.]], dtype=float32)

    Reference:
        Le, Jaitly & Hinton 2015, "A simple way to initialize recurrent networks of rectified linear units", arXiv
        1504.00941; Zagoruyko & Komodakis 2017, "DiracNets", arXiv 1706.00388, for kernels.
    """
    factor = checks.number("identity", "gain", gain)

    def initialize(shape: Shape, rng: Rng, fan_in: int, fan_out: int) -> Array:
        shape = _matrix_shape("identity", shape)
        groups = _groups(shape, fan_in, fan_out)
        return _at_centre(shape, factor * np.tile(np.eye(shape[-2], shape[-1] // groups), groups))

    return initialize


@recorded
def sparse(sparsity: float, std: float = 0.01) -> Initializer:
    """w ~ N(0, std^2), with a fraction of the weights of each unit, chosen at random, set to 0.

    A unit is a column of w, here as in the paper. PyTorch's ``sparse_`` counts along the columns of its transposed
    matrix, so that there each input reaches a fraction of the units.

    Args:
        sparsity: the fraction of zeros, in [0, 1]; of n weights ceil(sparsity * n) are 0.
        std: the standard deviation of the others, ``>= 0``.

    Returns:
        The initializer, ``(shape, rng, fan_in, fan_out) -> float32 array``, of shapes with at least two axes.

    Raises:
        TypeError: an argument is not a number.
        ValueError: ``sparsity`` is outside [0, 1], or ``std`` is negative or not finite; or, from the initializer, the
            shape has less than two axes.

    Example:
        >>> w = sparse(0.9)((10, 4), 0, 10, 4)
        >>> (w == 0).sum(0)
        array([9, 9, 9, 9])

    Reference:
        Martens 2010, "Deep learning via Hessian-free optimization", section 5.
    """
    fraction = checks.probability("sparse", "sparsity", sparsity)
    std = checks.nonnegative("sparse", "std", std)

    def initialize(shape: Shape, rng: Rng, fan_in: int, fan_out: int) -> Array:
        shape = _matrix_shape("sparse", shape)
        inputs, draw = math.prod(shape[:-1]), generator(rng)
        w = std * draw.standard_normal((inputs, shape[-1]))
        # In each column the rank of every element in a random order; those of the lowest ranks are set to zero.
        ranks = draw.permuted(np.tile(np.arange(inputs)[:, None], shape[-1]), axis=0)
        w[ranks < math.ceil(fraction * inputs)] = 0
        return w.reshape(shape).astype(np.float32)

    return initialize


def _matrix_shape(kind: str, shape: Shape, least: int = 2) -> Shape:
    """A shape with at least two axes, or three for a kernel."""
    shape = checked_shape(shape)
    if len(shape) < least:
        words = "(..., inputs, outputs)" if least == 2 else "(*size, channels, filters) of a convolution"
        raise ValueError(f"{kind}: expected a shape {words}, got {shape}; use another initializer there")
    return shape


def _orthogonal(rows: int, columns: int, rng: Rng) -> Array:
    """A random matrix with orthonormal rows or columns, whichever are fewer."""
    normal = generator(rng).standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(normal)
    q *= np.where(np.diagonal(r) < 0, -1, 1)  # else Q would depend on how the factorization is computed
    return q if rows >= columns else q.T


def _groups(shape: Shape, fan_in: int, fan_out: int) -> int:
    """How many groups the filters of a kernel are in: the outputs of a unit are those of its group."""
    taps = math.prod(shape[:-2])
    groups, rest = divmod(taps * shape[-1], fan_out) if fan_out else (1, 0)
    fits = fan_in == taps * shape[-2] and not rest and groups and not shape[-1] % groups
    return groups if fits else 1


def _at_centre(shape: Shape, matrix: Array) -> Array:
    """A kernel of zeros with a matrix at the tap that sees the pixel itself under padding "same"."""
    w = np.zeros(shape, np.float32)
    if w.size:
        w[tuple((n - 1) // 2 for n in shape[:-2])] = matrix
    return w
