"""The dense layer, where backpropagation is plainest: each output is a weighted sum of all inputs.

Read ``apply`` and then ``vjp_fn`` under it. One product forward gives two products backward: the gradient of a weight
is the input that it saw times the gradient of the output that it made, and the gradient of an input is the same
gradient seen through the weights. Every other layer of the library is a variation on these lines.
"""

# A vjp_fn is defined at each call of apply; like this its annotations cost nothing there.
from __future__ import annotations

from funcnn import checks, contract
from funcnn.aliases import Array, Params, Rng, Shape, Size
from funcnn.initializers import InitializerLike, he_normal, zeros
from funcnn.kernels.products import product, row_sum
from funcnn.layers.activation import Activation, fuse
from funcnn.layers.weights import weights
from funcnn.protocol import Layer, Vjp, layer, per_example, per_position
from funcnn.rng import check_rng

__all__ = ["dense"]


@layer
def dense(
    units: Size,
    bias: bool = True,
    activation: Activation = None,
    w_init: InitializerLike = he_normal,
    b_init: InitializerLike = zeros,
) -> Layer:
    """y = activation(x w + b).

    In the backward pass, with z = x w + b and dz the gradient of the loss by z::

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
        TypeError: a flag is not a bool, or an initializer or an activation is not one;
            or, from ``apply``, the input or a parameter is not a plain array of float32 or float64.
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
    units = checks.size("dense", "units", units)
    activate = fuse("dense", activation)
    own = weights("dense", "batch, ..., inputs", (None, units), bias, w_init, b_init)

    def init(shape: Shape, rng: Rng) -> Params:
        inputs = checks.channels("dense", shape, "inputs")
        return own.init((inputs, units), rng, inputs, units)

    @per_example
    def apply(params: Params, x: Array, rng: Rng | None = None) -> tuple[Array, Vjp]:
        w, b = own.read(params, x)
        check_rng(rng)
        y, pull = activate.complete(product(x, w, plus=b, activation=activate.in_place))
        like = contract.form(y)

        def vjp_fn(dy: Array, input_grad: bool = True) -> tuple[Params, Array | None]:
            contract.gradient("dense", dy, like)
            dz = pull(dy)
            rows, drows = x.reshape(-1, len(w)), dz.reshape(-1, units)
            grads = own.gradients(product(rows.T, drows), lambda: row_sum(drows))
            return grads, product(dz, w.T) if input_grad else None

        return y, vjp_fn

    per_position(apply, activate.per_position)
    return Layer(init, apply, multiply_adds=lambda params, x, y: x.size * units)
