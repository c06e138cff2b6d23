"""The table of a model: for each layer its input and output shapes, its parameters and its multiply-adds.

Everything is read off one run over a single example of zeros, so the table cannot disagree with the model.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from textwrap import wrap
from typing import Any, TextIO

import numpy as np

from funcnn import notebook, terminal, tree
from funcnn.aliases import Array, Params, Shapes
from funcnn.calls import explained
from funcnn.combinators.parameters import is_frozen
from funcnn.inspect.traverse import Visit, trace_shapes
from funcnn.protocol import Layer, LayerLike, as_layer
from funcnn.shapes import specs
from funcnn.tree import below, is_below
from funcnn.wording import shown

__all__ = ["Row", "Summary", "summary"]

# Blue, ochre, violet and crimson of a terminal's 256 colours: the four that differ most for colour-blind readers and
# are legible on black and on white. The fifth family and the next are underlined.
STYLES = [f"{underlined}38;5;{colour}" for underlined in ("", "4;") for colour in (68, 136, 93, 161)]
BOLD = "1"

HEAD = ("path", "layer", "input", "output", "parameters", "multiply-adds")
NUMBERS = 2
"""The last columns are numbers, which are never wrapped."""

NARROWEST = 10
"""A column of text is at least so wide; where there is no room for that, each layer is a paragraph instead of a row."""


@dataclass(frozen=True)
class Row:
    """One layer: shapes are those of one example, or trees of them; counts are elements, not bytes.

    Its parameters are those that are learned here; tied ones count where their source is.
    Its family is the name of the file that it is in, ``"conv"`` or ``"pool"``; a user's layer is ``"own"``.

    Example:
        >>> import funcnn as fn
        >>> model = fn.serial(fn.dense(4), fn.relu)
        >>> row = summary(model, model.init((3,), rng=0), (3,)).rows[0]
        >>> row.path, row.output_shape, row.parameters, row.family
        ('dense_0', (4,), 16, 'dense')
    """

    path: str
    layer: str
    input_shape: Any
    output_shape: Any
    parameters: int
    measured: int
    frozen: int
    multiply_adds: int
    family: str


@dataclass(frozen=True)
class Summary:
    """The rows and their totals; prints as a table of the terminal's width, which ``show`` does in colour."""

    rows: tuple[Row, ...]
    nbytes: int

    @property
    def parameters(self) -> int:
        """How many elements are learned."""
        return sum(row.parameters for row in self.rows)

    @property
    def measured(self) -> int:
        """How many elements ``calibrate`` measures."""
        return sum(row.measured for row in self.rows)

    @property
    def frozen(self) -> int:
        """How many elements are frozen."""
        return sum(row.frozen for row in self.rows)

    @property
    def multiply_adds(self) -> int:
        """How many products are added up to predict one example."""
        return sum(row.multiply_adds for row in self.rows)

    def __str__(self) -> str:
        return self._table(lambda text, style: text)

    def show(self, stream: TextIO | None = None) -> None:
        """Print the table: in a terminal with a colour for each family of layers, and a legend of them.

        Args:
            stream: where to; ``sys.stdout`` by default. No colours if it is not a terminal, if the environment
                variable ``NO_COLOR`` is set, or if ``TERM`` is ``dumb``.

        Raises:
            TypeError: the stream is not an open text file.

        Example:
            >>> import funcnn as fn
            >>> summary(fn.relu, {}, (3,)).show()
            path   layer  input  output  parameters  multiply-adds
            ------------------------------------------------------
                   relu   3      3                0              0
            ------------------------------------------------------
            total                                 0              0
            0 learned parameters; 0 bytes

        Reference:
            https://no-color.org
        """
        stream = sys.stdout if stream is None else stream
        if not callable(getattr(stream, "write", None)):
            raise TypeError(f"show: expected stream as an open text file, such as sys.stdout, got {shown(stream)}")
        if not _takes_colour(stream):
            print(self, file=stream)
            return
        styles = self._styles()
        lines = wrap("colours: " + "  ".join(styles), terminal.columns())
        legend = re.sub(r"\w+", lambda word: _painted(word[0], styles.get(word[0], "")), "\n".join(lines))
        print(f"{self._table(_painted)}\n{legend}", file=stream)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))

    def _repr_html_(self) -> str:
        *body, total = self._cells()
        return notebook.table(HEAD, body, total, self._note(), NUMBERS)

    def _styles(self) -> dict[str, str]:
        """A style for each family, in the order of the rows."""
        families = dict.fromkeys(row.family for row in self.rows)
        return {family: STYLES[number % len(STYLES)] for number, family in enumerate(families)}

    def _cells(self) -> list[tuple[str, ...]]:
        """The texts of all rows, and of the totals."""
        rows = [
            (
                row.path,
                row.layer,
                _shape(row.input_shape),
                _shape(row.output_shape),
                f"{row.parameters:,}",
                f"{row.multiply_adds:,}",
            )
            for row in self.rows
        ]
        return [*rows, ("total", "", "", "", f"{self.parameters:,}", f"{self.multiply_adds:,}")]

    def _note(self) -> str:
        """What stands below the table."""
        frozen = f", {self.frozen:,} frozen ones" if self.frozen else ""
        measured = f", and {self.measured:,} measured ones" if self.measured else ""
        return f"{self.parameters:,} learned parameters{frozen}{measured}; {self.nbytes:,} bytes"

    def _table(self, paint: Callable[[str, str], str]) -> str:
        """The table, with ``paint(text, style)`` for what may have a colour."""
        cells = self._cells()
        widths = _widths([HEAD, *cells], terminal.columns())
        of_family = self._styles()
        styles = [of_family[row.family] for row in self.rows]
        note = terminal.wrapped(self._note().split(" "))
        if not widths:
            paragraphs = [_paragraph(row, paint, style) for row, style in zip(cells[:-1], styles, strict=True)]
            return "\n".join([*paragraphs, _paragraph(cells[-1], paint, ""), note])
        rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
        top, *middle, bottom = (
            _lines(row, widths, paint, style) for row, style in zip([HEAD, *cells], ["", *styles, ""], strict=True)
        )
        total = [paint(line, BOLD) for line in bottom]
        return "\n".join([*top, rule, *(line for lines in middle for line in lines), rule, *total, note])


