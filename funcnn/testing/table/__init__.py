"""One table of every layer and combinator, in all variants: a new layer is a new row, and is checked by every law.

The rows stand in one file a family. The tests run through them, and so does ``python -m funcnn.testing``.
"""

from __future__ import annotations

from funcnn.testing.table import activations, combinators, dense, norms, shapes, windows
from funcnn.testing.table.row import Row

__all__ = ["table_of_layers"]


def table_of_layers() -> list[Row]:
    """Every layer and combinator of the library, in all its variants, with an input shape: the rows of the tests.

    Returns:
        ``[(layer, shape)]``, with shapes as ``init`` takes them.

    Example:
        >>> len(table_of_layers()) > 30
        True
    """
    families = (dense, windows, shapes, norms, activations, combinators)
    return [row for family in families for row in family.ROWS]
