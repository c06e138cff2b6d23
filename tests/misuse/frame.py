"""What stands for a data frame among the wrong calls: it has an array, and is none."""

from collections.abc import Iterator
from typing import Any

import numpy as np

__all__ = ["Frame"]


class Frame:
    """What a data frame has: a length, names of columns when iterated, and an array."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.ones((4, 3))

    def __len__(self) -> int:
        return 4

    def __iter__(self) -> Iterator[str]:
        return iter(["a"])
