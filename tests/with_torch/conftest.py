"""The comparisons with PyTorch are collected where PyTorch is installed."""

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import pytest

collect_ignore_glob = [] if find_spec("torch") else ["*"]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[Any]:
    """A report carries the errors that its test has measured."""
    report = yield
    if "with_torch" in item.nodeid:
        from tests.with_torch.agreement import LARGEST

        report.user_properties += [("agreement with PyTorch", error) for error in LARGEST.items()]
        LARGEST.clear()
    return report
