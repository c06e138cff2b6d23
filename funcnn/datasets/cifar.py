"""CIFAR-10: colour images of animals and vehicles, 32 x 32 pixels in ten classes.

The binary version is read, whose files are records of a label and 3,072 pixels; the Python version is a pickle, which
may run code when it is read.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from funcnn import checks
from funcnn.aliases import Labelled
from funcnn.calls import explained
from funcnn.datasets.download import check_sha256, local_file, read_at_most
from funcnn.interchange.files import opened

__all__ = ["cifar10"]

CIFAR_URL = "https://www.cs.toronto.edu/~kriz/"
ARCHIVE, FOLDER = "cifar-10-binary.tar.gz", "cifar-10-batches-bin"
ARCHIVE_BYTES = 170_052_171
# Of the single files, so that they may be in a folder or in an archive that somebody else has packed.
CIFAR_SHA256 = {
    "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
}
RECORD = 1 + 3 * 32 * 32
FILE_BYTES = 10_000 * RECORD

MAX_EXPANDED = 6 * FILE_BYTES + 2**20
"""What an archive of the six files has at most, with the texts beside them."""


@explained
def cifar10(path: str | Path | None = None, verify: bool = True) -> tuple[Labelled, Labelled]:
    """CIFAR-10: 50,000 training and 10,000 test images of animals and vehicles, in the binary version.

    Args:
        path: the folder with ``data_batch_1.bin`` to ``data_batch_5.bin`` and ``test_batch.bin``, or with the folder
            ``cifar-10-batches-bin`` or the archive ``cifar-10-binary.tar.gz``; or this archive. By default the archive
            is downloaded (170 MB, with pooch: ``pip install "funcnn[download]"``) and kept in the user's cache folder.
        verify: whether the content of the files must be that of CIFAR-10. Without it, other images in the same format
            are read, at most 10,000 in a file.

    Returns:
        ``(train, test)``, each a pair ``(x, labels)``: ``x`` is uint8 of shape (n, 32, 32, 3), red, green and blue;
        ``labels`` is int64 of shape (n,): 0 airplane, 1 automobile, 2 bird, 3 cat, 4 deer, 5 dog, 6 frog, 7 horse, 8
        ship, 9 truck.

    Raises:
        FileNotFoundError: there is no such file or folder, or it lacks one of the files.
        TypeError: an argument has another type.
        ValueError: a file or an archive is cut short, damaged, or another one; such a download is removed from the
            cache.
        ModuleNotFoundError: a download needs pooch, which is not installed.

    Example:
        >>> (x, labels), test = cifar10("cifar-10-batches-bin")  # doctest: +SKIP
        >>> x.shape  # doctest: +SKIP
        (50000, 32, 32, 3)

    Reference:
        Krizhevsky, Learning multiple layers of features from tiny images (2009), chapter 3.
    """
    folder, verify = None if path is None else checks.path("cifar10", path), checks.flag("cifar10", "verify", verify)
    if folder is not None and folder.is_file():
        return _parts(_in_archive(folder), folder, verify)
    for place in () if folder is None else (folder, folder / FOLDER):
        if any((place / name).is_file() for name in CIFAR_SHA256):
            return _parts(_in_folder(place), place, verify)
    if folder is not None and not (folder / ARCHIVE).is_file():
        raise FileNotFoundError(f"cifar10: {_what_is_missing(folder)}; leave out `path` to download the archive")
    with local_file("cifar10", folder, CIFAR_URL, ARCHIVE, ARCHIVE_BYTES) as file:
        return _parts(_in_archive(file), file, verify)


def _what_is_missing(folder: Path) -> str:
    """Why a path has no data set."""
    if not folder.is_dir():
        return f"there is no file or folder {folder}"
    python = [found for found in (folder, folder / "cifar-10-batches-py") if (found / "data_batch_1").exists()]
    if python or (folder / "cifar-10-python.tar.gz").exists():
        return f"{folder} has the Python version, which is not read, since a pickle may run code; get {ARCHIVE}"
    return f"{folder} has neither {next(iter(CIFAR_SHA256))} nor the folder {FOLDER} nor {ARCHIVE}"


def _parts(files: Iterator[tuple[str, bytes]], place: Path, verify: bool) -> tuple[Labelled, Labelled]:
    """The training and the test part, of the names and contents of the files."""
    found: dict[str, Labelled] = {}
    for name, content in files:
        file = place / name
        if verify:
            check_sha256(file, content, CIFAR_SHA256[name])
        found[name] = _records(file, content)
    missing = [name for name in CIFAR_SHA256 if name not in found]
    if missing:
        raise FileNotFoundError(f"cifar10: {place} lacks {', '.join(missing)}")
    *train, test = (found[name] for name in CIFAR_SHA256)
    x, labels = (np.concatenate(parts) for parts in zip(*train, strict=True))
    return (x, labels), test


def _records(file: Path, content: bytes) -> Labelled:
    """Images and labels; a record is a label, then all red, all green and all blue pixels, row by row."""
    if len(content) % RECORD or not content:
        raise ValueError(f"{file} has the wrong length: expected a multiple of {RECORD} bytes, got {len(content)}")
    rows = np.frombuffer(content, np.uint8).reshape(-1, RECORD)
    labels = rows[:, 0].astype(np.int64)
    if labels.max() > 9:
        raise ValueError(f"{file} is another file: expected labels from 0 to 9, got {labels.max()}")
    return np.ascontiguousarray(rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)), labels


def _in_folder(folder: Path) -> Iterator[tuple[str, bytes]]:
    """The files in a folder."""
    for name in CIFAR_SHA256:
        if (folder / name).is_file():
            with opened(folder / name) as file:
                yield name, read_at_most(folder / name, file.read, FILE_BYTES)


def _in_archive(path: Path) -> Iterator[tuple[str, bytes]]:
    """The files in an archive, which is read once from beginning to end; nothing is written to the disk."""
    import gzip
    import tarfile

    try:
        with opened(path) as file, gzip.GzipFile(fileobj=file) as expanded:
            stream = _Capped(path, expanded.read)
            with tarfile.open(fileobj=stream, mode="r|") as archive:  # type: ignore[call-overload]
                for member in archive:
                    name = member.name.rpartition("/")[2]
                    content = archive.extractfile(member) if member.isreg() and name in CIFAR_SHA256 else None
                    if content is not None:
                        yield name, read_at_most(path / name, content.read, FILE_BYTES)
            while stream.read(2**20):  # to its end, where the checksum is
                pass
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise ValueError(f"{path} is damaged or not an archive like {ARCHIVE}: {error}") from error


class _Capped:
    """A stream that raises an error when more is read than an archive of the six files has."""

    def __init__(self, path: Path, read: Callable[[int], bytes]) -> None:
        self.path, self.source, self.left = path, read, MAX_EXPANDED

    def read(self, count: int) -> bytes:
        """The next bytes."""
        chunk = self.source(min(count, self.left + 1))
        self.left -= len(chunk)
        if self.left < 0:
            raise ValueError(f"{self.path} is another archive: it has more than {MAX_EXPANDED} bytes, expanded")
        return chunk
