"""Collect the comparisons with scikit-learn only where it is installed."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("sklearn") else ["*"]
