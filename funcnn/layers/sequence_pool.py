"""One vector of each sequence: its last step, or the mean or maximum of all of its steps.

They take a sequence, or a tree with a mask or lengths, and return an array without a time axis.
"""

# A vjp_fn is defined at each call of apply; like this its annotations cost nothing there.
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from funcnn import checks
from funcnn.aliases import Array, Tree
from funcnn.kernels.over_time import Pull, last_step, max_over_time, mean_over_time
from funcnn.layers.sequences import has_time, sequence, with_gradients
from funcnn.protocol import Layer, stateless

__all__ = ["last", "masked_max", "masked_mean"]

TEXT = """y = {formula}

A sequence without any step gives zeros. What stands under the mask has no influence.

Args:
    x: floats (batch, time, ...), or a tree {{"x": these, "mask": (batch, time)}}, or with "lengths": (batch,).

Returns:
    A layer without parameters, from (batch, time, ...), or such a tree, to (batch, ...).

Raises:
    TypeError: from ``apply``, x is not a plain array of float32 or float64, or the mask is not boolean.
    ValueError: from ``init`` and ``apply``, x has no time, or the mask or the lengths do not fit it.

Example:
    >>> import funcnn as fn, numpy as np
    >>> x = {{"x": np.array([[[1.0], [4.0], [9.0]]]), "mask": np.array([[True, True, False]])}}
    >>> fn.{kind}.apply({{}}, x)[0]
    array([[{value}]])
"""


def _pool(kind: str, kernel: Callable[[Array, Array | None], tuple[Array, Pull]], formula: str, value: str) -> Layer:
    """A ready layer that reduces sequences."""

    def check(x: Any) -> None:
        checks.float_array(kind, x)
        has_time(kind, x)

    def forward(tree: Tree) -> tuple[Array, Callable[[Array], Tree]]:
        x, mask, _ = sequence(kind, tree, check)
        y, pull = kernel(x, mask)
        return y, lambda dy: with_gradients(tree, pull(dy))

    forward.__doc__ = TEXT.format(formula=formula, kind=kind, value=value)
    return stateless(kind, forward, floats=False)


last = _pool("last", last_step, "x_t of the last step t that is there;  dx is dy there, else 0.", "4.")
masked_mean = _pool(
    "masked_mean", mean_over_time, "the mean of x_t over the steps that are there;  dx_t = dy / steps there, else 0.",
    "2.5",
)  # fmt: skip
masked_max = _pool(
    "masked_max", max_over_time, "the largest x_t of the steps that are there;  dx is dy at the first such, else 0.",
    "4.",
)  # fmt: skip
