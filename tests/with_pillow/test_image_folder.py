"""Folders of small images, which each test draws."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import funcnn as fn
from funcnn.datasets import image_folder


def draw(file: Path, pixels: Any, mode: str | None = None) -> None:
    """Write an image in the format of the extension of its name."""
    from PIL import Image

    file.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(pixels, np.uint8))
    (image.convert(mode) if mode else image).save(file)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten images of class b and five of class a; each is a uniform grey, different from all others."""
    for name, count in (("b", 10), ("a", 5)):
        for i in range(count):
            draw(tmp_path / name / f"{i}.png", np.full((4, 6, 3), 10 * i + (name == "b")))
    return tmp_path


def test_classes_are_the_sorted_sub_folders_and_the_split_is_stratified(folder: Path) -> None:
    (folder / "notes.txt").write_text("beside the classes")
    (folder / ".cache").mkdir()
    (folder / "a" / ".DS_Store").write_text("of the file manager")
    (x, labels), (x_test, labels_test), names = image_folder(folder, (2, 3), train_ratio=0.8)
    assert names == ["a", "b"]
    assert (x.shape, x_test.shape) == ((12, 2, 3, 3), (3, 2, 3, 3))
    assert {x.dtype, x_test.dtype} == {np.dtype(np.uint8)}
    assert {labels.dtype, labels_test.dtype} == {np.dtype(np.int64)}
    assert (np.bincount(labels).tolist(), np.bincount(labels_test).tolist()) == ([4, 8], [1, 2])
    greys = np.concatenate([x, x_test])[:, 0, 0, 0]
    np.testing.assert_array_equal(greys % 10, np.concatenate([labels, labels_test]))  # each image has its own label
    assert sorted(greys) == sorted([0, 10, 20, 30, 40, *range(1, 100, 10)])


def test_the_key_determines_the_split(folder: Path) -> None:
    def test_part(rng: int) -> list[int]:
        return sorted(image_folder(str(folder), 1, train_ratio=0.5, rng=rng)[1][0].ravel().tolist())

    assert test_part(0) == test_part(0)
    assert len({tuple(test_part(rng)) for rng in range(4)}) > 1


def test_a_ratio_of_one_keeps_all_for_training(folder: Path) -> None:
    (x, labels), (none, no_labels), _ = image_folder(folder, 1, train_ratio=1)
    assert (len(x), len(none), no_labels.shape) == (15, 0, (0,))
    assert labels.tolist() == [0] * 5 + [1] * 10


def test_colour_grey_palettes_and_transparency(tmp_path: Path) -> None:
    red = np.broadcast_to([255, 0, 0], (2, 2, 3))
    draw(tmp_path / "reds" / "rgb.png", red)
    draw(tmp_path / "reds" / "rgba.png", np.broadcast_to([255, 0, 0, 7], (2, 2, 4)))
    draw(tmp_path / "reds" / "palette.gif", red, mode="P")
    (x, _), _, _ = image_folder(tmp_path, 2, train_ratio=1)
    np.testing.assert_array_equal(x, np.broadcast_to([255, 0, 0], (3, 2, 2, 3)))
    (x, _), _, _ = image_folder(tmp_path, 2, grey=True, train_ratio=1)
    np.testing.assert_array_equal(x, np.full((3, 2, 2, 1), 76))  # 0.299 of 255, ITU-R 601


def test_resizing_uses_all_pixels(tmp_path: Path) -> None:
    checks = np.indices((8, 8)).sum(0) % 2 * 255
    draw(tmp_path / "checks" / "8.png", checks)
    (x, _), _, _ = image_folder(tmp_path, (4, 2), grey=True, train_ratio=1)
    assert x.shape == (1, 4, 2, 1)
    # Picking single pixels would give 0 or 255; at the border, the window of the filter is cut off.
    assert abs(x.astype(int) - 127).max() <= 30


def test_the_exif_orientation_is_applied(tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "photos").mkdir()
    image = Image.fromarray(np.array([[0, 0, 255, 255]] * 2, np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be rotated by 90 degrees clockwise
    image.save(tmp_path / "photos" / "portrait.png", exif=exif)
    (x, _), _, _ = image_folder(tmp_path, (4, 2), grey=True, train_ratio=1)
    assert x[0, :, 0, 0].tolist() == [0, 0, 255, 255]


def test_files_that_are_not_images_are_all_named(folder: Path) -> None:
    whole = (folder / "a" / "0.png").read_bytes()
    (folder / "a" / "cut.png").write_bytes(whole[:-24])  # the last pixels are missing
    (folder / "b" / "Thumbs.db").write_bytes(b"\0\1\2")
    (folder / "b" / "inner").mkdir()
    with pytest.raises(ValueError, match=r"3 of 18 files are not images.*cut\.png.*Thumbs\.db.*inner"):
        image_folder(folder, 2)


def test_images_with_more_than_8_bits_raise(tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "x_rays").mkdir()
    Image.fromarray(np.full((2, 2), 40_000, np.uint16)).save(tmp_path / "x_rays" / "deep.png")
    with pytest.raises(ValueError, match=r"deep\.png \(its pixels have more than 8 bits"):
        image_folder(tmp_path, 2)


def test_empty_and_missing_folders_raise(folder: Path, tmp_path: Path) -> None:
    (folder / "c").mkdir()
    (folder / "c" / ".hidden").touch()
    with pytest.raises(ValueError, match=rf"no images in {folder / 'c'}; remove the folder or fill it"):
        image_folder(folder, 2)
    with pytest.raises(ValueError, match="has no sub-folders; expected one for each class"):
        image_folder(folder / "a", 2)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        image_folder(folder / "d", 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, r"size must be a whole number >= 1 or a pair \(height, width\), got 0"),
        ({"size": (2, 2.5)}, r"size must be a whole number >= 1 or a pair \(height, width\), got \(2, 2\.5\)"),
        ({"train_ratio": 0}, "train_ratio must be above 0 and at most 1, got 0"),
        ({"train_ratio": 1.2}, "train_ratio must be above 0 and at most 1, got 1.2"),
    ],
)
def test_numbers_out_of_range_raise(folder: Path, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        image_folder(folder, **({"size": 2} | options))


def test_a_model_learns_from_a_folder(folder: Path) -> None:
    (x, labels), _, names = image_folder(folder, 4, grey=True, train_ratio=1)
    model = fn.serial(fn.flatten, fn.dense(len(names)))
    data = x.astype(np.float32) / 255, labels
    fn.fit(model, model.init(x.shape[1:], 0), fn.sgd(0.1), data, fn.softmax_cross_entropy, epochs=1, verbose=False)


def test_the_error_without_pillow_names_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "funcnn\[images\]"'):
        image_folder(folder, 2)
