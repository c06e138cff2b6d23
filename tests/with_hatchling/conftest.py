"""Collect the tests that build the package with hatchling only where it is installed."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("hatchling") else ["*"]
