"""Files from strangers: what is made to hurt raises before memory is taken, and what is damaged is never read as other.

Each file here is small and asks for much: memory, time, another program, or another meaning of the same bytes.
"""

import ast
import copy
import io
import pickle
import struct
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import funcnn as fn
from tests.interchange import mutants

W = np.arange(6, dtype=np.float32).reshape(3, 2)


def npy(array: Any, version: tuple[int, int] | None = None) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asarray(array), version)
    return buffer.getvalue()


def header(text: str, version: int = 1, length: int | None = None) -> bytes:
    """The start of a ``.npy`` file with this description, and perhaps another length than it has."""
    size = len(text) if length is None else length
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", size) + text.encode()


def described(shape: object, dtype: str = "<f8", order: object = False) -> bytes:
    return header(repr({"descr": dtype, "fortran_order": order, "shape": shape}) + "\n")


def archive_of(path: Path, *members: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


@contextmanager
def little_memory(limit: int) -> Iterator[None]:
    """Fail if more than ``limit`` bytes are taken at once."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < limit, f"{peak / 1e6:.0f} MB were taken"


def raises(path: Path, message: str, limit: int = 2**20) -> None:
    """Reading this file raises our error and takes little memory."""
    with little_memory(limit), pytest.raises(ValueError, match=rf"x\.npz is damaged or not a checkpoint: .*{message}"):
        fn.load(path)


# Sizes


def test_a_zip_bomb_raises_unless_its_content_is_known(tmp_path: Path) -> None:
    zeros = {"w": np.zeros(2**22)}  # 32 MB in 32 KB
    path = tmp_path / "x.npz"
    np.savez_compressed(path, **zeros)
    assert path.stat().st_size < 50_000
    raises(path, r"it has \d+ bytes that expand to 33554560, more than 100 times as many; .* pass .*`like`")
    with little_memory(40_000_000):  # the array, and no second copy of it
        found = fn.load(path, like=zeros)
    assert not found["w"].any()
    with pytest.raises(ValueError, match="expand to"):
        fn.load(path, like={"w": np.zeros(3)})


def test_many_small_bombs_are_one_bomb(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez_compressed(path, **{f"w{i}": np.zeros(2**18) for i in range(10)})  # 2 MB each
    raises(path, "expand to")


def test_weights_and_small_zeros_that_numpy_compressed_are_read(tmp_path: Path) -> None:
    tree = {"w": np.random.default_rng(0).random((500, 500), np.float32), "m": np.zeros((500, 500), np.float32)}
    np.savez_compressed(tmp_path / "x.npz", **tree)
    assert mutants.same(fn.load(tmp_path / "x.npz"), tree)


def test_a_member_that_expands_to_more_than_it_says_raises(tmp_path: Path) -> None:
    path = archive_of(tmp_path / "x.npz", ("w.npy", npy(np.zeros(2**23))), method=zipfile.ZIP_DEFLATED)
    content = path.read_bytes()
    size, small = struct.pack("<I", len(npy(np.zeros(2**23)))), struct.pack("<I", len(npy(np.zeros(3))))
    assert content.count(size) == 2
    path.write_bytes(content.replace(size, small))
    with pytest.raises(ValueError, match=r"not a checkpoint: Bad CRC-32 for file 'w\.npy'$"):
        fn.load(path)
    inner = archive_of(tmp_path / "y.npz", ("w.npy", npy(np.zeros(3)) + bytes(2**26)), method=zipfile.ZIP_DEFLATED)
    size = struct.pack("<I", len(npy(np.zeros(3))) + 2**26)
    path.write_bytes(inner.read_bytes().replace(size, small))
    raises(path, "Bad CRC-32", limit=2**23)


def test_a_member_that_expands_to_less_than_it_says_raises(tmp_path: Path) -> None:
    """Its checksum fits, and the rest of the array would be what the memory held before."""
    content = described((1000,)) + bytes(80)
    path = archive_of(tmp_path / "x.npz", ("w.npy", content), method=zipfile.ZIP_DEFLATED)
    size, large = struct.pack("<I", len(content)), struct.pack("<I", len(content) + 7920)
    assert path.read_bytes().count(size) == 2
    path.write_bytes(path.read_bytes().replace(size, large))
    raises(path, r"member 'w\.npy': it is cut short: expected 8000 bytes of elements, got 80")


def test_a_stored_member_has_one_size(tmp_path: Path) -> None:
    path = archive_of(tmp_path / "x.npz", ("w.npy", npy(W)))
    place = path.read_bytes().index(b"PK\1\2") + 24
    changed = bytearray(path.read_bytes())
    changed[place : place + 4] = struct.pack("<I", 10**7)
    path.write_bytes(changed)
    raises(path, r"member 'w\.npy' has two sizes")


def test_an_array_is_read_into_its_own_memory(tmp_path: Path) -> None:
    fn.save(tmp_path / "x.npz", {"w": np.ones(2**22)})
    with little_memory(40_000_000):
        fn.load(tmp_path / "x.npz")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (described((2**40,)), r"expected 8796093022208 bytes for float64 of shape \(1099511627776,\), got 0"),
        (described((2**33, 2**33)) + bytes(8), "expected 590295810358705651712 bytes"),
        (described((2**62,), "|u1"), "expected 4611686018427387904 bytes"),
        (described((-1,)) + bytes(8), r"shape \(-1,\)"),
        (described((-1, -1)) + bytes(8), r"shape \(-1, -1\)"),
        (
            described((0, 2**70)),
            r"its header: expected at most 64 axes, .* got float64 of shape \(0, 1180591620717411303424",
        ),
        (
            described((1,) * 70) + bytes(8),
            "its header: expected at most 64 axes, .* got float64 with 70 axes; .* again",
        ),
        (described((1.0,)) + bytes(8), "no header of an array: .*shape is not valid"),
        (described("3"), "no header of an array: .*shape is not valid"),
        (described((1,), order=2) + bytes(8), "no header of an array: .*fortran_order is not a valid bool"),
        (header("(" * 9000), "no header of an array"),
        (header("-" * 9000 + "1"), "no header of an array"),
        (header("[" * 90 + "]" * 90), "no header of an array"),
        (header("{}", version=2, length=2**32 - 1), "no header of an array: EOF"),
        (header(" " * 20_000 + "{}"), "no header of an array: Header info length"),
        (
            header("__import__('os').abort()"),
            "no header of an array: (malformed node|Cannot)",
        ),
        (header("{}", version=9), r"no header of an array: .*9"),
        (b"\x93NUMPY", "no header of an array"),
        (b"", "no header of an array"),
        (npy(np.zeros(3))[:-1], r"expected 24 bytes for float64 of shape \(3,\), got 23"),
        (npy(np.zeros(3)) + b"!", r"expected 24 bytes for float64 of shape \(3,\), got 25"),
        (described((2,), "|b1") + b"\1\2", "its booleans are neither 0 nor 1"),
    ],
)
def test_a_header_that_claims_anything_else_raises(tmp_path: Path, content: bytes, message: str, method: int) -> None:
    path = archive_of(tmp_path / "x.npz", ("a/w.npy", content), method=method)
    raises(path, f"({message})", limit=2**22)


def test_a_header_of_version_2_is_read(tmp_path: Path) -> None:
    path = archive_of(tmp_path / "x.npz", ("w.npy", npy(W, (2, 0))))
    assert mutants.same(fn.load(path), {"w": W})


# Members


def test_one_member_listed_3000_times_raises(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("w.npy", npy(np.zeros(100_000)))
        archive.filelist.extend(archive.filelist * 2999)
    assert path.stat().st_size < 10**6
    raises(path, r"it has several members 'w\.npy'", limit=2**23)


def test_two_names_of_the_same_bytes_raise(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("w.npy", npy(W))
        other = copy.copy(archive.filelist[0])
        other.filename = "v.npy"
        archive.filelist.append(other)
    raises(path, "its members overlap, or have bytes between them")


def test_a_member_inside_another_raises(tmp_path: Path) -> None:
    path, inner = tmp_path / "x.npz", io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("v.npy", npy(W))
        hidden = archive.filelist[0]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("w.npy", inner.getvalue())
        moved = copy.copy(hidden)
        moved.header_offset = 30 + len("w.npy")
        archive.filelist.append(moved)
    raises(path, "its members overlap, or have bytes between them")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("w.npy", npy(W)), ("w.npy", npy(2 * W))], r"it has several members 'w\.npy'"),
        ([("architecture.json", b"{}"), ("architecture.json", b"[]"), ("w.npy", npy(W))], "several members"),
        ([("a/", b""), ("a.npy", npy(W))], "'a' is an array and a folder at once"),
        ([("a.npy", npy(W)), ("a/", b"")], "'a' is an array and a folder at once"),
        ([("a.npy", npy(W)), ("a/b.npy", npy(W))], "'a' is an array or an empty folder, and"),
        ([("a/b.npy", npy(W)), ("a.npy", npy(W))], "'a' is an array or an empty folder, and"),
        ([("a/", b""), ("a/b.npy", npy(W))], "'a' is an array or an empty folder, and"),
        ([("a.npy", npy(W)), ("a/b/c/", b"")], "'a' is an array or an empty folder, and"),
        ([("a/", b"text")], "'a/' is not a .npy member"),
        ([("w.npz", npy(W))], "'w.npz' is not a .npy member"),
        ([("a//b.npy", npy(W))], "a key may not be empty"),
        ([("/w.npy", npy(W))], "a key may not be empty"),
        ([("a/" * 150 + "w.npy", npy(W))], "is nested more than 100 deep"),
        ([("a/" * 30_000 + "w.npy", npy(W))], "is nested more than 100 deep"),
    ],
)
def test_two_things_of_one_name_and_other_things_raise(
    tmp_path: Path, members: list[tuple[str, bytes]], message: str
) -> None:
    raises(archive_of(tmp_path / "x.npz", *members), f"({message})")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_only_stored_and_deflated_members_are_read(tmp_path: Path, method: int) -> None:
    path = archive_of(tmp_path / "x.npz", ("w.npy", npy(W)), method=method)
    raises(path, r"member 'w\.npy' is encrypted, or is neither stored nor deflated")


def test_flags_of_a_member_must_be_known_and_equal_in_both_places(tmp_path: Path) -> None:
    path = archive_of(tmp_path / "x.npz", ("ключ.npy", npy(W)))
    whole = path.read_bytes()
    first, second = whole.index(b"PK\3\4") + 6, whole.index(b"PK\1\2") + 8
    for bit in range(16):
        for places in ((first,), (second,), (first, second)):
            changed = bytearray(whole)
            for place in places:
                changed[place + bit // 8] ^= 1 << bit % 8
            path.write_bytes(changed)
            try:
                found = fn.load(path)
            except ValueError:
                continue
            assert mutants.same(found, {"ключ": W}) or (bit, places) == (11, (first, second))  # the encoding of names
            assert bit in (1, 2, 3, 11)
    changed = bytearray(whole)
    changed[second + 1] ^= 0x8
    path.write_bytes(changed)
    raises(path, "its directory of members is damaged")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda whole: b"#!/bin/sh\n" + whole, "its members overlap, or have bytes between them"),
        (lambda whole: whole + b"\0", "its directory of members is damaged"),
        (lambda whole: whole[:-2] + b"\4\0text", "its directory of members is damaged"),
        (lambda whole: whole[:-12] + b"\1\0" + whole[-10:], "its directory of members is damaged"),
    ],
    ids=["before", "after", "comment", "count"],
)
def test_bytes_that_belong_to_no_member_raise(tmp_path: Path, change: Callable[[bytes], bytes], message: str) -> None:
    path = archive_of(tmp_path / "x.npz", ("w.npy", npy(W)), ("v.npy", npy(W)))
    path.write_bytes(change(path.read_bytes()))
    raises(path, message)


def test_bytes_between_members_raise(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    with path.open("wb") as file, zipfile.ZipFile(file, "w") as archive:
        archive.writestr("w.npy", npy(W))
        file.write(b"hidden")
        archive.start_dir = file.tell()
        archive.writestr("v.npy", npy(W))
    raises(path, "its members overlap, or have bytes between them")

    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("w.npy", npy(W))
        archive.fp.write(b"hidden")  # type: ignore[union-attr]
        archive.start_dir = archive.fp.tell()  # type: ignore[union-attr]
    raises(path, "its directory of members is damaged")


def test_members_are_read_in_the_order_of_the_file_whatever_the_directory_says(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("w.npy", npy(W))
        archive.writestr("v.npy", npy(2 * W))
        archive.filelist.reverse()
    assert mutants.same(fn.load(path), {"w": W, "v": 2 * W})


def test_members_with_their_sizes_behind_them_are_read(tmp_path: Path) -> None:
    class Pipe(io.RawIOBase):
        """A stream without a position, as other programs write to."""

        def __init__(self) -> None:
            self.content = b""

        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            self.content += bytes(data)
            return len(data)

    for zip64 in (False, True):
        pipe = Pipe()
        with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:  # type: ignore[arg-type]
            for name in ("v.npy", "w.npy"):
                with archive.open(name, "w", force_zip64=zip64) as member:
                    member.write(npy(W))
        (tmp_path / "x.npz").write_bytes(pipe.content)
        assert mutants.same(fn.load(tmp_path / "x.npz"), {"v": W, "w": W})


# Dtypes


class Trap:
    """What unpickling this would do shows in ``sprung``."""

    sprung = False

    def __reduce__(self) -> Any:
        return setattr, (Trap, "sprung", True)


def test_pickles_are_never_read(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.array([Trap()]), allow_pickle=True)
    for name, content in (
        ("w.npy", buffer.getvalue()),
        ("w.npy", pickle.dumps(Trap())),
        ("w.pkl", pickle.dumps(Trap())),
        ("architecture.json", pickle.dumps(Trap())),
    ):
        path = archive_of(tmp_path / "x.npz", (name, content))
        for read in (fn.load, fn.load_model):
            with pytest.raises(ValueError, match=r"x\.npz"):
                read(path)
    (tmp_path / "x.npz").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ValueError, match="is not a zip file"):
        fn.load(tmp_path / "x.npz")
    assert not Trap.sprung


@pytest.mark.parametrize(
    "array",
    [
        np.array([(1, 2.0)], [("a", "i4"), ("b", "f8")]),
        np.array(["2020-01-01"], "M8[D]"),
        np.array([3], "m8[s]"),
        np.array(["text"]),
        np.array([b"text"]),
        np.array([b"text"], "V4"),
        np.zeros(0, "U0"),
    ],
    ids=lambda array: str(array.dtype),
)
def test_what_save_does_not_take_load_does_not_either(tmp_path: Path, array: Any) -> None:
    with pytest.raises(TypeError, match="w: expected booleans or numbers, got an array of dtype"):
        fn.save(tmp_path / "x.npz", {"w": array})
    raises(archive_of(tmp_path / "x.npz", ("w.npy", npy(array))), "expected booleans or numbers, got an array of dtype")


@pytest.mark.parametrize("dtype", [*"?bBhHiIlLqQefdgFDG", ">f4", ">c16", ">i2"])
def test_all_dtypes_that_save_takes_come_back(tmp_path: Path, dtype: str) -> None:
    array = np.arange(6).reshape(2, 3).astype(dtype)
    fn.save(tmp_path / "x.npz", {"w": array, "f": np.asfortranarray(array)})
    assert mutants.same(fn.load(tmp_path / "x.npz"), {"w": array, "f": array})


# Architectures


def model_with(path: Path, text: str | bytes) -> Path:
    return archive_of(path, ("architecture.json", text if isinstance(text, bytes) else text.encode()), ("/", b""))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"format": "funcnn model", "version": 2, "model": {"layer": "relu", "layer": "tanh"}}', "has a key twice"),
        ('{"format": "funcnn model", "version": 2, "model": NaN}', "NaN is not a number of JSON"),
        ('{"format": "funcnn model", "version": Infinity}', "Infinity is not a number of JSON"),
        ("[" * 100_000, "JSON|nested"),
        ('{"a":' * 100_000, "JSON|nested"),
        ("1" * 10_000, "JSON"),
        (b"\xff\xfe", "damaged"),
        ("", "it is not JSON"),
        ("null", "expected a JSON object"),
    ],
)
def test_a_hostile_architecture_raises(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(ValueError, match=rf"x\.npz.*({message})"):
        fn.load_model(model_with(tmp_path / "x.npz", text))


# Damage


@pytest.mark.parametrize("number", range(16))
def test_no_damaged_file_is_read_as_another(tmp_path: Path, number: int) -> None:
    """A short version of ``python -m tests.interchange.mutants 10000``."""
    formats = [*mutants.formats(tmp_path).values()]
    for path, content, read in formats[number : number + 1]:
        seen = mutants.outcomes(path, content, read, np.random.default_rng(number), 200)
        assert seen["raised"] > 10
    assert len(formats) <= 16


def test_the_mutants_are_many_kinds_of_damage() -> None:
    content = b"PK\3\4one" + b"PK\3\4two" + b"PK\1\2end"
    made = list(mutants.mutants(content, np.random.default_rng(0), 2000))
    assert len(made) == 2000
    assert content not in made
    assert b"PK\3\4two" + b"PK\3\4one" + b"PK\1\2end" in made
    assert {content[:7], content[:14], content[7:], content[:7] + bytes(7) + content[14:]} <= {*made}
    assert sum(len(mutant) == len(content) for mutant in made) > 500


def test_a_mutant_that_is_read_as_another_is_found(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="was read as other values"):
        mutants.outcomes(tmp_path / "x", b"0123456789", lambda path: path.read_bytes(), np.random.default_rng(0), 5)
    with pytest.raises(AssertionError, match=r"mutant 0: (UnicodeDecodeError|SyntaxError)"):
        mutants.outcomes(
            tmp_path / "x", b"[1, [2]]", lambda path: ast.literal_eval(path.read_text()), np.random.default_rng(1), 5
        )  # fmt: skip
