"""Texts are read as numbers, from files and archives, and text8 is compared with its checksum."""

import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from funcnn.datasets import characters, text, text8

TEXT = b" anarchism originated as" + b" z" * 8  # 40 bytes


def zipped(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def test_text8_is_split_as_usual(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "TEXT8_SHA256", hashlib.sha256(TEXT).hexdigest())
    (tmp_path / "text8.zip").write_bytes(zipped(text8=TEXT))
    whole = [ord(letter) - 96 if letter != " " else 0 for letter in TEXT.decode()]
    for path in (tmp_path, tmp_path / "text8.zip"):
        train, validation, test = text8(path)
        assert (train.dtype, len(train), len(validation), len(test)) == (np.uint8, 36, 2, 2)
        assert [*train, *validation, *test] == whole
    assert train[:4].tolist() == [0, 1, 14, 1]
    (tmp_path / "text8.zip").unlink()
    (tmp_path / "text8").write_bytes(TEXT)
    for path in (tmp_path, tmp_path / "text8"):
        assert text8(path)[0].tolist() == whole[:36]
    (tmp_path / "text8").write_bytes(TEXT[:-1] + b"y")
    with pytest.raises(ValueError, match="text8 is another file: expected content of SHA-256"):
        text8(tmp_path)
    monkeypatch.setattr(text, "TEXT8_BYTES", 39)
    for content in (TEXT, zipped(text8=TEXT)):
        (tmp_path / "text8").write_bytes(content)
        with pytest.raises(ValueError, match="text8 is another file: it has more than 39 bytes"):
            text8(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no such file.*nowhere"):
        text8(tmp_path / "nowhere")


def test_characters_of_any_text(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    for content in ("so\nß𝄞so".encode(), zipped(a="so\nß𝄞so".encode())):
        file.write_bytes(content)
        numbers, alphabet = characters(file)
        assert alphabet == "\nosß𝄞"
        assert "".join(alphabet[number] for number in numbers) == "so\nß𝄞so"
        assert numbers.dtype == np.uint8
    file.write_text("".join(map(chr, range(1000, 1300))), encoding="utf-8")
    assert characters(file)[0].dtype == np.uint32
    whole = zipped(a=TEXT * 10)
    for content, message in (
        (b"\xff\xfe", "is not a text in UTF-8"),
        (b"", "is empty"),
        (zipped(a=b"a", b=b"b"), "is another archive: expected one text, got 2 files"),
        (whole.replace(whole[40:48], b"damaged!"), "is damaged or not an archive of a text"),
    ):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=f"{file} {message}"):
            characters(file)
    with pytest.raises(TypeError, match="characters: path: expected a str or a Path, got 3"):
        characters(3)  # type: ignore[arg-type]
