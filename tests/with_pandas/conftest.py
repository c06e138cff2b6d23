"""Collect what is said of data frames only where pandas and polars are installed."""

from importlib.util import find_spec

collect_ignore_glob = [] if all(map(find_spec, ("pandas", "polars"))) else ["*"]
