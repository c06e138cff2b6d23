"""What all plots share: axes that need no screen, colours for all kinds of colour vision, and images as tiles.

A plot of many images is a single pair of axes with a tile for each image, so that it can be part of any figure.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from funcnn.aliases import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.image import AxesImage

__all__ = [
    "BLUE", "COLOURS", "SKY_BLUE", "VERMILLION", "check_names", "displayable", "diverging", "frame", "new_axes",
    "outline", "tile",
]  # fmt: skip

# Colours that people with any kind of colour vision can distinguish, without the yellow, which is too pale for lines.
# Reference: Okabe and Ito, Color universal design (2008).
BLUE, SKY_BLUE, VERMILLION = "#0072B2", "#56B4E9", "#D55E00"
COLOURS = (BLUE, VERMILLION, "#009E73", "#CC79A7", "#E69F00", SKY_BLUE, "#000000")


def new_axes(width: float, height: float) -> "Axes":
    """Axes in a figure of this size in inches, which pyplot neither shows nor keeps."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="compressed").subplots()


def diverging() -> "Colormap":
    """Blue for negative values, white for zero, vermillion for positive values."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("signed", [BLUE, "white", VERMILLION])


def tile(
    ax: "Axes", image: Array, left: float, top: float, width: float = 0.9, height: float = 0.9, **options: Any
) -> "AxesImage":
    """Draw one image into a rectangle and keep its proportions; the y axis points down."""
    scale = min(width / image.shape[1], height / image.shape[0])
    right, bottom = left + scale * image.shape[1], top + scale * image.shape[0]
    return ax.imshow(image, extent=(left, right, bottom, top), **options)


def outline(ax: "Axes", picture: "AxesImage", **options: Any) -> None:
    """Draw a line around a tile."""
    left, right, bottom, top = picture.get_extent()
    ax.plot([left, right, right, left, left], [top, top, bottom, bottom, top], **options)


def frame(ax: "Axes", columns: float, rows: float) -> None:
    """Set the limits of axes with ``columns`` times ``rows`` tiles, without ticks and box."""
    ax.set(xlim=(-0.05, columns - 0.05), ylim=(rows - 0.05, -0.05), xticks=[], yticks=[], aspect="equal")
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)


def displayable(kind: str, images: Any) -> Array:
    """Images scaled for matplotlib: from 0, black, to 1, white, and without the channel axis if they are grayscale.

    Args:
        kind: the name of the plot, for messages.
        images: (n, height, width), (n, height, width, 1) or, in colour, (n, height, width, 3). 8-bit integers range
            from 0 to 255; other numbers from 0 (or their minimum, if it is lower) to 1 (or their maximum, if it is
            higher).

    Raises:
        TypeError: they are not numbers.
        ValueError: they have another shape, there are none, or they contain NaN or infinity.
    """
    images = np.asarray(images)
    if images.dtype.kind not in "buif":
        raise TypeError(f"{kind}: expected images of numbers, got {images.dtype}")
    if images.ndim == 4 and images.shape[-1] == 1:
        images = images[..., 0]
    if not (images.ndim == 3 or (images.ndim == 4 and images.shape[-1] == 3)) or not images.size:
        raise ValueError(
            f"{kind}: expected images (height, width), or (height, width, channels) with 1 channel or 3, "
            f"got shape {images.shape[1:]}" + (" and none of them" if images.shape[:1] == (0,) else "")
        )
    if not np.isfinite(images).all():
        raise ValueError(f"{kind}: the images contain NaN or infinite numbers")
    low, high = (0, 255) if images.dtype == np.uint8 else (min(0, images.min()), max(1, images.max()))
    shown: Array = (images.astype(np.float64) - low) / (float(high) - low)
    return shown


def check_names(kind: str, names: Sequence[str] | None, classes: int) -> list[str]:
    """The names of classes, by default their numbers; or an error if there are too few."""
    if names is None:
        return [str(number) for number in range(classes)]
    if len(names) < classes:
        raise ValueError(f"{kind}: expected {classes} class names, one for each class, got {len(names)}")
    return list(names)


def shape_text(x: Any) -> str:
    """The shape of one example of a batch, 28 × 28 × 1, or the shapes of a tree of arrays."""
    if isinstance(x, dict):
        return "{" + ", ".join(f"{name}: {shape_text(leaf)}" for name, leaf in x.items()) + "}"
    return " × ".join(map(str, np.shape(x)[1:])) or "1"
