"""Preprocessing: numbers are scaled to mean 0 and standard deviation 1, and labels become one-hot rows.

Statistics are measured on the training data alone, and applied to all other data without change.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from funcnn import checks
from funcnn.aliases import Array, Size
from funcnn.calls import explained
from funcnn.losses.targets import one_hot_rows
from funcnn.training.batching import check_examples
from funcnn.wording import cast, shown

__all__ = ["one_hot", "standardize", "statistics"]


@explained
def one_hot(labels: Array, classes: Size) -> Array:
    r"""y_ic = [c = label_i]: a row for each label, with a 1 in the column of its class and 0 elsewhere.

    Args:
        labels: integers in [0, classes), of any shape.
        classes: the number of classes, ``>= 1``; the labels may lack some of them.

    Returns:
        float32 of shape (\*labels.shape, classes).

    Raises:
        TypeError: the labels are not integers, or are a masked array or another subclass.
        ValueError: a label is out of range, or ``classes`` is not a whole number ``>= 1``.

    Example:
        >>> one_hot(np.array([2, 0]), 3)
        array([[0., 0., 1.],
               [1., 0., 0.]], dtype=float32)

    Reference:
        Bishop, Pattern Recognition and Machine Learning (2006), section 4.1.2: the 1-of-K coding.
    """
    classes = checks.size("one_hot", "classes", classes)
    return one_hot_rows(checks.labels(labels, classes, "one_hot"), classes).astype(np.float32)


@explained
def statistics(x: Array, axis: int | tuple[int, ...] | None = 0) -> dict[str, Array]:
    """The mean and the standard deviation of training data, for ``standardize`` to apply to these and all other data.

    Args:
        x: integers or floats of shape (n, ...), the training data.
        axis: the axes to average over, which must include the first: 0 for a mean of each feature or pixel, (0, 1, 2)
            for a mean of each channel of images, None for a single mean. Prefer (0, 1, 2) for images whose border is
            nearly always empty: its pixels have tiny standard deviations, by which the rare other values would be
            divided.

    Returns:
        ``{"mean": ..., "std": ...}``, a tree that ``save`` can write, with size 1 along the averaged axes, in the dtype
        of ``x``, float32 for integers; or in float64 where ``x`` is so far from zero that float32 would be too coarse.
        Where ``x`` is constant, ``std`` is 1, so that nothing is divided by zero.

    Raises:
        TypeError: ``x`` is not a plain array of integers, float32 or float64.
        ValueError: there is no example, ``axis`` is not one of the array or leaves out the first, or ``x`` contains
            NaN, infinity or numbers whose squares overflow or underflow.

    Example:
        >>> train, test = np.array([[0.0, 5.0], [4.0, 5.0]]), np.array([[6.0, 7.0]])
        >>> standardize(test, statistics(train))
        array([[2., 2.]])
    """
    check_examples("statistics", (x,))
    dtype = _float_dtype("statistics", x)
    axes = _axes(axis, x)
    low, high = x.min(axes, keepdims=True), x.max(axes, keepdims=True)
    if not (np.isfinite(low) & np.isfinite(high)).all():
        raise ValueError("statistics: x contains NaN or infinite numbers; drop these examples or fill in values")
    # In float64: sums of a million pixels have large rounding errors in float32.
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        mean = x.mean(axes, dtype=np.float64, keepdims=True)
        std = x.std(axes, dtype=np.float64, keepdims=True)
    if not (np.isfinite(std) & ((std > 0) | (low == high))).all():
        raise ValueError(
            f"statistics: x has values from {low.min()} to {high.max()}, whose squares float64 does not hold; scale it"
        )
    # By comparison: rounding may give equal numbers a mean that differs from them, and a std of 1e-17.
    mean, std = np.where(low == high, low, mean), np.where(low == high, 1, std)
    return {"mean": _rounded(mean, std, dtype), "std": _rounded(std, std, dtype)}


@explained
def standardize(x: Array, statistics: Mapping[str, Array]) -> Array:
    """y = (x - mean) / std, with the statistics of the training data.

    Args:
        x: integers or floats of shape (n, ...). NaN and infinity stay what they are.
        statistics: the result of the function ``statistics`` for the training data.

    Returns:
        An array of the shape and the dtype of ``x``, or float32 for integers.

    Raises:
        TypeError: ``x`` is not a plain array of integers, float32 or float64, or the statistics are not numbers.
        ValueError: the statistics are not a dict with ``mean`` and ``std``, are of examples of another shape, are not
            finite, or a ``std`` is not positive.

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
    mean, std = (_measured(name, statistics[name], x) for name in ("mean", "std"))
    if not (std > 0).all():
        raise ValueError(f"standardize: expected positive numbers as 'std', got {std.min()}; statistics(x) has none")
    # In float64: float32 does not hold an integer such as a time in seconds.
    y = np.empty(x.shape, dtype)
    np.subtract(x, mean, out=y, dtype=np.float64, casting="same_kind")
    np.divide(y, std, out=y, dtype=np.float64, casting="same_kind")
    return y


def _float_dtype(kind: str, x: Array) -> np.dtype[Any]:
    """The dtype of standardized data: that of floats, and float32 for integers."""
    checks.plain(kind, x, "x")
    if not isinstance(x, np.ndarray) or x.dtype.kind not in "iuf":
        is_array = isinstance(x, np.ndarray)
        got = f"{x.dtype} of shape {x.shape}" if is_array else f"{checks.what(x)}; use {cast(x)}"
        raise TypeError(f"{kind}: expected an array of whole or floating-point numbers, got {got}")
    if x.dtype.kind == "f":
        checks.float_dtype(kind, x.dtype)
    return x.dtype.newbyteorder("=") if x.dtype.kind == "f" else np.dtype(np.float32)


def _axes(axis: Any, x: Array) -> tuple[int, ...]:
    """The axes to average over, or an error if they are not those of an array, or leave out the examples."""
    try:
        axes = tuple(range(x.ndim)) if axis is None else np.lib.array_utils.normalize_axis_tuple(axis, x.ndim)
    except (TypeError, ValueError, OverflowError) as error:
        message = f"statistics: axis must be None, or one or several of the {x.ndim} axes of x, each once, "
        message += f"got {shown(axis)}"
        raise (TypeError if isinstance(error, TypeError) else ValueError)(message) from None
    if 0 not in axes:
        raise ValueError(f"statistics: axis={axis} leaves out axis 0, but the statistics are over the examples")
    if not x.size:
        raise ValueError(f"statistics: x of shape {x.shape} has no elements")
    return axes


def _rounded(value: Array, std: Array, dtype: np.dtype[Any]) -> Array:
    """A statistic in the dtype of the data, or in float64 where rounding would move the data by 1e-5 of their std."""
    rounded = value.astype(dtype)
    return value if (np.abs(rounded - value) > 1e-5 * std).any() else rounded


def _measured(name: str, value: Any, x: Array) -> Array:
    """A statistic, or an error if it is not one of numbers that fit the examples."""
    found = checks.array("standardize", value, f"statistics[{name!r}]")
    if found.dtype.kind not in "iuf":
        raise TypeError(f"standardize: expected statistics[{name!r}] as numbers, got {found.dtype}")
    if found.ndim != x.ndim or any(m not in (1, n) for m, n in zip(found.shape, (1, *x.shape[1:]), strict=True)):
        raise ValueError(
            f"standardize: the statistics have shape {found.shape}, which does not fit {x.dtype} of shape {x.shape}"
        )
    if not np.isfinite(found).all():
        raise ValueError(f"standardize: statistics[{name!r}] contains NaN or infinite numbers; measure it again")
    return found
