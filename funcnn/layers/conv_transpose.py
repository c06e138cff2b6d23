"""A transposed convolution is a convolution run backwards: each pixel makes a window, and windows add up.

It makes images larger where a convolution makes them smaller, by the same factor. Its three products are those of the
convolution with exchanged roles, see ``kernels/transposed``. The number of axes is an argument of ``_conv_transpose``,
which has the logic; the constructors below it describe it for series, images and volumes.
"""

# A vjp_fn is defined at each call of apply; like this its annotations cost nothing there.
from __future__ import annotations

import math
from typing import Any

from funcnn import checks, contract
from funcnn.aliases import Array, Padding, Padding1d, Params, PerAxis, Rng, Shape, Size
from funcnn.initializers import InitializerLike, he_normal, zeros
from funcnn.kernels.epilogue import Epilogue
from funcnn.kernels.layout import for_kernels
from funcnn.kernels.moments import channel_sums
from funcnn.kernels.transposed import transposed_convolve, transposed_input_gradient, transposed_kernel_gradient
from funcnn.kernels.windows import FLAT, LINE, SOLID, Axes, Sizes, Window, as_window
from funcnn.layers.activation import Activation, fuse
from funcnn.layers.conv import reads_one_step
from funcnn.layers.weights import weights
from funcnn.protocol import Layer, Vjp, layer, per_example, per_position
from funcnn.rng import check_rng
from funcnn.wording import shown

__all__ = ["conv_transpose1d", "conv_transpose2d", "conv_transpose3d"]