@explained
def summary(model: LayerLike, params: Params, shape: Shapes) -> Summary:
    """A table of path, layer, input and output shape, parameters and multiply-adds, with totals.

    Multiply-adds are the products that a layer adds up. Each layer declares its own: convolutions and dense layers do,
    and a layer of your own does with ``Layer(..., multiply_adds=...)``. A layer that declares none has 0.

    Args:
        model: a layer or a pair.
        params: its parameters; batch norm need not be calibrated.
        shape: of one example, without the batch axis.

    Returns:
        A ``Summary``: ``print`` or ``show`` it, or read ``rows``, ``parameters``, ``multiply_adds``.

    Raises:
        TypeError: the model is not a layer, the parameters are not nested dicts of plain arrays of one float dtype, or
            ``shape`` is not a tuple of ints or a tree of them.
        ValueError: the parameters or the shape do not fit the model.

    Example:
        >>> import funcnn as fn
        >>> model = fn.serial(fn.dense(4, activation=fn.relu), fn.dense(2))
        >>> print(summary(model, model.init((3,), rng=0), (3,)))
        path     layer                      input  output  parameters  multiply-adds
        ----------------------------------------------------------------------------
        dense_0  dense(4, activation=relu)  3      4               16             12
        dense_1  dense(2)                   4      2               10              8
        ----------------------------------------------------------------------------
        total                                                      26             20
        26 learned parameters; 104 bytes
    """
    visits = trace_shapes("summary", model, params, shape)
    leaves = tree.flatten(params)
    rows = [_row(visit, leaves, as_layer(model)) for visit in visits if not visit.layer.children]
    return Summary(tuple(rows), tree.nbytes(params))


