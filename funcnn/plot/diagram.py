"""A model as boxes and arrows: what follows on what, where it branches and meets again, and the shapes on the way.

A block knows its size and how to draw itself below a point, and a combinator is a block made of its children's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import numpy as np

from funcnn import tree
from funcnn.aliases import Params, Shape
from funcnn.combinators import add, concat, probe, residual, serial
from funcnn.inspect.traverse import Visit, trace
from funcnn.plot.canvas import SKY_BLUE, new_axes
from funcnn.protocol import Layer

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["diagram"]

# All lengths are inches, from top to bottom and from left to right.
ARROW, LINE, LETTER, LABEL, RADIUS, MARGIN = 0.42, 0.18, 0.068, 0.9, 0.15, 0.35
LETTERS = 44
"""A description longer than this goes on in another line."""


@dataclass(frozen=True)
class Pen:
    """Draws on axes where an inch of the diagram is ``scale`` inches of paper, with letters to match."""

    ax: "Axes"
    scale: float

    def line(self, *points: tuple[float, float], arrow: bool = False) -> None:
        """A line through points, which may end in an arrowhead."""
        *_, before, last = points
        self.ax.plot(*zip(*points, strict=True), color="0.3", linewidth=self.scale, solid_capstyle="butt", zorder=1)
        if arrow:
            style = {"arrowstyle": "-|>", "color": "0.3", "shrinkA": 0, "shrinkB": 0} | {
                "linewidth": self.scale,
                "mutation_scale": 9 * self.scale,
            }
            self.ax.annotate("", last, before, arrowprops=style, zorder=1)

    def shape(self, x: float, y: float, batch: Shape) -> None:
        """The shape of one example, to the right of an arrow."""
        words = " × ".join(map(str, batch[1:])) or "1"
        self.ax.text(x + 0.07, y, words, va="center", fontsize=7 * self.scale, color="0.25")

    def box(self, x: float, y: float, size: tuple[float, float], text: str, colour: str) -> None:
        """A box around a text, the middle of its upper edge at (x, y)."""
        from matplotlib.patches import FancyBboxPatch

        width, height = size
        style = "round,pad=0,rounding_size=0.06"
        corner = (x - width / 2, y)
        self.ax.add_patch(FancyBboxPatch(corner, *size, style, facecolor=colour, edgecolor="0.3", linewidth=self.scale))
        self.ax.text(x, y + height / 2, text, ha="center", va="center", fontsize=8 * self.scale)


@dataclass(frozen=True)
class Block:
    """A part of the diagram; ``draw(pen, x, y)`` puts the middle of its upper edge at (x, y)."""

    width: float
    height: float
    draw: Callable[[Pen, float, float], None]


def diagram(model: Any, params: Params, shape: Shape, ax: "Axes | None" = None) -> "Axes":
    r"""The model as boxes and arrows, with the shape of one example on each arrow.

    ``serial`` goes down, ``residual`` has a line around its layers, ``add`` and ``concat`` have their branches side by
    side; a combinator of your own is one box.

    Args:
        model: a layer or a pair.
        params: its parameters; batch norm need not be calibrated.
        shape: of one example, without the batch axis.
        ax: where to draw; new axes, large enough for the model, by default.

    Returns:
        The axes.

    Raises:
        ValueError: the parameters or the shape do not fit the model.

    Example:
        >>> import funcnn as fn
        >>> model = fn.serial(fn.dense(4), fn.relu)
        >>> [text.get_text() for text in diagram(model, model.init((3,), rng=0), (3,)).texts if text.get_text()]
        ['3', 'dense(4)\ndense_0, 16 parameters', '4', 'relu\nrelu_0', '4']
    """
    # Training mode, since a batch norm that is not measured yet has a shape all the same.
    visits = trace(model, tree.cast(params, np.float32), probe(shape), rng=0)
    root = visits[-1]
    block = _block("", root.layer, {visit.path: visit for visit in visits})
    width, height = max(block.width, 2.0) + 0.2, block.height + 2 * ARROW
    if ax is None:
        ax, scale = new_axes(width, height + 0.4), 1.0
    else:
        scale = min(1.0, ax.bbox.width / width / ax.figure.dpi, ax.bbox.height / height / ax.figure.dpi)
    ax.set(xlim=(-width / 2, width / 2), ylim=(height, -0.05), aspect="equal")
    ax.axis("off")
    ax.set_title("Blue layers have parameters", fontsize=9 * scale)

    pen = Pen(ax, scale)
    for top, batch in ((0.0, root.x.shape), (ARROW + block.height, root.y.shape)):
        pen.line((0, top), (0, top + ARROW), arrow=True)
        pen.shape(0, top + ARROW / 2, batch)
        if top == 0:
            block.draw(pen, 0, ARROW)
    return ax


def _block(path: str, layer: Layer, visits: dict[str, Visit]) -> Block:
    """The block of the layer at a path."""
    parts = [
        (_block(f"{path}/{name}" if path else name, child, visits), visits[f"{path}/{name}" if path else name])
        for name, child in layer.children.items()
    ]
    if not parts or layer.constructor not in (serial, residual, add, concat):
        return _box(visits[path])
    if layer.constructor is serial:
        return _chain(parts)
    if layer.constructor is residual:
        inner = _chain(parts)
        beside = inner.width / 2 + MARGIN
        wire = Block(0, 0, lambda pen, x, y: None)
        return _branches([(inner, 0), (wire, beside)], [parts[-1][1].y.shape, visits[path].x.shape], "+")
    step = max(block.width for block, _ in parts) + MARGIN
    spread = [(block, step * (number - (len(parts) - 1) / 2)) for number, (block, _) in enumerate(parts)]
    return _branches(spread, [visit.y.shape for _, visit in parts], "+" if layer.constructor is add else "concat")


def _box(visit: Visit) -> Block:
    """One layer: what it is, its path, and how many parameters it has."""
    count = tree.count(visit.params)
    lines = wrap(repr(visit.layer), LETTERS)
    lines.append(visit.path + (f", {count:,} parameters" if count else ""))
    lines = [line for line in lines if line]
    width, height = LETTER * max(map(len, lines)) + 0.25, LINE * len(lines) + 0.12
    colour = SKY_BLUE + "80" if count else "white"
    return Block(width, height, lambda pen, x, y: pen.box(x, y, (width, height), "\n".join(lines), colour))


def _chain(parts: Sequence[tuple[Block, Visit]]) -> Block:
    """Blocks one under the other, with arrows between them."""
    height = sum(block.height for block, _ in parts) + ARROW * (len(parts) - 1)

    def draw(pen: Pen, x: float, y: float) -> None:
        for number, (block, _) in enumerate(parts):
            if number:
                pen.line((x, y), (x, y + ARROW), arrow=True)
                pen.shape(x, y + ARROW / 2, parts[number - 1][1].y.shape)
                y += ARROW
            block.draw(pen, x, y)
            y += block.height

    return Block(max(block.width for block, _ in parts), height, draw)


def _branches(blocks: Sequence[tuple[Block, float]], shapes: Sequence[Shape], merge: str) -> Block:
    """Blocks, each so far to the right of where the input splits, and the node where their answers meet."""
    # A shape to the right of a wire needs room too, on both sides since the middle stays the middle.
    width = 2 * max(abs(right) + max(block.width / 2, LABEL) for block, right in blocks)
    inner = max(block.height for block, _ in blocks)
    half = RADIUS if merge == "+" else LETTER * len(merge) / 2 + 0.1
    height = 2 * ARROW + inner + 2 * RADIUS

    def draw(pen: Pen, x: float, y: float) -> None:
        bottom = y + ARROW + inner
        node = y + height - RADIUS
        for (block, right), shape in zip(blocks, shapes, strict=True):
            centre = x + right
            pen.line((x, y), (centre, y), (centre, y + ARROW), arrow=block.height > 0)
            block.draw(pen, centre, y + ARROW)
            if abs(centre - x) < half:
                pen.line((centre, y + ARROW + block.height), (centre, node - RADIUS), arrow=True)
            else:
                side = x + half if centre > x else x - half
                pen.line((centre, y + ARROW + block.height), (centre, node), (side, node), arrow=True)
            pen.shape(centre, bottom + ARROW / 2, shape)
        pen.box(x, node - RADIUS, (2 * half, 2 * RADIUS), merge, "white")

    return Block(width, height, draw)
