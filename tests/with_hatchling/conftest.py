"""Collect the tests that build and check the package only where hatchling and twine are installed."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("hatchling") and find_spec("twine") else ["*"]
