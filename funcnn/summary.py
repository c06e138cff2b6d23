"""The table of a model: what each layer is given, what it answers, what it learns and what it costs.

Everything is read off one run over a single example of zeros, so the table cannot disagree with the model.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from funcnn import tree
from funcnn.aliases import Params, Shape
from funcnn.combinators import probe
from funcnn.walk import Visit, trace

__all__ = ["Row", "Summary", "summary"]


@dataclass(frozen=True)
class Row:
    """One layer: shapes are those of one example, counts are numbers, not bytes."""

    path: str
    layer: str
    input_shape: Shape
    output_shape: Shape
    parameters: int
    measured: int
    multiply_adds: int


@dataclass(frozen=True)
class Summary:
    """The rows and their totals; prints as a table."""

    rows: tuple[Row, ...]
    nbytes: int

    @property
    def parameters(self) -> int:
        """How many numbers are learned."""
        return sum(row.parameters for row in self.rows)

    @property
    def measured(self) -> int:
        """How many numbers ``calibrate`` measures."""
        return sum(row.measured for row in self.rows)

    @property
    def multiply_adds(self) -> int:
        """How many products are added up to predict one example."""
        return sum(row.multiply_adds for row in self.rows)

    def __str__(self) -> str:
        head = ("path", "layer", "input", "output", "parameters", "multiply-adds")
        body = [
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
        total = ("total", "", "", "", f"{self.parameters:,}", f"{self.multiply_adds:,}")
        widths = [max(len(line[i]) for line in (head, *body, total)) for i in range(len(head))]
        rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
        lines = ["  ".join(_aligned(line, widths)).rstrip() for line in (head, *body, total)]
        measured = f", and {self.measured:,} measured ones" if self.measured else ""
        note = f"{self.parameters:,} learned parameters{measured}; {self.nbytes:,} bytes"
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1], note])


def summary(model: Any, params: Params, shape: Shape) -> Summary:
    """A table of path, layer, input and output shape, parameters and multiply-adds, with totals.

    Multiply-adds are those of the weights: a ``w`` whose last axis is the output's costs its size once for each place
    of the output, be that a pixel of a convolution or an example of a dense layer. Additions are not counted.

    Args:
        model: a layer or a pair.
        params: its parameters; batch norm need not be calibrated.
        shape: of one example, without the batch axis.

    Returns:
        A ``Summary``: ``print`` it, or read ``rows``, ``parameters``, ``multiply_adds``.

    Raises:
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
    # Training mode, since a batch norm that is not measured yet has a shape all the same.
    visits = trace(model, tree.cast(params, np.float32), probe(shape), rng=0)
    return Summary(tuple(_row(visit) for visit in visits if not visit.layer.children), tree.nbytes(params))


def _row(visit: Visit) -> Row:
    """What one visit tells about its layer."""
    layer, params = visit.layer, visit.params
    again = layer.measure(params, visit.x) if layer.measure else params
    measured = sum(np.size(leaf) for name, leaf in again.items() if leaf is not params[name])
    places = visit.y.size // max(visit.y.shape[-1], 1)
    return Row(
        path=visit.path,
        layer=repr(layer),
        input_shape=visit.x.shape[1:],
        output_shape=visit.y.shape[1:],
        parameters=tree.count(params) - measured,
        measured=measured,
        multiply_adds=np.size(params["w"]) * places if "w" in params else 0,
    )


def _shape(shape: Shape) -> str:
    """A shape as one writes it: 28 x 28 x 1."""
    return " x ".join(str(n) for n in shape) or "1"


def _aligned(cells: tuple[str, ...], widths: list[int]) -> list[str]:
    """Words to the left, numbers to the right."""
    return [
        cell.ljust(width) if i < 4 else cell.rjust(width)
        for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
