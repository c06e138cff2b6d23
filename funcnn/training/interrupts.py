"""Ctrl-C waits for the end of a step, so that no array is ever seen half written, not even in a debugger.

Python raises ``KeyboardInterrupt`` between any two operations. Here it is raised at once or, inside the ``with`` of a
step, after it.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

__all__ = ["Deferral", "interrupts_deferrable"]


class Deferral:
    """``with deferral:`` surrounds what may not be interrupted."""

    def __init__(self) -> None:
        self.active = False
        self.arrived: tuple[Any, ...] | None = None

    def __enter__(self) -> None:
        self.active = True

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.active = False
        if self.arrived is not None:
            arrived, self.arrived = self.arrived, None
            self.handle(*arrived)

    def handle(self, *arrived: Any) -> None:
        """The handler of the signals that interrupt. After one was raised, the next waits for the end of a ``with``."""
        if self.active:
            self.arrived = arrived
        else:
            self.active = True  # so that ``fit`` saves the run before another
            signal.default_int_handler(*arrived)


@contextmanager
def interrupts_deferrable() -> Iterator[Deferral]:
    """Let every signal that would raise ``KeyboardInterrupt`` wait where the ``Deferral`` says so.

    Only where Python's own handler would raise it here: in the main thread. A handler of the user's stays in force.
    """
    deferral, handler = Deferral(), signal.default_int_handler
    ours: list[signal.Signals] = []
    interrupted = False
    handle = deferral.handle  # the same object each time, to be compared
    try:
        if threading.current_thread() is threading.main_thread():
            for number in signal.valid_signals():
                if signal.getsignal(number) is handler:
                    ours.append(number)
                    signal.signal(number, handle)
        yield deferral
    except KeyboardInterrupt:
        interrupted = True
        raise
    finally:
        with deferral:
            for number in ours:
                if signal.getsignal(number) is handle:
                    signal.signal(number, handler)
            if interrupted:
                deferral.arrived = None  # the first one, which carries the result, is on its way
