"""One validator for each kind of argument: it returns the value in the one form the library works with, or raises.

``arguments`` has those of numbers, flags and paths; ``arrays`` those of arrays, shapes and dtypes; ``functions`` those
of functions and of what they return. A new validator stands in one of these files and in its ``__all__``; callers write
``checks.size(...)``. An error names the constructor or function, the argument, what was expected and what came.
"""

from funcnn.checks.arguments import *  # noqa: F403
from funcnn.checks.arrays import *  # noqa: F403
from funcnn.checks.functions import *  # noqa: F403
from funcnn.wording import what as what
