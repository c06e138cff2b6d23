"""Parameters from PyTorch and to PyTorch: the same numbers under other names, with other axes first.

A ``state_dict`` is a flat dict of arrays by dotted names, in the order in which a module defines its layers. Its
arrays have the outputs first where ours have them last.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from funcnn import tree as trees
from funcnn.aliases import Array, Params, Shapes
from funcnn.calls import explained
from funcnn.interchange.architecture import check_params
from funcnn.interchange.feature_order import FeatureOrder, feature_order
from funcnn.interchange.forms import Match, Module
from funcnn.interchange.matching import checked_names, match
from funcnn.interchange.state_dict import arrays_of, key_of, like_type, modules_of
from funcnn.interchange.torch_forms import as_it_is, forms
from funcnn.interchange.units import GATES, Unit, expanded_below, parallel, units
from funcnn.interchange.untie import params_of
from funcnn.protocol import Layer, LayerLike, as_layer
from funcnn.tree import below, check_parameters, is_below
from funcnn.wording import shown

__all__ = ["params_from_torch", "params_to_torch", "torch_names"]

LEAVES = "leaves"
"""The kind of a module of which each tensor was named by the user."""


@explained
def params_from_torch(
    model: LayerLike, state_dict: Mapping[str, Any], names: Mapping[str, str] = {}, shape: Shapes | None = None
) -> Params:
    """The parameters of a model from the ``state_dict`` of a PyTorch module that computes the same.

    Each layer of the model is matched with a module: by ``names``; else by name, if all names are the same; else by
    order, if both sides have layers of the same forms in the same order and that is the only order that fits. A layer
    that is left over on either side raises an error, and so do layers that could be exchanged. ``torch_names`` returns
    what was matched.

    Axes are moved, the two biases of a recurrent layer become one, ``in_proj_weight`` becomes three weights, and
    running statistics become ``mean`` and ``var``. After a ``flatten`` of images PyTorch counts channels first, and
    funcnn last: the weights there are reordered. An input (height, width, channels) is taken to be (channels, height,
    width) in PyTorch, unless what reads it has its channels last there too, as a dense layer has.

    Args:
        model: a layer.
        state_dict: what ``module.state_dict()`` returns, or the same with NumPy arrays, as ``load_safetensors`` does.
            A file of safetensors has its names sorted, and not in the order of the module: take them in that order,
            ``{key: arrays[key] for key in module.state_dict()}``, or say ``names``.
        names: ``{path in the model: name in PyTorch}`` of layers or whole branches, such as ``{"body": "features"}``.
            Layer k of a recurrent module ``rnn`` is called ``"rnn.lk"``, and its other half ``"rnn.lk_reverse"``. The
            path of a single parameter, ``"attention/query_w"``, stands beside the full name of a tensor.
        shape: that of one example, as for ``init``. With it, every size is checked. A model with ``flatten``,
            ``reshape`` or a norm over several axes needs it.

    Returns:
        The parameters: new arrays, of float32 or float64 as in PyTorch; 16-bit floats become float32.

    Raises:
        TypeError: ``state_dict`` is not a dict of arrays or tensors of floats.
        ValueError: weights are missing, extra, or of another shape, and the message says of each what was expected and
            what came; more than one way of matching fits; or a layer computes what PyTorch has no layer for.

    Example:
        >>> import funcnn as fn
        >>> model = fn.serial(fn.dense(2), fn.relu, fn.dense(1))
        >>> state_dict = {  # of nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1))
        ...     "0.weight": np.ones((2, 3), np.float32), "0.bias": np.zeros(2, np.float32),
        ...     "2.weight": np.ones((1, 2), np.float32), "2.bias": np.zeros(1, np.float32),
        ... }
        >>> params = params_from_torch(model, state_dict)
        >>> params["dense_0"]["w"].shape
        (3, 2)
    """
    kind = "params_from_torch"
    layer, arrays = as_layer(model), arrays_of(kind, state_dict)
    start = None if shape is None else layer.init(shape, 0)
    order = feature_order(kind, layer, shape, start)
    flat: dict[str, Array] = {}
    for found in _matches(kind, layer, start, arrays, names, order):
        leaves = order.ours(found.unit, found.form.read(found.module.arrays))
        flat |= {below(found.unit.path, name): leaf for name, leaf in leaves.items()}
    return params_of(kind, layer, flat, "the state_dict")


@explained
def params_to_torch(
    model: LayerLike,
    params: Params,
    like: Mapping[str, Any] | None = None,
    names: Mapping[str, str] = {},
    shape: Shapes | None = None,
) -> dict[str, Any]:
    """The ``state_dict`` of a PyTorch module that computes what a model computes with these parameters.

    ``module.load_state_dict(params_to_torch(model, params, module.state_dict()))`` loads it.

    Args:
        model: a layer.
        params: its parameters.
        like: ``module.state_dict()`` of the module that they are for: the result has its names, order and types. It is
            matched with the model as in ``params_from_torch``. Without it the names are the paths with dots.
        names: as for ``params_from_torch``.
        shape: as for ``params_from_torch``.

    Returns:
        A dict of tensors if ``like`` has tensors, on their devices, and else of new NumPy arrays. The second bias of a
        recurrent layer is 0 where one is enough, and ``num_batches_tracked`` that of ``like``, or 0.

    Raises:
        TypeError: ``like`` is not a dict of arrays or tensors.
        ValueError: the parameters are those of another model; or as ``params_from_torch``.

    Example:
        >>> import funcnn as fn
        >>> model = fn.serial(fn.conv2d(4, 3), fn.batch_norm())
        >>> state_dict = params_to_torch(model, model.init((8, 8, 1), rng=0))
        >>> state_dict["conv2d_0.weight"].shape
        (4, 1, 3, 3)
        >>> sorted(state_dict)[-2:]
        ['conv2d_0.bias', 'conv2d_0.weight']
    """
    kind = "params_to_torch"
    layer = as_layer(model)
    check_parameters(params, kind)
    check_params(layer, params)
    order = feature_order(kind, layer, shape)
    if like is None:
        matches = _named_alike(kind, layer, params, names, order)
    else:
        matches = _matches(kind, layer, params, arrays_of(kind, like), names, order)
    full, made = trees.flatten(expanded_below(layer, params)), dict[str, Any]()
    for found in matches:
        unit = found.unit
        own = {path.rpartition("/")[2]: leaf for path, leaf in full.items() if path.rpartition("/")[0] == unit.path}
        if unit.kind == "batch_norm" and "weight" not in found.module.keys:
            _check_not_affine(f"{kind}: {unit.named}: {found.module.name}", own)
        written = found.form.write(order.theirs(unit, own))
        made |= {key: written.get(name) for name, key in found.module.keys.items()}
    if like is None:  # what is not written is a number of batches
        return {
            key: np.zeros((), np.int64) if array is None else np.array(array, order="C") for key, array in made.items()
        }
    return {key: like_type(like[key], made[key]) for key in like}


@explained
def torch_names(
    model: LayerLike, state_dict: Mapping[str, Any], names: Mapping[str, str] = {}, shape: Shapes | None = None
) -> dict[str, str]:
    """Which layer of a model gets its weights from which module of PyTorch: what ``params_from_torch`` does.

    Args:
        model: as for ``params_from_torch``.
        state_dict: as for ``params_from_torch``.
        names: as for ``params_from_torch``.
        shape: as for ``params_from_torch``.

    Returns:
        ``{path in the model: name in PyTorch}``, complete; it may be changed and passed as ``names``.

    Raises:
        TypeError, ValueError: as ``params_from_torch``.

    Example:
        >>> import funcnn as fn
        >>> weights = {"fc.weight": np.ones((2, 3)), "fc.bias": np.ones(2)}
        >>> torch_names(fn.serial(fn.relu, fn.dense(2)), weights)
        {'dense_0': 'fc'}
    """
    kind = "torch_names"
    layer = as_layer(model)
    params = None if shape is None else layer.init(shape, 0)
    found: dict[str, str] = {}
    order = feature_order(kind, layer, shape, params)
    for one in _matches(kind, layer, params, arrays_of(kind, state_dict), names, order):
        if one.module.kind == LEAVES:
            found |= {below(one.unit.path, leaf): key for leaf, key in one.module.keys.items()}
        else:
            found[one.unit.path] = one.module.name
    return found


def _check_not_affine(where: str, own: Mapping[str, Array]) -> None:
    """Raise if a batch norm scales or shifts, and its module cannot."""
    if (own["scale"] != 1).any() or (own["shift"] != 0).any():
        raise ValueError(f"{where} has affine=False, so scale must be 1 and shift 0, and they are not")


def _matches(
    kind: str,
    layer: Layer,
    params: Params | None,
    arrays: Mapping[str, Array],
    names: Mapping[str, str],
    order: FeatureOrder,
) -> list[Match]:
    """A match for each unit of a model and each array of a ``state_dict``."""
    ours = [order.seen(unit) for unit in units(layer, params)]
    leaves, branches = _leaf_names(kind, ours, names)
    if lacking := [key for key in leaves.values() if key not in arrays]:
        raise ValueError(f"{kind}: names: there are no tensors called {lacking}")
    single = [_of_leaves(unit, keys, arrays) for unit, keys in _units_of_leaves(kind, ours, leaves)]
    done = {found.unit.path for found in single}
    rest = [unit for unit in ours if unit.path not in done]
    modules = modules_of({key: array for key, array in arrays.items() if key not in leaves.values()})
    checked = checked_names(kind, branches, rest, modules)
    return [*single, *match(rest, modules, checked, forms, "the state_dict", [*parallel(layer)])]


def _leaf_names(kind: str, ours: Sequence[Unit], names: Any) -> tuple[dict[str, str], dict[str, str]]:
    """The names that are those of single parameters, and those of layers."""
    if not isinstance(names, Mapping) or not all(isinstance(name, str) for pair in names.items() for name in pair):
        raise TypeError(f"{kind}: names: expected a dict of names by path, got {shown(names)}")
    units = {unit.path: unit for unit in ours}
    leaves = {}
    for path, name in names.items():
        where, _, leaf = path.rpartition("/")
        if path not in units and where in units and (leaf in units[where].shapes or not units[where].shapes):
            leaves[path] = name
    return leaves, {path: name for path, name in names.items() if path not in leaves}


def _units_of_leaves(
    kind: str, ours: Sequence[Unit], leaves: Mapping[str, str]
) -> Iterator[tuple[Unit, dict[str, str]]]:
    """The units of which each parameter was named, with these names."""
    for unit in ours:
        keys = {path.rpartition("/")[2]: key for path, key in leaves.items() if path.rpartition("/")[0] == unit.path}
        if missing := keys and sorted(unit.shapes.keys() - keys.keys()):
            raise ValueError(f"{kind}: names: {unit.named} needs a name for each parameter, {missing} too")
        if keys:
            yield unit, keys


def _of_leaves(unit: Unit, keys: Mapping[str, str], arrays: Mapping[str, Array]) -> Match:
    """The match of a unit with tensors of these names."""
    module = Module(unit.path, {leaf: arrays[key] for leaf, key in keys.items()}, keys, LEAVES)
    form = as_it_is(unit, module)
    return match([unit], [module], {"": ""}, lambda _: [form], "the state_dict")[0]


def _named_alike(kind: str, layer: Layer, params: Params, names: Mapping[str, str], order: FeatureOrder) -> list[Match]:
    """Matches with modules that are called as our layers are, or as ``names`` says."""
    ours = [order.seen(unit) for unit in units(layer, params)]
    leaves, branches = _leaf_names(kind, ours, names)
    if unknown := [path for path in branches if not any(is_below(unit.path, path) for unit in ours)]:
        raise ValueError(f"{kind}: names: no parameters are at {unknown}; there are {[unit.path for unit in ours]}")
    found = []
    for unit, keys in _units_of_leaves(kind, ours, leaves):
        module = Module(unit.path, {}, keys, LEAVES)
        found.append(Match(unit, module, as_it_is(unit, module)))
    done = {one.unit.path for one in found}
    for unit in [unit for unit in ours if unit.path not in done]:
        branch = max((path for path in branches if is_below(unit.path, path)), key=len, default=None)
        name = unit.path if branch is None else below(branches[branch], unit.path.removeprefix(branch).strip("/"))
        form = forms(unit)[0]
        keys = {leaf: key_of(name.replace("/", "."), leaf, unit.kind in GATES) for leaf in form.shapes}
        found.append(Match(unit, Module(name, {}, keys), form))
    return found
