"""A separable convolution looks at places and at channels one after the other, which costs a fraction of both at once.

It is a chain of two layers: a depthwise convolution, and a convolution of one pixel over what came out.
"""

from __future__ import annotations

from funcnn.aliases import Padding, PerAxis, Size
from funcnn.combinators.chains import serial
from funcnn.initializers import InitializerLike, he_normal, zeros
from funcnn.layers.activation import Activation
from funcnn.layers.conv import PadMode, conv2d, depthwise_conv2d
from funcnn.protocol import Layer, layer, named

__all__ = ["separable_conv2d"]


@layer
def separable_conv2d(
    filters: Size,
    kernel: PerAxis,
    multiplier: Size = 1,
    stride: PerAxis = 1,
    padding: Padding = "valid",
    dilation: PerAxis = 1,
    bias: bool = True,
    activation: Activation = None,
    pad_mode: PadMode = "zero",
    w_init: InitializerLike = he_normal,
    b_init: InitializerLike = zeros,
) -> Layer:
    """y = activation(b + sum over c, m of d[..., c, m] w[c, m]), d the depthwise convolution of x, as in Keras.

    It is ``serial`` of ``depthwise_conv2d(kernel, multiplier, ..., bias=False)``, called ``depthwise``, and
    ``conv2d(filters, 1, ...)``, called ``pointwise``. With kh * kw taps, c channels and f filters a pixel costs
    c * multiplier * (kh * kw + f) multiply-adds; ``conv2d`` costs c * kh * kw * f.

    Args:
        filters: the number of output channels, ``>= 1``.
        kernel: the size in taps of the depthwise window, an int or a pair (height, width).
        multiplier: the number of depthwise outputs for each channel of the input, ``>= 1``.
        stride: pixels from one window to the next, an int or a pair.
        padding: ``"valid"`` (none), ``"same"`` (as many outputs as pixels / stride) or pixels as
            ``((top, bottom), (left, right))``.
        dilation: pixels from one tap to the next, an int or a pair.
        bias: whether to add ``b``, at the end.
        activation: a layer without parameters, or its name, applied at the end.
        pad_mode: what padding is made of: ``"zero"``, or pixels of the image: ``"edge"`` or ``"replicate"`` for the
            nearest, ``"reflect"``, ``"circular"``; see ``pad``.
        w_init: the initializer of both ``w``: ``depthwise/w`` of shape (kh, kw, 1, channels * multiplier) and
            ``pointwise/w`` of shape (1, 1, channels * multiplier, filters).
        b_init: the initializer of ``pointwise/b``, of shape (filters,).

    Returns:
        A layer from (batch, height, width, channels) to (batch, rows, columns, filters).

    Raises:
        TypeError: a flag is not a bool, or an initializer or an activation is not one;
            or, from ``apply``, the input or a parameter is not a plain array of float32 or float64.
        ValueError: an argument is out of range or unknown; the window is larger than the image; the channels differ
            from those of ``depthwise/w``.

    Example:
        >>> import funcnn as fn, numpy as np
        >>> model = fn.separable_conv2d(16, 3, padding="same", activation="relu")
        >>> params = model.init((28, 28, 4), rng=0)
        >>> fn.tree.paths(params)
        ['depthwise/w', 'pointwise/b', 'pointwise/w']
        >>> y, _ = model.apply(params, np.zeros((5, 28, 28, 4), np.float32))
        >>> y.shape
        (5, 28, 28, 16)

    Reference:
        Chollet 2017, "Xception: deep learning with depthwise separable convolutions", arXiv 1610.02357.
    """
    depthwise = depthwise_conv2d(kernel, multiplier, stride, padding, dilation, False, None, pad_mode, w_init)
    pointwise = conv2d(filters, 1, bias=bias, activation=activation, w_init=w_init, b_init=b_init)
    return serial(named("depthwise", depthwise), named("pointwise", pointwise))
