"""One ``normalize`` for the norms of single examples: layer, RMS, group and instance norm differ in its groups only.

The elements of a group share a mean and a variance; scale and shift are per channel. In memory an array is seen as
``(examples, pixels, groups, members, pixels, examples)``, where one place of each pair has size 1 or is what lies inside
of the channels. So a statistic is a sum over pixels and members, and all arrays with one number for an example and a
channel are small, unless there are no pixels.
"""

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from funcnn.aliases import Array
from funcnn.engine.memory import axes_in_memory, empty
from funcnn.kernels.tuning import TUNING, Tuning

__all__ = ["Normalized", "normalize", "normalized_gradients"]

FAR = 4
"""A mean of this many standard deviations is far from 0: squares lose as many digits as 1 + FAR^2 has. Then the
elements are centred first, in float64."""


class _Form(NamedTuple):
    """How an array is seen.

    Args:
        order: its axes from the outermost in memory to the innermost.
        sizes: (examples, pixels, groups, members, pixels, examples).
    """

    order: tuple[int, ...]
    sizes: tuple[int, ...]

    def view(self, x: Array) -> Array:
        """x in this form; a copy if its memory has another order."""
        return x.transpose(self.order).reshape(self.sizes)

    def array(self, view: Array, shape: tuple[int, ...]) -> Array:
        """The array of a view."""
        own = view.reshape([shape[axis] for axis in self.order])
        return own.transpose([self.order.index(axis) for axis in range(len(shape))])


class Normalized(NamedTuple):
    """What a backward pass needs: u = (x - mean) * inverse is what was normalized.

    Args:
        form: how x is seen.
        x: in that form; normalized itself, in its own dtype, if its mean was far.
        mean: (examples, 1, groups, 1, 1, examples), one number for a group.
        inverse: likewise, 1 / sqrt(var + eps).
        factor: what scale is multiplied by in the gradient of x: ``inverse``, or that from before x was normalized.
    """

    form: _Form
    x: Array
    mean: Array
    inverse: Array
    factor: Array


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
        ``(y, normalized)``; y has the memory order of x where that has the examples outermost or innermost.

    Example:
        >>> normalize(np.array([[1.0, 3.0]]), None, None, 0.0)[0]
        array([[-1.,  1.]])
        >>> normalize(np.array([[1.0, 3.0, 5.0, 9.0]]), None, np.ones(4), 0.0, groups=2)[0]
        array([[0., 2., 0., 2.]])
    """
    form = _form(x, groups)
    view = form.view(x)
    mean, var, near = _statistics(view, centred)
    if near:
        inverse = factor = 1 / np.sqrt(var + x.dtype.type(eps))
    else:
        with np.errstate(over="ignore", invalid="ignore"):
            wide = view.astype(np.float64)
            if centred:
                wide -= _mean(wide)
            precise = 1 / np.sqrt(_mean(wide * wide) + eps)
            view, factor = (wide * precise).astype(x.dtype), precise.astype(x.dtype)
        mean, inverse = np.zeros_like(factor), np.ones_like(factor)
    own, offset = _outer(inverse, scale), None
    if centred or shift is not None:
        offset = _outer(-mean * inverse, scale, np.ones_like(inverse), shift)
    y = _affine(view, own, offset, tuning)
    return form.array(y, x.shape), Normalized(form, view, mean, inverse, factor)


def normalized_gradients(
    dy: Array,
    normalized: Normalized,
    scale: Array | None,
    *,
    centred: bool = True,
    input_grad: bool = True,
    tuning: Tuning = TUNING,
) -> tuple[Array, Array, Array | None]:
    """The gradients of scale, shift and x; with g = dy * scale and E the mean over a group::

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
    form, x, mean, inverse, factor = normalized
    gradient = form.view(dy)
    sums = _per_channel(gradient)
    products = _per_channel(np.multiply(gradient, x, out=empty(x.shape, x.dtype)))
    dshift = _over_examples(sums, np.ones_like(inverse))
    dscale = _over_examples(products, inverse) - _over_examples(sums, mean * inverse)
    if not input_grad:
        return dscale, dshift, None
    total, count = _per_group(sums, scale), _count(x)
    along = -factor * inverse * inverse * (_per_group(products, scale) - mean * total) / count
    offset = -along * mean
    if centred:
        offset -= factor * total / count
    dx = _affine(x, along, offset, tuning)
    dx += _affine(gradient, _outer(factor, scale), None, tuning)
    return dscale, dshift, form.array(dx, dy.shape)


