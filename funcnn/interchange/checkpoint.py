"""A checkpoint is a tree in a file: a zip with one ``.npy`` member per leaf, named by the leaf's path.

A model file has one member more: the model's architecture, as JSON.
Nothing in it can run code, ``np.load`` reads it too, and the file appears under its name only when it is complete:
a reader finds the old tree or the new one, never a part of each.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from funcnn import checks
from funcnn import tree as trees
from funcnn.aliases import Arrays, Params, Tree
from funcnn.calls import explained
from funcnn.interchange.architecture import check_own, check_params, from_json, to_json
from funcnn.interchange.archive import KINDS, check_name, read_members, write_members
from funcnn.interchange.files import blamed_on, opened, replaced
from funcnn.interchange.renamed import renamed_state
from funcnn.protocol import Layer, LayerLike, as_layer
from funcnn.signals import reraise_if_of_a_handler
from funcnn.tree import below

__all__ = ["load", "load_model", "save", "save_model"]

ARCHITECTURE = "architecture.json"

INSTEAD_OF_NONE = "leave the entry out; in the state of an optimizer, return the old state where a gradient is None"
"""What to do about a leaf that is None. Those of parameters without a gradient are the usual ones."""


@explained
def save(path: str | Path, tree: Arrays) -> None:
    """Write a tree of arrays to a file, all of it or nothing.

    Args:
        path: where to, written exactly as given; ``.npz`` is the usual ending. An existing file is replaced and its
            mode kept; a link stays, and the file that it points to is replaced. What killed calls for the same file
            left behind is removed.
        tree: nested dicts of NumPy arrays or scalars, of booleans, integers, floats or complex numbers. Dtype, memory
            order and every bit are kept; a NumPy scalar becomes an array without axes.

    Returns:
        None; the file is complete then.

    Raises:
        TypeError: a leaf is something else; the message names its path, and nothing has been written.
        ValueError: a key cannot be part of a path, or of a name in a zip; or there is a pipe or a device under this
            name.
        OSError: the file cannot be written, for example for lack of a folder (FileNotFoundError) or of space; the old
            one is as it was, and the error names ``path``.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(f"{folder}/model.npz", {"dense_0": {"w": np.ones((2, 3), np.float32)}})
        ...     np.load(f"{folder}/model.npz")["dense_0/w"].dtype
        dtype('float32')
    """
    check_order("save", tree)
    _write(checks.path("save", path), tree)


@explained
def load(path: str | Path, like: Arrays | None = None) -> Tree:
    """Read a tree back; ``save`` and then ``load`` give the same bits.

    Args:
        path: a file that ``save`` wrote, or any ``.npz`` of arrays; of a file that ``save_model`` wrote, the
            parameters are read.
        like: a tree that the file must fit, for example ``model.init(shape, 0)``: the same paths, shapes and dtypes.

    Returns:
        The tree, of new arrays. The checksum of each has been compared.

    Raises:
        FileNotFoundError: there is no such file.
        TypeError: ``like`` is not a tree of arrays.
        ValueError: the file is damaged or not a checkpoint, holds anything but booleans and numbers, or is compressed
            to less than a hundredth and larger than ``like``; or it does not fit ``like``, and the message names every
            leaf that is missing, extra, or of another shape or dtype.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(f"{folder}/model.npz", {"w": np.zeros(2)})
        ...     load(f"{folder}/model.npz", like={"w": np.ones(2)})
        {'w': array([0., 0.])}
    """
    path = checks.path("load", path)
    tree, _ = _read(path, 0 if like is None else _expected_bytes(path, like))
    if isinstance(tree, dict) and "opt_state" in tree:
        tree = tree | {"opt_state": renamed_state(tree["opt_state"])}
    if like is not None:
        check_like(path, tree, like)
    return tree


@explained
def save_model(path: str | Path, model: LayerLike, params: Params) -> None:
    """Write a model with its parameters to a file: ``load_model`` needs nothing else to predict.

    Args:
        path: where to, as for ``save``.
        model: a layer; layers of your own as ``to_json`` says.
        params: its parameters, with the statistics that ``calibrate`` measured.

    Returns:
        None; the file is complete then.

    Raises:
        ValueError: the architecture cannot be written, or the parameters are those of another model; nothing has been
            written.
        TypeError, OSError: as for ``save``.

    Example:
        >>> import funcnn as fn, tempfile
        >>> model = fn.serial(fn.dense(4, activation=fn.relu), fn.dense(2))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_model(f"{folder}/model.npz", model, model.init((3,), rng=0))
        ...     model, params = load_model(f"{folder}/model.npz")
        >>> model
        serial(dense(4, activation=relu), dense(2))
    """
    path = checks.path("save_model", path)
    text = to_json(model)
    _check_depth(path, params)
    check_params(as_layer(model), params)
    _write(path, params, text)


@explained
def load_model(path: str | Path, layers: Mapping[str, Layer | Callable[..., Any]] = {}) -> tuple[Layer, Params]:
    """Read a model and its parameters back: it predicts the same bits, and training continues from there.

    Nothing in the file is run. Its names mean this library's layers and those in ``layers``.

    Args:
        path: a file that ``save_model`` wrote.
        layers: layers of your own by name, ``{"snake": snake}``; the constructor, not what it returns.

    Returns:
        ``(model, params)``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged or holds no model, names a layer that is not in ``layers``, comes from a newer
            funcnn, or holds parameters of another model.

    Example:
        >>> import funcnn as fn, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_model(f"{folder}/model.npz", fn.dense(2), {"w": np.ones((3, 2)), "b": np.zeros(2)})
        ...     model, params = load_model(f"{folder}/model.npz")
        >>> fn.predict(model, params, np.ones((1, 3)))
        array([[3., 3.]])
    """
    path = checks.path("load_model", path)
    check_own(layers)
    params, text = _read(path)
    if text is None:
        raise ValueError(f"{path} holds arrays and no model, as save writes them; build the model, and call load")
    try:
        model = from_json(text, layers)
        check_params(model, params)
    except (TypeError, ValueError) as error:
        reraise_if_of_a_handler(error)
        raise ValueError(f"{path}: {error}") from error
    return model, params


def check_order(kind: str, tree: Any) -> None:
    """Raise about a path or a model in place of a tree."""
    if isinstance(tree, str | Path) or hasattr(tree, "init"):
        write = "write save_model(path, model, params)" if hasattr(tree, "init") else f"is it {kind}(path, tree)?"
        raise TypeError(f"the tree: expected a NumPy array, got {type(tree).__name__}; {write}")


def _write(path: Path, tree: Tree, architecture: str | None = None) -> None:
    """Write a tree, and perhaps an architecture before it, to a file: all of it or nothing."""
    members = checked_entries(path, tree)
    if architecture is not None:
        members = {ARCHITECTURE: architecture.encode(), **members}
    with replaced(path) as file:
        write_members(file, members)


def checked_entries(path: Path, tree: Tree) -> dict[str, Any]:
    """The members of a file of this tree by name, or an error about what could not be read back as it is."""
    _check_depth(path, tree)
    members = dict(_entries(tree))
    for name, leaf in members.items():
        _check_entry(name, leaf)
    return members


def _check_depth(path: Path, tree: Tree) -> None:
    """Raise on keys and containers that have no path, and on a dict that contains itself."""
    try:
        trees.flatten(tree)
    except RecursionError:
        raise ValueError(f"{path}: the tree is nested too deeply; does a dict contain itself?") from None


def _read(path: Path, known: int = 0) -> tuple[Tree, str | None]:
    """The tree in a file, and the architecture if there is one; ``known`` is the expected number of bytes."""
    with opened(path) as file:
        start, size = file.read(2), os.fstat(file.fileno()).st_size
        if not zipfile.is_zipfile(file):
            what = "is empty" if not start else "is cut short" if start == b"PK" else "is not a zip file"
            raise ValueError(f"{path} is not a checkpoint: it {what}")
        with blamed_on(path, "damaged or not a checkpoint"):
            return _tree(read_members(file, size, known))


def _entries(tree: Tree, path: str = "") -> Iterator[tuple[str, Any]]:
    """The members of the file, ``w.npy`` for a leaf, and for an empty dict a folder: ``relu_0/`` with no leaf."""
    if not isinstance(tree, dict):
        yield f"{path}.npy", tree
    elif not tree:
        yield f"{path}/", None
    else:
        for key, child in tree.items():
            yield from _entries(child, below(path, key))


def _check_entry(name: str, leaf: Any) -> None:
    """Raise an error, before anything is written, about a leaf that could not be read back as it is."""
    path = _place(name)
    check_name(name)
    if leaf is None and name.endswith("/"):
        return
    checks.plain(path, leaf)
    if not isinstance(leaf, np.ndarray | np.generic):
        advice = INSTEAD_OF_NONE if leaf is None else "use np.asarray(...)"
        raise TypeError(f"{path}: expected a NumPy array, got {type(leaf).__name__}; {advice}")
    if leaf.dtype.kind not in KINDS:
        raise TypeError(f"{path}: expected booleans or numbers, got an array of dtype {leaf.dtype}")


def _tree(members: dict[str, Any]) -> tuple[Tree, str | None]:
    """The tree whose leaves are the members of a file, and the architecture."""
    architecture = members.pop(ARCHITECTURE, None)
    if not members and architecture is None:
        raise ValueError("it has no .npy members")
    flat: dict[str, Any] = {}
    for name, content in members.items():
        path = name.removesuffix("/" if name.endswith("/") else ".npy")
        if path == name or (name.endswith("/") and content):
            raise ValueError(f"{name!r} is not a .npy member")
        if path in flat:
            raise ValueError(f"{path!r} is an array and a folder at once")
        flat[path] = {} if name.endswith("/") else content
    parents = {parent for path in flat for parent in accumulate(path.split("/")[:-1], below)}
    for path in flat:
        if path in parents:
            raise ValueError(f"{path!r} is an array or an empty folder, and a folder of others at once")
    tree = trees.unflatten(flat)
    trees.flatten(tree)  # raises on names that are not paths
    return tree, None if architecture is None else architecture.decode()


def _expected_bytes(path: Path, like: Tree) -> int:
    """The size of the arrays of ``like``, which must be a tree of booleans and numbers."""
    _check_depth(path, like)
    arrays = {name: np.asarray(leaf) for name, leaf in _entries(like) if name.endswith(".npy")}
    for name, array in arrays.items():
        if array.dtype.kind not in KINDS:
            raise TypeError(f"like: {_place(name)}: expected an array of booleans or numbers, got dtype {array.dtype}")
    return sum(array.nbytes for array in arrays.values())


def check_like(path: Path, tree: Tree, like: Tree) -> None:
    """Raise an error if the tree in a file is not like the one that was expected."""
    if found := differences(tree, like):
        raise ValueError(f"{path} holds the parameters of another model: {'; '.join(found)}")


def differences(tree: Tree, like: Tree) -> list[str]:
    """Every difference between the leaves of two trees, by path: one is missing, or extra, or has another shape."""
    found, expected = ({_place(name): leaf for name, leaf in _entries(t)} for t in (tree, like))
    different = [f"{name} is missing" for name in expected.keys() - found.keys()]
    different += [f"{name} is extra" for name in found.keys() - expected.keys()]
    for name in expected.keys() & found.keys():
        (shape, dtype), (wanted_shape, wanted_dtype) = (
            (np.shape(leaf), np.asarray(leaf).dtype) for leaf in (found[name], expected[name])
        )
        if shape != wanted_shape:
            different.append(f"{name} has shape {shape}, expected {wanted_shape}")
        if dtype != wanted_dtype:
            different.append(f"{name} has dtype {dtype}, expected {wanted_dtype}")
    return sorted(different)


def _place(name: str) -> str:
    """The place in a tree of a member of the file, for messages."""
    path = name.removesuffix(".npy").removesuffix("/") or "the tree"
    return f"{path} as an empty dict" if name.endswith("/") else path
