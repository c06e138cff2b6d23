"""A loss is ``loss(y, target) -> (value, dy)``: one number for a batch, and its gradient, where backpropagation starts.

The order is that of metrics too, predictions first, and all take the keywords ``y``, ``target`` and ``weights``.
There is one file for each family: ``regression`` for numbers, ``classification`` for classes; ``targets`` holds what
they share. A new loss is one function here and one row in the table of losses in ``tests/losses``.
"""

from funcnn.losses.classification import (
    binary_cross_entropy,
    categorical_cross_entropy,
    sigmoid_cross_entropy,
    softmax_cross_entropy,
)
from funcnn.losses.core import Loss
from funcnn.losses.regression import mean_squared_error
from funcnn.losses.targets import class_weights
from funcnn.spellings import explain_names

__all__ = [
    "Loss",
    "binary_cross_entropy",
    "categorical_cross_entropy",
    "class_weights",
    "mean_squared_error",
    "sigmoid_cross_entropy",
    "softmax_cross_entropy",
]

explain_names(__name__)
