import gzip
import hashlib
import importlib
import os
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from funcnn.datasets import digits, fashion_mnist, idx, mnist
from tests.interchange import mutants

MODULE = importlib.import_module("funcnn.datasets.mnist")  # the attribute of that name is the function
FULL_DATA = Path(__file__).parents[3] / "shared" / "data" / "mnist"
# Of the bytes of both parts, images before labels.
DIGITS_SHA256 = "1e69420d546ce587b9fb07b6d2eafc89ce39cc8c539be4352f4e4eb1fafe84a4"
TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = MODULE.MNIST_SHA256


def idx_of(array: np.ndarray) -> bytes:
    """The content of an IDX file of bytes."""
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()


CONTENT = {
    TRAIN_IMAGES: idx_of(np.arange(24).reshape(3, 4, 2)),
    TRAIN_LABELS: idx_of(np.array([7, 0, 9])),
    TEST_IMAGES: idx_of(np.full((1, 4, 2), 255)),
    TEST_LABELS: idx_of(np.array([4])),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a small MNIST, whose checksums replace those of the real one."""
    for name, content in CONTENT.items():
        replace(tmp_path / name, content, monkeypatch)
    return tmp_path


def replace(file: Path, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a file and make it the expected one."""
    file.write_bytes(gzip.compress(content))
    monkeypatch.setitem(MODULE.MNIST_SHA256, file.name, hashlib.sha256(content).hexdigest())


def test_digits_are_the_known_images() -> None:
    (x, labels), (x_test, labels_test) = digits()
    assert (x.shape, x_test.shape) == ((10_000, 28, 28, 1), (2_000, 28, 28, 1))
    assert {x.dtype, x_test.dtype} == {np.dtype(np.uint8)}
    assert {labels.dtype, labels_test.dtype} == {np.dtype(np.int64)}
    np.testing.assert_array_equal(labels[:10], [5, 0, 4, 1, 9, 2, 1, 3, 1, 4])
    np.testing.assert_array_equal(labels_test[:10], [7, 2, 1, 0, 4, 1, 4, 9, 5, 9])
    everything = b"".join(part.tobytes() for part in (x, labels.astype(np.uint8), x_test, labels_test.astype(np.uint8)))
    assert hashlib.sha256(everything).hexdigest() == DIGITS_SHA256


if FULL_DATA.is_dir():  # 11 MB that a checkout alone does not have

    def test_digits_are_the_first_images_of_mnist() -> None:
        for (x, labels), (x_all, labels_all), n in zip(digits(), mnist(FULL_DATA), (60_000, 10_000), strict=True):
            assert x_all.shape == (n, 28, 28, 1)
            np.testing.assert_array_equal(x, x_all[: len(x)])
            np.testing.assert_array_equal(labels, labels_all[: len(labels)])


def test_mnist_reads_the_four_files(folder: Path) -> None:
    for path in (folder, str(folder)):
        (x, labels), (x_test, labels_test) = mnist(path)
        np.testing.assert_array_equal(x, np.arange(24).reshape(3, 4, 2, 1))
        np.testing.assert_array_equal(x_test, np.full((1, 4, 2, 1), 255))
        np.testing.assert_array_equal(labels, [7, 0, 9])
        np.testing.assert_array_equal(labels_test, [4])
        assert (x.dtype, labels.dtype) == (np.uint8, np.int64)
        x[0] = 0  # the arrays are writable


def test_fashion_mnist_is_not_mnist(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=f"{folder / TRAIN_IMAGES} is another file: expected content of SHA-256 c59f4"):
        fashion_mnist(folder)
    for name, checksum in MODULE.MNIST_SHA256.items():
        monkeypatch.setitem(MODULE.FASHION_SHA256, name, checksum)
    (x, labels), (_, labels_test) = fashion_mnist(folder)
    np.testing.assert_array_equal(x, np.arange(24).reshape(3, 4, 2, 1))
    assert (labels.tolist(), labels_test.tolist()) == ([7, 0, 9], [4])
    (folder / TEST_LABELS).unlink()
    with pytest.raises(FileNotFoundError, match=f"fashion_mnist: {folder} lacks {TEST_LABELS}"):
        fashion_mnist(folder)


@pytest.mark.parametrize(
    ("code", "elements", "expected"),
    [
        (8, "07ff", np.array([7, 255], np.uint8)),
        (9, "07ff", np.array([7, -1], np.int8)),
        (11, "0102fffe", np.array([258, -2], np.int16)),
        (12, "00000102fffffffe", np.array([258, -2], np.int32)),
        (13, "3f800000c0000000", np.array([1, -2], np.float32)),
        (14, "3ff0000000000000c000000000000000", np.array([1, -2], np.float64)),
    ],
)
def test_idx_files_of_all_types(tmp_path: Path, code: int, elements: str, expected: np.ndarray) -> None:
    file = tmp_path / "kmnist"
    content = bytes([0, 0, code, 2, 0, 0, 0, 1, 0, 0, 0, 2]) + bytes.fromhex(elements)
    for written in (content, gzip.compress(content)):
        file.write_bytes(written)
        found = idx(file)
        np.testing.assert_array_equal(found, expected[None], strict=True)
        assert found.dtype.isnative
        found[0] = 0


def test_what_is_no_idx_file_raises(tmp_path: Path) -> None:
    file = tmp_path / "x"
    for content, message in (
        (b"", "not an IDX file: expected it to begin with 0000, a type .*, got nothing"),
        (b"\0\0\x0a\1aaaaa", "not an IDX file.*got 00000a01"),
        (b"\0\0\x08\0", "not an IDX file.*got 00000800"),
        (idx_of(np.zeros(3))[:-1], r"the wrong length: expected 11 bytes for shape \[3\], got 10"),
        (idx_of(np.zeros(3))[:6], "the wrong length"),
        (gzip.compress(idx_of(np.zeros(3)))[:-1], "is cut short"),
        (gzip.compress(b"text"), "not an IDX file.*got 74657874"),
    ):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=f"{file} .*{message}|{file} {message}"):
            idx(file)


