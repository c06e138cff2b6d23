import gzip
import hashlib
import importlib
import tarfile
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

from funcnn import datasets
from funcnn.datasets import cifar, text
from funcnn.datasets.download import Limited

MODULE = importlib.import_module("funcnn.datasets.mnist")  # the attribute of that name is the function
CONTENT = dict(
    zip(
        MODULE.MNIST_SHA256,
        (
            bytes([0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 10, 20]),
            bytes([0, 0, 8, 1, 0, 0, 0, 1, 7]),
            bytes([0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 30, 40]),
            bytes([0, 0, 8, 1, 0, 0, 0, 1, 3]),
        ),
        strict=True,
    )
)


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Write nothing to the terminal."""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a local server that replaces the real one; downloads go to an empty cache."""
    import pooch

    folder = tmp_path / "server"
    folder.mkdir()
    for name, content in CONTENT.items():
        (folder / name).write_bytes(gzip.compress(content))
        monkeypatch.setitem(MODULE.MNIST_SHA256, name, hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "cache" / project)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=folder)) as http:
        monkeypatch.setattr(MODULE, "MNIST_URL", f"http://127.0.0.1:{http.server_port}/")
        Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
        yield folder
        http.shutdown()


def test_mnist_is_downloaded_once(server: Path, tmp_path: Path) -> None:
    for _ in range(2):
        (x, labels), (x_test, labels_test) = datasets.mnist()
        np.testing.assert_array_equal(x, [[[[10], [20]]]])
        np.testing.assert_array_equal(x_test, [[[[30], [40]]]])
        assert (labels, labels_test) == ([7], [3])
        for file in server.iterdir():
            file.unlink()  # so that the second call can only read the cache
    assert sorted(file.name for file in (tmp_path / "cache" / "funcnn").iterdir()) == sorted(CONTENT)


@pytest.mark.parametrize(
    "content",
    [b"<html>sign in</html>", gzip.compress(b"other"), gzip.compress(b"cut")[:-3]],
    ids=["no gzip", "other", "cut short"],
)
def test_a_bad_download_raises_and_is_removed(server: Path, tmp_path: Path, content: bytes) -> None:
    name = list(CONTENT)[1]
    good = (server / name).read_bytes()
    (server / name).write_bytes(content)
    with pytest.raises(ValueError, match=name):
        datasets.mnist()
    assert not (tmp_path / "cache" / "funcnn" / name).exists()
    (server / name).write_bytes(good)
    assert datasets.mnist()[0][1] == [7]


def test_a_download_that_is_too_large_ends_early_and_leaves_nothing(
    server: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MODULE, "MAX_BYTES", 100_000)
    name = next(iter(CONTENT))
    (server / name).write_bytes(bytes(50_000_000))
    written: list[int] = []
    write = Limited.write

    def counted(file: Any, chunk: bytes) -> None:
        write(file, chunk)
        written.append(len(chunk))

    monkeypatch.setattr(Limited, "write", counted)
    with pytest.raises(ValueError, match=rf"mnist: http://127.*/{name} has more than 100000 bytes"):
        datasets.mnist()
    assert sum(written) <= 100_000
    assert list((tmp_path / "cache" / "funcnn").iterdir()) == []


def test_the_other_images_are_downloaded_to_folders_of_their_own(
    server: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MODULE, "FASHION_URL", MODULE.MNIST_URL)
    monkeypatch.setattr(cifar, "CIFAR_URL", MODULE.MNIST_URL)
    for name, checksum in MODULE.MNIST_SHA256.items():
        monkeypatch.setitem(MODULE.FASHION_SHA256, name, checksum)
    with tarfile.open(server / cifar.ARCHIVE, "w:gz") as archive:
        for number, name in enumerate(cifar.CIFAR_SHA256):
            content = bytes([number]) + bytes(3072)
            (tmp_path / name).write_bytes(content)
            archive.add(tmp_path / name, f"{cifar.FOLDER}/{name}")
            monkeypatch.setitem(cifar.CIFAR_SHA256, name, hashlib.sha256(content).hexdigest())
    whole = (server / cifar.ARCHIVE).read_bytes()
    (server / cifar.ARCHIVE).write_bytes(whole[:-20])
    with pytest.raises(ValueError, match=f"{cifar.ARCHIVE} is damaged"):
        datasets.cifar10()
    (server / cifar.ARCHIVE).write_bytes(whole)
    for _ in range(2):
        assert datasets.fashion_mnist()[0][1] == [7]
        (x, labels), (_, labels_test) = datasets.cifar10()
        assert (x.shape, labels.tolist(), labels_test.tolist()) == ((5, 32, 32, 3), [0, 1, 2, 3, 4], [5])
        for file in server.iterdir():
            file.unlink()
    cache = tmp_path / "cache" / "funcnn"
    assert sorted(file.name for file in (cache / "fashion_mnist").iterdir()) == sorted(CONTENT)
    assert (cache / "cifar10" / cifar.ARCHIVE).exists()


def test_text8_is_downloaded(server: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "TEXT8_URL", MODULE.MNIST_URL)
    monkeypatch.setattr(text, "TEXT8_SHA256", hashlib.sha256(b"a zebra at a lake...").hexdigest())
    with zipfile.ZipFile(server / "text8.zip", "w") as archive:
        archive.writestr("text8", b"a zebra at a lake...")
    for _ in range(2):
        assert [len(part) for part in datasets.text8()] == [18, 1, 1]
        (server / "text8.zip").unlink(missing_ok=True)
    assert (tmp_path / "cache" / "funcnn" / "text8" / "text8.zip").exists()
