"""A model as boxes and arrows: which layer follows which, where the model branches and merges, and the shapes between.

Each combinator says how its children are wired. All wirings together are one graph, which ``layered.py`` lays out.
"""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from funcnn import tree
from funcnn.aliases import Params, Shapes
from funcnn.calls import explained
from funcnn.engine.children import INPUT
from funcnn.inspect.traverse import Visit, trace_shapes
from funcnn.plot.canvas import SKY_BLUE, axes_for, plain, shape_text
from funcnn.plot.layered import ARROW, Box, Layout, Point, layered
from funcnn.protocol import Layer, LayerLike
from funcnn.tree import below

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from funcnn.plot.canvas import Drawing

__all__ = ["diagram"]

# Lengths are inches, from top to bottom and from left to right; sizes of letters are points.
LINE_HEIGHT, PADDING, LABEL_GAP, LETTERS, SMALL_LETTERS = 0.18, 0.12, 0.07, 8, 7

LINE_LENGTH = 44
"""A description of more letters than this is continued in another line."""


@dataclass(frozen=True)
class Node:
    """One box of the diagram: its text, its inputs by name, its output. The model's input has no text and no box."""

    text: str
    inputs: tuple[str, ...]
    y: Any
    colour: str = "white"

    def box(self) -> Box:
        """The size of the box, and of the label on the arrow out of it."""
        label = LABEL_GAP + _text_width(shape_text(self.y), SMALL_LETTERS)
        if not self.text:
            return Box(self.inputs, 0.0, 0.0, label)
        lines = self.text.split("\n")
        width = max(_text_width(line, LETTERS) for line in lines) + 2 * PADDING
        return Box(self.inputs, max(width, 0.3), LINE_HEIGHT * len(lines) + PADDING, label)


@explained
def diagram(model: LayerLike, params: Params, shape: Shapes, ax: Axes | None = None) -> Drawing:
    r"""The model as boxes and arrows, with the shape of one example on each arrow.

    ``serial`` goes down, ``residual`` has a line around its layers, ``add`` and ``concat`` have their branches side by
    side, and any other ``graph`` is drawn in the same way. A combinator of your own is drawn by its ``wiring``; without
    one it is one box.

    Args:
        model: a layer or a pair.
        params: its parameters; batch norm need not be calibrated.
        shape: of one example, without the batch axis.
        ax: where to draw; new axes, large enough for the model, by default.

    Returns:
        The axes. The line of each arrow has the ``gid`` ``"source -> target"``, by the paths of the layers.

    Raises:
        TypeError: the model is not a layer, the parameters are not nested dicts of plain arrays of one float dtype,
            ``shape`` is not a tuple of ints or a tree of them, or ``ax`` is something else than axes.
        ValueError: the parameters or the shape do not fit the model.

    Example:
        >>> import funcnn as fn
        >>> model = fn.serial(fn.dense(4), fn.relu)
        >>> [text.get_text() for text in diagram(model, model.init((3,), rng=0), (3,)).texts if text.get_text()]
        ['3', 'dense(4)\ndense_0, 16 parameters', '4', 'relu\nrelu_0', '4']
    """
    visits = trace_shapes("diagram", model, params, shape)
    root = visits[-1]
    nodes = {INPUT: Node("", (), root.x)}
    _add_nodes(nodes, "", root.layer, {visit.path: visit for visit in visits}, (INPUT,))
    boxes = {name: node.box() for name, node in nodes.items()}
    layout = layered(boxes)

    width, height = layout.right - layout.left + 0.2, layout.height + ARROW
    own = axes_for("diagram", ax, max(width, 2.2), height + 0.4)
    scale = min(1.0, own.bbox.width / width / own.figure.dpi, own.bbox.height / height / own.figure.dpi) if ax else 1.0
    ax = own
    middle, half = (layout.left + layout.right) / 2, max(width, 2.2) / 2
    ax.set(xlim=(middle - half, middle + half), ylim=(height, -0.05), aspect="equal")
    ax.axis("off")
    ax.set_title("Blue layers have parameters", fontsize=9 * scale)
    _draw(ax, scale, nodes, boxes, layout)
    return ax


