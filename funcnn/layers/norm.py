"""Norms of single examples give groups of elements of one example mean 0 and variance 1, or length 1.

Unlike batch norm they do not look across the batch: training and predicting are the same, a batch of one works, and
nothing is measured. They differ only in the groups: the channels of one position, or all pixels of some channels.
"""

# A vjp_fn is defined at each call of apply; like this its annotations cost nothing there.
from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from funcnn import checks, contract
from funcnn.aliases import Array, Params, Rng, Shape, Size
from funcnn.kernels.normalize import normalization
from funcnn.layers.activation import Activation, fuse
from funcnn.protocol import Layer, Vjp, elements_of, is_after_time, layer, per_example, per_position, stateless
from funcnn.rng import check_rng

__all__ = ["group_norm", "instance_norm", "l2_normalize", "layer_norm", "rms_norm"]

AXES = "batch, ..., channels"


@layer
def layer_norm(
    axes: Size = 1, eps: float = 1e-5, scale: bool = True, shift: bool = True, activation: Activation = None
) -> Layer:
    """y = activation(scale * (x - mean) / sqrt(var + eps) + shift), over the last axis or the last axes.

    The variance is that of the elements, not an estimate of another one (it divides by their number), and ``eps``
    stands inside of the root, as in PyTorch. In the backward pass, with u = (x - mean) / sqrt(var + eps), E the mean
    over the same axes, dz the gradient before the activation and g = dz * scale::

        dscale = sum of dz u     dshift = sum of dz     dx = (g - E[g] - u E[g u]) / sqrt(var + eps)

    Args:
        axes: how many trailing axes are normalized together, ``>= 1``; PyTorch's ``normalized_shape`` is their shape.
        eps: added to the variance, ``>= 1e-12``, so that constant elements give ``shift`` and not 0 / 0.
        scale: whether there is a learned ``scale`` of the shape of these axes.
        shift: whether there is a learned ``shift`` of the same shape.
        activation: a layer without parameters, or its name, applied at once.

    Returns:
        A layer from (batch, ..., channels) to the same, with parameters ``scale``, which starts as 1, and ``shift``.

    Raises:
        TypeError: ``eps`` is not a number, a flag is not a bool, or the activation is not one.
        ValueError: ``axes`` or ``eps`` is too small, or the activation is unknown; or, from ``init`` and ``apply``,
            an example has fewer axes.

    Example:
        >>> model = layer_norm()
        >>> params = model.init((2,), rng=0)
        >>> y, _ = model.apply(params, np.array([[1, 3], [10, 30]], np.float32))
        >>> y.round(3)
        array([[-1.,  1.],
               [-1.,  1.]], dtype=float32)

    Reference:
        Ba, Kiros & Hinton 2016, "Layer normalization", arXiv 1607.06450, equation 3.
    """
    flags = {"scale": checks.flag("layer_norm", "scale", scale), "shift": checks.flag("layer_norm", "shift", shift)}
    return _trailing("layer_norm", axes, checks.eps("layer_norm", eps), flags, activation, centred=True)


@layer
def rms_norm(axes: Size = 1, eps: float | None = None, scale: bool = True, activation: Activation = None) -> Layer:
    """y = activation(scale * x / sqrt(E[x^2] + eps)), with E the mean over the last axis or the last axes.

    It is layer norm without mean and shift. In the backward pass, with u = x / sqrt(E[x^2] + eps), dz the gradient
    before the activation and g = dz * scale::

        dscale = sum of dz u     dx = (g - u E[g u]) / sqrt(E[x^2] + eps)

    Args:
        axes: how many trailing axes are normalized together, ``>= 1``.
        eps: added to the mean of the squares, ``>= 1e-12``. By default it is the precision of the input, as in
            PyTorch: 1.2e-7 in float32, 2.2e-16 in float64.
        scale: whether there is a learned ``scale`` of the shape of these axes.
        activation: a layer without parameters, or its name, applied at once.

    Returns:
        A layer from (batch, ..., channels) to the same, with the parameter ``scale``, which starts as 1.

    Raises:
        TypeError: ``eps`` is not a number, ``scale`` is not a bool, or the activation is not one.
        ValueError: ``axes`` or ``eps`` is too small, or the activation is unknown; or, from ``init`` and ``apply``,
            an example has fewer axes.

    Example:
        >>> y, _ = rms_norm(scale=False).apply({}, np.array([[1.0, 7.0]]))
        >>> y
        array([[0.2, 1.4]])

    Reference:
        Zhang & Sennrich 2019, "Root mean square layer normalization", arXiv 1910.07467, equation 4.
    """
    own = None if eps is None else checks.eps("rms_norm", eps)
    flags = {"scale": checks.flag("rms_norm", "scale", scale), "shift": False}
    return _trailing("rms_norm", axes, own, flags, activation, centred=False)


