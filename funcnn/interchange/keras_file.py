"""A file of weights that Keras wrote: groups of HDF5, one for each layer, with its variables by number.

Only arrays of numbers that lie in the file itself are read, and no more of them than it can hold.
"""

from __future__ import annotations

import io
import json
import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from funcnn.aliases import Array
from funcnn.interchange.archive import ALWAYS_ALLOWED, MAX_EXPANSION, read_members
from funcnn.interchange.bfloat16 import from_bfloat16
from funcnn.interchange.extras import package
from funcnn.interchange.files import blamed_on, opened
from funcnn.interchange.forms import Module
from funcnn.interchange.state_dict import natural
from funcnn.tree import is_below

__all__ = ["PROJECTIONS", "read_modules"]

WEIGHTS, CONFIG = "model.weights.h5", "config.json"
MAX_DEPTH = 50
DTYPES = {"f2", "f4", "f8", "b1", *(f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8))}

CLASSES = {
    "dense": ("dense", ("kernel", "bias")),
    "embedding": ("embedding", ("embeddings",)),
    "p_re_lu": ("prelu", ("alpha",)),
    "batch_normalization": ("batch_norm", ("gamma", "beta", "moving_mean", "moving_variance")),
    "layer_normalization": ("layer_norm", ("gamma", "beta")),
    "group_normalization": ("group_norm", ("gamma", "beta")),
    "rms_normalization": ("rms_norm", ("scale",)),
    "lstm_cell": ("lstm", ("kernel", "recurrent_kernel", "bias")),
    "gru_cell": ("gru", ("kernel", "recurrent_kernel", "bias")),
    "simple_rnn_cell": ("rnn", ("kernel", "recurrent_kernel", "bias")),
    **{f"conv{n}d": (f"conv{n}d", ("kernel", "bias")) for n in (1, 2, 3)},
    **{f"conv{n}d_transpose": (f"conv_transpose{n}d", ("kernel", "bias")) for n in (1, 2, 3)},
    **{f"depthwise_conv{n}d": (f"depthwise_conv{n}d", ("kernel", "bias")) for n in (1, 2)},
    **{f"separable_conv{n}d": (f"separable_conv{n}d", ("depthwise", "pointwise", "bias")) for n in (1, 2)},
}
"""What Keras calls a class in a file, our kind of layer, and its variables in order."""

DIRECTIONS = {"forward_layer", "backward_layer"}
COUNTER = re.compile(r"_\d+(?=/|$)")
PROJECTIONS = ("query", "key", "value", "output")
NOT_WEIGHTS = re.compile(r"optimizer|metrics|.*seed_generators?(_\d+)?")
"""Groups that hold the state of training or of random numbers."""


def read_modules(path: Path) -> list[Module]:
    """The layers in a ``.keras`` or ``.weights.h5`` file, in their order as far as the file has one."""
    h5py = package("h5py", "keras", "reading Keras files")
    with opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        with blamed_on(path, "damaged or not a file of weights that Keras 3 wrote"):
            config = None
            content: BinaryIO = file
            if zipfile.is_zipfile(file):
                content, config = _unpacked(file, size)
                size = max(size, content.seek(0, io.SEEK_END))
            file.seek(0)
            content.seek(0)
            with h5py.File(content, "r") as root:
                return _File(h5py, size, config).modules(root)


def _unpacked(file: BinaryIO, size: int) -> tuple[BinaryIO, Any]:
    """The weights and the configuration in a ``.keras`` file."""
    members = read_members(file, size)
    if WEIGHTS not in members or CONFIG not in members:
        raise ValueError(f"expected {WEIGHTS} and {CONFIG} in this zip, got {sorted(members)[:6]}")
    weights, config = members[WEIGHTS], members[CONFIG]
    assert isinstance(weights, bytes)
    assert isinstance(config, bytes)
    return io.BytesIO(weights), json.loads(config)


