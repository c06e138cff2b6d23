"""One ``normalize`` for the norms of single examples: layer, RMS, group and instance norm differ in their groups only.

The elements of a group share a mean and a variance, and a channel has a scale and a shift. An array is seen as its
memory lies, in its *grouped view*, so that both are sums over axes and broadcast products::

    (examples, pixels, groups, members, pixels, examples)     what lies outside the channels, and what lies inside

Examples are either outside or inside; the other place has size 1. *Statistics* have size 1 at pixels and members, and
*coefficients*, of which there is one for a channel of an example, have size 1 at pixels.
"""

import math
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np

from funcnn.aliases import Array, Shape
from funcnn.engine.memory import axes_in_memory, empty
from funcnn.kernels.implementations import accelerated
from funcnn.kernels.tuning import TUNING, Tuning

__all__ = ["FAR", "Normalized", "normalization", "normalize", "normalized_gradients"]

FAR = 4
"""A mean of this many standard deviations is far from 0: the mean of the squares, less the square of the mean, would
lose too many digits. Then the elements are centred first, in float64."""


class _Form(NamedTuple):
    """How an array is seen.

    Args:
        order: its axes from the outermost in memory to the innermost.
        inverse: where each axis is in that order.
        memory: the sizes of its axes in that order.
        sizes: those of its grouped view.
    """

    order: tuple[int, ...]
    inverse: tuple[int, ...]
    memory: tuple[int, ...]
    sizes: tuple[int, ...]

    def view(self, x: Array) -> Array:
        """The grouped view of an array; a copy if its memory has another order."""
        return x.transpose(self.order).reshape(self.sizes)

    def array(self, view: Array) -> Array:
        """The array of a grouped view."""
        return view.reshape(self.memory).transpose(self.inverse)


class _Block(NamedTuple):
    """What the backward pass needs of some examples: u = (x - mean) * factor has mean 0 and variance 1.

    Args:
        x: part of the grouped view of the input; or u in its place, if a mean was far.
        mean: a statistic, 0 if x is u.
        factor: a statistic, 1 / sqrt(var + eps), or 1 if x is u.
        inverse_std: a statistic, 1 / sqrt(var + eps) in any case.
    """

    x: Array
    mean: Array
    factor: Array
    inverse_std: Array


class Normalized(NamedTuple):
    """What a backward pass needs: how the input is seen, and its blocks, each small enough for the cache."""

    form: _Form
    blocks: list[_Block]


@accelerated
def normalization(
    x: Array,
    scale: Array | None,
    shift: Array | None,
    eps: float,
    groups: int | None = None,
    centred: bool = True,
) -> tuple[Array, Callable[..., tuple[Array, Array, Array | None]]]:
    """``normalize`` and its backward pass, for an implementation that keeps something else.

    Args:
        x: as in ``normalize``, like the rest.
        scale: (channels,) or None.
        shift: (channels,) or None.
        eps: added to the variance.
        groups: into how many groups the channels of an example are divided.
        centred: whether the mean is subtracted.

    Returns:
        ``(y, pull)`` with ``pull(dy, input_grad=True) -> (dscale, dshift, dx)``.
    """
    y, normalized = normalize(x, scale, shift, eps, groups=groups, centred=centred)
    return y, partial(normalized_gradients, normalized=normalized, scale=scale, centred=centred)


def normalize(
    x: Array,
    scale: Array | None,
    shift: Array | None,
    eps: float,
    *,
    groups: int | None = None,
    centred: bool = True,
    tuning: Tuning = TUNING,
) -> tuple[Array, Normalized]:
    """y = scale * (x - mean) / sqrt(var + eps) + shift, with mean and var over the elements of a group.

    Args:
        x: (examples, ..., channels).
        scale: (channels,), or None for 1.
        shift: (channels,), or None for 0.
        eps: added to the variance.
        groups: into how many groups the channels of an example are divided; a group has all its pixels. None for one
            group at each pixel.
        centred: whether the mean is subtracted; if not, var is the mean of the squares.
        tuning: the tuning constants.

    Returns:
        ``(y, normalized)``; y has the memory order of x, unless that has the examples between the pixels.

    Example:
        >>> normalize(np.array([[1.0, 3.0]]), None, None, 0.0)[0]
        array([[-1.,  1.]])
        >>> normalize(np.array([[1.0, 3.0, 5.0, 9.0]]), None, np.ones(4), 0.0, groups=2)[0]
        array([[0., 2., 0., 2.]])
    """
    form = _form(x.shape, tuple(range(x.ndim) if x.flags.c_contiguous else axes_in_memory(x)), groups)
    view = form.view(x)
    y = empty(view.shape, x.dtype)
    pairs = zip(_parts(view, tuning), _parts(y, tuning), strict=True)
    done = [_normalize_block(part, out, scale, shift, eps, centred, tuning) for part, out in pairs]
    return form.array(y), Normalized(form, done)


