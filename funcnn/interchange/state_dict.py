"""A ``state_dict`` of PyTorch: tensors as arrays, and their names as those of modules.

PyTorch itself is not imported: the methods of a tensor make arrays of it, and new tensors like it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from funcnn import checks
from funcnn.aliases import Array
from funcnn.interchange.forms import Module
from funcnn.wording import shown

__all__ = ["arrays_of", "key_of", "like_type", "modules_of", "natural"]

RECURRENT = re.compile(r"(?:(.*)\.)?((?:weight|bias)_(?:ih|hh|hr))(?:_(l\d+)(_reverse)?)?")
"""The name of an array of a recurrent module: of the module, the array, the layer, the direction."""

OUT_OF_ORDER = (
    ("norm1", "self_attn", "norm2", "linear1", "linear2"),
    ("norm1", "self_attn", "norm2", "multihead_attn", "norm3", "linear1", "linear2"),
)
"""The layers of modules that PyTorch defines in another order than ours, in our order: of transformers."""


def key_of(name: str, leaf: str, recurrent: bool) -> str:
    """The full name of an array of a module."""
    layer = re.fullmatch(r"(?:(.*)\.)?(l\d+(?:_reverse)?)", name) if recurrent else None
    if layer is not None:
        name, leaf = layer[1] or "", f"{leaf}_{layer[2]}"
    elif recurrent:
        leaf = f"{leaf}_l0"
    return f"{name}.{leaf}" if name else leaf


def arrays_of(kind: str, state_dict: Any) -> dict[str, Array]:
    """The arrays of a ``state_dict`` by name, without copies where none is needed."""
    if not isinstance(state_dict, Mapping):
        hint = "; pass module.state_dict()" if hasattr(state_dict, "state_dict") else ""
        raise TypeError(
            f"{kind}: expected a state_dict, a dict of tensors or arrays, got {checks.what(state_dict)}{hint}"
        )
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
        value = (tensor.float() if re.search("bfloat16|float8", str(tensor.dtype)) else tensor).numpy()
    array = checks.array(where, value)
    if array.dtype == np.float16 or array.dtype.name == "bfloat16":  # of ml_dtypes
        array = array.astype(np.float32)
    if array.dtype.kind not in "iub" and array.dtype.newbyteorder("=").char not in "fd":
        raise TypeError(f"{where}: expected float32 or float64, got {array.dtype}")
    return array


def like_type(like: Any, array: Array | None) -> Any:
    """A new tensor or array of the type of another one; a copy of that if there is nothing to write."""
    if hasattr(like, "new_tensor"):
        return like.clone() if array is None else like.new_tensor(np.ascontiguousarray(array)).reshape(like.shape)
    return np.array(like if array is None else array, dtype=like.dtype, order="C")


def modules_of(arrays: Mapping[str, Array]) -> list[Module]:
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
    # A module has its weight before its bias, so names that are sorted are not in its order.
    in_alphabet = any(len(keys) > 1 for keys in grouped.values()) and [*arrays] == sorted(arrays)
    return _in_order(_by_numbers(found_modules) if in_alphabet else found_modules)


def _by_numbers(modules: list[Module]) -> list[Module]:
    """Modules of a ``state_dict`` whose names are sorted, as a file of safetensors has them.

    A module defines its layers in another order. So only the numbers in names tell which of two comes first, where
    nothing else differs.
    """
    found = [replace(module, container=re.sub(r"\d+", "#", module.name)) for module in modules]
    return sorted(found, key=lambda module: natural(module.name))


def natural(name: str) -> list[tuple[int, str]]:
    """A key that sorts names by the numbers in them.

    Example:
        >>> sorted(["dense_10", "dense_2"], key=natural)
        ['dense_2', 'dense_10']
    """
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


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
