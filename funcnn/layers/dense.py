"""The linear layer, where backpropagation is plainest: each output is a weighted sum of all inputs.

Read ``apply`` and then ``vjp_fn`` under it. A product forward gives two products back: what each weight did to the
loss is the input it saw times the gradient it caused, and what each input did is the same gradient seen through the
weights. Every other layer of the library is a variation on these six lines.
"""

# A vjp_fn is defined at each call of apply; like this its annotations cost nothing there.
from __future__ import annotations

from typing import Any

import numpy as np

from funcnn.aliases import Array, Params, Rng, Shape
from funcnn.initializers import Initializer, he_normal, zeros
from funcnn.protocol import Layer, Vjp, check_gradient, check_input, layer, parameter
from funcnn.layers.activation import fuse
from funcnn.engine.memory import empty
from funcnn.rng import fold

__all__ = ["dense"]


@layer
def dense(
    units: int,
    bias: bool = True,
    activation: Any = None,
    w_init: Initializer = he_normal,
    b_init: Initializer = zeros,
) -> Layer:
    """y = activation(x w + b).

    Going back, with z = x w + b and dz the gradient of the loss by z::

        dw = x^T dz        db = sum of dz over the batch        dx = dz w^T

    Args:
        units: the number of outputs, ``>= 1``.
        bias: whether to add ``b``.
        activation: a layer without parameters, or its name, applied at once; None for none.
        w_init: the initializer of ``w``, of shape (inputs, units).
        b_init: the initializer of ``b``, of shape (units,).

    Returns:
        A layer from (batch, ..., inputs) to (batch, ..., units).

    Raises:
        ValueError: ``units`` is not a whole number ``>= 1``, the activation is unknown, or, from ``apply``, the input
            does not have as many channels as ``w`` has rows.

    Example:
        >>> import numpy as np
        >>> init, apply = dense(2)
        >>> params = {"w": np.array([[1.0, 2.0], [3.0, 4.0]]), "b": np.zeros(2)}
        >>> y, vjp_fn = apply(params, np.array([[1.0, 1.0]]))
        >>> y
        array([[4., 6.]])
        >>> grads, dx = vjp_fn(np.array([[1.0, 0.0]]))
        >>> dx
        array([[1., 3.]])

    Reference:
        Rumelhart, Hinton & Williams 1986, "Learning representations by back-propagating errors", equations 4 to 6.
    """
    check_count("dense", "units", units)
    activate = fuse("dense", activation)

    def init(shape: Shape, rng: Rng) -> Params:
        inputs = shape[-1] if shape else 0
        if inputs < 1:
            raise ValueError(f"dense: expected an example of shape (..., inputs), inputs >= 1, got {shape}")
        params = {"w": w_init((inputs, units), fold(rng, "w"), inputs, units)}
        return params | {"b": b_init((units,), fold(rng, "b"), inputs, units)} if bias else params

    def apply(params: Params, x: Array, rng: Rng | None = None) -> tuple[Array, Vjp]:
        w = parameter("dense", params, "w", (None, units))
        b = parameter("dense", params, "b", (units,)) if bias else None
        check_input("dense", x, "batch, ..., inputs", w, channels=w.shape[0])
        z = np.matmul(x, w, out=empty((*x.shape[:-1], units), x.dtype))
        if b is not None:
            z += b
        y, pull = activate(z)

        def vjp_fn(dy: Array, input_grad: bool = True) -> tuple[Params, Array | None]:
            check_gradient("dense", dy, y)
            dz = pull(dy)
            rows = dz.reshape(-1, units)
            grads = {"w": np.matmul(x.reshape(-1, w.shape[0]).T, rows, out=empty(w.shape, w.dtype))}
            if bias:
                grads["b"] = rows.sum(0)
            return grads, np.matmul(dz, w.T, out=empty(x.shape, x.dtype)) if input_grad else None

        return y, vjp_fn

    return Layer(init, apply)


def check_count(kind: str, name: str, value: Any) -> None:
    """Refuse a size that is not a whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{kind}: {name} must be a whole number >= 1, got {value!r}")
