"""A safetensors file has names, dtypes and shapes in JSON, and then the numbers; many weights are published so.

It holds no code and no architecture. A leaf has its path as its name, ``stem/conv2d_0/w``, and a file of another
library has the names of that library: ``params_from_torch`` takes what ``load_safetensors`` returns.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np

from funcnn import checks
from funcnn import tree as trees
from funcnn.aliases import Array, Arrays, Tree
from funcnn.calls import explained
from funcnn.interchange.bfloat16 import from_bfloat16
from funcnn.interchange.checkpoint import check_like, check_order, checked_entries
from funcnn.interchange.extras import package
from funcnn.interchange.files import blamed_on, opened, replaced
from funcnn.wording import shown

__all__ = ["load_safetensors", "save_safetensors"]

METADATA = "__metadata__"
"""The name in a file under which its metadata stand."""

DTYPES: dict[str, Any] = {
    "F64": np.float64, "F32": np.float32, "F16": np.float16, "BOOL": np.bool_, "C64": np.complex64,
    "I64": np.int64, "I32": np.int32, "I16": np.int16, "I8": np.int8,
    "U64": np.uint64, "U32": np.uint32, "U16": np.uint16, "U8": np.uint8,
}  # fmt: skip
BRAIN_FLOAT = "BF16"


@explained
def save_safetensors(path: str | Path, tree: Arrays, metadata: Mapping[str, str] = {}) -> None:
    """Write a tree of arrays to a safetensors file, all of it or nothing.

    Args:
        path: where to, as for ``save``; ``.safetensors`` is the usual ending.
        tree: nested dicts of NumPy arrays or scalars, of booleans, integers, float16, float32, float64 or complex64.
            A leaf is called by its path, ``"dense_0/w"``. It is written in C order, with the same bits.
        metadata: texts by name, such as ``{"model": fn.to_json(model)}``.

    Returns:
        None; the file is complete then.

    Raises:
        ModuleNotFoundError: safetensors is not installed: ``pip install "funcnn[safetensors]"``.
        TypeError: a leaf is something else, None for example, or the metadata are not texts; nothing has been written.
        ValueError: a key cannot be part of a path, or there is an empty dict, which this format cannot hold.
        OSError: as for ``save``.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_safetensors(f"{folder}/x.safetensors", {"dense_0": {"w": np.ones((2, 3))}}, {"epoch": "7"})
        ...     load_safetensors(f"{folder}/x.safetensors", with_metadata=True)
        ({'dense_0': {'w': array([[1., 1., 1.],
               [1., 1., 1.]])}}, {'epoch': '7'})

    Reference:
        https://huggingface.co/docs/safetensors, "Format".
    """
    path = checks.path("save_safetensors", path)
    check_order("save_safetensors", tree)
    entries = checked_entries(path, tree)
    arrays = {_leaf_path(name): np.asarray(leaf, order="C") for name, leaf in entries.items()}
    for name, array in arrays.items():
        if array.dtype.newbyteorder("=") not in map(np.dtype, DTYPES.values()):
            expected = ", ".join(np.dtype(dtype).name for dtype in DTYPES.values())
            raise TypeError(f"{name}: a safetensors file holds no {array.dtype}; cast it to one of {expected}")
    module = package("safetensors.numpy", "safetensors", "writing safetensors files")
    content = module.save(arrays, _texts(metadata))
    with replaced(path) as file:
        file.write(content)


@overload
def load_safetensors(path: str | Path, like: Arrays | None = None, with_metadata: Literal[False] = False) -> Tree: ...
@overload
def load_safetensors(
    path: str | Path, like: Arrays | None = None, *, with_metadata: Literal[True]
) -> tuple[Tree, dict[str, str]]: ...
@explained
def load_safetensors(path: str | Path, like: Arrays | None = None, with_metadata: bool = False) -> Any:
    """Read the arrays of a safetensors file, of funcnn or of any other library.

    The format has no checksums: a file that was cut or whose description is damaged raises, and changed numbers do not.

    Args:
        path: the file.
        like: a tree that the file must fit, as for ``load``.
        with_metadata: whether to return the metadata too.

    Returns:
        The tree, of new arrays, or ``(tree, metadata)``. Names are cut at ``/``; those of PyTorch, with dots, remain
        whole. The 16-bit floats of machine learning, BF16, become float32 of the same value.

    Raises:
        ModuleNotFoundError: safetensors is not installed: ``pip install "funcnn[safetensors]"``.
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged or not a safetensors file, its names are not paths, it has a dtype that NumPy
            lacks, or it does not fit ``like``, and the message names every leaf that is missing, extra, or of another
            shape or dtype.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_safetensors(f"{folder}/x.safetensors", {"w": np.zeros(2)})
        ...     load_safetensors(f"{folder}/x.safetensors", like={"w": np.ones(2)})
        {'w': array([0., 0.])}
    """
    path = checks.path("load_safetensors", path)
    with_metadata = checks.flag("load_safetensors", "with_metadata", with_metadata)
    module = package("safetensors", "safetensors", "reading safetensors files")
    with opened(path) as file:
        content = file.read()
    with blamed_on(path, "damaged or not a safetensors file"):
        found = dict(module.deserialize(content))
        tree = trees.unflatten({name: _array(name, **found.pop(name)) for name in sorted(found)})
        trees.flatten(tree)  # raises on names that are not paths
    if like is not None:
        check_like(path, tree, like)
    if not with_metadata:
        return tree
    size = int.from_bytes(content[:8], "little")
    return tree, json.loads(content[8 : 8 + size]).get(METADATA, {})


def _leaf_path(member: str) -> str:
    """The path of a leaf, of the name that it has in a checkpoint."""
    if member.endswith("/"):
        raise ValueError(
            f"{member[:-1] or 'the tree'} is an empty dict, which a safetensors file cannot hold; leave it out, or use "
            "fn.save"
        )
    path = member.removesuffix(".npy")
    if path == METADATA:
        raise ValueError(f"a safetensors file has its metadata under the name {METADATA!r}; rename the key")
    return path


def _texts(metadata: Any) -> dict[str, str] | None:
    """Metadata as the format takes them: texts by name, or nothing."""
    if not isinstance(metadata, Mapping):
        raise TypeError(f"save_safetensors: metadata: expected a dict of texts, got {checks.what(metadata)}")
    for name, text in metadata.items():
        if not isinstance(name, str) or not isinstance(text, str):
            raise TypeError(
                f"save_safetensors: metadata: expected texts by name, got {shown(name)}: {shown(text)}; use str(...)"
            )
    return dict(metadata) or None


def _array(name: str, dtype: str, shape: list[int], data: bytes) -> Array:
    """An array of its own memory, of what a file says about it."""
    if dtype == BRAIN_FLOAT:
        checks.declared_shape(repr(name), shape, np.dtype("<u2"))
        return from_bfloat16(np.frombuffer(data, "<u2")).reshape(shape)
    if dtype not in DTYPES:
        raise ValueError(f"{name!r} has the dtype {dtype}, which NumPy lacks; expected one of {[*DTYPES]}")
    if dtype == "BOOL" and max(data, default=0) > 1:
        raise ValueError(f"the booleans of {name!r} are neither 0 nor 1")
    little = np.dtype(DTYPES[dtype]).newbyteorder("<")
    checks.declared_shape(repr(name), shape, little)
    found: Array = np.frombuffer(data, little).astype(DTYPES[dtype]).reshape(shape)
    return found
