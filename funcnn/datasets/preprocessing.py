"""What is done to data before a model sees them: numbers get mean 0 and deviation 1, images shrink, labels become rows.

Whatever is measured for it is measured on the training data alone, and applied to the rest as it is.
"""

from collections.abc import Mapping

import numpy as np

from funcnn.aliases import Array
from funcnn.training.batching import check_examples, check_whole
from funcnn.losses.targets import check_labels

__all__ = ["average_pool_images", "one_hot", "standardize", "standardize_images", "statistics"]


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


def standardize_images(x: Array) -> Array:
    r"""y = (x - mean) / deviation, both of them each image's own: light and contrast no longer matter.

    Args:
        x: whole or floating-point numbers of shape (n, ...); mean and deviation are over all axes but the first.

    Returns:
        Of the shape of ``x``, and of its dtype, or float32 for whole numbers. An image all of whose pixels are equal
        becomes zeros.

    Raises:
        TypeError: ``x`` is no array of such numbers.

    Example:
        >>> standardize_images(np.array([[[0], [2]], [[7], [7]]], np.uint8)).tolist()
        [[[-1.0], [1.0]], [[0.0], [0.0]]]
    """
    if not isinstance(x, np.ndarray) or x.ndim < 2:
        raise TypeError(f"standardize_images: expected an array (n, ...) of images, got {_described(x)}")
    return _standardized(x, *_mean_and_deviation(x, tuple(range(1, x.ndim))))


def statistics(x: Array, axis: int | tuple[int, ...] | None = 0) -> dict[str, Array]:
    r"""The mean and the deviation of training data, for ``standardize`` to apply to them and to all other data.

    Args:
        x: whole or floating-point numbers of shape (n, ...), the training data.
        axis: the axes that are gone over, the first among them: 0 for a mean of each feature or pixel, (0, 1, 2) for
            one of each channel of images, None for a single one. Pixels at the border of images are seldom inked, so
            that their own deviations are tiny and the rare ink would weigh hundreds: prefer (0, 1, 2) there.

    Returns:
        ``{"mean": ..., "deviation": ...}``, a tree that ``save`` takes, of the shape of ``x`` with ones for the axes
        gone over. What is constant in ``x`` has the deviation 1, so that nothing is divided by zero.

    Raises:
        TypeError: ``x`` is no array of such numbers.
        ValueError: there is no example, or ``axis`` leaves out the first axis.

    Example:
        >>> train, test = np.array([[0.0, 5.0], [4.0, 5.0]]), np.array([[6.0, 7.0]])
        >>> standardize(test, statistics(train))
        array([[2., 2.]])
    """
    check_examples((x,))
    axes = tuple(range(x.ndim)) if axis is None else np.lib.array_utils.normalize_axis_tuple(axis, x.ndim)
    if 0 not in axes:
        raise ValueError(f"statistics: axis={axis} leaves out axis 0, but the statistics are over the examples")
    mean, deviation = _mean_and_deviation(x, axes)
    return {"mean": mean, "deviation": deviation}


def standardize(x: Array, statistics: Mapping[str, Array]) -> Array:
    r"""y = (x - mean) / deviation, with the statistics of the training data.

    Args:
        x: whole or floating-point numbers of shape (n, ...).
        statistics: what the function of this name answered for the training data.

    Returns:
        Of the shape of ``x``, and of its dtype, or float32 for whole numbers.

    Raises:
        TypeError: ``x`` is no array of such numbers.
        ValueError: the statistics are of examples of another shape.

    Example:
        >>> standardize(np.array([[6, 7]]), {"mean": np.array([[2, 5]]), "deviation": np.array([[2, 1]])})
        array([[2., 2.]], dtype=float32)

    Reference:
        LeCun, Bottou, Orr and Müller, Efficient backprop (1998), section 4.3.
    """
    mean, deviation = statistics["mean"], statistics["deviation"]
    if mean.ndim != np.ndim(x) or any(
        m not in (1, size) for m, size in zip(mean.shape, (1, *x.shape[1:]), strict=True)
    ):
        raise ValueError(f"standardize: the statistics have shape {mean.shape}, which does not fit {_described(x)}")
    return _standardized(x, mean, deviation)


def average_pool_images(x: Array, size: int) -> Array:
    r"""Smaller images: each pixel is the mean of ``size`` x ``size`` of the old ones.

    Args:
        x: images of shape (n, height, width, channels), uint8 or floating-point.
        size: the side of a window; it divides height and width.

    Returns:
        (n, height / size, width / size, channels) of the same dtype. Means of uint8 are rounded to the nearest whole
        number, halves up.

    Raises:
        TypeError: ``x`` is no array of uint8 or floats.
        ValueError: ``x`` is not of such a shape, or ``size`` does not divide its sides.

    Example:
        >>> average_pool_images(np.array([[[[0], [1]], [[1], [8]]]], np.uint8), 2).tolist()
        [[[[3]]]]
    """
    size = check_whole("size", size, 1)
    if not isinstance(x, np.ndarray) or (x.dtype != np.uint8 and x.dtype.kind != "f"):
        raise TypeError(f"average_pool_images: expected an array of uint8 or floats, got {_described(x)}")
    if x.ndim != 4 or x.shape[1] % size or x.shape[2] % size:
        raise ValueError(
            f"average_pool_images: expected images (n, height, width, channels) whose sides {size} divides, "
            f"got {_described(x)}"
        )
    whole = x.dtype == np.uint8
    total = np.zeros((len(x), x.shape[1] // size, x.shape[2] // size, x.shape[3]), np.int64 if whole else x.dtype)
    for row in range(size):
        for column in range(size):
            total += x[:, row::size, column::size]
    return ((2 * total + size**2) // (2 * size**2)).astype(np.uint8) if whole else total / size**2


def _mean_and_deviation(x: Array, axes: tuple[int, ...]) -> tuple[Array, Array]:
    """Both over the axes, which are kept, in the dtype that standardised data have; 1 for what does not deviate."""
    dtype = _floating(x)
    # float64, since sums of a million pixels are rounded badly in less.
    mean = x.mean(axes, dtype=np.float64, keepdims=True)
    deviation = x.std(axes, dtype=np.float64, keepdims=True)
    # By comparison: rounding may give equal numbers a mean beside them and a deviation of 1e-17.
    low, high = x.min(axes, keepdims=True), x.max(axes, keepdims=True)
    mean, deviation = np.where(low == high, low, mean), np.where(low == high, 1, deviation)
    return mean.astype(dtype), deviation.astype(dtype)


def _standardized(x: Array, mean: Array, deviation: Array) -> Array:
    """(x - mean) / deviation, in the dtype that standardised data have."""
    dtype = _floating(x)
    y: Array = np.subtract(x, mean, dtype=dtype)
    y /= deviation.astype(dtype)
    return y


def _floating(x: Array) -> np.dtype[np.floating]:
    """The dtype that standardised data have."""
    if not isinstance(x, np.ndarray) or x.dtype.kind not in "iuf":
        raise TypeError(f"expected an array of whole or floating-point numbers, got {_described(x)}")
    return x.dtype if x.dtype.kind == "f" else np.dtype(np.float32)


def _described(x: object) -> str:
    """What somebody handed in."""
    return f"{x.dtype} of shape {x.shape}" if isinstance(x, np.ndarray) else f"a {type(x).__name__}"
