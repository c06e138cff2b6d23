"""A batch is cut into pieces that go through the layers side by side, each on a core of its own.

Layers treat examples one by one, so a piece needs nothing of the others, and cutting changes no result. A layer that
does look across the batch, as batch norm does, is written as a coroutine: it yields what it has of its piece, all
pieces wait for each other there, and it gets back what they have together.
"""

from collections.abc import Callable, Generator, Sequence
from contextvars import ContextVar, copy_context
from functools import partial, reduce
from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np

from funcnn.engine import threads
from funcnn.aliases import Array, Tree
from funcnn.engine.memory import empty_like

__all__ = ["Meeting", "Piecework", "added", "alone", "cut", "join", "split_like", "summed", "together"]

T = TypeVar("T")

SMALL_BATCH = 48 * 1024
"""Below so many numbers of input the pieces would cost more to hand out than to compute."""

MOST, LEAST = 64, 16
"""Examples in a piece: not too many, because a piece and its windows should stay in a core's cache."""

FEWEST_AXES = 3
"""Of a batch that is cut; what is done to plain rows is nearly all products, which BLAS shares out by itself."""

BUFFER = 512
"""Numbers in NumPy's buffers. A ufunc that meets one number for a channel copies it out over a whole buffer, unless a
buffer is no longer than the run of pixels that the number is for; so with short buffers it is three times as fast."""

_inside_a_piece: ContextVar[bool] = ContextVar("inside a piece", default=False)


class Meeting(NamedTuple):
    """What a piece yields: its value, and what becomes of the values of all pieces, in order: one for each again."""

    value: Any
    combine: Callable[[list[Any]], Sequence[Any]]


Piecework: TypeAlias = Generator[Meeting, Any, T]


def summed(value: Array) -> Meeting:
    """Yield this to get the sum of an array over all pieces, added in their order.

    Example:
        >>> def total(x):
        ...     return (yield summed(x.sum()))
        >>> [float(answer) for answer in together([total(np.ones(2)), total(np.ones(3))])]
        [5.0, 5.0]
    """
    return Meeting(value, lambda values: [reduce(np.add, values)] * len(values))


def cut(x: Array) -> list[Array]:
    """Cut a batch into pieces. Where depends on its shape alone, never on dtype, memory order or number of threads.

    Args:
        x: (batch, ...).

    Returns:
        The pieces, views of ``x``; or ``x`` itself if it is small.

    Example:
        >>> [len(piece) for piece in cut(np.zeros((80, 28, 28, 1), np.float32))]
        [40, 40]
    """
    if not isinstance(x, np.ndarray) or x.ndim < FEWEST_AXES or x.size < SMALL_BATCH or _inside_a_piece.get():
        return [x]
    n = len(x)
    # However narrow its examples are, a piece holds half of what would be a small batch.
    size = max(min(MOST, max(LEAST, -(-n // 2))), SMALL_BATCH * n // (2 * x.size))
    return [x[first : first + size] for first in range(0, n, size)]


def together(coroutines: Sequence[Piecework[T]]) -> list[T]:
    """Run the pieces' coroutines side by side, from one meeting to the next, to their ends.

    Args:
        coroutines: one for each piece; all of them come to the same meetings.

    Returns:
        What they returned, in order.
    """
    answers: Sequence[Any] = [None] * len(coroutines)
    while True:
        several = len(coroutines) > 1
        tasks = [partial(_advance, *pair, several) for pair in zip(coroutines, answers, strict=True)]
        # What a piece sets for itself, numpy's buffers and that it is one, ends with its context.
        reached = threads.run(tasks) if several else [copy_context().run(tasks[0])]
        first = reached[0]
        if isinstance(first, _Done):
            return [done.value for done in reached]
        try:
            answers = first.combine([meeting.value for meeting in reached])
        except Exception as error:
            # Raised where the first piece waits, the error learns on its way out which layer it comes from.
            coroutines[0].throw(error)


def alone(coroutine: Piecework[T]) -> T:
    """Run the coroutine of a batch that was not cut.

    Example:
        >>> def doubled(x):
        ...     return 2 * (yield summed(x))
        >>> alone(doubled(np.ones(2)))
        array([2., 2.])
    """
    return together([coroutine])[0]


def join(pieces: Sequence[Array]) -> Array:
    """The batch again.

    Example:
        >>> join([np.zeros((2, 3)), np.ones((1, 3))]).shape
        (3, 3)
    """
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


def split_like(whole: Array, pieces: Sequence[Array]) -> list[Array]:
    """A batch cut as these pieces were.

    Example:
        >>> [part.tolist() for part in split_like(np.arange(3), [np.zeros(2), np.zeros(1)])]
        [[0, 1], [2]]
    """
    if len(pieces) == 1:
        return [whole]
    return np.split(whole, np.cumsum([len(piece) for piece in pieces])[:-1])


def added(trees: Sequence[Tree]) -> Tree:
    """The sum of the pieces' gradients, in their order; what only the first piece brings stays as it is.

    Example:
        >>> added([{"w": np.ones(2)}, {"w": np.ones(2)}])
        {'w': array([2., 2.])}
    """
    first, *others = trees
    if not isinstance(first, dict):
        total = first
        for number, other in enumerate(others):
            # The first sum is new memory of ours, and the others may go into it.
            total = np.add(total, other, out=total if number else empty_like(total))
        return total
    return {name: added([first[name], *(other[name] for other in others if name in other)]) for name in first}


class _Done(NamedTuple):
    """What a coroutine returned."""

    value: Any


def _advance(coroutine: Piecework[T], answer: Any, several: bool) -> "Meeting | _Done":
    """Let a coroutine run to its next meeting, or to its end; a piece is not cut again by what lies inside."""
    np.setbufsize(BUFFER)
    if several:
        _inside_a_piece.set(True)
    try:
        return coroutine.send(answer)
    except StopIteration as stop:
        return _Done(stop.value)
