"""Collect the tests that download with pooch only where it is installed."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("pooch") else ["*"]
