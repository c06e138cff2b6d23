"""Files of data sets: those in a folder of the user, or downloads, which pooch keeps in the user's cache.

No more is read than the file of that name has, and its content is compared with a checksum before it is used.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

__all__ = ["Limited", "check_sha256", "local_file", "read_at_most"]


@contextmanager
def local_file(kind: str, folder: Path | None, url: str, name: str, max_bytes: int) -> Iterator[Path]:
    """The file in a folder or, without one, in the cache, to which the first call downloads it from below ``url``.

    If the block raises a ValueError, a download is removed, since every later call would find it again.
    """
    if folder is not None:
        yield folder / name
        return
    file = _downloaded(kind, url, name, max_bytes)
    try:
        yield file
    except ValueError:
        file.unlink()
        raise


def read_at_most(file: Path, read: Callable[[int], bytes], max_bytes: int | None) -> bytes:
    """What ``read`` returns, or an error if that would be more than ``max_bytes``; None for no limit.

    Example:
        >>> import io
        >>> read_at_most(Path("a.txt"), io.BytesIO(b"abc").read, 3)
        b'abc'
    """
    content = read(-1 if max_bytes is None else max_bytes + 1)
    if max_bytes is not None and len(content) > max_bytes:
        raise ValueError(f"{file} is another file: it has more than {max_bytes} bytes")
    return content


def check_sha256(file: Path | str, content: bytes, expected: str) -> None:
    """Raise an error unless the content is the known one."""
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise ValueError(f"{file} is another file: expected content of SHA-256 {expected}, got {found}")


def _downloaded(kind: str, url: str, name: str, max_bytes: int) -> Path:
    """The path of a download in the user's cache."""
    try:
        import pooch  # type: ignore[import-untyped]
    except ModuleNotFoundError as error:
        message = f'downloading {name} needs pooch: pip install "funcnn[download]", or give the folder that has it'
        raise ModuleNotFoundError(message, name="pooch") from error

    def downloader(url: str, path: str, cache: Any) -> None:
        with open(path, "wb") as file:
            pooch.HTTPDownloader()(url, Limited(file, f"{kind}: {url}", max_bytes), cache)

    # Each data set has a folder of its own: the files of MNIST and of Fashion-MNIST have the same names.
    folder = "" if kind == "mnist" else kind
    cache = pooch.create(path=pooch.os_cache("funcnn") / folder, base_url=url, registry={name: None})
    return Path(cache.fetch(name, downloader=downloader))


class Limited:
    """A file for a download that ends with an error when it is larger than the file of the data set."""

    def __init__(self, file: BinaryIO, name: str, max_bytes: int) -> None:
        self.file, self.name, self.max_bytes = file, name, max_bytes

    def write(self, chunk: bytes) -> None:
        """Write one part of the download."""
        if self.file.tell() + len(chunk) > self.max_bytes:
            raise ValueError(f"{self.name} has more than {self.max_bytes} bytes, so it is another file")
        self.file.write(chunk)

    def flush(self) -> None:
        """Write what is buffered."""
        self.file.flush()
