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
    """A comparison that was skipped has failed; a report carries the errors that its test has measured."""
    report = yield
    if "with_torch" in item.nodeid:
        from tests.with_torch.agreement import LARGEST

        if report.skipped:
            report.outcome, report.longrepr = "failed", f"{item.nodeid}: no comparison with PyTorch may be skipped"
        report.user_properties += [("agreement with PyTorch", error) for error in LARGEST.items()]
        LARGEST.clear()
    return report
