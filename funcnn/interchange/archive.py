"""A zip of arrays, ``.npz``, checked strictly when it is read: the file may be damaged or malicious.

Members are stored or deflated, follow each other without gaps or overlaps, and have different names. Every size is
compared with the size of the file before memory is taken, and every array with its CRC-32 before it is returned.
"""

import math
import struct
import zipfile
from collections.abc import Iterator, Mapping
from typing import IO, Any, BinaryIO

import numpy as np

from funcnn import checks
from funcnn.aliases import Array
from funcnn.signals import reraise_if_of_a_handler

__all__ = ["KINDS", "check_name", "read_members", "write_members"]

KINDS = "biufc"
"""The kinds of dtypes that a file may hold: booleans, integers, floats and complex numbers."""

METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
DESCRIPTOR, UTF8 = 0x8, 0x800
# Bits 1 and 2 say how hard the data were compressed. All others change what the bytes mean, encryption for example.
FLAGS = 0x6 | DESCRIPTOR | UTF8
LOCAL_HEADER = struct.Struct("<4s5H3I2H")
END = struct.Struct("<4s4H2IH")
COUNT_MAX = 2**16 - 1
"""Stands for more members than the field can count, with the number elsewhere."""
DESCRIPTOR_MAX = 24
"""The bytes after a member's data that may repeat its sizes."""

NPY_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}

MAX_EXPANSION = 100
ALWAYS_ALLOWED = 2**24
"""Deflated members may take a hundred times the size of the file, since weights compress by less than two, or 16 MB."""

MAX_DEPTH = 100
MAX_NAME = 2**16 - 1
CHUNK = 2**20


def write_members(file: BinaryIO, members: Mapping[str, Array | bytes | None]) -> None:
    """Write arrays as ``.npy``, bytes as they are, and None as an empty member; equal members give equal files."""
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            with archive.open(name, "w", force_zip64=True) as member:
                if isinstance(content, bytes):
                    member.write(content)
                elif content is not None:
                    np.lib.format.write_array(member, np.asarray(content), allow_pickle=False)


def read_members(file: BinaryIO, size: int, known: int = 0) -> dict[str, Array | bytes]:
    """All members of a zip by name, ``.npy`` members as arrays and others as bytes.

    Args:
        file: the open file, or a buffer.
        size: its size in bytes.
        known: the number of bytes that the arrays are known to have, if that may be more than the file suggests.

    Raises:
        ValueError, zipfile.BadZipFile and others: the file is damaged or is not such a zip.
    """
    with zipfile.ZipFile(file) as archive:
        members = sorted(archive.infolist(), key=lambda member: member.header_offset)
        _check_names(members)
        _check_layout(members, archive.start_dir, file, size)
        _check_sizes(members, size, known)
        return {member.filename: _content(archive, member) for member in members}


def check_name(name: str) -> None:
    """Raise an error about a name that cannot be one in a zip, or that is nested too deeply."""
    try:
        fits = zipfile.ZipInfo(name).filename == name and len(name.encode()) <= MAX_NAME
    except UnicodeEncodeError:
        fits = False
    if not fits:
        raise ValueError(f"{name[:100]!r} cannot be a name in a zip file; rename the key")
    if name.count("/") > MAX_DEPTH:
        raise ValueError(f"{name[:100]!r} is nested more than {MAX_DEPTH} deep; make the tree flatter")


def _check_names(members: list[zipfile.ZipInfo]) -> None:
    """Raise if two members have one name, since one would hide the other."""
    seen = set()
    for member in members:
        check_name(member.filename)
        if member.filename in seen:
            raise ValueError(f"it has several members {member.filename!r}")
        seen.add(member.filename)


