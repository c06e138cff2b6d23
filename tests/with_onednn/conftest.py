"""The tests of oneDNN's kernels are collected where there is a oneDNN, and there none of them may be skipped."""

from collections.abc import Iterator
from typing import Any

import pytest

import funcnn as fn
from funcnn.kernels.onednn.library import load

try:
    load()
    collect_ignore_glob = []
except ImportError:
    collect_ignore_glob = ["*"]


@pytest.fixture(autouse=True)
def _on_onednn() -> Iterator[None]:
    """Every test in this folder starts with oneDNN's kernels."""
    with fn.use_kernels("onednn"):
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[Any]:
    """A test that was skipped has failed."""
    report = yield
    if "with_onednn" in item.nodeid and report.skipped:
        report.outcome, report.longrepr = "failed", f"{item.nodeid}: no test of oneDNN may be skipped"
    return report
