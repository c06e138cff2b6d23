"""Collect the comparisons with JAX only where it is installed, and those of optimizers only where Optax is too."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("jax") else ["*"]
if not find_spec("optax"):
    collect_ignore_glob.append("test_jax_optim.py")
