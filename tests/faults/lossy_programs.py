"""Programs that lose something in each of the ways that the long fault run must notice.

Each is run in a process of its own, so it stands in a module that can be imported by its full name.
"""

import itertools
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from tests.faults.long.outcome import Verdict
from tests.faults.long.processes import killed_after


def fine(count: int) -> Iterator[Verdict]:
    yield from [None] * count


def second_is_lost(count: int) -> Iterator[Verdict]:
    yield None
    yield "the second is lost"
    yield from [None] * (count - 2)


def raises(count: int) -> Iterator[Verdict]:
    yield None
    raise OSError("the disk is gone")


def hangs(count: int) -> Iterator[Verdict]:
    yield None
    threading.Event().wait()


def ends_early(count: int) -> Iterator[Verdict]:
    yield from [None] * (count - 1)


def writes_to_stderr(count: int) -> Iterator[Verdict]:
    yield from [None] * count
    print("Exception ignored in: <function __del__>", file=sys.stderr)


def numbers_for_ever(seconds: float) -> Iterator[int]:
    for number in itertools.count():
        yield number
        time.sleep(seconds)


def kill_one_and_let_one_end(count: int) -> Iterator[Any]:
    yield killed_after(0.1, numbers_for_ever, 0.01)
    yield killed_after(0.1, fine, 2)
