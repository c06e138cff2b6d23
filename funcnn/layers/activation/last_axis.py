"""Activations over the last axis: probabilities of classes, whose elements depend on all others of their row.

So the derivative is a matrix. It is never built: its product with dy takes one inner product for each row.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from funcnn import checks
from funcnn.aliases import Array, Size
from funcnn.kernels import softmax as stable
from funcnn.kernels.products import last_axis_sum
from funcnn.kernels.selection import select
from funcnn.layers.activation.row import Pull, ready_docstring
from funcnn.protocol import Layer, layer, stateless

__all__ = ["log_softmax", "maxout", "softmax", "softmin", "sparsemax"]

CLASSES = "floats of shape (batch, ..., classes)"


def _softmax(x: Array) -> tuple[Array, Pull]:
    """y_i = e^x_i / sum_j e^x_j over the last axis;  dx = y * (dy - <y, dy>).

    For training, end the model with logits and use ``softmax_cross_entropy``, which contains it.

    Example:
        >>> import funcnn as fn, numpy as np
        >>> y, vjp_fn = fn.softmax.apply({}, np.array([[1000.0, 1000.0]]))
        >>> y
        array([[0.5, 0.5]])
        >>> vjp_fn(np.array([[1.0, 0.0]]))[1]
        array([[ 0.25, -0.25]])

    Reference:
        Bridle 1990; the product with the Jacobian diag(y) - y y^T takes one inner product, no matrix.
    """
    y = stable.softmax(x)

    def pull(dy: Array) -> Array:
        dy = select(dy, y != 0)  # a class that cannot be has no gradient, whatever its dy is
        dx: Array = dy - np.vecdot(y, dy)[..., None]
        dx *= y
        return dx

    return y, pull


def _log_softmax(x: Array) -> tuple[Array, Pull]:
    """y_i = x_i - log sum_j e^x_j over the last axis;  dx = dy - softmax(x) * sum(dy).

    Example:
        >>> import funcnn as fn, numpy as np
        >>> y, vjp_fn = fn.log_softmax.apply({}, np.array([[1000.0, 0.0]]))
        >>> y
        array([[    0., -1000.]])
        >>> vjp_fn(np.array([[0.0, 1.0]]))[1]
        array([[-1.,  1.]])

    Reference:
        Bishop 2006, "Pattern Recognition and Machine Learning", eq. 4.104, its logarithm.
    """
    y = stable.log_softmax(x)
    return y, lambda dy: dy - np.exp(y) * last_axis_sum(dy)


def _softmin(x: Array) -> tuple[Array, Pull]:
    """y_i = e^-x_i / sum_j e^-x_j over the last axis, the softmax of -x;  dx = -y * (dy - <y, dy>).

    Example:
        >>> import funcnn as fn, numpy as np
        >>> y, vjp_fn = fn.softmin.apply({}, np.log([[1.0, 3.0]]))
        >>> y
        array([[0.75, 0.25]])
        >>> vjp_fn(np.array([[1.0, 0.0]]))[1]
        array([[-0.1875,  0.1875]])

    Reference:
        PyTorch's ``Softmin``; of distances it makes weights, as in Snell, Swersky & Zemel 2017, "Prototypical
        networks", arXiv 1703.05175, equation 2.
    """
    y, pull = _softmax(-x)
    return y, lambda dy: -pull(dy)


def _sparsemax(x: Array) -> tuple[Array, Pull]:
    """y = the point nearest to x among all rows of probabilities;  dx = dy - its mean over y > 0, there, else 0.

    It is max(x - t, 0), with the t for which the row sums to 1. Unlike the softmax, it can be 0.

    Example:
        >>> import funcnn as fn, numpy as np
        >>> y, vjp_fn = fn.sparsemax.apply({}, np.array([[1.0, 0.5, -1.0]]))
        >>> y
        array([[0.75, 0.25, 0.  ]])
        >>> vjp_fn(np.array([[1.0, 0.0, 7.0]]))[1]
        array([[ 0.5, -0.5,  0. ]])

    Reference:
        Martins & Astudillo 2016, "From softmax to sparsemax", arXiv 1602.02068, algorithm 1 and equation 14.
    """
    y = stable.sparsemax(x)
    counts = y != 0

    def pull(dy: Array) -> Array:
        dx = select(dy, counts)
        dx -= dx.sum(-1, keepdims=True) / np.maximum(counts.sum(-1, keepdims=True), 1).astype(dx.dtype)
        return select(dx, counts, dx)

    return y, pull


def _over_classes(kind: str, of_rows: Callable[[Array], tuple[Array, Pull]]) -> Layer:
    """The layer of a function of rows, which must not be the batch."""

    def forward(x: Array) -> tuple[Array, Pull]:
        if x.ndim < 2 or not x.shape[-1]:
            one = "; of one example, use x[None]" if x.ndim == 1 else ""
            raise ValueError(f"{kind}: expected an input of axes (batch, ..., classes), got shape {x.shape}{one}")
        return of_rows(x)

    error = "ValueError: from ``init`` and ``apply``, there is no axis of classes, or no class."
    forward.__doc__ = ready_docstring(kind, of_rows, CLASSES, also=error)
    return stateless(kind, forward, per_position=True)


softmax = _over_classes("softmax", _softmax)
log_softmax = _over_classes("log_softmax", _log_softmax)
softmin = _over_classes("softmin", _softmin)
sparsemax = _over_classes("sparsemax", _sparsemax)


@layer
def maxout(pieces: Size) -> Layer:
    """y_j = the largest of x_jp over p;  dx_jp = dy_j at the p that was picked (the first, if tied), else 0.

    The last axis holds the pieces of the first unit, then those of the second, and so on. After ``dense(units *
    pieces)``, or as its activation, each of the units is a convex function of several linear pieces. NaN wins over
    every number.

    Args:
        pieces: the number of inputs of which each output is the largest, ``>= 1``.

    Returns:
        A layer without parameters, from (batch, ..., units * pieces) to (batch, ..., units).

    Raises:
        TypeError: from ``apply``, x is not a plain array of float32 or float64.
        ValueError: ``pieces`` is not a whole number ``>= 1``; or, from ``init`` and ``apply``, it does not divide the
            last axis.

    Example:
        >>> y, vjp_fn = maxout(2).apply({}, np.array([[1.0, 4.0, 3.0, 2.0]]))
        >>> y
        array([[4., 3.]])
        >>> vjp_fn(np.array([[5.0, 6.0]]))[1]
        array([[0., 5., 6., 0.]])

    Reference:
        Goodfellow et al. 2013, "Maxout networks", arXiv 1302.4389, section 3.
    """
    pieces = checks.size("maxout", "pieces", pieces)

    def forward(x: Array) -> tuple[Array, Pull]:
        if x.ndim < 2 or x.shape[-1] % pieces or not x.shape[-1]:
            raise ValueError(
                f"maxout: expected a last axis that {pieces} pieces divide, got shape {x.shape}; "
                f"let the layer before have units * {pieces} outputs"
            )
        shape = x.shape
        parts = x.reshape(*shape[:-1], shape[-1] // pieces, pieces)
        picked = parts.argmax(-1)[..., None]  # the first NaN, if there is one

        def pull(dy: Array) -> Array:
            dx = np.zeros((*picked.shape[:-1], pieces), dy.dtype)
            np.put_along_axis(dx, picked, dy[..., None], -1)
            return dx.reshape(shape)

        return np.take_along_axis(parts, picked, -1)[..., 0], pull

    return stateless("maxout", forward, per_position=True)
