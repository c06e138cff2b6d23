"""A target says what an example should be, and a weight how much that example counts.

Where a class is rare, weights make up for it: an example of weight 2 counts as two, one of weight 0 as none.
"""

from typing import Any

import numpy as np

from funcnn.aliases import Array, Shape

__all__ = ["class_weights"]


def class_weights(labels: Array, classes: int) -> Array:
    """w_c = n / (classes n_c), with n_c of n examples in class c: weighted so, every class counts the same.

    Look up the weight of each example by its label, ``class_weights(labels, classes)[labels]``, and give that to a
    loss or a metric. In training, weigh by the classes of the whole training set and look up in each batch:
    ``lambda y, labels: softmax_cross_entropy(y, labels, weights=per_class[labels])``.

    Args:
        labels: integers of shape (n,), from 0 to classes - 1.
        classes: how many there are.

    Returns:
        float64 of shape (classes,); over all examples the weights have a mean of 1.

    Raises:
        TypeError: the labels are not integers.
        ValueError: they are not of shape (n,), one is out of range, or a class has no example.

    Example:
        >>> labels = np.array([0, 0, 0, 1])
        >>> class_weights(labels, 2)[labels]
        array([0.66666667, 0.66666667, 0.66666667, 2.        ])

    Reference:
        King & Zeng, Logistic regression in rare events data (2001), section 4.2, with equal shares of all classes.
    """
    if np.ndim(labels) != 1:
        raise ValueError(
            f"expected labels of shape (n,), got {np.shape(labels)}; "
            "use labels.ravel(), or labels.argmax(1) for one-hot rows"
        )
    counts = np.bincount(check_labels(labels, classes), minlength=classes)
    if not counts.all():
        raise ValueError(f"class {counts.argmin()} of {classes} has no example, so no weight makes it count")
    return len(labels) / (classes * counts)


def check_labels(labels: Any, classes: int) -> Array:
    """Class labels as int64, or an error if they are not integers in [0, classes)."""
    array: Array = np.asarray(labels)
    if array.dtype.kind not in "iu":
        raise TypeError(f"expected integer labels, got {array.dtype}; use labels.astype(np.int64)")
    outside = array[(array < 0) | (array >= classes)]
    if outside.size:
        raise ValueError(f"expected labels from 0 to {classes - 1}, got {outside.flat[0]}")
    return array.astype(np.int64)


def check_weights(weights: Any, shape: Shape) -> Array:
    """Weights as float64, of the first axis or the first axes of ``shape``; ones if there are none."""
    if weights is None:
        return np.ones(shape[:1])
    array: Array = np.asarray(weights)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"expected weights as numbers, got an array of {array.dtype}")
    if not array.ndim or array.shape != shape[: array.ndim]:
        first_axes = " or ".join(str(shape[:end]) for end in range(1, len(shape) + 1))
        raise ValueError(f"expected weights of shape {first_axes}, got {array.shape}; give each example one weight")
    if not (np.isfinite(array) & (array >= 0)).all():
        raise ValueError(
            f"expected weights that are finite and not negative, got values from {array.min()} to {array.max()}"
        )
    if not array.any():
        raise ValueError("all weights are zero: nothing counts, so there is no mean; weigh at least one above zero")
    return array.astype(np.float64)
