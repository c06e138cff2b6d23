"""A convolution is a dense layer that looks through a window: the same few weights at every place of the image.

All windows share their weights, so a shifted image gives a shifted output. The products are in ``kernels/convolution``,
with the two gradients in the notation of this page.
"""

# A vjp_fn is defined at each call of apply; like this its annotations cost nothing there.
from __future__ import annotations

from typing import Any

from funcnn import checks
from funcnn.aliases import Array, Params, Rng, Shape
from funcnn.initializers import Initializer, he_normal, zeros
from funcnn.kernels.convolution import Epilogue, convolve, input_gradient, kernel_gradient
from funcnn.kernels.moments import channel_sums
from funcnn.kernels.windows import NO_PADDING, Window, as_padding, pad_edges, unpad_edges
from funcnn.layers.activation import fuse
from funcnn.protocol import Layer, Vjp, layer, per_example
from funcnn.rng import fold

__all__ = ["conv2d"]

AXES = "batch, height, width, channels"


@layer
def conv2d(
    filters: int,
    kernel: Any,
    stride: Any = 1,
    padding: Any = "valid",
    dilation: Any = 1,
    groups: int = 1,
    bias: bool = True,
    activation: Any = None,
    pad_mode: str = "zero",
    w_init: Initializer = he_normal,
    b_init: Initializer = zeros,
) -> Layer:
    """y = activation(z), z the cross-correlation of images with learned windows.

    Written out::

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
        groups: the channels are cut into so many groups, each seen by ``filters / groups`` filters; as many groups
            as channels make a depthwise convolution.
        bias: whether to add ``b``.
        activation: a layer without parameters, or its name, applied at once.
        pad_mode: what padding is made of: ``"zero"``, or ``"edge"`` for the nearest pixel of the image.
        w_init: the initializer of ``w``, of shape (kh, kw, channels / groups, filters).
        b_init: the initializer of ``b``, of shape (filters,).

    Returns:
        A layer from (batch, height, width, channels) to (batch, rows, columns, filters).

    Raises:
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
    filters, groups = checks.size("conv2d", "filters", filters), checks.size("conv2d", "groups", groups)
    if filters % groups:
        raise ValueError(f"conv2d: filters must be a multiple of groups, got {filters} filters in {groups} groups")
    if pad_mode not in ("zero", "edge"):
        raise ValueError(f"conv2d: unknown pad_mode {pad_mode!r}, expected 'zero' or 'edge'")
    window = Window(
        checks.pair("conv2d", "kernel", kernel),
        checks.pair("conv2d", "stride", stride),
        checks.pair("conv2d", "dilation", dilation),
        as_padding("conv2d", padding),
    )
    activate = fuse("conv2d", activation)
    shapes: dict[str, tuple[int | None, ...]] = {"w": (*window.size, None, filters)}
    read = checks.parameters("conv2d", AXES, groups, **shapes | ({"b": (filters,)} if bias else {}))

    def init(shape: Shape, rng: Rng) -> Params:
        checks.axes("conv2d", shape, "height, width, channels")
        window.fit("conv2d", shape)
        if shape[2] % groups:
            raise ValueError(f"conv2d: {shape[2]} channels do not divide into {groups} groups")
        taps = window.size[0] * window.size[1]
        fans = taps * shape[2] // groups, taps * filters // groups
        params = {"w": w_init((*window.size, shape[2] // groups, filters), fold(rng, "w"), *fans)}
        return params | {"b": b_init((filters,), fold(rng, "b"), *fans)} if bias else params

    @per_example
    def apply(params: Params, x: Array, rng: Rng | None = None) -> tuple[Array, Vjp]:
        w, *b = read(params, x)
        counts, padding = window.fit("conv2d", x.shape)
        image, zeros_around = (pad_edges(x, padding), NO_PADDING) if pad_mode == "edge" else (x, padding)
        z = convolve(
            image, w, window, counts, zeros_around, groups, Epilogue(b[0] if bias else None, activate.in_place)
        )
        y, pull = activate.complete(z)

        def vjp_fn(dy: Array, input_grad: bool = True) -> tuple[Params, Array | None]:
            checks.gradient("conv2d", dy, y)
            dz = pull(dy)
            grads = {"w": kernel_gradient(image, dz, w.shape, window, zeros_around, groups)}
            if bias:
                grads["b"] = channel_sums(dz)
            if not input_grad:
                return grads, None
            dx = input_gradient(dz, w, image.shape, window, zeros_around, groups)
            return grads, unpad_edges(dx, padding) if pad_mode == "edge" else dx

        return y, vjp_fn

    return Layer(init, apply, multiply_adds=lambda params, x, y: params["w"].size * (y.size // filters))
