"""A program on several ranks of MPI, as a process that may take a limited time."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import funcnn as fn

MPIEXEC = shutil.which("mpiexec", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))

SECONDS = 60
"""A job that has not ended after this time hangs."""

# Open MPI starts no more ranks than there are cores, and none as root, unless it is told to; MPICH ignores this.
OPEN_MPI = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe", "OMPI_MCA_rmaps_base_oversubscribe": "1",
}  # fmt: skip


def command(ranks: int, program: Path, *options: Any) -> list[str]:
    """The command line of a program on several ranks."""
    assert MPIEXEC is not None
    return [MPIEXEC, "-n", str(ranks), sys.executable, str(program), *map(str, options)]


def environment() -> dict[str, str]:
    """That of a job: it imports the funcnn that is tested here."""
    return os.environ | OPEN_MPI | {"PYTHONPATH": str(Path(fn.__file__).parents[1]), "PYTHONUNBUFFERED": "1"}


def run(ranks: int, program: Path, *options: Any) -> subprocess.CompletedProcess[str]:
    """Run a program on several ranks to its end."""
    job = command(ranks, program, *options)
    return subprocess.run(job, env=environment(), timeout=SECONDS, capture_output=True, text=True, check=False)
