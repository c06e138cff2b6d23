"""Dropout switches off random units in training, so that no unit can rely on a particular other one.

What is left is scaled up at once (*inverted* dropout), so predicting needs no dropout code at all.
"""

# A pull is defined at each call of apply; like this its annotations cost nothing there.
from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from funcnn import checks
from funcnn.aliases import Array, Rng, Shape
from funcnn.engine import shards
from funcnn.kernels.selection import select
from funcnn.layers.activation.row import same
from funcnn.protocol import Layer, layer, stateless

__all__ = ["dropout"]

Pull: TypeAlias = Callable[[Array], Array]


@layer
def dropout(rate: float) -> Layer:
    """y = x / (1 - rate) where a random mask is 1, else 0;  dx = dy / (1 - rate) where it is 1, else 0.

    Without ``rng``, that is when predicting, y = x.

    Args:
        rate: the probability of *dropping* an element, in [0, 1).

    Returns:
        A layer without parameters.

    Raises:
        TypeError: ``rate`` is not a number.
        ValueError: ``rate`` is outside [0, 1).

    Example:
        >>> import numpy as np
        >>> y, _ = dropout(0.5).apply({}, np.ones((1, 6)), rng=0)
        >>> sorted(set(y.ravel().tolist()))
        [0.0, 2.0]

    Reference:
        Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from overfitting", section 4.
    """
    rate = checks.drop_rate("dropout", rate)
    return dropping("dropout", rate, lambda shape: shape)


def dropping(kind: str, rate: float, units: Callable[[Shape], Shape]) -> Layer:
    """A layer that drops units at random and scales the others up, so that the mean stays.

    Args:
        kind: the layer's kind.
        rate: the probability of dropping a unit.
        units: ``units(shape)`` of x, with 1 at the axes that are kept or dropped together.
    """

    def draw(rng: Rng, x: Array) -> tuple[Array, Pull]:
        kept, scale = shards.uniform(rng, units(x.shape)) >= rate, x.dtype.type(1 / (1 - rate))

        def masked(a: Array) -> Array:
            chosen = select(a, kept)
            chosen *= scale
            return chosen

        return masked(x), masked

    return drawing(kind, rate > 0, draw, check=units)


def drawing(
    kind: str,
    draws: bool,
    draw: Callable[[Rng, Array], tuple[Array, Pull]],
    check: Callable[[Shape], object] | None = None,
) -> Layer:
    """The one maker of layers that draw in training and are the identity when predicting.

    Args:
        kind: the layer's kind.
        draws: whether it draws anything in training.
        draw: ``draw(rng, x) -> (y, pull)`` with ``pull(dy) -> dx``.
        check: raises for the shape of an x that the layer cannot take, when predicting as well.
    """

    def forward(x: Array, rng: Rng | None) -> tuple[Array, Pull]:
        if check is not None:
            check(x.shape)
        return (x, same) if rng is None or not draws else draw(rng, x)

    return stateless(kind, forward, draws=True, per_position=True)
