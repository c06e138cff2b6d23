"""Images from a folder with a sub-folder for each class.

They are resized to one size and stay bytes; ``x.astype(np.float32) / 255`` converts them to the floats of a model.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from types import ModuleType
from typing import BinaryIO

import numpy as np

from funcnn import checks
from funcnn.aliases import Array, Labelled, Rng
from funcnn.calls import explained
from funcnn.interchange.files import opened
from funcnn.rng import as_key
from funcnn.signals import reraise_if_of_a_handler
from funcnn.training.batching import split
from funcnn.wording import shown

__all__ = ["image_folder"]

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""What a file may be, whatever its name says: Pillow hands others, EPS for example, to another program."""

MAX_PIXELS = 89_478_485
"""Of one image, 256 MB in three colours, as in Pillow, which only warns. ``PIL.Image.MAX_IMAGE_PIXELS`` may be less."""

ALWAYS_ALLOWED, PIXELS_PER_BYTE = 2**24, 8 * 1032
"""A byte of a PNG expands to at most 1032 bytes of eight pixels each, but a uniform WebP of any size has few bytes."""


@explained
def image_folder(
    path: str | Path, size: int | tuple[int, int], grey: bool = False, train_ratio: float = 0.7, rng: Rng = 0
) -> tuple[Labelled, Labelled, list[str]]:
    """The images in the sub-folders of a folder; each sub-folder is a class, and its name is that of the class.

    Args:
        path: the folder. Files beside the sub-folders, and names that begin with a dot, are ignored. The images are
            BMP, GIF, JPEG, PNG, PPM, TIFF or WebP by their content, of at most 89 million pixels.
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
        TypeError: an argument is of another type.
        ValueError: there is no sub-folder, or one without a file, or there are files that are not such images, all of
            which are named; or a number is out of range, or each class has a single image and ``train_ratio`` is below
            1.

    Example:
        >>> train, test, class_names = image_folder("signs", size=28, grey=True)  # doctest: +SKIP
        >>> train[0].shape, class_names  # doctest: +SKIP
        ((490, 28, 28, 1), ['fist', 'open', 'thumb'])
    """
    height, width = checks.sizes("image_folder", "size", size)
    train_ratio = checks.number("image_folder", "train_ratio", train_ratio)
    if not 0 < train_ratio <= 1:
        raise ValueError(f"image_folder: train_ratio must be above 0 and at most 1, got {shown(train_ratio)}")
    grey = checks.flag("image_folder", "grey", grey)
    rng = as_key(rng)
    pillow, classes = _pillow(), _classes(checks.path("image_folder", path))
    files = [file for members in classes.values() for file in members]
    x = _empty((len(files), height, width, 1 if grey else 3))
    unreadable = []
    for file, pixels in zip(files, x, strict=True):
        try:
            pixels[...] = _read(pillow, file, height, width, grey)
        except Exception as error:  # a damaged image raises one of a dozen types
            reraise_if_of_a_handler(error)
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


def _empty(shape: tuple[int, ...]) -> Array:
    """Memory for all images."""
    try:
        return np.empty(shape, np.uint8)
    except (MemoryError, ValueError):  # more than there is, or than can be counted
        size = f"{math.prod(shape) / 1e9:.3g} GB"
        raise MemoryError(f"image_folder: no memory for images of shape {shape}, {size}; use a smaller size") from None


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
    with opened(file) as stream:
        with pillow.Image.open(stream, formats=FORMATS) as image:
            if image.mode[0] in "IF":
                raise ValueError(f"its pixels have more than 8 bits, mode {image.mode}; convert it to 8 bits")
            _check_pixels(image.size, os.fstat(stream.fileno()).st_size, pillow.Image.MAX_IMAGE_PIXELS)
            image.verify()  # the checksums of PNG, which decoding ignores; after it, an image must be opened anew
        stream.seek(0)
        return _pixels(pillow, stream, height, width, grey)


def _pixels(pillow: ModuleType, stream: BinaryIO, height: int, width: int, grey: bool) -> Array:
    """The pixels of an image that has been checked."""
    with pillow.Image.open(stream, formats=FORMATS) as image:
        # Cameras store a portrait as a landscape, with an EXIF entry for its rotation.
        upright = pillow.ImageOps.exif_transpose(image).convert("L" if grey else "RGB")
        return np.asarray(upright.resize((width, height), pillow.Image.Resampling.BILINEAR)).reshape(height, width, -1)


def _check_pixels(size: tuple[int, int], length: int, users_limit: int | None) -> None:
    """Raise, before memory is taken, if a file of this length claims to hold more pixels than it may or can."""
    pixels, limit = math.prod(size), min(MAX_PIXELS, users_limit or MAX_PIXELS)
    if pixels > limit:
        raise ValueError(f"it has {size[0]} x {size[1]} pixels, more than {limit}; make it smaller")
    if pixels > max(ALWAYS_ALLOWED, PIXELS_PER_BYTE * length):
        raise ValueError(f"it claims to have {size[0]} x {size[1]} pixels in {length} bytes")
