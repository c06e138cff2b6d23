"""What all plots share: axes that need no screen, colours for all kinds of colour vision, and images as tiles.

A plot of many images is a single pair of axes with a tile for each image, so that it can be part of any figure.
"""

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from funcnn import checks, notebook
from funcnn.aliases import Array
from funcnn.wording import shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

    class Drawing(Axes):
        """Axes as plots return them, for type checkers: ``ax.figure`` is a figure that can be saved."""

        figure: Figure


__all__ = [
    "BLUE", "COLOURS", "DASHES", "SKY_BLUE", "VERMILLION", "axes_for", "centred", "check_names", "counted",
    "displayable", "diverging", "finite", "frame", "legend", "new_axes", "numbers", "outline", "plain", "shape_text",
    "tile",
]  # fmt: skip

# Colours that people with any kind of colour vision can distinguish, without the yellow, which is too pale for lines.
# Reference: Okabe and Ito, Color universal design (2008).
BLUE, SKY_BLUE, VERMILLION = "#0072B2", "#56B4E9", "#D55E00"
COLOURS = (BLUE, VERMILLION, "#009E73", "#CC79A7", "#E69F00", SKY_BLUE, "#000000")
DASHES = ("-", "--", ":", "-.")


def new_axes(width: float, height: float) -> "Drawing":
    """Axes in a figure of this size in inches, which pyplot neither shows nor keeps."""
    from matplotlib.figure import Figure

    return cast("Drawing", Figure(figsize=(width, height), layout="compressed").subplots())


def axes_for(kind: str, ax: Any, width: float, height: float) -> "Drawing":
    """The axes that were passed, or new ones of this size if they are None; or an error if they are something else.

    It is called after all other checks, so that nothing is drawn on axes when an argument is wrong. In a notebook,
    the axes and their figure show their picture where they are the last line of a cell.
    """
    from matplotlib.axes import Axes

    if ax is None:
        return _shown(new_axes(width, height))
    if not isinstance(ax, Axes) or ax.name != "rectilinear" or ax.figure is None:
        got = checks.what(ax) if not isinstance(ax, Axes) else f"{ax.name} axes" if ax.figure else "axes of no figure"
        raise TypeError(f"{kind}: expected ax as plain matplotlib axes, such as Figure().subplots(), got {got}")
    return _shown(ax)


def _shown(ax: "Axes") -> "Drawing":
    """The axes, with what a notebook asks them and their figure for."""
    figure: Any = ax.figure
    while figure is not figure.figure:  # that of a subfigure
        figure = figure.figure
    for thing in (ax, figure):
        vars(thing)["_repr_png_"] = partial(notebook.picture, figure)
    return cast("Drawing", ax)


def plain(text: str) -> str:
    r"""Text that matplotlib draws as it is: what stands between two dollar signs would become a formula.

    A byte that is not UTF-8, in the name of a folder and so of a class, becomes a question mark; matplotlib raises.

    Example:
        >>> print(plain("US$ to CA$"))
        US\$ to CA\$
    """
    from matplotlib import rcParams

    whole = text.encode(errors="replace").decode()
    return whole.replace("$", r"\$") if rcParams["text.parse_math"] else whole


def legend(ax: "Axes", entries: Iterable[tuple[Any, str]], **options: Any) -> None:
    """A legend of ``(artist, name)``; of its own, matplotlib leaves out names that are empty or begin with ``_``."""
    artists, names = zip(*entries, strict=True)
    texts = ax.legend(artists, ["name"] * len(names), **options).get_texts()
    for text, name in zip(texts, names, strict=True):
        text.set_text(plain(name))


def diverging() -> "Colormap":
    """Blue for negative values, white for zero, vermillion for positive values."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("signed", [BLUE, "white", VERMILLION])


def tile(
    ax: "Axes", image: Array, left: float, top: float, width: float = 0.9, height: float = 0.9, **options: Any
) -> "AxesImage":
    """Draw one image at the top left of a rectangle and keep its proportions; the y axis points down."""
    scale = min(width / image.shape[1], height / image.shape[0])
    right, bottom = left + scale * image.shape[1], top + scale * image.shape[0]
    return ax.imshow(image, extent=(left, right, bottom, top), origin="upper", **options)


def centred(image: Array, left: float, width: float = 0.9, height: float = 0.9) -> float:
    """Where an image must start to be in the middle of a rectangle, above or below a centred text."""
    own_width = height * float(image.shape[1] / image.shape[0])
    return left + max(0.0, width - own_width) / 2


def counted(number: int, noun: str) -> str:
    """A number of things in words: 1 unit, 2,000 units."""
    return f"{number:,} {noun}" + "s" * (number != 1)


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
    images = numbers(kind, images, "images")
    if images.ndim == 4 and images.shape[-1] == 1:
        images = images[..., 0]
    if not (images.ndim == 3 or (images.ndim == 4 and images.shape[-1] == 3)) or not images.size:
        raise ValueError(
            f"{kind}: expected images (height, width), or (height, width, channels) with 1 channel or 3, "
            f"got shape {images.shape[1:]}" + (" and none of them" if images.shape[:1] == (0,) else "")
        )
    shown = finite(kind, images, "images")
    low, high = (0.0, 255.0) if images.dtype == np.uint8 else (min(0.0, shown.min()), max(1.0, shown.max()))
    return (shown / 2 - low / 2) / (high / 2 - low / 2)  # halves, since high - low could overflow


def numbers(kind: str, value: Any, name: str) -> Array:
    """A plain array of numbers, or an error that names the argument."""
    found = checks.array(kind, value, name)
    if found.dtype.kind not in "buif":
        raise TypeError(f"{kind}: expected {name} of numbers, got {found.dtype}")
    return found


def finite(kind: str, value: Any, name: str) -> Array:
    """Finite numbers as float64, in which no range of smaller floats overflows."""
    found: Array = numbers(kind, value, name).astype(np.float64)
    if not np.isfinite(found).all():
        raise ValueError(f"{kind}: there are NaN or infinite numbers in the {name}; np.nan_to_num replaces them")
    return found


def check_names(kind: str, names: Iterable[str] | None, labels: Iterable[int], exactly: bool = False) -> dict[int, str]:
    """The name of each of these classes, by default its number; or an error if there are too few, or others."""
    occurring = sorted({int(label) for label in labels})
    if names is None:
        return {label: str(label) for label in occurring}
    if isinstance(names, str | bytes) or not checks.is_iterable(names):
        raise TypeError(f"{kind}: expected class names as a list of strings, got {shown(names)}")
    listed = list(names)
    wrong = [name for name in listed if not isinstance(name, str)]
    if wrong:
        raise TypeError(
            f"{kind}: expected class names as strings, got {shown(wrong[0])}; use [str(name) for name in names]"
        )
    classes = max(occurring, default=-1) + 1
    if len(listed) < classes or (exactly and len(listed) > classes):
        raise ValueError(f"{kind}: expected {classes} class names, one for each class, got {len(listed)}")
    return {label: listed[label] for label in occurring}


def shape_text(x: Any) -> str:
    """The shape of one example of a batch, 28 × 28 × 1, or the shapes of a tree of arrays."""
    if isinstance(x, dict):
        return "{" + ", ".join(f"{name}: {shape_text(leaf)}" for name, leaf in x.items()) + "}"
    return " × ".join(map(str, np.shape(x)[1:])) or "1"