@pytest.mark.parametrize(
    ("sizes", "got"),
    [([1] * 65, "with 65 axes"), ([0] * 255, "with 255 axes"), ([2**32 - 1, 2**32 - 1, 0], r"of shape \(4294967295, ")],
)
@pytest.mark.parametrize("packed", [gzip.compress, bytes])
def test_an_idx_header_of_a_shape_that_no_array_has_raises(
    tmp_path: Path, sizes: list[int], got: str, packed: Any
) -> None:
    file = tmp_path / "x.idx"
    file.write_bytes(packed(bytes([0, 0, 8, len(sizes)]) + b"".join(n.to_bytes(4, "big") for n in sizes) + b"x"))
    message = rf"x\.idx, its header: expected at most 64 axes, .* got uint8 {got}.*; the file is damaged"
    with pytest.raises(ValueError, match=message):
        idx(file)
    file.write_bytes(packed(bytes([0, 0, 8, 64, *[0, 0, 0, 1] * 64, 7])))
    assert idx(file).ravel().tolist() == [7]


def test_no_more_of_an_idx_file_is_expanded_than_its_header_says(tmp_path: Path) -> None:
    file = tmp_path / "bomb.gz"
    file.write_bytes(gzip.compress(idx_of(np.zeros(3)) + bytes(2**25)))
    tracemalloc.start()
    with pytest.raises(ValueError, match=f"{file} is another file: it has more than 11 bytes"):
        idx(file)
    assert tracemalloc.get_traced_memory()[1] < 10**6
    tracemalloc.stop()


def test_missing_files_are_named(folder: Path) -> None:
    (folder / TRAIN_LABELS).unlink()
    (folder / TEST_LABELS).unlink()
    with pytest.raises(FileNotFoundError, match=f"{folder} lacks {TRAIN_LABELS}, {TEST_LABELS}"):
        mnist(folder)


def test_truncated_and_damaged_files_are_named(folder: Path) -> None:
    file = folder / TEST_IMAGES
    whole = file.read_bytes()
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=f"{file} is (cut short|damaged|another file)"):
            mnist(folder)
    for content in (b"<html>not found</html>", whole[:12] + b"\xff" + whole[13:], whole[:-5] + b"\0" + whole[-4:]):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=f"{file} is (damaged|cut short)"):
            mnist(folder)