def _row(visit: Visit, leaves: Mapping[str, Array], model: Layer) -> Row:
    """The row of one layer; what it has are the leaves at its path, which are not those of the targets of ties."""
    layer, params = visit.layer, visit.params
    again = layer.measure(params, visit.x) if layer.measure else params
    new = {below(visit.path, name) for name, leaf in again.items() if leaf is not params[name]}
    counts = dict.fromkeys(("learned", "measured", "frozen"), 0)
    for path, leaf in leaves.items():
        if is_below(path, visit.path):
            fate = "measured" if path in new else "frozen" if is_frozen(model, path) else "learned"
            counts[fate] += np.size(leaf)
    return Row(
        path=visit.path,
        layer=layer.spelling(),
        input_shape=specs(visit.x),
        output_shape=specs(visit.y),
        parameters=counts["learned"],
        measured=counts["measured"],
        frozen=counts["frozen"],
        multiply_adds=layer.multiply_adds(params, visit.x, visit.y) if layer.multiply_adds else 0,
        family=_family(layer),
    )


def _family(layer: Layer) -> str:
    """The name of the file or package of a layer's constructor, or of a layer such as ``relu`` that has none."""
    if layer.constructor is not None:
        module = layer.constructor.__module__
    else:
        rooms = [name for name in sys.modules if name.startswith("funcnn.layers.")]
        module = next((name for name in rooms if layer.kind in sys.modules[name].__all__), "")
    package, room, file = [*module.split("."), "", "", ""][:3]
    if package != "funcnn" or room not in ("layers", "combinators"):
        return "own"
    return file if room == "layers" else room


def _takes_colour(stream: TextIO) -> bool:
    """Whether the stream is a terminal, and colours are not switched off."""
    return (
        hasattr(stream, "isatty")
        and stream.isatty()
        and not os.environ.get("NO_COLOR")
        and os.environ.get("TERM") != "dumb"
    )


def _painted(text: str, style: str) -> str:
    """Text in a style, if it has one."""
    return text if not style else f"\x1b[{style}m{text}\x1b[0m"


def _shape(shape: Any) -> str:
    """A shape as text, 28 x 28 x 1, or a tree of shapes, {a: 3, b: 5}."""
    if isinstance(shape, dict):
        return "{" + ", ".join(f"{name}: {_shape(leaf)}" for name, leaf in shape.items()) + "}"
    return " x ".join(str(n) for n in shape) or "1"


def _widths(rows: Sequence[tuple[str, ...]], room: int) -> list[int]:
    """The widths of the columns, in which texts are wrapped where there is no room; empty if there is none at all."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    while sum(widths) + 2 * (len(widths) - 1) > room:
        widest = max(range(len(widths) - NUMBERS), key=widths.__getitem__)
        if widths[widest] <= NARROWEST:
            return []
        widths[widest] -= 1
    return widths


def _lines(cells: tuple[str, ...], widths: list[int], paint: Callable[[str, str], str], style: str) -> list[str]:
    """A row as lines: text to the left, counts to the right, and the layer in its style."""
    columns = [terminal.broken(cell, width) for cell, width in zip(cells, widths, strict=True)]
    lines = []
    for parts in zip_longest(*columns, fillvalue=""):
        *texts, parameters, multiply_adds = (
            part.ljust(width) if i < len(widths) - NUMBERS else part.rjust(width)
            for i, (part, width) in enumerate(zip(parts, widths, strict=True))
        )
        if style and parts[1]:
            texts[1] = paint(parts[1], style) + " " * (widths[1] - len(parts[1]))
        lines.append("  ".join([*texts, parameters, multiply_adds]).rstrip())
    return lines


def _paragraph(cells: tuple[str, ...], paint: Callable[[str, str], str], style: str) -> str:
    """A row for a terminal that is too narrow for a table."""
    path, layer, x, y, parameters, multiply_adds = cells
    width = max(terminal.columns() - 2, 1)
    counts = [f"{parameters} parameters,", f"{multiply_adds} multiply-adds"]
    about = terminal.wrapped([x, f"-> {y};" if x else "", *counts], width=width).split("\n")
    lines = [*(paint(line, style) for line in terminal.broken(layer, width) if line), *about]
    return "\n".join([*terminal.broken(path, width + 2), *("  " + line for line in lines)])
