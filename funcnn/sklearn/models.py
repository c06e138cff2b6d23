"""The model of an estimator: a layer, or a function of the data's shape that returns one.

A function fits every data set, since it is called with the shape of an example and the number of outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from funcnn import checks
from funcnn.aliases import Shape
from funcnn.combinators import serial
from funcnn.layers import dense, dropout, flatten
from funcnn.protocol import Layer, LayerLike, as_layer
from funcnn.recorded import recorded
from funcnn.wording import shown

__all__ = ["ModelLike", "made_for", "mlp"]

ModelLike: TypeAlias = LayerLike | Callable[..., LayerLike]
"""A layer, a bare pair ``(init, apply)``, or a function of ``(shape)`` or ``(shape, outputs)`` that returns one."""


@recorded
def mlp(hidden: int | Sequence[int] = (100,), activation: Any = "relu", rate: float = 0.0) -> Any:
    """A function of the data's shape that makes a multilayer perceptron: the default model of the estimators.

    Args:
        hidden: the units of each hidden layer, or of a single one.
        activation: the activation of the hidden layers, a layer or its name.
        rate: the dropout rate after each hidden layer.

    Returns:
        ``build(shape, outputs) -> layer``, the layers ``dense(units, activation)`` of ``hidden`` and then
        ``dense(outputs)``; examples of several axes are flattened first.

    Raises:
        ValueError: a number of units is not a whole number ``>= 1``, or the rate is not in [0, 1).

    Example:
        >>> mlp((64, 32))((8,), outputs=3)
        serial(dense(64, activation='relu'), dense(32, activation='relu'), dense(3))
        >>> import funcnn as fn
        >>> fn.sklearn.NetworkClassifier().set_params(model__hidden=64).model
        mlp(hidden=64)
    """
    several: Any = hidden if isinstance(hidden, tuple | list | np.ndarray) else (hidden,)
    units = [checks.size("mlp", "hidden", size) for size in several]
    rate = checks.drop_rate("mlp", rate)

    def build(shape: Shape, outputs: int) -> Layer:
        layers = [flatten] if len(shape) > 1 else []
        for size in units:
            layers += [dense(size, activation=activation), *([dropout(rate)] if rate else [])]
        return serial(*layers, dense(outputs))

    return build


def made_for(name: str, model: Any, shape: Shape, outputs: int) -> Layer:
    """The model, or what the function of the shape makes."""
    if not checks.is_function(model) or checks.is_constructor(model):
        return as_layer(model)
    if checks.takes_keyword(model, "outputs"):
        return as_layer(model(shape, outputs=outputs))
    if checks.accepts(model, ["shape"]):
        return as_layer(model(shape))
    if checks.accepts(model, ["shape", "outputs"]):
        return as_layer(model(shape, outputs))
    raise TypeError(
        f"{name}: expected model as a layer, or a function of (shape) or (shape, outputs), got {shown(model)}"
    )
