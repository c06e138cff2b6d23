"""Batches of examples, in a new random order in each epoch, and splits into training and validation data.

The order depends only on a key and the number of the epoch, so a run can be resumed at any batch. Examples are a tree:
an array, or a nested dict of arrays, all with one example per index. Weights say how much each example counts, and go
through batches and splits beside it. What lies in a file is read batch by batch, by threads ahead of the loop if asked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator
from typing import Any, TypeVar

import numpy as np

from funcnn import checks, tree
from funcnn.aliases import Array, Arrays, Data, Key, Rng, Tree
from funcnn.calls import explained
from funcnn.losses.targets import from_one_hot
from funcnn.rng import as_key, fold, generator
from funcnn.training.prefetch import in_order
from funcnn.training.sources import Rows, readable, subset
from funcnn.wording import cast

__all__ = ["batches", "k_fold", "split"]

BLOCK = 4096
"""The number of one-hot rows that are read at a time."""

Batch = TypeVar("Batch", bound=Arrays | tuple[Arrays, ...])
Pair = TypeVar("Pair", bound=Data)


@explained
def batches(
    data: Batch,
    batch_size: int,
    epochs: int = 1,
    rng: Rng | None = None,
    start: int = 0,
    augment: Callable[..., Any] | None = None,
    workers: int = 0,
) -> Generator[Batch, None, None]:
    """Cut the examples into batches, in a new random order in each epoch; the last, short batch is kept.

    Args:
        data: a tuple such as ``(x, labels)``, or ``x`` alone; each is an array or a nested dict of arrays, all of the
            same length. An array may lie in a file: ``np.memmap``, a dataset of h5py, an array of Zarr, a column of a
            Hugging Face data set, or anything else with a length that can be indexed by slices or one by one. Of these,
            the examples of a batch are read, in the order of the file, and never all.
        batch_size: the number of examples in a batch, ``>= 1``.
        epochs: the number of passes over the data, ``>= 0``.
        rng: the key of the order: epoch e is shuffled by ``fold(rng, e)``; None for no shuffling.
        start: the number of batches to skip, to resume a run: the batches that follow are the same.
        augment: ``augment(batch, rng) -> batch``, one of ``funcnn.augment`` or of your own; batch number s gets the key
            ``fold(fold(rng, "augment"), s)``, so that it needs ``rng``.
        workers: the number of threads that read and augment batches ahead of the loop, ``>= 0``; with 0, the loop does
            it. The batches and their order are the same, to the bit. The threads end when the loop does, also by
            ``break`` or an error, at the latest when the iterator is gone or its ``close()`` is called.

    Returns:
        An iterator over ``ceil(examples / batch_size) * epochs - start`` batches, each like ``data``, of plain arrays.

    Raises:
        TypeError: the data are not plain arrays, but lists, data frames or masked arrays for example; the message names
            the path. Or ``rng`` is not a key, or ``augment`` not a function.
        ValueError: the arrays differ in length or are empty, or a size is not a whole number in its range, or
            ``augment`` is given without ``rng``.
        Exception: in the loop, an error of a file or of ``augment``, with the number of the batch as a note.

    Example:
        >>> [x.tolist() for x in batches(np.arange(5), 2)]
        [[0, 1], [2, 3], [4]]
        >>> next(batches({"image": np.zeros((5, 28, 28, 1)), "table": np.arange(5)}, 2))["table"]
        array([0, 1])
    """
    data = readable("batches", data)
    n = check_examples("batches", data if isinstance(data, tuple) else (data,))
    if hasattr(batch_size, "__array__") and np.ndim(batch_size):
        raise TypeError("batches: expected batch_size as a number, got an array; write batches((x, target), size)")
    batch_size = checks.size("batches", "batch_size", batch_size)
    per_epoch = math.ceil(n / batch_size)
    start, epochs = checks.size("batches", "start", start, 0), checks.size("batches", "epochs", epochs, 0)
    augment, workers = check_augment("batches", augment), checks.size("batches", "workers", workers, 0)
    key = None if rng is None else as_key(rng)
    if augment is not None and key is None:
        raise ValueError("batches: augment needs rng, the key of what it draws")

    def numbered() -> Iterator[tuple[int, Array]]:
        order, shuffled = np.arange(n), None
        for step in range(start, per_epoch * epochs):
            epoch, batch = divmod(step, per_epoch)
            if key is not None and epoch != shuffled:
                order, shuffled = generator(fold(key, epoch)).permutation(n), epoch
            yield step, order[batch * batch_size : (batch + 1) * batch_size]

    def make(numbered: tuple[int, Array]) -> Any:
        step, index = numbered
        return made_batch(step, lambda: take(data, index), augment, key)

    return in_order(make, numbered(), workers)


@explained
def split(data: Pair, fraction: float, rng: Rng) -> tuple[Pair, Pair]:
    """Split the examples at random into two parts, with the same fraction of each class (a stratified split).

    Args:
        data: ``(x, target)``, arrays or nested dicts of arrays, or ``(x, target, weights)``. Classes are integer labels
            (n,), unless all differ; one-hot rows; and zeros and ones of any type, of shape (n,) or (n, 1). Other
            targets, dicts among them, are split without regard to their values; so are integers that are not classes,
            as floats.
        fraction: the size of the second part, in (0, 1); each part gets at least one example.
        rng: the key of the split.

    Returns:
        ``(rest, part)``, each like ``data``; ``part`` has ``fraction`` of each class, to within one example. ``rest``,
        for training, keeps an example of every class, so that ``part`` may be smaller if classes are rare. Parts of
        arrays in files are not read yet: ``fit``, ``batches`` and ``x[a:b]`` read from them, ``np.asarray(x)`` all.

    Raises:
        TypeError: the data are not a pair of plain arrays or of nested dicts of them, perhaps with weights,
            ``fraction`` is not a number, or ``rng`` is not a key.
        ValueError: ``fraction`` is outside (0, 1), lengths differ, there are fewer than two examples, or weights are
            negative, not finite or all zero.

    Example:
        >>> rest, part = split((np.arange(8), np.array([0, 0, 0, 0, 1, 1, 1, 1])), 0.25, rng=0)
        >>> part[1].tolist()
        [0, 1]
    """
    data = readable("split", data)
    n = check_data("split", data)
    fraction = checks.proper_fraction("split", "fraction", fraction)
    if n < 2:
        raise ValueError(f"split: expected at least two examples, got {n}")
    order, starts = _class_by_class(data[1], n, rng)
    fraction = min(max(fraction, 1 / n), 1 - 1 / n)
    # Sorted by class: example i is chosen if fraction * i passes 0.5, 1.5, 2.5 and so on there.
    chosen = np.diff(np.ceil(fraction * np.arange(n + 1) - 0.5)) > 0
    # A model cannot learn a class that is nowhere in ``rest``, and a part without examples measures nothing.
    chosen[starts[np.logical_and.reduceat(chosen, starts)]] = False
    if not chosen.any():
        chosen[starts[np.diff(starts, append=n).argmax()]] = True
    part, rest = order[chosen], np.sort(order[~chosen])
    return subset(data, rest), subset(data, part)


@explained
def k_fold(data: Pair, folds: int, rng: Rng) -> Iterator[tuple[Pair, Pair]]:
    """Split the examples for cross-validation: each example is in the validation part of exactly one fold.

    Args:
        data: ``(x, target)`` or ``(x, target, weights)``, arrays or nested dicts of arrays, with classes as in
            ``split``. The only example of a class is missing from the training part of the fold that it validates.
        folds: the number of parts, from 2 to the number of examples.
        rng: the key of the split.

    Returns:
        An iterator over ``folds`` pairs ``(train, validation)``, each like ``data``. The sizes of any two validation
        parts differ by one example at most, and so do their numbers of examples of any class.

    Raises:
        TypeError: the data are not a pair of plain arrays or of nested dicts of them, perhaps with weights, or ``rng``
            is not a key.
        ValueError: lengths differ, ``folds`` is not a whole number in its range, or weights are negative, not finite or
            all zero.

    Example:
        >>> data = np.arange(4), np.array([0, 0, 1, 1])
        >>> [(train[1].tolist(), validation[1].tolist()) for train, validation in k_fold(data, 2, rng=0)]
        [([0, 1], [0, 1]), ([0, 1], [0, 1])]

    Reference:
        Kohavi, A study of cross-validation and bootstrap for accuracy estimation and model selection (1995), section 2.
    """
    data = readable("k_fold", data)
    n = check_data("k_fold", data)
    folds = checks.size("k_fold", "folds", folds, 2)
    if folds > n:
        raise ValueError(f"k_fold: expected at least one example for each fold, got {n} for {folds}")
    order, _ = _class_by_class(data[1], n, rng)

    def pairs() -> Iterator[tuple[Pair, Pair]]:
        for fold_number in range(folds):
            # Sorted by class, every ``folds``-th example takes the same fraction of each class.
            part = order[fold_number::folds]
            rest = np.setdiff1d(order, part)
            yield subset(data, rest), subset(data, part)

    return pairs()


def take(data: Any, index: Array | slice) -> Any:
    """Some examples: the same indices of an array, of each array of a nested dict, or of each item of a tuple of them.

    Example:
        >>> take(({"a": np.array([1, 2, 3])}, np.array([4, 5, 6])), np.array([2, 0]))
        ({'a': array([3, 1])}, array([6, 4]))
    """
    if isinstance(data, tuple):
        return tuple(take(part, index) for part in data)
    return tree.map(lambda leaf: np.asarray(leaf[index]), data)  # a plain array, also of one that is mapped to a file


def made_batch(
    step: int, read: Callable[[], Any], augment: Callable[..., Any] | None = None, key: Key | None = None
) -> Any:
    """Batch number ``step``, read and, if that is asked for, augmented; an error has the number as a note."""
    try:
        batch = read()
        return batch if augment is None or key is None else augment(batch, fold(fold(key, "augment"), step))
    except Exception as error:
        error.add_note(f"batches: in batch {step}")
        raise


def check_augment(kind: str, augment: Any) -> Callable[..., Any] | None:
    """A function of a batch and a key, or None; another value raises."""
    return None if augment is None else checks.function(kind, "augment", augment, "batch, rng")


def check_examples(kind: str, data: tuple[Tree, ...], least: int = 1, names: tuple[str, ...] = ("x", "target")) -> int:
    """The number of examples, or an error that names what is not an array or has another length."""
    sizes: dict[str, int] = {}
    for number, part in enumerate(data):
        name = names[number] if number < len(names) else f"data[{number}]"
        found = dict(_named_leaves(name, part))
        if not found:
            raise ValueError(f"{kind}: expected {name} as an array or a nested dict of arrays, got a dict without any")
        for path, leaf in found.items():
            checks.plain(kind, leaf, path)
            if not isinstance(leaf, np.ndarray | Rows) or not leaf.ndim:
                got = "one without axes" if isinstance(leaf, np.ndarray) else f"a {type(leaf).__name__}"
                fix = cast(leaf, name, "np.float32" if name == "x" else "")
                raise TypeError(f"{kind}: expected {path} as an array with one example per index, got {got}; use {fix}")
            sizes[path] = len(leaf)
        tree.flatten({name: part})  # raises if a key could not be part of a path
    if not sizes:
        raise TypeError(f"{kind}: expected data, got an empty tuple")
    (first, n), *others = sizes.items()
    for path, size in others:
        if size != n:
            raise ValueError(
                f"{kind}: the arrays hold different numbers of examples, {n} in {first} and {size} in {path}; "
                "an example has the same index in all of them"
            )
    if n < least:
        raise ValueError(f"{kind}: the data set is empty")
    return n


def check_data(kind: str, data: Data) -> int:
    """The number of examples, or an error if the data are not ``(x, target)`` or ``(x, target, weights)``."""
    if not isinstance(data, tuple) or len(data) not in (2, 3):
        got = checks.what(data)
        if isinstance(data, list | Iterator):
            got += "; use tuple(data), or tuple(map(np.stack, zip(*data))) if these are pairs"
        elif hasattr(data, "__array__"):
            got += "; write (x, target)"
        elif isinstance(data, tuple) and len(data) > 3:
            got += "; only weights may follow, (x, target, weights)"
        raise TypeError(f"{kind}: expected data as a tuple (x, target) of two arrays or dicts of arrays, got {got}")
    n = check_examples(kind, data, names=("x", "target", "weights"))
    if len(data) == 3:
        w = data[2]
        if isinstance(w, dict):
            raise TypeError(f"{kind}: expected weights as one array of shape (n,), got a dict of {sorted(w)}")
        checks.weights(np.asarray(w), w.shape, kind)
    return n


def weights_of(data: Data) -> Array | None:
    """The weights of ``(x, target, weights)``; None of a pair, whose examples all count the same."""
    return np.asarray(data[2]) if len(data) == 3 else None


def _named_leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The leaves of a nested dict by path, of any type; ``tree.flatten`` raises for lists."""
    if isinstance(value, dict):
        for name, child in value.items():
            yield from _named_leaves(f"{path}/{name}", child)
    else:
        yield path, value


def _class_by_class(target: Tree, n: int, rng: Rng) -> tuple[Array, Array]:
    """The indices of the n examples in random order, sorted by class, and where each class starts among them.

    Without classes, all examples count as one class.
    """
    order = generator(rng).permutation(n)
    classes = None if isinstance(target, dict) else _classes(target)
    if classes is None:
        return order, np.array([0])
    order = order[np.argsort(classes[order], kind="stable")]
    return order, np.unique(classes[order], return_index=True)[1]


def _classes(target: Array | Rows) -> Array | None:
    """The class of each example, numbers of shape (n,); None if the target is not one of classes."""
    if target.dtype.kind not in "fiub":
        return None
    if target.ndim == 2 and target.shape[1] > 1:
        blocks = [from_one_hot(target[i : i + BLOCK]) for i in range(0, len(target), BLOCK)]
        known = [block for block in blocks if block is not None]
        return np.concatenate(known) if len(known) == len(blocks) else None
    if target.ndim == 1 or target.shape[1:] == (1,):
        column = np.asarray(target).reshape(-1)
        some_are_equal = target.ndim == 1 and target.dtype.kind in "iu" and len(np.unique(column)) < len(column)
        if some_are_equal or np.isin(column, (0, 1)).all():
            return column
    return None
