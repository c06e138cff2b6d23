"""Transposed convolution: the three functions of a convolution with their roles exchanged.

A convolution maps many pixels to fewer windows, and its input gradient maps windows back to pixels. The transposed
convolution takes that gradient as its forward pass, so its own input gradient is the convolution::

                       forward pass        gradient of the input     gradient of the kernel
    convolution        convolve(x, w)      input_gradient(dy, w)     kernel_gradient(x, dy)
    transposed         input_gradient(x, w)     convolve(dy, w)      kernel_gradient(dy, x)

So ``geometry`` is that of the convolution back: of its windows on y, one for each pixel of x.
"""

from funcnn.aliases import Array
from funcnn.kernels.convolution import convolve, input_gradient, kernel_gradient
from funcnn.kernels.epilogue import NO_EPILOGUE, Epilogue
from funcnn.kernels.tuning import TUNING, Tuning
from funcnn.kernels.windows import Geometry

__all__ = ["transposed_convolve", "transposed_input_gradient", "transposed_kernel_gradient"]


def transposed_convolve(
    x: Array, w: Array, geometry: Geometry, groups: int = 1, epilogue: Epilogue = NO_EPILOGUE, tuning: Tuning = TUNING
) -> Array:
    """y[n, p, f] = sum of x[n, r, c] * w[i, f, c] over all r and taps i with r*stride + i*dilation = p + padding.

    Args:
        x: (batch, *counts, channels).
        w: (*size, filters / groups, channels).
        geometry: the windows on y, one for each pixel of x.
        groups: filters of group g see the channels of group g only.
        epilogue: what is done to y.
        tuning: the tuning constants.

    Returns:
        y: (batch, *pixels, filters).

    Reference:
        Dumoulin & Visin 2016, "A guide to convolution arithmetic for deep learning", arXiv 1603.07285, chapter 4.
    """
    return input_gradient(x, w, geometry, groups, epilogue, tuning)


def transposed_kernel_gradient(
    x: Array, dy: Array, geometry: Geometry, groups: int = 1, tuning: Tuning = TUNING
) -> Array:
    """dw[i, f, c] = sum over n, r of x[n, r, c] * dy[n, r*stride + i*dilation - padding, f].

    Args:
        x: (batch, *counts, channels).
        dy: (batch, *pixels, filters).
        geometry: as in ``transposed_convolve``.
        groups: as in ``transposed_convolve``.
        tuning: the tuning constants.

    Returns:
        dw: (*size, filters / groups, channels).
    """
    return kernel_gradient(dy, x, geometry, groups, tuning)


def transposed_input_gradient(
    dy: Array, w: Array, geometry: Geometry, groups: int = 1, tuning: Tuning = TUNING
) -> Array:
    """dx[n, r, c] = sum over i, f of dy[n, r*stride + i*dilation - padding, f] * w[i, f, c].

    Args:
        dy: (batch, *pixels, filters).
        w: (*size, filters / groups, channels).
        geometry: as in ``transposed_convolve``.
        groups: as in ``transposed_convolve``.
        tuning: the tuning constants.

    Returns:
        dx: (batch, *counts, channels).
    """
    return convolve(dy, w, geometry, groups, tuning=tuning)
