"""The tests that start MPI are collected where mpi4py and ``mpiexec`` are installed, and there none may be skipped."""

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import pytest

from tests.with_mpi.launch import MPIEXEC

collect_ignore_glob = [] if find_spec("mpi4py") is not None and MPIEXEC is not None else ["*"]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[Any]:
    """A test of several ranks that was skipped has failed."""
    report = yield
    if "with_mpi" in item.nodeid and report.skipped:
        report.outcome, report.longrepr = "failed", f"{item.nodeid}: no test of several ranks may be skipped"
    return report
