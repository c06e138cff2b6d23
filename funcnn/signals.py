"""A signal handler runs between any two operations, so what it raises seems to come from the work it interrupts.

Where any error of that work is taken for a fault of a file or of an argument, the handler's own error must pass.
"""

import signal
from functools import partial
from traceback import walk_tb
from types import CodeType
from typing import Any

__all__ = ["reraise_if_of_a_handler"]


def reraise_if_of_a_handler(error: BaseException) -> None:
    """Raise an error once more if a signal handler that is installed has raised it, such as a ``TimeoutError``."""
    handlers = {_code(signal.getsignal(number)) for number in signal.valid_signals()} - {None}
    if any(frame.f_code in handlers for frame, _ in walk_tb(error.__traceback__)):
        raise error


def _code(handler: Any) -> CodeType | None:
    """The code of a handler: of a function, a method, an object that can be called, or a part of one."""
    while isinstance(handler, partial):
        handler = handler.func
    function = handler if hasattr(handler, "__code__") or hasattr(handler, "__func__") else type(handler).__call__
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    return code if isinstance(code, CodeType) else None
