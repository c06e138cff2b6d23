"""A bfloat16 is the upper half of a float32. NumPy has no such type; files of weights have it.

So it is read as the float32 of the same value.
"""

import numpy as np

from funcnn.aliases import Array

__all__ = ["from_bfloat16"]


def from_bfloat16(bits: Array) -> Array:
    """The float32 of the same value as each bfloat16.

    Args:
        bits: its 16 bits, as uint16.

    Example:
        >>> from_bfloat16(np.array([0x3FC0, 0xFF80], np.uint16))
        array([ 1.5, -inf], dtype=float32)
    """
    wide: Array = bits.astype(np.uint32)
    return (wide << 16).view(np.float32)