def _form(x: Array, groups: int | None) -> _Form:
    """How an array is seen: with examples outermost or innermost, or as a C-contiguous one."""
    order = list(range(x.ndim)) if x.flags.c_contiguous else axes_in_memory(x)
    if groups is not None and 0 not in (order[0], order[-1]):
        order.sort()
    middle = order.index(x.ndim - 1)
    outer, inner = order[:middle], order[middle + 1 :]
    if groups is None:
        n1, n2 = (math.prod([x.shape[axis] for axis in axes]) for axes in (outer, inner))
        return _Form(tuple(order), (n1, 1, 1, x.shape[-1], 1, n2))
    p1, p2 = (math.prod([x.shape[axis] for axis in axes if axis]) for axes in (outer, inner))
    n1, n2 = (len(x), 1) if 0 in outer else (1, len(x))
    return _Form(tuple(order), (n1, p1, groups, x.shape[-1] // groups, p2, n2))


def _statistics(x: Array, centred: bool) -> tuple[Array, Array, bool]:
    """Mean and variance of each group, and whether squares are precise enough for them."""
    with np.errstate(over="ignore", invalid="ignore"):
        squares = _mean(np.multiply(x, x, out=empty(x.shape, x.dtype)))
        if not centred:
            return np.zeros_like(squares), squares, bool((squares < np.inf).all())
        mean = _mean(x)
        var = squares - mean * mean
        return mean, var, bool(((mean * mean <= FAR * FAR * var) & (var < np.inf)).all())


def _count(x: Array) -> Any:
    """The number of elements in a group, in the dtype of x."""
    _, p1, _, members, p2, _ = x.shape
    return x.dtype.type(max(p1 * members * p2, 1))


def _mean(x: Array) -> Array:
    """The mean of each group, (examples, 1, groups, 1, 1, examples)."""
    mean: Array = _per_group(_per_channel(x)) / _count(x)
    return mean


def _per_channel(x: Array) -> Array:
    """The sums over pixels, (examples, 1, groups, members, 1, examples)."""
    n1, p1, groups, members, p2, n2 = x.shape
    total = x.reshape(n1, p1, groups * members * p2 * n2)
    if p1 != 1:
        total = np.matmul(_ones(p1, x.dtype), total)
    if p2 != 1 and n2 == 1:
        total = np.matmul(total.reshape(n1 * groups * members, p2), _ones(p2, x.dtype).T)
    elif p2 != 1:
        total = np.matmul(_ones(p2, x.dtype), total.reshape(n1 * groups * members, p2, n2))
    return total.reshape(n1, 1, groups, members, 1, n2)


def _per_group(values: Array, scale: Array | None = None) -> Array:
    """The sums over the members of a group, each times its scale."""
    n1, _, groups, members, _, n2 = values.shape
    row = _ones(members, values.dtype) if scale is None else scale.reshape(groups, members)
    if groups == n2 == 1:
        total = np.matmul(values.reshape(n1, members), row.T)
    else:
        total = np.einsum("apgmqb,gm->agb", values, np.broadcast_to(row, (groups, members)))
    return total.reshape(n1, 1, groups, 1, 1, n2)


def _over_examples(values: Array, weights: Array) -> Array:
    """The sum over the examples for each channel, each times the weight of its group."""
    n1, _, groups, members, _, n2 = values.shape
    if groups == n2 == 1:
        return np.matmul(weights.reshape(n1), values.reshape(n1, members))
    return np.einsum("apgmqb,agb->gm", values, weights[:, 0, :, 0, 0]).reshape(groups * members)


def _outer(a: Array, scale: Array | None, b: Array | None = None, shift: Array | None = None) -> Array:
    """a * scale + b * shift, one number for an example and a channel: (examples, 1, groups, members, 1, examples).

    A product of matrices with two columns takes a third of the time of a broadcast product.
    """
    n1, _, groups, _, _, n2 = a.shape
    if scale is None and shift is None:
        return a
    members = (shift if scale is None else scale).size // groups
    own, other = (None if value is None else value.reshape(1, 1, groups, members, 1, 1) for value in (scale, shift))
    if own is None:
        return a + other
    if groups == n2 == 1:
        other = np.zeros_like(own) if other is None else other
        pairs = np.concatenate((a, a if b is None else b), axis=5).reshape(n1, 2)
        product = np.matmul(pairs, np.concatenate((own, other)).reshape(2, members))
        return product.reshape(n1, 1, 1, members, 1, 1)
    return a * own if other is None else a * own + other


def _affine(x: Array, factor: Array, offset: Array | None, tuning: Tuning) -> Array:
    """x * factor + offset, with numbers for an example and a channel, or for an example and a group."""
    y = empty(x.shape, x.dtype)
    source, factor = _in_runs(x, factor, tuning)
    out = y.reshape(source.shape)
    np.multiply(source, factor, out=out)
    if offset is not None:
        out += _in_runs(x, offset, tuning)[1]
    return y


def _in_runs(x: Array, values: Array, tuning: Tuning) -> tuple[Array, Array]:
    """x and values of an example and a channel side by side, in runs that are long enough for a ufunc to be fast."""
    n1, p1, groups, members, p2, n2 = x.shape
    if p1 == 1 and (n2 == 1 or p2 == 1):
        return x, values
    run = groups * members * p2 * n2
    values = np.broadcast_to(values, (n1, 1, groups, members, p2, n2)).reshape(n1, 1, run)
    times = math.gcd(p1, 1 << max(1, tuning.min_run // max(run, 1)).bit_length() - 1)
    return x.reshape(n1, p1 // max(times, 1), times * run), np.tile(values, times)


@lru_cache(maxsize=64)
def _ones(n: int, dtype: np.dtype[Any]) -> Array:
    """A matrix of one row of n ones, made once."""
    ones = np.ones((1, n), dtype)
    ones.flags.writeable = False
    return ones
