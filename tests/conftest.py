"""What all tests share: floating-point accidents are errors, an alarm may stand for Ctrl-C, all cores work.

Whole folders are shared out among worker processes (pytest-xdist), one per core, each of which collects all tests; what
a test measures for the end of the run travels in the ``user_properties`` of its report.
"""

import gc
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from funcnn.kernels.onednn import scope

# How long an example takes says what else the machine does, and nothing about the code.
settings.register_profile("funcnn", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("funcnn")

# Where oneDNN computes, it computes the convolutions of tests too, however small they are.
scope.MIN_MULTIPLY_ADDS_OF_FEW = 0


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Tests that are named by file run in this process, sooner than workers start, and ``-s`` and debuggers work."""
    return None if all(Path(argument).is_dir() for argument in config.args) else 0


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


@pytest.fixture(autouse=True, scope="module")
def _old_objects_stay() -> None:
    """What earlier files and the collection of tests have made is not looked at again by the garbage collector."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[Any]:
    """A test in ``tests/with_*`` is collected where its packages are; there, one that was skipped has failed."""
    report = yield
    if report.skipped and item.nodeid.startswith("tests/with_"):
        report.outcome, report.longrepr = (
            "failed",
            f"{item.nodeid}: where its packages are installed, no test is skipped",
        )
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """The largest error of each family of layers and losses that was compared with PyTorch.

    It is printed here, and not in ``tests/with_torch``, whose ``conftest.py`` only the workers load.
    """
    largest: dict[str, float] = {}
    for report in [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]:
        for what, value in report.user_properties:
            if what == "agreement with PyTorch":
                family, error = value
                largest[family] = max(error, largest.get(family, 0.0))
    if largest:
        terminalreporter.section("agreement with PyTorch: largest relative error, float64")
        for family, error in sorted(largest.items()):
            terminalreporter.write_line(f"{family:<24} {error:.1e}")
