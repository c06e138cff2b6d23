"""One table of every layer and combinator, in all variants: a new layer is a new row, and is checked by every law.

The rows stand in one file a family. The tests run through them, and so does ``python -m funcnn.testing``.
"""

from __future__ import annotations

from funcnn.testing.table.activations import ROWS as ACTIVATIONS
from funcnn.testing.table.attention import ROWS as ATTENTION
from funcnn.testing.table.combinators import ROWS as COMBINATORS
from funcnn.testing.table.dense import ROWS as DENSE
from funcnn.testing.table.norms import ROWS as NORMS
from funcnn.testing.table.operators import ROWS as OPERATORS
from funcnn.testing.table.pools import ROWS as POOLS
from funcnn.testing.table.row import Row
from funcnn.testing.table.sequences import ROWS as SEQUENCES
from funcnn.testing.table.shapes import ROWS as SHAPES
from funcnn.testing.table.windows import ROWS as WINDOWS

__all__ = ["table_of_layers"]


def table_of_layers() -> list[Row]:
    """Every layer and combinator of the library, in all its variants, with an input shape: the rows of the tests.

    Returns:
        ``[(layer, shape)]``, with shapes as ``init`` takes them.

    Example:
        >>> len(table_of_layers()) > 30
        True
    """
    return [
        *DENSE, *WINDOWS, *POOLS, *SHAPES, *NORMS, *SEQUENCES, *ACTIVATIONS, *ATTENTION, *COMBINATORS,
        *OPERATORS,
    ]  # fmt: skip
