"""Collect the tests of the bars of tqdm only where it is installed, and those in notebooks only where a kernel is."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("tqdm") else ["*"]
if not (find_spec("nbclient") and find_spec("ipykernel")):
    collect_ignore_glob.append("*_notebook.py")
