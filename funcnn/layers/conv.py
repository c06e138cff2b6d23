"""A convolution is a dense layer that looks through a window: the same few weights at every place of the image.

All windows share their weights, so a shifted image gives a shifted output. The products are in ``kernels/convolution``,
with the two gradients in the notation of this page. The number of axes and of groups are arguments of ``_convolution``,
which has the logic; the constructors below it describe it for series, images, volumes, and channels one by one.
"""

# A vjp_fn is defined at each call of apply; like this its annotations cost nothing there.
from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

from funcnn import checks, contract
from funcnn.aliases import Array, Padding, Padding1d, Params, PerAxis, Rng, Shape, Size
from funcnn.initializers import InitializerLike, he_normal, zeros
from funcnn.kernels.convolution import convolve, input_gradient, kernel_gradient
from funcnn.kernels.epilogue import Epilogue
from funcnn.kernels.layout import for_kernels
from funcnn.kernels.moments import channel_sums
from funcnn.kernels.padding import SOURCES, extend_gradient, extend_image
from funcnn.kernels.windows import FLAT, LINE, SOLID, Axes, Window, as_window
from funcnn.layers.activation import Activation, fuse
from funcnn.layers.weights import Weights, weights
from funcnn.protocol import Layer, Vjp, layer, per_example, per_position
from funcnn.rng import check_rng
from funcnn.wording import shown

__all__ = ["conv1d", "conv2d", "conv3d", "depthwise_conv2d"]

PadMode: TypeAlias = Literal["zero", "edge", "reflect", "replicate", "circular"]


def _conv(
    kind: str, axes: Axes, filters: Size, kernel: PerAxis, stride: PerAxis, padding: Any, dilation: PerAxis,
    groups: Size, bias: bool, activation: Activation, pad_mode: PadMode, w_init: InitializerLike,
    b_init: InitializerLike,
) -> Layer:  # fmt: skip
    """The convolution over some axes; the constructors below describe the arguments."""
    filters, groups = checks.size(kind, "filters", filters), checks.size(kind, "groups", groups)
    if filters % groups:
        raise ValueError(f"{kind}: filters must be a multiple of groups, got {filters} filters in {groups} groups")
    window = as_window(kind, axes, kernel, stride, padding, dilation, causal=axes == LINE)
    own = weights(kind, _words(axes), (*window.size, None, filters), bias, w_init, b_init, groups)
    return _convolution(kind, axes, window, own, lambda channels: (groups, filters), activation, pad_mode)


def reads_one_step(window: Window) -> bool:
    """Whether each window stands on one place of the first axis, and there is one at each: a kernel of size 1 there."""
    padding = window.padding if isinstance(window.padding, str) else window.padding[0]
    return window.size[0] == window.stride[0] == 1 and padding in ("valid", "same", (0, 0))


def _words(axes: Axes) -> str:
    """The axes of an input in words."""
    return ", ".join(("batch", *axes, "channels"))


