"""Collect the test of the documentation site only where what builds it and a browser are installed."""

from importlib.util import find_spec

found = all(find_spec(name) for name in ("sphinx", "myst_nb", "furo", "playwright"))
collect_ignore_glob = [] if found else ["*"]
