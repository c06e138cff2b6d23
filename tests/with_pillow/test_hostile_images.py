"""Folders of images from strangers: bombs, other programs, pipes and damage."""

import io
import os
import struct
import zlib
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

from funcnn.datasets import image_folder, images


def png(width: int, height: int, rows: bytes = b"", mode: int = 0) -> bytes:
    """A grey image of these sizes with perhaps fewer rows; each has a first byte 0."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = struct.pack(">IIBBBBB", width, height, 8, mode, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def read(path: Path, **options: Any) -> Any:
    return image_folder(path, 2, train_ratio=1, **options)[0]


def place(folder: Path, name: str, content: bytes) -> Path:
    (folder / "class").mkdir(exist_ok=True)
    (folder / "class" / name).write_bytes(content)
    return folder


def raises(folder: Path, message: str) -> None:
    """Reading raises our error, and nothing is decoded."""
    import PIL.ImageFile

    with (
        patch.object(PIL.ImageFile.ImageFile, "load", side_effect=AssertionError("it was decoded")),
        pytest.raises(ValueError, match=rf"1 of 1 files are not images that can be read: {folder}.*{message}"),
    ):
        read(folder)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_an_image_of_too_many_pixels_raises_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import PIL.Image

    whole = png(10_000, 10_000, bytes(10_001 * 10_000))
    raises(place(tmp_path, "x.png", whole), "it has 10000 x 10000 pixels, more than 89478485; make it smaller")
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", None)
    raises(tmp_path, "it has 10000 x 10000 pixels, more than 89478485; make it smaller")
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 60)
    raises(place(tmp_path, "x.png", png(8, 8, bytes(9 * 8))), "it has 8 x 8 pixels, more than 60; make it smaller")
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 64)
    assert not read(tmp_path)[0].any()


def test_a_small_file_that_claims_many_pixels_raises(tmp_path: Path) -> None:
    content = png(9000, 9000)
    raises(place(tmp_path, "x.png", content), rf"it claims to have 9000 x 9000 pixels in {len(content)} bytes")


def test_large_uniform_images_are_read(tmp_path: Path) -> None:
    import PIL.Image

    assert not read(place(tmp_path, "x.png", png(4096, 4096, bytes(4097 * 4096))))[0].any()
    PIL.Image.new("RGB", (2000, 2000)).save(tmp_path / "class" / "x.png", "WEBP", lossless=True)
    assert (tmp_path / "class" / "x.png").stat().st_size < 400
    assert not read(tmp_path)[0].any()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("eps.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 2 2\n%%EndComments\n(ran) print\n%%EOF\n"),
        ("svg.png", b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
        ("psd.png", b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 2, 2, 8, 3) + bytes(100)),
        ("ico.png", b"\0\0\1\0\1\0\2\2\0\0\1\0\x20\0\x30\0\0\0\x16\0\0\0" + bytes(60)),
        ("text.png", b"hello"),
        ("empty.png", b""),
    ],
    ids=["eps", "svg", "psd", "ico", "text", "empty"],
)
def test_only_formats_that_pillow_decodes_itself_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes
) -> None:
    import subprocess

    def run(*arguments: object, **options: object) -> None:
        raise AssertionError(f"another program was started: {arguments}")

    monkeypatch.setattr(subprocess, "check_call", run)
    monkeypatch.setattr(subprocess, "Popen", run)
    raises(place(tmp_path, name, content), rf"{name} \(cannot identify image file")


def test_pipes_and_devices_raise_at_once(tmp_path: Path) -> None:
    (tmp_path / "class").mkdir()
    os.mkfifo(tmp_path / "class" / "x.png")
    raises(tmp_path, r"x\.png is a named pipe, expected a regular file")
    (tmp_path / "class" / "x.png").unlink()
    (tmp_path / "class" / "x.png").symlink_to("/dev/zero")
    raises(tmp_path, r"x\.png is a character device, expected a regular file")
    (tmp_path / "class" / "x.png").unlink()
    (tmp_path / "class" / "x.png").symlink_to("nothing")
    raises(tmp_path, r"there is no such file; check the path: .*x\.png")


@pytest.mark.parametrize("kind", images.FORMATS)
def test_every_format_is_read(tmp_path: Path, kind: str) -> None:
    import PIL.Image

    buffer = io.BytesIO()
    PIL.Image.fromarray(np.full((6, 5, 3), 200, np.uint8)).save(buffer, kind)
    np.testing.assert_allclose(read(place(tmp_path, "x", buffer.getvalue()))[0], 200, atol=3)


def test_a_png_that_lost_its_last_bytes_is_not_read_with_other_pixels(tmp_path: Path) -> None:
    rows = b"".join(b"\0" + bytes(range(8 * y, 8 * y + 8)) for y in range(8))
    head, _, _ = png(8, 8, rows).partition(b"IDAT")
    content = zlib.compress(rows, 0)
    data = b"IDAT" + content
    whole = head[:-4] + struct.pack(">I", len(content)) + data + struct.pack(">I", zlib.crc32(data))
    whole += b"\0\0\0\0IEND" + struct.pack(">I", zlib.crc32(b"IEND"))
    x, _ = image_folder(place(tmp_path, "x.png", whole), 8, train_ratio=1)[0]
    np.testing.assert_array_equal(x[0, :, :, 0], np.arange(64).reshape(8, 8))
    place(tmp_path, "x.png", whole[:-30] + whole[-12:])
    with pytest.raises(ValueError, match=r"x\.png"):
        image_folder(tmp_path, 8, train_ratio=1)
