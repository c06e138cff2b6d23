"""Collect the tests that run notebooks only where a kernel and a client for it are installed."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("nbclient") and find_spec("ipykernel") else ["*"]
