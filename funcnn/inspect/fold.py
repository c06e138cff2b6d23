"""Folding batch norm: in a model that only predicts, each norm is an affine map per channel, and need not be a norm.

After a convolution or a dense layer the map is multiplied into the weights; elsewhere it becomes ``scale_and_shift``.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from funcnn import tree
from funcnn.aliases import Array, Params
from funcnn.calls import explained
from funcnn.combinators import frozen, remat
from funcnn.contract import OtherParameters, params_dict
from funcnn.inspect.traverse import all_ties, every_layer, rebuild
from funcnn.layers import (
    batch_norm,
    conv1d,
    conv2d,
    conv3d,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
    dense,
    depthwise_conv2d,
    identity,
    scale_and_shift,
)
from funcnn.layers.activation import as_activation
from funcnn.protocol import Layer, LayerLike, as_layer, declared
from funcnn.tree import below, is_below

__all__ = ["fold_batch_norm"]

TRANSPOSED = (conv_transpose1d, conv_transpose2d, conv_transpose3d)
ABSORBING = (conv1d, conv2d, conv3d, *TRANSPOSED, depthwise_conv2d, dense)
"""Layers whose weights can take up the affine map after them."""


@explained
def fold_batch_norm(model: LayerLike, params: Params) -> tuple[Layer, Params]:
    """The same predictions without batch norm, for deployment.

    With the measured mean and var, ``y = scale (x - mean) / sqrt(var + eps) + shift`` is ``f x + (shift - mean f)``
    with ``f = scale / sqrt(var + eps)``. A norm directly after a convolution or ``dense`` without activation, whose
    output nothing else uses, is folded into its weights, ``w f`` and ``b f + shift - mean f``, and replaced by
    ``identity``. Any other norm is replaced by ``scale_and_shift``. Weights that are tied, or computed as those of
    ``weight_norm`` are, are not touched, and a norm with tied parameters stays a norm. All names stay the same.

    Args:
        model: a layer or a pair.
        params: its parameters, calibrated.

    Returns:
        ``(model, params)`` for predicting. Predictions are the same to rounding; training is not.

    Raises:
        ValueError: a batch norm has not been measured, or has another ``apply`` than that of ``batch_norm``; the
            message names its path.

    Example:
        >>> import funcnn as fn
        >>> model = fn.serial(fn.conv2d(4, 3), fn.batch_norm(activation="relu"), fn.batch_norm())
        >>> x = np.random.default_rng(0).random((8, 5, 5, 1), np.float32)
        >>> params = fn.calibrate(model, model.init((5, 5, 1), rng=0), x)
        >>> folded, folded_params = fold_batch_norm(model, params)
        >>> list(folded.children.values())
        [conv2d(4, 3, activation='relu'), named('batch_norm_0', identity), named('batch_norm_1', scale_and_shift())]
        >>> bool(np.allclose(fn.predict(folded, folded_params, x), fn.predict(model, params, x), atol=1e-5))
        True

    Reference:
        Jacob et al. 2018, "Quantization and training of neural networks", arXiv 1712.05877, section 3.2.
    """
    layers = dict(every_layer(model))
    params_dict("fold_batch_norm", params)
    leaves = dict(tree.flatten(params))
    new_layers: dict[str, Layer] = {}
    absorbed = _absorbing(as_layer(model), "")
    shared = {path for pair in all_ties(model).items() for path in pair}
    computed = [path for path, layer in layers.items() if declared(layer.apply, "computes")]
    for path, wrapped in layers.items():
        layer = _inside(wrapped)
        if layer.constructor is not batch_norm or _touches(path, shared):
            continue
        layer.recorded_call(path)
        factor, shift = _affine_map(path, layer, _taken(leaves, path))
        activation = layer.arguments.get("activation")
        before = absorbed.get(path)
        if before is None or _touches(before, shared) or any(is_below(before, above) for above in computed):
            new_layers[path] = scale_and_shift(**({} if activation is None else {"activation": activation}))
            leaves |= {below(path, "scale"): factor, below(path, "shift"): shift}
        else:
            new_layers[path] = identity
            new_layers[before] = _with_activation(layers[before], activation)
            bias = leaves.get(below(before, "b"), np.zeros_like(shift))
            leaves[below(before, "w")] = _scaled(layers[before], leaves[below(before, "w")], factor)
            leaves[below(before, "b")] = bias * factor + shift
    folded = rebuild(model, lambda path, layer: new_layers.get(path, layer))
    return folded, tree.unflatten(leaves)


_NAMES = ("scale", "shift", "mean", "var")


def _taken(leaves: dict[str, Array], path: str) -> Params:
    """The parameters of a norm, which leave the others."""
    missing = [name for name in _NAMES if below(path, name) not in leaves]
    if missing:
        raise OtherParameters(
            f"in layer {path or 'batch_norm'}: expected the parameters {[*_NAMES]}, without {missing}"
        )
    return {name: leaves.pop(below(path, name)) for name in _NAMES}


def _affine_map(path: str, layer: Layer, own: Params) -> tuple[Array, Array]:
    """Factor and shift of a norm that predicts."""
    where = f"in layer {path or 'batch_norm'}"
    if np.isnan(own["mean"]).any() or np.isnan(own["var"]).any():
        raise ValueError(
            f"{where}: mean and var have not been measured, so there is nothing to fold; call "
            "params = fn.calibrate(model, params, x) first"
        )
    try:
        layer.apply(own, np.zeros((1, own["mean"].size), own["mean"].dtype))  # the layer checks its own parameters
    except OtherParameters as error:
        raise type(error)(f"{where}: {error}") from error
    eps = own["var"].dtype.type(layer.arguments.get("eps", 1e-5))
    factor = own["scale"] / np.sqrt(own["var"] + eps)
    return factor, own["shift"] - own["mean"] * factor


def _scaled(layer: Layer, w: Array, factor: Array) -> Array:
    """The weights of a layer whose outputs are multiplied by factors, which is their last axis unless transposed."""
    if layer.constructor not in TRANSPOSED:
        scaled: Array = w * factor
        return scaled
    *size, filters, _ = w.shape  # the filters of a group, and all channels
    by_group = w.reshape(*size, filters, factor.size // filters, -1) * factor.reshape(-1, filters).T[:, :, None]
    return by_group.reshape(w.shape)


def _absorbing(layer: Layer, path: str) -> dict[str, str]:
    """For the path of each norm that can be folded into the weights of the layer before it, the path of that layer."""
    found: dict[str, str] = {}
    uses = [source for _, inputs in layer.wiring for source in inputs]
    for name, inputs in layer.wiring:
        child, before = layer.children.get(name), layer.children.get(inputs[0])
        is_norm = child is not None and _inside(child).constructor is batch_norm
        if is_norm and before is not None and _is_affine(before) and uses.count(inputs[0]) == 1:
            found[below(path, name)] = below(path, inputs[0])
    for name, child in layer.children.items():
        found |= _absorbing(child, below(path, name))
    return found


def _inside(layer: Layer) -> Layer:
    """The layer itself in place of a frozen or rematerialized one, which predicts the same."""
    while layer.constructor in (frozen, remat) and not layer.children:
        layer = as_layer(layer.arguments["layer"])
    return layer


def _touches(path: str, shared: Collection[str]) -> bool:
    """Whether a layer has parameters that are tied."""
    return any(is_below(path, other) or is_below(other, path) for other in shared)


def _is_affine(layer: Layer) -> bool:
    """Whether a layer is a convolution or ``dense`` without activation, and computes what these made."""
    if layer.call is None or layer.call.made is not layer.apply or layer.constructor not in ABSORBING:
        return False
    return as_activation(layer.kind, layer.arguments.get("activation")) is identity


def _with_activation(layer: Layer, activation: Any) -> Layer:
    """A convolution or a dense layer with a bias and the activation of the norm after it."""
    options = {name: value for name, value in layer.arguments.items() if name not in ("bias", "activation")}
    if activation is not None:
        options["activation"] = activation
    again: Layer = layer.constructor(**options)  # type: ignore[misc]
    return again
