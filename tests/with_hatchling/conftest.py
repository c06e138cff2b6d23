"""Collect the tests that build and check the package only where hatchling and twine are installed."""

from importlib.util import find_spec

found = all(find_spec(name) for name in ("hatchling", "twine", "readme_renderer"))
collect_ignore_glob = [] if found else ["*"]
