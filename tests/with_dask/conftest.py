"""Collect what runs under joblib and Dask only where both are installed."""

from importlib.util import find_spec

collect_ignore_glob = [] if all(map(find_spec, ("dask", "distributed", "joblib", "sklearn"))) else ["*"]
