"""The tests that start MPI are collected where mpi4py and ``mpiexec`` are installed."""

from importlib.util import find_spec

from tests.with_mpi.launch import MPIEXEC

collect_ignore_glob = [] if find_spec("mpi4py") is not None and MPIEXEC is not None else ["*"]
