import io
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import (
    array_shapes,
    arrays,
    boolean_dtypes,
    complex_number_dtypes,
    floating_dtypes,
    integer_dtypes,
    unsigned_integer_dtypes,
)

from funcnn import tree
from funcnn.aliases import Tree
from funcnn.interchange import checkpoint
from funcnn.interchange.checkpoint import load, save
from funcnn.interchange.renamed import Renames

MODEL = {
    "conv2d_0": {"w": np.arange(6, dtype=np.float32).reshape(3, 2), "b": np.zeros(2, np.float32)},
    "step": np.array(7),
}


def assert_same_bits(found: Tree, expected: Tree) -> None:
    """Equal structure, order of keys, dtype, shape, memory order and bytes."""
    if isinstance(expected, dict):
        assert isinstance(found, dict)
        assert list(found) == list(expected)
        for key in expected:
            assert_same_bits(found[key], expected[key])
        return
    assert isinstance(found, np.ndarray)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert np.isfortran(found) == np.isfortran(np.asarray(expected))
    assert found.tobytes() == expected.tobytes()


def saved(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def npy(array: Any, allow_pickle: bool = False) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, allow_pickle=allow_pickle)
    return buffer.getvalue()


DTYPES = st.one_of(
    boolean_dtypes(),
    integer_dtypes(endianness="?"),
    unsigned_integer_dtypes(endianness="?"),
    floating_dtypes(endianness="?"),
    complex_number_dtypes(endianness="?"),
)
LEAVES = arrays(DTYPES, array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)).flatmap(
    lambda array: st.sampled_from([array, np.asfortranarray(array), array[..., ::-1] if array.ndim else array])
)
# Neither "/", which separates, nor what a file name in UTF-8 cannot hold; "\\" is a separator on Windows.
KEYS = st.one_of(
    st.sampled_from(["file", "w.npy", "..", " ", "ключ"]),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\\\0"), min_size=1, max_size=5),
)
TREES = st.recursive(LEAVES, lambda children: st.dictionaries(KEYS, children, max_size=3), max_leaves=6)


@given(TREES)
def test_any_tree_comes_back_bit_by_bit(tmp_path_factory: pytest.TempPathFactory, params: Tree) -> None:
    path = tmp_path_factory.mktemp("checkpoint") / "any"
    save(path, params)
    assert_same_bits(load(path), params)
    assert_same_bits(load(path, like=params), params)


@pytest.mark.parametrize(
    "params",
    [
        np.float64(1.5),
        np.array([0x7FC00001, 0xFFC0BEEF, 0x7F800001], np.uint32).view(np.float32),  # NaNs with payloads
        {},
        {"relu_0": {}, "serial_0": {"a": {}, "w": np.zeros((0, 3))}},
        {"z": np.ones(2), "a": np.ones(1)},
        {"file": np.ones(2), "allow_pickle": np.ones(1)},
    ],
    ids=["scalar", "nan payload", "empty", "empty inside", "order", "names of savez arguments"],
)
def test_special_trees_come_back(tmp_path: Path, params: Tree) -> None:
    save(tmp_path / "model.npz", params)
    assert_same_bits(load(tmp_path / "model.npz"), params)


def test_numpy_reads_it_and_we_read_numpy(tmp_path: Path) -> None:
    save(tmp_path / "ours.npz", MODEL)
    with np.load(tmp_path / "ours.npz") as file:
        assert_same_bits(tree.unflatten({name: file[name] for name in file.files}), MODEL)
    np.savez_compressed(tmp_path / "theirs.npz", **tree.flatten(MODEL))
    np.testing.assert_array_equal(load(tmp_path / "theirs.npz")["conv2d_0"]["w"], MODEL["conv2d_0"]["w"])


def test_the_name_is_kept_and_the_same_tree_gives_the_same_file(tmp_path: Path) -> None:
    save(str(tmp_path / "a.weights"), MODEL)
    save(tmp_path / "b", MODEL)
    assert sorted(os.listdir(tmp_path)) == ["a.weights", "b"]
    assert (tmp_path / "a.weights").read_bytes() == (tmp_path / "b").read_bytes()


def test_loaded_arrays_can_be_written_to(tmp_path: Path) -> None:
    save(tmp_path / "a", {"w": np.zeros(2)})
    load(tmp_path / "a")["w"][0] = 1