def _conv_transpose(
    kind: str, axes: Axes, filters: Size, kernel: PerAxis, stride: PerAxis, padding: Any, output_padding: PerAxis,
    dilation: PerAxis, groups: Size, bias: bool, activation: Activation, w_init: InitializerLike,
    b_init: InitializerLike,
) -> Layer:  # fmt: skip
    """The transposed convolution over some axes; the constructors below describe the arguments."""
    filters, groups = checks.size(kind, "filters", filters), checks.size(kind, "groups", groups)
    if filters % groups:
        raise ValueError(f"{kind}: filters must be a multiple of groups, got {filters} filters in {groups} groups")
    window = as_window(kind, axes, kernel, stride, padding, dilation)
    extra = _output_padding(kind, axes, output_padding, window)
    activate = fuse(kind, activation)
    words = ", ".join((*axes, "channels"))
    per_group = filters // groups
    own = weights(kind, f"batch, {words}", (*window.size, per_group, None), bias, w_init, b_init, units=filters)

    def init(shape: Shape, rng: Rng) -> Params:
        example = checks.example_shape(kind, shape)
        checks.axes(kind, example, words)
        channels = checks.channels(kind, shape)
        window.fit_transposed(kind, example, extra)
        check_groups(channels)
        taps = math.prod(window.size)
        # With a stride, a pixel of the output is reached by some of the taps only.
        fan_in = max(1, round(taps * channels / groups / math.prod(window.stride)))
        return own.init((*window.size, per_group, channels), rng, fan_in, taps * per_group)

    def check_groups(channels: int) -> None:
        if channels % groups:
            raise ValueError(f"{kind}: {channels} channels do not divide into {groups} groups")

    @per_example
    def apply(params: Params, x: Array, rng: Rng | None = None) -> tuple[Array, Vjp]:
        w, b = own.read(params, x)
        check_rng(rng)
        check_groups(x.shape[-1])
        geometry = window.fit_transposed(kind, x.shape, extra)
        z = transposed_convolve(x, w, geometry, groups, Epilogue(b, activation=activate.in_place))
        y, pull = activate.complete(z)
        like = contract.form(y)

        def vjp_fn(dy: Array, input_grad: bool = True) -> tuple[Params, Array | None]:
            contract.gradient(kind, dy, like)
            dz = for_kernels(pull(dy))
            dw = transposed_kernel_gradient(x, dz, geometry, groups)
            grads = own.gradients(dw, lambda: channel_sums(dz))
            return grads, transposed_input_gradient(dz, w, geometry, groups) if input_grad else None

        return y, vjp_fn

    def working_set(x: Array) -> int:
        pixels: int = x.size // max(x.shape[-1], 1) * math.prod(window.stride)
        return max(int(x.size), pixels * filters)

    apply.working_set = working_set  # type: ignore[attr-defined]
    per_position(apply, reads_one_step(window) and not extra[0] and activate.per_position)
    return Layer(init, apply, multiply_adds=lambda params, x, y: params["w"].size * (x.size // x.shape[-1]))


def _output_padding(kind: str, axes: Axes, value: PerAxis, window: Window) -> Sizes:
    """The output padding along each axis; one that a larger input would bring is out of range."""
    found = checks.sizes(kind, "output_padding", value, axes, least=0)
    for extra, stride, dilation in zip(found, window.stride, window.dilation, strict=True):
        if extra >= max(stride, dilation):
            raise ValueError(
                f"{kind}: output_padding must be smaller than the stride or the dilation, got {shown(value)} "
                f"with stride {window.stride} and dilation {window.dilation}"
            )
    if any(found) and window.padding == "same":
        raise ValueError(
            f"{kind}: padding 'same' makes pixels * stride, so leave output_padding out or give the padding in pixels, "
            f"got output_padding {shown(value)}"
        )
    return found


@layer
def conv_transpose1d(
    filters: Size,
    kernel: PerAxis,
    stride: PerAxis = 1,
    padding: Padding1d = "valid",
    output_padding: PerAxis = 0,
    dilation: PerAxis = 1,
    groups: Size = 1,
    bias: bool = True,
    activation: Activation = None,
    w_init: InitializerLike = he_normal,
    b_init: InitializerLike = zeros,
) -> Layer:
    """y = activation(z), z the sum of learned windows, one for each pixel of series, times that pixel.

    Written out::

        z[n, p, f] = b[f] + sum over s, j with s*stride + j*dilation = p + left, and over c, of x[n, s, c] w[j, f, c]

    It is the gradient of ``conv1d`` by its input, with the same arguments. An output has
    (pixels - 1) * stride + (kernel - 1) * dilation + 1 - (left + right) + output_padding pixels, as in PyTorch. In the
    backward pass, with dz the gradient of the loss by z::

        dx = the convolution of dz with w     dw = the sum of each window of dz times its pixel     db = the sum of dz

    Args:
        filters: the number of output channels, ``>= 1``.
        kernel: the window's size in taps.
        stride: pixels of the output from one window to the next.
        padding: pixels cut off the output: ``"valid"`` for none, which is PyTorch's padding 0; ``"same"`` for an output
            of pixels * stride, as in Keras; or ``(left, right)``. Where the stride exceeds the kernel, Keras adds
            stride - kernel pixels to ``"valid"``, as ``output_padding`` does here.
        output_padding: pixels added after the output; smaller than the stride or the dilation.
            A convolution with a stride maps inputs of several sizes to one size, and this chooses among them.
        dilation: pixels of the output from one tap to the next.
        groups: the number of groups into which the channels are cut, each making ``filters / groups`` filters.
        bias: whether to add ``b``.
        activation: a layer without parameters, or its name, applied at once.
        w_init: the initializer of ``w``, of shape (kw, filters / groups, channels), as in Keras. PyTorch's is
            (channels, filters / groups, kw).
        b_init: the initializer of ``b``, of shape (filters,).

    Returns:
        A layer from (batch, width, channels) to (batch, columns, filters).

    Raises:
        TypeError: a flag is not a bool, or an initializer or an activation is not one;
            or, from ``apply``, the input or a parameter is not a plain array of float32 or float64.
        ValueError: an argument is out of range or unknown; the padding cuts off all of the output; the channels do not
            divide into groups or differ from those of ``w``.

    Example:
        >>> import numpy as np
        >>> model = conv_transpose1d(1, 3, stride=2, bias=False)
        >>> w = np.array([1.0, 2.0, 3.0]).reshape(3, 1, 1)
        >>> y, _ = model.apply({"w": w}, np.array([1.0, 10.0]).reshape(1, 2, 1))
        >>> y.ravel()
        array([ 1.,  2., 13., 20., 30.])

    Reference:
        Dumoulin & Visin 2016, "A guide to convolution arithmetic for deep learning", arXiv 1603.07285, chapter 4;
        van den Oord et al. 2016, "WaveNet", arXiv 1609.03499, section 2.5, for upsampling a series.
    """
    return _conv_transpose(
        "conv_transpose1d", LINE, filters, kernel, stride, padding, output_padding, dilation, groups, bias,
        activation, w_init, b_init,
    )  # fmt: skip


@layer
def conv_transpose2d(
    filters: Size,
    kernel: PerAxis,
    stride: PerAxis = 1,
    padding: Padding = "valid",
    output_padding: PerAxis = 0,
    dilation: PerAxis = 1,
    groups: Size = 1,
    bias: bool = True,
    activation: Activation = None,
    w_init: InitializerLike = he_normal,
    b_init: InitializerLike = zeros,
) -> Layer:
    """y = activation(z), z the sum of learned windows, one for each pixel of images, times that pixel.

    Written out, with the pixels (r, s) and taps (i, j) for which r*stride + i*dilation = p + top and
    s*stride + j*dilation = q + left::

        z[n, p, q, f] = b[f] + sum over these r, s, i, j, and over c, of x[n, r, s, c] w[i, j, f, c]

    It is the gradient of ``conv2d`` by its input, with the same arguments. An output has
    (pixels - 1) * stride + (kernel - 1) * dilation + 1 - padding + output_padding pixels along each axis, where the
    padding is that of both sides, as in PyTorch. In the backward pass, with dz the gradient of the loss by z::

        dx = the convolution of dz with w     dw = the sum of each window of dz times its pixel     db = the sum of dz

    Args:
        filters: the number of output channels, ``>= 1``.
        kernel: the window's size in taps, an int or a pair (height, width).
        stride: pixels of the output from one window to the next, an int or a pair.
        padding: pixels cut off the output: ``"valid"`` for none, which is PyTorch's padding 0; ``"same"`` for an output
            of pixels * stride, as in Keras; or ``((top, bottom), (left, right))``. Where the stride exceeds the
            kernel, Keras adds stride - kernel pixels to ``"valid"``, as ``output_padding`` does here.
        output_padding: pixels added after the output, an int or a pair; smaller than the stride or the dilation.
            A convolution with a stride maps inputs of several sizes to one size, and this chooses among them.
        dilation: pixels of the output from one tap to the next, an int or a pair.
        groups: the number of groups into which the channels are cut, each making ``filters / groups`` filters.
        bias: whether to add ``b``.
        activation: a layer without parameters, or its name, applied at once.
        w_init: the initializer of ``w``, of shape (kh, kw, filters / groups, channels), as in Keras. PyTorch's is
            (channels, filters / groups, kh, kw).
        b_init: the initializer of ``b``, of shape (filters,).

    Returns:
        A layer from (batch, height, width, channels) to (batch, rows, columns, filters).

    Raises:
        TypeError: a flag is not a bool, or an initializer or an activation is not one;
            or, from ``apply``, the input or a parameter is not a plain array of float32 or float64.
        ValueError: an argument is out of range or unknown; the padding cuts off all of the output; the channels do not
            divide into groups or differ from those of ``w``.

    Example:
        >>> import numpy as np
        >>> model = conv_transpose2d(8, 3, stride=2, padding="same", activation="relu")
        >>> params = model.init((14, 14, 4), rng=0)
        >>> params["w"].shape
        (3, 3, 8, 4)
        >>> y, _ = model.apply(params, np.zeros((5, 14, 14, 4), np.float32))
        >>> y.shape
        (5, 28, 28, 8)

    Reference:
        Zeiler et al. 2010, "Deconvolutional networks"; Dumoulin & Visin 2016, "A guide to convolution arithmetic for
        deep learning", arXiv 1603.07285, chapter 4.
    """
    return _conv_transpose(
        "conv_transpose2d", FLAT, filters, kernel, stride, padding, output_padding, dilation, groups, bias,
        activation, w_init, b_init,
    )  # fmt: skip


@layer
def conv_transpose3d(
    filters: Size,
    kernel: PerAxis,
    stride: PerAxis = 1,
    padding: Padding = "valid",
    output_padding: PerAxis = 0,
    dilation: PerAxis = 1,
    groups: Size = 1,
    bias: bool = True,
    activation: Activation = None,
    w_init: InitializerLike = he_normal,
    b_init: InitializerLike = zeros,
) -> Layer:
    """y = activation(z), z the sum of learned windows, one for each pixel of volumes, times that pixel.

    Written out, with the pixels (r, s, t) and taps (i, j, k) for which r*stride + i*dilation = o + front, and likewise
    along height and width::

        z[n, o, p, q, f] = b[f] + sum over these r, s, t, i, j, k, and over c, of x[n, r, s, t, c] w[i, j, k, f, c]

    It is the gradient of ``conv3d`` by its input, with the same arguments. An output has
    (pixels - 1) * stride + (kernel - 1) * dilation + 1 - padding + output_padding pixels along each axis, where the
    padding is that of both sides, as in PyTorch. In the backward pass, with dz the gradient of the loss by z::

        dx = the convolution of dz with w     dw = the sum of each window of dz times its pixel     db = the sum of dz

    Args:
        filters: the number of output channels, ``>= 1``.
        kernel: the window's size in taps, an int or a triple (depth, height, width).
        stride: pixels of the output from one window to the next, an int or a triple.
        padding: pixels cut off the output: ``"valid"`` for none, which is PyTorch's padding 0; ``"same"`` for an output
            of pixels * stride, as in Keras; or ``((front, back), (top, bottom), (left, right))``. Where the
            stride exceeds the kernel, Keras adds stride - kernel pixels to ``"valid"``, as ``output_padding`` does
            here.
        output_padding: pixels added after the output, an int or a triple; smaller than the stride or the dilation.
            A convolution with a stride maps inputs of several sizes to one size, and this chooses among them.
        dilation: pixels of the output from one tap to the next, an int or a triple.
        groups: the number of groups into which the channels are cut, each making ``filters / groups`` filters.
        bias: whether to add ``b``.
        activation: a layer without parameters, or its name, applied at once.
        w_init: the initializer of ``w``, of shape (kd, kh, kw, filters / groups, channels), as in Keras. PyTorch's is
            (channels, filters / groups, kd, kh, kw).
        b_init: the initializer of ``b``, of shape (filters,).

    Returns:
        A layer from (batch, depth, height, width, channels) to (batch, planes, rows, columns, filters).

    Raises:
        TypeError: a flag is not a bool, or an initializer or an activation is not one;
            or, from ``apply``, the input or a parameter is not a plain array of float32 or float64.
        ValueError: an argument is out of range or unknown; the padding cuts off all of the output; the channels do not
            divide into groups or differ from those of ``w``.

    Example:
        >>> import numpy as np
        >>> model = conv_transpose3d(8, 2, stride=2)
        >>> params = model.init((4, 5, 6, 1), rng=0)
        >>> y, _ = model.apply(params, np.zeros((5, 4, 5, 6, 1), np.float32))
        >>> y.shape
        (5, 8, 10, 12, 8)

    Reference:
        Çiçek et al. 2016, "3D U-Net", arXiv 1606.06650, section 2, for volumes made larger again.
    """
    return _conv_transpose(
        "conv_transpose3d", SOLID, filters, kernel, stride, padding, output_padding, dilation, groups, bias,
        activation, w_init, b_init,
    )  # fmt: skip
