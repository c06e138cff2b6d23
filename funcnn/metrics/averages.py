"""Averages over classes, labels or outputs: which one is wanted is said by the same words in all metrics.

``None`` is not an average: one number for each class.
"""

from typing import Any, Literal, TypeAlias

import numpy as np

from funcnn.aliases import Array
from funcnn.wording import shown

__all__ = ["Average", "average_of", "check_average"]

Average: TypeAlias = Literal["macro", "micro", "weighted"]


def check_average(kind: str, average: Any) -> None:
    """Raise if there is no such average over classes."""
    if average is not None and (not isinstance(average, str) or average not in ("macro", "micro", "weighted")):
        raise ValueError(f'{kind}: expected average to be "macro", "micro", "weighted" or None, got {shown(average)}')


def average_of(values: Array, sizes: Array, average: Average | None, occurs: Array) -> Any:
    """The values of all classes for None, or their mean over those that occur, with "weighted" by the sizes of these.

    For "micro" there is one value, that of all classes at once.
    """
    if average is None:
        return values
    if not occurs.any():
        return float("nan")
    by_size = average == "weighted" and sizes[occurs].any()
    return float(np.average(values[occurs], weights=sizes[occurs] if by_size else None))
