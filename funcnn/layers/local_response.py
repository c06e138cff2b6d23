"""Local response norm divides each element by the size of its neighbours in the channels, at the same pixel.

It is the norm of AlexNet: a strong response of one filter damps those of the filters beside it.
"""

from __future__ import annotations

import numpy as np

from funcnn import checks
from funcnn.aliases import Array, Size
from funcnn.layers.dropout import Pull
from funcnn.protocol import Layer, elements_of, layer, stateless

__all__ = ["local_response_norm"]


@layer
def local_response_norm(size: Size, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Layer:
    """y_c = x_c / d_c^beta, with d_c = k + alpha / size * (sum of x^2 over the ``size`` channels around c).

    Around c are the channels from c - size // 2 to c + (size - 1) // 2 that exist, and alpha is divided by ``size``,
    both as in PyTorch. In the backward pass the sum is over the channels c' that have c around them::

        dx_c = dy_c / d_c^beta - 2 alpha beta / size * x_c * (sum of dy_c' x_c' / d_c'^(beta + 1))

    Args:
        size: the number of channels in a sum, ``>= 1``.
        alpha: the weight of the squares, ``>= 0``.
        beta: the exponent, ``>= 0``.
        k: what is added to the sum, positive.

    Returns:
        A layer without parameters from (batch, ..., channels) to the same.

    Raises:
        TypeError: an argument is not a number.
        ValueError: an argument is out of range; or, from ``init`` and ``apply``, the input has no channels.

    Example:
        >>> y, _ = local_response_norm(2, alpha=2.0, beta=1.0).apply({}, np.array([[1.0, 2.0, 0.0]]))
        >>> y.round(3)
        array([[0.5  , 0.333, 0.   ]])

    Reference:
        Krizhevsky, Sutskever & Hinton 2012, "ImageNet classification with deep convolutional neural networks", 3.3.
    """
    kind = "local_response_norm"
    size = checks.size(kind, "size", size)
    alpha, beta = checks.nonnegative(kind, "alpha", alpha), checks.nonnegative(kind, "beta", beta)
    k = checks.positive(kind, "k", k, usual="1.0")
    before, after = size // 2, (size - 1) // 2

    def forward(x: Array) -> tuple[Array, Pull]:
        if x.ndim < 2:
            raise ValueError(f"{kind}: expected an input of axes (batch, ..., channels), got shape {x.shape}")
        with np.errstate(over="ignore", invalid="ignore"):
            d = k + alpha / size * _window_sums(x * x, before, after)
            damping = d**-beta
            y = x * damping

        def pull(dy: Array) -> Array:
            with np.errstate(over="ignore", invalid="ignore"):
                around = _window_sums(dy * (y / d), after, before)
                dx: Array = dy * damping - 2 * alpha * beta / size * x * around
            return dx

        return y, pull

    return stateless(kind, forward, working_set=elements_of, per_position=True)


def _window_sums(a: Array, before: int, after: int) -> Array:
    """For each channel the sum over those from ``before`` places before it to ``after`` places after it."""
    channels = a.shape[-1]
    total = a.copy()
    for step in range(1, min(before, channels - 1) + 1):
        total[..., step:] += a[..., :-step]
    for step in range(1, min(after, channels - 1) + 1):
        total[..., :-step] += a[..., step:]
    return total
