"""Work that is done ahead of the loop that needs it, by threads in the background, in order.

Each item is a pure function of its task, so it does not matter which thread makes it, nor how many there are. The
threads end with the loop, also if it ends early.
"""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["in_order"]

N = TypeVar("N")
T = TypeVar("T")

AHEAD = 2
"""How many items are made ahead for each thread."""


def in_order(make: Callable[[N], T], tasks: Iterable[N], workers: int) -> Generator[T, None, None]:
    """``make(task)`` for each task, in their order, by this many threads; by the caller itself if there are none.

    Example:
        >>> list(in_order(lambda number: number**2, range(5), workers=2))
        [0, 1, 4, 9, 16]
    """
    if not workers:
        for task in tasks:
            yield make(task)  # not by map, which takes a StopIteration of make for its own end
        return
    owner, waiting = os.getpid(), deque[tuple[N, Future[T]]]()
    pool = ThreadPoolExecutor(workers, "funcnn-batches")

    def next_item() -> T:
        task, future = waiting.popleft()
        # A fork has no threads. What they were to do is done again there, since nobody knows how far they have come.
        return future.result() if os.getpid() == owner else make(task)

    try:
        for task in tasks:
            if os.getpid() == owner:
                waiting.append((task, pool.submit(make, task)))
            else:
                waiting.append((task, Future()))
            if len(waiting) > AHEAD * workers:
                yield next_item()
        while waiting:
            yield next_item()
    finally:
        if os.getpid() == owner:
            pool.shutdown(cancel_futures=True)
