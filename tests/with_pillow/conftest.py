"""Collect the tests that read images with Pillow only where it is installed."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("PIL") else ["*"]
