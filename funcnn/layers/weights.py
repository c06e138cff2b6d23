"""What dense layers and convolutions learn: weights ``w`` and, unless it is left out, a bias ``b`` for each unit.

One place initializes them, reads and checks them, and puts their gradients together.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from funcnn import contract
from funcnn.aliases import Array, Params, Rng, Shape
from funcnn.initializers import InitializerLike, as_initializer
from funcnn.rng import fold
from funcnn.wording import shown

__all__ = ["Weights", "weights"]


class Weights(NamedTuple):
    """The functions of a layer's ``w`` and ``b``.

    Args:
        init: ``init(shape, rng, fan_in, fan_out) -> params``, for ``w`` of that shape.
        read: ``read(params, x) -> (w, b)``, checked; b is None if there is none.
        gradients: ``gradients(dw, sum_of_dz) -> dparams``; the sum is computed only if there is a bias.
    """

    init: Callable[[Shape, Rng, int, int], Params]
    read: Callable[[Params, Array], tuple[Array, Array | None]]
    gradients: Callable[[Array, Callable[[], Array]], Params]


def weights(
    kind: str,
    axes: str,
    shape: tuple[int | None, ...],
    bias: bool,
    w_init: InitializerLike,
    b_init: InitializerLike,
    groups: int = 1,
    *,
    multiplier: int = 1,
    units: int | None = None,
) -> Weights:
    """The weights of a layer.

    Args:
        kind: the layer's kind, for messages.
        axes: the axes of its input in words.
        shape: that of ``w``, with None where the number of channels stands.
        bias: whether there is a ``b``.
        w_init: the initializer of ``w``.
        b_init: the initializer of ``b``.
        groups: the number of channels of the input, divided by that of ``w``.
        multiplier: the number of channels of ``w``, divided by that of the input.
        units: how many there are; by default the last axis of ``w``.
    """
    if not isinstance(bias, bool | np.bool_):
        hint = f"activation={bias!r} is another argument" if isinstance(bias, str) else "init gets the number of inputs"
        raise TypeError(f"{kind}: bias must be True or False, got {shown(bias)}; {hint}, so give options by keyword")
    bias = bool(bias)
    w_init, b_init = (as_initializer(kind, name, own) for name, own in (("w_init", w_init), ("b_init", b_init)))
    biases = {"b": (units or shape[-1],)} if bias else {}
    read_all = contract.parameters(kind, axes, groups, multiplier, w=shape, **biases)

    def init(shape: Shape, rng: Rng, fan_in: int, fan_out: int) -> Params:
        params = {"w": w_init(shape, fold(rng, "w"), fan_in, fan_out)}
        return params | {"b": b_init((units or shape[-1],), fold(rng, "b"), fan_in, fan_out)} if bias else params

    def read(params: Params, x: Array) -> tuple[Array, Array | None]:
        found = read_all(params, x)
        return found[0], found[1] if bias else None

    def gradients(dw: Array, db: Callable[[], Array]) -> Params:
        return {"w": dw, "b": db()} if bias else {"w": dw}

    return Weights(init, read, gradients)