def _add_nodes(
    nodes: dict[str, Node], path: str, layer: Layer, visits: dict[str, Visit], inputs: tuple[str, ...]
) -> tuple[str, ...]:
    """Add the nodes of the layer at a path, whose input comes from these nodes; return the node of its output."""
    if not layer.children or not layer.wiring:
        nodes[path or layer.kind] = _node(visits[path], inputs)
        return (path or layer.kind,)
    outputs = {INPUT: inputs}
    last: tuple[str, ...] = inputs
    for name, sources in layer.wiring:
        own = tuple(dict.fromkeys(node for source in sources for node in outputs[source.partition("/")[0]]))
        if name:
            last = outputs[name] = _add_nodes(nodes, below(path, name), layer.children[name], visits, own)
        else:
            merge = below(path, "merge")
            while merge in nodes:
                merge += "_"
            nodes[merge] = Node(_merge_text(layer), own, visits[path].y)
            last = (merge,)
    return last


def _node(visit: Visit, inputs: tuple[str, ...]) -> Node:
    """One layer: the call that made it, its path, and how many parameters it has."""
    count = tree.count(visit.params)
    lines = wrap(visit.layer.spelling(), LINE_LENGTH)
    lines.append(visit.path + (f", {count:,} parameters" if count else ""))
    text = "\n".join(line.removeprefix(", ") for line in lines if line)
    return Node(text, inputs, visit.y, SKY_BLUE + "80" if count else "white")


def _merge_text(layer: Layer) -> str:
    """What a combinator does that merges its children's outputs itself."""
    call = layer.call and (layer.call.inner or layer.call)
    kind = call.constructor.__name__ if call else layer.kind
    return "+" if kind in ("add", "residual") else kind


def _draw(ax: Axes, scale: float, nodes: dict[str, Node], boxes: dict[str, Box], layout: Layout) -> None:
    """Draw everything, an inch of the layout on ``scale`` inches of paper, with letters to match."""
    for name, node in nodes.items():
        x, y = layout.boxes[name]
        for source in node.inputs:
            _arrow(ax, scale, layout.arrows[source, name], f"{source} -> {name}")
            if (source, name) in layout.labels:
                _label(ax, scale, layout.labels[source, name], nodes[source].y)
        if node.text:
            _box(ax, scale, (x, y), boxes[name], node)
        _label(ax, scale, layout.labels[name, ""], node.y)
    (x, y), height = layout.boxes[name], boxes[name].height
    _arrow(ax, scale, [(x, y + height), (x, y + height + ARROW)], f"{name} -> output")


def _arrow(ax: Axes, scale: float, points: list[Point], gid: str) -> None:
    """A line through points that ends in an arrowhead."""
    line: dict[str, Any] = {"color": "0.3", "linewidth": scale, "zorder": 1}
    ax.plot(*zip(*points, strict=True), solid_capstyle="butt", solid_joinstyle="miter", gid=gid, **line)
    style = {"arrowstyle": "-|>", "shrinkA": 0, "shrinkB": 0, "mutation_scale": 9 * scale} | line
    ax.annotate("", points[-1], points[-2], arrowprops=style, zorder=1)


def _label(ax: Axes, scale: float, point: Point, y: Any) -> None:
    """The shape of one example, to the right of an arrow."""
    x, height = point
    ax.text(x + LABEL_GAP, height, plain(shape_text(y)), va="center", fontsize=SMALL_LETTERS * scale, color="0.25")


def _box(ax: Axes, scale: float, point: Point, box: Box, node: Node) -> None:
    """A box around a text."""
    from matplotlib.patches import FancyBboxPatch

    x, y = point
    style = "round,pad=0,rounding_size=0.06"
    ax.add_patch(
        FancyBboxPatch(
            (x - box.width / 2, y), box.width, box.height, style,
            facecolor=node.colour, edgecolor="0.3", linewidth=scale,
        )
    )  # fmt: skip
    ax.text(x, y + box.height / 2, plain(node.text), ha="center", va="center", fontsize=LETTERS * scale)


def _text_width(text: str, letters: float) -> float:
    """The width of a text in inches, at least: letters of whole pixels are up to a tenth wider than their outlines."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    width, _, _ = text_to_path.get_text_width_height_descent(text, FontProperties(size=letters), ismath=False)
    return 1.1 * float(width) / 72
