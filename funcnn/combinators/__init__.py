"""Combinators make one layer of several: chains, branches and graphs, trees of arrays, shared and frozen parameters.

``wiring.py`` runs them all; ``chains.py``, ``trees.py`` and ``parameters.py`` say what is wired how. A new combinator
is one function that calls ``wired`` with a list of (child, its inputs), and one row in the table of tests.
"""

from funcnn.combinators.chains import add, concat, graph, repeat, residual, serial
from funcnn.combinators.parameters import frozen, remat, tied
from funcnn.combinators.trees import branch, on, parallel, select

__all__ = [
    "add", "branch", "concat", "frozen", "graph", "on", "parallel", "remat", "repeat", "residual", "select", "serial",
    "tied",
]  # fmt: skip