@layer
def group_norm(groups: Size, eps: float = 1e-5, affine: bool = True, activation: Activation = None) -> Layer:
    """y = activation(scale * (x - mean) / sqrt(var + eps) + shift), over all pixels of a group of channels.

    The channels are divided into ``groups`` of neighbours. In the backward pass, with u = (x - mean) / sqrt(var + eps),
    E the mean over the pixels and channels of a group, dz the gradient before the activation and g = dz * scale::

        dscale = sum of dz u     dshift = sum of dz     dx = (g - E[g] - u E[g u]) / sqrt(var + eps)

    Args:
        groups: into how many groups the channels are divided, ``>= 1``; they must be a multiple of it.
        eps: added to the variance, ``>= 1e-12``.
        affine: whether there are a learned ``scale`` and a learned ``shift`` for each channel.
        activation: a layer without parameters, or its name, applied at once.

    Returns:
        A layer from (batch, ..., channels) to the same, with parameters ``scale``, which starts as 1, and ``shift``.

    Raises:
        TypeError: ``eps`` is not a number, ``affine`` is not a bool, or the activation is not one.
        ValueError: ``groups`` or ``eps`` is too small, or the activation is unknown; or, from ``init`` and ``apply``,
            the groups do not divide the channels.

    Example:
        >>> y, _ = group_norm(2, affine=False).apply({}, np.array([[1.0, 3.0, 5.0, 9.0]]))
        >>> y.round(3)
        array([[-1.,  1., -1.,  1.]])

    Reference:
        Wu & He 2018, "Group normalization", arXiv 1803.08494, equations 1 to 3 and 7.
    """
    groups, affine = checks.size("group_norm", "groups", groups), checks.flag("group_norm", "affine", affine)
    own = checks.eps("group_norm", eps)

    def check(shape: Shape) -> None:
        if shape[-1] % groups:
            raise ValueError(
                f"group_norm: groups must divide the channels, got {groups} groups of {shape[-1]} channels"
            )

    return _norm("group_norm", own, {"scale": affine, "shift": affine}, activation, check, lambda channels: groups)


@layer
def instance_norm(eps: float = 1e-5, affine: bool = False, activation: Activation = None) -> Layer:
    """y = activation(scale * (x - mean) / sqrt(var + eps) + shift), over the pixels of each channel of each example.

    It is group norm with a group for each channel. Unlike that of PyTorch, which can track statistics, it always
    takes those of the example.

    Args:
        eps: added to the variance, ``>= 1e-12``.
        affine: whether there are a learned ``scale`` and a learned ``shift`` for each channel.
        activation: a layer without parameters, or its name, applied at once.

    Returns:
        A layer from (batch, ..., channels) to the same, with parameters ``scale`` and ``shift`` if it is ``affine``.

    Raises:
        TypeError: ``eps`` is not a number, ``affine`` is not a bool, or the activation is not one.
        ValueError: ``eps`` is too small, or the activation is unknown; or, from ``init`` and ``apply``, an example has
            one pixel only.

    Example:
        >>> y, _ = instance_norm().apply({}, np.array([[[1.0, 10.0], [3.0, 30.0]]]))
        >>> y.round(3)
        array([[[-1., -1.],
                [ 1.,  1.]]])

    Reference:
        Ulyanov, Vedaldi & Lempitsky 2016, "Instance normalization", arXiv 1607.08022, equation 7.
    """
    affine, own = checks.flag("instance_norm", "affine", affine), checks.eps("instance_norm", eps)

    def check(shape: Shape) -> None:
        if math.prod(shape[:-1]) == 1:
            raise ValueError(
                f"instance_norm: expected examples (..., channels) with more than 1 pixel, got {shape}; "
                "layer_norm normalizes over the channels"
            )

    return _norm("instance_norm", own, {"scale": affine, "shift": affine}, activation, check, lambda channels: channels)


