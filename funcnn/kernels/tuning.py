"""Tuning constants decide how a kernel cuts its work up: they change its speed, never its result beyond rounding.

All of them stand in one frozen record, the last argument of a kernel. A test passes a record of its own, with numbers
so small that a few pixels take every path.
"""

from dataclasses import dataclass

__all__ = ["TUNING", "Tuning"]


@dataclass(frozen=True, eq=False)  # as for ``Window``: plans are found by it at each call
class Tuning:
    """The tuning constants; the defaults were measured on cores with 1 to 2 MB of second-level cache.

    Args:
        window_bytes: the size of a buffer of windows. It is too much for a second-level cache, but shorter products
            cost more.
        block_bytes: the part of one array that is worked on at a time. Three or four such blocks are about a
            second-level cache.
        norm_block_bytes: the same for the norms of examples, which do more small work for each block.
        small_batch_max: the batch size up to which a convolution keeps the channels innermost in memory, since the
            batch would make runs that are too short.
        small_product_max: the multiplications up to which OpenBLAS works on its operands where they are. It copies
            those of larger products first, which for few filters takes as long as the product.
        min_filters: the fewest filters of a small product; with fewer it would be too small to be fast.
        min_columns: the fewest columns of a small product, likewise.
        growth_to_scatter: where x has more than this times the pixels of dy, a convolution back to x would multiply
            many zeros. Then each pixel of dy is multiplied once and the tap contributions are added up.
        min_filters_to_scatter: with fewer filters the convolution back to x costs less all the same.
        min_run: the elements of a run that is long enough for a ufunc to be fast.
        small_array_max: the elements up to which short runs cost less than making them longer.
        min_vecdot_run: shorter runs are left to ``einsum``, which does not call BLAS for each.

    Example:
        >>> Tuning(window_bytes=1).window_bytes
        1
    """

    window_bytes: int = 3 * 1024 * 1024
    block_bytes: int = 512 * 1024
    norm_block_bytes: int = 2 * 1024 * 1024
    small_batch_max: int = 4
    small_product_max: int = 1_000_000
    min_filters: int = 16
    min_columns: int = 32
    growth_to_scatter: float = 1.25
    min_filters_to_scatter: int = 16
    min_run: int = 1024
    small_array_max: int = 16 * 1024
    min_vecdot_run: int = 16


TUNING = Tuning()
"""The constants that every kernel uses unless it is given others."""
