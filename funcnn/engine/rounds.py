"""Steps run side by side in rounds: each brings a value, and goes on with what becomes of the values of all.

The thread that brings the last value of a round combines them and goes on at once, while the others are woken: to wake
a thread takes as long as a small layer. A thread without work waits only while another one has a step to end, so any
number of threads comes to the end, and the result does not depend on which thread did what.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import copy_context
from typing import Any

from funcnn.engine import threads

__all__ = ["run"]

WAKE_SECONDS = 1
"""After this time a thread looks for work by itself: an interrupt may have come before it was woken."""


def run(steps: Sequence[Callable[[Any], Any]], combine: Callable[[list[Any]], Sequence[Any] | None]) -> list[Any]:
    """Call all steps again and again, until there is nothing to go on with.

    Args:
        steps: functions of what they go on with, which is None at first; each returns its value of the round.
        combine: ``combine(values)``, called after each round with the values in order, in the caller's context, returns
            what the steps go on with, or None if that was the last round.

    Returns:
        The values of the last round.

    Raises:
        Exception: the error of the first step, in their order, that failed.

    Example:
        >>> def total(values):
        ...     return None if values[0] > 9 else [sum(values)] * 2
        >>> run([lambda x: (x or 0) + 1, lambda x: (x or 0) + 2], total)
        [10, 11]
    """
    rounds = _Rounds(steps, combine)
    threads.run([rounds.take_part] * len(steps))
    if rounds.errors:
        raise rounds.first_error()
    return rounds.last_values()


class _Rounds:
    """What the threads of one ``run`` share."""

    def __init__(
        self, steps: Sequence[Callable[[Any], Any]], combine: Callable[[list[Any]], Sequence[Any] | None]
    ) -> None:
        self.steps, self.combine, self.context = steps, combine, copy_context()
        self.received: Sequence[Any] = [None] * len(steps)
        self.values: dict[int, Any] = {}
        self.errors: dict[int, BaseException] = {}
        self.ready, self.is_over, self.changed = deque(range(len(steps))), False, threading.Condition()

    def take_part(self) -> None:
        """Take one step after the other, until all is over."""
        number: int | None = None
        try:
            while (number := self.next_step()) is not None:
                self.bring(number, self.steps[number](self.received[number]))
        except BaseException as error:
            # Without this frame the traceback does not refer to the rounds, which would be a cycle.
            self.errors[number or 0] = error.with_traceback(error.__traceback__ and error.__traceback__.tb_next)
            self.end()

    def next_step(self) -> int | None:
        """The number of a step that waits for a thread; None when all is over."""
        with self.changed:
            while not self.ready and not self.is_over:
                self.changed.wait(WAKE_SECONDS)
            return None if self.is_over else self.ready.popleft()

    def bring(self, number: int, value: Any) -> None:
        """Keep the value of a step; with the last one begin another round."""
        with self.changed:
            self.values[number] = value
            if len(self.values) < len(self.steps):
                return
        received = self.context.run(self.combine, [self.values[number] for number in range(len(self.steps))])
        if received is None:
            self.end()
            return
        with self.changed:
            self.received, self.values = received, {}
            self.ready.extend(range(len(self.steps)))
            self.changed.notify_all()

    def end(self) -> None:
        """Let no thread take another step."""
        self.is_over = True
        with self.changed:
            self.changed.notify_all()

    def first_error(self) -> BaseException:
        """The error of the first step that failed. The rounds keep none, since they are in the frame that raises it."""
        errors, self.errors = self.errors, {}
        return errors[min(errors)]

    def last_values(self) -> list[Any]:
        """The values of the last round; a thread that is slow to leave must keep nothing alive."""
        values, self.values, self.received = self.values, {}, []
        return [values[number] for number in range(len(self.steps))]
