"""Collect what is said of data frames only where pandas and polars are installed."""

from importlib.util import find_spec

# This folder itself is importable under the name of the other one, as a namespace, which has no origin.
_specs = [find_spec(name) for name in ("pandas", "polars")]
collect_ignore_glob = [] if all(spec and spec.origin for spec in _specs) else ["*"]
