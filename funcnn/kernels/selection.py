"""Zero beside infinity: a choice between a number and 0 is made by bits, and a row that is certain has a limit.

A product with 0 or 1 does not choose: 0 times infinity is NaN, and so is 0 times NaN. The bits of a number times 0 or 1
are those of 0 or the same bits, whatever the number is, and that is as fast as the product.
"""

from collections.abc import Sequence
from contextlib import suppress
from functools import reduce
from typing import Any

import numpy as np

from funcnn.aliases import Array
from funcnn.engine.memory import empty_like

__all__ = ["BITS", "gated_product", "multiplied", "select", "times"]

BITS = {4: np.int32, 8: np.int64}
"""The integers of the size of a float."""


def select(x: Array, chosen: Array, out: Array | None = None) -> Array:
    """x where ``chosen``, else 0.

    Args:
        x: floats of float32 or float64.
        chosen: booleans that broadcast to the shape of ``x``.
        out: an array like ``x`` that receives the result; it may be ``x`` itself. A new one by default.

    Returns:
        An array like ``x``.

    Example:
        >>> select(np.array([np.inf, np.nan, 3.0]), np.array([False, False, True]))
        array([0., 0., 3.])
    """
    out = empty_like(x) if out is None else out
    if x.dtype != out.dtype:
        x = x.astype(out.dtype)  # of the other byte order
    bits = BITS[x.dtype.itemsize]
    np.multiply(x.view(bits), chosen, out=out.view(bits))
    return out


def multiplied(dy: Array, factors: Sequence[Array]) -> Array:
    """dy times all factors, and 0 where dy is 0, whatever they are there.

    The plain product is that, unless 0 met infinity, which the processor reports, or NaN came out.

    Args:
        dy: floats that broadcast to the shape of the factors.
        factors: arrays of one shape.

    Example:
        >>> multiplied(np.array([0.0, 0.0, 2.0]), [np.array([np.inf, np.nan, 3.0])])
        array([0., 0., 6.])
    """
    with suppress(FloatingPointError), np.errstate(invalid="raise"):
        product = reduce(np.multiply, factors, dy)
        if not np.isnan(np.min(product, initial=0)):
            return product
    counts = dy != 0
    return reduce(np.multiply, [select(factor, counts) for factor in factors], dy)


def gated_product(a: Array, b: Array) -> Array:
    """a * b, and 0 where one of them is 0 and the other infinite; overflow is infinite.

    Example:
        >>> gated_product(np.array([np.inf, np.nan, 2.0]), np.array([0.0, 0.0, 3.0]))
        array([ 0., nan,  6.])
    """
    try:
        with np.errstate(invalid="raise", over="ignore"):
            return a * b
    except FloatingPointError:
        with np.errstate(invalid="ignore", over="ignore"):
            product: Array = np.where((a == 0) & np.isinf(b) | np.isinf(a) & (b == 0), 0, a * b)
        return product


def times(factor: Any, x: Array) -> Array:
    """factor * x, and 0 where the factor is 0, also beside infinity or NaN.

    Example:
        >>> with np.errstate(invalid="ignore"):
        ...     times(np.array([0.0, 2.0]), np.array([np.inf, 3.0]))
        array([0., 6.])
    """
    product: Array = np.where(factor == 0, 0, factor * x)
    return product
