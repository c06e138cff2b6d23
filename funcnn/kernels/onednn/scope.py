"""Which calls oneDNN takes: the one place where the choice between its kernels and NumPy's is made.

It computes in float32, on arrays that have elements. NumPy does everything else: padding that cuts pixels off, numbers
that are not finite where oneDNN would lose them, and what is too small to be worth a call.
"""

import math
from functools import lru_cache
from typing import TypeAlias

import numpy as np

import funcnn.kernels.onednn.codes as codes
from funcnn.aliases import Array
from funcnn.engine import threads
from funcnn.engine.microbatch import MICROBATCH_MIN
from funcnn.kernels.epilogue import Activation
from funcnn.kernels.softmax import by_class_is_faster
from funcnn.kernels.tuning import TUNING
from funcnn.kernels.windows import Geometry, Padding

__all__ = [
    "PostOps", "are_tame", "averages", "computes", "convolves", "is_relu", "multiplies", "normalizes",
    "normalizes_rows", "padding_of", "parts", "picks", "pools", "post_ops", "repays", "softens",
]  # fmt: skip

PostOps: TypeAlias = tuple[tuple[str, int, float, float], ...]
"""The post-ops of a primitive: names, algorithms and their two constants."""


MIN_ROWS, MAX_INNER = 1024, 64
"""Of a product that oneDNN computes."""

MIN_MULTIPLY_ADDS = 1 << 25
"""Of a convolution that is computed in two parts: a thread takes 0.3 ms for it, and 0.1 ms to wake another one."""

MAX_WEIGHTS_PER_PIXEL = 128
"""Of a kernel and the pixels that it convolves: oneDNN copies the kernel at each call, which takes 1 ns a weight."""

MIN_MULTIPLY_ADDS_OF_FEW = 1 << 18
"""Of a convolution of a few examples: NumPy computes a smaller one in the time in which oneDNN is called."""

MIN_ELEMENTS = 256
"""Of an array whose rows oneDNN computes."""


def computes(*arrays: Array) -> bool:
    """Whether all arrays are of float32, in any byte order, and have elements."""
    return all(array.dtype.char == "f" and array.size for array in arrays)


def convolves(x: Array, w: Array, geometry: Geometry) -> bool:
    """Whether oneDNN can convolve these arrays: x or dy with the kernel, or x with dy."""
    return computes(x, w) and padding_of(geometry) is not None


def repays(examples: int, kernel: int, geometry: Geometry) -> bool:
    """Whether a convolution of some examples is worth a call, and the copy of a kernel of some weights.

    Of a few examples NumPy keeps the order of memory, so that it costs nothing to leave a single convolution to it.
    """
    if examples > TUNING.small_batch_max:
        return True
    pixels = examples * math.prod(geometry.counts)
    return kernel <= MAX_WEIGHTS_PER_PIXEL * pixels and kernel * pixels >= MIN_MULTIPLY_ADDS_OF_FEW


def parts(examples: int, kernel: int, geometry: Geometry) -> int:
    """In how many parts a convolution of some examples, with a kernel of some weights, is computed: one or two.

    Whoever cuts batches leaves few examples together, and a microbatch has one core only. Both follow from the model
    and the shapes, so that the bits do not depend on threads.
    """
    if examples >= 2 * MICROBATCH_MIN or examples % 2 or threads.in_task():
        return 1
    return 2 if examples * math.prod(geometry.counts) * kernel >= MIN_MULTIPLY_ADDS else 1


def picks(x: Array, pick: np.ufunc, geometry: Geometry) -> bool:
    """Whether oneDNN can pick the largest of each window: it loses NaN, and -inf in a window of nothing else."""
    return pick is np.maximum and pools(x, geometry) and are_tame(x)


def averages(x: Array, geometry: Geometry) -> bool:
    """Whether oneDNN can take the mean of each window: its sums must not overflow."""
    return pools(x, geometry) and are_tame(x)


def pools(x: Array, geometry: Geometry) -> bool:
    """Whether oneDNN can pool an image, or its gradient."""
    return computes(x) and padding_of(geometry) is not None


def normalizes(x: Array) -> bool:
    """Whether oneDNN computes the sums and the affine maps of a batch norm: for images, whose calls are worth it."""
    return x.ndim > 2 and computes(x)


def normalizes_rows(x: Array, groups: int | None, centred: bool) -> bool:
    """Whether oneDNN computes this norm of single examples: the layer norm, which is that of rows."""
    return groups is None and centred and takes_rows(x)


def takes_rows(x: Array) -> bool:
    """Whether the rows of an array are worth a call of oneDNN, which takes 6 microseconds besides."""
    return x.size >= MIN_ELEMENTS and computes(x)


def softens(x: Array) -> bool:
    """Whether oneDNN computes a softmax: not that of many short rows, which takes it twice as long as NumPy."""
    return takes_rows(x) and not by_class_is_faster(x)


def multiplies(a: Array, b: Array) -> bool:
    """Whether oneDNN computes a product with a bias and an activation faster than BLAS.

    It is tall, and short inside, so that the passes over the output count. BLAS takes 0.5 to 0.8 of oneDNN's time for
    the others.
    """
    rows = a.size // max(a.shape[-1], 1)
    return rows >= MIN_ROWS and a.shape[-1] <= MAX_INNER and a.ndim < 4 and computes(a, b)


@lru_cache(maxsize=256)
def padding_of(geometry: Geometry) -> Padding | None:
    """The padding of windows, with 0 for what cuts off pixels that no window sees; None if it cuts off others."""
    found = []
    for size, step, pixels, count, (low, high) in zip(
        geometry.effective_size, geometry.stride, geometry.pixels, geometry.counts, geometry.padding, strict=True
    ):
        if low < 0 or (high < 0 and (pixels + low - size) // step + 1 != count):
            return None
        found.append((low, max(high, 0)))
    return tuple(found)


def post_ops(activation: Activation | None, *inputs: Array) -> PostOps:
    """The post-ops that are an activation's; none if oneDNN computes another function, or could lose a NaN.

    Its relu of NaN is 0. There is none if sums of squares say that the inputs are finite, and so small that their
    products are.
    """
    if activation is None or activation.name not in ("relu", "leaky_relu", "relu6") or not are_tame(*inputs):
        return ()
    if activation.name == "relu6":
        return (("eltwise", codes.CLIP, 0.0, 6.0),)
    slope = activation.constants[0] if activation.constants else 0.0
    return (("eltwise", codes.RELU, slope, 0.0),)


def is_relu(activation: Activation | None) -> bool:
    """Whether an activation is the one that oneDNN can compute with a norm."""
    return activation is not None and activation.name == "relu"


def are_tame(*arrays: Array) -> bool:
    """Whether the sums of squares are finite: no element is NaN or infinite, and none is above 1.8e19.

    It is one pass over memory, the cheapest there is.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        for x in arrays:
            flat = x.reshape(-1)  # a view of what oneDNN takes; a copy of what it copies anyway
            if not np.dot(flat, flat) < np.inf:
                return False
    return True
