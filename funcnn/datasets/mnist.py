"""MNIST and Fashion-MNIST: images of handwritten digits or of clothes, 28 x 28 pixels in ten classes.

The pixels stay bytes; ``x.astype(np.float32) / 255`` converts them to the floats of a model.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np

from funcnn import checks
from funcnn.aliases import Labelled
from funcnn.calls import explained
from funcnn.datasets.download import check_sha256, local_file
from funcnn.datasets.idx import gunzip, parse_idx

__all__ = ["digits", "fashion_mnist", "mnist"]

MNIST_URL = "https://storage.googleapis.com/cvdf-datasets/mnist/"
# Of the decompressed files: mirrors may have compressed the same data to other bytes.
MNIST_SHA256 = {
    "train-images-idx3-ubyte.gz": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte.gz": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte.gz": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte.gz": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}

FASHION_URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
FASHION_SHA256 = {
    "train-images-idx3-ubyte.gz": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte.gz": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte.gz": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte.gz": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}

MAX_BYTES = 16 + 60_000 * 28 * 28
"""The size of the largest file, the training images."""


def digits() -> tuple[Labelled, Labelled]:
    """The first 10,000 training and the first 2,000 test images of MNIST, which come with the package.

    Returns:
        ``(train, test)``, each a pair ``(x, labels)``: ``x`` is uint8 of shape (n, 28, 28, 1), from 0 (paper) to 255
        (ink); ``labels`` is int64 of shape (n,), the digit.

    Example:
        >>> (x, labels), test = digits()
        >>> x.shape, labels[:5]
        ((10000, 28, 28, 1), array([5, 0, 4, 1, 9]))

    Reference:
        LeCun, Bottou, Bengio and Haffner, Gradient-based learning applied to document recognition (1998), section
        III-A. Source and licence: ``funcnn/data/README.md``.
    """
    # This file is as trustworthy as the code beside it, and compressed with LZMA, which ``load`` does not take from
    # strangers. It holds no objects, which NumPy reads only if told to.
    with resources.files("funcnn").joinpath("data/digits.npz").open("rb") as file, np.load(file) as data:
        train, test = ((data[f"{part}_x"], data[f"{part}_labels"].astype(np.int64)) for part in ("train", "test"))
    return train, test


@explained
def mnist(path: str | Path | None = None) -> tuple[Labelled, Labelled]:
    """All of MNIST: 60,000 training and 10,000 test images of handwritten digits.

    Args:
        path: the folder with the four files ``train-images-idx3-ubyte.gz``, ``train-labels-idx1-ubyte.gz``,
            ``t10k-images-idx3-ubyte.gz`` and ``t10k-labels-idx1-ubyte.gz``. By default they are downloaded (11 MB,
            with pooch: ``pip install "funcnn[download]"``) and kept in the user's cache folder.

    Returns:
        ``(train, test)`` as ``digits``.

    Raises:
        FileNotFoundError: one of the files is not in the folder.
        ValueError: a file is cut short, damaged, or not that of MNIST; such a download is removed from the cache, and
            one that is too large is not read to its end.
        ModuleNotFoundError: a download needs pooch, which is not installed.

    Example:
        >>> (x, labels), test = mnist()  # doctest: +SKIP
        >>> x.shape  # doctest: +SKIP
        (60000, 28, 28, 1)

    Reference:
        LeCun, Bottou, Bengio and Haffner, Gradient-based learning applied to document recognition (1998), section
        III-A.
    """
    return _four_files("mnist", path, MNIST_URL, MNIST_SHA256, MAX_BYTES)


@explained
def fashion_mnist(path: str | Path | None = None) -> tuple[Labelled, Labelled]:
    """Fashion-MNIST: 60,000 training and 10,000 test images of clothes, 28 x 28 pixels in ten classes.

    Args:
        path: the folder with four files of the same names as those of ``mnist``. By default they are downloaded (31
            MB, with pooch: ``pip install "funcnn[download]"``) and kept in the user's cache folder.

    Returns:
        ``(train, test)`` as ``digits``; the labels are 0 T-shirt or top, 1 trouser, 2 pullover, 3 dress, 4 coat, 5
        sandal, 6 shirt, 7 sneaker, 8 bag, 9 ankle boot.

    Raises:
        FileNotFoundError: one of the files is not in the folder.
        ValueError: a file is cut short, damaged, or not that of Fashion-MNIST, that of MNIST for example.
        ModuleNotFoundError: a download needs pooch, which is not installed.

    Example:
        >>> (x, labels), test = fashion_mnist()  # doctest: +SKIP
        >>> x.shape  # doctest: +SKIP
        (60000, 28, 28, 1)

    Reference:
        Xiao, Rasul and Vollgraf, Fashion-MNIST: a novel image dataset for benchmarking machine learning algorithms
        (2017), arXiv 1708.07747.
    """
    return _four_files("fashion_mnist", path, FASHION_URL, FASHION_SHA256, MAX_BYTES)


def _four_files(
    kind: str, path: str | Path | None, url: str, checksums: dict[str, str], max_bytes: int
) -> tuple[Labelled, Labelled]:
    """The training and the test part in four files: images and labels of each."""
    folder = None if path is None else checks.path(kind, path)
    missing = [name for name in checksums if folder and not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(f"{kind}: {folder} lacks {', '.join(missing)}; leave out `path` to download the files")
    contents = []
    for name, checksum in checksums.items():
        with local_file(kind, folder, url, name, max_bytes) as file:
            content = gunzip(file, max_bytes)
            check_sha256(file, content, checksum)
        contents.append((file, content))
    train_images, train_labels, test_images, test_labels = contents
    return _examples(train_images, train_labels), _examples(test_images, test_labels)


def _examples(images: tuple[Path, bytes], labels: tuple[Path, bytes]) -> Labelled:
    """The pair of a file of images and a file of their labels."""
    x, y = parse_idx(*images, axes=3), parse_idx(*labels, axes=1)
    if len(x) != len(y):
        raise ValueError(f"{images[0]} holds {len(x)} images, but {labels[0]} holds {len(y)} labels")
    return x[..., None], y.astype(np.int64)
