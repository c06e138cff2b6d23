"""Parameters from PyTorch and to PyTorch: the same numbers under other names, with other axes first.

A ``state_dict`` is a flat dict of arrays by dotted names, in the order in which a module defines its layers. Its arrays
have the outputs first where ours have them last. PyTorch itself is not imported: its tensors say how they become arrays.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from funcnn import checks
from funcnn import tree as trees
from funcnn.aliases import Array, Params, Shapes
from funcnn.calls import explained
from funcnn.interchange.architecture import check_params
from funcnn.interchange.feature_order import FeatureOrder, feature_order
from funcnn.interchange.matching import Form, Match, Module, checked_names, match
from funcnn.interchange.torch_forms import as_it_is, forms
from funcnn.interchange.units import GATES, Unit, expanded_below, parallel, units
from funcnn.interchange.untie import untied
from funcnn.protocol import Layer, LayerLike, as_layer
from funcnn.tree import below, check_parameters
from funcnn.wording import shown

__all__ = ["params_from_torch", "params_to_torch", "torch_names"]

RECURRENT = re.compile(r"(?:(.*)\.)?((?:weight|bias)_(?:ih|hh|hr))(?:_(l\d+)(_reverse)?)?")
"""The name of an array of a recurrent module: of the module, the array, the layer, the direction."""

OUT_OF_ORDER = (
    ("norm1", "self_attn", "norm2", "linear1", "linear2"),
    ("norm1", "self_attn", "norm2", "multihead_attn", "norm3", "linear1", "linear2"),
)
"""The layers of modules that PyTorch defines in another order than ours, in our order: of transformers."""


@explained
def params_from_torch(
    model: LayerLike, state_dict: Mapping[str, Any], names: Mapping[str, str] = {}, shape: Shapes | None = None
) -> Params:
    """The parameters of a model from the ``state_dict`` of a PyTorch module that computes the same.

    Each layer of the model is matched with a module: by ``names``; else by name, if all are called alike; else by order,
    if both sides have layers of the same forms in the same order and no other order fits as well. Anything that is left
    on either side raises, and so does what could be another way round. ``torch_names`` returns what was matched.

    Axes are moved, the two biases of a recurrent layer become one, ``in_proj_weight`` becomes three weights, and running
    statistics become ``mean`` and ``var``. Behind a ``flatten`` of images PyTorch counts channels first, and funcnn
    last: the weights there are reordered. An input (height, width, channels) is taken to be (channels, height, width)
    in PyTorch, unless what reads it has its channels last there too, as a dense layer has.

    Args:
        model: a layer.
        state_dict: what ``module.state_dict()`` returns, or the same with NumPy arrays, as ``load_safetensors`` does.
        names: ``{path in the model: name in PyTorch}`` of layers or of whole branches, such as ``{"body": "features"}``.
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
    layer, arrays = as_layer(model), _arrays(kind, state_dict)
    order = feature_order(kind, layer, shape)
    flat = {}
    for found in _matches(kind, layer, None if shape is None else layer.init(shape, 0), arrays, names, order):
        leaves = order.ours(found.unit, found.form.read(found.module.arrays))
        for name, leaf in leaves.items():
            flat[below(found.unit.path, name)] = np.array(leaf, order="C")
    params: Params = untied(layer, trees.unflatten(flat), "the state_dict")
    check_parameters(params, kind)
    check_params(layer, params)
    return params


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
        >>> sorted(state_dict)[:4]
        ['batch_norm_0.bias', 'batch_norm_0.num_batches_tracked', 'batch_norm_0.running_mean', 'batch_norm_0.running_var']
    """
    kind = "params_to_torch"
    layer = as_layer(model)
    check_parameters(params, kind)
    check_params(layer, params)
    order = feature_order(kind, layer, shape)
    if like is None:
        matches = _named_alike(kind, layer, params, names, order)
    else:
        matches = _matches(kind, layer, params, _arrays(kind, like), names, order)
    full, made = trees.flatten(expanded_below(layer, params)), dict[str, Any]()
    for found in matches:
        unit = found.unit
        own = {path.rpartition("/")[2]: leaf for path, leaf in full.items() if path.rpartition("/")[0] == unit.path}
        written = found.form.write(order.theirs(unit, own))
        made |= {found.module.keys[name]: written[name] for name in found.module.keys if name in written}
    if like is None:
        return {key: np.array(array, order="C") for key, array in made.items()}
    return {key: _as(like[key], made.get(key)) for key in like}


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
    order = feature_order(kind, layer, shape)
    for one in _matches(kind, layer, params, _arrays(kind, state_dict), names, order):
        if one.module.kind == "leaves":
            found |= {below(one.unit.path, leaf): key for leaf, key in one.module.keys.items()}
        else:
            found[one.unit.path] = one.module.name
    return found


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
    leaves, branches = _leaf_names(kind, ours, arrays, names)
    single = _matched_leaves(kind, ours, arrays, leaves)
    done = {found.unit.path for found in single}
    rest = [unit for unit in ours if unit.path not in done]
    modules = _modules({key: array for key, array in arrays.items() if key not in leaves.values()})
    checked = checked_names(kind, branches, rest, modules)
    return [*single, *match(rest, modules, checked, forms, "the state_dict", [*parallel(layer)])]


def _leaf_names(
    kind: str, ours: Sequence[Unit], arrays: Mapping[str, Array], names: Any
) -> tuple[dict[str, str], dict[str, str]]:
    """The names that are those of single parameters, and those of layers."""
    if not isinstance(names, Mapping):
        raise TypeError(f"{kind}: names: expected a dict of names by path, got {shown(names)}")
    paths = {unit.path: unit for unit in ours}
    leaves = {}
    for path, name in names.items():
        where, _, leaf = path.rpartition("/") if isinstance(path, str) else ("", "", "")
        unit = None if path in paths else paths.get(where)
        if unit is not None and (not unit.shapes or leaf in unit.shapes):
            if name not in arrays:
                raise ValueError(f"{kind}: names: there is no tensor called {shown(name)}, for {path!r}")
            leaves[path] = name
    return leaves, {path: name for path, name in names.items() if path not in leaves}


def _matched_leaves(
    kind: str, ours: Sequence[Unit], arrays: Mapping[str, Array], leaves: Mapping[str, str]
) -> list[Match]:
    """The units of which each parameter was named."""
    found = []
    for unit in ours:
        keys = {path.rpartition("/")[2]: key for path, key in leaves.items() if path.rpartition("/")[0] == unit.path}
        if missing := keys and sorted(unit.shapes.keys() - keys.keys()):
            raise ValueError(f"{kind}: names: {unit.named} needs a name for each parameter, {missing} too")
        if keys:
            module = Module(unit.path, {leaf: arrays[key] for leaf, key in keys.items()}, keys, "leaves")
            form = as_it_is(unit, module)
            found += match([unit], [module], {}, lambda unit, form=form: [form], "the state_dict", (), lambda _: "leaves")
    return found


def _named_alike(
    kind: str, layer: Layer, params: Params, names: Mapping[str, str], order: FeatureOrder
) -> list[Match]:
    """Matches with modules that are called as our layers are, or as ``names`` says."""
    found = []
    ours = [order.seen(unit) for unit in units(layer, params)]
    unknown = [path for path in names if not any(trees.is_below(unit.path, path) for unit in ours)]
    if unknown:
        raise ValueError(f"{kind}: names: no layers with parameters are at {unknown}; there are {[u.path for u in ours]}")
    for unit in ours:
        branch = max((path for path in names if trees.is_below(unit.path, path)), key=len, default=None)
        name = unit.path if branch is None else below(names[branch], unit.path.removeprefix(branch).strip("/"))
        name, form = name.replace("/", "."), forms(unit)[0]
        keys = {leaf: _key(name, leaf, unit.kind in GATES) for leaf in form.shapes}
        found.append(Match(unit, Module(name, {}, keys), form))
    return found


def _key(name: str, leaf: str, recurrent: bool) -> str:
    """The full name of an array of a module."""
    layer = re.fullmatch(r"(?:(.*)\.)?(l\d+(?:_reverse)?)", name) if recurrent else None
    if layer is not None:
        name, leaf = layer[1] or "", f"{leaf}_{layer[2]}"
    elif recurrent:
        leaf = f"{leaf}_l0"
    return f"{name}.{leaf}" if name else leaf


def _arrays(kind: str, state_dict: Any) -> dict[str, Array]:
    """The arrays of a ``state_dict`` by name, without copies where there need be none."""
    if not isinstance(state_dict, Mapping):
        hint = "; pass module.state_dict()" if hasattr(state_dict, "state_dict") else ""
        raise TypeError(f"{kind}: expected a state_dict, a dict of tensors or arrays, got {checks.what(state_dict)}{hint}")
    found = {}
    for name, value in state_dict.items():
        if not isinstance(name, str):
            raise TypeError(f"{kind}: the names of a state_dict are texts, got {shown(name)}")
        found[name] = _array(f"{kind}, {name}", value)
    return found


def _array(where: str, value: Any) -> Array:
    """A tensor or an array as an array of float32, float64 or whole numbers."""
    if isinstance(value, Mapping):
        raise TypeError(f"{where}: expected a tensor, got a dict; is the state_dict inside of it? pass that")
    if hasattr(value, "detach"):
        tensor = value.detach().cpu()
        value = (tensor.float() if "bfloat16" in str(tensor.dtype) else tensor).numpy()
    array = checks.array(where, value)
    if array.dtype.kind == "f" and array.dtype.itemsize < 4:
        array = array.astype(np.float32)
    if array.dtype.kind not in "iub" and array.dtype.newbyteorder("=").char not in "fd":
        raise TypeError(f"{where}: expected float32 or float64, got {array.dtype}")
    return array


def _as(like: Any, array: Array | None) -> Any:
    """A new tensor or array of the type of another one; a copy of that if there is nothing to write."""
    if hasattr(like, "new_tensor"):
        return like.clone() if array is None else like.new_tensor(np.ascontiguousarray(array)).reshape(like.shape)
    return np.array(like if array is None else array, dtype=like.dtype, order="C")


def _modules(arrays: Mapping[str, Array]) -> list[Module]:
    """The modules of a ``state_dict`` in its order."""
    attention = {key.rpartition(".")[0] for key in arrays if re.search(r"(^|\.)(in|q)_proj_weight$", key)}
    both_ways = {found[1] for key in arrays if (found := RECURRENT.fullmatch(key)) and found[4]}
    grouped: dict[str, dict[str, str]] = {}
    directions: dict[str, str] = {}
    for key in arrays:
        name, _, leaf = key.rpartition(".")
        if found := RECURRENT.fullmatch(key):
            parent, leaf, layer, reverse = found.groups()
            name = ".".join(part for part in (parent, f"{layer}{reverse or ''}" if layer else "") if part)
            if parent in both_ways:
                directions[name] = "backward" if reverse else "forward"
        elif ".parametrizations." in f".{key}":
            name, _, rest = f".{key}".partition(".parametrizations.")
            name, leaf = name.removeprefix("."), f"parametrizations.{rest}"
        elif re.search(r"(^|\.)out_proj$", name) and name.removesuffix("out_proj").removesuffix(".") in attention:
            name, leaf = name.removesuffix("out_proj").removesuffix("."), f"out_proj.{leaf}"
        grouped.setdefault(name, {})[leaf] = key
    found_modules = [
        Module(name, {leaf: arrays[key] for leaf, key in keys.items()}, keys, "", directions.get(name, ""))
        for name, keys in grouped.items()
    ]
    return _in_order(found_modules)


def _in_order(modules: list[Module]) -> list[Module]:
    """The modules in the order in which ours stand, where PyTorch is known to define them in another one."""
    children: dict[str, set[str]] = {}
    for module in modules:
        parent, _, name = module.name.rpartition(".")
        children.setdefault(parent, set()).add(name)
    places = {
        f"{parent}.{name}".strip("."): number
        for parent, names in children.items()
        for order in OUT_OF_ORDER
        if names == set(order)
        for number, name in enumerate(order)
    }
    sorted_groups: dict[str, list[Module]] = {}
    for module in modules:
        if module.name in places:
            sorted_groups.setdefault(module.name.rpartition(".")[0], []).append(module)
    for group in sorted_groups.values():
        group.sort(key=lambda module: places[module.name], reverse=True)
    return [
        sorted_groups[module.name.rpartition(".")[0]].pop() if module.name in places else module for module in modules
    ]
