"""Jobs of two ranks of which one ends in a bad way, in the third step.

mpiexec -n 2 python tests/with_mpi/jobs.py how FOLDER
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI

import funcnn as fn

HOW, FOLDER = sys.argv[1:2], Path(*sys.argv[2:3])
RANK = MPI.COMM_WORLD.rank
X, TARGET = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32), np.arange(8) % 3
model = fn.serial(fn.dense(5), fn.batch_norm(), fn.dropout(0.2), fn.dense(3))
params = model.init((4,), 0)
calls = 0


def end_badly(how: str) -> None:
    """End this rank, if it is the one to end in this way."""
    if RANK != 1 or how not in HOW:
        return
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "exit":
        sys.exit(3)
    raise OverflowError("no luck")


def loss(y: Any, target: Any) -> Any:
    """A loss that is called in each step and twice in each evaluation; a rank dies in the sixth call."""
    global calls
    calls += 1
    if calls == 6:
        end_badly("killed")
        end_badly("in fit")
    return fn.softmax_cross_entropy(y, target)


def run() -> None:
    """A run of fit, which goes on where a killed one has ended."""
    file = FOLDER / "run.npz"
    result = fn.fit(
        model, params, fn.adam(0.1), (X, TARGET), loss, 3, 4, verbose=False, comm=MPI.COMM_WORLD,
        checkpoint=file, resume=file if file.exists() else None,
    )  # fmt: skip
    fn.save(FOLDER / f"{RANK}.npz", result.params)


def loop() -> None:
    """An explicit loop."""
    compute = fn.distributed.value_and_grad(model, loss, MPI.COMM_WORLD)
    for step in range(4):
        if step == 2 and HOW == ["early"] and RANK == 1:
            break
        if step == 2:
            end_badly("in the loop")
            end_badly("exit")
        compute(params, *fn.distributed.shard((X, TARGET), MPI.COMM_WORLD), rng=step)


if __name__ == "__main__":
    loop() if HOW[0] in ("in the loop", "exit", "early") else run()
