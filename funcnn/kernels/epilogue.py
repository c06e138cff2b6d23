"""An epilogue is what a kernel does to its output while that is in the cache: a bias, an affine map, an activation.

It is declared as data, not passed as a callback, so that another implementation can read it and do the same in its own
way. An activation has its name and constants for that reader, and its function for NumPy.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from funcnn.aliases import Array
from funcnn.kernels.layout import tiled_channels
from funcnn.kernels.tuning import TUNING, Tuning

__all__ = ["NO_EPILOGUE", "Activation", "Epilogue", "finish"]


@dataclass(frozen=True)
class Activation:
    """A function of each element.

    Args:
        name: its name, ``"relu"`` for example.
        function: ``function(x, out) -> out``; ``out`` may be ``x``.
        constants: its constants, such as the slope of a leaky relu.

    Example:
        >>> import numpy as np
        >>> x = np.array([-1.0, 2.0])
        >>> Activation("abs", np.abs)(x)
        >>> x
        array([1., 2.])
    """

    name: str
    function: Callable[[Array, Array], Array]
    constants: tuple[float, ...] = ()

    def __call__(self, x: Array) -> None:
        """Overwrite an array with its activation."""
        self.function(x, x)


class Epilogue(NamedTuple):
    """y = activation((z + bias) * scale + shift), per channel; what is None is left out.

    Args:
        bias: (channels,).
        scale: (channels,).
        shift: (channels,).
        activation: the function of each element.
    """

    bias: Array | None = None
    scale: Array | None = None
    shift: Array | None = None
    activation: Activation | None = None


NO_EPILOGUE = Epilogue()
"""The epilogue that does nothing."""


def finish(rows: Array, epilogue: Epilogue, tuning: Tuning = TUNING) -> None:
    """Overwrite a channel view with what an epilogue makes of it.

    Example:
        >>> import numpy as np
        >>> rows = np.ones((1, 2, 1))
        >>> finish(rows, Epilogue(bias=np.array([1.0, 2.0]), scale=np.array([10.0, 10.0])))
        >>> rows.ravel()
        array([20., 30.])
    """
    bias, scale, shift, activation = epilogue
    if bias is not None:
        view, bias = tiled_channels(rows, bias, tuning=tuning)
        view += bias
    if scale is not None:
        view, scale = tiled_channels(rows, scale, tuning=tuning)
        view *= scale
    if shift is not None:
        view, shift = tiled_channels(rows, shift, tuning=tuning)
        view += shift
    if activation is not None:
        activation(rows)
