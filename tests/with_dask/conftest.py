"""Collect what runs under joblib and Dask only where both are installed."""

from importlib.util import find_spec

# This folder itself is no package, but one called dask could be found as a namespace, which has no origin.
_specs = [find_spec(name) for name in ("dask", "distributed", "joblib", "sklearn")]
collect_ignore_glob = [] if all(spec and spec.origin for spec in _specs) else ["*"]
