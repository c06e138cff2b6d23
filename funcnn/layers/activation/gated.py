"""Gated linear units: one half of the last axis is multiplied by a gate, which is the activation of the other half.

All are one function with other gates, and as in PyTorch's ``glu`` the gate is made of the second half. They contain no
weights: a dense layer of twice the units comes before, so that the whole is Shazeer's (x V) * f(x W).
"""

from __future__ import annotations

from collections.abc import Callable

from funcnn.aliases import Array
from funcnn.engine.memory import empty_like
from funcnn.kernels.selection import gated_product, select
from funcnn.layers.activation.piecewise import relu
from funcnn.layers.activation.row import Pull, ready_docstring, row_of
from funcnn.layers.activation.self_gated import gelu, swish
from funcnn.layers.activation.smooth import sigmoid
from funcnn.protocol import Layer, stateless

__all__ = ["geglu", "glu", "reglu", "swiglu"]


def _gated(kind: str, gate: Layer, text: Callable[[], None]) -> Layer:
    """y = a f(b) for the halves a and b of the last axis;  da = dy f(b),  db = dy a f'(b)."""
    nonlinearity = row_of(gate)
    assert nonlinearity is not None
    evaluate = nonlinearity.evaluate

    def forward(x: Array) -> tuple[Array, Pull]:
        if x.ndim < 2 or x.shape[-1] % 2 or not x.shape[-1]:
            raise ValueError(
                f"{kind}: expected an even last axis, of which the second half is the gate, got shape {x.shape}; "
                "let the layer before have twice the units"
            )
        half = x.shape[-1] // 2
        a, b = x[..., :half], x[..., half:]
        f, slope_of = evaluate(b)

        def pull(dy: Array) -> Array:
            dx, slope = empty_like(x), slope_of()
            dx[..., :half] = gated_product(dy, f)
            if slope.dtype == bool:
                dx[..., half:] = select(gated_product(dy, a), slope)
            else:
                dx[..., half:] = gated_product(gated_product(dy, slope), a)
            return dx

        return gated_product(a, f), pull

    forward.__doc__ = ready_docstring(
        kind,
        text,
        "floats of shape (batch, ..., 2 * units)",
        "of shape (batch, ..., units)",
        "ValueError: from ``init`` and ``apply``, the last axis is odd or empty, or there is no batch axis before it.",
    )
    return stateless(kind, forward, per_position=True)


def _glu() -> None:
    """y = a sigmoid(b), where a is the first half of the last axis and b the second;  da = dy f,  db = dy a f (1 - f).

    In the derivatives, f = sigmoid(b). It has no weights: write ``serial(dense(2 * units), glu)``.

    Example:
        >>> import funcnn as fn, numpy as np
        >>> y, vjp_fn = fn.glu.apply({}, np.array([[4.0, 0.0]]))
        >>> y
        array([[2.]])
        >>> vjp_fn(np.ones_like(y))[1]
        array([[0.5, 1. ]])

    Reference:
        Dauphin, Fan, Auli & Grangier 2017, "Language modeling with gated convolutional networks", arXiv 1612.08083,
        equation 1.
    """


def _geglu() -> None:
    """y = a gelu(b), where a is the first half of the last axis and b the second;  da = dy f,  db = dy a gelu'(b).

    In the derivatives, f = gelu(b). It has no weights: write ``serial(dense(2 * units), geglu)``.

    Example:
        >>> import funcnn as fn, numpy as np
        >>> y, vjp_fn = fn.geglu.apply({}, np.array([[4.0, 1.0]]))
        >>> y.round(4)
        array([[3.3654]])
        >>> vjp_fn(np.ones_like(y))[1].round(4)
        array([[0.8413, 4.3333]])

    Reference:
        Shazeer 2020, "GLU variants improve transformer", arXiv 2002.05202, equation 5.
    """


def _reglu() -> None:
    """y = a relu(b), where a is the first half of the last axis and b the second;  da = dy f,  db = dy a where b > 0.

    In the derivatives, f = relu(b). It has no weights: write ``serial(dense(2 * units), reglu)``.

    Example:
        >>> import funcnn as fn, numpy as np
        >>> y, vjp_fn = fn.reglu.apply({}, np.array([[4.0, 3.0], [4.0, -3.0]]))
        >>> y
        array([[12.],
               [ 0.]])
        >>> vjp_fn(np.ones_like(y))[1]
        array([[3., 4.],
               [0., 0.]])

    Reference:
        Shazeer 2020, "GLU variants improve transformer", arXiv 2002.05202, equation 5.
    """


def _swiglu() -> None:
    """y = a swish(b), where a is the first half of the last axis and b the second;  da = dy f,  db = dy a swish'(b).

    In the derivatives, f = swish(b). It has no weights: write ``serial(dense(2 * units), swiglu)``.

    Example:
        >>> import funcnn as fn, numpy as np
        >>> y, vjp_fn = fn.swiglu.apply({}, np.array([[4.0, 1.0]]))
        >>> y.round(4)
        array([[2.9242]])
        >>> vjp_fn(np.ones_like(y))[1].round(4)
        array([[0.7311, 3.7107]])

    Reference:
        Shazeer 2020, "GLU variants improve transformer", arXiv 2002.05202, equation 5.
    """


glu = _gated("glu", sigmoid, _glu)
geglu = _gated("geglu", gelu(), _geglu)
reglu = _gated("reglu", relu, _reglu)
swiglu = _gated("swiglu", swish, _swiglu)
