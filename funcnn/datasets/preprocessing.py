"""What is done to data before a model sees them: labels become rows, pixels get mean 0 and deviation 1.

Whatever is measured for it is measured on the training data alone, and applied to the rest as it is.
"""

import numpy as np

from funcnn.aliases import Array
from funcnn.metrics import check_labels

__all__ = ["one_hot"]


def one_hot(labels: Array, classes: int) -> Array:
    r"""y_ic = [c = label_i]: a row for each label, with a 1 in the column of its class and 0 elsewhere.

    Args:
        labels: integers in [0, classes), of any shape.
        classes: how many classes there are. It is not read off the labels, where a class may happen to be absent.

    Returns:
        float32 of the shape of ``labels`` with the classes as one more axis, the last.

    Raises:
        TypeError: the labels are not integers.
        ValueError: a label is out of range.

    Example:
        >>> one_hot(np.array([2, 0]), 3)
        array([[0., 0., 1.],
               [1., 0., 0.]], dtype=float32)

    Reference:
        Bishop, Pattern Recognition and Machine Learning (2006), section 4.1.2: the 1-of-K coding.
    """
    columns: Array = check_labels(labels, classes)[..., None] == np.arange(classes)
    return columns.astype(np.float32)
