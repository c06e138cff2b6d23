"""The tests of ONNX files are collected where onnx, its runtime and what writes such files are installed.

There none of them may be skipped.
"""

import importlib.util
from collections.abc import Iterator
from typing import Any

import pytest

NEEDED = ("onnx", "onnxruntime", "onnxscript", "skl2onnx", "torch")
# This folder could be found as a package too, without a file.
_specs = [importlib.util.find_spec(name) for name in NEEDED]
collect_ignore_glob = [] if all(spec is not None and spec.origin is not None for spec in _specs) else ["*"]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[Any]:
    """A test that was skipped has failed."""
    report = yield
    if "with_onnx" in item.nodeid and report.skipped:
        report.outcome, report.longrepr = "failed", f"{item.nodeid}: no test of ONNX may be skipped"
    return report