def _convolution(
    kind: str, axes: Axes, window: Window, own: Weights, division: Callable[[int], tuple[int, int]],
    activation: Activation, pad_mode: PadMode,
) -> Layer:  # fmt: skip
    """The pair of any convolution; ``division(channels)`` is the number of groups and that of filters."""
    if not isinstance(pad_mode, str) or pad_mode not in ("zero", *SOURCES):
        raise ValueError(f"{kind}: unknown pad_mode {shown(pad_mode)}, expected 'zero' or one of {[*SOURCES]}")
    activate = fuse(kind, activation)

    def init(shape: Shape, rng: Rng) -> Params:
        example = checks.example_shape(kind, shape)
        checks.axes(kind, example, ", ".join((*axes, "channels")))
        inputs = checks.channels(kind, shape)
        window.fit(kind, example)
        groups, filters = division(inputs)
        if inputs % groups:
            raise ValueError(f"{kind}: {inputs} channels do not divide into {groups} groups")
        taps, channels = math.prod(window.size), inputs // groups
        return own.init((*window.size, channels, filters), rng, taps * channels, taps * filters // groups)

    @per_example
    def apply(params: Params, x: Array, rng: Rng | None = None) -> tuple[Array, Vjp]:
        w, b = own.read(params, x)
        check_rng(rng)
        groups, _ = division(x.shape[-1])
        geometry = window.fit(kind, x.shape)
        image, place = extend_image(kind, for_kernels(x), geometry, pad_mode)
        z = convolve(image, w, place, groups, Epilogue(b, activation=activate.in_place))
        y, pull = activate.complete(z)
        like = contract.form(y)

        def vjp_fn(dy: Array, input_grad: bool = True) -> tuple[Params, Array | None]:
            contract.gradient(kind, dy, like)
            dz = for_kernels(pull(dy))
            grads = own.gradients(kernel_gradient(image, dz, place, groups), lambda: channel_sums(dz))
            if not input_grad:
                return grads, None
            dx = input_gradient(dz, w, place, groups)
            return grads, dx if pad_mode == "zero" else extend_gradient(dx, geometry.padding, pad_mode)

        return y, vjp_fn

    def working_set(x: Array) -> int:
        channels = max(x.shape[-1], 1)
        windows: int = x.size // channels // math.prod(window.stride)
        return max(int(x.size), windows * division(channels)[1])

    apply.working_set = working_set  # type: ignore[attr-defined]
    per_position(apply, reads_one_step(window) and activate.per_position)
    return Layer(init, apply, multiply_adds=lambda params, x, y: params["w"].size * (y.size // y.shape[-1]))


@layer
def conv1d(
    filters: Size,
    kernel: PerAxis,
    stride: PerAxis = 1,
    padding: Padding1d | Literal["causal"] = "valid",
    dilation: PerAxis = 1,
    groups: Size = 1,
    bias: bool = True,
    activation: Activation = None,
    pad_mode: PadMode = "zero",
    w_init: InitializerLike = he_normal,
    b_init: InitializerLike = zeros,
) -> Layer:
    """y = activation(z), z the cross-correlation of series with learned windows.

    Written out, of x with its padding::

        z[n, s, f] = b[f] + sum over j, c of x[n, s*stride + j*dilation, c] w[j, c, f]

    In the backward pass, with dz the gradient of the loss by z::

        dw = the sum of each window of x times its dz      db = the sum of dz      dx = each window's dz times w, added

    Args:
        filters: the number of output channels, ``>= 1``.
        kernel: the window's size in taps.
        stride: pixels (steps of the series) from one window to the next.
        padding: ``"valid"`` (none), ``"same"`` (as many outputs as pixels / stride), ``"causal"`` (as many, and no
            output depends on later pixels: all padding, ``(kernel - 1) * dilation``, is on the left) or pixels as
            ``(left, right)``.
        dilation: pixels from one tap to the next.
        groups: the number of groups into which the channels are cut, each seen by ``filters / groups`` filters; as
            many groups as channels make a depthwise convolution.
        bias: whether to add ``b``.
        activation: a layer without parameters, or its name, applied at once.
        pad_mode: what padding is made of: ``"zero"``, or pixels of the series: ``"edge"`` or ``"replicate"`` for the
            nearest, ``"reflect"``, ``"circular"``; see ``pad``.
        w_init: the initializer of ``w``, of shape (kw, channels / groups, filters).
        b_init: the initializer of ``b``, of shape (filters,).

    Returns:
        A layer from (batch, width, channels) to (batch, columns, filters).

    Raises:
        TypeError: a flag is not a bool, or an initializer or an activation is not one;
            or, from ``apply``, the input or a parameter is not a plain array of float32 or float64.
        ValueError: an argument is out of range or unknown; the window is larger than the input; the channels do not
            divide into groups or differ from those of ``w``.

    Example:
        >>> import numpy as np
        >>> model = conv1d(8, 3, dilation=2, padding="causal", activation="relu")
        >>> params = model.init((100, 2), rng=0)
        >>> params["w"].shape
        (3, 2, 8)
        >>> y, _ = model.apply(params, np.zeros((5, 100, 2), np.float32))
        >>> y.shape
        (5, 100, 8)

    Reference:
        Waibel et al. 1989, "Phoneme recognition using time-delay neural networks"; van den Oord et al. 2016, "WaveNet",
        arXiv 1609.03499, section 2.1, for causal and dilated windows.
    """
    return _conv(
        "conv1d", LINE, filters, kernel, stride, padding, dilation, groups, bias, activation, pad_mode, w_init, b_init
    )


@layer
def conv2d(
    filters: Size,
    kernel: PerAxis,
    stride: PerAxis = 1,
    padding: Padding = "valid",
    dilation: PerAxis = 1,
    groups: Size = 1,
    bias: bool = True,
    activation: Activation = None,
    pad_mode: PadMode = "zero",
    w_init: InitializerLike = he_normal,
    b_init: InitializerLike = zeros,
) -> Layer:
    """y = activation(z), z the cross-correlation of images with learned windows.

    Written out, of x with its padding::

        z[n, r, s, f] = b[f] + sum over i, j, c of x[n, r*stride + i*dilation, s*stride + j*dilation, c] w[i, j, c, f]

    In the backward pass, with dz the gradient of the loss by z::

        dw = the sum of each window of x times its dz      db = the sum of dz      dx = each window's dz times w, added

    Args:
        filters: the number of output channels, ``>= 1``.
        kernel: the window's size in taps, an int or a pair (height, width).
        stride: pixels from one window to the next, an int or a pair.
        padding: ``"valid"`` (none), ``"same"`` (as many outputs as pixels / stride) or pixels as
            ``((top, bottom), (left, right))``.
        dilation: pixels from one tap to the next, an int or a pair.
        groups: the number of groups into which the channels are cut, each seen by ``filters / groups`` filters; as
            many groups as channels make a depthwise convolution.
        bias: whether to add ``b``.
        activation: a layer without parameters, or its name, applied at once.
        pad_mode: what padding is made of: ``"zero"``, or pixels of the image: ``"edge"`` or ``"replicate"`` for the
            nearest, ``"reflect"``, ``"circular"``; see ``pad``.
        w_init: the initializer of ``w``, of shape (kh, kw, channels / groups, filters).
        b_init: the initializer of ``b``, of shape (filters,).

    Returns:
        A layer from (batch, height, width, channels) to (batch, rows, columns, filters).

    Raises:
        TypeError: a flag is not a bool, or an initializer or an activation is not one;
            or, from ``apply``, the input or a parameter is not a plain array of float32 or float64.
        ValueError: an argument is out of range or unknown; the window is larger than the image; the channels do not
            divide into groups or differ from those of ``w``.

    Example:
        >>> import numpy as np
        >>> model = conv2d(8, 3, stride=2, padding="same", activation="relu")
        >>> params = model.init((28, 28, 1), rng=0)
        >>> params["w"].shape
        (3, 3, 1, 8)
        >>> y, _ = model.apply(params, np.zeros((5, 28, 28, 1), np.float32))
        >>> y.shape
        (5, 14, 14, 8)

    Reference:
        LeCun et al. 1989, "Backpropagation applied to handwritten zip code recognition"; Dumoulin & Visin 2016,
        "A guide to convolution arithmetic for deep learning", arXiv 1603.07285.
    """
    return _conv(
        "conv2d", FLAT, filters, kernel, stride, padding, dilation, groups, bias, activation, pad_mode, w_init, b_init
    )


@layer
def conv3d(
    filters: Size,
    kernel: PerAxis,
    stride: PerAxis = 1,
    padding: Padding = "valid",
    dilation: PerAxis = 1,
    groups: Size = 1,
    bias: bool = True,
    activation: Activation = None,
    pad_mode: PadMode = "zero",
    w_init: InitializerLike = he_normal,
    b_init: InitializerLike = zeros,
) -> Layer:
    """y = activation(z), z the cross-correlation of volumes, or of films, with learned windows.

    Written out, of x with its padding, with q, r, s and i, j, k along depth, height and width::

        z[n, q, r, s, f] = b[f] + sum over i, j, k, c of
            x[n, q*stride + i*dilation, r*stride + j*dilation, s*stride + k*dilation, c] w[i, j, k, c, f]

    In the backward pass, with dz the gradient of the loss by z::

        dw = the sum of each window of x times its dz      db = the sum of dz      dx = each window's dz times w, added

    Args:
        filters: the number of output channels, ``>= 1``.
        kernel: the window's size in taps, an int or a triple (depth, height, width).
        stride: pixels from one window to the next, an int or a triple.
        padding: ``"valid"`` (none), ``"same"`` (as many outputs as pixels / stride) or pixels as
            ``((front, back), (top, bottom), (left, right))``.
        dilation: pixels from one tap to the next, an int or a triple.
        groups: the number of groups into which the channels are cut, each seen by ``filters / groups`` filters; as
            many groups as channels make a depthwise convolution.
        bias: whether to add ``b``.
        activation: a layer without parameters, or its name, applied at once.
        pad_mode: what padding is made of: ``"zero"``, or pixels of the volume: ``"edge"`` or ``"replicate"`` for the
            nearest, ``"reflect"``, ``"circular"``; see ``pad``.
        w_init: the initializer of ``w``, of shape (kd, kh, kw, channels / groups, filters).
        b_init: the initializer of ``b``, of shape (filters,).

    Returns:
        A layer from (batch, depth, height, width, channels) to (batch, planes, rows, columns, filters).

    Raises:
        TypeError: a flag is not a bool, or an initializer or an activation is not one;
            or, from ``apply``, the input or a parameter is not a plain array of float32 or float64.
        ValueError: an argument is out of range or unknown; the window is larger than the volume; the channels do not
            divide into groups or differ from those of ``w``.

    Example:
        >>> import numpy as np
        >>> model = conv3d(8, (1, 3, 3), padding="same", activation="relu")
        >>> params = model.init((4, 10, 10, 1), rng=0)
        >>> params["w"].shape
        (1, 3, 3, 1, 8)
        >>> y, _ = model.apply(params, np.zeros((5, 4, 10, 10, 1), np.float32))
        >>> y.shape
        (5, 4, 10, 10, 8)

    Reference:
        Ji, Xu, Yang & Yu 2013, "3D convolutional neural networks for human action recognition", section 2.1.
    """
    return _conv(
        "conv3d", SOLID, filters, kernel, stride, padding, dilation, groups, bias, activation, pad_mode, w_init, b_init
    )


@layer
def depthwise_conv2d(
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
    """y = activation(z), z the cross-correlation of each channel of images with learned windows of its own.

    Written out, of x with its padding, for output f = c*multiplier + m, the m-th of the ``multiplier`` of channel c::

        z[n, r, s, f] = b[f] + sum over i, j of x[n, r*stride + i*dilation, s*stride + j*dilation, c] w[i, j, 0, f]

    It is ``conv2d`` with as many groups as channels, and its gradients are those of ``conv2d``.

    Args:
        kernel: the window's size in taps, an int or a pair (height, width).
        multiplier: the number of output channels for each channel of the input, ``>= 1``.
        stride: pixels from one window to the next, an int or a pair.
        padding: ``"valid"`` (none), ``"same"`` (as many outputs as pixels / stride) or pixels as
            ``((top, bottom), (left, right))``.
        dilation: pixels from one tap to the next, an int or a pair.
        bias: whether to add ``b``.
        activation: a layer without parameters, or its name, applied at once.
        pad_mode: what padding is made of: ``"zero"``, or pixels of the image: ``"edge"`` or ``"replicate"`` for the
            nearest, ``"reflect"``, ``"circular"``; see ``pad``.
        w_init: the initializer of ``w``, of shape (kh, kw, 1, channels * multiplier). PyTorch's is
            (channels * multiplier, 1, kh, kw); Keras's is (kh, kw, channels, multiplier), the same after ``reshape``.
        b_init: the initializer of ``b``, of shape (channels * multiplier,).

    Returns:
        A layer from (batch, height, width, channels) to (batch, rows, columns, channels * multiplier).

    Raises:
        TypeError: a flag is not a bool, or an initializer or an activation is not one;
            or, from ``apply``, the input or a parameter is not a plain array of float32 or float64.
        ValueError: an argument is out of range or unknown; the window is larger than the image; the channels differ
            from those of ``w``.

    Example:
        >>> import numpy as np
        >>> model = depthwise_conv2d(3, multiplier=2, padding="same", activation="relu")
        >>> params = model.init((28, 28, 4), rng=0)
        >>> params["w"].shape
        (3, 3, 1, 8)
        >>> y, _ = model.apply(params, np.zeros((5, 28, 28, 4), np.float32))
        >>> y.shape
        (5, 28, 28, 8)

    Reference:
        Howard et al. 2017, "MobileNets", arXiv 1704.04861, section 3.1, equation 3.
    """
    kind = "depthwise_conv2d"
    times = checks.size(kind, "multiplier", multiplier)
    window = as_window(kind, FLAT, kernel, stride, padding, dilation)
    own = weights(kind, _words(FLAT), (*window.size, 1, None), bias, w_init, b_init, multiplier=times)
    return _convolution(kind, FLAT, window, own, lambda channels: (channels, channels * times), activation, pad_mode)
