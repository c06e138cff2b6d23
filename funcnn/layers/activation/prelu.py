"""The parametric rectifier learns the slope of its negative half, one for all elements or one for each channel.

Its parameter makes it a layer of its own and no row: it comes after another layer, not as its ``activation=``.
"""

# A vjp_fn is defined at each call of apply; like this its annotations cost nothing there.
from __future__ import annotations

import numpy as np

from funcnn import checks, contract
from funcnn.aliases import Array, Params, Rng, Shape
from funcnn.kernels.products import row_sum
from funcnn.kernels.selection import multiplied, select
from funcnn.protocol import Layer, Vjp, layer, per_example, per_position
from funcnn.rng import check_rng

__all__ = ["prelu"]


@layer
def prelu(slope: float = 0.25, shared: bool = True) -> Layer:
    """y = x where x > 0, else slope * x, with a learned slope.

    In the backward pass, dx = dy where x > 0, else slope * dy, and dslope is the sum of dy * x over all x <= 0.

    Args:
        slope: what the slopes are at first, finite.
        shared: whether there is one slope; if not, there is one for each channel, on the last axis.

    Returns:
        A layer from (batch, ..., channels) to the same, with the parameter ``slope`` of shape (1,) or (channels,). Take
        it out of weight decay, which would make it a relu.

    Raises:
        TypeError: ``slope`` is not a number or ``shared`` not a bool; or, from ``apply``, the input or the parameter is
            no plain array of float32 or float64.
        ValueError: ``slope`` is not finite; or, from ``apply``, there are other channels than slopes.

    Example:
        >>> model = prelu()
        >>> params = model.init((2,), rng=0)
        >>> y, vjp_fn = model.apply(params, np.array([[-4.0, 2.0]], np.float32))
        >>> y
        array([[-1.,  2.]], dtype=float32)
        >>> vjp_fn(np.ones_like(y))[0]
        {'slope': array([-4.], dtype=float32)}

    Reference:
        He, Zhang, Ren & Sun 2015, "Delving deep into rectifiers", arXiv 1502.01852, equations 1 and 3.
    """
    start = checks.number("prelu", "slope", slope)
    checks.flag("prelu", "shared", shared)
    read = contract.parameters("prelu", "batch, ..., channels", slope=(1,) if shared else (None,))

    def init(shape: Shape, rng: Rng) -> Params:
        check_rng(rng)
        channels = checks.channels("prelu", shape)
        return {"slope": np.full(1 if shared else channels, start, np.float32)}

    @per_position
    @per_example
    def apply(params: Params, x: Array, rng: Rng | None = None) -> tuple[Array, Vjp]:
        (slope,) = read(params, x)
        check_rng(rng)
        negative = ~(x > 0)
        below = select(x, negative)
        y = np.clip(x, 0, np.inf)
        y += below * slope
        like = contract.form(y)

        def vjp_fn(dy: Array, input_grad: bool = True) -> tuple[Params, Array | None]:
            contract.gradient("prelu", dy, like)
            dy_below = select(dy, negative)
            products = multiplied(dy_below, [below])
            dslope = products.sum(keepdims=True).reshape(1) if shared else row_sum(products.reshape(-1, len(slope)))
            if not input_grad:
                return {"slope": dslope}, None
            dx = select(dy, ~negative)
            dx += dy_below * slope
            return {"slope": dslope}, dx

        return y, vjp_fn

    return Layer(init, apply)
