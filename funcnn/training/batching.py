"""Examples are handed out in batches, in a new random order in each epoch, and some are kept back to judge by.

The order follows from a key and the number of the epoch alone, so a run can be taken up again at any batch.
"""

import math
import operator
from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np

from funcnn.aliases import Array, Rng
from funcnn.rng import as_key, fold, generator

__all__ = ["batches", "k_fold", "split"]

Data: TypeAlias = tuple[Array, Array]


def batches(data: Any, batch_size: int, epochs: int = 1, rng: Rng | None = None, start: int = 0) -> Iterator[Any]:
    """Cut the examples into batches, in a new random order in each epoch; the last, short batch is kept.

    Args:
        data: a tuple of arrays with one length, such as ``(x, labels)``, or one array.
        batch_size: examples in a batch, ``>= 1``.
        epochs: passes over the data, ``>= 0``.
        rng: the key of the order: epoch e is shuffled by ``fold(rng, e)``; None for no shuffling.
        start: leave out so many batches, to go on where a run stopped: those that follow are the same.

    Returns:
        An iterator over ``ceil(examples / batch_size) * epochs - start`` batches, each like ``data``.

    Raises:
        TypeError: the data are no arrays, but lists for instance.
        ValueError: the arrays differ in length or are empty, or a number is out of range.

    Example:
        >>> [x.tolist() for x in batches(np.arange(5), 2)]
        [[0, 1], [2, 3], [4]]
    """
    arrays = data if isinstance(data, tuple) else (data,)
    n, batch_size = check_examples(arrays), check_whole("batch_size", batch_size, 1)
    per_epoch = math.ceil(n / batch_size)
    steps = range(check_whole("start", start, 0), per_epoch * check_whole("epochs", epochs, 0))
    key = None if rng is None else as_key(rng)

    def draw() -> Iterator[Any]:
        order, shuffled = np.arange(n), None
        for step in steps:
            epoch, batch = divmod(step, per_epoch)
            if key is not None and epoch != shuffled:
                order, shuffled = generator(fold(key, epoch)).permutation(n), epoch
            index = order[batch * batch_size : (batch + 1) * batch_size]
            picked = tuple(array[index] for array in arrays)
            yield picked if isinstance(data, tuple) else picked[0]

    return draw()


def split(data: Data, share: float, rng: Rng) -> tuple[Data, Data]:
    """Split off a random share of the examples; each class gives the same share of its own.

    Args:
        data: ``(x, target)``; integer labels (n,) or one-hot rows are classes, other targets are split as they come.
        share: of the second part, in (0, 1); it gets at least one example, and so does the first.
        rng: the key of the split.

    Returns:
        ``(rest, part)``, each like ``data``; class by class, ``part`` has ``share`` of it, to within one example.

    Raises:
        TypeError: the data are no pair of arrays.
        ValueError: ``share`` is outside (0, 1), lengths differ, or there are fewer than two examples.

    Example:
        >>> rest, part = split((np.arange(8), np.array([0, 0, 0, 0, 1, 1, 1, 1])), 0.25, rng=0)
        >>> part[1].tolist()
        [0, 1]
    """
    x, target = check_data("split", data)
    n = len(x)
    if not 0 < share < 1:
        raise ValueError(f"split: share must lie between 0 and 1, got {share!r}")
    if n < 2:
        raise ValueError(f"split: expected at least two examples, got {n}")
    order = _in_classes(target, rng)
    share = min(max(share, 1 / n), 1 - 1 / n)
    # Sorted by class: one is chosen wherever the share of all examples so far passes a half, 1.5, 2.5 and so on.
    chosen = np.diff(np.ceil(share * np.arange(n + 1) - 0.5)) > 0
    part, rest = order[chosen], np.sort(order[~chosen])
    return (x[rest], target[rest]), (x[part], target[part])


def k_fold(data: Data, folds: int, rng: Rng) -> Iterator[tuple[Data, Data]]:
    """Cut the examples into parts, and set aside one after the other: each example validates once, and trains else.

    Args:
        data: ``(x, target)``; integer labels (n,) or one-hot rows are classes, other targets are split as they come.
        folds: how many parts, from 2 to the number of examples.
        rng: the key of the split.

    Returns:
        An iterator over ``folds`` pairs ``(train, validation)``, each like ``data``. The sizes of any two validation
        parts differ by one example at most, and so do their numbers of examples of any class.

    Raises:
        TypeError: the data are no pair of arrays.
        ValueError: lengths differ, or ``folds`` is out of range.

    Example:
        >>> data = np.arange(4), np.array([0, 0, 1, 1])
        >>> [(train[1].tolist(), validation[1].tolist()) for train, validation in k_fold(data, 2, rng=0)]
        [([0, 1], [0, 1]), ([0, 1], [0, 1])]

    Reference:
        Kohavi, A study of cross-validation and bootstrap for accuracy estimation and model selection (1995), section 2.
    """
    x, target = check_data("k_fold", data)
    folds = check_whole("folds", folds, 2)
    if folds > len(x):
        raise ValueError(f"k_fold: expected at least one example for each fold, got {len(x)} for {folds}")
    order = _in_classes(target, rng)

    def pairs() -> Iterator[tuple[Data, Data]]:
        for fold_number in range(folds):
            # Sorted by class, they are dealt out like cards.
            part = order[fold_number::folds]
            rest = np.setdiff1d(order, part)
            yield (x[rest], target[rest]), (x[part], target[part])

    return pairs()


def check_examples(arrays: tuple[Array, ...]) -> int:
    """How many examples there are; refuse what is no array, arrays that disagree, and no example at all."""
    for array in arrays:
        if not isinstance(array, np.ndarray) or not array.ndim:
            got = "one without axes" if isinstance(array, np.ndarray) else f"a {type(array).__name__}"
            raise TypeError(f"expected arrays with one example per index, got {got}; use np.asarray(...)")
    sizes = [len(array) for array in arrays]
    if len(set(sizes)) != 1:
        raise ValueError(f"the arrays hold different numbers of examples, {sizes}; one x goes with one target")
    if not sizes[0]:
        raise ValueError("the data set is empty")
    return sizes[0]


def check_data(what: str, data: Data) -> Data:
    """Refuse data that are no pair ``(x, target)`` of arrays with one length."""
    if not isinstance(data, tuple) or len(data) != 2:
        got = f"a tuple of {len(data)}" if isinstance(data, tuple) else f"a {type(data).__name__}"
        raise TypeError(f"{what}: expected data as a tuple (x, target) of two arrays, got {got}")
    check_examples(data)
    return data


def check_whole(name: str, value: Any, least: int) -> int:
    """A whole number that is not too small."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or operator.index(value) < least:
        raise ValueError(f"{name} must be a whole number >= {least}, got {value!r}")
    return operator.index(value)


def _in_classes(target: Array, rng: Rng) -> Array:
    """The indices of the examples in random order, and if the targets are classes, one class after the other."""
    order = generator(rng).permutation(len(target))
    classes = target.argmax(1) if _is_one_hot(target) else target
    if classes.ndim == 1 and classes.dtype.kind in "iub":
        order = order[np.argsort(classes[order], kind="stable")]
    return order


def _is_one_hot(target: Array) -> bool:
    """Whether the targets are rows with a single 1."""
    rows = target.ndim == 2 and target.shape[1] > 1
    return rows and bool(np.isin(target, (0, 1)).all() and (target.sum(1) == 1).all())