def test_no_more_is_expanded_than_the_largest_file_has(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = folder / TRAIN_LABELS
    assert len(idx_of(np.zeros((1, 28, 28)))) + 59_999 * 28 * 28 == MODULE.MAX_BYTES
    monkeypatch.setattr(MODULE, "MAX_BYTES", 100_000)
    bomb = gzip.compress(bytes(2**27))  # 130 KB, which are more than the limit too
    file.write_bytes(b"")
    os.truncate(file, 10**9)  # a file that is larger than the memory to read it into may be
    tracemalloc.start()
    with pytest.raises(ValueError, match=f"{file} is damaged or not a gzip file"):
        mnist(folder)
    assert tracemalloc.get_traced_memory()[1] < 10**6
    tracemalloc.stop()
    for content in (bomb, gzip.compress(bytes(100_001)), bytes(100_001), gzip.compress(CONTENT[TRAIN_LABELS]) + bomb):
        file.write_bytes(content)
        tracemalloc.start()
        with pytest.raises(ValueError, match=rf"{file} is (another file: it has more than 100000 bytes|damaged)"):
            mnist(folder)
        assert tracemalloc.get_traced_memory()[1] < 10**6
        tracemalloc.stop()


def test_a_hundred_thousand_empty_members_raise_at_once(folder: Path) -> None:
    file = folder / TRAIN_LABELS
    file.write_bytes(gzip.compress(b"") * 100_000)
    with pytest.raises(ValueError, match=f"{file} is damaged: there are bytes after its gzip stream"):
        mnist(folder)
    file.write_bytes(gzip.compress(CONTENT[TRAIN_LABELS]) + gzip.compress(b""))
    with pytest.raises(ValueError, match=f"{file} is damaged: there are bytes after its gzip stream"):
        mnist(folder)


def test_no_damaged_file_is_read_as_another(folder: Path) -> None:
    """A short version of 10,000 mutants."""
    content = (folder / TRAIN_IMAGES).read_bytes()
    seen = mutants.outcomes(folder / TRAIN_IMAGES, content, lambda _: mnist(folder), np.random.default_rng(0), 300)
    assert seen["raised"] > 150


def test_what_is_no_file_is_missing(folder: Path) -> None:
    (folder / TRAIN_LABELS).unlink()
    os.mkfifo(folder / TRAIN_LABELS)
    with pytest.raises(FileNotFoundError, match=f"lacks {TRAIN_LABELS}"):
        mnist(folder)


def test_content_other_than_that_of_mnist_raises(folder: Path) -> None:
    file = folder / TRAIN_LABELS
    file.write_bytes(gzip.compress(idx_of(np.array([7, 0, 8]))))
    with pytest.raises(ValueError, match=f"{file} is another file: expected content of SHA-256"):
        mnist(folder)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (TRAIN_IMAGES, CONTENT[TRAIN_LABELS], "not an IDX file of bytes on 3 axes.*begin with 00000803, got 00000801"),
        (TRAIN_LABELS, b"", "not an IDX file of bytes on 1 axes.*begin with 00000801, got nothing"),
        (TRAIN_IMAGES, CONTENT[TRAIN_IMAGES][:-1], r"expected 40 bytes for shape \[3, 4, 2\], got 39"),
        (TRAIN_IMAGES, CONTENT[TRAIN_IMAGES] + b"!", r"expected 40 bytes for shape \[3, 4, 2\], got 41"),
        (TRAIN_IMAGES, CONTENT[TRAIN_IMAGES][:9], "has the wrong length"),
        (TRAIN_LABELS, idx_of(np.array([1, 2])), rf"holds 3 images, but .*{TRAIN_LABELS} holds 2 labels"),
    ],
)
def test_files_that_are_not_images_and_labels_raise(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes, message: str
) -> None:
    replace(folder / name, content, monkeypatch)
    with pytest.raises(ValueError, match=f"{name}.*{message}|{message}"):
        mnist(folder)


def test_the_error_without_pooch_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "funcnn\[download\]"'):
        mnist()
