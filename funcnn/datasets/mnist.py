"""MNIST: images of handwritten digits, 28 x 28 pixels in ten classes.

The pixels stay bytes; ``x.astype(np.float32) / 255`` converts them to the floats of a model.
"""

from __future__ import annotations

import hashlib
import math
import zlib
from importlib import resources
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from funcnn import checks
from funcnn.aliases import Array, Labelled
from funcnn.calls import explained
from funcnn.interchange.files import opened

__all__ = ["digits", "mnist"]

MNIST_URL = "https://storage.googleapis.com/cvdf-datasets/mnist/"
# Of the decompressed files: mirrors may have compressed the same data to other bytes.
MNIST_SHA256 = {
    "train-images-idx3-ubyte.gz": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte.gz": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte.gz": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte.gz": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}

MAX_BYTES = 16 + 60_000 * 28 * 28
"""The size of the largest file, the training images."""
GZIP = 31
"""The ``wbits`` of a gzip stream, whose checksum zlib compares."""


def digits() -> tuple[Labelled, Labelled]:
    """The first 10,000 training and the first 2,000 test images of MNIST, which come with the package.

    Returns:
        ``(train, test)``, each a pair ``(x, labels)``: ``x`` is uint8 of shape (n, 28, 28, 1), from 0 (paper) to 255
        (ink); ``labels`` is int64 of shape (n,), the digit.

    Example:
        >>> (x, labels), test = digits()
        >>> x.shape, labels[:5]
        ((10000, 28, 28, 1), array([5, 0, 4, 1, 9]))

    Reference:
        LeCun, Bottou, Bengio and Haffner, Gradient-based learning applied to document recognition (1998), section
        III-A. Source and licence: ``funcnn/data/README.md``.
    """
    # This file is as trustworthy as the code beside it, and compressed with LZMA, which ``load`` does not take from
    # strangers. It holds no objects, which NumPy reads only if told to.
    with resources.files("funcnn").joinpath("data/digits.npz").open("rb") as file, np.load(file) as data:
        train, test = ((data[f"{part}_x"], data[f"{part}_labels"].astype(np.int64)) for part in ("train", "test"))
    return train, test


@explained
def mnist(path: str | Path | None = None) -> tuple[Labelled, Labelled]:
    """All of MNIST: 60,000 training and 10,000 test images of handwritten digits.

    Args:
        path: the folder with the four files ``train-images-idx3-ubyte.gz``, ``train-labels-idx1-ubyte.gz``,
            ``t10k-images-idx3-ubyte.gz`` and ``t10k-labels-idx1-ubyte.gz``. By default they are downloaded (11 MB,
            with pooch: ``pip install "funcnn[download]"``) and kept in the user's cache folder.

    Returns:
        ``(train, test)`` as ``digits``.

    Raises:
        FileNotFoundError: one of the files is not in the folder.
        ValueError: a file is cut short, damaged, or not that of MNIST; such a download is removed from the cache, and
            one that is too large is not read to its end.
        ModuleNotFoundError: a download needs pooch, which is not installed.

    Example:
        >>> (x, labels), test = mnist()  # doctest: +SKIP
        >>> x.shape  # doctest: +SKIP
        (60000, 28, 28, 1)

    Reference:
        LeCun, Bottou, Bengio and Haffner, Gradient-based learning applied to document recognition (1998), section
        III-A.
    """
    folder = None if path is None else checks.path("mnist", path)
    missing = [name for name in MNIST_SHA256 if folder and not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(f"mnist: {folder} lacks {', '.join(missing)}; leave out `path` to download the files")
    train_images, train_labels, test_images, test_labels = (_mnist_file(name, folder) for name in MNIST_SHA256)
    return _examples(train_images, train_labels), _examples(test_images, test_labels)


def _mnist_file(name: str, folder: Path | None) -> tuple[Path, bytes]:
    """The path of one of the four files, in a folder or downloaded, and its decompressed content."""
    file = _download(MNIST_URL, name) if folder is None else folder / name
    try:
        content = _gunzip(file)
        _check_sha256(file, content, MNIST_SHA256[name])
    except ValueError:
        if folder is None:
            file.unlink()  # otherwise every later call would find the same bad file
        raise
    return file, content


def _download(url: str, name: str) -> Path:
    """The file in the user's cache; the first call downloads it."""
    try:
        import pooch  # type: ignore[import-untyped]
    except ModuleNotFoundError as error:
        message = f'downloading {name} needs pooch: pip install "funcnn[download]", or give the folder that has it'
        raise ModuleNotFoundError(message, name="pooch") from error

    def downloader(url: str, path: str, cache: Any) -> None:
        with open(path, "wb") as file:
            pooch.HTTPDownloader()(url, _Limited(file, url), cache)

    cache = pooch.create(path=pooch.os_cache("funcnn"), base_url=url, registry={name: None})
    return Path(cache.fetch(name, downloader=downloader))


class _Limited:
    """A file for a download that ends with an error when it is larger than any of the four files."""

    def __init__(self, file: BinaryIO, url: str) -> None:
        self.file, self.url = file, url

    def write(self, chunk: bytes) -> None:
        """Write one part of the download."""
        if self.file.tell() + len(chunk) > MAX_BYTES:
            raise ValueError(f"mnist: {self.url} has more than {MAX_BYTES} bytes, so it is another file")
        self.file.write(chunk)

    def flush(self) -> None:
        """Write what is buffered."""
        self.file.flush()


def _gunzip(file: Path) -> bytes:
    """The content of a ``.gz`` file of one member; no more memory is taken than the largest of the four files needs."""
    with opened(file) as stream:
        packed = stream.read(MAX_BYTES + 1)
    inflate = zlib.decompressobj(wbits=GZIP)
    try:
        content = inflate.decompress(packed, MAX_BYTES + 1)
    except zlib.error as error:
        raise ValueError(f"{file} is damaged or not a gzip file: {error}") from error
    if len(packed) > MAX_BYTES or len(content) > MAX_BYTES:
        raise ValueError(f"{file} is another file: it has more than {MAX_BYTES} bytes, compressed or expanded")
    if not inflate.eof:
        raise ValueError(f"{file} is cut short: the end of its gzip stream is missing")
    if inflate.unused_data:
        raise ValueError(f"{file} is damaged: there are bytes after its gzip stream")
    return content


def _check_sha256(file: Path, content: bytes, expected: str) -> None:
    """Raise an error unless the content is that of MNIST."""
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise ValueError(f"{file} is another file: expected content of SHA-256 {expected}, got {found}")


def _examples(images: tuple[Path, bytes], labels: tuple[Path, bytes]) -> Labelled:
    """The pair of a file of images and a file of their labels."""
    x, y = _parse_idx(*images, axes=3), _parse_idx(*labels, axes=1)
    if len(x) != len(y):
        raise ValueError(f"{images[0]} holds {len(x)} images, but {labels[0]} holds {len(y)} labels")
    return x[..., None], y.astype(np.int64)


def _parse_idx(file: Path, content: bytes, axes: int) -> Array:
    """The array in an IDX file of bytes: 0, 0, 8 for uint8, the number of axes, their sizes, the elements."""
    magic = bytes([0, 0, 8, axes])
    if content[:4] != magic:
        raise ValueError(
            f"{file} is not an IDX file of bytes on {axes} axes: expected it to begin with {magic.hex()}, "
            f"got {content[:4].hex() or 'nothing'}"
        )
    header = 4 + 4 * axes
    shape = [int.from_bytes(content[i : i + 4], "big") for i in range(4, header, 4)]
    if len(content) != header + math.prod(shape):
        raise ValueError(
            f"{file} has the wrong length: expected {header + math.prod(shape)} bytes for shape {shape}, "
            f"got {len(content)}"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape).copy()
