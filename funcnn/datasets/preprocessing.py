"""Preprocessing: numbers are scaled to mean 0 and standard deviation 1, and labels become one-hot rows.

Statistics are measured on the training data alone, and applied to all other data without change.
"""

from collections.abc import Mapping

import numpy as np

from funcnn import checks
from funcnn.aliases import Array
from funcnn.losses.targets import one_hot_rows
from funcnn.training.batching import check_examples

__all__ = ["one_hot", "standardize", "statistics"]


def one_hot(labels: Array, classes: int) -> Array:
    r"""y_ic = [c = label_i]: a row for each label, with a 1 in the column of its class and 0 elsewhere.

    Args:
        labels: integers in [0, classes), of any shape.
        classes: the number of classes, ``>= 1``; the labels may lack some of them.

    Returns:
        float32 of shape (\*labels.shape, classes).

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
    classes = checks.size("one_hot", "classes", classes)
    return one_hot_rows(checks.labels(labels, classes, "one_hot"), classes).astype(np.float32)


def statistics(x: Array, axis: int | tuple[int, ...] | None = 0) -> dict[str, Array]:
    """The mean and the standard deviation of training data, for ``standardize`` to apply to these and all other data.

    Args:
        x: integers or floats of shape (n, ...), the training data.
        axis: the axes to average over, which must include the first: 0 for a mean of each feature or pixel, (0, 1, 2)
            for a mean of each channel of images, None for a single mean. Prefer (0, 1, 2) for images whose border is
            nearly always empty: its pixels have tiny standard deviations, by which the rare other values would be
            divided.

    Returns:
        ``{"mean": ..., "std": ...}``, a tree that ``save`` can write, with size 1 along the averaged axes. Where ``x``
        is constant, ``std`` is 1, so that nothing is divided by zero.

    Raises:
        TypeError: ``x`` is not an array of integers or floats.
        ValueError: there is no example, or ``axis`` does not include the first axis.

    Example:
        >>> train, test = np.array([[0.0, 5.0], [4.0, 5.0]]), np.array([[6.0, 7.0]])
        >>> standardize(test, statistics(train))
        array([[2., 2.]])
    """
    check_examples("statistics", (x,))
    dtype = _float_dtype("statistics", x)
    axes = tuple(range(x.ndim)) if axis is None else np.lib.array_utils.normalize_axis_tuple(axis, x.ndim)
    if 0 not in axes:
        raise ValueError(f"statistics: axis={axis} leaves out axis 0, but the statistics are over the examples")
    # In float64: sums of a million pixels have large rounding errors in float32.
    mean = x.mean(axes, dtype=np.float64, keepdims=True)
    std = x.std(axes, dtype=np.float64, keepdims=True)
    # By comparison: rounding may give equal numbers a mean that differs from them, and a std of 1e-17.
    low, high = x.min(axes, keepdims=True), x.max(axes, keepdims=True)
    mean, std = np.where(low == high, low, mean), np.where(low == high, 1, std)
    return {"mean": mean.astype(dtype), "std": std.astype(dtype)}


def standardize(x: Array, statistics: Mapping[str, Array]) -> Array:
    """y = (x - mean) / std, with the statistics of the training data.

    Args:
        x: integers or floats of shape (n, ...).
        statistics: the result of the function ``statistics`` for the training data.

    Returns:
        An array of the shape and the dtype of ``x``, or float32 for integers.

    Raises:
        TypeError: ``x`` is not an array of integers or floats.
        ValueError: the statistics are not a dict with ``mean`` and ``std``, or are of examples of another shape.

    Example:
        >>> standardize(np.array([[6, 7]]), {"mean": np.array([[2, 5]]), "std": np.array([[2, 1]])})
        array([[2., 2.]], dtype=float32)

    Reference:
        LeCun, Bottou, Orr and Müller, Efficient backprop (1998), section 4.3.
    """
    if not isinstance(statistics, Mapping) or not {"mean", "std"} <= statistics.keys():
        got = sorted(statistics) if isinstance(statistics, Mapping) else checks.what(statistics)
        raise ValueError(f"standardize: expected statistics as a dict with 'mean' and 'std', got {got}")
    dtype = _float_dtype("standardize", x)
    mean, std = statistics["mean"], statistics["std"]
    if mean.ndim != x.ndim or any(m not in (1, size) for m, size in zip(mean.shape, (1, *x.shape[1:]), strict=True)):
        raise ValueError(
            f"standardize: the statistics have shape {mean.shape}, which does not fit {x.dtype} of shape {x.shape}"
        )
    y: Array = np.subtract(x, mean, dtype=dtype)
    y /= std.astype(dtype)
    return y


def _float_dtype(kind: str, x: Array) -> np.dtype[np.floating]:
    """The dtype of standardized data: that of floats, and float32 for integers."""
    if not isinstance(x, np.ndarray) or x.dtype.kind not in "iuf":
        got = f"{x.dtype} of shape {x.shape}" if isinstance(x, np.ndarray) else checks.what(x)
        raise TypeError(f"{kind}: expected an array of whole or floating-point numbers, got {got}")
    return x.dtype if x.dtype.kind == "f" else np.dtype(np.float32)