class _File:
    """The groups of an open file, read one after the other."""

    def __init__(self, h5py: Any, size: int, config: Any) -> None:
        self.h5py, self.left, self.size = h5py, max(MAX_EXPANSION * size, ALWAYS_ALLOWED), size
        self.places = None if config is None else {name: n for n, (name, _) in enumerate(_layers(config))}
        self.layers = {} if config is None else dict(_layers(config))

    def modules(self, root: Any) -> list[Module]:
        """All layers with weights."""
        if "layer_names" in root.attrs or "model_weights" in root:
            raise ValueError("it is of Keras 2; load the model with Keras 3 and save its weights again")
        found = [module for group, names in self.groups(root, (), 0) for module in self.of_group(group, names)]
        if not found:
            raise ValueError("it has no variables of layers")
        if self.places is None:
            return found
        return sorted(found, key=self.place)

    def place(self, module: Module) -> int:
        """The place in the configuration of a layer, or of the last one there that it is in."""
        inside = (place for name, place in (self.places or {}).items() if is_below(module.name, name))
        return max(inside, default=len(self.places or ()))

    def groups(self, group: Any, names: tuple[str, ...], depth: int) -> Iterator[tuple[Any, tuple[str, ...]]]:
        """Each group of a layer, with the names of the layers that it is in and its own."""
        if depth > MAX_DEPTH:
            raise ValueError(f"its groups are nested more than {MAX_DEPTH} deep")
        yield group, names
        if self.is_attention(group):
            return
        for name in sorted(group, key=_natural):
            if name == "vars" or NOT_WEIGHTS.fullmatch(name):
                continue
            child = self.member(group, name)
            if not isinstance(child, self.h5py.Group):
                raise ValueError(f"{child.name} is an array outside of the variables of a layer")
            own = () if name in ("layers", "cells") else (self.called(child) or name,)
            yield from self.groups(child, (*names, *own), depth + 1)

    def member(self, group: Any, name: str) -> Any:
        """A group or an array in a group, which is not a link to elsewhere."""
        if not isinstance(group.get(name, getlink=True), self.h5py.HardLink):
            raise ValueError(f"{group.name}/{name} is a link to elsewhere")
        return group[name]

    def called(self, group: Any) -> str:
        """The name of the layer of a group; files of older versions have none."""
        name = self.member(group, "vars").attrs.get("name", "") if "vars" in group else ""
        return name if isinstance(name, str) and name and "/" not in name else ""

    def is_attention(self, group: Any) -> bool:
        """Whether a group has the four projections of attention."""
        return {f"{name}_dense" for name in PROJECTIONS} <= {name.lstrip("_") for name in group}

    def of_group(self, group: Any, names: tuple[str, ...]) -> Iterator[Module]:
        """The layers of a group: one, two of a separable convolution, or none."""
        if self.is_attention(group):
            yield self.attention(group, names)
        elif arrays := self.variables(group):
            kind, variables = self.kind(group, names, arrays)
            if group.name.endswith("/cell"):
                names = names[:-1]
            labels = [*variables[: len(arrays)], *(str(n) for n in range(len(variables), len(arrays)))]
            direction = next((part for part in group.name.split("/") if part in DIRECTIONS), "").removesuffix("_layer")
            leaves, keys = dict(zip(labels, arrays.values(), strict=True)), dict(zip(labels, arrays, strict=True))
            module = Module("/".join(names), leaves, keys, kind, direction, self.container(group))
            yield from _separated(module) if kind.startswith("separable") else [module]

    def kind(self, group: Any, names: tuple[str, ...], arrays: Mapping[str, Array]) -> tuple[str, tuple[str, ...]]:
        """Our kind of layer for a group, and the names of its variables: by its class, or by the name of its layer."""
        if group.name.endswith("/cell") or "/cells/" in group.name:
            return _recurrent(arrays), CLASSES["lstm_cell"][1]
        own, config = group.name.rpartition("/")[2], self.layers.get("/".join(names), {})
        known = (COUNTER.sub("", name) for name in (own, config.get("snake", ""), *names[-1:]))
        kind, variables = next((CLASSES[name] for name in known if name in CLASSES), (own, ()))
        if kind == "batch_norm":
            variables = _of_batch_norm(group.name, len(arrays), config)
        return kind, variables

    def container(self, group: Any) -> str:
        """What a group is in, if the file does not say in which order that and its neighbours stand.

        Of one class there are ``sequential``, ``sequential_1`` and so on, in their order.
        """
        return COUNTER.sub("", group.name.rpartition("/")[0]) if self.places is None else ""

    def attention(self, group: Any, names: tuple[str, ...]) -> Module:
        """The four projections of attention as one layer."""
        leaves, keys = dict[str, Array](), dict[str, str]()
        for name in group:
            part = name.lstrip("_").removesuffix("_dense")
            if part in PROJECTIONS:
                arrays = self.variables(self.member(group, name))
                for label, (key, array) in zip(("kernel", "bias"), arrays.items(), strict=False):
                    leaves[f"{part}_{label}"], keys[f"{part}_{label}"] = array, key
        return Module("/".join(names), leaves, keys, "multi_head_attention", "", self.container(group))

    def variables(self, group: Any) -> dict[str, Array]:
        """The variables of a group by their names in the file, in order."""
        if "vars" not in group:
            return {}
        variables = self.member(group, "vars")
        found = {}
        for name in sorted(variables, key=_natural):
            dataset = self.member(variables, name)
            is_array = isinstance(dataset, self.h5py.Dataset)
            brain = is_array and dataset.dtype.str == "|V2" and dataset.attrs.get("dtype") == "bfloat16"
            if not brain and (not is_array or dataset.dtype.str[1:] not in DTYPES):
                raise ValueError(f"{variables.name}/{name} is not an array of numbers")
            if dataset.external or dataset.is_virtual:
                raise ValueError(f"{dataset.name} lies in another file")
            self.left -= dataset.nbytes
            if self.left < 0:
                raise ValueError(f"it has {self.size} bytes that expand to more than {MAX_EXPANSION} times as many")
            array: Array = dataset[()] if dataset.shape else np.asarray(dataset[()])
            if brain:
                array = from_bfloat16(array.view("<u2"))
            found[dataset.name] = array.astype(np.float32) if array.dtype == np.float16 else array
        return found


