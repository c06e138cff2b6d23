"""Parameters from Keras, whose arrays have the same axes as ours; names, gates and axes that are joined differ."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from funcnn import checks
from funcnn.aliases import Array, Params, Shapes
from funcnn.calls import explained
from funcnn.inspect.traverse import every_layer
from funcnn.interchange.forms import Arrays, Form, Match, fits
from funcnn.interchange.keras_file import PROJECTIONS, read_modules
from funcnn.interchange.matching import checked_names, match
from funcnn.interchange.units import GATES, Pattern, Unit, parallel, units
from funcnn.interchange.untie import params_of
from funcnn.protocol import Layer, LayerLike, as_layer
from funcnn.tree import below

__all__ = ["keras_names", "params_from_keras"]

LEAVES = {
    **{kind: {"scale": "gamma", "shift": "beta"} for kind in ("layer_norm", "group_norm")},
    "batch_norm": {"scale": "gamma", "shift": "beta", "mean": "moving_mean", "var": "moving_variance"},
    "rms_norm": {"scale": "scale"},
    "embedding": {"w": "embeddings"},
    **{kind: {"w": "kernel", "w_h": "recurrent_kernel", "b": "bias"} for kind in GATES},
}
KERNEL = {"w": "kernel", "b": "bias"}


@explained
def params_from_keras(
    model: LayerLike, path: str | Path, names: Mapping[str, str] = {}, shape: Shapes | None = None
) -> Params:
    """The parameters of a model from a file that Keras 3 wrote for a model that computes the same.

    Each layer of the model is matched with one of Keras: by ``names``; else by name, if all names are the same; else by
    order, the dense layers in theirs, the convolutions in theirs, and so on, if that is the only order that fits. A
    layer that is left over on either side raises an error, and so do layers that could be exchanged. ``keras_names``
    returns what was matched. What has no weights is not compared: a norm of Keras has ``eps=1e-3`` unless it says
    otherwise, and a leaky ReLU the slope 0.3.

    Args:
        model: a layer.
        path: a ``.keras`` file of ``model.save``, or a ``.weights.h5`` file of ``model.save_weights``, which does not
            say in which order a nested model and its neighbours stand.
        names: ``{path in the model: name in Keras}`` of layers or of whole branches. A name is that of ``layer.name``,
            and in a nested model it follows the name of that model and a ``/``; the halves of a ``Bidirectional`` are
            ``"bidirectional/forward_lstm"`` and so on, those of a separable convolution ``"name/depthwise"`` and
            ``"name/pointwise"``.
        shape: that of one example, as for ``init``; with it, every size is checked.

    Returns:
        The parameters: new arrays, of the dtype in the file. Gates are reordered, and the two biases of a GRU joined.

    Raises:
        ModuleNotFoundError: h5py is not installed: ``pip install "funcnn[keras]"``.
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged or not of Keras 3; weights are missing, extra, or of another shape, and the
            message says of each what was expected and what came; or more than one way of matching fits.

    Example:
        >>> import funcnn as fn, tempfile
        >>> import h5py  # here in place of Keras, whose model.save_weights writes such a file
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with h5py.File(f"{folder}/dense.weights.h5", "w") as file:
        ...         file["layers/dense/vars/0"], file["layers/dense/vars/1"] = np.ones((3, 2)), np.zeros(2)
        ...     params_from_keras(fn.serial(fn.dense(2)), f"{folder}/dense.weights.h5")["dense_0"]["w"].shape
        (3, 2)
    """
    kind = "params_from_keras"
    layer = as_layer(model)
    flat = {}
    for found in _matches(kind, layer, path, names, shape):
        for name, leaf in found.form.read(found.module.arrays).items():
            wanted = found.unit.shapes.get(name, leaf.shape)
            if not fits(wanted, leaf.shape):
                raise ValueError(
                    f"{kind}: {found.unit.named} from {found.module.described}: expected {name} of shape {wanted}, got "
                    f"{leaf.shape}"
                )
            flat[below(found.unit.path, name)] = leaf
    return params_of(kind, layer, flat, "the file")


@explained
def keras_names(
    model: LayerLike, path: str | Path, names: Mapping[str, str] = {}, shape: Shapes | None = None
) -> dict[str, str]:
    """Which layer of a model gets its weights from which layer in a Keras file: what ``params_from_keras`` does.

    Args:
        model: as for ``params_from_keras``.
        path: as for ``params_from_keras``.
        names: as for ``params_from_keras``.
        shape: as for ``params_from_keras``.

    Returns:
        ``{path in the model: name in Keras}``, complete; it may be changed and passed as ``names``.

    Raises:
        ModuleNotFoundError, FileNotFoundError, ValueError: as ``params_from_keras``.

    Example:
        >>> import funcnn as fn, h5py, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with h5py.File(f"{folder}/dense.weights.h5", "w") as file:
        ...         file["layers/dense/vars/0"], file["layers/dense/vars/1"] = np.ones((3, 2)), np.zeros(2)
        ...     keras_names(fn.serial(fn.dense(2)), f"{folder}/dense.weights.h5")
        {'dense_0': 'dense'}
    """
    return {
        found.unit.path: found.module.name for found in _matches("keras_names", as_layer(model), path, names, shape)
    }


def _matches(kind: str, layer: Layer, path: Any, names: Any, shape: Any) -> list[Match]:
    """A match for each unit of a model and each layer in a file."""
    modules = read_modules(checks.path(kind, path))
    ours = units(layer, None if shape is None else layer.init(shape, 0))
    separable = {place: one.kind for place, one in every_layer(layer) if one.kind.startswith("separable_conv")}

    def kind_of(unit: Unit) -> str:
        parent, _, name = unit.path.rpartition("/")
        return f"{separable[parent]}/{name}" if parent in separable else unit.kind

    checked = checked_names(kind, names, ours, modules)
    return match(ours, modules, checked, forms, str(path), [*parallel(layer)], kind_of)


def forms(unit: Unit) -> list[Form]:
    """The way in which Keras keeps the parameters of a unit, or an error if it has no such layer."""
    if unit.wrapped:
        raise ValueError(
            f"{unit.named}: Keras has no {unit.wrapped} with these parameters; load it into the layer without"
        )
    if unit.kind == "multi_head_attention":
        return [_attention(unit)]
    if unit.kind == "gru":
        return [_gru(unit)]
    if unit.kind == "prelu":
        return _prelu(unit)
    if unit.kind.startswith("depthwise"):
        return [_depthwise(unit)]
    if unit.kind == "dense" or unit.kind.startswith("conv"):
        names = KERNEL
    elif unit.kind in LEAVES and "w_p" not in unit.shapes:
        names = LEAVES[unit.kind]
    else:
        raise ValueError(
            f"{unit.named}: Keras has no such layer, or it is not known here; convert its parameters yourself"
        )
    names = {ours: theirs for ours, theirs in names.items() if ours in unit.shapes}
    form = _form({theirs: unit.shapes[ours] for ours, theirs in names.items()}, names)
    return [_batch_norm(form) if unit.kind == "batch_norm" else form]


def _form(shapes: Mapping[str, Pattern], names: Mapping[str, str]) -> Form:
    """The form in which each parameter is one variable."""
    return Form(shapes, lambda arrays: {ours: arrays[theirs] for ours, theirs in names.items()})


def _batch_norm(form: Form) -> Form:
    """Batch norm: one without scale or center has 1 and 0 in their places."""

    def read(arrays: Arrays) -> dict[str, Array]:
        one = np.ones_like(arrays["moving_mean"])
        return form.read({"gamma": one, "beta": 0 * one, **arrays})

    return Form(form.shapes, read, optional=frozenset({"gamma", "beta"}))


def _depthwise(unit: Unit) -> Form:
    """The kernel (window, channels, multiplier), of which the last two are one axis of ours."""
    window = unit.shapes["w"][:-2]

    def read(arrays: Arrays) -> dict[str, Array]:
        kernel = arrays["kernel"]
        own = {"w": kernel.reshape(*kernel.shape[:-2], 1, -1)}
        return own | ({"b": arrays["bias"]} if "b" in unit.shapes else {})

    shapes: dict[str, Pattern] = {"kernel": (*window, None, unit.arguments["multiplier"])}
    return Form(shapes | ({"bias": unit.shapes["b"]} if "b" in unit.shapes else {}), read)


def _gru(unit: Unit) -> Form:
    """The gates z, r, n, where ours are r, z, n; two rows of biases if the reset gate is applied after the product."""
    size, after = unit.arguments["units"], "b_h" in unit.shapes

    def reordered(array: Array) -> Array:
        z, r, n = np.split(array, 3, -1)
        return np.concatenate([r, z, n], -1)

    def read(arrays: Arrays) -> dict[str, Array]:
        own = {"w": reordered(arrays["kernel"]), "w_h": reordered(arrays["recurrent_kernel"])}
        if after:
            of_input, of_state = (reordered(row) for row in arrays["bias"])
            own["b"], own["b_h"] = of_input, of_state[2 * size :]
            own["b"][: 2 * size] += of_state[: 2 * size]
        elif "b" in unit.shapes:
            own["b"] = reordered(arrays["bias"])
        return own

    shapes = {"kernel": unit.shapes["w"], "recurrent_kernel": unit.shapes["w_h"]}
    if "b" in unit.shapes:
        shapes["bias"] = (2, GATES["gru"] * size) if after else (GATES["gru"] * size,)
    return Form(shapes, read)


def _prelu(unit: Unit) -> list[Form]:
    """A slope for each channel, or one, with an axis of size 1 for each axis that shares it."""
    (slopes,) = unit.shapes["slope"]
    return [
        Form({"alpha": (*(1,) * shared, slopes)}, lambda arrays: {"slope": arrays["alpha"].reshape(-1)})
        for shared in range(4)
    ]


def _attention(unit: Unit) -> Form:
    """Kernels (features, heads, width) and (heads, width, features), of which heads and width are one axis of ours."""
    heads, width = unit.arguments["heads"], unit.arguments["width"]
    key_heads = unit.arguments["key_heads"] or heads
    shapes: dict[str, Pattern] = {}
    for name in PROJECTIONS:
        rows, columns = unit.shapes[f"{name}_w"]
        several = key_heads if name in ("key", "value") else heads
        size = width if width or columns is None else columns // several
        if name == "output":
            size = width if width or rows is None else rows // heads
        shapes[f"{name}_kernel"] = (heads, size, columns) if name == "output" else (rows, several, size)
        if unit.arguments["bias"]:
            shapes[f"{name}_bias"] = (columns,) if name == "output" else (several, size)

    def read(arrays: Arrays) -> dict[str, Array]:
        own: dict[str, Array] = {}
        for name in PROJECTIONS:
            kernel = arrays[f"{name}_kernel"]
            rows = -1 if name == "output" else kernel.shape[0]
            own[f"{name}_w"] = kernel.reshape(rows, kernel.shape[2] if name == "output" else -1)
            if f"{name}_bias" in arrays:
                own[f"{name}_b"] = arrays[f"{name}_bias"].reshape(-1)
        return own

    return Form(shapes, read)
