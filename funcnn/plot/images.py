"""Images with the predictions of a model, with a heat map over them, and through the filters of a convolution.

A wrong prediction is marked by a frame and a cross as well as by colour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from funcnn import checks
from funcnn.aliases import Array
from funcnn.calls import explained
from funcnn.layers.conv import conv2d
from funcnn.plot.canvas import (
    VERMILLION,
    axes_for,
    centred,
    check_names,
    displayable,
    diverging,
    finite,
    frame,
    numbers,
    outline,
    plain,
    tile,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from funcnn.plot.canvas import Drawing

__all__ = ["filtered_image", "heat_map", "image_grid"]


@explained
def image_grid(
    images: Array,
    labels: Array | None = None,
    predicted: Array | None = None,
    class_names: Sequence[str] | None = None,
    columns: int = 8,
    ax: Axes | None = None,
) -> Drawing:
    """Images side by side, each with its true and its predicted class.

    Args:
        images: (n, height, width), (n, height, width, 1) or, in colour, (n, height, width, 3). An array with three axes
            is n grayscale images, whatever their width. 8-bit integers are shown from 0 to 255; other numbers from 0 to
            1, or over a wider range if they exceed it.
        labels: the true classes, integers of shape (n,).
        predicted: the predicted classes, integers of shape (n,); those that differ from ``labels`` are marked.
        class_names: the names of the classes; their numbers by default.
        columns: the number of images in a row, ``>= 1``.
        ax: where to draw; new axes, large enough for all, by default.

    Returns:
        The axes.

    Raises:
        TypeError: images are not a plain array of numbers, classes are not integers, names are not strings, or ``ax``
            is something else than axes.
        ValueError: the images have another shape, (n, height, 1) without classes among them, which may be a single
            image; or are not finite; the classes are not of shape (n,) or have no name; or ``columns`` is not a whole
            number ``>= 1``.

    Example:
        >>> ax = image_grid(np.zeros((2, 8, 8)), np.array([0, 1]), np.array([0, 0]), ["cat", "dog"])
        >>> [text.get_text() for text in ax.texts]
        ['cat', '✗ cat, not dog']
    """
    images = numbers("image_grid", images, "images")
    if images.ndim == 3 and images.shape[2] == 1 and labels is None and predicted is None:
        raise ValueError(
            f"image_grid: expected several images, got shape {images.shape}; of a single one, image[None]; of several "
            "that are one pixel wide, images[..., None]"
        )
    shown = displayable("image_grid", images)
    columns = checks.size("image_grid", "columns", columns)
    true, guessed = (
        _check_classes(name, of, len(shown)) for name, of in (("labels", labels), ("predicted", predicted))
    )
    known = [classes for classes in (true, guessed) if classes is not None]
    names = check_names("image_grid", class_names, np.concatenate(known) if known else ())
    captions = [_caption(*pair, names) for pair in zip(_as_list(true, shown), _as_list(guessed, shown), strict=True)]

    columns = min(columns, len(shown))
    rows = -(-len(shown) // columns)
    if max(map(len, captions)) > 14:
        captions = [caption.replace(", not ", ",\nnot ") for caption in captions]
    lines = [caption.split("\n") for caption in captions]
    longest = max(len(line) for words in lines for line in words)
    # A letter is about 0.65 times its font size wide and 1.2 times high.
    side, step = max(1.05, 0.06 * longest), 1.0 + 0.2 * max(map(len, lines)) * any(captions)
    ax = axes_for("image_grid", ax, max(3.0, side * columns), side * step * rows + 0.3)
    frame(ax, columns, rows * step)
    ax.apply_aspect()
    size = min(9.0, 72 * ax.bbox.width / ax.figure.dpi / columns / 0.65 / max(longest, 1))
    for number, (image, caption) in enumerate(zip(shown, captions, strict=True)):
        row, column = divmod(number, columns)
        wrong = caption.startswith("✗")
        picture = tile(ax, image, centred(image, column), row * step, cmap="gray", vmin=0, vmax=1)
        if wrong:
            outline(ax, picture, color=VERMILLION, linewidth=3, clip_on=False)
        if caption:
            colour, weight = (VERMILLION, "bold") if wrong else ("black", "normal")
            ax.text(
                column + 0.45, row * step + 0.96, plain(caption),
                ha="center", va="top", fontsize=size, color=colour, weight=weight,
            )  # fmt: skip
    frame(ax, columns, rows * step)
    if true is not None and guessed is not None:
        ax.set_title(f"{np.sum(true == guessed)} of {len(shown)} right; ✗ predicted, not true", fontsize=10)
    return ax


@explained
def heat_map(image: Array, heat: Array, ax: Axes | None = None) -> Drawing:
    """The importance of each part of an image, drawn over the image: of ``saliency``, ``grad_cam`` or a map of yours.

    Args:
        image: (height, width), (height, width, 1) or, in colour, (height, width, 3).
        heat: (rows, columns), or (rows, columns, channels), whose maximum absolute value over the channels is drawn.
            It is stretched over the image.
        ax: where to draw; new axes by default.

    Returns:
        The axes.

    Raises:
        TypeError: image or heat are not plain arrays of numbers, or ``ax`` is something else than axes.
        ValueError: image or heat have another shape, or are not finite.

    Example:
        >>> heat_map(np.ones((8, 8)), np.eye(2)).images[1].get_array().tolist()
        [[1.0, 0.0], [0.0, 1.0]]

    Reference:
        Simonyan, Vedaldi & Zisserman 2014, arXiv 1312.6034, section 3.1, for the maximum over the channels.
    """
    (shown,) = displayable("heat_map", numbers("heat_map", image, "image")[None])
    heat = numbers("heat_map", heat, "heat").astype(np.float64)
    if not np.isfinite(heat).all():
        raise ValueError("heat_map: expected finite numbers as heat, got NaN or infinity; np.nan_to_num replaces them")
    if heat.ndim not in (2, 3) or not heat.size:
        raise ValueError(
            f"heat_map: expected finite numbers of shape (rows, columns) or (rows, columns, channels), got shape "
            f"{heat.shape}; of a batch, take one example"
        )
    if heat.ndim == 3:
        heat = np.abs(heat).max(axis=-1)

    from matplotlib.colors import LinearSegmentedColormap

    ax = axes_for("heat_map", ax, 4.6, 3.8)
    extent = (0, shown.shape[1], shown.shape[0], 0)
    ax.imshow(shown, cmap="gray", vmin=0, vmax=1, extent=extent, origin="upper")
    # Transparent where the heat is zero: a second map in grey would be mistaken for the image.
    fading = LinearSegmentedColormap.from_list("heat", [VERMILLION + "00", VERMILLION])
    lowest, highest = min(0.0, heat.min()), max(0.0, heat.max()) or 1.0
    colours = ax.imshow(heat, fading, vmin=lowest, vmax=highest, extent=extent, origin="upper")
    ax.figure.colorbar(colours, cax=ax.inset_axes((1.03, 0, 0.05, 1))).set_label("importance")
    ax.set(xlabel="column (pixels)", ylabel="row (pixels)")
    ax.set_title("Heat map")
    return ax


@explained
def filtered_image(image: Array, kernels: Mapping[str, Array], ax: Axes | None = None) -> Drawing:
    """An image and the output of each of several filters, for example a Sobel filter beside a learned one.

    Args:
        image: (height, width), (height, width, 1) or (height, width, 3).
        kernels: ``{name: kernel}``, each of shape (kernel height, kernel width) or (kernel height, kernel width,
            channels). As in ``conv2d``, the filter is a cross-correlation: the kernel is not flipped.
        ax: where to draw; new axes by default.

    Returns:
        The axes: in the upper row the image and the outputs, each from its minimum, black, to its maximum, white; under
        each output its kernel, with negative weights in blue and positive weights in vermillion.

    Raises:
        TypeError: image or kernels are not plain arrays of numbers, the kernels are not in a dict with strings as keys,
            or ``ax`` is something else than axes.
        ValueError: image or kernel have another shape or are not finite; there is no kernel, or a kernel has another
            number of channels than the image, or is larger.

    Example:
        >>> edges = {"falling to the right": np.array([[1.0, -1.0]])}
        >>> filtered_image(np.array([[0.0, 1.0, 0.0]]), edges).images[1].get_array().tolist()
        [[-1.0, 1.0]]
    """
    image = numbers("filtered_image", image, "image")
    (shown,) = displayable("filtered_image", image[None])
    if not isinstance(kernels, Mapping) or any(not isinstance(name, str) for name in kernels):
        raise TypeError(f"filtered_image: expected kernels as a dict {{name: array}}, got {checks.what(kernels)}")
    if not kernels:
        raise ValueError("filtered_image: expected at least one kernel, {name: array}, got none")
    channels = image.shape[2] if image.ndim == 3 else 1
    kernels = {name: finite("filtered_image", kernel, f"kernel {name!r}") for name, kernel in kernels.items()}
    outputs = {name: _filtered(name, image.reshape(*shown.shape[:2], channels), of) for name, of in kernels.items()}

    columns = 1 + len(kernels)
    ax = axes_for("filtered_image", ax, 2.1 * columns, 3.7)
    tile(ax, shown, centred(shown, 0), 0.15, cmap="gray", vmin=0, vmax=1)
    ax.text(0.45, 0.1, "image", ha="center", va="bottom")
    for column, (name, kernel) in enumerate(kernels.items(), 1):
        tile(ax, outputs[name], centred(outputs[name], column), 0.15, cmap="gray")
        ax.text(column + 0.45, 0.1, plain(name), ha="center", va="bottom")
        flat = kernel.reshape(*kernel.shape[:2], -1)
        limit = np.abs(flat).max() or 1.0
        width = 0.5 / flat.shape[2]
        for channel in range(flat.shape[2]):
            left = centred(flat[..., channel], column + 0.2 + channel * width, 0.95 * width, 0.5)
            tile(ax, flat[..., channel], left, 1.12, 0.95 * width, 0.5, cmap=diverging(), vmin=-limit, vmax=limit)
        ax.text(column + 0.45, 1.65, f"from {flat.min():.2g} to {flat.max():.2g}", ha="center", va="top", fontsize=8)
    ax.text(0.45, 1.37, "kernel:\nblue < 0 < orange", ha="center", va="center", fontsize=8)
    frame(ax, columns, 1.8)
    ax.set_title("An image through filters")
    return ax


def _filtered(name: str, image: Array, kernel: Array) -> Array:
    """The output of one filter, (rows, columns)."""
    w = kernel[..., None] if kernel.ndim == 2 else kernel
    fits = w.ndim == 3 and w.size and w.shape[2] == image.shape[2]
    if not fits or any(k > n for k, n in zip(w.shape, image.shape, strict=True)):
        raise ValueError(
            f"filtered_image: expected kernel {name!r} of shape (height, width, {image.shape[2]}), no larger than the "
            f"image {image.shape}, got {kernel.shape}"
        )
    y, _ = conv2d(1, w.shape[:2], bias=False).apply({"w": w[..., None]}, image[None].astype(np.float64))
    output: Array = y[0, ..., 0]
    return output


def _check_classes(name: str, classes: Array | None, n: int) -> Array | None:
    """The integer class of each image, or None if there are no classes."""
    if classes is None:
        return None
    classes = checks.array("image_grid", classes, name)
    if classes.shape != (n,):
        raise ValueError(f"image_grid: expected {name} of shape ({n},), one for each image, got {classes.shape}")
    return checks.labels(classes, np.iinfo(np.int64).max, "image_grid")


def _as_list(classes: Array | None, images: Array) -> list[int | None]:
    """The class of each image, or None for each."""
    return [None] * len(images) if classes is None else [int(label) for label in classes]


def _caption(true: int | None, guessed: int | None, names: Mapping[int, str]) -> str:
    """The text under an image: its true and its predicted class if they differ, otherwise the class that is known."""
    if true is not None and guessed is not None and true != guessed:
        return f"✗ {names[guessed]}, not {names[true]}"
    known = guessed if true is None else true
    return "" if known is None else names[known]