def _normalize_block(
    x: Array, y: Array, scale: Array | None, shift: Array | None, eps: float, centred: bool, tuning: Tuning
) -> _Block:
    """Fill y, which is the scratch memory of the moments before."""
    mean, var, near = _moments(x, centred, y)
    if near:
        factor = inverse_std = 1 / np.sqrt(var + x.dtype.type(eps))
    else:
        x, inverse_std = _precise(x, eps, centred)
        mean, factor = np.zeros_like(inverse_std), np.ones_like(inverse_std)
    offset = _coefficients(-mean * factor, scale, shift) if centred or shift is not None else None
    _affine(x, _coefficients(factor, scale), offset, y, tuning)
    return _Block(x, mean, factor, inverse_std)


def normalized_gradients(
    dy: Array,
    normalized: Normalized,
    scale: Array | None,
    *,
    centred: bool = True,
    input_grad: bool = True,
    tuning: Tuning = TUNING,
) -> tuple[Array, Array, Array | None]:
    """The gradients of scale, shift and x, with g = dy * scale and E the mean over a group.

    They are::

        dscale = sum of dy u     dshift = sum of dy     dx = (g - E[g] - u E[g u]) / sqrt(var + eps)

    Args:
        dy: like y.
        normalized: from ``normalize``, like the rest.
        scale: (channels,), or None for 1.
        centred: without it there is no E[g].
        input_grad: whether dx is wanted.
        tuning: the tuning constants.

    Returns:
        ``(dscale, dshift, dx)``.
    """
    form = normalized.form
    gradient = form.view(dy)
    dx = empty(gradient.shape, dy.dtype)
    triples = zip(_parts(gradient, tuning), _parts(dx, tuning), normalized.blocks, strict=True)
    sums = [_gradients_of_block(part, out, block, scale, centred, input_grad, tuning) for part, out, block in triples]
    dscale, dshift = sums[0] if len(sums) == 1 else (np.add.reduce(values) for values in zip(*sums, strict=True))
    return dscale, dshift, form.array(dx) if input_grad else None


def _gradients_of_block(
    dy: Array, dx: Array, block: _Block, scale: Array | None, centred: bool, input_grad: bool, tuning: Tuning
) -> tuple[Array, Array]:
    """The parts of dscale and dshift; dx is filled, and is scratch memory before."""
    x, mean, factor, inverse_std = block
    # Sums of dy and dy x, from which those of dy u follow: dy u = factor (dy x - mean dy).
    sums, products = _over_pixels(dy), _over_pixels(np.multiply(dy, x, out=dx))
    dscale = _over_examples(products, factor) - _over_examples(sums, mean * factor)
    dshift = _over_examples(sums)
    if not input_grad:
        return dscale, dshift
    weight = -inverse_std / _count(x)
    total = _over_members(sums, scale)
    along = weight * factor * factor * (_over_members(products, scale) - mean * total)
    offset = -along * mean
    if centred:
        offset += weight * total
    _affine(x, along, offset, dx, tuning)
    other = empty(dx.shape, dx.dtype)
    _affine(dy, _coefficients(inverse_std, scale), None, other, tuning)
    dx += other
    return dscale, dshift


@lru_cache(maxsize=256)
def _form(shape: Shape, order: tuple[int, ...], groups: int | None) -> _Form:
    """How an array of some shape and order in memory is seen; without groups each pixel is an example of its own."""
    if groups is not None and 0 not in (order[0], order[-1]):
        order = tuple(sorted(order))
    middle, channels, examples = order.index(len(shape) - 1), shape[-1], shape[0]
    outer, inner = order[:middle], order[middle + 1 :]
    if groups is None:
        n1, n2 = (math.prod([shape[axis] for axis in axes]) for axes in (outer, inner))
        sizes = n1, 1, 1, channels, 1, n2
    else:
        p1, p2 = (math.prod([shape[axis] for axis in axes if axis]) for axes in (outer, inner))
        n1, n2 = (examples, 1) if 0 in outer else (1, examples)
        sizes = n1, p1, groups, channels // groups, p2, n2
    inverse = tuple(order.index(axis) for axis in range(len(shape)))
    return _Form(order, inverse, tuple(shape[axis] for axis in order), sizes)


