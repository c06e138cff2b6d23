"""Dropout switches off random units in training, so that no unit can rely on a particular other one.

What is left is scaled up at once (*inverted* dropout), hence predicting needs no dropout code at all.
"""

# A vjp_fn is defined at each call of apply; like this its annotations cost nothing there.
from __future__ import annotations

import numpy as np

from funcnn import checks, contract
from funcnn.aliases import Array, Params, Rng
from funcnn.kernels.selection import select
from funcnn.layers.activation import identity
from funcnn.protocol import Layer, Vjp, layer, no_params, per_example
from funcnn.rng import generator
from funcnn.wording import shown

__all__ = ["dropout"]


@layer
def dropout(rate: float) -> Layer:
    """y = x / (1 - rate) where a random mask is 1, else 0;  dx = dy / (1 - rate) where it is 1, else 0.

    Without ``rng``, that is when predicting, y = x.

    Args:
        rate: the probability of *dropping* an element, in [0, 1).

    Returns:
        A layer without parameters.

    Raises:
        TypeError: ``rate`` is not a number.
        ValueError: ``rate`` is outside [0, 1).

    Example:
        >>> y, _ = dropout(0.5).apply({}, np.ones((1, 6)), rng=0)
        >>> sorted(set(y.ravel().tolist()))
        [0.0, 2.0]

    Reference:
        Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from overfitting", section 4.
    """
    rate = checks.real("dropout", "rate", rate)
    if not 0 <= rate < 1:
        raise ValueError(f"dropout: rate is the probability of dropping, in [0, 1), got {shown(rate)}")

    @per_example
    def apply(params: Params, x: Array, rng: Rng | None = None) -> tuple[Array, Vjp]:
        contract.no_params("dropout", params)
        checks.float_array("dropout", x)
        if rng is None or rate == 0:
            return identity.apply(params, x, rng)
        kept, scale = generator(rng).random(x.shape, np.float32) >= rate, x.dtype.type(1 / (1 - rate))
        y = select(x, kept)
        y *= scale
        like = contract.form(y)

        def vjp_fn(dy: Array, input_grad: bool = True) -> tuple[Params, Array | None]:
            contract.gradient("dropout", dy, like)
            if not input_grad:
                return {}, None
            dx = select(dy, kept)
            dx *= scale
            return {}, dx

        return y, vjp_fn

    return Layer(no_params, apply)
