"""Texts as numbers, one for each character, for models that predict the next one.

``text8`` is the usual benchmark of such models; ``characters`` reads any other text.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from funcnn import checks
from funcnn.aliases import Array
from funcnn.calls import explained
from funcnn.datasets.download import check_sha256, local_file, read_at_most
from funcnn.interchange.files import opened

__all__ = ["characters", "text8"]

TEXT8_URL = "http://mattmahoney.net/dc/"
TEXT8_ZIP_BYTES, TEXT8_BYTES = 31_344_016, 100_000_000
# Of the text itself, which may lie beside its archive.
TEXT8_SHA256 = "6e890197040d37d85beb962ae1f041ff1d9a9ca8d20c7d99c85027eebf51dca7"


@explained
def text8(path: str | Path | None = None) -> tuple[Array, Array, Array]:
    """text8: 100 million letters and spaces of the English Wikipedia, for models of characters.

    Args:
        path: the file ``text8`` or ``text8.zip``, or the folder with one of them. By default the archive is downloaded
            (31 MB, with pooch: ``pip install "funcnn[download]"``) and kept in the user's cache folder.

    Returns:
        ``(train, validation, test)``: uint8, the first 90 million characters, the next 5 and the last 5; 0 is a space,
        and 1 to 26 are the letters a to z.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged or not text8; such a download is removed from the cache.
        ModuleNotFoundError: a download needs pooch, which is not installed.

    Example:
        >>> train, validation, test = text8()  # doctest: +SKIP
        >>> windows = np.lib.stride_tricks.sliding_window_view(train, 65)[::64]  # doctest: +SKIP
        >>> x, target = windows[:, :-1], windows[:, 1:]  # doctest: +SKIP

    Reference:
        Mahoney, About the test data (2011), mattmahoney.net/dc/textdata.
    """
    folder, name = None if path is None else checks.path("text8", path), "text8.zip"
    if folder is not None and not folder.is_dir():
        folder, name = folder.parent, folder.name
    elif folder is not None and (folder / "text8").is_file():
        name = "text8"
    with local_file("text8", folder, TEXT8_URL, name, TEXT8_ZIP_BYTES) as file:
        content = _read(file, TEXT8_BYTES)
        check_sha256(file, content, TEXT8_SHA256)
    letters = np.frombuffer(content, np.uint8)
    ids = np.where(letters == ord(" "), 0, letters - (ord("a") - 1)).astype(np.uint8)
    validation, test = 9 * len(ids) // 10, 19 * len(ids) // 20
    return ids[:validation], ids[validation:test], ids[test:]


@explained
def characters(path: str | Path) -> tuple[Array, str]:
    """The characters of a text in UTF-8 as numbers, and the alphabet, sorted: ``alphabet[number]`` is the character.

    Args:
        path: the file, a text or a ``.zip`` archive of a single text.

    Returns:
        ``(numbers, alphabet)``: the numbers are of shape (n,), uint8 if there are at most 256 characters, else uint32.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the text is not in UTF-8, or empty, or the archive is damaged or has several files.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     count = Path(folder, "a.txt").write_text("banana", encoding="utf-8")
        ...     characters(f"{folder}/a.txt")
        (array([1, 0, 2, 0, 2, 0], dtype=uint8), 'abn')
    """
    file = checks.path("characters", path)
    try:
        points = np.frombuffer(_read(file).decode("utf-8").encode("utf-32-le"), np.uint32)
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not a text in UTF-8: {error}") from error
    if not points.size:
        raise ValueError(f"{file} is empty")
    alphabet, numbers = np.unique(points, return_inverse=True)
    return numbers.astype(np.uint8 if len(alphabet) <= 256 else np.uint32), "".join(map(chr, alphabet))


def _read(file: Path, max_bytes: int | None = None) -> bytes:
    """The bytes of a text, or of the only one in an archive."""
    with opened(file) as stream:
        if not zipfile.is_zipfile(stream):
            stream.seek(0)
            return read_at_most(file, stream.read, max_bytes)
        try:
            with zipfile.ZipFile(stream) as archive:
                members = archive.infolist()
                if len(members) != 1:
                    raise ValueError(f"{file} is another archive: expected one text, got {len(members)} files")
                with archive.open(members[0]) as text:
                    return read_at_most(file, text.read, max_bytes)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
            raise ValueError(f"{file} is damaged or not an archive of a text: {error}") from error
