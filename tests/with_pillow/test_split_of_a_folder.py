"""The split of a folder of images keeps an image of every class for training."""

from pathlib import Path

import numpy as np
import pytest

from funcnn.datasets import image_folder


def draw(folder: Path, count: int) -> None:
    """Write images of one pixel into a new folder."""
    from PIL import Image

    folder.mkdir()
    for number in range(count):
        Image.fromarray(np.full((1, 1, 3), number, np.uint8)).save(folder / f"{number}.png")


def test_a_class_with_one_image_is_for_training(tmp_path: Path) -> None:
    draw(tmp_path / "a", 1)
    draw(tmp_path / "b", 3)
    for rng in range(20):
        (_, labels), (_, test_labels), _ = image_folder(tmp_path, 1, train_ratio=0.5, rng=rng)
        assert 0 in labels
        assert 1 in labels
        assert set(test_labels) == {1}


def test_single_images_of_all_classes_cannot_be_split(tmp_path: Path) -> None:
    draw(tmp_path / "a", 1)
    draw(tmp_path / "b", 1)
    with pytest.raises(
        ValueError, match="each class has a single image, so none is left for a test; use train_ratio=1"
    ):
        image_folder(tmp_path, 1)
    assert len(image_folder(tmp_path, 1, train_ratio=1)[0][0]) == 2
