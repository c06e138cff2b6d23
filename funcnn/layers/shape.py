"""Shape layers change which axes an array has and in what order, and no element; their vjp is the inverse change.

Axes are counted with the batch, here as in ``concat``: axis 0 is that of the batch, which every layer leaves as it is,
axis 1 is the first of an example, and -1 is the last. A shape is that of one example, without the batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from funcnn import checks
from funcnn.aliases import Array, Shape, Size
from funcnn.layers.activation import Pull
from funcnn.layers.upsample import upsample1d as upsample1d  # where pickles of older versions look for them
from funcnn.layers.upsample import upsample2d as upsample2d
from funcnn.layers.upsample import upsample3d as upsample3d
from funcnn.protocol import Layer, is_after_time, layer, stateless
from funcnn.wording import shown

__all__ = ["expand_dims", "flatten", "permute", "reshape", "squeeze", "take", "unflatten"]


def _reshaped(x: Array, shape: Shape) -> tuple[Array, Pull]:
    """y = x with each example in another shape;  dx = dy in the shape of x."""
    return x.reshape(len(x), *shape), lambda dy: dy.reshape(x.shape)


def _axis(kind: str, axis: Any) -> int:
    """A whole number that is not the axis of the batch."""
    found = checks.size(kind, "axis", axis, None)
    if found == 0:
        raise ValueError(f"{kind}: axis 0 is the batch axis, which stays; choose 1 or more, or -1")
    return found


def _axis_of(kind: str, axis: int, rank: int, what: str) -> int:
    """The axis, counted from the front, of ``rank`` axes that are the ones of ``what``."""
    if not -rank < axis < rank:
        raise ValueError(f"{kind}: no axis {axis} in {what}, which has the axes 1 to {rank - 1} after the batch")
    return axis % rank


def _flatten(x: Array) -> tuple[Array, Pull]:
    """y = x as (batch, everything else);  dx = dy in the shape of x.

    It stands between the images of a convolution and the vectors of ``dense``.

    Args:
        x: floats of shape (batch, ...).

    Returns:
        A layer without parameters, from (batch, ...) to (batch, elements of one example).

    Raises:
        TypeError: from ``apply``, x is not a plain array of float32 or float64.

    Example:
        >>> import funcnn as fn, numpy as np
        >>> y, vjp_fn = fn.flatten.apply({}, np.zeros((5, 4, 4, 3)))
        >>> y.shape, vjp_fn(y)[1].shape
        ((5, 48), (5, 4, 4, 3))
    """
    return _reshaped(x, (math.prod(x.shape[1:]),))


flatten = stateless("flatten", _flatten)


@layer
def reshape(*shape: Size) -> Layer:
    """y = x with each example in another shape;  dx = dy in the shape of x.

    Args:
        *shape: the new shape of one example; one size may be -1, for whatever is left.

    Returns:
        A layer without parameters.

    Raises:
        ValueError: a size is neither ``>= 1`` nor -1, there are several -1, or the sizes do not fit the input.

    Example:
        >>> reshape(28, 28, 1).apply({}, np.zeros((5, 784)))[0].shape
        (5, 28, 28, 1)
    """
    sizes = _sizes("reshape", shape)

    def forward(x: Array) -> tuple[Array, Pull]:
        return _reshaped(x, _fitted("reshape", "an example", x.shape[1:], sizes))

    return stateless("reshape", forward)


def _sizes(kind: str, shape: Any) -> Shape:
    """The sizes of a new shape, of which one may be -1."""
    try:
        sizes = tuple(checks.size(kind, "a size", n, -1) for n in shape)
    except (TypeError, ValueError):
        sizes = (0,)
    if 0 in sizes or sizes.count(-1) > 1:
        raise ValueError(f"{kind}: expected sizes >= 1, at most one of them -1, got {shown(shape)}")
    return sizes


def _fitted(kind: str, what: str, have: Shape, sizes: Shape) -> Shape:
    """The sizes with the number that -1 stands for, in place of the shape ``have`` of ``what``."""
    elements, known = math.prod(have), math.prod(n for n in sizes if n != -1)
    if elements % known if -1 in sizes else elements != known:
        raise ValueError(f"{kind}: {what} of shape {have} has {elements} elements, no room in {sizes}")
    return tuple(elements // known if n == -1 else n for n in sizes)


@layer
def unflatten(axis: Size, shape: Sequence[Size]) -> Layer:
    """y = x with one axis in place as several;  dx = dy in the shape of x.

    Args:
        axis: the axis to divide, counted with the batch: 1 is the first of an example, -1 the last, never 0.
        shape: the sizes of the axes in its place; one may be -1, for whatever is left.

    Returns:
        A layer without parameters.

    Raises:
        ValueError: ``axis`` is not a whole number or is 0, a size is neither ``>= 1`` nor -1, or there are several -1;
            or, from ``init`` and ``apply``, there is no such axis, or the sizes do not fit it.

    Example:
        >>> unflatten(-1, (2, -1)).apply({}, np.zeros((5, 7, 6)))[0].shape
        (5, 7, 2, 3)
    """
    axis, sizes = _axis("unflatten", axis), _sizes("unflatten", shape)

    def forward(x: Array) -> tuple[Array, Pull]:
        place = _axis_of("unflatten", axis, x.ndim, f"an input of shape {x.shape}")
        new = _fitted("unflatten", f"axis {axis}", x.shape[place : place + 1], sizes)
        return _reshaped(x, (*x.shape[1:place], *new, *x.shape[place + 1 :]))

    return stateless("unflatten", forward, per_position=is_after_time(axis))


@layer
def permute(axes: Sequence[Size]) -> Layer:
    """y = x with its axes in another order;  dx = dy with its axes in the order of x.

    Args:
        axes: all axes of x after the batch, in their order in y. They are counted with the batch, so that (2, 1)
            exchanges the two axes of a series; negative ones count from the last. The batch, 0, may stand in front.

    Returns:
        A layer without parameters.

    Raises:
        ValueError: ``axes`` are not whole numbers, the batch is not in front, or an axis comes twice; or, from ``init``
            and ``apply``, they are not all axes of the input.

    Example:
        >>> permute((3, 1, 2)).apply({}, np.zeros((5, 28, 20, 3)))[0].shape  # to PyTorch's images
        (5, 3, 28, 20)
    """
    if not isinstance(axes, tuple | list):
        raise ValueError(f"permute: expected axes as a tuple such as (2, 1), got {shown(axes)}")
    order = [checks.size("permute", "an axis", axis, None) for axis in axes]
    behind = order[1:] if order[:1] == [0] else order
    if 0 in behind or len(set(behind)) < len(behind):
        raise ValueError(f"permute: expected different axes, and the batch, 0, in front or left out, got {shown(axes)}")

    def forward(x: Array) -> tuple[Array, Pull]:
        found = tuple(axis % x.ndim for axis in (0, *behind))
        if sorted(found) != [*range(x.ndim)] or max(map(abs, behind), default=0) >= x.ndim:
            raise ValueError(
                f"permute: axes {tuple(axes)} are not those of an input of shape {x.shape}, "
                f"{tuple(range(1, x.ndim))} in any order"
            )
        inverse = np.argsort(found)
        return x.transpose(found), lambda dy: dy.transpose(inverse)

    # The axis of time is the first one of an example, counted from either end.
    return stateless("permute", forward, per_position=behind[:1] in ([1], [-len(behind)]))


@layer
def squeeze(axis: Size) -> Layer:
    """y = x without an axis of size 1;  dx = dy with that axis.

    Args:
        axis: the axis, counted with the batch: 1 is the first of an example, -1 the last, never 0.

    Returns:
        A layer without parameters.

    Raises:
        ValueError: ``axis`` is not a whole number or is 0; or, from ``init`` and ``apply``, there is no such axis, or
            its size is not 1.

    Example:
        >>> squeeze(2).apply({}, np.zeros((5, 7, 1, 3)))[0].shape
        (5, 7, 3)
    """
    axis = _axis("squeeze", axis)

    def forward(x: Array) -> tuple[Array, Pull]:
        place = _axis_of("squeeze", axis, x.ndim, f"an input of shape {x.shape}")
        if x.shape[place] != 1:
            raise ValueError(f"squeeze: expected size 1 on axis {axis}, got {x.shape[place]} in shape {x.shape}")
        return x.squeeze(place), lambda dy: np.expand_dims(dy, place)

    return stateless("squeeze", forward, per_position=is_after_time(axis))


@layer
def expand_dims(axis: Size) -> Layer:
    """y = x with one more axis, of size 1;  dx = dy without it.

    Args:
        axis: where it is in y, counted with the batch: 1 is before an example, -1 after it, never 0.

    Returns:
        A layer without parameters.

    Raises:
        ValueError: ``axis`` is not a whole number or is 0; or, from ``init`` and ``apply``, y would have no such axis.

    Example:
        >>> expand_dims(-1).apply({}, np.zeros((5, 28, 28)))[0].shape
        (5, 28, 28, 1)
    """
    axis = _axis("expand_dims", axis)

    def forward(x: Array) -> tuple[Array, Pull]:
        place = _axis_of("expand_dims", axis, x.ndim + 1, f"an output of {x.ndim + 1} axes")
        return np.expand_dims(x, place), lambda dy: dy.squeeze(place)

    return stateless("expand_dims", forward, per_position=is_after_time(axis))


@layer
def take(index: Size | slice, axis: Size) -> Layer:
    """y = x at an index or a slice of one axis;  dx = dy there, and 0 elsewhere.

    Args:
        index: an int, which takes one element and drops the axis, or a slice, which keeps the axis; both as NumPy has
            them: -1 is the last element, and a slice ends where the axis does.
        axis: the axis, counted with the batch: 1 is the first of an example, -1 the last, never 0.

    Returns:
        A layer without parameters.

    Raises:
        ValueError: ``index`` is neither a whole number nor a slice of some, or ``axis`` is not a whole number or is 0;
            or, from ``init`` and ``apply``, there is no such axis, it has no such element, or the slice is empty.

    Example:
        >>> y, vjp_fn = take(-1, axis=1).apply({}, np.array([[[1.0], [2.0]]]))  # the last step of a series
        >>> y, vjp_fn(y)[1].ravel()
        (array([[2.]]), array([0., 2.]))
        >>> take(slice(0, 10), axis=1).apply({}, np.zeros((5, 28, 3)))[0].shape
        (5, 10, 3)
    """
    axis = _axis("take", axis)
    if isinstance(index, slice):
        ends = [None if n is None else checks.size("take", "an end of the slice", n, None)
                for n in (index.start, index.stop, index.step)]  # fmt: skip
        if ends[2] == 0:
            raise ValueError(f"take: the step of a slice is not 0, got {shown(index)}")
        where: int | slice = slice(*ends)
    else:
        where = checks.size("take", "index", index, None)

    def forward(x: Array) -> tuple[Array, Pull]:
        place = _axis_of("take", axis, x.ndim, f"an input of shape {x.shape}")
        n = x.shape[place]
        found = range(n)[where] if isinstance(where, slice) else -n <= where < n
        if not found:
            raise ValueError(f"take: {shown(index)} is out of range on axis {axis} of size {n}, in shape {x.shape}")
        whole, shape = (*[slice(None)] * place, where), x.shape

        def pull(dy: Array) -> Array:
            dx = np.zeros(shape, dy.dtype)
            dx[whole] = dy
            return dx

        return x[whole], pull

    return stateless("take", forward, per_position=is_after_time(axis))
