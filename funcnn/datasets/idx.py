"""IDX files, in which MNIST and data sets like it come: a header with a type and sizes, then the elements.

Such a file may be compressed with gzip. No more of it is expanded than its data set, or its header, says.
"""

from __future__ import annotations

import math
import zlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from funcnn import checks
from funcnn.aliases import Array
from funcnn.calls import explained
from funcnn.datasets.download import read_at_most
from funcnn.interchange.files import blamed_on, opened

__all__ = ["gunzip", "idx", "parse_idx"]

GZIP = 31
"""The ``wbits`` of a gzip stream, whose checksum zlib compares."""

GZIP_START = b"\x1f\x8b"

DTYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
"""The dtypes by the third byte of a file; elements have the highest byte first."""

MAX_HEADER = 4 + 4 * 255
"""The bytes of the longest header, since the number of axes is one byte."""


@explained
def idx(path: str | Path) -> Array:
    """The array in an IDX file, as KMNIST, EMNIST and other data sets have them; gzip is recognized by its first bytes.

    Args:
        path: the file, compressed with gzip or not.

    Returns:
        An array of uint8, int8, int16, int32, float32 or float64, as the file says, with as many axes as it says.

    Raises:
        FileNotFoundError: there is no such file.
        TypeError: the path is neither a str nor a Path.
        ValueError: the file is damaged, cut short or not an IDX file.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     count = Path(folder, "labels").write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 9]))
        ...     idx(f"{folder}/labels")
        array([7, 9], dtype=uint8)

    Reference:
        LeCun, Cortes and Burges, The MNIST database of handwritten digits, "File formats".
    """
    file = checks.path("idx", path)
    with opened(file) as stream:
        content = stream.read()
    if content[:2] == GZIP_START:
        start = _expand(file, zlib.decompressobj(wbits=GZIP), content, MAX_HEADER)
        content = _inflated(file, content, _header(file, start)[-1])
    return parse_idx(file, content)


def gunzip(file: Path, max_bytes: int) -> bytes:
    """The content of a ``.gz`` file of one member, or an error if it has more than ``max_bytes``."""
    with opened(file) as stream:
        packed = stream.read(2 * max_bytes)  # a gzip file of max_bytes is never that long
    return _inflated(file, packed, max_bytes)


def _inflated(file: Path, packed: bytes, max_bytes: int) -> bytes:
    """The content of a gzip stream of one member, or an error if it has more than ``max_bytes``."""
    inflate = zlib.decompressobj(wbits=GZIP)
    content = read_at_most(file, partial(_expand, file, inflate, packed), max_bytes)
    if not inflate.eof:
        raise ValueError(f"{file} is cut short: the end of its gzip stream is missing")
    if inflate.unused_data:
        raise ValueError(f"{file} is damaged: there are bytes after its gzip stream")
    return content


def _expand(file: Path, inflate: Any, packed: bytes, count: int) -> bytes:
    """The first bytes of the content of a gzip stream."""
    with blamed_on(file, "damaged or not a gzip file"):
        content: bytes = inflate.decompress(packed, count)
    return content


def parse_idx(file: Path, content: bytes, axes: int | None = None) -> Array:
    """The array in an IDX file: 0, 0, the type, the number of axes, their sizes, the elements; with ``axes``, bytes."""
    if axes is not None and content[:4] != bytes([0, 0, 8, axes]):
        raise ValueError(
            f"{file} is not an IDX file of bytes on {axes} axes: expected it to begin with "
            f"{bytes([0, 0, 8, axes]).hex()}, got {content[:4].hex() or 'nothing'}"
        )
    dtype, shape, start, length = _header(file, content)
    if len(content) != length:
        raise ValueError(f"{file} has the wrong length: expected {length} bytes for shape {shape}, got {len(content)}")
    return np.frombuffer(content, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))


def _header(file: Path, content: bytes) -> tuple[np.dtype[Any], list[int], int, int]:
    """The dtype and the shape of the array, the place of its first element, and the length of the whole file."""
    if len(content) < 4 or content[:2] != bytes(2) or content[2] not in DTYPES or content[3] == 0:
        raise ValueError(
            f"{file} is not an IDX file: expected it to begin with 0000, a type from 08 to 0e and the number of axes, "
            f"got {content[:4].hex() or 'nothing'}"
        )
    dtype, start = np.dtype(DTYPES[content[2]]), 4 + 4 * content[3]
    shape = [int.from_bytes(content[i : i + 4], "big") for i in range(4, start, 4)]
    checks.declared_shape(f"{file}, its header", shape, dtype)
    return dtype, shape, start, start + dtype.itemsize * math.prod(shape)
