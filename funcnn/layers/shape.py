"""Shape layers move numbers about without changing them; their vjp moves the gradient back where it came from.

Only ``upsample2d`` repeats values, and so its gradient sums over the copies.
"""

# A vjp_fn is defined at each call of apply; like this its annotations cost nothing there.
from __future__ import annotations

import math
from typing import Any

from funcnn.aliases import Array, Params, Rng
from funcnn.kernels.windows import as_pair
from funcnn.protocol import Layer, Vjp, check_float, check_gradient, layer, no_params

__all__ = ["flatten", "reshape", "upsample2d"]


def _flatten(params: Params, x: Array, rng: Rng | None = None) -> tuple[Array, Vjp]:
    """y = x as (batch, everything else);  dx = dy in the shape of x.

    Example:
        >>> import numpy as np
        >>> _flatten({}, np.zeros((5, 2, 3, 4)))[0].shape
        (5, 24)
    """
    check_float("flatten", x)
    return _reshaped("flatten", x, (len(x), math.prod(x.shape[1:])))


flatten = Layer(no_params, _flatten, kind="flatten")
"""y = x as (batch, everything else)."""


@layer
def reshape(*shape: int) -> Layer:
    """y = x with each example in another shape;  dx = dy in the shape of x.

    Args:
        *shape: the new shape of one example; one size may be -1, for whatever is left.

    Returns:
        A layer without parameters.

    Raises:
        ValueError: a size is neither ``>= 1`` nor -1, there are several -1, or the sizes do not fit the input.

    Example:
        >>> import numpy as np
        >>> reshape(28, 28, 1).apply({}, np.zeros((5, 784)))[0].shape
        (5, 28, 28, 1)
    """
    sizes_ok = all(isinstance(n, int) and not isinstance(n, bool) and (n >= 1 or n == -1) for n in shape)
    if not sizes_ok or shape.count(-1) > 1:
        raise ValueError(f"reshape: expected sizes >= 1, at most one of them -1, got {shape}")

    def apply(params: Params, x: Array, rng: Rng | None = None) -> tuple[Array, Vjp]:
        check_float("reshape", x)
        have, known = math.prod(x.shape[1:]), math.prod(n for n in shape if n != -1)
        if have % known if -1 in shape else have != known:
            raise ValueError(f"reshape: an example of shape {x.shape[1:]} has {have} numbers, no room in {shape}")
        return _reshaped("reshape", x, (len(x), *(have // known if n == -1 else n for n in shape)))

    return Layer(no_params, apply)


@layer
def upsample2d(factor: Any) -> Layer:
    """y[n, r, s, c] = x[n, r // fh, s // fw, c], the nearest pixel;  dx = the sum of dy over each block of copies.

    Args:
        factor: copies of each pixel, an int or a pair (height, width).

    Returns:
        A layer from (batch, height, width, channels) to (batch, height * fh, width * fw, channels).

    Raises:
        ValueError: a factor is not a whole number ``>= 1``, or the input is not a batch of images.

    Example:
        >>> import numpy as np
        >>> y, vjp_fn = upsample2d((1, 2)).apply({}, np.array([1.0, 2.0]).reshape(1, 1, 2, 1))
        >>> y.ravel()
        array([1., 1., 2., 2.])
        >>> vjp_fn(np.ones_like(y))[1].ravel()
        array([2., 2.])
    """
    fh, fw = as_pair("upsample2d", "factor", factor)

    def apply(params: Params, x: Array, rng: Rng | None = None) -> tuple[Array, Vjp]:
        check_float("upsample2d", x)
        if x.ndim != 4:
            raise ValueError(
                f"upsample2d: expected an input of axes (batch, height, width, channels), got shape {x.shape}"
            )
        y = x.repeat(fh, axis=1).repeat(fw, axis=2)
        n, h, w, c = x.shape

        def vjp_fn(dy: Array, input_grad: bool = True) -> tuple[Params, Array | None]:
            check_gradient("upsample2d", dy, y)
            return {}, dy.reshape(n, h, fh, w, fw, c).sum((2, 4)) if input_grad else None

        return y, vjp_fn

    return Layer(no_params, apply)


def _reshaped(kind: str, x: Array, shape: tuple[int, ...]) -> tuple[Array, Vjp]:
    """A reshape and its way back."""
    y = x.reshape(shape)

    def vjp_fn(dy: Array, input_grad: bool = True) -> tuple[Params, Array | None]:
        check_gradient(kind, dy, y)
        return {}, dy.reshape(x.shape) if input_grad else None

    return y, vjp_fn