@pytest.mark.parametrize(
    ("leaf", "error", "message"),
    [
        (1.0, TypeError, "dense_0/w: expected a NumPy array, got float; use np.asarray"),
        (None, TypeError, "dense_0/w: expected a NumPy array, got NoneType"),
        ([1.0], TypeError, "dense_0/w: a tree is made of dicts, got a list"),
        (np.array([None]), TypeError, "dense_0/w: expected booleans or numbers, got an array of dtype object"),
        (np.array("text"), TypeError, "dense_0/w: expected booleans or numbers, got an array of dtype <U4"),
        ({"a/b": np.ones(1)}, ValueError, "dense_0/w: a key may not be empty or contain '/'"),
        ({"a\0b": np.ones(1)}, ValueError, "cannot be a name in a zip file"),
    ],
)
def test_what_is_not_a_tree_of_arrays_raises_before_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leaf: object, error: type, message: str
) -> None:
    monkeypatch.setattr(zipfile, "ZipFile", None)
    with pytest.raises(error, match=message):
        save(tmp_path / "model.npz", {"a": np.ones(1), "dense_0": {"w": leaf}})
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("culprit", ["fsync", "replace"])
def test_a_failed_save_leaves_the_old_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, culprit: str) -> None:
    path = tmp_path / "model.npz"
    save(path, MODEL)

    def disk_full(*args: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(checkpoint.os, culprit, disk_full)
    with pytest.raises(OSError, match="no space left"):
        save(path, {"w": np.ones(1)})
    assert os.listdir(tmp_path) == ["model.npz"]
    assert_same_bits(load(path), MODEL)


def test_an_interrupted_save_leaves_the_old_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.npz"
    save(path, MODEL)

    def interrupt(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(np.lib.format, "write_array", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save(path, {"w": np.ones(1)})
    assert os.listdir(tmp_path) == ["model.npz"]
    assert_same_bits(load(path), MODEL)


def test_load_names_every_difference_at_once(tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    save(path, MODEL)
    like = {
        "conv2d_0": {"w": np.zeros((3, 5), np.float32), "b": np.zeros(2, np.float64)},
        "dense_0": {"w": np.zeros(1)},
    }
    with pytest.raises(ValueError, match=r"model\.npz holds the parameters of another model") as caught:
        load(path, like=like)
    assert str(caught.value).split(": ", 1)[1].split("; ") == [
        "conv2d_0/b has dtype float32, expected float64",
        "conv2d_0/w has shape (3, 2), expected (3, 5)",
        "dense_0/w is missing",
        "step is extra",
    ]


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"model\.npz"):
        load(tmp_path / "model.npz")


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({}, "it has no .npy members"),
        ({"readme.txt": b"hello"}, "'readme.txt' is not a .npy member"),
        ({"w.npy": b"hello"}, "member 'w.npy': .*magic string"),
        ({"w.npy": npy(np.ones(3))[:-1]}, r"member 'w.npy': expected 24 bytes for float64 of shape \(3,\), got 23"),
        ({"w.npy": npy(np.ones(3)) + b"!"}, r"member 'w.npy': expected 24 bytes for float64 of shape \(3,\), got 25"),
        ({"w.npy": npy(np.array([None]), allow_pickle=True)}, "member 'w.npy': .* got an array of dtype object"),
        (
            {"a.npy": npy(np.ones(1)), "a/b.npy": npy(np.ones(1))},
            "'a' is an array or an empty folder, and a folder of others",
        ),
        ({"a//b.npy": npy(np.ones(1))}, "a key may not be empty"),
    ],
)
def test_a_zip_of_something_else_raises(tmp_path: Path, members: dict[str, bytes], message: str) -> None:
    path = saved(tmp_path / "model.npz", members)
    with pytest.raises(ValueError, match=rf"model\.npz is damaged or not a checkpoint: .*{message}"):
        load(path)


@pytest.mark.parametrize(("content", "message"), [(b"", "it is empty"), (b"%PDF-1.5", "it is not a zip file")])
def test_another_file_raises(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "model.npz").write_bytes(content)
    with pytest.raises(ValueError, match=rf"model\.npz is not a checkpoint: {message}"):
        load(tmp_path / "model.npz")


def test_every_truncation_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    save(path, MODEL)
    whole = path.read_bytes()
    for length in range(2, len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"model\.npz .*it is cut short"):
            load(path)


def test_a_changed_weight_fails_its_checksum(tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    save(path, MODEL)
    whole = path.read_bytes()
    weights = MODEL["conv2d_0"]["w"].tobytes()
    path.write_bytes(whole.replace(weights, weights[:-1] + b"\x41"))
    with pytest.raises(ValueError, match=r"model\.npz is damaged.*Bad CRC-32 for file 'conv2d_0/w\.npy'"):
        load(path)


def test_no_changed_byte_is_read_as_another_tree(tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    model = {"w": np.arange(3.0), "relu_0": {}, "b": np.ones(1)}
    save(path, model)
    whole = path.read_bytes()
    for position in range(len(whole)):
        for bit in range(8):
            changed = bytearray(whole)
            changed[position] ^= 1 << bit
            path.write_bytes(changed)
            try:
                found = load(path)
            except ValueError:
                continue
            assert_same_bits(found, model)  # the bit belonged to a date, for example


def test_renamed_keys_of_a_state_are_read_under_their_new_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = {"scale_by_adam": {"m": {"m": np.ones(2)}, "step": np.array(3)}, "rate": np.array(0.1)}
    saved = {"params": {"m": np.ones(2)}, "opt_state": state, "step": np.array(3)}
    save(tmp_path / "checkpoint.npz", saved)
    assert_same_bits(load(tmp_path / "checkpoint.npz", like=saved), saved)
    table = (Renames(state_keys={"scale_by_adam": "adam_rule"}), Renames(state_keys={"step": "count"}))
    monkeypatch.setattr("funcnn.interchange.renamed.RENAMES", table)
    new = {"adam_rule": {"m": {"m": np.ones(2)}, "count": np.array(3)}, "rate": np.array(0.1)}
    assert_same_bits(load(tmp_path / "checkpoint.npz"), saved | {"opt_state": new})
    assert_same_bits(load(tmp_path / "checkpoint.npz", like=saved | {"opt_state": new}), saved | {"opt_state": new})
