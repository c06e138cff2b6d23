"""Collect the comparisons with JAX only where it is installed."""

from importlib.util import find_spec

# This folder itself is importable under the same name, as a namespace, which has no origin.
_spec = find_spec("jax")
collect_ignore_glob = [] if _spec and _spec.origin else ["*"]
