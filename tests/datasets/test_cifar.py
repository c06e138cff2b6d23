"""CIFAR-10 is read from folders and archives, checked, and turned into images with channels last."""

import gzip
import hashlib
import io
import tarfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from funcnn.datasets import cifar, cifar10

RED, GREEN, BLUE = 1, 1 + 1024, 1 + 2048


def records(*labels: int) -> bytes:
    """Images of a label, with a red pixel in row 0, column 1, and a blue one in row 31, column 30."""
    content = np.zeros((len(labels), cifar.RECORD), np.uint8)
    content[:, 0] = labels
    content[:, RED + 1], content[:, BLUE + 31 * 32 + 30] = 200, np.arange(len(labels)) + 1
    return content.tobytes()


CONTENT = {name: records(number, 9 - number) for number, name in enumerate(cifar.CIFAR_SHA256)}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a small CIFAR-10, whose checksums replace those of the real one."""
    for name, content in CONTENT.items():
        (tmp_path / name).write_bytes(content)
        monkeypatch.setitem(cifar.CIFAR_SHA256, name, hashlib.sha256(content).hexdigest())
    return tmp_path


def packed(contents: dict[str, bytes], mode: str = "w:gz") -> bytes:
    """An archive of files in the folder of CIFAR-10."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:
        for name, content in contents.items():
            member = tarfile.TarInfo(f"{cifar.FOLDER}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def test_the_checksums_are_those_of_real_files() -> None:
    assert [len(checksum) for checksum in cifar.CIFAR_SHA256.values()] == [64] * 6
    assert cifar.FILE_BYTES == 30_730_000


def test_a_folder_and_an_archive_give_the_same_images(folder: Path, tmp_path: Path) -> None:
    outer, archived = tmp_path / "outer", tmp_path / "archived"
    for place in (outer / cifar.FOLDER, archived):
        place.mkdir(parents=True)
    for name, content in CONTENT.items():
        (outer / cifar.FOLDER / name).write_bytes(content)
    # Another order, with a text beside the files.
    contents = dict(reversed(CONTENT.items())) | {"readme.html": b"<html>"}
    (archived / cifar.ARCHIVE).write_bytes(packed(contents))
    for path in (folder, str(folder), outer, archived, archived / cifar.ARCHIVE):
        (x, labels), (x_test, labels_test) = cifar10(path)
        assert (x.shape, x.dtype, labels.dtype) == ((10, 32, 32, 3), np.uint8, np.int64)
        np.testing.assert_array_equal(labels, [0, 9, 1, 8, 2, 7, 3, 6, 4, 5])
        np.testing.assert_array_equal(labels_test, [5, 4])
        expected = np.zeros((2, 32, 32, 3))
        expected[:, 0, 1, 0], expected[:, 31, 30, 2] = 200, [1, 2]
        np.testing.assert_array_equal(x_test, expected)
        np.testing.assert_array_equal(x[2:4], expected)
        x[0] = 0  # the arrays are writable
        assert x.flags.c_contiguous


def test_other_files_need_verify_false(folder: Path) -> None:
    (folder / "test_batch.bin").write_bytes(records(3, 3, 3))
    with pytest.raises(ValueError, match=r"test_batch.bin is another file: expected content of SHA-256"):
        cifar10(folder)
    np.testing.assert_array_equal(cifar10(folder, verify=False)[1][1], [3, 3, 3])
    for content, message in (
        (records(3)[:-1], "test_batch.bin has the wrong length: expected a multiple of 3073 bytes, got 3072"),
        (b"", "test_batch.bin has the wrong length: expected a multiple of 3073 bytes, got 0"),
        (records(3, 10), "test_batch.bin is another file: expected labels from 0 to 9, got 10"),
        (bytes(cifar.FILE_BYTES + cifar.RECORD), "test_batch.bin is another file: it has more than 30730000 bytes"),
    ):
        (folder / "test_batch.bin").write_bytes(content)
        with pytest.raises(ValueError, match=message):
            cifar10(folder, verify=False)


def test_what_is_missing_is_named(folder: Path, tmp_path: Path) -> None:
    for path, message in ((tmp_path / "no", "there is no file or folder"), (tmp_path / "empty", "has neither data_b")):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(FileNotFoundError, match=f"cifar10: .*{message}.*leave out `path` to download"):
            cifar10(path)
    (tmp_path / "empty" / "cifar-10-python.tar.gz").touch()
    with pytest.raises(FileNotFoundError, match=r"the Python version.*a pickle may run code; get cifar-10-binary"):
        cifar10(tmp_path / "empty")
    (folder / "data_batch_4.bin").unlink()
    with pytest.raises(FileNotFoundError, match=f"cifar10: {folder} lacks data_batch_4.bin$"):
        cifar10(folder)
    file = tmp_path / "part.tar.gz"
    file.write_bytes(packed({"test_batch.bin": CONTENT["test_batch.bin"]}))
    with pytest.raises(FileNotFoundError, match=r"part.tar.gz lacks data_batch_1.bin, data_batch_2.bin, "):
        cifar10(file)


def test_damaged_archives_are_named(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "cifar.tar.gz"
    whole = packed(CONTENT)
    for content in (
        b"",
        b"<html>",
        whole[: len(whole) // 2],
        whole[:-5] + b"\0" + whole[-4:],
        gzip.compress(b"no tar"),
    ):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=f"{file}.* is (damaged|another)"):
            cifar10(file, verify=False)


def test_no_more_is_expanded_than_the_archive_has(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cifar, "MAX_EXPANDED", 10**6)
    file = tmp_path / "bomb.tar.gz"
    file.write_bytes(packed({"other": bytes(10**7)}))
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"bomb.tar.gz is another archive: it has more than 1000000 bytes, expanded"):
        cifar10(file)
    assert tracemalloc.get_traced_memory()[1] < 3 * 10**6
    tracemalloc.stop()


def test_verify_is_true_or_false(folder: Path) -> None:
    with pytest.raises(TypeError, match="cifar10: verify must be True or False, got 'no'"):
        cifar10(folder, verify="no")
