"""Batches from a generator, or from the data loader of another library.

Their number is known when they end. ``fit`` keeps the first examples, since it evaluates and calibrates on them again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from itertools import chain
from typing import Any

import numpy as np

from funcnn import checks, tree
from funcnn.aliases import Data
from funcnn.engine.examples import join
from funcnn.training.batching import check_examples

__all__ = ["UNKNOWN", "Stream", "is_stream"]

UNKNOWN = 2**62
"""The number of steps in an epoch until the first one has ended."""

Task = tuple[int | None, Any]
"""The number of a batch and the batch; or None and the number of batches in the pass that ended here."""


def is_stream(data: Any) -> bool:
    """Whether training data are batches one after the other. A list is not: it may hold arrays or examples."""
    is_plain = isinstance(data, tuple | list | dict | set | str | bytes) or hasattr(data, "__array__")
    return hasattr(data, "__iter__") and not is_plain


class Stream:
    """Some passes over batches ``(x, target)`` or ``(x, target, weights)``.

    Args:
        source: an iterable, which starts again with each pass; or an iterator, for a single pass.
        epochs: the number of passes.
        examples: about how many of the first ones to keep.
    """

    def __init__(self, source: Iterable[Any], epochs: int, examples: int) -> None:
        passing = iter(source)
        if passing is source and epochs > 1:
            raise ValueError(
                f"fit: an iterator gives its batches once, so it is not enough for {epochs} epochs; give an object "
                "whose __iter__ starts again, or epochs=1"
            )
        kept, count = list[Any](), 0
        for batch in passing:
            kept.append(_checked(batch, len(kept)))
            count += len(tree.leaves({"x": kept[-1][0]})[0])
            if count >= examples:
                break
        if not kept:
            raise ValueError("fit: expected batches (x, target), got an iterator without any")
        self.source, self.epochs, self.kept, self.passing = source, epochs, kept, passing
        self.sample: Data = tuple(join(list(parts)) for parts in zip(*kept, strict=True))
        self.steps = len(source) * epochs if isinstance(source, Sized) else 0

    def tasks(self, start: int) -> Iterator[Task]:
        """All batches from a number on, and the end of each pass."""
        step = per_pass = 0
        for epoch in range(self.epochs):
            before = step
            for batch in chain(self.kept, self.passing) if epoch == 0 else self.source:
                if step >= start:
                    yield step, batch if step < len(self.kept) else _checked(batch, step)
                step += 1
            if epoch and step - before != per_pass:
                raise ValueError(
                    f"fit: the batches of epoch {epoch + 1} are {step - before}, those before were {per_pass}; "
                    "each pass must have as many"
                )
            per_pass = step - before
            yield None, per_pass


def _checked(batch: Any, number: int) -> tuple[Any, ...]:
    """A batch of new arrays, since an iterator may reuse its own, or an error that says which one is not a batch."""
    found = tuple(batch) if isinstance(batch, list) else batch
    if not isinstance(found, tuple) or len(found) not in (2, 3):
        raise TypeError(
            f"fit: expected data as a tuple (x, target) of two arrays, or an iterator of batches (x, target), got an "
            f"iterator whose batch {number} is {checks.what(batch)}"
        )
    check_examples(f"fit, batch {number}", found, names=("x", "target", "weights"))
    return tuple(tree.map(np.array, part) for part in found)
