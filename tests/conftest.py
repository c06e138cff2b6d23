"""What all tests share: floating-point accidents are errors, and an alarm may stand for Ctrl-C."""

import gc
import signal
from collections.abc import Iterator

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def _floating_point_errors_raise() -> Iterator[None]:
    """A division by zero, an overflow or an invalid value in a formula is a defect, not a warning."""
    with np.errstate(divide="raise", over="raise", invalid="raise"):
        yield


@pytest.fixture
def alarm_is_ctrl_c() -> Iterator[None]:
    """``signal.setitimer`` sets the time of an interrupt.

    Python drops an interrupt that comes in a ``__del__`` or in a callback of the garbage collector, as hypothesis has
    one. So what other tests have left is collected before, and nothing meanwhile.
    """
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    gc.collect()
    gc.disable()
    yield
    gc.enable()
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def pytest_collection_finish() -> None:
    """What was made while collecting stays to the end, so the garbage collector need not look at it again."""
    gc.collect()
    gc.freeze()
