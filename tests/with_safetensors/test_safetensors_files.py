"""Safetensors files: what funcnn writes, safetensors reads, and the other way round; damaged ones raise."""

import json
import os
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import funcnn as fn

TREE: dict[str, Any] = {
    "dense_0": {"w": np.arange(6, dtype=np.float32).reshape(3, 2), "b": np.array([1.5, -np.inf])},
    "counts": np.arange(3, dtype=np.int16),
    "mask": np.array([[True], [False]]),
    "step": np.int64(7),
    "empty": np.zeros((0, 3), np.uint8),
    "half": np.array([0.5, np.nan], np.float16),
    "complex": np.array([1 + 2j], np.complex64),
}


def same(one: Any, other: Any) -> bool:
    one, other = fn.tree.flatten(one), fn.tree.flatten(other)

    def alike(leaf: Any, found: Any) -> bool:
        nan = np.asarray(leaf).dtype.kind == "f"
        return np.asarray(leaf).dtype == found.dtype and np.array_equal(leaf, found, equal_nan=nan)

    return one.keys() == other.keys() and all(alike(leaf, other[path]) for path, leaf in one.items())


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    fn.save_safetensors(tmp_path / "x.safetensors", TREE, {"epoch": "7", "note": "é"})
    found, metadata = fn.load_safetensors(tmp_path / "x.safetensors", with_metadata=True)
    assert same(TREE, found)
    assert metadata == {"epoch": "7", "note": "é"}
    found["dense_0"]["w"][:] = 0  # new arrays, which may be written to
    assert same(TREE, fn.load_safetensors(tmp_path / "x.safetensors", like=TREE))


def test_other_programs_read_the_paths(tmp_path: Path) -> None:
    fn.save_safetensors(tmp_path / "x.safetensors", TREE)
    found = load_file(tmp_path / "x.safetensors")
    assert sorted(found) == fn.tree.paths(TREE)
    assert np.array_equal(found["dense_0/w"], TREE["dense_0"]["w"])


def test_files_of_other_programs_are_read(tmp_path: Path) -> None:
    arrays = {"0.weight": np.ones((2, 3), np.float32), "0.bias": np.zeros(2, np.float32)}
    save_file(arrays, tmp_path / "x.safetensors", {"format": "pt"})
    found, metadata = fn.load_safetensors(tmp_path / "x.safetensors", with_metadata=True)
    assert same(arrays, found)
    assert metadata == {"format": "pt"}
    params = fn.params_from_torch(fn.serial(fn.dense(2)), found)
    assert params["dense_0"]["w"].shape == (3, 2)


def test_memory_order_and_byte_order_do_not_matter(tmp_path: Path) -> None:
    w = np.arange(12, dtype=np.float32).reshape(3, 4)
    fn.save_safetensors(tmp_path / "x", {"t": w.T, "s": w[::2, ::-1], "big": w.astype(">f4")})
    found = fn.load_safetensors(tmp_path / "x")
    assert all(map(np.array_equal, [found["t"], found["s"], found["big"]], [w.T, w[::2, ::-1], w]))
    assert found["big"].dtype == np.float32


def test_a_single_array_is_a_tree(tmp_path: Path) -> None:
    fn.save_safetensors(tmp_path / "x", np.ones(2))
    assert np.array_equal(fn.load_safetensors(tmp_path / "x"), np.ones(2))


def written(path: Path, header: Any, data: bytes = b"") -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def entry(dtype: str, shape: list[int], size: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [0, size]}


def test_brain_floats_become_float32(tmp_path: Path) -> None:
    values = np.array([1.5, -2.25, 3e38, np.inf], np.float32)
    halves = (values.view(np.uint32) >> 16).astype("<u2")
    path = written(tmp_path / "x", {"w": entry("BF16", [2, 2], 8)}, halves.tobytes())
    found = fn.load_safetensors(path)["w"]
    assert found.dtype == np.float32
    assert np.array_equal(found, (halves.astype(np.uint32) << 16).view(np.float32).reshape(2, 2))
    assert found[0, 1] == -2.25


@pytest.mark.parametrize(
    ("header", "data", "message"),
    [
        (
            {"w": entry("F8_E4M3", [2], 2)},
            b"ab",
            r"'w' has the dtype F8_E4M3, which NumPy lacks; expected one of \['F64'",
        ),
        ({"w": entry("BOOL", [2], 2)}, b"\1\2", "the booleans of 'w' are neither 0 nor 1"),
        ({"w": entry("F32", [2], 8)}, b"abcd", "."),
        ({"w": entry("F32", [3], 8)}, bytes(8), "."),
        ({"w": entry("F32", [2**62, 2**62], 8)}, bytes(8), "."),
        ({"w": entry("F32", [1], 4)}, bytes(8), "."),
        ({"w": entry("F32", [1] * 70, 4)}, bytes(4), "'w': expected at most 64 axes, .* got float32 with 70 axes"),
        ({"w": entry("BF16", [1] * 70, 2)}, bytes(2), "'w': expected at most 64 axes"),
        ({"w": entry("F32", [0, 2**62], 0)}, b"", r"'w': expected at most 64 axes, .* got float32 of shape \(0, 4611"),
        ({"a": entry("F32", [1], 4), "a/b": {**entry("F32", [1], 4), "data_offsets": [4, 8]}}, bytes(8), "leaf"),
        ({"a//b": entry("F32", [1], 4)}, bytes(4), "empty"),
        (b"{", b"", "."),
        (b"[" * 50_000, b"", "."),
        (b"\xff\xfe", b"", "."),
    ],
)
def test_foreign_and_hostile_files_raise(tmp_path: Path, header: Any, data: bytes, message: str) -> None:
    path = written(tmp_path / "x", header, data)
    with pytest.raises(ValueError, match=rf"{re.escape(str(path))} is damaged or not a safetensors file: .*{message}"):
        fn.load_safetensors(path)