def _check_layout(members: list[zipfile.ZipInfo], directory: int, file: BinaryIO, size: int) -> None:
    """Raise unless the members and their directory fill the file, each byte once, and have the same flags.

    The directory has no checksum. A wrong length in it could hide members, and a wrong flag could rename them.
    """
    damaged = ValueError("its directory of members is damaged")
    file.seek(size - END.size)
    signature, *_, count, _, _, _ = END.unpack(file.read(END.size))
    if signature != b"PK\5\6" or count not in (len(members), COUNT_MAX):
        raise damaged
    start, slack = 0, 0
    for member in members:
        if not start <= member.header_offset <= start + slack:
            raise ValueError("its members overlap, or have bytes between them")
        file.seek(member.header_offset)
        _, _, flags, *_, name, extra = LOCAL_HEADER.unpack(file.read(LOCAL_HEADER.size))
        if flags != member.flag_bits:  # one of them is the encoding of the name
            raise damaged
        start = member.header_offset + LOCAL_HEADER.size + name + extra + member.compress_size
        slack = DESCRIPTOR_MAX if flags & DESCRIPTOR else 0
    if not start <= directory <= start + slack:
        raise damaged


def _check_sizes(members: list[zipfile.ZipInfo], size: int, known: int) -> None:
    """Raise on a member that is compressed or encrypted in another way, and on a file that expands too far."""
    total = 0
    for member in members:
        if member.compress_type not in METHODS or member.flag_bits & ~FLAGS:
            raise ValueError(f"member {member.filename!r} is encrypted, or is neither stored nor deflated")
        if member.compress_type == zipfile.ZIP_STORED and member.file_size != member.compress_size:
            raise ValueError(f"member {member.filename!r} has two sizes")
        total += member.file_size
    if total > max(MAX_EXPANSION * size, ALWAYS_ALLOWED + known):
        raise ValueError(
            f"it has {size} bytes that expand to {total}, more than {MAX_EXPANSION} times as many; "
            "if you trust it, pass what it holds as `like`, or write it without compression"
        )


def _content(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Array | bytes:
    """One member, whole, so that its checksum has been compared."""
    with archive.open(member) as file:
        if not member.filename.endswith(".npy"):
            return b"".join(_chunks(file))
        try:
            return _array(file, member.file_size)
        except ValueError as error:
            reraise_if_of_a_handler(error)
            raise ValueError(f"member {member.filename!r}: {error}") from error


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    """The rest of a member, in parts that are small beside it: a part is expanded into memory of its own."""
    while chunk := file.read(CHUNK):
        yield chunk


def _array(file: IO[bytes], size: int) -> Array:
    """The array in a member of this size, which must hold nothing else."""
    shape, fortran_order, dtype = _header(file)
    if dtype.kind not in KINDS:
        raise ValueError(f"expected booleans or numbers, got an array of dtype {dtype}")
    count, left = math.prod(shape), size - file.tell()
    if min(shape, default=0) < 0 or count * dtype.itemsize != left:
        raise ValueError(f"expected {count * dtype.itemsize} bytes for {dtype} of shape {shape}, got {left}")
    checks.declared_shape("its header", shape, dtype)
    flat: Array = np.empty(count, dtype)
    content, end = flat.view(np.uint8), 0
    for chunk in _chunks(file):
        content[end : end + len(chunk)] = np.frombuffer(chunk, np.uint8)
        end += len(chunk)
    if end != left:
        raise ValueError(f"it is cut short: expected {left} bytes of elements, got {end}")
    if dtype.kind == "b" and content.max(initial=0) > 1:
        raise ValueError("its booleans are neither 0 nor 1")
    return flat.reshape(shape, order="F" if fortran_order else "C")


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, memory order and dtype, from the start of a ``.npy`` file."""
    try:
        version = np.lib.format.read_magic(file)
        if version not in NPY_HEADERS:
            raise ValueError(f"expected version 1.0 or 2.0 of the format, got {version}")
        shape, fortran_order, dtype = NPY_HEADERS[version](file)
    except zipfile.BadZipFile:
        raise
    except Exception as error:  # a text that is not a tuple fails in many ways, with a MemoryError for example
        reraise_if_of_a_handler(error)
        raise ValueError(f"it has no header of an array: {str(error) or type(error).__name__}") from error
    return shape, fortran_order, dtype
