"""Collect the tests of data sets in files that zarr reads only where it is installed."""

from importlib.util import find_spec

# This folder itself is importable under a similar name, as a namespace, which has no origin.
_spec = find_spec("zarr")
collect_ignore_glob = [] if _spec and _spec.origin else ["*"]