def test_cut_files_and_other_files_raise(tmp_path: Path) -> None:
    path = tmp_path / "x"
    fn.save_safetensors(path, TREE)
    content = path.read_bytes()
    for end in range(0, len(content), 7):
        path.write_bytes(content[:end])
        with pytest.raises(ValueError, match="is damaged or not a safetensors file"):
            fn.load_safetensors(path)
    fn.save(path, TREE)
    with pytest.raises(ValueError, match="is damaged or not a safetensors file"):
        fn.load_safetensors(path)
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        fn.load_safetensors(tmp_path / "no")


def test_a_damaged_header_is_never_read_as_other_shapes_of_memory(tmp_path: Path) -> None:
    path, draw = tmp_path / "x", np.random.default_rng(0)
    fn.save_safetensors(path, TREE)
    content, size = path.read_bytes(), sum(np.asarray(leaf).nbytes for leaf in fn.tree.leaves(TREE))
    end = 8 + int.from_bytes(content[:8], "little")
    for _ in range(500):
        changed = bytearray(content)
        changed[draw.integers(end)] = draw.integers(256)
        path.write_bytes(changed)
        try:
            found = fn.load_safetensors(path)
        except ValueError as error:
            assert "is damaged or not a safetensors file" in str(error)  # noqa: PT017, reading may also succeed
        else:
            assert sum(leaf.nbytes for leaf in fn.tree.leaves(found)) == size


@pytest.mark.parametrize(
    ("tree", "metadata", "error", "message"),
    [
        ({"a": None}, {}, TypeError, "a: expected a NumPy array, got NoneType"),
        ({"a": np.array([None])}, {}, TypeError, "a: expected booleans or numbers, got an array of dtype object"),
        ({"a": [1.0]}, {}, TypeError, "a"),
        (
            {"a": {"b": {}}},
            {},
            ValueError,
            "a/b is an empty dict, which a safetensors file cannot hold; leave it out, or",
        ),
        (
            {"a": np.ones(2, complex)},
            {},
            TypeError,
            "a: a safetensors file holds no complex128; cast it to one of float64",
        ),
        (
            {"__metadata__": np.ones(2)},
            {},
            ValueError,
            "has its metadata under the name '__metadata__'; rename the key",
        ),
        ({"a/b": np.ones(2)}, {}, ValueError, "a/b"),
        ({"a": np.ma.ones(2)}, {}, TypeError, "a: expected a plain array"),
        (fn.dense(2), {}, TypeError, r"the tree: expected a NumPy array, got Layer; write save_model"),
        ("x", {}, TypeError, r"the tree: .* is it save_safetensors\(path, tree\)\?"),
        ({"a": np.ones(2)}, {"epoch": 7}, TypeError, r"metadata: expected texts by name, got 'epoch': 7; use str"),
        ({"a": np.ones(2)}, ["x"], TypeError, "save_safetensors: metadata: expected a dict of texts, got "),
    ],
)
def test_what_cannot_be_saved_raises_and_leaves_the_file(
    tmp_path: Path, tree: Any, metadata: Any, error: type[Exception], message: str
) -> None:
    path = tmp_path / "x"
    fn.save_safetensors(path, {"a": np.zeros(3)})
    with pytest.raises(error, match=message):
        fn.save_safetensors(path, tree, metadata)
    assert np.array_equal(fn.load_safetensors(path)["a"], np.zeros(3))
    assert os.listdir(tmp_path) == ["x"]


def test_like_names_every_difference(tmp_path: Path) -> None:
    fn.save_safetensors(tmp_path / "x", {"a": np.zeros(3), "b": np.zeros(2), "d": np.zeros(1, np.float32)})
    message = "a has shape .3,., expected .2,.; b is extra; c is missing; d has dtype float32, expected float64"
    with pytest.raises(ValueError, match=message):
        fn.load_safetensors(tmp_path / "x", like={"a": np.zeros(2), "c": np.zeros(1), "d": np.zeros(1)})


def test_a_folder_that_lacks_raises(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        fn.save_safetensors(tmp_path / "no" / "x", {"a": np.zeros(3)})


def test_a_missing_package_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    fn.save_safetensors(tmp_path / "x", {"a": np.zeros(3)})
    for name in ("safetensors", "safetensors.numpy"):
        monkeypatch.setitem(sys.modules, name, None)
    for call in (fn.load_safetensors, lambda path: fn.save_safetensors(path, {"a": np.zeros(3)})):
        with pytest.raises(ModuleNotFoundError, match=r'needs safetensors: pip install "funcnn\[safetensors\]"'):
            call(tmp_path / "x")
