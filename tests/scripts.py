"""Scripts run as programs, but in forks of one process that has imported what they need.

A fork takes milliseconds, a new interpreter with funcnn and Matplotlib a second. Each script has a process, a standard
output, an environment and a working directory of its own.
"""

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import funcnn as fn

TIMEOUT = 120
"""Seconds for a script."""
ENVIRONMENT = {"PYTHONPATH": str(Path(fn.__file__).parents[1]), "PYTHONUNBUFFERED": "1", "MPLBACKEND": "agg"}
"""Of a script in an interpreter of its own: it imports the funcnn that is tested here, installed or not."""
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["funcnn", "matplotlib.figure", "matplotlib.backends.backend_agg"])


def run(
    script: Path, *options: Any, cwd: Path | None = None, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """What ``subprocess.run`` returns for a script, which is given ``environment`` beside that of this process."""
    command = [str(script), *map(str, options)]
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        arguments = command, out, err, cwd or Path.cwd(), os.environ | (environment or {})
        process = PROCESSES.Process(target=_run, args=arguments)
        process.start()
        process.join(TIMEOUT)
        if process.is_alive():
            with suppress(ProcessLookupError):
                os.killpg(process.pid or 0, signal.SIGKILL)
            raise subprocess.TimeoutExpired(command, TIMEOUT, out.read_bytes(), err.read_bytes())
        return subprocess.CompletedProcess(command, process.exitcode or 0, out.read_text(), err.read_text())


def _run(command: list[str], out: Path, err: Path, cwd: Path, environment: dict[str, str]) -> None:
    """In the fork: become a program of its own, and run the script."""
    os.setsid()  # so that what it starts can be ended with it
    for stream, path in ((1, out), (2, err)):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(descriptor, stream)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.argv = command
    sys.path.insert(0, str(Path(command[0]).parent))
    runpy.run_path(command[0], run_name="__main__")
