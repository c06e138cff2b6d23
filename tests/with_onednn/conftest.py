"""The tests of oneDNN's kernels are collected where there is a oneDNN."""

from collections.abc import Iterator

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
