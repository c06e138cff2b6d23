"""Batches of examples, in a new random order in each epoch, and splits into training and validation data.

The order depends only on a key and the number of the epoch, so a run can be resumed at any batch.
"""

import math
from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np

from funcnn import checks
from funcnn.aliases import Array, Rng
from funcnn.losses.targets import from_one_hot
from funcnn.rng import as_key, fold, generator

__all__ = ["batches", "k_fold", "split"]

Data: TypeAlias = tuple[Array, Array]
"""``(x, target)``, two arrays with one example per index."""


def batches(data: Any, batch_size: int, epochs: int = 1, rng: Rng | None = None, start: int = 0) -> Iterator[Any]:
    """Cut the examples into batches, in a new random order in each epoch; the last, short batch is kept.

    Args:
        data: a tuple of arrays of the same length, such as ``(x, labels)``, or one array.
        batch_size: the number of examples in a batch, ``>= 1``.
        epochs: the number of passes over the data, ``>= 0``.
        rng: the key of the order: epoch e is shuffled by ``fold(rng, e)``; None for no shuffling.
        start: the number of batches to skip, to resume a run: the batches that follow are the same.

    Returns:
        An iterator over ``ceil(examples / batch_size) * epochs - start`` batches, each like ``data``.

    Raises:
        TypeError: the data are not arrays, but lists for example.
        ValueError: the arrays differ in length or are empty, or a number is out of range.

    Example:
        >>> [x.tolist() for x in batches(np.arange(5), 2)]
        [[0, 1], [2, 3], [4]]
    """
    arrays = data if isinstance(data, tuple) else (data,)
    n, batch_size = check_examples("batches", arrays), checks.size("batches", "batch_size", batch_size)
    per_epoch = math.ceil(n / batch_size)
    start, epochs = checks.size("batches", "start", start, 0), checks.size("batches", "epochs", epochs, 0)
    key = None if rng is None else as_key(rng)

    def draw() -> Iterator[Any]:
        order, shuffled = np.arange(n), None
        for step in range(start, per_epoch * epochs):
            epoch, batch = divmod(step, per_epoch)
            if key is not None and epoch != shuffled:
                order, shuffled = generator(fold(key, epoch)).permutation(n), epoch
            index = order[batch * batch_size : (batch + 1) * batch_size]
            picked = tuple(array[index] for array in arrays)
            yield picked if isinstance(data, tuple) else picked[0]

    return draw()


def split(data: Data, fraction: float, rng: Rng) -> tuple[Data, Data]:
    """Split the examples at random into two parts, with the same fraction of each class (a stratified split).

    Args:
        data: ``(x, target)``; integer labels (n,) or one-hot rows are classes, other targets are split without regard
            to their values.
        fraction: the size of the second part, in (0, 1); each part gets at least one example.
        rng: the key of the split.

    Returns:
        ``(rest, part)``, each like ``data``; ``part`` has ``fraction`` of each class, to within one example.

    Raises:
        TypeError: the data are not a pair of arrays.
        ValueError: ``fraction`` is outside (0, 1), lengths differ, or there are fewer than two examples.

    Example:
        >>> rest, part = split((np.arange(8), np.array([0, 0, 0, 0, 1, 1, 1, 1])), 0.25, rng=0)
        >>> part[1].tolist()
        [0, 1]
    """
    x, target = check_data("split", data)
    n = len(x)
    fraction = checks.proper_fraction("split", "fraction", fraction)
    if n < 2:
        raise ValueError(f"split: expected at least two examples, got {n}")
    order = _class_by_class(target, rng)
    fraction = min(max(fraction, 1 / n), 1 - 1 / n)
    # Sorted by class: example i is chosen if fraction * i passes 0.5, 1.5, 2.5 and so on there.
    chosen = np.diff(np.ceil(fraction * np.arange(n + 1) - 0.5)) > 0
    part, rest = order[chosen], np.sort(order[~chosen])
    return (x[rest], target[rest]), (x[part], target[part])


def k_fold(data: Data, folds: int, rng: Rng) -> Iterator[tuple[Data, Data]]:
    """Split the examples for cross-validation: each example is in the validation part of exactly one fold.

    Args:
        data: ``(x, target)``; integer labels (n,) or one-hot rows are classes, other targets are split without regard
            to their values.
        folds: the number of parts, from 2 to the number of examples.
        rng: the key of the split.

    Returns:
        An iterator over ``folds`` pairs ``(train, validation)``, each like ``data``. The sizes of any two validation
        parts differ by one example at most, and so do their numbers of examples of any class.

    Raises:
        TypeError: the data are not a pair of arrays.
        ValueError: lengths differ, or ``folds`` is out of range.

    Example:
        >>> data = np.arange(4), np.array([0, 0, 1, 1])
        >>> [(train[1].tolist(), validation[1].tolist()) for train, validation in k_fold(data, 2, rng=0)]
        [([0, 1], [0, 1]), ([0, 1], [0, 1])]

    Reference:
        Kohavi, A study of cross-validation and bootstrap for accuracy estimation and model selection (1995), section 2.
    """
    x, target = check_data("k_fold", data)
    folds = checks.size("k_fold", "folds", folds, 2)
    if folds > len(x):
        raise ValueError(f"k_fold: expected at least one example for each fold, got {len(x)} for {folds}")
    order = _class_by_class(target, rng)

    def pairs() -> Iterator[tuple[Data, Data]]:
        for fold_number in range(folds):
            # Sorted by class, every ``folds``-th example takes the same fraction of each class.
            part = order[fold_number::folds]
            rest = np.setdiff1d(order, part)
            yield (x[rest], target[rest]), (x[part], target[part])

    return pairs()


def check_examples(kind: str, arrays: tuple[Array, ...]) -> int:
    """The number of examples, or an error if there are none, or the arrays are not arrays of the same length."""
    for array in arrays:
        if not isinstance(array, np.ndarray) or not array.ndim:
            got = "one without axes" if isinstance(array, np.ndarray) else f"a {type(array).__name__}"
            raise TypeError(f"{kind}: expected arrays with one example per index, got {got}; use np.asarray(...)")
    sizes = [len(array) for array in arrays]
    if len(set(sizes)) != 1:
        raise ValueError(f"{kind}: the arrays hold different numbers of examples, {sizes}; one x goes with one target")
    if not sizes[0]:
        raise ValueError(f"{kind}: the data set is empty")
    return sizes[0]


def check_data(kind: str, data: Data) -> Data:
    """The data, or an error if they are not a pair ``(x, target)`` of arrays of the same length."""
    if not isinstance(data, tuple) or len(data) != 2:
        raise TypeError(f"{kind}: expected data as a tuple (x, target) of two arrays, got {checks.what(data)}")
    check_examples(kind, data)
    return data


def _class_by_class(target: Array, rng: Rng) -> Array:
    """The indices of the examples in random order, sorted by class if the targets are classes."""
    order = generator(rng).permutation(len(target))
    classes = target
    if target.ndim == 2 and target.shape[1] > 1 and target.dtype.kind in "fiub":
        labels = from_one_hot(target)
        classes = target if labels is None else labels
    if classes.ndim == 1 and classes.dtype.kind in "iub":
        order = order[np.argsort(classes[order], kind="stable")]
    return order
