"""Products of matrices with a bias and an activation by oneDNN, where they save passes over a tall output.

NumPy's BLAS is faster at the product itself: ``scope`` says for which few shapes that does not decide.
"""

import numpy as np

import funcnn.kernels.onednn.codes as codes
import funcnn.kernels.onednn.scope as scope
from funcnn.aliases import Array
from funcnn.engine.memory import empty
from funcnn.kernels.epilogue import Activation
from funcnn.kernels.onednn.arrays import contiguous, strides_of
from funcnn.kernels.onednn.primitives import Primitive, compiled, description, descriptor
from funcnn.kernels.windows import Sizes

__all__ = ["product"]


def product(a: Array, b: Array, plus: Array | None = None, activation: Activation | None = None) -> Array | None:
    """As ``products.product``."""
    if plus is None or not scope.multiplies(a, b):
        return None
    fused = scope.post_ops(activation, a, b, plus)
    made = _product((a.size // a.shape[-1], *b.shape), fused)
    if made is None:
        return None
    y = empty((*a.shape[:-1], b.shape[1]), np.float32)
    made(*map(contiguous, (a, b)), y, contiguous(plus))
    if activation is not None and not fused:
        activation(y)
    return y


@compiled
def _product(sizes: Sizes, fused: scope.PostOps) -> Primitive:
    """The product of (rows, inner) and (inner, columns), with a bias."""
    rows, inner, columns = sizes
    shapes = (rows, inner), (inner, columns), (1, columns), (rows, columns)
    a, b, bias, y = (descriptor(shape, strides_of(shape)) for shape in shapes)
    described = description("matmul", a, b, bias, y, after=fused)
    return Primitive(described, {codes.SRC: a, codes.WEIGHTS: b, codes.DST: y, codes.BIAS: bias})
