"""The comparisons with PyTorch are collected where PyTorch is installed, and there none of them may be skipped."""

import importlib.util
from collections.abc import Iterator
from typing import Any

import pytest

_spec = importlib.util.find_spec("torch")
# This folder is called torch as well; without the real one it could be found as an empty package without a file.
collect_ignore_glob = [] if _spec is not None and _spec.origin is not None else ["*"]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[Any]:
    """A comparison that was skipped has failed."""
    report = yield
    if report.skipped and "with_torch" in item.nodeid:
        report.outcome, report.longrepr = "failed", f"{item.nodeid}: no comparison with PyTorch may be skipped"
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """The largest error of each family of layers and losses."""
    from tests.with_torch.agreement import LARGEST

    if LARGEST:
        terminalreporter.section("agreement with PyTorch: largest relative error, float64")
        for family, error in sorted(LARGEST.items()):
            terminalreporter.write_line(f"{family:<24} {error:.1e}")
