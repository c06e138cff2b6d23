"""Images from a folder with a sub-folder for each class.

They are resized to one size and stay bytes; ``x.astype(np.float32) / 255`` converts them to the floats of a model.
"""

from pathlib import Path
from types import ModuleType

import numpy as np

from funcnn import checks
from funcnn.aliases import Array, Rng
from funcnn.training.batching import Data, split

__all__ = ["image_folder"]


def image_folder(
    path: str | Path, size: int | tuple[int, int], grey: bool = False, train_ratio: float = 0.7, rng: Rng = 0
) -> tuple[Data, Data, list[str]]:
    """The images in the sub-folders of a folder; each sub-folder is a class, and its name is that of the class.

    Args:
        path: the folder. Files beside the sub-folders, and names that begin with a dot, are ignored.
        size: the height and width to resize every image to, which may change its proportions; an int for both.
        grey: whether to return one grayscale channel instead of red, green and blue. Transparency is ignored.
        train_ratio: the fraction of each class to train on, in (0, 1], at least one image of each; with 1, the test
            part has no images.
        rng: the key of the split.

    Returns:
        ``(train, test, class_names)``. The first two are pairs ``(x, labels)``: ``x`` is uint8 of shape (n, height,
        width, 1 or 3), ``labels`` is int64 of shape (n,), the index into ``class_names``, which is sorted.

    Raises:
        ModuleNotFoundError: Pillow is not installed: ``pip install "funcnn[images]"``.
        FileNotFoundError: the folder does not exist.
        ValueError: there is no sub-folder, or one without a file, or there are files that are not images, all of which
            are named; or a number is out of range, or each class has a single image and ``train_ratio`` is below 1.

    Example:
        >>> train, test, class_names = image_folder("signs", size=28, grey=True)  # doctest: +SKIP
        >>> train[0].shape, class_names  # doctest: +SKIP
        ((490, 28, 28, 1), ['fist', 'open', 'thumb'])
    """
    height, width = checks.sizes("image_folder", "size", size)
    if not 0 < train_ratio <= 1:
        raise ValueError(f"image_folder: train_ratio must be above 0 and at most 1, got {train_ratio!r}")
    pillow, classes = _pillow(), _classes(Path(path))
    files = [file for members in classes.values() for file in members]
    x = np.empty((len(files), height, width, 1 if grey else 3), np.uint8)
    unreadable = []
    for file, pixels in zip(files, x, strict=True):
        try:
            pixels[...] = _read(pillow, file, height, width, grey)
        except Exception as error:  # a damaged image raises one of a dozen types
            unreadable.append(f"{file} ({str(error) or type(error).__name__})")
    if unreadable:
        raise ValueError(
            f"image_folder: {len(unreadable)} of {len(files)} files are not images that can be read: "
            + "; ".join(unreadable)
        )
    labels = np.repeat(np.arange(len(classes)), [len(members) for members in classes.values()])
    if train_ratio == 1:
        return (x, labels), (x[:0], labels[:0]), list(classes)
    if len(classes) == len(files):
        raise ValueError("image_folder: each class has a single image, so none is left for a test; use train_ratio=1")
    train, test = split((x, labels), 1 - train_ratio, rng)
    return train, test, list(classes)


def _pillow() -> ModuleType:
    """Pillow, which only this file needs."""
    try:
        import PIL.Image
        import PIL.ImageOps
    except ModuleNotFoundError as error:
        message = 'reading images needs Pillow: pip install "funcnn[images]"'
        raise ModuleNotFoundError(message, name="PIL") from error
    return PIL


def _classes(path: Path) -> dict[str, list[Path]]:
    """The files of each sub-folder, both sorted."""
    if not path.is_dir():
        raise FileNotFoundError(f"image_folder: there is no folder {path}")
    folders = sorted(folder for folder in path.iterdir() if folder.is_dir() and not folder.name.startswith("."))
    if not folders:
        raise ValueError(
            f"image_folder: {path} has no sub-folders; expected one for each class, with its images inside"
        )
    classes = {
        folder.name: sorted(file for file in folder.iterdir() if not file.name.startswith(".")) for folder in folders
    }
    empty = [str(path / name) for name, files in classes.items() if not files]
    if empty:
        raise ValueError(f"image_folder: no images in {', '.join(empty)}; remove the folder or fill it")
    return classes


def _read(pillow: ModuleType, file: Path, height: int, width: int, grey: bool) -> Array:
    """The pixels of one image, of shape (height, width, channels)."""
    with pillow.Image.open(file) as image:
        if image.mode[0] in "IF":
            raise ValueError(f"its pixels have more than 8 bits, mode {image.mode}; convert it to 8 bits")
        # Cameras store a portrait as a landscape, with an EXIF entry for its rotation.
        upright = pillow.ImageOps.exif_transpose(image).convert("L" if grey else "RGB")
        return np.asarray(upright.resize((width, height), pillow.Image.Resampling.BILINEAR)).reshape(height, width, -1)