def _natural(name: str) -> list[tuple[int, str]]:
    """A key that sorts by numbers, and the forward half of two before the other."""
    return natural(name.replace("forward_layer", "backward_"))


def _separated(module: Module) -> Iterator[Module]:
    """The two convolutions of a separable one."""
    for part, leaves in (
        ("depthwise", {"kernel": "depthwise"}),
        ("pointwise", {"kernel": "pointwise", "bias": "bias"}),
    ):
        own = {new: leaf for new, leaf in leaves.items() if leaf in module.arrays}
        arrays = {new: module.arrays[leaf] for new, leaf in own.items()}
        keys = {new: module.keys[leaf] for new, leaf in own.items()}
        yield replace(module, name=f"{module.name}/{part}", arrays=arrays, keys=keys, kind=f"{module.kind}/{part}")


def _recurrent(arrays: Mapping[str, Array]) -> str:
    """The kind of a recurrent cell, from how many gates its recurrent kernel has."""
    shape = [*arrays.values()][1].shape if len(arrays) > 1 else ()
    gates = shape[1] / max(shape[0], 1) if len(shape) == 2 else 0
    return {1: "rnn", 3: "gru", 4: "lstm"}.get(gates, "cell")


def _of_batch_norm(name: str, count: int, config: Mapping[str, Any]) -> tuple[str, ...]:
    """The variables of a batch norm, of which a scale and a shift may be left out."""
    _, (gamma, beta, *statistics) = CLASSES["batch_normalization"]
    wanted = [label for label, flag in ((gamma, "scale"), (beta, "center")) if config.get(flag, True)]
    if count == 2 and not config:
        wanted = []
    if len(wanted) + 2 != count:
        raise ValueError(
            f"{name} has {count} variables, and which of scale and shift is missing stands in a .keras file only; "
            "save the model as .keras"
        )
    return (*wanted, *statistics)


def _layers(config: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each layer of a configuration by the path of its names, with its arguments, in order."""
    inner = config.get("config") if isinstance(config, dict) else None
    if not isinstance(inner, dict) or depth > MAX_DEPTH:
        return
    children = [*inner["layers"]] if isinstance(inner.get("layers"), list) else []
    children += [inner[key] for key in ("layer", "forward_layer", "backward_layer") if isinstance(inner.get(key), dict)]
    for child in children:
        own = child.get("config", {}) if isinstance(child, dict) else {}
        name = own.get("name") if isinstance(own, dict) else None
        if isinstance(name, str):
            place = f"{path}/{name}" if path else name
            yield place, {**own, "snake": _snake(str(child.get("class_name", "")))}
            yield from _layers(child, place, depth + 1)


def _snake(name: str) -> str:
    """``DepthwiseConv2D`` as ``depthwise_conv2d``, as Keras calls groups."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