@layer
def l2_normalize(axis: int = -1, eps: float = 1e-12) -> Layer:
    """y = x / max(|x|, eps), with |x| the root of the sum of squares along an axis.

    In the backward pass dx = (dy - y (sum of dy y)) / |x|; where |x| is less than ``eps``, dx = dy / eps.

    Args:
        axis: the axis of x along which y has length 1, counted with the batch axis; the channels by default, never 0.
        eps: the length below which a vector keeps its direction and is divided by ``eps``, ``>= 1e-12``.

    Returns:
        A layer without parameters.

    Raises:
        TypeError: ``eps`` is not a number.
        ValueError: ``axis`` is not a whole number or is the batch axis, or ``eps`` is too small; or, from ``init`` and
            ``apply``, the input has no such axis.

    Example:
        >>> l2_normalize().apply({}, np.array([[3.0, 4.0]]))[0]
        array([[0.6, 0.8]])
    """
    axis, eps = checks.size("l2_normalize", "axis", axis, None), checks.eps("l2_normalize", eps, "the length")
    if axis == 0:
        raise ValueError("l2_normalize: axis 0 is the batch axis; each example has its own length, choose 1 or more")

    def forward(x: Array) -> tuple[Array, Callable[[Array], Array]]:
        if not -x.ndim < axis < x.ndim:
            raise ValueError(f"l2_normalize: no axis {axis} beside the batch axis in an input of shape {x.shape}")
        vectors = np.moveaxis(x, axis, -1)
        length = _length(vectors)
        inverse = 1 / np.maximum(length, x.dtype.type(eps))
        y = vectors * inverse

        def pull(dy: Array) -> Array:
            gradient = np.moveaxis(dy, axis, -1)
            along = np.vecdot(gradient, y)[..., None]
            along[length < eps] = 0
            return np.moveaxis((gradient - y * along) * inverse, -1, axis)

        return np.moveaxis(y, -1, axis), pull

    return stateless("l2_normalize", forward, working_set=elements_of, per_position=is_after_time(axis))


def _length(x: Array) -> Array:
    """(..., 1), the root of the sum of squares, which may be too large for float32 where the root is not."""
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.vecdot(x, x)
        if not np.isfinite(squares).all():
            wide = x.astype(np.float64)
            squares = np.vecdot(wide, wide)
        length: Array = np.sqrt(squares).astype(x.dtype, copy=False)
    return length[..., None]


def _trailing(
    kind: str, axes: Size, eps: float | None, leaves: dict[str, bool], activation: Activation, centred: bool
) -> Layer:
    """A norm over the last axes of each position, which are taken as one."""
    axes = checks.size(kind, "axes", axes)

    def check(shape: Shape) -> None:
        if len(shape) < axes:
            raise ValueError(f"{kind}: axes is {axes}, expected an example of at least that many axes, got {shape}")

    return _norm(kind, eps, leaves, activation, check, axes=axes, centred=centred)


def _norm(
    kind: str,
    eps: float | None,
    leaves: dict[str, bool],
    activation: Activation,
    check: Callable[[Shape], None],
    groups: Callable[[int], int] | None = None,
    axes: int = 1,
    centred: bool = True,
) -> Layer:
    """The one maker of norms.

    Args:
        kind: the layer's kind.
        eps: added to the variance; None for the precision of the input.
        leaves: which of the parameters ``scale`` and ``shift`` there are.
        activation: the argument of the constructor.
        check: raises if the shape of an example does not fit.
        groups: the number of groups for a number of channels; None for a group at each position.
        axes: how many trailing axes are normalized together, if there are no groups.
        centred: whether the mean is subtracted.
    """
    activate, names = fuse(kind, activation), [name for name, wanted in leaves.items() if wanted]
    shapes: dict[str, Any] = dict.fromkeys(names, (None,) * axes)
    read = contract.parameters(kind, AXES, **shapes)

    def init(shape: Shape, rng: Rng) -> Params:
        checks.channels(kind, shape)
        check(shape)
        check_rng(rng)
        start = {"scale": np.ones, "shift": np.zeros}
        return {name: start[name](shape[-axes:], np.float32) for name in names}

    @per_example
    def apply(params: Params, x: Array, rng: Rng | None = None) -> tuple[Array, Vjp]:
        own = dict(zip(names, read(params, x), strict=True))
        check(x.shape[1:])
        check_rng(rng)
        scale, shift = (own[name].reshape(-1) if name in own else None for name in ("scale", "shift"))
        rows = x if axes == 1 else x.reshape(*x.shape[:-axes], math.prod(x.shape[-axes:]))
        own_eps = float(np.finfo(x.dtype).eps) if eps is None else eps
        count = None if groups is None else groups(x.shape[-1])
        z, pull_norm = normalization(rows, scale, shift, own_eps, count, centred)
        y, pull = activate(z)
        y = y.reshape(x.shape)
        like = contract.form(y)

        def vjp_fn(dy: Array, input_grad: bool = True) -> tuple[Params, Array | None]:
            contract.gradient(kind, dy, like)
            dz = pull(dy.reshape(rows.shape))
            dscale, dshift, dx = pull_norm(dz, input_grad=input_grad)
            grads = {"scale": dscale, "shift": dshift}
            grads = {name: grads[name].reshape(x.shape[-axes:]) for name in params}
            return grads, None if dx is None else dx.reshape(x.shape)

        return y, vjp_fn

    apply.working_set = elements_of  # type: ignore[attr-defined]
    per_position(apply, groups is None and axes == 1 and activate.per_position)
    return Layer(init, apply)