def _parts(view: Array, tuning: Tuning) -> list[Array]:
    """A grouped view, cut between its outer examples into blocks; none of its groups is cut."""
    if view.nbytes <= tuning.norm_block_bytes:
        return [view]
    step = max(1, len(view) * tuning.norm_block_bytes // view.nbytes)
    return [view[first : first + step] for first in range(0, len(view), step)]


def _moments(x: Array, centred: bool, scratch: Array) -> tuple[Array, Array, bool]:
    """Mean and variance of each group, and whether they are precise: no mean is far, and nothing has overflowed."""
    with np.errstate(over="ignore", invalid="ignore"):
        squares = _mean(np.multiply(x, x, out=scratch))
        if not centred:
            return np.zeros_like(squares), squares, bool((squares < np.inf).all())
        mean = _mean(x)
        far = mean * mean
        var = squares - far
        return mean, var, bool(((far <= FAR * FAR * var) & (var < np.inf)).all())


def _precise(x: Array, eps: float, centred: bool) -> tuple[Array, Array]:
    """What is normalized, u, and 1 / sqrt(var + eps), both computed in float64 from elements that are centred first."""
    with np.errstate(over="ignore", invalid="ignore"):
        wide = x.astype(np.float64)
        if centred:
            wide -= _mean(wide)
        inverse_std = 1 / np.sqrt(_mean(wide * wide) + eps)
        wide *= inverse_std
        return wide.astype(x.dtype, copy=False), inverse_std.astype(x.dtype, copy=False)


def _count(x: Array) -> Any:
    """The number of elements in a group, in the dtype of x."""
    _, p1, _, members, p2, _ = x.shape
    return x.dtype.type(max(p1 * members * p2, 1))


def _mean(x: Array) -> Array:
    """The mean of each group, a statistic."""
    mean: Array = _over_members(_over_pixels(x)) / _count(x)
    return mean


def _over_pixels(x: Array) -> Array:
    """The sums over pixels, coefficients; as products with ones, like ``row_sum``."""
    n1, p1, groups, members, p2, n2 = x.shape
    channels = groups * members
    total = x.reshape(n1, p1, channels * p2 * n2)
    if p1 != 1:
        total = np.matmul(_ones(p1, x.dtype), total)
    if p2 != 1 and n2 == 1:
        total = np.matmul(total.reshape(n1 * channels, p2), _ones(p2, x.dtype).T)
    elif p2 != 1:
        total = np.matmul(_ones(p2, x.dtype), total.reshape(n1 * channels, p2, n2))
    return total.reshape(n1, 1, groups, members, 1, n2)


def _over_members(coefficients: Array, scale: Array | None = None) -> Array:
    """The sums over the members of a group, each times its scale: a statistic."""
    n1, _, groups, members, _, n2 = coefficients.shape
    if groups == n2 == 1:
        row = _ones(members, coefficients.dtype) if scale is None else scale.reshape(1, members)
        total: Array = np.matmul(coefficients.reshape(n1, members), row.T)
        return total.reshape(n1, 1, 1, 1, 1, 1)
    weighted = coefficients if scale is None else coefficients * scale.reshape(groups, members, 1, 1)
    return np.add.reduce(weighted, axis=3, keepdims=True)


def _over_examples(coefficients: Array, statistic: Array | None = None) -> Array:
    """The sum over the examples for each channel, each times the statistic of its group."""
    n1, _, groups, members, _, n2 = coefficients.shape
    if groups == n2 == 1:
        row = _ones(n1, coefficients.dtype) if statistic is None else statistic.reshape(1, n1)
        total: Array = np.matmul(row, coefficients.reshape(n1, members))
    else:
        total = np.add.reduce(coefficients if statistic is None else coefficients * statistic, axis=(0, 5))
    return total.reshape(groups * members)


def _coefficients(statistic: Array, scale: Array | None, shift: Array | None = None) -> Array:
    """statistic * scale + shift; where scale is 1 and shift 0, the statistic itself, which broadcasts.

    A product of matrices with two columns takes a third of the time of a broadcast product.
    """
    n1, _, groups, _, _, n2 = statistic.shape
    if scale is None:
        return statistic if shift is None else statistic + shift.reshape(groups, shift.size // groups, 1, 1)
    found: Array
    if groups == n2 == 1:
        pairs, rows = (np.zeros(shape, scale.dtype) for shape in ((n1, 2), (2, scale.size)))
        pairs[:, 0], rows[0] = statistic.reshape(n1), scale
        if shift is not None:
            pairs[:, 1], rows[1] = 1, shift
        found = np.matmul(pairs, rows)
        return found.reshape(n1, 1, 1, scale.size, 1, 1)
    found = statistic * scale.reshape(groups, scale.size // groups, 1, 1)
    if shift is not None:
        found += shift.reshape(groups, shift.size // groups, 1, 1)
    return found


def _affine(x: Array, factor: Array, offset: Array | None, y: Array, tuning: Tuning) -> None:
    """y = x * factor + offset, with coefficients or statistics."""
    source, factor = _in_runs(x, factor, tuning)
    out = y.reshape(source.shape)
    np.multiply(source, factor, out=out)
    if offset is not None:
        out += _in_runs(x, offset, tuning)[1]


def _in_runs(x: Array, coefficients: Array, tuning: Tuning) -> tuple[Array, Array]:
    """A grouped view and coefficients for it, side by side in runs that are long enough for a ufunc to be fast."""
    n1, p1, groups, members, p2, n2 = x.shape
    if not x.size or n2 == p1 == 1 or p1 == p2 == 1:
        return x, coefficients
    run = groups * members * p2 * n2
    times = math.gcd(p1, 1 << max(1, tuning.min_run // run).bit_length() - 1)
    row = empty((n1, times, groups, members, p2, n2), x.dtype)
    row[...] = coefficients
    return x.reshape(n1, p1 // times, times * run), row.reshape(n1, 1, times * run)


@lru_cache(maxsize=64)
def _ones(n: int, dtype: np.dtype[Any]) -> Array:
    """A matrix of one row of n ones, made once."""
    ones = np.ones((1, n), dtype)
    ones.flags.writeable = False
    return ones
