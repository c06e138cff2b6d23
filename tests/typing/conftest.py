"""Collect the tests that run type checkers only where both are installed; the scripts beside them are no tests."""

from importlib.util import find_spec

collect_ignore = ["right.py", "wrong.py"]
if not (find_spec("mypy") and find_spec("pyright")):
    collect_ignore.append("test_checkers.py")
